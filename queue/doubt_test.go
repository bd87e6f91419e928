package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// An upload that was not answered is sent again only when it was looked for long enough
// by a clock that nobody sets, and since the process began: the system's may jump.
func TestDoubtIsNoWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
		step(t, q, Upload, id, Sending{}, Unanswered{Err: errTrouble})
		look := func(o NotFound) Job {
			t.Helper()
			makeDue(t, q, id)
			return step(t, q, LookUp, id, o)
		}
		jump := func() { // as it shows in the record when the clock is set
			t.Helper()
			err := q.update(func(b *tx) error {
				j, err := b.job(id)
				next := j
				next.Doubted = j.Doubted.Add(-time.Hour)
				b.write(j, next)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		jump()
		if j := look(NotFound{}); j.State != Doubtful {
			t.Fatalf("after the clock jumped: %s", j.State)
		}
		if j := look(NotFound{Later: true}); j.State != Doubtful {
			t.Fatalf("the same, and a later one is listed: %s", j.State)
		}
		time.Sleep(4 * time.Minute)
		q = reopen(t, q)
		jump()
		if j := look(NotFound{}); j.State != Doubtful {
			t.Fatalf("after a restart and a jump: %s", j.State)
		}
		time.Sleep(5*time.Minute - 1)
		if j := look(NotFound{}); j.State != Doubtful {
			t.Fatalf("just before its time: %s", j.State)
		}
		time.Sleep(time.Nanosecond)
		if j := look(NotFound{}); j.State != Queued || j.Resent != 1 {
			t.Errorf("when it was looked for long enough: %s, sent again %d times", j.State, j.Resent)
		}
	})
}

// A document that one scan has is not another's, whatever the service says: each would
// get the other's text, and delete it.
func TestClaimedDocument(t *testing.T) {
	q := open(t)
	a, b := add(t, q, scan("/scans/a.pdf", "a"))[0].ID, add(t, q, scan("/scans/b.pdf", "b"))[0].ID
	step(t, q, Upload, a, Sending{}, Uploaded{Document: "d"})
	if j := step(t, q, Upload, b, Sending{}, Uploaded{Document: "d"}); j.State != Doubtful || !j.Accepted || j.Document != "" {
		t.Fatalf("a document that another has: %s, accepted %v, %q", j.State, j.Accepted, j.Document)
	}
	check(t, q)
	makeDue(t, q, b)
	if j := step(t, q, LookUp, b, Uploaded{Document: "d"}); j.State != Doubtful || j.Error == "" {
		t.Fatalf("the same, found by a look-up: %s (%q)", j.State, j.Error)
	}
	makeDue(t, q, b)
	if j := step(t, q, LookUp, b, Uploaded{Document: "e", Twins: []string{"d", "e", "f"}}); j.State != Processing || !slices.Equal(j.Trash, []string{"f"}) {
		t.Errorf("its own: %s, to be deleted beside it: %v", j.State, j.Trash)
	}
	if j := get(t, q, a); j.Document != "d" {
		t.Errorf("the first has %q", j.Document)
	}
}

// A service that gives content that it knows the document that it had is believed: that
// is not deleted any more.
func TestDocumentComesBack(t *testing.T) {
	j := Job{ID: 1, State: Uploading, Trash: []string{"c", "d"}}
	next, err := j.move(Uploaded{Document: "d"}, noon, usual)
	if err != nil || next.Document != "d" || !slices.Equal(next.Trash, []string{"c"}) {
		t.Errorf("it has %q, and deletes %v, %v", next.Document, next.Trash, err)
	}
}

// A part of a scan does not get another part's text.
func TestClaimedByAPart(t *testing.T) {
	q := open(t)
	id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
	step(t, q, Upload, id, Divided{Parts: parts()})
	makeDue(t, q, id)
	step(t, q, Upload, id, Sending{}, Uploaded{Document: "d"})
	makeDue(t, q, id)
	step(t, q, Collect, id, PartCollected{})
	if j := step(t, q, Upload, id, Sending{}, Uploaded{Document: "d"}); j.State != Doubtful || j.Document != "" {
		t.Errorf("the second part: %s, %q", j.State, j.Document)
	}
}

// A restored queue knows which scans the service has.
func TestListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open24(t)
		if err := q.Rebuild(); err != nil {
			t.Fatal(err)
		}
		sent, resent, other := scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"), scan("/scans/c.pdf", "c")
		listed := func(s Scan) bool {
			t.Helper()
			yes, err := q.Listed(s)
			if err != nil {
				t.Fatal(err)
			}
			return yes
		}
		count(t, q, stray("d1", Job{Identity: Identity(sent.Content, sent.Options)}, q, 0), stray("d2", Job{Identity: Identity(resent.Content, resent.Options)}, q, 2))
		if !listed(sent) || !listed(resent) || listed(other) {
			t.Errorf("sent %v, sent again %v, another %v", listed(sent), listed(resent), listed(other))
		}
		add(t, q, sent)
		if listed(sent) {
			t.Error("a document that a job has counts")
		}
	})
}
