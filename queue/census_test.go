package queue

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// open24 opens a queue in a bubble of time, for a test of one folder.
func open24(t *testing.T) *Queue {
	t.Helper()
	return openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: map[string]int{"/scans": 0}})
}

// next waits for the next task, however long that takes.
func next(t *testing.T, q *Queue, want Step) Task {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Hour)
	defer cancel()
	task, err := q.Claim(ctx)
	if err != nil {
		t.Fatalf("waiting for %q: %v", want, err)
	}
	if task.Step != want {
		t.Fatalf("the next step is %q of job %d, want %q", task.Step, task.Job.ID, want)
	}
	return task
}

// count takes the next census, whose list shows these.
func count(t *testing.T, q *Queue, shown ...Stray) {
	t.Helper()
	report(t, q, next(t, q, Census), Counted{Documents: shown})
}

func stray(document string, j Job, q *Queue, resend int) Stray {
	return Stray{Document: document, Mark: q.installation.Mark(j.Identity, resend)}
}

// unknown is a document that bears a mark of ours, of a scan that nobody has.
func unknown(document string, q *Queue) Stray {
	return Stray{Document: document, Mark: q.installation.Mark(Digest{'?'}, 0)}
}

func wantHeld(t *testing.T, q *Queue, keys ...string) {
	t.Helper()
	var got []string
	for _, h := range q.Holds() {
		got = append(got, h.Key())
	}
	if !slices.Equal(got, keys) {
		t.Fatalf("held: %q, want %q", got, keys)
	}
}

func TestCensusDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		began := time.Now()
		count(t, q)
		if waited := time.Since(began); waited != 24*time.Hour {
			t.Errorf("a day later: %v", waited)
		}
		q = reopen(t, q)
		count(t, q)
		if waited := time.Since(began); waited != 48*time.Hour {
			t.Errorf("a restart within the day: %v", waited)
		}

		// One that fails is tried again, ever more rarely.
		time.Sleep(24 * time.Hour)
		began = time.Now()
		var at []time.Duration
		for range 13 {
			report(t, q, next(t, q, Census), Retry{Err: errTrouble})
			at = append(at, time.Since(began))
		}
		if at[1] != 2*time.Second || at[12]-at[11] != time.Hour {
			t.Errorf("tried after %v", at)
		}
		wantHeld(t, q) // the service said no: that holds nobody up
		q = reopen(t, q)
		if task := claim(t, q); task.Step != Census {
			t.Errorf("a restart does not try at once, but does %q", task.Step)
		}
	})
}

// A census gives way to what is paid for and to uploads, but not for ever.
func TestCensusGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		time.Sleep(24 * time.Hour)
		jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
		if task := claim(t, q); task.Job.ID != jobs[0].ID {
			t.Errorf("first comes %q of job %d", task.Step, task.Job.ID)
		}
		time.Sleep(time.Hour + 1)
		task := claim(t, q)
		if task.Step != Census {
			t.Errorf("an hour later comes %q of job %d", task.Step, task.Job.ID)
		}
		if other := claim(t, q); other.Job.ID != jobs[1].ID {
			t.Errorf("beside it comes %q of job %d", other.Step, other.Job.ID)
		}
		if other := claim(t, q); other.Step != "" {
			t.Errorf("while a worker has it, there is %q", other.Step)
		}
		report(t, q, task, Counted{})
	})
}

// A document that bears a queued job's mark is that job's: it is not sent.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		task := claim(t, q)
		if err := q.Hold(Hold{Cause: Missing, Folder: "/scans", Reason: "gone"}); err != nil {
			t.Fatal(err)
		}
		other := add(t, q, scan("/scans/b.pdf", "b"))[0]
		late, early, failed := stray("late", other, q, 0), stray("early", other, q, 0), stray("failed", other, q, 0)
		late.Created, early.Created, failed.Created, failed.Failed = noon.Add(time.Minute), noon, noon.Add(-time.Minute), true
		count(t, q, late, early, failed, stray("mine", j, q, 0))
		got := wantState(t, q, other.ID, Processing)
		slices.Sort(got.Trash)
		if got.Document != "early" || !slices.Equal(got.Trash, []string{"failed", "late"}) || !got.Due.Equal(time.Now()) {
			t.Errorf("it goes on with %q, and %q are to go; due %v", got.Document, got.Trash, got.Due)
		}
		if record := identityOf(t, q, got); record.Paid != 3 {
			t.Errorf("%d documents are paid for, want 3", record.Paid)
		}
		// The one that a worker had is not moved under its hands, but not sent either.
		wantState(t, q, j.ID, Queued)
		if _, err := q.Report(task, Sending{}); !errors.Is(err, ErrHeld) {
			t.Errorf("it was sent: %v", err)
		}
		wantState(t, q, j.ID, Processing)
		if _, err := q.Report(task, Interrupted{}); err == nil {
			t.Error("the worker still has it")
		}
		story, err := q.Story(j.ID)
		if err != nil || story[len(story)-1].What != "adopted" {
			t.Errorf("its story: %+v, %v", story, err)
		}
		for range 2 { // both are free
			next(t, q, Collect)
		}
	})
}

func identityOf(t *testing.T, q *Queue, j Job) (r identityRecord) {
	t.Helper()
	err := q.read(func(b *tx) error {
		r = b.identity(j.Identity)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a look-up is going to settle is left to it.
func TestCensusLeavesDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
		uploading := claim(t, q)
		uploading.Job = report(t, q, uploading, Sending{})
		step(t, q, Upload, jobs[1].ID, Sending{}, Unanswered{Err: errTrouble})
		lookUp := next(t, q, LookUp)
		count(t, q, stray("a", jobs[0], q, 0), stray("b", jobs[1], q, 0))
		wantState(t, q, jobs[0].ID, Uploading)
		wantState(t, q, jobs[1].ID, Doubtful)
		if s, err := q.Census(); err != nil || s.Strays != 0 {
			t.Errorf("%d strays, %v", s.Strays, err)
		}
		report(t, q, uploading, Uploaded{Document: "a"})
		report(t, q, lookUp, Uploaded{Document: "b"})
	})
}

// A job that failed without ever having had a document has one after all.
func TestAdoptFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		jobs := add(t, q, scan("/scans/a.pdf", "a"))
		for range attempts {
			report(t, q, next(t, q, Upload), Retry{Err: errTrouble})
		}
		wantState(t, q, jobs[0].ID, Failed)
		jobs = append(jobs, add(t, q, scan("/scans/b.pdf", "b"))...)
		step(t, q, Upload, jobs[1].ID, Sending{}, Uploaded{Document: "b"})
		report(t, q, next(t, q, Collect), Fail{Err: errTrouble})
		report(t, q, next(t, q, Delete), Deleted{Documents: []string{"b"}})
		count(t, q, stray("a", jobs[0], q, 0), stray("b2", jobs[1], q, 0))
		wantState(t, q, jobs[0].ID, Processing)
		wantState(t, q, jobs[1].ID, Failed) // it would only fail again
		report(t, q, next(t, q, Collect), Collected{})
		report(t, q, next(t, q, Delete), Deleted{Documents: []string{"a"}})
		if task := next(t, q, Sweep); task.Stray.Document != "b2" {
			t.Errorf("%q is swept", task.Stray.Document)
		}
	})
}

// What no job needs is deleted when nobody can be about to need it.
func TestOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		count(t, q, unknown("x", q), unknown("y", q))
		began := time.Now()
		next(t, q, Sweep)
		if waited := time.Since(began); waited != 5*time.Minute {
			t.Errorf("it is deleted after %v, want the doubt", waited)
		}
		if other := claim(t, q); other.Step != "" {
			t.Errorf("two are deleted at once: %+v", other)
		}
		q = reopen(t, q) // in the middle of it
		task := next(t, q, Sweep)
		report(t, q, task, Deleted{Documents: []string{task.Stray.Document}})
		second := next(t, q, Sweep)
		if second.Stray == task.Stray {
			t.Fatalf("%q is deleted twice", second.Stray.Document)
		}
		report(t, q, second, Interrupted{})
		report(t, q, next(t, q, Sweep), Held{Hold{Cause: Token, Reason: "no"}})
		wantHeld(t, q, "token")
		report(t, q, next(t, q, Probe), Answered{})
		tries := 0
		for {
			task, err := q.Claim(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if task.Step == Census { // what cannot be deleted is known, and left to its own expiry
				report(t, q, task, Counted{Documents: []Stray{second.Stray}})
				break
			}
			tries++
			report(t, q, task, Retry{Err: errTrouble})
		}
		if tries == 0 || tries > deleteAttempts {
			t.Errorf("%d tries", tries)
		}
		if s, err := q.Census(); err != nil || s.Deleted != 1 || s.Strays != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		count(t, q) // it has expired
		if s, err := q.Census(); err != nil || s.Strays != 0 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// What stays on purpose stays: the documents of a folder that keeps its copies,
// also when their story is forgotten, and what nobody knows, which may be one.
func TestKeepsCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		stays := transcribe
		stays.DeleteRemote = false
		if err := q.Configure("/scans", stays, nil); err != nil {
			t.Fatal(err)
		}
		s := scan("/scans/a.pdf", "a")
		s.Options = stays
		j := add(t, q, s)[0]
		step(t, q, Upload, j.ID, Sending{}, Uploaded{Document: "a"})
		report(t, q, next(t, q, Collect), Collected{})
		wantState(t, q, j.ID, Done)
		count(t, q, stray("a", j, q, 0), unknown("x", q))
		if _, err := q.Forget(j.ID); err != nil {
			t.Fatal(err)
		}
		count(t, q, stray("a", j, q, 0), unknown("x", q)) // a day later; nothing was swept
		q = reopen(t, q)
		count(t, q, stray("a", j, q, 0), unknown("x", q))

		if err := q.Configure("/scans", transcribe, nil); err != nil {
			t.Fatal(err)
		}
		task := next(t, q, Sweep)
		report(t, q, task, Deleted{})
		if task.Stray.Document != "x" {
			t.Errorf("%q was deleted", task.Stray.Document)
		}
		count(t, q, stray("a", j, q, 0)) // and nothing else in between
		orphans, err := q.Orphans([]Stray{stray("a", j, q, 0), unknown("y", q)})
		if err != nil || len(orphans) != 1 || orphans[0].Document != "y" {
			t.Errorf("orphans: %v, %v", orphans, err)
		}
	})
}

// A person who pays for a scan again keeps the earlier copy where copies stay.
func TestKeepsEarlierCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		s := scan("/scans/a.pdf", "a")
		s.Options.DeleteRemote = false
		j := add(t, q, s)[0]
		for _, document := range []string{"first", "second"} {
			report(t, q, Task{Step: Upload, Job: report(t, q, next(t, q, Upload), Sending{})}, Uploaded{Document: document})
			report(t, q, next(t, q, Collect), Collected{})
			if document == "first" {
				if _, err := q.Retry(j.ID, true); err != nil {
					t.Fatal(err)
				}
			}
		}
		shown := []Stray{stray("first", j, q, 0), stray("second", j, q, 1)}
		count(t, q, shown...)
		count(t, q, shown...) // and nothing else in between
	})
}

// What was about to be deleted when the queue was restored waits for its scan.
func TestRebuildSpares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		count(t, q, unknown("x", q))
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		if err := q.Looked("/scans"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		count(t, q, unknown("x", q))
		count(t, q, unknown("x", q)) // after the doubt
		count(t, q, unknown("x", q)) // a day later
		next(t, q, Sweep)
		if waited := time.Since(began); waited < 24*time.Hour {
			t.Errorf("it is deleted after %v", waited)
		}
	})
}

// A document of a job that wants none was paid for all the same: its content is
// not sent again without a person.
func TestStrayIsPaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		if _, err := q.Cancel(j.ID); err != nil {
			t.Fatal(err)
		}
		if err := q.Configure("/scans", Options{Action: "transcribe"}, nil); err != nil { // nothing is swept
			t.Fatal(err)
		}
		for range 2 { // once, however often it is seen
			count(t, q, stray("late", j, q, 0))
		}
		if record := identityOf(t, q, j); record.Paid != 1 {
			t.Errorf("%d documents are paid for, want 1", record.Paid)
		}
		again := add(t, q, scan("/scans/again.pdf", "a"))[0]
		if again.State != Rejected {
			t.Errorf("the same content is %s", again.State)
		}
	})
}

// Nothing is sent from a restored queue before the list was read as long after
// it as a look-up would take.
func TestRebuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		task := claim(t, q)
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Report(task, Sending{}); !errors.Is(err, ErrHeld) {
			t.Errorf("what was claimed before is sent: %v", err)
		}
		report(t, q, task, Interrupted{})
		q = reopen(t, q)
		wantHeld(t, q, "rebuilt")
		if n, err := q.Release("all"); n != 0 || err != nil {
			t.Errorf("released %d, %v", n, err)
		}
		began := time.Now()
		report(t, q, next(t, q, Census), Retry{Err: errTrouble})
		if h := q.Holds(); len(h) != 1 || !strings.Contains(h[0].Reason, errTrouble.Error()) {
			t.Errorf("held: %+v", h)
		}
		count(t, q, stray("found", j, q, 1), unknown("x", q)) // sent a second time by hand, which was lost, too
		got := wantState(t, q, j.ID, Processing)
		if got.Document != "found" || got.Resend != 1 || identityOf(t, q, got).Resends != 1 {
			t.Errorf("it goes on with %q, sent again %d times", got.Document, got.Resend)
		}
		wantHeld(t, q, "rebuilt") // the list may lag
		b := add(t, q, scan("/scans/b.pdf", "b"))[0]
		report(t, q, next(t, q, Collect), Collected{})
		report(t, q, next(t, q, Delete), Deleted{Documents: []string{"found"}})
		c := scan("/scans/c.pdf", "c")
		lost := stray("c", Job{Identity: Identity(c.Content, c.Options)}, q, 0)
		count(t, q, unknown("x", q), lost)
		if waited := time.Since(began); waited < 5*time.Minute || waited > 6*time.Minute {
			t.Errorf("the list is read again after %v, want the doubt", waited)
		}
		wantHeld(t, q)
		step(t, q, Upload, b.ID, Sending{}, Uploaded{Document: "b"})
		report(t, q, next(t, q, Collect), Collected{})
		report(t, q, next(t, q, Delete), Deleted{Documents: []string{"b"}})

		// A scan that is found later has its document, too.
		found := add(t, q, c)[0]
		if found.State != Processing || found.Document != "c" {
			t.Errorf("the scan that is found later is %s with %q", found.State, found.Document)
		}
		report(t, q, next(t, q, Collect), Collected{})
		report(t, q, next(t, q, Delete), Deleted{Documents: []string{"c"}})

		// What belongs to no scan goes when every folder was looked through.
		if _, err := q.Orphans(nil); !errors.Is(err, ErrRebuilding) {
			t.Errorf("orphans: %v", err)
		}
		count(t, q, unknown("x", q))
		if s, err := q.Census(); err != nil || !slices.Equal(s.Awaited, []string{"/scans"}) {
			t.Errorf("%+v, %v", s, err)
		}
		if err := errors.Join(q.Looked("/scans"), q.Hold(Hold{Cause: Missing, Folder: "/scans", Reason: "gone"})); err != nil {
			t.Fatal(err)
		}
		count(t, q, unknown("x", q))
		if _, err := q.Release("missing:/scans"); err != nil {
			t.Fatal(err)
		}
		q = reopen(t, q)
		count(t, q, unknown("x", q))
		if task := next(t, q, Sweep); task.Stray.Document != "x" {
			t.Errorf("%q is deleted", task.Stray.Document)
		}
		if s, err := q.Census(); err != nil || !s.Rebuilt.IsZero() || s.Adopted != 2 {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// A list without names tells nothing: a person must.
func TestRebuildNameless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			report(t, q, next(t, q, Census), Counted{Nameless: true})
			wantHeld(t, q, "rebuilt")
		}
		if err := q.Drained(t.Context()); err != nil { // nobody waits for what only a person can do
			t.Fatal(err)
		}
		if h := q.Holds(); !strings.Contains(h[0].Reason, "queue release rebuilt") {
			t.Errorf("the way out is not named: %s", h[0].Reason)
		}
		if n, err := q.Release("rebuilt"); n != 1 || err != nil {
			t.Fatalf("released %d, %v", n, err)
		}
		step(t, q, Upload, j.ID, Sending{}, Uploaded{Document: "a"})
	})
}

// What a person asked for after the snapshot is lost, but not what it cost.
func TestRebuildFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"), scan("/scans/c.pdf", "c"), scan("/scans/d.pdf", "d"))
		step(t, q, Upload, jobs[0].ID, Reject{Err: errTrouble})
		if _, err := q.Cancel(jobs[1].ID); err != nil {
			t.Fatal(err)
		}
		finish(t, q, jobs[2].ID)
		shown := []Stray{stray("a", jobs[0], q, 0), stray("b", jobs[1], q, 0), stray("c", jobs[2], q, 0), stray("d", jobs[3], q, 0)}
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		count(t, q, shown...)
		for i, want := range []State{Processing, Processing, Done, Processing} {
			wantState(t, q, jobs[i].ID, want)
		}
	})
}

// run --once waits for the list, and for what it does away with at once.
func TestDrainedCensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		go func() {
			for range 2 {
				task, err := q.Claim(t.Context())
				if err == nil {
					_, err = q.Report(task, Counted{})
				}
				if err != nil {
					t.Error(err)
				}
			}
		}()
		if err := q.Drained(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited < 5*time.Minute || waited > 6*time.Minute {
			t.Errorf("it took %v", waited)
		}
		wantHeld(t, q)
	})
}

// TestFind tells marks of this installation's from others', though they have
// its name.
func TestFind(t *testing.T) {
	us := Installation{Name: "AB12", Key: []byte("ours")}
	mark, old := us.Mark(Digest{1}, 0), us.Mark(Digest{2}, 3)
	namesake := Installation{Name: "AB12", Key: []byte("theirs")}.Mark(Digest{1}, 0)
	for _, test := range []struct {
		name, ours string
		marked     bool
	}{
		{"letter." + mark + ".pdf", mark, true},
		{strings.ToUpper("letter." + mark + ".pdf"), mark, true},
		{"letter-" + strings.ToLower(mark) + "-pdf", mark, true}, // as a name for the web
		{mark, mark, true},
		{"letter." + old + "." + mark + ".pdf", mark, true}, // a copy of what was sent once
		{"letter." + namesake + ".pdf", "", true},
		{"letter." + Installation{Name: "CD34", Key: us.Key}.Mark(Digest{1}, 0) + ".pdf", "", true},
		{"letter." + mark[:len(mark)-1] + ".pdf", "", false},
		{"letter.sdAB12-aaaaaaaaaaaaaaaa.pdf", "", true},
		{"letter.pdf", "", false},
		{"", "", false},
	} {
		if ours, marked := us.Find(test.name); ours != test.ours || marked != test.marked {
			t.Errorf("%q: %q, %v; want %q, %v", test.name, ours, marked, test.ours, test.marked)
		}
	}
	if ours, _ := (Installation{}).Find("letter.sd" + mark[2:]); ours != "" {
		t.Errorf("nobody's installation has %q", ours)
	}
}

// A scan whose results are all there, and of which a restored queue knows
// nothing, is not paid for by itself: neither one that was found before the list
// was read, nor one that is found after it, nor the same content elsewhere.
func TestRebuildPresent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		present := func(path, content string) Scan {
			s := scan(path, content)
			s.Present = true
			return s
		}
		if j := add(t, q, present("/scans/usual.pdf", "usual"))[0]; j.State != Queued {
			t.Errorf("in a queue that was not restored it is %s", j.State)
		}
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		early := add(t, q, present("/scans/a.pdf", "a"), scan("/scans/twin.pdf", "a"), present("/scans/b.pdf", "b"), scan("/scans/c.pdf", "c"))
		count(t, q) // the list may lag
		count(t, q, stray("b", early[2], q, 0))
		wantState(t, q, early[0].ID, Rejected)
		wantState(t, q, early[1].ID, Rejected)
		wantState(t, q, early[2].ID, Processing) // the service has it
		wantState(t, q, early[3].ID, Queued)
		late := add(t, q, present("/scans/d.pdf", "d"))[0]
		if late.State != Rejected || !strings.Contains(late.Error, "beside it") {
			t.Errorf("one that is found later is %s: %s", late.State, late.Error)
		}
		if j, err := q.Retry(late.ID, false); err != nil || j.State != Queued || j.Resend != 1 {
			t.Errorf("a person has it sent: %s, %v", j.State, err)
		}
	})
}

// A document that the journal gives to a job is no stray any more.
func TestReplayTakesStrays(t *testing.T) {
	q := open(t)
	s := scan("/scans/a.pdf", "a")
	stray := Stray{Document: "D", Mark: q.installation.Mark(Identity(s.Content, s.Options), 0)}
	err := q.update(func(t *tx) error {
		t.putStray(strayRecord{Stray: stray})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := q.Snapshot(path); err != nil {
		t.Fatal(err)
	}
	j := add(t, q, s)[0] // has it
	makeDue(t, q, j.ID)
	step(t, q, Collect, j.ID, Fail{Err: errTrouble})
	lines := outbox(t, q)
	older := openAt(t, Config{Path: path}) // is verified at the end
	if err := older.Rebuild(); err != nil {
		t.Fatal(err)
	}
	if _, err := older.Replay(sequence(lines...), Head{Seq: lines[len(lines)-1].Seq}); err != nil {
		t.Fatal(err)
	}
	if kept, err := older.ByDocument("D"); err != nil || kept.State != Failed {
		t.Errorf("the document is that of %+v, %v", kept, err)
	}
}

// A queue that was restored while the clock was ahead is not held until then.
func TestRebuiltInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		err := q.update(func(t *tx) error {
			c := t.census
			c.Rebuilt = t.now.AddDate(10, 0, 0)
			t.putCensus(c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		count(t, q)
		count(t, q)
		wantHeld(t, q)
	})
}
