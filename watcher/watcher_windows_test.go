package watcher

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
