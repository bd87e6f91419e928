package uploader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// collect fetches the results that are not here yet and writes them. Asking
// for the first of them is how it asks whether the service has finished.
func (u *Uploader) collect(ctx context.Context, t queue.Task) queue.Outcome {
	j := t.Job
	if j.Hint == queue.HintFailed {
		if d, err := u.API.Status(ctx, j.Document); err == nil && d.Status == "failed" {
			return queue.Fail{Err: failed(d)}
		}
	}
	var ready time.Time
	if j.Part() < len(j.Parts) {
		return u.collectPart(ctx, j)
	}
	o := u.collectEach(ctx, j, func(format string) error {
		if r, _ := j.Result(format); !r.Content.IsZero() { // written before we were interrupted
			if has, err := u.Files.Has(j, r.Path, r.Content); has || err != nil {
				return err
			}
		}
		return u.Files.Write(ctx, j, format, func(into hwocr.File) error {
			if len(j.Parts) > 0 {
				return u.join(j, format, into)
			}
			err := u.download(ctx, j, format, into)
			if err == nil && ready.IsZero() {
				ready = time.Now()
			}
			return err
		}, u.reserve(j, format))
	})
	if _, here := o.(queue.Collected); here {
		return queue.Collected{Ready: ready}
	}
	return o
}

// collectEach has write make every result that the service makes. One that cannot
// be joined keeps none of the others from being written: they are paid for, too.
func (u *Uploader) collectEach(ctx context.Context, j queue.Job, write func(format string) error) queue.Outcome {
	made, refused := 0, ""
	var unjoined queue.Outcome
	for _, format := range j.Options.Formats {
		if r, _ := j.Result(format); r.Refused != "" {
			refused = r.Refused
			continue
		}
		err := write(format)
		if err == nil {
			made++
			continue
		}
		o := u.uncollected(ctx, j, format, err)
		if no, ok := o.(queue.Reject); ok {
			refused = no.Err.Error()
			if err := u.Queue.Refuse(j.ID, format, refused); err != nil {
				return u.local(ctx, j, unwritten(err))
			}
			u.Log.Warn("format refused", keyJob, j.ID, keyScan, j.Path, "format", format, keyError, no.Err)
			continue
		}
		if _, again := o.(queue.Retry); again && errors.As(err, new(*joinError)) {
			if unjoined == nil {
				unjoined = o
			}
			continue
		}
		return o
	}
	if unjoined != nil {
		return unjoined
	}
	if made == 0 {
		return queue.Reject{Err: fmt.Errorf("the service makes none of the wanted formats of it: %s", refused)}
	}
	return queue.Collected{}
}

// download fetches one format. An empty text may be that of an empty page, or
// an answer that came too early: the status tells.
func (u *Uploader) download(ctx context.Context, j queue.Job, format string, into hwocr.File) error {
	n, err := u.API.Download(ctx, j.Document, format, into)
	if err != nil || n > 0 {
		return err
	}
	d, err := u.API.Status(ctx, j.Document)
	if err != nil {
		return err
	}
	switch d.Status {
	case "processed":
		return nil
	case "failed":
		return failed(d)
	}
	return hwocr.ErrPending
}

// A failedError is the service's word that it failed with a document.
type failedError struct{ reason string }

func (e *failedError) Error() string { return e.reason }

func failed(d hwocr.Document) error {
	if d.Error == "" {
		return &failedError{"the service failed to process it and does not say why"}
	}
	return &failedError{"the service failed to process it: " + d.Error}
}

// uncollected says what it means that a format could not be fetched or
// written. Reject stands for this format alone. Downloads of failed documents
// may answer with anything, so the status has the last word on answers that
// may mean that, and on every third "not yet".
func (u *Uploader) uncollected(ctx context.Context, j queue.Job, format string, err error) queue.Outcome {
	if f, ok := errors.AsType[*failedError](err); ok {
		return queue.Fail{Err: f}
	}
	if lost, ok := errors.AsType[*lostError](err); ok {
		return queue.PartLost{Part: lost.part, Err: lost}
	}
	e, answered := errors.AsType[*hwocr.Error](err)
	switch {
	case errors.Is(err, hwocr.ErrPending):
		if j.Looks%3 != 2 {
			return queue.Pending{}
		}
	case !answered, errors.Is(err, ErrRootMissing), errors.Is(err, ErrNoRoom), errors.Is(err, ErrState):
		return u.local(ctx, j, err)
	case e.Status == 0:
		return u.classify(ctx, opDownload, j, err)
	case e.Op != opDownload || e.Status != 200 && e.Status != 400 && !gone(e) && e.Status != 422 && e.Status != 500:
		return u.classify(ctx, e.Op, j, err)
	}

	d, asked := u.API.Status(ctx, j.Document)
	if asked != nil {
		o := u.classify(ctx, opStatus, j, asked)
		if _, again := o.(queue.Retry); again && !errors.Is(err, hwocr.ErrPending) {
			return u.retry(ctx, err) // the answer that made us ask says more
		}
		return o
	}
	switch {
	case d.Status == "failed":
		return queue.Fail{Err: failed(d)}
	case errors.Is(err, hwocr.ErrPending), d.Status != "processed" && d.Status != "":
		return queue.Pending{}
	case e.Status == 400 || e.Status == 422:
		return queue.Reject{Err: fmt.Errorf("%s: %w", format, err)}
	}
	return u.retry(ctx, err)
}

// delete clears up: every document that is not wanted any more is deleted, and
// the original is moved where it is to go. An upload that was repeated may have
// a late twin under the same mark, which goes too. What is sure comes first, so
// that neither a list nor a disk that fails keeps a document alive.
func (u *Uploader) delete(ctx context.Context, t queue.Task) queue.Outcome {
	j := t.Job
	done := queue.Deleted{Documents: j.Doomed(time.Now())}
	if o := u.remove(ctx, j, done.Documents); o != nil {
		return o
	}
	for _, mark := range j.Repeated() {
		if len(done.Documents) == 0 {
			break
		}
		repeated := j
		if repeated.Mark = mark; len(j.Parts) > 0 { // it may have been any of them
			repeated.Sent = j.Added
		}
		seen, err := u.look(ctx, repeated)
		if err != nil {
			return u.classify(ctx, opList, j, err)
		}
		var twins []string
		for _, d := range seen.marked {
			if d.ID != j.Document && !slices.Contains(done.Documents, d.ID) {
				twins = append(twins, d.ID)
			}
		}
		if o := u.remove(ctx, j, twins); o != nil {
			return o
		}
		done.Twins = append(done.Twins, twins...)
		done.Documents = append(done.Documents, twins...)
	}
	if dir := j.MoveTo(); dir != "" {
		moved, err := u.Files.Move(j, dir)
		switch {
		case errors.Is(err, ErrStays):
			done.Stays = true
			u.Log.Warn("original not moved", keyJob, j.ID, keyScan, j.Path, keyError, err)
		case err != nil && len(done.Documents) > 0:
			return done // what is deleted is on record before the move is tried again
		case err != nil:
			return u.local(ctx, j, fmt.Errorf("move the original: %w", err))
		}
		done.Moved = moved
	}
	return done
}

// remove deletes documents. It returns nil when all of them are gone.
func (u *Uploader) remove(ctx context.Context, j queue.Job, ids []string) queue.Outcome {
	if err := u.deleting.Acquire(ctx, 1); err != nil {
		return u.retry(ctx, err)
	}
	defer u.deleting.Release(1)
	for _, id := range ids {
		if err := u.API.Delete(ctx, id); err != nil {
			o := u.classify(ctx, opDelete, j, err)
			if _, gone := o.(queue.Deleted); !gone {
				return o
			}
		}
	}
	return nil
}
