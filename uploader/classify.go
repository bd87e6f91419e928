package uploader

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// The operations of the API, in the words of [hwocr.Error].
const (
	opUpload   = "upload"
	opStatus   = "status"
	opDownload = "download"
	opList     = "list"
	opDelete   = "delete"
)

// classify is the one place where what the service answered, or did not,
// becomes an outcome. It follows the table "What an answer means" in
// docs/design.md, column by column. ctx is asked whether we are stopping; the
// error is not, since a time-out looks just like that.
func (u *Uploader) classify(ctx context.Context, op string, j queue.Job, err error) queue.Outcome {
	e, ok := errors.AsType[*hwocr.Error](err)
	if !ok {
		e = &hwocr.Error{Op: op, Err: err}
	}
	if e.Status == 0 {
		return unanswered(ctx, op, j, e)
	}
	switch {
	case e.Status >= 300 && e.Status < 400:
		return held(queue.Address, "", "something else than the API answered, and sent us elsewhere: check api.url", err)
	case e.Status == http.StatusUnauthorized:
		return held(queue.Token, "", "the service refuses the token: put in a valid one", err)
	case e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooEarly, e.Status == http.StatusTooManyRequests:
		return queue.Retry{Err: err, After: e.RetryAfter, Throttled: e.Status == http.StatusTooManyRequests}
	}
	switch op {
	case opUpload:
		return refusedUpload(j, e, err)
	case opList:
		switch e.Status {
		case http.StatusForbidden:
			return held(queue.Token, "", "the service does not let this token list documents", err)
		case http.StatusNotFound:
			return held(queue.Address, "", "there is no API at this address: check api.url", err)
		}
	case opDelete:
		if gone(e) {
			return queue.Deleted{}
		}
	case opStatus, opDownload:
		switch {
		case gone(e):
			return queue.Gone{Err: fmt.Errorf("the document has expired or was deleted before its result was here: %w", err)}
		case e.Status == http.StatusForbidden:
			return queue.Retry{Err: fmt.Errorf("the service says that the document is not ours: %w", err)}
		}
	}
	return queue.Retry{Err: err, After: e.RetryAfter}
}

func gone(e *hwocr.Error) bool { return e.Status == http.StatusNotFound || e.Status == http.StatusGone }

// unanswered says what it means that no answer of any kind came.
func unanswered(ctx context.Context, op string, j queue.Job, e *hwocr.Error) queue.Outcome {
	switch {
	case errors.Is(e, hwocr.ErrChanged):
		return queue.Changed{}
	case op == opUpload && e.Sent:
		return queue.Unanswered{Err: e}
	case ctx.Err() != nil, errors.Is(e, queue.ErrHeld):
		return queue.Interrupted{}
	case errors.Is(e, ErrState):
		return stateHeld(e.Err)
	case errors.Is(e, ErrToken):
		return held(queue.Token, "", "there is no usable token", e.Err)
	}
	_, file := errors.AsType[*fs.PathError](e)
	return queue.Retry{Err: e, Silent: !file}
}

// refusedUpload is the column "upload" of the table from 400 on, and what
// claims to be a success and is not.
func refusedUpload(j queue.Job, e *hwocr.Error, err error) queue.Outcome {
	has := func(fields ...string) bool {
		return slices.ContainsFunc(e.Fields, func(f string) bool { return slices.Contains(fields, f) })
	}
	switch e.Status {
	case http.StatusPaymentRequired, http.StatusForbidden:
		return queue.Held{Hold: queue.Hold{
			Cause: queue.Credits, Size: j.Size, Pages: j.Counted,
			Reason: fmt.Sprintf("the account has not enough page credits: buy some (%v)", err),
		}}
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return held(queue.Address, "", "there is no API at this address: check api.url", err)
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if has("action", "extractor_id", "prompt_id", "delete_after") {
			return held(queue.Refused, j.Folder, "the service refuses what this folder asks for: check its action, extractor_id, prompt_id and delete_after", err)
		}
		return queue.Reject{Err: err}
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return queue.Reject{Err: err}
	}
	if e.Status < 300 || e.Status >= 500 && e.Sent { // it may have been stored all the same
		return queue.Unanswered{Err: err, Accepted: e.Status < 300}
	}
	return queue.Retry{Err: err, After: e.RetryAfter}
}

func held(c queue.Cause, folder, why string, err error) queue.Outcome {
	return queue.Held{Hold: queue.Hold{Cause: c, Folder: folder, Reason: fmt.Sprintf("%s (%v)", why, err)}}
}

// retry is the outcome of a step that may succeed another time, unless it was
// we who broke it off.
func (u *Uploader) retry(ctx context.Context, err error) queue.Outcome {
	if ctx.Err() != nil {
		return queue.Interrupted{}
	}
	r := queue.Retry{Err: err}
	if e, ok := errors.AsType[*hwocr.Error](err); ok {
		r.After = e.RetryAfter
	}
	return r
}

// local says what an error of our own disk means.
func (u *Uploader) local(ctx context.Context, j queue.Job, err error) queue.Outcome {
	switch {
	case errors.Is(err, ErrState): // before what the error says of a disk: that is another one
		return stateHeld(err)
	case errors.Is(err, ErrSilent):
		return held(queue.Missing, j.Folder, "the folder does not answer: see to what it lies on", err)
	case errors.Is(err, ErrRootMissing):
		return held(queue.Missing, j.Folder, "the folder is missing: mount it, or make it again", err)
	case errors.Is(err, ErrNoRoom):
		return held(queue.Room, j.Folder, "results cannot be written in the folder", err)
	}
	o := u.retry(ctx, err)
	if r, again := o.(queue.Retry); again {
		r.InUse = errors.Is(err, ErrInUse)
		return r
	}
	return o
}

// stateHeld is the outcome of a step that the queue could not take note of.
func stateHeld(err error) queue.Outcome {
	return held(queue.Disk, "", "the queue cannot be written: see that the state folder's disk is well and has room", err)
}
