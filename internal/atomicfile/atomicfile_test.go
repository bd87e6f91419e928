package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// folder opens a temporary folder that holds a folder "in".
func folder(t *testing.T) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	if err := root.Mkdir("in", 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// begin writes text to a new File in the folder "in".
func begin(t *testing.T, root *os.Root, text string) *File {
	t.Helper()
	f, err := Create(root, "in", ".temp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Discard)
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return f
}

// put writes a file as a stranger would.
func put(t *testing.T, root *os.Root, name, text string) {
	t.Helper()
	if err := root.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, root *os.Root, to, name string) {
	t.Helper()
	if err := root.Symlink(to, name); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
}

// want checks the names in the folder "in", and the text of files.
func want(t *testing.T, root *os.Root, files map[string]string) {
	t.Helper()
	entries, err := fs.ReadDir(root.FS(), "in")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if text, ok := files[e.Name()]; ok && e.Type().IsRegular() {
			if got, err := root.ReadFile(filepath.Join("in", e.Name())); err != nil || string(got) != text {
				t.Errorf("%s holds %q, %v; want %q", e.Name(), got, err, text)
			}
		}
	}
	for name := range files {
		if !slices.Contains(names, name) {
			t.Errorf("%s is missing", name)
		}
	}
	if len(names) != len(files) {
		t.Errorf("the folder holds %q", names)
	}
}

func TestPublish(t *testing.T) {
	root := folder(t)
	f := begin(t, root, "text")
	if err := f.Publish("letter.txt"); err != nil {
		t.Fatal(err)
	}
	want(t, root, map[string]string{"letter.txt": "text"})
	f.Discard()
	want(t, root, map[string]string{"letter.txt": "text"})
	if err := f.Publish("again.txt"); err == nil {
		t.Error("published twice")
	}
	if f.Size() != 4 {
		t.Errorf("Size = %d", f.Size())
	}
}

// Whatever has the name keeps it, and the file can have another one.
func TestPublishReplacesNothing(t *testing.T) {
	for name, take := range map[string]func(*testing.T, *os.Root){
		"file":       func(t *testing.T, r *os.Root) { put(t, r, "in/letter.txt", "theirs") },
		"empty file": func(t *testing.T, r *os.Root) { put(t, r, "in/letter.txt", "") },
		"folder":     func(t *testing.T, r *os.Root) { r.Mkdir("in/letter.txt", 0o755) },
		"link": func(t *testing.T, r *os.Root) {
			put(t, r, "theirs", "theirs")
			symlink(t, r, "../theirs", "in/letter.txt")
		},
		"dangling link": func(t *testing.T, r *os.Root) { symlink(t, r, "nowhere", "in/letter.txt") },
	} {
		t.Run(name, func(t *testing.T) {
			root := folder(t)
			take(t, root)
			before, err := root.Lstat("in/letter.txt")
			if err != nil {
				t.Fatal(err)
			}
			f := begin(t, root, "ours")
			if err := f.Publish("letter.txt"); !errors.Is(err, fs.ErrExist) {
				t.Fatalf("Publish: %v, want fs.ErrExist", err)
			}
			after, err := root.Lstat("in/letter.txt")
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() {
				t.Error("what had the name was touched")
			}
			if err := f.Publish("letter.pdf.txt"); err != nil {
				t.Fatal(err)
			}
			if got, _ := root.ReadFile("in/letter.pdf.txt"); string(got) != "ours" {
				t.Errorf("published %q", got)
			}
		})
	}
}

// Each way to rename without replacing must do so by itself: which of them a
// file system needs is not known before.
func TestWays(t *testing.T) {
	for name, way := range map[string]func(root *os.Root, name, target string) error{
		"rename": func(root *os.Root, name, target string) error { return rename(root, name, root, target) },
		"link":   link,
		"take":   takeName,
		"all":    func(root *os.Root, name, target string) error { return Rename(root, name, root, target) },
	} {
		t.Run(name, func(t *testing.T) {
			root := folder(t)
			put(t, root, "in/a", "ours")
			put(t, root, "in/b", "theirs")
			err := way(root, "in/a", "in/b")
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("over another: %v, want fs.ErrExist", err)
			}
			if err := way(root, "in/missing", "in/c"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of nothing: %v, want fs.ErrNotExist", err)
			}
			want(t, root, map[string]string{"a": "ours", "b": "theirs"})
			if err := way(root, "in/a", "in/c"); err != nil {
				t.Error(err)
			}
			want(t, root, map[string]string{"c": "ours", "b": "theirs"})
		})
	}
}

func TestReplace(t *testing.T) {
	root := folder(t)
	put(t, root, "in/letter.txt", "old")
	if err := begin(t, root, "new").Replace("letter.txt"); err != nil {
		t.Fatal(err)
	}
	want(t, root, map[string]string{"letter.txt": "new"})

	put(t, root, "theirs", "theirs")
	symlink(t, root, "../theirs", "in/link.txt")
	if err := begin(t, root, "ours").Replace("link.txt"); err != nil {
		t.Fatal(err)
	}
	want(t, root, map[string]string{"letter.txt": "new", "link.txt": "ours"})
	if got, _ := root.ReadFile("theirs"); string(got) != "theirs" {
		t.Errorf("what the link pointed to holds %q", got)
	}
}

func TestDiscard(t *testing.T) {
	root := folder(t)
	f := begin(t, root, "text")
	want(t, root, map[string]string{".temp": "text"})
	f.Discard()
	f.Discard()
	want(t, root, nil)
	if err := f.Publish("letter.txt"); err == nil {
		t.Error("published after Discard")
	}
}

// A crash between the two halves of a publication leaves the temporary name as
// a second one of the file that is whole. Beginning anew must not cut that.
func TestLeftover(t *testing.T) {
	t.Run("second name", func(t *testing.T) {
		root := folder(t)
		put(t, root, "in/letter.txt", "whole")
		if err := root.Link("in/letter.txt", "in/.temp"); err != nil {
			t.Skip(err)
		}
		begin(t, root, "n").Discard()
		want(t, root, map[string]string{"letter.txt": "whole"})
	})
	t.Run("read-only", func(t *testing.T) {
		root := folder(t)
		put(t, root, "in/.temp", "leftover")
		root.Chmod("in/.temp", 0o400)
		if err := begin(t, root, "new").Publish("letter.txt"); err != nil {
			t.Fatal(err)
		}
		want(t, root, map[string]string{"letter.txt": "new"})
	})
	t.Run("link", func(t *testing.T) {
		root := folder(t)
		put(t, root, "theirs", "theirs")
		symlink(t, root, "../theirs", "in/.temp")
		if err := begin(t, root, "new").Publish("letter.txt"); err != nil {
			t.Fatal(err)
		}
		if got, _ := root.ReadFile("theirs"); string(got) != "theirs" {
			t.Errorf("what the link pointed to holds %q", got)
		}
	})
	t.Run("folder", func(t *testing.T) {
		root := folder(t)
		root.MkdirAll("in/.temp/full", 0o755)
		if f, err := Create(root, "in", ".temp"); err == nil {
			f.Discard()
			t.Error("a folder in the way was removed")
		}
	})
}

// Two that use the same temporary name must not publish each other's half.
func TestAnothersTemporary(t *testing.T) {
	root := folder(t)
	first := begin(t, root, "first")
	begin(t, root, "second, half of")
	if err := first.Publish("letter.txt"); err == nil {
		t.Error("published another's file")
	}
	if err := first.Replace("letter.txt"); err == nil {
		t.Error("published another's file")
	}
	first.Discard()
	want(t, root, map[string]string{".temp": "second, half of"})
}

func TestNames(t *testing.T) {
	root := folder(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "/x"} {
		if f, err := Create(root, "in", name); err == nil {
			f.Discard()
			t.Errorf("Create(%q) succeeded", name)
		}
		f := begin(t, root, "text")
		if f.Publish(name) == nil || f.Replace(name) == nil {
			t.Errorf("published as %q", name)
		}
		f.Discard()
	}
	if _, err := Create(root, "../out", ".temp"); err == nil {
		t.Error("created outside of the root")
	}
	want(t, root, nil)
}

// Of many who want one name one gets it, whole.
func TestPublishAtOnce(t *testing.T) {
	root := folder(t)
	const writers = 16
	var wg sync.WaitGroup
	won := make(chan string, writers)
	for i := range writers {
		wg.Go(func() {
			text := fmt.Sprint("writer ", i)
			f, err := Create(root, "in", fmt.Sprintf(".temp%d", i))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Discard()
			f.Write([]byte(text))
			switch err := f.Publish("letter.txt"); {
			case err == nil:
				won <- text
			case !errors.Is(err, fs.ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(won)
	want(t, root, map[string]string{"letter.txt": <-won})
	if another, ok := <-won; ok {
		t.Errorf("%s was told the same", another)
	}
}

func TestReadAt(t *testing.T) {
	f := begin(t, folder(t), "0123456789")
	p := make([]byte, 3)
	if _, err := f.ReadAt(p, 4); err != nil || string(p) != "456" {
		t.Errorf("ReadAt: %q, %v", p, err)
	}
	f.Write([]byte("ab"))
	if _, err := f.ReadAt(p, 9); err != nil || string(p) != "9ab" {
		t.Errorf("ReadAt after Write: %q, %v", p, err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, text := range []string{"first, and longer", "second"} {
		if err := WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("read %q, %v; want %q", got, err, text)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
	if err := WriteFile(filepath.Join(dir, "none", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing folder: %v, want fs.ErrNotExist", err)
	}
	os.Mkdir(filepath.Join(dir, "folder"), 0o755)
	if WriteFile(filepath.Join(dir, "folder"), nil, 0o600) == nil {
		t.Error("replaced a folder")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left over: %v", entries)
	}
	t.Chdir(dir)
	if err := WriteFile("here", []byte("x"), 0o600); err != nil {
		t.Errorf("in the current folder: %v", err)
	}
}

func TestPatiently(t *testing.T) {
	errBusy, errOther := errors.New("busy"), errors.New("other")
	busy := func(err error) bool { return err == errBusy }
	for _, test := range []struct {
		name   string
		last   error         // what it comes to
		after  time.Duration // for so long it is busy
		want   error
		atMost time.Duration
	}{
		{"at once", nil, 0, nil, 0},
		{"busy for a moment", nil, 300 * time.Millisecond, nil, 700 * time.Millisecond},
		{"busy just long enough", nil, 2 * time.Second, nil, 2 * time.Second},
		{"busy for long", nil, time.Minute, errBusy, 2 * time.Second},
		{"wrong", errOther, 0, errOther, 0},
		{"busy, then wrong", errOther, time.Second, errOther, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := patiently(busy, func() error {
					if time.Since(began) < test.after {
						return errBusy
					}
					return test.last
				})
				if took := time.Since(began); err != test.want || took > test.atMost {
					t.Errorf("%v after %v; want %v within %v", err, took, test.want, test.atMost)
				}
			})
		})
	}
}

// The content is on the disk before it has its name, and the name before
// anybody is told.
func TestSyncs(t *testing.T) {
	real := fsync
	t.Cleanup(func() { fsync = real })
	for _, replace := range []bool{false, true} {
		root := folder(t)
		var synced []string
		fsync = func(f *os.File) error {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			what := "content"
			if info.IsDir() {
				what = "folder"
			}
			if _, err := root.Lstat("in/letter.txt"); err == nil {
				what += " under its name"
			}
			synced = append(synced, what)
			return real(f)
		}
		f := begin(t, root, "text")
		publish := f.Publish
		if replace {
			publish = f.Replace
		}
		if err := publish("letter.txt"); err != nil {
			t.Fatal(err)
		}
		want := []string{"content", "folder under its name"}
		if runtime.GOOS == "windows" { // it has no such thing for folders
			want = want[:1]
		}
		if !slices.Equal(synced, want) {
			t.Errorf("replace %t: synced %q, want %q", replace, synced, want)
		}

		broken := errors.New("the disk does not answer")
		fsync = func(*os.File) error { return broken }
		f = begin(t, root, "text")
		if err := f.Publish("other.txt"); !errors.Is(err, broken) {
			t.Errorf("a sync that fails: %v", err)
		}
		if _, err := root.Lstat("in/other.txt"); err == nil {
			t.Error("what may not be on the disk was published")
		}
	}
}
