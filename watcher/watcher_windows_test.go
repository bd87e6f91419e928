package watcher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNotBusy(t *testing.T) {
	path := write(t, pdf, t.TempDir(), "letter.pdf")
	for _, tt := range []struct {
		flag int
		want error
	}{
		{os.O_RDONLY, nil},
		{os.O_WRONLY, errBusy},
		{os.O_RDWR, errBusy},
	} {
		f, err := os.OpenFile(path, tt.flag, 0)
		must(t, err)
		if err := notBusy(path); !errors.Is(err, tt.want) {
			t.Errorf("notBusy while it is open with %#x: %v, want %v", tt.flag, err, tt.want)
		}
		must(t, f.Close())
	}
	if err := notBusy(path + ".part"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("notBusy of a file that does not exist: %v", err)
	}
}

// What is being read can be renamed and deleted.
func TestOpenFileIsInNobodysWay(t *testing.T) {
	dir := t.TempDir()
	path := write(t, pdf, dir, "letter.pdf")
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	f, err := openFile(root, "letter.pdf")
	must(t, err)
	defer f.Close()
	must(t, os.Rename(path, filepath.Join(dir, "memo.pdf")))
	must(t, os.Remove(filepath.Join(dir, "memo.pdf")))
}

// A scan that a program still writes waits, however long, and is taken when it is whole.
func TestWrittenByAnotherProgram(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(time.Hour)
		d.want(root)
		if !strings.Contains(d.logged(), "still being written") {
			t.Errorf("the log does not tell why it waits:\n%s", d.logged())
		}
		must(t, f.Close())
		pass(time.Minute)
		d.want(root, "letter.pdf")
	})
}

// Paths may be longer than the 260 letters that old programs know.
func TestLongPath(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		deep := strings.Repeat(strings.Repeat("long", 12)+"/", 6)
		path := write(t, pdf, dir, deep, "letter.pdf")
		if len(path) < 300 {
			t.Fatal("that path is not long")
		}
		start(t, mustNew(t, d.config(Folder{Path: dir, Recursive: true})))
		pass(time.Minute)
		d.want(dir, deep+"letter.pdf")
		must(t, notBusy(path))
	})
}
