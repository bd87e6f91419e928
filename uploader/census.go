package uploader

import (
	"context"
	"errors"
	"net/http"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// census reads the service's whole list for documents of this installation.
func (u *Uploader) census(ctx context.Context) queue.Outcome {
	var o queue.Counted
	err := u.undisturbed(ctx, func() (err error) {
		o, err = u.countOnce(ctx)
		return err
	})
	e, answered := errors.AsType[*hwocr.Error](err)
	switch {
	case err == nil:
		return o
	case answered && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		// Uploads and results may go on all the same: this alone is no reason to
		// hold the whole account.
		return u.retry(ctx, err)
	}
	return u.classify(ctx, opList, queue.Job{}, err)
}

func (u *Uploader) countOnce(ctx context.Context) (queue.Counted, error) {
	var o queue.Counted
	var names naming
	us := u.Queue.Installation()
	for d, err := range u.rows(ctx) {
		if err != nil {
			return queue.Counted{}, err
		}
		owner, err := u.owner(d)
		if err != nil {
			return queue.Counted{}, err
		}
		mark, _ := us.Find(d.Name)
		names.row(d, mark, owner)
		if mark != "" {
			o.Documents = append(o.Documents, queue.Stray{
				Document: d.ID, Mark: mark, Pages: d.Pages, Failed: d.Status == "failed", Created: d.Created,
			})
		}
	}
	o.Nameless = len(o.Documents) == 0 && names.nameless()
	return o, nil
}

// sweep deletes a document that no job needs.
func (u *Uploader) sweep(ctx context.Context, s queue.Stray) queue.Outcome {
	if o := u.remove(ctx, queue.Job{}, []string{s.Document}); o != nil {
		return o
	}
	return queue.Deleted{Documents: []string{s.Document}}
}

// tellAccount logs a step that is not a job's.
func (u *Uploader) tellAccount(t queue.Task, o queue.Outcome) {
	if held, ok := o.(queue.Held); ok {
		what := "held"
		if t.Step == queue.Probe {
			what = "still held"
		}
		u.Log.Warn(what, keyCause, held.Hold.Cause, keyError, held.Hold.Reason)
		return
	}
	switch t.Step {
	case queue.Survey:
		if o, ok := o.(queue.Retry); ok {
			u.Log.Info("the service's list is of no use, every job is asked for by itself", keyError, o.Err)
		}
	case queue.Probe:
		if _, ok := o.(queue.Answered); ok {
			u.Log.Info("the service answers again")
		}
	case queue.Census:
		u.tellCensus(o)
	case queue.Sweep:
		switch o := o.(type) {
		case queue.Deleted:
			u.Log.Info("document deleted that no job needed", keyDocument, t.Stray.Document)
		case queue.Retry:
			u.Log.Warn("a document that no job needs could not be deleted", keyDocument, t.Stray.Document, keyError, o.Err)
		}
	}
}

func (u *Uploader) tellCensus(o queue.Outcome) {
	switch o := o.(type) {
	case queue.Counted:
		s, err := u.Queue.Census()
		switch {
		case err != nil: // nothing to tell that the next step will not
		case o.Nameless:
			u.Log.Warn("the service's list does not give file names back: nobody can tell which documents are ours")
		case s.Strays > 0:
			u.Log.Info("the service's list was read", "ours", len(o.Documents), "without_a_job", s.Strays)
		default:
			u.Log.Debug("the service's list was read", "ours", len(o.Documents))
		}
	case queue.Retry:
		u.Log.Warn("the service's list could not be read", keyError, o.Err)
	}
}
