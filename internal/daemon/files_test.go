package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/internal/result"
	"scandrop/queue"
	"scandrop/uploader"
)

// TestHangs: no step waits for a folder that hangs, whatever it is, and none asks it
// again before every call has come to its end, which is told.
func TestHangs(t *testing.T) {
	dir := t.TempDir()
	other := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t.TempDir(), []config.Folder{{Path: dir}, {Path: other}})
		var answered []string
		f.answers = func(folder string) { answered = append(answered, folder) }
		closed := 0
		release := make(chan bool)
		hang := func() error { <-release; return nil }
		silent := make(chan error)
		const calls = 2
		for range calls {
			go func() { silent <- f.inTime(dir, hang, func() { closed++ }) }()
		}
		for range calls {
			if err := <-silent; !errors.Is(err, uploader.ErrSilent) {
				t.Errorf("a folder that hangs: %v", err)
			}
		}
		began := time.Now()
		j := queue.Job{Folder: dir, Path: filepath.Join(dir, "a.pdf")}
		j.Options.Formats = []string{"txt"}
		steps := func(j queue.Job) map[string]error {
			opened, _, err := f.Open(j)
			if err == nil {
				opened.Close()
			}
			errs := map[string]error{"Room": f.Room(j), "Open": err}
			errs["Write"] = f.Write(context.Background(), j, "txt", func(hwocr.File) error { return nil }, nope)
			_, errs["Has"] = f.Has(j, j.Path, queue.Digest{})
			_, errs["OpenResult"] = f.OpenResult(j, j.Path)
			_, errs["Move"] = f.Move(j, "done")
			return errs
		}
		for step, err := range steps(j) {
			if !errors.Is(err, uploader.ErrSilent) {
				t.Errorf("%s of a folder that hangs: %v", step, err)
			}
		}
		j.Folder, j.Path = other, filepath.Join(other, "a.pdf")
		for step, err := range steps(j) {
			if errors.Is(err, uploader.ErrSilent) {
				t.Errorf("%s of another folder: %v", step, err)
			}
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a folder that was known to hang was waited for, %v", waited)
		}
		release <- true
		synctest.Wait()
		if err := f.inTime(dir, func() error { return nil }, nil); !errors.Is(err, uploader.ErrSilent) || len(answered) > 0 {
			t.Errorf("it is asked while a call hangs: %v, %q", err, answered)
		}
		release <- true
		synctest.Wait()
		if closed != calls || len(answered) != 1 || answered[0] != dir {
			t.Errorf("%d calls were undone, %q answer", closed, answered)
		}
		if folder, err := f.reach(dir, f.hot); err != nil {
			t.Errorf("a folder that answers again: %v", err)
		} else {
			folder.Close()
		}
		opened, err := f.reach(dir, func(path string) (*result.Folder, error) { <-release; return f.hot(path) })
		if opened != nil || !errors.Is(err, uploader.ErrSilent) {
			t.Errorf("%v, %v", opened, err)
		}
		release <- true
	})
}

func nope(string, queue.Digest) (queue.NameClaim, error) {
	return queue.NameClaim{}, errors.New("no name")
}

// A folder that took a result is believed for a second, and no other; one that does not is
// tried again each time.
func TestTried(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "letters")
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t.TempDir(), []config.Folder{{Path: root}})
		room := func(dir string) error {
			return f.Room(queue.Job{Folder: root, Path: filepath.Join(dir, "a.pdf")})
		}
		must := func(err error) {
			if err != nil {
				t.Helper()
				t.Fatal(err)
			}
		}
		// A file where the folder was takes no results.
		shut := func() {
			must(os.RemoveAll(dir))
			must(os.WriteFile(dir, nil, 0o600))
		}
		reopen := func() { must(os.Remove(dir)) }

		shut()
		if room(dir) == nil {
			t.Error("what is no folder takes results")
		}
		reopen()
		if err := room(dir); err != nil {
			t.Errorf("it is one now: %v", err)
		}
		shut()
		if err := room(dir); err != nil {
			t.Errorf("it was tried in the same instant: %v", err)
		}
		if room(filepath.Join(dir, "other")) == nil {
			t.Error("a folder in it, which was never tried, takes results")
		}
		j := queue.Job{Folder: root, Path: filepath.Join(dir, "a.pdf")}
		if err := f.Write(t.Context(), j, "txt", nil, nope); err == nil || room(dir) == nil {
			t.Errorf("a result could not be written there: %v", err)
		}
		reopen()
		if err := room(dir); err != nil {
			t.Fatal(err)
		}
		shut()
		time.Sleep(triedFor)
		if room(dir) == nil {
			t.Error("it is not tried again")
		}
	})
}

// Of a result that was published when scandrop died the name that it had before goes, too.
func TestHasUnstages(t *testing.T) {
	dir := t.TempDir()
	j := queue.Job{Folder: dir, Path: filepath.Join(dir, "letter.pdf"), Identity: queue.Digest{1}}
	text := []byte("the text")
	published, before := filepath.Join(dir, "letter.txt"), filepath.Join(dir, ".scandrop-"+stageKey(j)+"-txt.tmp")
	if err := errors.Join(os.WriteFile(published, text, 0o600), os.Link(published, before)); err != nil {
		t.Fatal(err)
	}
	f := newFiles(t.TempDir(), []config.Folder{{Path: dir}})
	if has, err := f.Has(j, published, sha256.Sum256(text)); !has || err != nil {
		t.Fatalf("has it: %v, %v", has, err)
	}
	if _, err := os.Lstat(before); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what it was called before is there: %v", err)
	}
}
