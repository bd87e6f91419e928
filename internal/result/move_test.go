package result

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// elsewhere returns a folder on another file system than that of tests.
func elsewhere(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "scandrop")
	if err != nil {
		t.Skipf("no second file system: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	here := t.TempDir()
	if os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) != nil || os.Link(filepath.Join(dir, "x"), filepath.Join(here, "x")) == nil {
		t.Skip("/dev/shm is not another file system")
	}
	os.Remove(filepath.Join(dir, "x"))
	return dir
}

// onBoth runs a test with a folder to move to on the same and on another disk.
func onBoth(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("same disk", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "done")) })
	t.Run("another disk", func(t *testing.T) { test(t, filepath.Join(elsewhere(t), "done")) })
}

func TestMoveOriginal(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		d := newDesk(t)
		d.put("in/letter.pdf", "scan")
		old := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
		os.Chmod(d.at("in/letter.pdf"), 0o640)
		os.Chtimes(d.at("in/letter.pdf"), old, old)
		before, err := os.Stat(d.at("in/letter.pdf"))
		if err != nil {
			t.Fatal(err)
		}
		moved, err := d.folder.MoveOriginal(d.at("in/letter.pdf"), dir, sum("scan"))
		if want := filepath.Join(dir, "in", "letter.pdf"); err != nil || moved != want {
			t.Fatalf("MoveOriginal = %q, %v; want %q", moved, err, want)
		}
		d.want(nil)
		want(t, dir, map[string]string{"in/letter.pdf": "scan"})
		after, err := os.Stat(moved)
		if err != nil || after.Mode() != before.Mode() || !after.ModTime().Equal(old) {
			t.Errorf("mode %v, time %v; want %v, %v", after.Mode(), after.ModTime(), before.Mode(), old)
		}

		// It is told again after a crash.
		again, err := d.folder.MoveOriginal(d.at("in/letter.pdf"), dir, sum("scan"))
		if err != nil || again != moved {
			t.Errorf("the second time: %q, %v", again, err)
		}
	})
}

func TestMoveOriginalTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		d := newDesk(t)
		for i, text := range []string{"one", "two", "six"} { // of one length
			d.put("scan.pdf", text)
			moved, err := d.folder.MoveOriginal(d.at("scan.pdf"), dir, sum(text))
			name := "scan.pdf"
			if i > 0 {
				name = fmt.Sprintf("scan (%d).pdf", i+1)
			}
			if err != nil || moved != filepath.Join(dir, name) {
				t.Fatalf("MoveOriginal = %q, %v; want %s", moved, err, name)
			}
		}
		os.Mkdir(filepath.Join(dir, "scan (4).pdf"), 0o755)
		d.put("scan.pdf", "ten")
		if moved, err := d.folder.MoveOriginal(d.at("scan.pdf"), dir, sum("ten")); err != nil || filepath.Base(moved) != "scan (5).pdf" {
			t.Fatalf("MoveOriginal = %q, %v", moved, err)
		}
		// The same content once more has its copy there already.
		d.put("scan.pdf", "two")
		if moved, err := d.folder.MoveOriginal(d.at("scan.pdf"), dir, sum("two")); err != nil || filepath.Base(moved) != "scan (2).pdf" {
			t.Fatalf("MoveOriginal = %q, %v", moved, err)
		}
		d.want(nil)
		want(t, dir, map[string]string{"scan.pdf": "one", "scan (2).pdf": "two", "scan (3).pdf": "six", "scan (5).pdf": "ten"})
	})
}

func TestMoveOriginalStays(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		d := newDesk(t)
		stays := func(path string) {
			t.Helper()
			if moved, err := d.folder.MoveOriginal(d.at(path), dir, sum("scan")); !errors.Is(err, ErrStays) {
				t.Errorf("MoveOriginal(%s) = %q, %v; want ErrStays", path, moved, err)
			}
		}
		stays("gone.pdf")
		stays("gone/gone.pdf")
		d.put("letter.pdf", "another scan")
		stays("letter.pdf")
		stays("letter.pdf/letter.pdf")
		os.Mkdir(d.at("folder.pdf"), 0o755)
		stays("folder.pdf")
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a folder was made for nothing")
		}
		os.Mkdir(dir, 0o755)
		os.WriteFile(filepath.Join(dir, "gone.pdf"), []byte("not it"), 0o644)
		stays("gone.pdf")
		d.want(map[string]string{"letter.pdf": "another scan"})
		want(t, dir, map[string]string{"gone.pdf": "not it"})
	})
}

// An original that was moved is found again although the next scan of that name
// lies in its place by now.
func TestMoveOriginalFollowed(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		d := newDesk(t)
		d.put("scan.pdf", "one")
		moved, err := d.folder.MoveOriginal(d.at("scan.pdf"), dir, sum("one"))
		if err != nil {
			t.Fatal(err)
		}
		d.put("scan.pdf", "the next scan")
		if again, err := d.folder.MoveOriginal(d.at("scan.pdf"), dir, sum("one")); err != nil || again != moved {
			t.Errorf("MoveOriginal = %q, %v; want %s", again, err, moved)
		}
		d.want(map[string]string{"scan.pdf": "the next scan"})
	})
}

// A move that was killed is finished.
func TestMoveOriginalAfterKill(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		for name, kill := range map[string]func(d desk, temp string){
			"copied":      func(d desk, temp string) { os.WriteFile(filepath.Join(dir, "letter.pdf"), []byte("scan"), 0o644) },
			"half copied": func(d desk, temp string) { os.WriteFile(filepath.Join(dir, temp), []byte("sc"), 0o400) },
			"hidden":      func(d desk, temp string) { os.Rename(d.at("letter.pdf"), d.at(temp)) },
			"copied and hidden": func(d desk, temp string) {
				d.put("../"+filepath.Base(dir)+"/x", "")
				os.Rename(d.at("letter.pdf"), d.at(temp))
			},
			"copied, not removed": func(d desk, temp string) { os.Link(d.at("letter.pdf"), filepath.Join(dir, "letter.pdf")) },
		} {
			if name == "half copied" && strings.HasPrefix(dir, os.TempDir()) {
				continue // nothing is copied on one disk
			}
			t.Run(name, func(t *testing.T) {
				d := newDesk(t)
				os.RemoveAll(dir)
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				d.put("letter.pdf", "scan")
				content := sum("scan")
				key := sum(string(content[:]) + "letter.pdf")
				kill(d, fmt.Sprintf(".scandrop-%x.tmp", key[:8]))
				if moved, err := d.folder.MoveOriginal(d.at("letter.pdf"), dir, content); err != nil || moved != filepath.Join(dir, "letter.pdf") {
					t.Errorf("MoveOriginal = %q, %v", moved, err)
				}
				d.want(nil)
				want(t, dir, map[string]string{"letter.pdf": "scan"})
			})
		}
	})
}

// begin prepares a move up to where the content has been found to be right.
func begin(t *testing.T, d desk, dir string) *move {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	m := &move{from: d.folder.root, to: to, rel: "letter.pdf", content: sum("scan"), temp: ".temp"}
	if m.file, err = openRegular(m.from, m.rel); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.file.Close() })
	if m.info, err = m.file.Stat(); err != nil {
		t.Fatal(err)
	}
	return m
}

// A newer scan that takes the original's place in the last moment stays.
func TestMoveOriginalReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, dir string) {
		// In two steps: Windows replaces no file that somebody reads, but lets it be moved.
		replace := func(d desk) {
			d.put("newer", "newer scan")
			err := os.Rename(d.at("letter.pdf"), filepath.Join(d.TempDir(), "letter.pdf"))
			if err := errors.Join(err, os.Rename(d.at("newer"), d.at("letter.pdf"))); err != nil {
				d.Fatal(err)
			}
		}
		t.Run("before", func(t *testing.T) {
			d := newDesk(t)
			d.put("letter.pdf", "scan")
			m := begin(t, d, dir)
			replace(d)
			if err := m.take("letter.pdf"); !errors.Is(err, ErrStays) {
				t.Errorf("take: %v, want ErrStays", err)
			}
			d.want(map[string]string{"letter.pdf": "newer scan"})
			want(t, dir, nil)
		})
		t.Run("after it was copied", func(t *testing.T) {
			d := newDesk(t)
			d.put("letter.pdf", "scan")
			m := begin(t, d, dir)
			replace(d)
			if err := m.copy("letter.pdf"); !errors.Is(err, ErrStays) {
				t.Errorf("copy: %v, want ErrStays", err)
			}
			d.want(map[string]string{"letter.pdf": "newer scan"})
			want(t, dir, nil)
		})
		t.Run("when a third was there", func(t *testing.T) {
			d := newDesk(t)
			d.put("letter.pdf", "scan")
			m := begin(t, d, dir)
			d.put(".temp", "newer scan")
			d.put("letter.pdf", "newest scan")
			if err := m.recover(); err != nil {
				t.Error(err)
			}
			d.want(map[string]string{"letter.pdf": "newest scan", "letter (2).pdf": "newer scan"})
		})
	})
}

// Who moves originals to where they are must not lose them.
func TestMoveOriginalOntoItself(t *testing.T) {
	d := newDesk(t)
	d.put("in/letter.pdf", "scan")
	link := filepath.Join(t.TempDir(), "link")
	dirs := []string{d.path}
	if symlink(d.path, link) == nil {
		dirs = append(dirs, link)
	}
	for _, dir := range dirs {
		moved, err := d.folder.MoveOriginal(d.at("in/letter.pdf"), dir, sum("scan"))
		if err != nil || moved != filepath.Join(dir, "in", "letter.pdf") {
			t.Errorf("MoveOriginal = %q, %v", moved, err)
		}
		d.want(map[string]string{"in/letter.pdf": "scan"})
	}
}

// A folder is made, but not the disk that it should lie on.
func TestMoveOriginalFolder(t *testing.T) {
	d := newDesk(t)
	d.put("letter.pdf", "scan")
	dir := t.TempDir()
	if _, err := d.folder.MoveOriginal(d.at("letter.pdf"), filepath.Join(dir, "disk", "done"), sum("scan")); err == nil || errors.Is(err, ErrStays) || errors.Is(err, ErrRootMissing) {
		t.Errorf("MoveOriginal: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("it made %v", entries)
	}
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	if _, err := d.folder.MoveOriginal(d.at("letter.pdf"), filepath.Join(dir, "file"), sum("scan")); err == nil || errors.Is(err, ErrStays) {
		t.Errorf("MoveOriginal to a file: %v", err)
	}
	d.want(map[string]string{"letter.pdf": "scan"})
}

func TestOriginals(t *testing.T) {
	seen := map[string]bool{}
	last := ""
	for name := range originals("scan.pdf", sum("x")) {
		if seen[name] || len(name) > longest {
			t.Errorf("%q comes twice, or is too long", name)
		}
		seen[name], last = true, name
	}
	content := sum("x")
	if want := fmt.Sprintf("scan (%x).pdf", content[:16]); len(seen) != maxNames+1 || last != want {
		t.Errorf("%d names, the last %q", len(seen), last)
	}
}
