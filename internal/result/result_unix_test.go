//go:build unix

package result

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func (d desk) mode(name string) fs.FileMode {
	d.Helper()
	info, err := os.Stat(d.at(name))
	if err != nil {
		d.Fatal(err)
	}
	return info.Mode()
}

// A result is as open as its original, and never more.
func TestModes(t *testing.T) {
	umask := syscall.Umask(0o027) // which must not matter
	defer syscall.Umask(umask)
	for original, want := range map[fs.FileMode]fs.FileMode{0o777: 0o666, 0o644: 0o644, 0o640: 0o640, 0o600: 0o600, 0o440: 0o440, 0o060: 0o460} {
		d := newDesk(t)
		d.put("letter.pdf", "scan")
		os.Chmod(d.at("letter.pdf"), original)
		s := d.stage("letter.pdf", "text")
		if got := d.mode(".scandrop-7-txt.tmp").Perm(); got != 0o600 {
			t.Errorf("while it is written: mode %o", got)
		}
		if _, err := s.Publish(t.Context(), grant()); err != nil {
			t.Fatal(err)
		}
		if got := d.mode("letter.txt").Perm(); got != want {
			t.Errorf("original %o, result %o; want %o", original, got, want)
		}
	}

	t.Run("gone before", func(t *testing.T) {
		d := newDesk(t)
		d.stage("letter.pdf", "text").Publish(t.Context(), grant())
		if got := d.mode("letter.txt").Perm(); got != 0o600 {
			t.Errorf("mode %o, want 600", got)
		}
	})
	t.Run("gone meanwhile", func(t *testing.T) {
		d := newDesk(t)
		d.put("letter.pdf", "scan")
		os.Chmod(d.at("letter.pdf"), 0o640)
		s := d.stage("letter.pdf", "text")
		os.Remove(d.at("letter.pdf"))
		s.Publish(t.Context(), grant())
		if got := d.mode("letter.txt").Perm(); got != 0o640 {
			t.Errorf("mode %o, want 640", got)
		}
	})
	t.Run("narrowed meanwhile", func(t *testing.T) {
		d := newDesk(t)
		d.put("letter.pdf", "scan")
		s := d.stage("letter.pdf", "text")
		os.Chmod(d.at("letter.pdf"), 0o600)
		s.Publish(t.Context(), grant())
		if got := d.mode("letter.txt").Perm(); got != 0o600 {
			t.Errorf("mode %o, want 600", got)
		}
	})
	t.Run("moved", func(t *testing.T) {
		d := newDesk(t)
		d.put("failed/letter.pdf", "scan")
		os.Chmod(d.at("failed/letter.pdf"), 0o640)
		s := d.stage("letter.pdf", "text")
		s.Moved = d.at("failed/letter.pdf")
		s.Publish(t.Context(), grant())
		if got := d.mode("letter.txt").Perm(); got != 0o640 {
			t.Errorf("mode %o, want 640", got)
		}
	})
	t.Run("folders", func(t *testing.T) {
		d := newDesk(t)
		os.Mkdir(d.at("a"), 0o700)
		os.Chmod(d.at("a"), 0o2775)
		d.stage("a/b/c/letter.pdf", "text").Publish(t.Context(), grant())
		for _, dir := range []string{"a/b", "a/b/c"} {
			if got, want := d.mode(dir), d.mode("a"); got != want {
				t.Errorf("%s has mode %v, want %v", dir, got, want)
			}
		}
		done := filepath.Join(t.TempDir(), "done")
		os.Chmod(d.path, 0o750)
		d.put("letter.pdf", "scan")
		if _, err := d.folder.MoveOriginal(d.at("letter.pdf"), done, sum("scan")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(done); err != nil || info.Mode().Perm() != 0o750 {
			t.Errorf("%s has mode %v, %v", done, info.Mode(), err)
		}
	})
}

// A pipe in a file's place must not make anybody wait.
func TestPipe(t *testing.T) {
	d := newDesk(t)
	if err := syscall.Mkfifo(d.at("letter.txt"), 0o644); err != nil {
		t.Skip(err)
	}
	if f, err := d.folder.OpenFile(d.at("letter.txt")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenFile: %v, want fs.ErrNotExist", err)
		f.Close()
	}
	r, err := d.stage("letter.pdf", "text").Publish(t.Context(), grant("text"))
	if err != nil || r.Path != d.at("letter.pdf.txt") {
		t.Errorf("Publish = %q, %v", r.Path, err)
	}
}
