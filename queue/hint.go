package queue

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Where the service tells by a webhook that a result is there, asking for it is
// the safety net only: it finds what was not told.
const (
	// firstSlowLook is when a result is asked for that was not announced although
	// others were; who finds it then knows that the announcements have ceased.
	firstSlowLook = time.Minute
	// slowLook is between two such looks.
	slowLook = 2 * time.Minute
)

// announced says that the service has told that the job's result is there.
type announced struct{}

func (announced) kind() kind { return "announced" }

// early is a bounded memory of documents that no job has: their announcement may
// have overtaken the answer to their upload. It is guarded by Queue.mu.
type early struct {
	documents []string // a ring
	next      int
}

const (
	mostEarly   = 256
	longestName = 256 // bytes of a document's id that is remembered
)

func (e *early) add(document string) {
	switch {
	case len(document) > longestName || slices.Contains(e.documents, document):
	case len(e.documents) < mostEarly:
		e.documents = append(e.documents, document)
	default:
		e.documents[e.next] = document
		e.next = (e.next + 1) % mostEarly
	}
}

// Hint says that, as somebody tells, the result of a document is there. It is
// believed so far only that the job which waits for it looks at once, the first
// time; where trouble makes the job wait it goes on waiting. woken reports
// whether that changed anything. The error wraps [ErrNoJob] if no job waits for
// the document; should one have it soon, its result is asked for at once.
//
// As long as announcements come, results are otherwise asked for once in a
// while only. When the first is found that was not announced they are asked for
// as usual again.
func (q *Queue) Hint(document string) (j Job, woken bool, err error) {
	nobody := fmt.Errorf("document %s: %w", document, ErrNoJob)
	if j, err = q.ByDocument(document); errors.Is(err, ErrNoJob) {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.early.add(document)
		return Job{}, false, nobody
	}
	if err != nil {
		return j, false, err
	}
	if !j.awaits(document) { // without a transaction: who repeats himself costs us nothing
		return j, false, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	err = q.updateLocked(func(t *tx) (err error) {
		if j, err = t.job(j.ID); err != nil || !j.awaits(document) {
			return err
		}
		woken = true
		j, err = t.apply(j, announced{})
		return err
	})
	if err == nil && woken {
		q.policy.told = true
		q.policy.looks.learn(j, j.Announced)
	}
	return j, woken && err == nil, err
}

// awaits reports whether the announcement of the document is news for the job.
func (j Job) awaits(document string) bool {
	return j.State == Processing && j.Document == document && j.Announced.IsZero() && j.HeldBy == ""
}

// heard applies an announcement of the job's document that came when it could
// not be heeded: before the document's id was known, or while it was looked at.
func (q *Queue) heard(t *tx, task Task, j Job, o Outcome) (Job, error) {
	switch o.(type) {
	case Uploaded:
		if j.State != Processing || !slices.Contains(q.early.documents, j.Document) {
			return j, nil
		}
	case Pending:
		if j.State != Processing || task.Job.Announced.Equal(j.Announced) {
			return j, nil
		}
	default:
		return j, nil
	}
	return t.apply(j, announced{})
}

// listen learns from a result that was found whether the announcements go on.
// from is the state that the job was in.
func (p *policy) listen(from State, j Job, o Outcome, now time.Time) {
	if _, found := o.(Collected); !found || from != Processing {
		return
	}
	if j.Announced.IsZero() && now.Sub(j.Uploaded) >= firstSlowLook {
		p.told = false
	}
}

// firstLook is when the result of a job that was just uploaded is asked for.
func (p policy) firstLook(j Job, now time.Time) time.Time {
	if p.told {
		return now.Add(firstSlowLook)
	}
	return p.looks.next(j, now, p.scarce)
}

// nextAsked is when a job that the service still works on is asked for again.
func (p policy) nextAsked(j Job, now time.Time) time.Time {
	if p.told && j.Announced.IsZero() {
		return now.Add(slowLook - spread(j, slowLook/10))
	}
	return p.looks.next(j, now, p.scarce)
}
