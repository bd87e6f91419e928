package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/journal"
	"scandrop/queue"
)

// openJournal opens the journal and sees that the queue and it agree. What the
// journal tells and the queue does not know, because an older copy of its file
// took its place, is put into the queue. Nothing may have been claimed yet.
func (s state) openJournal(q *queue.Queue) (*journal.Journal, error) {
	j, err := journal.Open(journal.Config{Dir: s.dir})
	if err != nil {
		return nil, err
	}
	if n := j.Cut(); n > 0 {
		s.Log.Warn("the journal's last line was torn and is cut off; it is written again", "bytes", n)
	}
	if err := s.agree(q, headOf(j.Head())); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// replay puts into a queue that is being restored what the journal tells.
func (s state) replay(q *queue.Queue) error {
	j, err := s.openJournal(q)
	if err != nil {
		return err
	}
	return j.Close()
}

// agree brings the queue to where the journal is, whose last line is head.
func (s state) agree(q *queue.Queue, head queue.Head) error {
	known, err := q.Head()
	switch {
	case err != nil || head == known:
		return err
	case head.Seq <= known.Seq:
		s.Log.Error(`the journal is not what was written: "scandrop journal verify" says where`,
			"file", s.dir, "last_line", head.Seq, "last_line_written", known.Seq)
		return nil
	}
	n, err := q.Replay(s.entries(known.Seq), head)
	if n > 0 { // somebody put an older file back: it may know as little of what is under way
		s.Log.Warn("the queue was older than the journal; jobs were rebuilt from the journal", "lines", n)
		err = errors.Join(err, rebuild(q))
	}
	return err
}

// entries goes through what the journal tells after that line. What cannot be
// read is logged: the rest counts all the same.
func (s state) entries(after uint64) iter.Seq2[queue.Entry, error] {
	return func(yield func(queue.Entry, error) bool) {
		for l, err := range journal.Read(s.dir, after) {
			var e queue.Entry
			if err == nil {
				if err = json.Unmarshal(l.Text, &e); err != nil {
					err = &journal.LineError{File: l.File, Line: l.Number, Err: err}
				}
			}
			if _, bad := errors.AsType[*journal.LineError](err); bad {
				s.Log.Error("a line of the journal cannot be read", "error", err)
				continue
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// A journalist copies what the queue has for the journal to there.
type journalist struct {
	state   state
	queue   *queue.Queue
	journal *journal.Journal // nil: to be opened
	known   journal.Head     // what the queue has been told of it
	when    time.Time        // and when
	failing bool             // it has been said
}

const (
	// acknowledgeEvery is how often the queue is told what the journal has: a
	// transaction costs more than a line. The lines themselves are written at
	// once, as what is lost with the queue's file is known from them alone.
	acknowledgeEvery = time.Second
	// journalRetry is how long to wait before a journal that could not be
	// written is tried again.
	journalRetry = 30 * time.Second
	// journalBatch bounds the entries that are in memory at once.
	journalBatch = 500
)

// keepJournal begins to copy entries to the journal, before anything is
// claimed. The function that it returns copies what is left then, and ends it.
func (d *daemon) keepJournal(ctx context.Context) (end func()) {
	j := &journalist{state: d.state, queue: d.queue}
	j.say(j.open())
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		j.run(ctx)
	}()
	return func() {
		stop()
		<-ended
	}
}

// run copies entries as they come until ctx is done, and then once more. Trouble
// is said once and stops nothing: the entries wait in the queue.
func (j *journalist) run(ctx context.Context) {
	for {
		last := ctx.Err() != nil
		err := j.move(last)
		j.say(err)
		if last {
			break
		}
		if err == nil && j.await(ctx) == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(journalRetry):
		}
	}
	if j.journal != nil {
		j.say(j.journal.Close())
	}
}

// await blocks until there is something to do.
func (j *journalist) await(ctx context.Context) error {
	head := j.journal.Head()
	if head == j.known {
		return j.queue.AwaitEntry(ctx, head.Seq)
	}
	wait, cancel := context.WithDeadline(ctx, j.when.Add(acknowledgeEvery))
	defer cancel()
	if err := j.queue.AwaitEntry(wait, head.Seq); wait.Err() == nil {
		return err
	}
	return ctx.Err()
}

func (j *journalist) say(err error) {
	switch {
	case err != nil && !j.failing:
		j.state.Log.Error("the journal cannot be written; what it is to tell waits in the queue", "folder", j.state.dir, "error", err)
	case err == nil && j.failing:
		j.state.Log.Info("the journal is written again")
	}
	j.failing = err != nil
}

func (j *journalist) open() (err error) {
	if j.journal == nil {
		if j.journal, err = j.state.openJournal(j.queue); err == nil {
			j.known = j.journal.Head()
		}
	}
	return err
}

// move writes everything that waits, and tells the queue so, if it is time, or
// the last time.
func (j *journalist) move(last bool) error {
	if err := j.open(); err != nil {
		return err
	}
	for {
		entries, err := j.queue.Outbox(j.journal.Head().Seq, journalBatch)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			break
		}
		records := make([]json.RawMessage, len(entries))
		for i, e := range entries {
			if records[i], err = json.Marshal(e); err != nil {
				return err
			}
		}
		if _, err := j.journal.Append(records); err != nil {
			return err
		}
	}
	head := j.journal.Head()
	if head == j.known || !last && time.Since(j.when) < acknowledgeEvery {
		return nil
	}
	if err := j.queue.Acknowledge(headOf(head)); err != nil {
		return err
	}
	j.known, j.when = head, time.Now()
	return nil
}

func headOf(h journal.Head) queue.Head { return queue.Head{Seq: h.Seq, Hash: queue.Digest(h.Hash)} }

// VerifyJournal reads the journal of a configuration whole, and holds it
// against what the queue remembers of its end. If that could not be had unheard
// says why, as [queue.ErrInUse] while a daemon runs. The error, a [StateError],
// says that the journal could not be read.
func VerifyJournal(c *config.Config, o Opening) (r journal.Report, unheard, err error) {
	known, unheard := journalHead(c, o)
	r, err = journal.Verify(c.State, journal.Head{Seq: known.Seq, Hash: journal.Hash(known.Hash)})
	if err != nil {
		err = stateError(c.State, err)
	}
	return r, unheard, err
}

// journalHead asks the queue for the journal's end, and lets go of it: reading
// the journal may take a while.
func journalHead(c *config.Config, o Opening) (queue.Head, error) {
	if _, err := os.Stat(QueuePath(c)); errors.Is(err, fs.ErrNotExist) {
		return queue.Head{}, fmt.Errorf("%s is not there", QueuePath(c))
	}
	q, err := OpenQueue(c, o)
	if err != nil {
		return queue.Head{}, err
	}
	head, err := q.Head()
	return head, errors.Join(err, q.Close())
}
