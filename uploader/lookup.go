package uploader

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// zoneSlack is how far back beyond an upload's time the list is read: its
// timestamps come without a zone.
const zoneSlack = 26 * time.Hour

const perPage = 200

// maxMarked bounds the documents under one mark: they are remembered, and deleted.
const maxMarked = 100

// A sight is what a complete look through the service's list showed.
type sight struct {
	marked   []hwocr.Document // those that bear the job's mark and belong to no other job, newest first
	later    bool             // an upload of ours that began later is there
	nameless bool             // the list does not give our names back
}

// lookUp finds out whether an unanswered upload arrived.
func (u *Uploader) lookUp(ctx context.Context, t queue.Task) queue.Outcome {
	s, err := u.look(ctx, t.Job)
	if err != nil {
		return u.classify(ctx, opList, t.Job, err)
	}
	if len(s.marked) == 0 {
		return queue.NotFound{Later: s.later, Nameless: s.nameless}
	}
	adopt := len(s.marked) - 1 // the oldest has got furthest
	for i, d := range s.marked {
		if s.marked[adopt].Status == "failed" && d.Status != "failed" {
			adopt = i
		}
	}
	o := queue.Uploaded{Document: s.marked[adopt].ID, Pages: s.marked[adopt].Pages}
	for i, d := range s.marked {
		if i != adopt {
			o.Twins = append(o.Twins, d.ID)
		}
	}
	return o
}

// look reads the service's list back to the job's upload. Nothing is deleted
// by us meanwhile: rows would move up to pages that were read already. Where
// others delete, the client notices, and the look begins anew.
func (u *Uploader) look(ctx context.Context, j queue.Job) (s sight, err error) {
	err = u.undisturbed(ctx, func() error {
		s, err = u.lookOnce(ctx, j)
		return err
	})
	return s, err
}

// undisturbed lets read read the service's list while we delete nothing, and
// anew, a few times, where others do.
func (u *Uploader) undisturbed(ctx context.Context, read func() error) error {
	if err := u.deleting.Acquire(ctx, all); err != nil {
		return err
	}
	defer u.deleting.Release(all)
	for tries := 1; ; tries++ {
		err := read()
		if errors.Is(err, hwocr.ErrShifted) && tries < 3 {
			continue
		}
		return err
	}
}

// rows goes through the service's list, each document once: a new one pushes
// others on to the next page.
func (u *Uploader) rows(ctx context.Context) iter.Seq2[hwocr.Document, error] {
	return func(yield func(hwocr.Document, error) bool) {
		seen := map[string]bool{}
		for d, err := range u.API.Documents(ctx, perPage) {
			if err == nil && seen[d.ID] {
				continue
			}
			seen[d.ID] = true
			if !yield(d, err) {
				return
			}
		}
	}
}

// A naming is what a list shows of whether it gives our names back.
type naming struct {
	rows                      int
	named                     bool // some document has a name
	knownNamed, knownNameless bool // one that we know of bears its mark, or does not
}

// row takes note of a row; owner is the job that has it, if one is known.
func (n *naming) row(d hwocr.Document, mark string, owner queue.Job) {
	n.rows++
	n.named = n.named || d.Name != ""
	switch {
	case owner.ID == 0:
	case owner.Bears(mark):
		n.knownNamed = true
	case mark == "": // else it is left of an earlier upload of the job, under the mark of that
		n.knownNameless = true
	}
}

// nameless reports whether the list proves nothing.
func (n *naming) nameless() bool {
	return !n.knownNamed && (n.knownNameless || n.rows > 0 && !n.named)
}

// owner is the job that has the document; the zero Job if none has.
func (u *Uploader) owner(d hwocr.Document) (queue.Job, error) {
	j, err := u.Queue.ByDocument(d.ID)
	if err != nil && !errors.Is(err, queue.ErrNoJob) && j.ID == 0 { // one damaged record must not stop the others
		return queue.Job{}, fmt.Errorf("look into the queue: %w", err)
	}
	return j, nil
}

func (u *Uploader) lookOnce(ctx context.Context, j queue.Job) (sight, error) {
	var s sight
	var names naming
	var times clock
	us := u.Queue.Installation()
	for d, err := range u.rows(ctx) {
		if err != nil {
			return sight{}, err
		}
		owner, err := u.owner(d)
		if err != nil {
			return sight{}, err
		}
		known := owner.ID != 0
		mark, _ := us.Find(d.Name)
		names.row(d, mark, owner)
		times.row(d, owner)
		s.later = s.later || cameLater(d, owner, j)
		if mark == j.Mark && (!known || owner.ID == j.ID) {
			s.marked = append(s.marked, d)
		}
		if len(s.marked) > maxMarked {
			return sight{}, &hwocr.Error{Op: opList, Status: http.StatusOK,
				Err: fmt.Errorf("the list shows more than %d documents under one mark, which cannot be", maxMarked)}
		}
		if times.trusted() && d.Created.Before(j.Sent.Add(-zoneSlack)) {
			break
		}
	}
	s.nameless = names.nameless()
	return s, nil
}

// cameLater reports whether the document, which owner has, is of an upload of ours that
// began after the job's. Of an earlier part of a scan nobody knows when that was.
func cameLater(d hwocr.Document, owner, j queue.Job) bool {
	last := len(owner.Parts) == 0 || owner.Document == d.ID
	return owner.ID != 0 && owner.ID != j.ID && last && owner.Sent.After(j.Sent)
}

// A clock is what a list shows of the service's time stamps. They bound a look
// only where they are known to be true: they go down from row to row, and fit
// what we know of documents of ours. Else the list is read to its end.
type clock struct {
	fits, wrong bool
	last        time.Time
}

// row takes note of a row; owner is the job that has it, if one is known.
func (c *clock) row(d hwocr.Document, owner queue.Job) {
	if d.Created.IsZero() || !c.last.IsZero() && d.Created.After(c.last) {
		c.wrong = true
	}
	c.last = d.Created
	if !owner.Uploaded.IsZero() {
		off := d.Created.Sub(owner.Uploaded).Abs() > zoneSlack
		c.fits, c.wrong = c.fits || !off, c.wrong || off
	}
}

func (c *clock) trusted() bool { return c.fits && !c.wrong }

// probe finds out, at the price of one row of a list, whether the service
// takes our requests.
func (u *Uploader) probe(ctx context.Context) queue.Outcome {
	for _, err := range u.API.Documents(ctx, 1) {
		if err != nil {
			return u.classify(ctx, opList, queue.Job{}, err)
		}
		break
	}
	return queue.Answered{}
}
