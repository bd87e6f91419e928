//go:build unix

package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestModes(t *testing.T) {
	root := folder(t)
	f := begin(t, root, "text")
	mode := func(name string) fs.FileMode {
		t.Helper()
		info, err := root.Lstat(filepath.Join("in", name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if got := mode(".temp"); got != 0o600 {
		t.Errorf("while it is written: mode %o", got)
	}
	put(t, root, "like", "")
	like, err := root.Stat("like")
	if err != nil {
		t.Fatal(err)
	}
	f.Permit(like, 0o646) // exact, whatever the umask
	if err := f.Publish("letter.txt"); err != nil {
		t.Fatal(err)
	}
	if got := mode("letter.txt"); got != 0o646 {
		t.Errorf("mode %o, want 646", got)
	}
	path := filepath.Join(root.Name(), "in", "state")
	if err := WriteFile(path, nil, 0o622); err != nil {
		t.Fatal(err)
	}
	if got := mode("state"); got != 0o622 {
		t.Errorf("WriteFile: mode %o, want 622", got)
	}
}

// A described stands for a file whose group nobody can give.
type described struct{ fs.FileInfo }

func (d described) Sys() any {
	s := *d.FileInfo.Sys().(*syscall.Stat_t)
	s.Gid = ^uint32(0) // chown leaves the group as it is
	return &s
}

// A file whose group cannot be set is open to nobody who was not meant.
func TestPermitForeignGroup(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]fs.FileMode{
		0o644: 0o644, 0o640: 0o600, 0o604: 0o600, 0o664: 0o644, 0o646: 0o644, 0o750: 0o700, 0o400: 0o400,
	} {
		Permit(f, described{info}, mode)
		got, err := f.Stat()
		if err != nil || got.Mode().Perm() != want {
			t.Errorf("%o became %o, want %o", mode, got.Mode().Perm(), want)
		}
		Permit(f, info, mode)
		got, err = f.Stat()
		if err != nil || got.Mode().Perm() != mode {
			t.Errorf("of our own group: %o became %o", mode, got.Mode().Perm())
		}
	}
}

func TestPermitOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 12345, 54321); err != nil {
		t.Skip(err)
	}
	like, err := os.Stat(theirs)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	Permit(f, like, 0o640)
	got, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Sys().(*syscall.Stat_t); s.Uid != 12345 || s.Gid != 54321 || got.Mode().Perm() != 0o640 {
		t.Errorf("owner %d, group %d, mode %o", s.Uid, s.Gid, got.Mode().Perm())
	}
}
