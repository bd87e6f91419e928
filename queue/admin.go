package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// A Filter chooses jobs. The zero Filter chooses all.
type Filter struct {
	States []State // any of them; none means all
	Folder string  // "" means all
	Text   string  // what the path of the scan holds, in any case; "" means all
	After  uint64  // only jobs with a smaller id, for the next page; 0 for the first
	Limit  int     // how many; defaults to 100, at most 1000
}

// A Page is one page of a list, newest first.
type Page struct {
	Jobs []Job
	Next uint64 // the Filter's After for the next page; 0 if this is the last
}

// matches reports whether the job is one of those that the filter's folder and
// text ask for; text is in lower case.
func (f Filter) matches(j Job, text string) bool {
	return (f.Folder == "" || j.Folder == f.Folder) && (text == "" || strings.Contains(strings.ToLower(j.Path), text))
}

// looksAPage bounds how many jobs are read for one page, so that a search for
// what is not there takes no long time at once.
const looksAPage = 10000

// List returns one page of jobs. It reads no more of the file than the page
// needs, but for jobs of the wanted states that lie in other folders or have
// other names; where there are very many of those, the page may hold fewer jobs
// than its limit, or none, and go on at Next all the same.
func (q *Queue) List(f Filter) (Page, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, 1000)
	if len(f.States) == 0 {
		f.States = States
	}
	text := strings.ToLower(f.Text)
	var page Page
	err := q.read(func(t *tx) error {
		looks := 0
		cursors := make([]*stateCursor, 0, len(f.States))
		for i, s := range f.States {
			switch {
			case stateNumbers[s] == 0:
				return fmt.Errorf("there is no state %q; the states are %v", s, States)
			case slices.Contains(f.States[:i], s):
				continue
			}
			if c := newStateCursor(t, s, f.After); c.id != 0 {
				cursors = append(cursors, c)
			}
		}
		for len(cursors) > 0 {
			newest := slices.MaxFunc(cursors, func(a, b *stateCursor) int {
				return bytes.Compare(key64(a.id), key64(b.id))
			})
			j, err := t.job(newest.id)
			if err != nil { // one that cannot be read must not hide the others
				j = Job{ID: newest.id, State: newest.state, Error: err.Error()}
			}
			if f.matches(j, text) {
				if len(page.Jobs) == f.Limit {
					page.Next = page.Jobs[f.Limit-1].ID
					return nil
				}
				page.Jobs = append(page.Jobs, j)
			}
			if looks++; looks == looksAPage {
				page.Next = j.ID
				return nil
			}
			if newest.next(); newest.id == 0 {
				cursors = slices.DeleteFunc(cursors, func(c *stateCursor) bool { return c == newest })
			}
		}
		return nil
	})
	return page, err
}

// All goes through the jobs of a filter, newest first, page by page: what moves
// meanwhile may be missed. Its Limit bounds a page. After an error it ends.
func (q *Queue) All(f Filter) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for {
			page, err := q.List(f)
			if err != nil {
				yield(Job{}, err)
				return
			}
			for _, j := range page.Jobs {
				if !yield(j, nil) {
					return
				}
			}
			if f.After = page.Next; f.After == 0 {
				return
			}
		}
	}
}

// A stateCursor walks the jobs of one state, newest first. Its id is 0 at the
// end.
type stateCursor struct {
	state  State
	prefix byte
	id     uint64
	c      interface{ Prev() ([]byte, []byte) }
}

func newStateCursor(t *tx, s State, before uint64) *stateCursor {
	if before == 0 {
		before = 1<<64 - 1
	}
	c := t.Bucket(bucketStates).Cursor()
	sc := &stateCursor{state: s, prefix: stateNumbers[s], c: c}
	k, _ := c.Seek(stateKey(s, before))
	if k == nil {
		k, _ = c.Last()
		sc.take(k)
		return sc
	}
	sc.next()
	return sc
}

func (sc *stateCursor) next() {
	k, _ := sc.c.Prev()
	sc.take(k)
}

func (sc *stateCursor) take(k []byte) {
	sc.id = 0
	if len(k) == 9 && k[0] == sc.prefix {
		sc.id = binary.BigEndian.Uint64(k[1:])
	}
}

func parseID(v []byte) uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(v)
}

// inState lists the ids of all jobs in a state, for states that few are in.
func (t *tx) inState(s State) []uint64 {
	var ids []uint64
	prefix := []byte{stateNumbers[s]}
	c := t.Bucket(bucketStates).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		ids = append(ids, parseID(k[1:]))
	}
	return ids
}

// Get returns a job. The error wraps [ErrNoJob] if there is none.
func (q *Queue) Get(id uint64) (Job, error) {
	var j Job
	err := q.read(func(t *tx) (err error) {
		j, err = t.job(id)
		return err
	})
	return j, err
}

// ByPath returns the newest job of the scan at the path. The error wraps
// [ErrNoJob] if there is none.
func (q *Queue) ByPath(path string) (Job, error) {
	var j Job
	err := q.read(func(t *tx) (err error) {
		p, ok := t.path(path)
		if !ok || p.job == 0 {
			return fmt.Errorf("%s: %w", path, ErrNoJob)
		}
		j, err = t.job(p.job)
		return err
	})
	return j, err
}

// ByDocument returns the job that has the document. The error wraps [ErrNoJob]
// if none has; of a job whose record cannot be read only the ID is returned with
// the error.
func (q *Queue) ByDocument(document string) (Job, error) {
	var j Job
	err := q.read(func(t *tx) (err error) {
		v := t.get(bucketDocuments, []byte(document))
		if v == nil {
			return fmt.Errorf("document %s: %w", document, ErrNoJob)
		}
		if j, err = t.job(parseID(v)); err != nil {
			j = Job{ID: parseID(v)}
		}
		return err
	})
	return j, err
}

// Counts returns how many jobs there are by folder and state. It does not
// count them: the numbers are kept.
func (q *Queue) Counts() (map[string]map[State]int, error) {
	counts := map[string]map[State]int{}
	err := q.read(func(t *tx) error {
		for path, f := range t.folders {
			counts[path] = map[State]int{}
			for _, s := range States {
				if v := t.get(bucketCounts, countKey(f.Number, s)); parseID(v) > 0 {
					counts[path][s] = int(parseID(v))
				}
			}
		}
		return nil
	})
	return counts, err
}

// A RefusedError says why something that a person asked for is not done.
type RefusedError struct {
	Job    uint64
	Reason string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("job %d %s", e.Job, e.Reason) }

// Retry gives a job another try, with all its attempts, at once. A job whose
// document still lives goes on collecting; one that has none is sent, which is
// paid for again if it was paid for before. If it was not, and the same content
// is on its way as another job, it waits for that one's results. A done job is sent again only if
// pay is set; else the error is a [RefusedError].
func (q *Queue) Retry(id uint64, pay bool) (Job, error) {
	return q.byHand(id, func(t *tx, j Job, busy bool) (Outcome, error) {
		switch {
		case busy:
			return nil, &RefusedError{id, "is being worked on at this moment"}
		case j.State == Done && !pay:
			return nil, &RefusedError{id, "is done; sending it again would be paid for again"}
		case j.Content.IsZero():
			t.drop(j) // nothing is known of it: the watcher is to look again
			return nil, nil
		}
		o := again{resend: j.Resend, mark: j.Mark}
		if twin, err := t.job(j.Twin); err == nil && twin.State == Done {
			o.twin = twin.ID
		}
		record := t.identity(j.Identity)
		first, found := t.firstOf(j)
		switch {
		case j.State == Doubtful && !j.Due.IsZero(): // it is looked for at once, not sent
		case record.Paid > 0 || j.State == Doubtful:
			record.Resends++
			o.resend = record.Resends
			o.mark = t.mark(j.sentIdentity(), o.resend)
			if j.State == Done { // it is divided anew
				o.mark = t.mark(j.Identity, o.resend)
			}
			if j.Document == "" && !j.gathered() || j.State != Failed {
				t.putJSON(bucketIdentities, j.Identity[:], record)
			}
		case found && !first.State.Final(): // nobody asked to pay for both
			o.twin, o.wait = first.ID, true
		}
		return o, nil
	})
}

// Cancel stops a job at its next safe point: what was sent is found and
// deleted first. It returns the job as it is now; a job that is already
// written or at its end is refused with a [RefusedError].
func (q *Queue) Cancel(id uint64) (Job, error) {
	return q.byHand(id, func(_ *tx, j Job, busy bool) (Outcome, error) {
		if j.State.Final() || j.State == Written {
			return nil, &RefusedError{id, fmt.Sprintf("is %s: there is nothing left to cancel", j.State)}
		}
		return cancel{busy}, nil
	})
}

// Forget removes a job that is at its end, and its story. What was paid for is
// remembered all the same: its content is never sent again by itself. A job
// that still has a remote copy to be deleted is refused with a [RefusedError].
func (q *Queue) Forget(id uint64) (Job, error) {
	return q.byHand(id, func(t *tx, j Job, busy bool) (Outcome, error) {
		switch {
		case !j.State.Final():
			return nil, &RefusedError{id, fmt.Sprintf("is %s; cancel it first", j.State)}
		case busy || j.leftovers():
			return nil, &RefusedError{id, "still has a remote copy to be deleted"}
		}
		path, known := t.path(j.Path)
		t.remove(j)
		if known && path.job == j.ID { // the file may still lie there; it is not to come back by itself
			path.job = 0
			t.putPath(j.Path, path)
		}
		return nil, nil
	})
}

// byHand applies what a person asks for, as f makes an outcome of it; a nil
// outcome means that f has done it all.
func (q *Queue) byHand(id uint64, f func(t *tx, j Job, busy bool) (Outcome, error)) (Job, error) {
	var j Job
	err := q.update(func(t *tx) (err error) {
		if j, err = t.job(id); err != nil {
			return err
		}
		o, err := f(t, j, q.claimed[id])
		if err != nil || o == nil {
			return err
		}
		j, err = t.apply(j, o)
		return err
	})
	if m, ok := errors.AsType[*MoveError](err); ok {
		return j, &RefusedError{id, fmt.Sprintf("is %s: that does not apply to it", m.From)}
	}
	return j, err
}
