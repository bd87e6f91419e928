package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A queue file that is lost or damaged while work is under way costs nothing:
// it is restored, and nothing is paid again.
func TestRestore(t *testing.T) {
	t.Parallel()
	change := func(f func([]byte) []byte) func(string) error {
		return func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, f(text), 0o600)
		}
	}
	for _, damage := range []struct {
		name string
		do   func(queue string) error
	}{
		{"gone", os.Remove},
		{"empty", change(func([]byte) []byte { return nil })},
		{"cut off", change(func(b []byte) []byte { return b[:len(b)/2] })},
		{"a text", change(func([]byte) []byte { return []byte("dear diary\n") })},
		{"zeros in the middle", change(func(b []byte) []byte {
			copy(b[2*os.Getpagesize():], make([]byte, len(b)-2*os.Getpagesize()))
			return b
		})},
		{"a bit wrong in each record", func(path string) error {
			return change(func(b []byte) []byte {
				spoilt := bytes.ReplaceAll(b, []byte(`"identity"`), []byte(`"identitx"`))
				if bytes.Equal(b, spoilt) {
					return nil // an empty file will do
				}
				return spoilt
			})(path)
		}},
	} {
		for _, snapshots := range []struct {
			name string
			do   func(folder string) error
		}{
			{"", func(string) error { return nil }},
			{", no snapshot", os.RemoveAll},
			{", snapshots cut off", func(folder string) error {
				files, err := filepath.Glob(filepath.Join(folder, "*.db"))
				for _, file := range files {
					err = errors.Join(err, os.Truncate(file, 5000))
				}
				return err
			}},
		} {
			t.Run(damage.name+snapshots.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, 3)
				s.damaged = true
				if err := s.start().Wait(); err != nil {
					t.Fatal(err)
				}
				for i := 3; i < 7; i++ {
					s.drop("late/"+string(rune('a'+i))+".png", i)
				}
				var calls atomic.Int64
				s.onCall(func(_ int, at sandbox.Moment) {
					if at == sandbox.Made && calls.Add(1) == 9 {
						s.kill()
					}
				})
				s.start().Wait()
				state := filepath.Join(s.dir, "state")
				if err := errors.Join(damage.do(filepath.Join(state, queueFile)), snapshots.do(filepath.Join(state, snapshotFolder))); err != nil {
					t.Fatal(err)
				}
				s.finish(7)
			})
		}
	}
}

// Where what lay in a folder at first is not read, a queue that is lost takes nothing
// with it that came later: with its snapshot all goes on; without one what the service
// has is collected, and nothing more is paid for.
func TestRestoreIgnoring(t *testing.T) {
	t.Parallel()
	for _, snapshots := range []bool{true, false} {
		t.Run(fmt.Sprintf("snapshots %v", snapshots), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 2)
			s.configure("  existing: ignore\nworkers: 1\n")
			q, err := OpenQueue(s.config(), Opening{})
			if err != nil {
				t.Fatal(err)
			}
			// So that the next is not due within the hour.
			if err := errors.Join(state{dir: filepath.Join(s.dir, "state")}.snapshot(q), q.Close()); err != nil {
				t.Fatal(err)
			}
			if err := s.start().Wait(); err != nil {
				t.Fatal(err)
			}
			for i := 2; i < 6; i++ {
				s.drop(fmt.Sprintf("late/%d.png", i), i)
			}
			var calls atomic.Int64
			s.onCall(func(_ int, at sandbox.Moment) {
				if at == sandbox.Made && calls.Add(1) == 3 {
					s.kill()
				}
			})
			s.start().Wait()
			s.onCall(func(int, sandbox.Moment) {})
			sent := s.box.Stats().Uploads
			state := filepath.Join(s.dir, "state")
			err = os.Remove(filepath.Join(state, queueFile))
			if !snapshots {
				err = errors.Join(err, os.RemoveAll(filepath.Join(state, snapshotFolder)))
			}
			if err != nil {
				t.Fatal(err)
			}
			s.start().Wait()
			uploads := s.box.Stats().Uploads
			if left := len(s.box.Documents()); left > 0 {
				t.Errorf("%d documents are left at the service", left)
			}
			s.start().Wait() // and all of that is remembered
			if n := s.box.Stats().Uploads; n != uploads {
				t.Errorf("%d scans more were uploaded by another run", n-uploads)
			}
			if q, err = OpenQueue(s.config(), Opening{}); err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			done := 0
			for j, err := range q.All(queue.Filter{}) {
				if err != nil || j.State != queue.Done {
					t.Errorf("job %d, %s, is %s (%s), %v", j.ID, j.Path, j.State, j.Error, err)
				}
				done++
			}
			want := 4
			if !snapshots {
				want = sent
			}
			if done != want || uploads != want || sent == 0 {
				t.Errorf("%d uploads, %d before the queue was lost, %d scans done", uploads, sent, done)
			}
		})
	}
}

// The copy that is all that is left of a scan, and of which a restored queue knows
// nothing, is put away for a person, and not removed.
func TestRestoreKeepsCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  spool: true", "")
		zero := 0
		h.box.SetCredits(&zero)
		first, second := scanOf("first"), scanOf("second")
		stop := h.start()
		h.yard.put("scans/scan.gif", first)
		time.Sleep(time.Minute)
		h.yard.put("scans/scan.gif", second) // takes its name
		time.Sleep(time.Minute)
		stop()
		state := filepath.Join(h.yard.dir, "state")
		if err := errors.Join(os.Remove(filepath.Join(state, queueFile)), os.RemoveAll(filepath.Join(state, snapshotFolder))); err != nil {
			t.Fatal(err)
		}
		h.box.SetCredits(nil)
		for range 3 {
			stop = h.start()
			time.Sleep(25 * time.Hour)
			stop()
		}
		h.wantJob("scans/scan.gif", queue.Done)
		found, err := os.ReadDir(filepath.Join(state, "found"))
		if err != nil || len(found) != 1 {
			t.Fatalf("found: %v, %v", found, err)
		}
		if got := h.read("state/found/" + found[0].Name()); got != first {
			t.Errorf("it holds %q, want %q", got, first)
		}
		if left, err := os.ReadDir(filepath.Join(state, "spool")); err != nil || len(left) > 0 {
			t.Errorf("copies that are left: %v, %v", left, err)
		}
	})
}

// What was sent of a folder is known only when the service's list was read: until then
// nothing of it is decided, also if scandrop ends meanwhile.
func TestRestoreIgnoringUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  existing: ignore", "")
		h.once()
		state := filepath.Join(h.yard.dir, "state")
		if err := errors.Join(os.Remove(filepath.Join(state, queueFile)), os.RemoveAll(filepath.Join(state, snapshotFolder))); err != nil {
			t.Fatal(err)
		}
		h.yard.put("scans/letter.gif", scanOf("letter"))
		fails, err := sandbox.ParseScript("list always: 500")
		if err != nil {
			t.Fatal(err)
		}
		introduced := func() bool {
			t.Helper()
			q, err := OpenQueue(h.options(true).Config, Opening{})
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			return q.Introduced(h.yard.hot)
		}
		h.box.SetTrouble(fails)
		stop := h.start()
		time.Sleep(time.Minute)
		stop()
		if introduced() {
			t.Error("the folder counts as looked through before the list was read")
		}
		if s := h.once(); s.Unfinished == 0 || len(s.Held) == 0 {
			t.Errorf("a run once, the list fails: %+v", s)
		}
		h.box.SetTrouble(sandbox.Script{})
		h.once()
		if jobs := h.states(); len(jobs) > 0 || !introduced() {
			t.Errorf("jobs: %+v, introduced: %v", jobs, introduced())
		}
		now := time.Now()
		if err := os.Chtimes(h.yard.at("scans/letter.gif"), now, now); err != nil {
			t.Fatal(err)
		}
		h.once()
		h.wantJob("scans/letter.gif", queue.Done)
	})
}

// What is left of a damaged file is kept, but not without end.
func TestPutAside(t *testing.T) {
	s := state{dir: t.TempDir()}
	for i := range asideKept + 3 {
		if err := os.WriteFile(s.path(queueFile), []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := s.putAside()
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(aside); err != nil || !bytes.Equal(kept, []byte{byte(i)}) {
			t.Errorf("%s holds %v, %v", aside, kept, err)
		}
	}
	if names, err := newest(s.dir, asidePrefix); len(names) != asideKept || err != nil {
		t.Errorf("kept: %v, %v", names, err)
	}
	if aside, err := s.putAside(); aside != "" || err != nil {
		t.Errorf("without a file: %q, %v", aside, err)
	}
}

// The installation's name and key are kept in the queue file, too.
func TestInstallation(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{State: dir}
	open := func() (*queue.Queue, error) { return OpenQueue(c, Opening{}) }
	file := filepath.Join(dir, installationFile)
	q, err := open()
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, lose := range map[string]func() error{
		"removed":  func() error { return os.Remove(file) },
		"emptied":  func() error { return os.Truncate(file, 0) },
		"replaced": func() error { return os.WriteFile(file, []byte("{}"), 0o600) },
	} {
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		q, err := open()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		q.Close()
		if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s: it is %q, was %q, %v", what, is, was, err)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}

	// A damaged file and no queue: nobody can tell which documents are ours.
	if err := errors.Join(os.Remove(filepath.Join(dir, queueFile)), os.WriteFile(file, []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var state *StateError
	if _, err := OpenQueue(c, Opening{Restore: true}); !errors.As(err, &state) || !strings.Contains(state.Hint, "backup") {
		t.Errorf("without a copy: %v", err)
	}
}

// A command that only looks repairs nothing.
func TestOpenDamaged(t *testing.T) {
	c := &config.Config{State: t.TempDir()}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	path := QueuePath(c)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenQueue(c, Opening{}); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("an empty file: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("it was changed: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenQueue(c, Opening{}); !errors.Is(err, queue.ErrDamaged) {
		t.Errorf("no file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty queue was made: %v", err)
	}
}

// An older copy of the queue file that somebody puts back is brought up to date
// by the journal, and by the service's list before anything is sent.
func TestOlderCopy(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	s.damaged = true
	if err := s.start().Wait(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.dir, "state", queueFile)
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i < 6; i++ {
		s.drop("late/"+string(rune('a'+i))+".png", i)
	}
	var calls atomic.Int64
	s.onCall(func(_ int, at sandbox.Moment) {
		if at == sandbox.Made && calls.Add(1) == 11 {
			s.kill()
		}
	})
	s.start().Wait()
	if err := os.WriteFile(path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	s.finish(6)
}

// Two processes that find the queue lost at the same time do not both get it.
func TestTwoRestores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &config.Config{State: t.TempDir()}
		q, err := OpenQueue(c, Opening{})
		if err != nil {
			t.Fatal(err)
		}
		err = state{dir: c.State}.snapshot(q)
		if err := errors.Join(err, q.Close(), os.Remove(QueuePath(c))); err != nil {
			t.Fatal(err)
		}
		tried := false
		first, err := OpenQueue(c, Opening{Restore: true, Verify: func(path string) error {
			tried = true
			if second, err := OpenQueue(c, Opening{Restore: true}); !errors.Is(err, queue.ErrInUse) {
				t.Errorf("a second one meanwhile: %v, %v", second, err)
			}
			return verifyHere(path)
		}})
		if err != nil || !tried {
			t.Fatalf("%v, verified: %v", err, tried)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// Snapshots whose names are of a time to come, because the clock was wrong, are
// the first to go.
func TestSnapshotsOfTheFuture(t *testing.T) {
	s := state{dir: t.TempDir()}
	q, err := queue.Open(queue.Config{Path: s.path(queueFile)})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := os.Mkdir(s.path(snapshotFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, second := range []string{"1", "2", "3"} {
		if err := os.WriteFile(filepath.Join(s.path(snapshotFolder), "queue-29990101T00000"+second+".000.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.snapshot(q); err != nil {
		t.Fatal(err)
	}
	if all, err := s.snapshots(); err != nil || len(all) != snapshotsKept || strings.Contains(all[0], "2999") {
		t.Errorf("snapshots: %v, %v", all, err)
	}
}
