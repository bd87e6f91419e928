package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
)

// Replay puts into the queue what the journal tells and the queue does not
// know, because the file was lost and an older copy of it, or an empty one,
// took its place. entries are all that the journal holds after [Queue.Head], in
// their order, and head is its last line, which is acknowledged. Those that wait
// in the outbox as they are in the journal are no news, and leave it; all others
// are. n says how many were.
//
// Afterwards nothing is sent that was paid for, and new entries have numbers
// above the journal's last; what still waits in the outbox has new ones, too.
// Replay may be repeated. If entries yields an error Replay ends with it, and is
// to be repeated. It must come before workers claim anything; else it fails and
// changes nothing.
func (q *Queue) Replay(entries iter.Seq2[Entry, error], head Head) (n int, err error) {
	const most = 500 // in a transaction
	var chunk []Entry
	replay := func(end bool) error {
		news := 0
		err := q.update(func(t *tx) error {
			news = 0
			if len(q.claimed) > 0 {
				return errors.New("the journal cannot be replayed while jobs are worked on")
			}
			known, err := t.head()
			if err != nil {
				return err
			}
			last := known.Seq
			for _, e := range chunk {
				last = max(last, e.Seq)
				if e.Seq > known.Seq && !t.journaled(e) {
					t.replay(e)
					news++
				}
			}
			if end {
				last = max(last, head.Seq)
				t.putJSON(bucketMeta, keyHead, head)
			}
			if box := t.Bucket(bucketOutbox); last > box.Sequence() {
				t.fail(box.SetSequence(last))
			}
			t.ended = nil // the journal has them
			if end {
				t.renumber(last)
			}
			if end && n+news > 0 {
				t.replaceAll()
			}
			return nil
		})
		if err == nil {
			n += news
			chunk = chunk[:0]
		}
		return err
	}
	for e, err := range entries {
		if err != nil {
			return n, err
		}
		if len(chunk) == most {
			if err := replay(false); err != nil {
				return n, err
			}
		}
		chunk = append(chunk, e)
	}
	return n, replay(true)
}

// journaled takes an entry out of the outbox that is in the journal as it is,
// and reports whether it was there.
func (t *tx) journaled(e Entry) bool {
	text, err := json.Marshal(e)
	t.fail(err)
	if !bytes.Equal(t.get(bucketOutbox, key64(e.Seq)), text) {
		return false
	}
	t.delete(bucketOutbox, key64(e.Seq))
	return true
}

// renumber gives new numbers to the waiting entries up to last: the journal has
// others under theirs.
func (t *tx) renumber(last uint64) {
	var stale []Entry
	t.outbox(0, func(e Entry) bool {
		if e.Seq > last {
			return false
		}
		stale = append(stale, e)
		return true
	})
	for _, e := range stale {
		t.delete(bucketOutbox, key64(e.Seq))
		t.enqueue(e)
	}
}

// replay brings one job to the end that the entry tells of.
func (t *tx) replay(e Entry) {
	j := e.Job
	j.HeldBy = "" // that hold may not stand
	record := t.identity(j.Identity)
	record.Paid, record.Resends = max(record.Paid, e.Paid), max(record.Resends, e.Resends)
	if !j.Uploaded.IsZero() {
		record.Paid = max(record.Paid, 1)
		if j.Uploaded.After(record.Last) {
			record.Last = j.Uploaded
		}
	}
	if record != (identityRecord{}) {
		t.putJSON(bucketIdentities, j.Identity[:], record)
	}
	if twin, err := t.job(j.Twin); err != nil || twin.Identity != j.Identity {
		j.Twin = 0
	}
	for _, d := range j.documents() { // it is nobody's stray any more
		t.claimDocument(d)
	}
	old, found := t.told(j)
	if !j.Uploaded.IsZero() && (!found || old.Source != j.Source) {
		pages := billed(j.Pages, j)
		if len(j.Parts) > 0 {
			pages = j.cost()
		}
		t.spend(j, pages, j.Uploaded)
	}
	switch {
	case found:
		j.ID = old.ID
		t.write(old, j)
	case t.get(bucketJobs, key64(j.ID)) != nil: // another job has its number
		j = t.create(j)
	default: // its old number, so that others still mean it
		if jobs := t.Bucket(bucketJobs); j.ID > jobs.Sequence() {
			t.fail(jobs.SetSequence(j.ID))
		}
		t.insert(j)
	}
	t.supersede(j)
	t.addEvent(j.ID, Event{At: e.At, What: "replayed", State: j.State, Note: j.Error})
	for _, r := range j.Results {
		if r.Path == "" {
			continue
		}
		if owner := t.owner(r.Path); owner.ID == 0 || owner.Path == j.Path && owner.ID < j.ID {
			t.put(bucketNames, []byte(r.Path), key64(j.ID))
		}
	}
	if p, known := t.path(j.Path); !known || p.job <= j.ID {
		t.putPath(j.Path, pathRecord{job: j.ID, size: j.Size, mod: j.ModTime.UnixNano()})
	}
}

// told finds the job that an entry of the journal tells of: under its own
// number, or under another if that was given to another job.
func (t *tx) told(j Job) (old Job, found bool) {
	same := func(other Job) bool {
		return other.Path == j.Path && other.Content == j.Content && other.Identity == j.Identity && other.Added.Equal(j.Added)
	}
	if old, err := t.job(j.ID); errors.Is(err, ErrNoJob) || err == nil && same(old) {
		return old, err == nil
	}
	for _, other := range t.sameContent(j.Content) {
		if same(other) {
			return other, true
		}
	}
	return Job{}, false
}

// supersede removes the jobs of the same scan that wait to be sent: they were
// dropped before j took their place, or noticed because j was not known.
func (t *tx) supersede(j Job) {
	for _, other := range t.sameContent(j.Content) {
		if other.ID != j.ID && other.Path == j.Path && other.Identity == j.Identity && t.unsent(other, nil) {
			t.remove(other)
		}
	}
}

// replaceAll looks again at the jobs that wait to be sent: what was paid for
// since is not sent, and whom they wait for may be at its end, or gone.
func (t *tx) replaceAll() {
	for _, id := range t.inState(Queued) {
		j, err := t.job(id)
		if err != nil || j.State != Queued { // nobody will claim it; or it went with another one here
			continue
		}
		next := j
		if j.HeldBy == Profile { // it is noticed anew
			continue
		}
		switch waits := j.Twin != 0 && j.Due.IsZero(); {
		case waits:
			first, err := t.job(j.Twin)
			if err == nil && first.State.Final() {
				t.freeTwins(first)
			}
			if err == nil {
				continue
			}
			next.Twin, next.Due = 0, t.now
		case j.Twin != 0, t.identity(j.Identity).Paid == 0, j.halfway():
			continue
		}
		if j.Resend == 0 && j.Resent == 0 {
			next = t.place(next)
		}
		if next.State == Queued && next.Twin == j.Twin {
			continue
		}
		t.write(j, next)
		t.addEvent(id, Event{At: t.now, What: "replayed", State: next.State, Note: next.Error})
		if next.State.Final() {
			t.freeTwins(next)
			continue
		}
		for _, twin := range t.sameContent(j.Content) { // they go where it goes
			if twin.Twin == id && twin.State == Queued && next.Twin != 0 {
				moved := twin
				moved.Twin, moved.Due = next.Twin, next.Due
				t.write(twin, moved)
			}
		}
	}
}
