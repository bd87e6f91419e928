package watcher

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// These tests run against the real events of this system, and so in real time. They
// wait for what must happen, and a rescan that comes too late for them proves that it
// was the events that told.

func realEvents(t *testing.T, f Folder) *desk {
	t.Helper()
	d := newDesk(t)
	f.Quiet, f.Rescan = 10*time.Millisecond, 24*time.Hour
	startWith(t, mustNew(t, d.config(f)).Run)
	d.await("the first scan", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.looks[f.Path]) > 0
	})
	return d
}

func (d *desk) awaitFiles(n int) {
	d.t.Helper()
	d.await(fmt.Sprintf("%d files", n), func() bool { return len(d.files()) >= n })
}

func TestEventsOfFiles(t *testing.T) {
	root := t.TempDir()
	d := realEvents(t, Folder{Path: root})
	path := drop(t, root, "a.pdf")
	d.awaitFiles(1)
	must(t, os.Rename(path, filepath.Join(root, "b.pdf")))
	d.awaitFiles(2)
	moved := drop(t, t.TempDir(), "c.pdf")
	must(t, os.Rename(moved, filepath.Join(root, "c.pdf")))
	d.awaitFiles(3)
	d.want(root, "a.pdf", "b.pdf", "c.pdf")
}

func TestEventsOfNewFolders(t *testing.T) {
	root := t.TempDir()
	d := realEvents(t, Folder{Path: root, Recursive: true})
	var want []string
	for i := range 50 {
		name := fmt.Sprintf("%d/b/c/letter.pdf", i)
		drop(t, root, filepath.FromSlash(name))
		want = append(want, name)
	}
	d.awaitFiles(len(want))
	d.want(root, want...)
}

func TestEventsOfRenamedFolders(t *testing.T) {
	root := t.TempDir()
	drop(t, root, "a", "deep", "1.pdf")
	d := realEvents(t, Folder{Path: root, Recursive: true})
	d.awaitFiles(1)
	must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")))
	d.awaitFiles(2)
	drop(t, root, "b", "deep", "2.pdf")
	d.awaitFiles(3)
	must(t, os.RemoveAll(filepath.Join(root, "b")))
	drop(t, root, "b", "deep", "3.pdf")
	d.awaitFiles(4)
	d.want(root, "a/deep/1.pdf", "b/deep/1.pdf", "b/deep/2.pdf", "b/deep/3.pdf")
}

func TestEventOfTheRoot(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no such event")
	}
	root := filepath.Join(t.TempDir(), "hot")
	must(t, os.Mkdir(root, 0o777))
	d := realEvents(t, Folder{Path: root})
	must(t, os.Rename(root, root+".away"))
	d.await("the root to be missed", func() bool { return d.lastLook(root).err != nil })
}
