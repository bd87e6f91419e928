package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/journal"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// Whenever the daemon is killed, at any of its calls, the journal tells of
// every scan at the end, once, and its chain is whole.
func TestKillJournal(t *testing.T) {
	t.Parallel()
	const scans = 12
	s := newSite(t, scans)
	for n := 2; n <= 3*scans; n += 9 {
		var once sync.Once
		s.onCall(func(call int, at sandbox.Moment) {
			if call%n == n-1 && at == sandbox.Made {
				once.Do(s.kill)
			}
		})
		s.start().Wait()
		dir := filepath.Join(s.dir, "state")
		if r, err := journal.Verify(dir, journal.Head{}); r.Broken > 0 || err != nil {
			t.Errorf("after kill %d: %+v, %v", n, r, err)
		}
	}
	s.finish(scans)
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	r, unheard, err := VerifyJournal(c, Opening{})
	if r.Broken > 0 || r.Torn || r.Lines != scans || unheard != nil || err != nil {
		t.Errorf("%+v, %v, %v", r, unheard, err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if e, err := q.Outbox(0, 9); len(e) > 0 || err != nil {
		t.Errorf("the daemon ended, and %d entries wait, %v", len(e), err)
	}
	told := map[string]queue.Entry{}
	for e, err := range (state{dir: c.State, Opening: Opening{Log: slog.Default()}}).entries(0) {
		if err != nil || told[e.Path].ID != 0 || e.State != queue.Done || e.Source == "" || e.Deleted.IsZero() || len(e.Results) != 2 {
			t.Errorf("it tells %+v, %v", e, err)
		}
		told[e.Path] = e
	}
	if len(told) != scans {
		t.Errorf("it tells of %d scans", len(told))
	}
}

// newQueue is a queue in a state folder of its own, with scans that came to
// their end.
func newQueue(t *testing.T, log *slog.Logger, ends int) (state, *queue.Queue) {
	t.Helper()
	s := state{dir: t.TempDir(), Opening: Opening{Log: log}}
	q, err := queue.Open(queue.Config{Path: s.path(queueFile), Installation: queue.Installation{Name: "AB12", Key: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	end(t, q, 0, ends)
	return s, q
}

// end brings scans to their end, by their numbers.
func end(t *testing.T, q *queue.Queue, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := q.Add(queue.Scan{Folder: "/scans", Path: fmt.Sprintf("/scans/%d.pdf", i), ModTime: time.Unix(1e9, 0), Reject: "empty"}); err != nil {
			t.Fatal(err)
		}
	}
}

// lines counts the journal's, which must be whole and be what the queue says.
func lines(t *testing.T, s state, q *queue.Queue) int {
	t.Helper()
	known, err := q.Head()
	if err != nil {
		t.Fatal(err)
	}
	r, err := journal.Verify(s.dir, journal.Head{Seq: known.Seq, Hash: journal.Hash(known.Hash)})
	if err != nil || r.Broken > 0 || r.Torn || r.Head.Seq != known.Seq {
		t.Errorf("the journal is %+v, the queue says %+v, %v", r, known, err)
	}
	return r.Lines
}

// Trouble with the journal stops nothing: it is said once, and what waits is
// written when it is over.
func TestJournalUnwritable(t *testing.T) {
	var said bytes.Buffer
	s, q := newQueue(t, slog.New(slog.NewTextHandler(&said, nil)), 2)
	if err := os.Mkdir(s.path("journal.jsonl"), 0o700); err != nil {
		t.Fatal(err)
	}
	j := &journalist{state: s, queue: q}
	for range 3 {
		j.say(j.move(true))
	}
	if n := strings.Count(said.String(), "cannot be written"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, &said)
	}
	if err := os.Remove(s.path("journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	j.say(j.move(true))
	defer j.journal.Close()
	if n := lines(t, s, q); n != 2 || !strings.Contains(said.String(), "written again") {
		t.Errorf("%d lines:\n%s", n, &said)
	}
	if err := j.move(true); err != nil {
		t.Error(err)
	}
}

// What ends is written while the daemon runs, after trouble as soon as it is
// tried again, and what is left when it ends.
func TestKeepJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, q := newQueue(t, slog.New(slog.DiscardHandler), 1)
		if err := os.Mkdir(s.path("journal.jsonl"), 0o700); err != nil {
			t.Fatal(err)
		}
		d := &daemon{state: s, queue: q}
		finish := d.keepJournal(t.Context())
		synctest.Wait()
		if err := os.Remove(s.path("journal.jsonl")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(journalRetry + time.Second)
		synctest.Wait()
		if n := lines(t, s, q); n != 1 {
			t.Errorf("%d lines after the trouble", n)
		}
		end(t, q, 1, 4)
		synctest.Wait()
		if r, err := journal.Verify(s.dir, journal.Head{}); r.Lines != 4 || err != nil {
			t.Errorf("%+v are written at once, %v", r, err)
		}
		time.Sleep(2 * acknowledgeEvery)
		synctest.Wait()
		if n := lines(t, s, q); n != 4 {
			t.Errorf("%d lines while it runs", n)
		}
		end(t, q, 4, 5)
		synctest.Wait()
		end(t, q, 5, 6) // within the second
		synctest.Wait()
		if e, err := q.Outbox(0, 9); len(e) != 1 || err != nil {
			t.Errorf("%d entries wait for the second to be over, %v", len(e), err)
		}
		finish()
		if n := lines(t, s, q); n != 6 {
			t.Errorf("%d lines when it has ended", n)
		}

		// It is told to stop before there is anything, and ends after the others.
		ctx, stop := context.WithCancel(t.Context())
		finish = d.keepJournal(ctx)
		stop()
		synctest.Wait()
		end(t, q, 6, 9)
		finish()
		if n := lines(t, s, q); n != 9 {
			t.Errorf("%d lines at the end", n)
		}
	})
}

// A journal that has lost its end, or all of it, is said, and goes on.
func TestJournalCutOff(t *testing.T) {
	for name, cut := range map[string]func(path string) error{
		"removed": os.Remove,
		"cut off": func(path string) error { return os.Truncate(path, 1) },
		"altered": func(path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, bytes.ReplaceAll(text, []byte("empty"), []byte("blank")), 0o600)
		},
	} {
		var said bytes.Buffer
		s, q := newQueue(t, slog.New(slog.NewTextHandler(&said, nil)), 3)
		j := &journalist{state: s, queue: q}
		if err := errors.Join(j.move(true), j.journal.Close(), cut(s.path("journal.jsonl"))); err != nil {
			t.Fatal(name, err)
		}
		j = &journalist{state: s, queue: q}
		end(t, q, 3, 5)
		if err := errors.Join(j.move(true), j.journal.Close()); err != nil {
			t.Fatal(name, err)
		}
		if !strings.Contains(said.String(), "not what was written") {
			t.Errorf("%s: it said:\n%s", name, &said)
		}
		known, err := q.Head()
		if err != nil || known.Seq != 5 {
			t.Errorf("%s: the queue knows %d lines, %v", name, known.Seq, err)
		}
		r, err := journal.Verify(s.dir, journal.Head{Seq: known.Seq, Hash: journal.Hash(known.Hash)})
		if err != nil || r.Broken == 0 || r.Head.Seq != 5 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// A queue that is older than the journal is brought up to it; a line that
// cannot be read costs that line only.
func TestJournalAhead(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	s, q := newQueue(t, log, 5)
	j := &journalist{state: s, queue: q}
	if err := errors.Join(j.move(true), j.journal.Close(), q.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.path("journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(`"seq":2,`), []byte(`"seq":2;`), 1)
	text = bytes.Replace(text, []byte(`"state":"rejected","folder":"/scans","path":"/scans/3.pdf"`), []byte(`"state":"queued","folder":"/scans","path":"/scans/3.pdf"`), 1)

	s, q = newQueue(t, log, 0)
	if err := os.WriteFile(s.path("journal.jsonl"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.replay(q); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(said.String(), "cannot be read"); n != 2 {
		t.Errorf("%d lines could not be read:\n%s", n, &said)
	}
	for i, want := range []bool{true, false, true, false, true} {
		if _, err := q.ByPath(fmt.Sprintf("/scans/%d.pdf", i)); want != (err == nil) {
			t.Errorf("scan %d: %v", i, err)
		}
	}
	end(t, q, 5, 6)
	if e, err := q.Outbox(0, 2); len(e) != 1 || e[0].Seq != 6 || err != nil {
		t.Errorf("the next entry is %+v, %v", e, err)
	}
}

// A queue that is restored knows what the journal tells before anybody has it.
func TestRestoreJournal(t *testing.T) {
	c := &config.Config{State: t.TempDir()}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if q != nil {
			q.Close()
		}
	}()
	s := state{dir: c.State, Opening: Opening{Log: slog.New(slog.DiscardHandler)}}
	end(t, q, 0, 3)
	j := &journalist{state: s, queue: q}
	if err := errors.Join(j.move(true), j.journal.Close(), q.Close(), os.Remove(s.path(queueFile))); err != nil {
		t.Fatal(err)
	}
	if q, err = OpenQueue(c, Opening{Restore: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if j, err := q.ByPath(fmt.Sprintf("/scans/%d.pdf", i)); err != nil || j.State != queue.Rejected {
			t.Errorf("scan %d is %s, %v", i, j.State, err)
		}
	}
	if n := lines(t, s, q); n != 3 {
		t.Errorf("%d lines", n)
	}

	// Without a journal that can be read it stays lost: something might be paid twice.
	if err := errors.Join(q.Close(), os.Remove(s.path(queueFile)), os.Remove(s.path("journal.jsonl")), os.Mkdir(s.path("journal.jsonl"), 0o700)); err != nil {
		t.Fatal(err)
	}
	var broken *StateError
	if _, err := OpenQueue(c, Opening{Restore: true}); !errors.As(err, &broken) {
		t.Errorf("restored without its journal: %v", err)
	}
	if err := os.Remove(s.path("journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	if q, err = OpenQueue(c, Opening{Restore: true}); err != nil {
		t.Error(err)
	}
}

// What the queue remembers is asked for only where there is one, and nothing is
// made by asking.
func TestVerifyJournal(t *testing.T) {
	c := &config.Config{State: filepath.Join(t.TempDir(), "none")}
	var state *StateError
	if _, _, err := VerifyJournal(c, Opening{}); !errors.As(err, &state) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := os.Stat(c.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
	c.State = t.TempDir()
	if r, unheard, err := VerifyJournal(c, Opening{}); r.Lines != 0 || r.Broken != 0 || unheard == nil || err != nil {
		t.Errorf("an empty folder: %+v, %v, %v", r, unheard, err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	if _, unheard, err := VerifyJournal(c, Opening{}); !errors.Is(unheard, queue.ErrInUse) || err != nil {
		t.Errorf("while it is in use: %v, %v", unheard, err)
	}
	q.Close()
	if _, unheard, err := VerifyJournal(c, Opening{}); unheard != nil || err != nil {
		t.Errorf("%v, %v", unheard, err)
	}
}
