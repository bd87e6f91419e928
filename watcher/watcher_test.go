package watcher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

const pdf = "%PDF-1.7\nstartxref\n9\n%%EOF\n"

// bubble runs a test with time that passes only while everybody waits.
func bubble(t *testing.T, f func(t *testing.T, d *desk, root string)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { f(t, newDesk(t), dir) })
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestFile(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.PDF")
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(4900 * time.Millisecond)
		d.want(root)
		pass(200 * time.Millisecond)
		d.want(root, "letter.PDF")

		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		got := d.files()[0]
		if !got.ModTime.Equal(info.ModTime()) {
			t.Errorf("ModTime = %v, want %v", got.ModTime, info.ModTime())
		}
		got.ModTime = time.Time{}
		if want := (File{Folder: root, Path: path, Size: int64(len(pdf)), Content: sha256.Sum256([]byte(pdf)), Ext: ".pdf"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		pass(time.Hour)
		d.want(root, "letter.PDF")
	})
}

func TestScannerAddsPages(t *testing.T) {
	for _, poll := range []bool{false, true} {
		t.Run(fmt.Sprintf("poll=%v", poll), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk, root string) {
				n := start(t, mustNew(t, d.config(Folder{Path: root, Poll: poll, Rescan: 3 * time.Second})))
				synctest.Wait()
				path := write(t, pdf, root, "letter.pdf")
				for range 10 {
					if !poll {
						n.send(fsnotify.Write, path)
					}
					pass(4 * time.Second)
					d.want(root)
					appendTo(t, path, "page\n")
				}
				pass(4 * time.Second)
				d.want(root)
				pass(7 * time.Second)
				d.want(root, "letter.pdf")
			})
		})
	}
}

// A clock that jumps, or a share with a clock of its own, is no reason to wait or not to.
func TestTimesOfFilesAreNotBelieved(t *testing.T) {
	for _, age := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		bubble(t, func(t *testing.T, d *desk, root string) {
			path := write(t, pdf, root, "letter.pdf")
			if err := os.Chtimes(path, time.Now(), time.Now().Add(-age)); err != nil {
				t.Fatal(err)
			}
			start(t, mustNew(t, d.config(Folder{Path: root})))
			pass(4 * time.Second)
			d.want(root)
			pass(2 * time.Second)
			d.want(root, "letter.pdf")
		})
	}
}

func TestRenamedIntoPlace(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root})))
		synctest.Wait()
		part := write(t, pdf, root, "letter.pdf.part")
		n.send(fsnotify.Create, part)
		pass(10 * time.Second)
		path := filepath.Join(root, "letter.pdf")
		if err := os.Rename(part, path); err != nil {
			t.Fatal(err)
		}
		n.send(fsnotify.Rename, part)
		n.send(fsnotify.Create, path)
		pass(6 * time.Second)
		d.want(root, "letter.pdf")
	})
}

func TestReplacedIsANewScan(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(6 * time.Second)
		d.want(root, "letter.pdf")
		write(t, pdf+"more", path)
		pass(time.Minute + 6*time.Second)
		d.want(root, "letter.pdf", "letter.pdf")
	})
}

func TestVanishedWhileSettling(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(2 * time.Second)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		d.want(root)
	})
}

// meddled is a file that something happens to when it is read for the first time.
type meddled struct {
	scanFile
	meddle func()
}

func (m *meddled) Read(p []byte) (int, error) {
	if m.meddle != nil {
		m.meddle()
		m.meddle = nil
	}
	return m.scanFile.Read(p)
}

func TestChangedWhileRead(t *testing.T) {
	old := time.Unix(1e9, 0)
	for name, meddle := range map[string]func(t *testing.T, path string){
		"grown":    func(t *testing.T, path string) { appendTo(t, path, "page\n") },
		"touched":  func(t *testing.T, path string) { try(t, os.Chtimes(path, old, old.Add(time.Hour))) },
		"cut":      func(t *testing.T, path string) { try(t, os.Truncate(path, 5)) },
		"replaced": func(t *testing.T, path string) { replace(t, path, old) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "replaced" && runtime.GOOS == "windows" {
				t.Skip("a file that is open cannot be replaced")
			}
			bubble(t, func(t *testing.T, d *desk, root string) {
				path := write(t, pdf, root, "letter.pdf")
				must(t, os.Chtimes(path, old, old))
				w := mustNew(t, d.config(Folder{Path: root, CutOff: true}))
				reads := 0
				w.open = func(r *os.Root, name string) (scanFile, error) {
					f, err := openFile(r, name)
					reads++
					if reads == 1 && err == nil {
						return &meddled{f, func() { meddle(t, path) }}, nil
					}
					return f, err
				}
				start(t, w)
				pass(6 * time.Second)
				d.want(root)
				pass(5 * time.Second)
				d.want(root, "letter.pdf")
				now, err := os.ReadFile(path)
				must(t, err)
				if got := d.files()[0].Content; got != sha256.Sum256(now) {
					t.Error("the digest is not that of the file as it is now")
				}
			})
		})
	}
}

// A link that takes the place of a file while it is read is not followed.
func TestLinkedWhileRead(t *testing.T) {
	symlink(t, "nowhere", filepath.Join(t.TempDir(), "link"))
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		w := mustNew(t, d.config(Folder{Path: root}))
		w.open = func(r *os.Root, name string) (scanFile, error) {
			f, err := openFile(r, name)
			try(t, os.Rename(path, path+".part"))
			try(t, os.Symlink(path+".part", path))
			return f, err
		}
		start(t, w)
		pass(time.Hour)
		d.want(root)
	})
}

// replace puts another file of the same size and time at path.
func replace(t *testing.T, path string, mod time.Time) {
	t.Helper()
	other := write(t, strings.Replace(pdf, "1.7", "1.4", 1), path+".other")
	try(t, os.Chtimes(other, mod, mod))
	try(t, os.Rename(other, path))
}

func TestPollNeedsNoEvents(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Poll: true, Rescan: 30 * time.Second})))
		synctest.Wait()
		write(t, pdf, root, "letter.pdf")
		pass(36 * time.Second)
		d.want(root, "letter.pdf")
		if got := n.watches(); got != nil {
			t.Errorf("watches %q", got)
		}
	})
}

func TestRescanFindsWhatEventsMissed(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		synctest.Wait()
		write(t, pdf, root, "a", "letter.pdf")
		pass(time.Minute + 6*time.Second)
		d.want(root, "a/letter.pdf")
		if got := n.watches(); len(got) != 2 {
			t.Errorf("watches %q", got)
		}
		must(t, os.RemoveAll(filepath.Join(root, "a")))
		pass(time.Minute)
		if got := n.watches(); len(got) != 1 {
			t.Errorf("watches %q after the folder has gone", got)
		}
	})
}

func TestLostEvents(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour})))
		pass(time.Minute)
		n.kill(root)
		write(t, pdf, root, "letter.pdf")
		n.errs <- fsnotify.ErrEventOverflow
		pass(6 * time.Second)
		d.want(root, "letter.pdf")
		if got := n.watches(); len(got) != 1 {
			t.Errorf("watches %q", got)
		}
		write(t, pdf, root, "memo.pdf")
		close(n.events)
		pass(6 * time.Second)
		d.want(root, "letter.pdf", "memo.pdf")
	})
}

func TestTooManyHintsAreAScan(t *testing.T) {
	h := newHints()
	for i := range maxHints + 1 {
		h.add(fmt.Sprint(i), fsnotify.Write)
	}
	if paths, _, _, lost := h.take(); !lost || len(paths) != maxHints {
		t.Errorf("%d paths, lost %v", len(paths), lost)
	}
	if paths, _, _, lost := h.take(); lost || len(paths) != 0 {
		t.Errorf("%d paths, lost %v when taken again", len(paths), lost)
	}
}

func TestRefusedWatchesArePolled(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := newFakeNotifier()
		n.refuse = syscall.ENOSPC
		w := mustNew(t, d.config(Folder{Path: root}))
		startWith(t, func(ctx context.Context) error { return w.run(ctx, n, n.events, n.errs) })
		synctest.Wait()
		write(t, pdf, root, "letter.pdf")
		pass(10 * time.Minute)
		d.want(root, "letter.pdf")
		if got := strings.Count(d.logged(), "no folder events"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, d.logged())
		}
		if runtime.GOOS == "linux" && !strings.Contains(d.logged(), "fs.inotify.max_user_watches") {
			t.Errorf("the log names no way out:\n%s", d.logged())
		}
	})
}

func TestIgnore(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		for i := range 250 {
			write(t, pdf, root, "old", fmt.Sprintf("%d.pdf", i))
		}
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true, Ignore: true})))
		pass(30 * time.Second)
		d.want(root)
		ignored := d.ignoredFiles()
		if len(ignored) != 250 {
			t.Fatalf("%d files ignored", len(ignored))
		}
		if got := ignored[0]; got.Folder != root || got.Size != int64(len(pdf)) || got.Content != [32]byte{} {
			t.Errorf("ignored %+v", got)
		}
		n.send(fsnotify.Create, write(t, pdf, root, "new.pdf"))
		pass(6 * time.Second)
		d.want(root, "new.pdf")
		write(t, pdf, root, "newer.pdf")
		pass(2 * time.Minute)
		d.want(root, "new.pdf", "newer.pdf")
	})
}

// What Ignored does not take note of is wanted after all.
func TestIgnoreDeclined(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "old.pdf")
		write(t, pdf, root, "wanted.pdf")
		cfg := d.config(Folder{Path: root, Ignore: true})
		ignored := cfg.Ignored
		cfg.Ignored = func(ctx context.Context, files []File) error {
			return ignored(ctx, slices.DeleteFunc(slices.Clone(files), func(f File) bool { return filepath.Base(f.Path) == "wanted.pdf" }))
		}
		start(t, mustNew(t, cfg))
		pass(6 * time.Second)
		d.want(root, "wanted.pdf")
	})
}

// A folder is introduced only when all that lay in it was noted, and what is dropped
// meanwhile is a scan.
func TestIgnoreIsRetried(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "old.pdf")
		cfg := d.config(Folder{Path: root, Ignore: true})
		ignored := cfg.Ignored
		var full atomic.Bool
		full.Store(true)
		cfg.Ignored = func(ctx context.Context, files []File) error {
			if full.Load() {
				return errors.New("disk full")
			}
			return ignored(ctx, files)
		}
		n := start(t, mustNew(t, cfg))
		synctest.Wait()
		if got := d.lastLook(root); got != (look{}) {
			t.Errorf("Looked(%v)", got)
		}
		n.send(fsnotify.Create, write(t, pdf, root, "new.pdf"))
		synctest.Wait()
		full.Store(false)
		pass(time.Minute)
		d.want(root, "new.pdf")
		if got := d.ignoredFiles(); len(got) != 1 || filepath.Base(got[0].Path) != "old.pdf" {
			t.Errorf("ignored %+v", got)
		}
		if got := d.lastLook(root); got != (look{scanned: true}) {
			t.Errorf("Looked(%v)", got)
		}
	})
}

func TestRootMissingAndBack(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root := filepath.Join(dir, "hot")
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		synctest.Wait()
		got := d.lastLook(root)
		if got.scanned || !errors.Is(got.err, fs.ErrNotExist) || !strings.Contains(got.err.Error(), root+" is missing") {
			t.Fatalf("Looked(%v)", got)
		}
		write(t, pdf, root, "a", "letter.pdf")
		pass(time.Minute + 6*time.Second)
		d.want(root, "a/letter.pdf")
		if got := d.lastLook(root); got != (look{scanned: true}) {
			t.Fatalf("Looked(%v)", got)
		}

		away := filepath.Join(dir, "away")
		must(t, os.Rename(root, away))
		n.send(fsnotify.Rename, root)
		synctest.Wait()
		if got := d.lastLook(root); got.err == nil {
			t.Fatal("the root is gone, and Looked does not know")
		}
		if got := n.watches(); got != nil {
			t.Errorf("watches %q", got)
		}

		must(t, os.Rename(away, root))
		write(t, pdf, root, "memo.pdf")
		pass(time.Minute + 6*time.Second)
		d.want(root, "a/letter.pdf", "memo.pdf")

		must(t, os.RemoveAll(root))
		write(t, "", root) // a file in its place
		pass(time.Minute)
		if got := d.lastLook(root); got.scanned || got.err == nil {
			t.Errorf("Looked(%v)", got)
		}
	})
}

func TestRootReplaced(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root := filepath.Join(dir, "hot")
		write(t, pdf, root, "a", "letter.pdf")
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		pass(6 * time.Second)
		must(t, os.Rename(root, filepath.Join(dir, "away")))
		n.kill(root)
		write(t, pdf, root, "memo.pdf")
		pass(time.Minute + 6*time.Second)
		d.want(root, "a/letter.pdf", "memo.pdf")
		if got := n.watches(); len(got) != 1 {
			t.Errorf("watches %q", got)
		}
	})
}

// A link in the place of the root must not have us take what lies elsewhere.
func TestRootLinkedElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root, away := filepath.Join(dir, "hot"), filepath.Join(dir, "away")
		write(t, pdf, root, "letter.pdf")
		write(t, pdf, dir, "elsewhere", "secret.pdf")
		start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		pass(6 * time.Second)
		must(t, os.Rename(root, away))
		symlink(t, filepath.Join(dir, "elsewhere"), root)
		pass(2 * time.Minute)
		d.want(root, "letter.pdf")
		if got := d.lastLook(root); got.err == nil || !strings.Contains(got.err.Error(), "is not what it was") {
			t.Errorf("Looked(%v)", got)
		}
		must(t, os.Remove(root))
		must(t, os.Rename(away, root))
		pass(2 * time.Minute)
		if got := d.lastLook(root); got.err != nil {
			t.Errorf("back again: Looked(%v)", got)
		}
	})
}

func TestUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("only where permissions bind us: not for root, not on Windows")
	}
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "closed", "letter.pdf")
		must(t, os.Chmod(filepath.Join(root, "closed"), 0))
		defer os.Chmod(filepath.Join(root, "closed"), 0o700)
		must(t, os.Chmod(write(t, pdf, root, "memo.pdf"), 0))
		start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		pass(10 * time.Minute)
		d.want(root, "memo.pdf")
		if got := strings.Count(d.logged(), "cannot be read"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, d.logged())
		}
	})
}

func TestUnreadableFile(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		write(t, pdf, root, "memo.pdf")
		w := mustNew(t, d.config(Folder{Path: root}))
		w.open = func(r *os.Root, name string) (scanFile, error) {
			if name == "letter.pdf" {
				return nil, &fs.PathError{Op: "openat", Path: name, Err: fs.ErrPermission}
			}
			return openFile(r, name)
		}
		start(t, w)
		pass(time.Minute)
		d.want(root, "memo.pdf")
		pass(time.Minute)
		d.want(root, "letter.pdf", "memo.pdf")
		got := d.files()[1]
		if got.Path != path || got.Content != [32]byte{} || !strings.HasPrefix(got.Reject, "it cannot be read: permission denied; ") {
			t.Errorf("got %+v", got)
		}
		pass(time.Hour)
		d.want(root, "letter.pdf", "memo.pdf")
	})
}

func TestHeldOpenForWriting(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "letter.pdf")
		w := mustNew(t, d.config(Folder{Path: root}))
		var held atomic.Bool
		held.Store(true)
		w.open = func(r *os.Root, name string) (scanFile, error) {
			if held.Load() {
				return nil, errBusy // as on Windows
			}
			return openFile(r, name)
		}
		start(t, w)
		pass(time.Hour)
		d.want(root)
		if got := strings.Count(d.logged(), "still being written"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, d.logged())
		}
		held.Store(false)
		pass(10 * time.Second)
		d.want(root, "letter.pdf")
	})
}

// A root that goes away while it is scanned is not one in which nothing lies.
func TestRootGoneWhileScanned(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		bubble(t, func(t *testing.T, d *desk, dir string) {
			root := filepath.Join(dir, "hot")
			write(t, pdf, root, "1.pdf")
			write(t, pdf, root, "2", "2.pdf")
			cfg := d.config(Folder{Path: root, Recursive: true, Ignore: true})
			known, gone := cfg.Known, false
			cfg.Known = func(path string, size int64, mod time.Time) (bool, error) {
				if !gone {
					gone = true
					try(t, os.Rename(root, root+".away"))
					if replaced {
						try(t, os.Mkdir(root, 0o777))
					}
				}
				return known(path, size, mod)
			}
			start(t, mustNew(t, cfg))
			synctest.Wait()
			if got := d.lastLook(root); got.scanned || errors.Is(got.err, fs.ErrNotExist) == replaced {
				t.Errorf("Looked(%v)", got)
			}
			if replaced {
				try(t, os.Remove(root))
			}
			try(t, os.Rename(root+".away", root))
			pass(2 * time.Minute)
			d.want(root)
			if got := d.ignoredFiles(); len(got) != 2 || got[1].Path != filepath.Join(root, "2", "2.pdf") {
				t.Errorf("ignored %+v", got)
			}
			if got := d.lastLook(root); got != (look{scanned: true}) {
				t.Errorf("Looked(%v)", got)
			}
		})
	}
}

// A share that goes away takes its files with it; they are not rejected.
func TestUnreadableBecauseTheRootIsGone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a folder in which something is open cannot be renamed")
	}
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root := filepath.Join(dir, "hot")
		write(t, pdf, root, "letter.pdf")
		w := mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour}))
		w.open = func(r *os.Root, name string) (scanFile, error) {
			if err := os.Rename(root, root+".away"); err != nil {
				t.Error(err)
			}
			return nil, &fs.PathError{Op: "openat", Path: name, Err: syscall.EIO}
		}
		start(t, w)
		pass(10 * time.Minute)
		d.want(root)
		if got := d.lastLook(root); got.err == nil {
			t.Error("Looked does not know that the root is gone")
		}
	})
}

func TestNestedAndSkipped(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		inner := filepath.Join(root, "inner")
		write(t, pdf, root, "a.pdf")
		write(t, pdf, root, "done", "b.pdf")
		write(t, pdf, inner, "c.pdf")
		write(t, pdf, root, "innermost", "d.pdf")
		n := start(t, mustNew(t, d.config(
			Folder{Path: root, Recursive: true, Skip: []string{inner, filepath.Join(root, "done") + string(filepath.Separator)}},
			Folder{Path: inner},
		)))
		pass(6 * time.Second)
		d.want(root, "a.pdf", "inner/c.pdf", "innermost/d.pdf")
		n.send(fsnotify.Create, write(t, pdf, inner, "e.pdf"))
		n.send(fsnotify.Create, filepath.Join(root, "done"))
		pass(6 * time.Second)
		d.want(root, "a.pdf", "inner/c.pdf", "innermost/d.pdf", "inner/e.pdf")
		for _, f := range d.files() {
			if want := filepath.Dir(f.Path); want == inner != (f.Folder == inner) {
				t.Errorf("%s belongs to %s", f.Path, f.Folder)
			}
		}
	})
}

func TestGlobs(t *testing.T) {
	files := []string{"a.pdf", "b.PNG", "in/c.pdf", "in/deep/d.pdf", "out/e.pdf", "out/deep/f.pdf", "Grüße/g.pdf"}
	for _, tt := range []struct {
		include, exclude []string
		want             []string
	}{
		{nil, nil, files},
		{[]string{"**"}, nil, files},
		{[]string{"*"}, nil, []string{"a.pdf", "b.PNG"}},
		{[]string{"in/**", "Gr*/*.{pdf,tif}"}, nil, []string{"in/c.pdf", "in/deep/d.pdf", "Grüße/g.pdf"}},
		{[]string{"**/*.pdf"}, []string{"**/deep/**", "in/**"}, []string{"a.pdf", "out/e.pdf", "Grüße/g.pdf"}},
		{nil, []string{"*"}, []string{"in/c.pdf", "in/deep/d.pdf", "out/e.pdf", "out/deep/f.pdf", "Grüße/g.pdf"}},
		{nil, []string{"**"}, nil},
	} {
		t.Run(fmt.Sprint(tt.include, tt.exclude), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk, root string) {
				for _, name := range files {
					write(t, pdf, root, filepath.FromSlash(name))
				}
				w := mustNew(t, d.config(Folder{Path: root, Recursive: true, Include: tt.include, Exclude: tt.exclude}))
				once(t, w)
				d.want(root, tt.want...)
			})
		})
	}
}

func TestNotRecursive(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "a.pdf")
		write(t, pdf, root, "deep", "b.pdf")
		n := start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(6 * time.Second)
		n.send(fsnotify.Create, filepath.Join(root, "deep"))
		pass(6 * time.Second)
		d.want(root, "a.pdf")
		if got := n.watches(); len(got) != 1 {
			t.Errorf("watches %q", got)
		}
	})
}

func TestOnlyRegularFiles(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		real, root := filepath.Join(dir, "real"), filepath.Join(dir, "hot")
		write(t, pdf, dir, "elsewhere", "x.pdf")
		write(t, pdf, real, "letter.pdf")
		write(t, pdf, real, "folder.pdf", "inside.pdf")
		for link, to := range map[string]string{
			root:                                real, // the root itself may be one
			filepath.Join(real, "link.pdf"):     filepath.Join(dir, "elsewhere", "x.pdf"),
			filepath.Join(real, "near.pdf"):     "letter.pdf",
			filepath.Join(real, "dangling.pdf"): "nowhere.pdf",
			filepath.Join(real, "loop"):         real,
			filepath.Join(real, "linked"):       filepath.Join(dir, "elsewhere"),
		} {
			symlink(t, to, link)
		}
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true})))
		pass(6 * time.Second)
		for _, name := range []string{"link.pdf", "near.pdf", "loop", "linked"} {
			n.send(fsnotify.Create, filepath.Join(root, name))
		}
		pass(6 * time.Second)
		d.want(root, "letter.pdf", "folder.pdf/inside.pdf")

		first := newDesk(t)
		once(t, mustNew(t, first.config(Folder{Path: root, Recursive: true, Ignore: true})))
		if got := first.ignoredFiles(); len(got) != 2 {
			t.Errorf("ignored %+v", got)
		}
	})
}

func TestStrangeNames(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("such names cannot be")
	}
	names := []string{"two\nlines.pdf", "not\xffutf8.pdf", "back\\slash.pdf", "[glob]*?.pdf", " .pdf", "a/…/\u202egpj.pdf", "-rf.pdf", "\"quoted\".pdf"}
	bubble(t, func(t *testing.T, d *desk, root string) {
		for _, name := range names {
			write(t, pdf, root, name)
		}
		once(t, mustNew(t, d.config(Folder{Path: root, Recursive: true, Include: []string{"**"}})))
		d.want(root, names...)
	})
}

func TestNewFolders(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Recursive: true, Rescan: time.Hour})))
		synctest.Wait()
		write(t, pdf, root, "a", "b", "c", "letter.pdf")
		n.send(fsnotify.Create, filepath.Join(root, "a"))
		pass(6 * time.Second)
		d.want(root, "a/b/c/letter.pdf")
		if got := n.watches(); len(got) != 4 {
			t.Errorf("watches %q", got)
		}

		// Renamed: what lies in it is new by its path.
		must(t, os.Rename(filepath.Join(root, "a"), filepath.Join(root, "z")))
		n.send(fsnotify.Rename, filepath.Join(root, "a"))
		n.send(fsnotify.Create, filepath.Join(root, "z"))
		pass(6 * time.Second)
		d.want(root, "a/b/c/letter.pdf", "z/b/c/letter.pdf")
		if got := n.watches(); len(got) != 4 || !strings.HasSuffix(got[1], "z") {
			t.Errorf("watches %q", got)
		}

		// Removed and made again before anybody looked.
		n.kill(filepath.Join(root, "z"))
		n.send(fsnotify.Create, filepath.Join(root, "z"))
		synctest.Wait()
		if got := n.watches(); len(got) != 4 {
			t.Errorf("watches %q", got)
		}
	})
}

func TestChmodIsNoHint(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour})))
		synctest.Wait()
		path := write(t, pdf, root, "letter.pdf")
		before := d.calls()
		n.send(fsnotify.Chmod, path)
		synctest.Wait()
		if d.calls() != before {
			t.Error("looked because of a chmod")
		}
	})
}

func TestFoundFails(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "letter.pdf")
		d.set(nil, errors.New("disk full"))
		w := mustNew(t, d.config(Folder{Path: root}))
		var reads atomic.Int32
		w.open = func(r *os.Root, name string) (scanFile, error) {
			reads.Add(1)
			return openFile(r, name)
		}
		start(t, w)
		pass(5 * time.Minute)
		d.want(root)
		if got := strings.Count(d.logged(), "disk full"); got != 1 {
			t.Errorf("logged %d times:\n%s", got, d.logged())
		}
		if got := reads.Load(); got != 1 {
			t.Errorf("read %d times", got)
		}
		d.set(nil, nil)
		pass(5 * time.Second)
		d.want(root, "letter.pdf")
	})
}

// What was read before Found failed is of no use once the file has changed.
func TestChangedWhileFoundFails(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		path := write(t, pdf, root, "letter.pdf")
		d.set(nil, errors.New("disk full"))
		start(t, mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour})))
		pass(6 * time.Second)
		appendTo(t, path, "page\n")
		d.set(nil, nil)
		pass(5 * time.Second)
		d.want(root)
		pass(5 * time.Second)
		d.want(root, "letter.pdf")
		if got := d.files()[0].Content; got != sha256.Sum256([]byte(pdf+"page\n")) {
			t.Error("the digest is not that of the file as it is now")
		}
	})
}

func TestKnownFails(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf, root, "letter.pdf")
		d.set(errors.New("disk full"), nil)
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour})))
		synctest.Wait()
		if got := d.lastLook(root); got != (look{}) {
			t.Errorf("Looked(%v)", got)
		}
		n.send(fsnotify.Create, write(t, pdf, root, "memo.pdf"))
		pass(time.Minute)
		d.set(nil, nil)
		pass(11 * time.Second)
		d.want(root, "letter.pdf", "memo.pdf")
		if got := d.lastLook(root); got != (look{scanned: true}) {
			t.Errorf("Looked(%v)", got)
		}

		d.set(errors.New("disk full"), nil)
		n.send(fsnotify.Create, write(t, pdf, root, "note.pdf"))
		synctest.Wait()
		d.set(nil, nil)
		pass(11 * time.Second)
		d.want(root, "letter.pdf", "memo.pdf", "note.pdf")
	})
}

func TestBatches(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		for i := range 250 {
			write(t, pdf, root, fmt.Sprintf("%03d.pdf", i))
		}
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(6 * time.Second)
		if got := d.batchSizes(); !slices.Equal(got, []int{100, 100, 50}) {
			t.Errorf("batches of %v files", got)
		}
		for i, f := range d.files() {
			if got := filepath.Base(f.Path); got != fmt.Sprintf("%03d.pdf", i) {
				t.Fatalf("file %d is %s", i, got)
			}
		}
	})
}

func TestKnownFilesCostOneCall(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		for i := range 100 {
			write(t, pdf, root, fmt.Sprintf("%d.pdf", i))
		}
		w := mustNew(t, d.config(Folder{Path: root}))
		once(t, w)
		before := d.calls()
		w.open = func(*os.Root, string) (scanFile, error) {
			t.Error("a known file was read")
			return nil, fs.ErrPermission
		}
		once(t, w)
		if got := d.calls() - before; got != 100 {
			t.Errorf("%d calls", got)
		}
	})
}

func TestOnce(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root, missing := filepath.Join(dir, "hot"), filepath.Join(dir, "missing")
		growing := write(t, pdf, root, "growing.pdf")
		write(t, pdf, root, "letter.pdf")
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					appendTo(t, growing, "page\n")
				}
			}
		}()
		began := time.Now()
		left := once(t, mustNew(t, d.config(Folder{Path: root, Quiet: 10 * time.Second}, Folder{Path: missing})))
		close(stop)
		if left != 1 {
			t.Errorf("%d files were left, want the one that grows", left)
		}
		d.want(root, "letter.pdf")
		if got := time.Since(began); got != 100*time.Second {
			t.Errorf("waited %v for the file that grows", got)
		}
		if !strings.Contains(d.logged(), "still being written") {
			t.Errorf("the log says nothing of it:\n%s", d.logged())
		}
		if got := d.lastLook(missing); got.err == nil {
			t.Error("Looked does not know of the missing folder")
		}
	})
}

// Somebody waits for it: it is said why.
func TestOnceWithoutEnd(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf[:len(pdf)/2], root, "letter.pdf")
		once(t, mustNew(t, d.config(Folder{Path: root})))
		if !strings.Contains(d.logged(), "its end is missing") || !strings.Contains(d.logged(), "seconds=60") {
			t.Errorf("the log says nothing of it:\n%s", d.logged())
		}
	})
}

func TestOnceFails(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		write(t, pdf, a, "letter.pdf")
		write(t, pdf, b, "letter.pdf")
		full := errors.New("disk full")
		cfg := d.config(Folder{Path: a}, Folder{Path: b})
		found := cfg.Found
		cfg.Found = func(ctx context.Context, files []File) error {
			if files[0].Folder == a {
				return full
			}
			return found(ctx, files)
		}
		w := mustNew(t, cfg)
		if _, err := w.Once(t.Context()); !errors.Is(err, full) {
			t.Errorf("Once: %v", err)
		}
		d.want(dir, "b/letter.pdf")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Once(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Once: %v", err)
		}
	})
}

func TestNew(t *testing.T) {
	root := t.TempDir()
	d := newDesk(t)
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Folders = nil }, "no folder"},
		{func(c *Config) { c.Known = nil }, "Known"},
		{func(c *Config) { c.MaxSize = -1 }, "MaxSize"},
		{func(c *Config) { c.Folders[0].Path = "hot" }, "not absolute"},
		{func(c *Config) {
			c.Folders = append(c.Folders, Folder{Path: root + string(filepath.Separator)})
		}, "twice"},
		{func(c *Config) { c.Folders[0].Exclude = []string{"[a"} }, "not a valid glob"},
		{func(c *Config) { c.Folders[0].Quiet = -1 }, "quiet"},
		{func(c *Config) { c.Folders[0].Rescan = -1 }, "rescan"},
		{func(c *Config) { c.Folders[0].Ignore, c.Ignored = true, nil }, "Ignored"},
	} {
		cfg := d.config(Folder{Path: root})
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New: %v, want one that names %q", err, tt.want)
		}
	}
}
