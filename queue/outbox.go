package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Entry is what the journal is to tell of a job's end: its whole record as
// it was then, enough to make the job again; see [Queue.Replay]. A job that
// ends has one; so it has when a document or its original was cleared away
// after that, and when it was retried and ends again.
type Entry struct {
	Seq uint64    `json:"seq"` // one more than that of the entry before; never used twice
	At  time.Time `json:"at"`

	Job

	Paid    int `json:"paid"`              // documents that the service made for the job's identity, up to then
	Resends int `json:"resends,omitempty"` // uploads of the identity that a person asked for beyond the first, up to then
}

// plainEntry is an Entry without its methods.
type plainEntry Entry

// MarshalJSON implements [json.Marshaler]. Paths that are not UTF-8 are wrapped
// as in the queue file.
func (e Entry) MarshalJSON() ([]byte, error) {
	e.Job = e.Job.withPaths(wrapPath)
	return json.Marshal(plainEntry(e))
}

// UnmarshalJSON implements [json.Unmarshaler]. It refuses what no queue wrote:
// a job that is not at its end, or has no number, no path or no folder.
func (e *Entry) UnmarshalJSON(text []byte) error {
	var p plainEntry
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	p.Job = p.Job.withPaths(unwrapPath)
	const most = 1 << 62 // numbers above it are no counting's
	switch {
	case p.Seq == 0 || p.Seq > most, p.ID == 0 || p.ID > most:
		return errors.New("an entry has a sequence number and a job")
	case !p.State.Final():
		return fmt.Errorf("job %d is %q: that is not its end", p.ID, p.State)
	case p.Path == "" || p.Folder == "":
		return fmt.Errorf("job %d has no path or no folder", p.ID)
	case p.Paid < 0 || p.Resends < 0:
		return fmt.Errorf("job %d was paid for %d times, sent again %d times", p.ID, p.Paid, p.Resends)
	}
	documents := p.documents()
	for i, d := range documents {
		if d == "" || slices.Contains(documents[:i], d) {
			return fmt.Errorf("job %d has document %q twice, or one without an id", p.ID, d)
		}
	}
	*e = Entry(p)
	return nil
}

// A Head is the journal's last line, as far as the queue knows: a journal that
// lacks it, or has another one in its place, was cut off or altered.
type Head struct {
	Seq  uint64 `json:"seq"`  // 0: there is none
	Hash Digest `json:"hash"` // of the line's bytes
}

var keyHead = []byte("journal")

// noteEnd has the transaction write an entry for the job when j, which takes
// old's place, is at its end: if it has just come there, or if what is left of
// it has changed.
func (t *tx) noteEnd(old, j Job) {
	if !j.State.Final() {
		return
	}
	if !old.State.Final() || old.Moved != j.Moved || !slices.Equal(old.documents(), j.documents()) {
		t.ended = append(t.ended, j.ID)
	}
}

// post writes the entries for the jobs that came to their end, and what was
// learned. It comes last in a transaction, when all that follows from an end has
// been counted.
func (t *tx) post() {
	for i, id := range t.ended {
		if slices.Contains(t.ended[:i], id) {
			continue
		}
		j, err := t.job(id)
		if errors.Is(err, ErrNoJob) || err == nil && !j.State.Final() {
			continue // it went on at once
		}
		t.fail(err)
		identity := t.identity(j.Identity)
		t.enqueue(Entry{At: t.now, Job: j, Paid: identity.Paid, Resends: identity.Resends})
	}
	t.ended = nil
	if l := t.policy.looks; l.worthKeeping() {
		t.putJSON(bucketMeta, keyLooks, l.kinds)
		t.keptLooks = true
	}
}

// enqueue puts an entry into the outbox under the next number.
func (t *tx) enqueue(e Entry) {
	seq, err := t.Bucket(bucketOutbox).NextSequence()
	t.fail(err)
	e.Seq = seq
	t.putJSON(bucketOutbox, key64(seq), e)
}

// outbox calls f for the waiting entries after that number, in their order,
// until it returns false.
func (t *tx) outbox(after uint64, f func(Entry) bool) {
	c := t.Bucket(bucketOutbox).Cursor()
	for k, v := c.Seek(key64(after + 1)); k != nil; k, v = c.Next() {
		var e Entry
		if err := json.Unmarshal(v, &e); err != nil || e.Seq != parseID(k) {
			t.fail(fmt.Errorf("%w: entry %x of the outbox cannot be read", ErrDamaged, k))
			return
		}
		if !f(e) {
			return
		}
	}
}

// Outbox returns the entries that wait to be acknowledged and whose number is
// above after, the oldest first, at most limit of them.
func (q *Queue) Outbox(after uint64, limit int) ([]Entry, error) {
	var entries []Entry
	err := q.read(func(t *tx) error {
		t.outbox(after, func(e Entry) bool {
			entries = append(entries, e)
			return len(entries) < limit
		})
		return t.err
	})
	return entries, err
}

// AwaitEntry blocks until an entry whose number is above after is in the
// outbox, or until ctx is done, whose error it then returns.
func (q *Queue) AwaitEntry(ctx context.Context, after uint64) error {
	for {
		q.mu.Lock()
		changed, waits := q.changed, false
		err := q.readLocked(func(t *tx) error {
			k, _ := t.Bucket(bucketOutbox).Cursor().Seek(key64(after + 1))
			waits = k != nil
			return nil
		})
		q.mu.Unlock()
		if err != nil || waits {
			return err
		}
		if err := wait(ctx, changed, time.Time{}); err != nil {
			return err
		}
	}
}

// Acknowledge says that the journal holds everything up to its last line, head,
// for good: those entries leave the outbox.
func (q *Queue) Acknowledge(head Head) error {
	return q.update(func(t *tx) error {
		c := t.Bucket(bucketOutbox).Cursor()
		for k, _ := c.First(); k != nil && parseID(k) <= head.Seq; k, _ = c.First() {
			t.fail(c.Delete())
		}
		t.putJSON(bucketMeta, keyHead, head)
		return nil
	})
}

// Head returns the last line of the journal that was acknowledged.
func (q *Queue) Head() (Head, error) {
	var h Head
	err := q.read(func(t *tx) (err error) {
		h, err = t.head()
		return err
	})
	return h, err
}

func (t *tx) head() (h Head, err error) {
	if v := t.get(bucketMeta, keyHead); v != nil {
		err = json.Unmarshal(v, &h)
	}
	return h, err
}

// verifyOutbox holds the outbox against its numbers.
func (t *tx) verifyOutbox() error {
	head, err := t.head()
	if err != nil {
		return fmt.Errorf("the journal's head: %w", err)
	}
	last := head.Seq
	t.outbox(0, func(e Entry) bool {
		if e.Seq <= last {
			t.fail(fmt.Errorf("outbox: entry %d comes after %d", e.Seq, last))
		}
		last = e.Seq
		return true
	})
	if n := t.Bucket(bucketOutbox).Sequence(); n < last {
		t.fail(fmt.Errorf("outbox: the last number was %d, the next is %d", last, n+1))
	}
	return t.err
}
