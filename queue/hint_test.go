package queue

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// processing has the next job sent and answered with the document.
func processing(t *testing.T, q *Queue, document string) Job {
	t.Helper()
	return report(t, q, claim(t, q), Sending{}, Uploaded{Document: document})
}

// hint gives a hint and wants it to wake a job, or not.
func hint(t *testing.T, q *Queue, document string, wants bool) Job {
	t.Helper()
	j, woken, err := q.Hint(document)
	if errors.Is(err, ErrNoJob) && !wants {
		return j
	}
	if err != nil || woken != wants {
		t.Fatalf("a hint at %s wakes a job: %v, %v; want %v", document, woken, err, wants)
	}
	return j
}

func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		add(t, q, scan("/scans/a.pdf", "a"))
		j := processing(t, q, "d1")
		if task := claim(t, q); task.Step != "" {
			t.Fatalf("%s is due at once", task.Step)
		}
		hint(t, q, "d2", false)
		if task := claim(t, q); task.Step != "" {
			t.Fatal("a hint at somebody else's document wakes the job")
		}
		hint(t, q, "d1", true)
		task := claim(t, q)
		if task.Step != Collect || task.Job.ID != j.ID {
			t.Fatalf("after the hint %q is due", task.Step)
		}
		// It was told too early: it is asked for as usual, and a replay changes nothing.
		if j = report(t, q, task, Pending{}); time.Until(j.Due) > 3*time.Second || time.Until(j.Due) <= 0 {
			t.Errorf("told too early, it is asked for in %v", time.Until(j.Due))
		}
		for range 1000 {
			hint(t, q, "d1", false)
		}
		if task := claim(t, q); task.Step != "" {
			t.Error("a replay wakes the job")
		}
		time.Sleep(5 * time.Second)
		report(t, q, claim(t, q), Collected{})
		hint(t, q, "d1", false)
		events, err := q.Story(j.ID)
		if err != nil || !strings.Contains(fmt.Sprint(events), "announced processing") {
			t.Errorf("the story does not tell of it: %v %v", events, err)
		}
	})
}

// A hint may overtake the answer to the upload, or come while the job is looked
// at.
func TestHintOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
		a := claim(t, q)
		a.Job = func() Job { j, err := q.Report(a, Sending{}); must(t, err); return j }()
		hint(t, q, "d1", false)
		for i := range 3 * mostEarly / 4 { // others do not push it out
			hint(t, q, fmt.Sprint("other", i), false)
		}
		j := report(t, q, a, Uploaded{Document: "d1"})
		if j.Announced.IsZero() || j.Due.After(time.Now()) {
			t.Fatalf("announced before its answer, it is due %v, announced %v", j.Due, j.Announced)
		}
		look := claim(t, q)
		if look.Step != Collect || look.Job.ID != j.ID {
			t.Fatalf("%s of job %d is due", look.Step, look.Job.ID)
		}
		report(t, q, look, Collected{})

		report(t, q, claim(t, q), Deleted{Documents: []string{"d1"}})
		j = processing(t, q, "d2")
		time.Sleep(2 * time.Minute) // told of the first, it is in no hurry
		look = claim(t, q)
		if look.Step != Collect {
			t.Fatalf("%q is due", look.Step)
		}
		hint(t, q, "d2", true)
		if j = report(t, q, look, Pending{}); j.Due.After(time.Now()) {
			t.Errorf("announced while it was looked at, it is due in %v", time.Until(j.Due))
		}
		if again := claim(t, q); again.Job.ID != j.ID || again.Step != Collect {
			t.Errorf("%q is due", again.Step)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Memory stays what it is, whatever is told.
func TestHintFlood(t *testing.T) {
	q := open(t)
	for i := range 10 * mostEarly {
		hint(t, q, fmt.Sprint("d", i), false)
	}
	hint(t, q, strings.Repeat("x", longestName+1), false)
	if n := len(q.early.documents); n != mostEarly {
		t.Errorf("%d documents are remembered", n)
	}
	for _, d := range q.early.documents {
		if len(d) > longestName {
			t.Error("a long one is remembered")
		}
	}
}

// While results are announced they are hardly asked for; once that ceases they
// are, from the first that is found on.
func TestHintsCease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		next := 0
		sent := func() Job {
			next++
			add(t, q, scan(fmt.Sprintf("/scans/%d.pdf", next), fmt.Sprint(next)))
			return processing(t, q, fmt.Sprint("d", next))
		}
		finish := func() {
			t.Helper()
			if j := report(t, q, claim(t, q), Collected{}); j.State != Written {
				t.Fatalf("it is %s", j.State)
			}
			if j := report(t, q, claim(t, q), Deleted{Documents: []string{fmt.Sprint("d", next)}}); j.State != Done {
				t.Fatalf("it is %s", j.State)
			}
		}
		if j := sent(); time.Until(j.Due) > firstLook {
			t.Errorf("before anything was announced a result is asked for after %v", time.Until(j.Due))
		}
		hint(t, q, "d1", true)
		finish()
		for range 3 {
			if j := sent(); time.Until(j.Due) != firstSlowLook {
				t.Errorf("where results are announced they are asked for after %v", time.Until(j.Due))
			}
			time.Sleep(20 * time.Second)
			hint(t, q, fmt.Sprint("d", next), true)
			finish()
		}
		j := sent()
		time.Sleep(firstSlowLook)
		if j = report(t, q, claim(t, q), Pending{}); time.Until(j.Due) > slowLook || time.Until(j.Due) < slowLook*8/10 {
			t.Errorf("it is asked for again after %v", time.Until(j.Due))
		}
		time.Sleep(slowLook)
		finish() // nobody said so
		if j := sent(); time.Until(j.Due) >= firstSlowLook {
			t.Errorf("after the announcements have ceased a result is asked for after %v", time.Until(j.Due))
		}
		time.Sleep(time.Minute)
		hint(t, q, fmt.Sprint("d", next), true) // they are back
		finish()
		if j := sent(); time.Until(j.Due) != firstSlowLook {
			t.Errorf("when they are back a result is asked for after %v", time.Until(j.Due))
		}
	})
}

// Trouble makes a job wait, whatever is announced.
func TestHintInTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		add(t, q, scan("/scans/a.pdf", "a"))
		processing(t, q, "d1")
		time.Sleep(time.Minute)
		report(t, q, claim(t, q), Retry{Err: errTrouble, After: 10 * time.Minute})
		if j := hint(t, q, "d1", true); time.Until(j.Due) != 10*time.Minute {
			t.Errorf("a hint makes a job due in %v that was to wait for 10 minutes", time.Until(j.Due))
		}
	})
}
