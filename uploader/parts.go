package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// Parts is where scans that are too big to be sent whole are divided, and where
// the results of their parts lie until all are here. Its errors wrap [ErrState]
// where the disk is at fault.
type Parts interface {
	// Divide makes the parts' files from the scan, synced. Without parts and
	// without an error the scan is to be sent as it is. The error wraps
	// [ErrIndivisible] where nothing can be done, and [hwocr.ErrChanged] where the
	// scan is not the one that was queued. The same scan is always divided into
	// the same pages.
	Divide(ctx context.Context, j queue.Job, scan io.Reader) ([]queue.Part, error)
	// Open opens the file of the part that the job is at. The error wraps
	// fs.ErrNotExist if it is not there as it was made.
	Open(queue.Job) (io.ReadCloser, error)
	// Has reports whether the n-th part's result of a format is there, whole.
	Has(j queue.Job, n int, format string) (bool, error)
	// Write makes it, as [Files].Write does; when it returns nil it is synced.
	Write(j queue.Job, n int, format string, fill func(hwocr.File) error) error
	// Join makes one result of those of all parts.
	Join(j queue.Job, format string, into io.Writer) error
	// Clear removes all that is there of a job.
	Clear(queue.Job) error
}

// ErrIndivisible means that a scan is too big and can be made no smaller.
var ErrIndivisible = errors.New("it cannot be sent")

// divide divides the job's scan; if it is to be sent as it is the outcome is nil.
func (u *Uploader) divide(ctx context.Context, j queue.Job) queue.Outcome {
	scan, size, err := u.Files.Open(j)
	missing := errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrRootMissing)
	if err != nil && !missing {
		return u.local(ctx, j, err)
	}
	var parts []queue.Part
	if err == nil {
		defer scan.Close()
		if parts, err = u.Parts.Divide(ctx, j, scan); err == nil && size != j.Size {
			missing = true
		}
	}
	switch {
	case missing, errors.Is(err, hwocr.ErrChanged):
		if len(j.Parts) == 0 {
			return queue.Changed{}
		}
		return queue.Reject{Err: errors.New("the scan is gone, or another one now, and so are its parts, which were not all sent")}
	case errors.Is(err, ErrIndivisible):
		return queue.Reject{Err: err}
	case err != nil:
		return u.local(ctx, j, err)
	case len(parts) == 0:
		return nil
	case len(j.Parts) > 0 && !slices.EqualFunc(j.Parts, parts, func(a, b queue.Part) bool { return a.From == b.From && a.To == b.To }):
		return queue.Reject{Err: errors.New("the files of its parts are gone, and now it is divided otherwise than before; forget this job, and touch the scan, to have it sent anew, which is paid for again")}
	}
	return queue.Divided{Parts: parts}
}

// open opens what is to be sent: the scan, or a part of it. A nil file comes with
// the outcome that is due instead.
func (u *Uploader) open(ctx context.Context, j queue.Job) (io.ReadCloser, queue.Outcome) {
	if len(j.Parts) == 0 && u.Parts != nil && j.Size > u.Largest {
		if o := u.divide(ctx, j); o != nil {
			return nil, o
		}
	}
	if len(j.Parts) > 0 {
		part, err := u.Parts.Open(j)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if o := u.divide(ctx, j); o != nil {
				return nil, o
			}
			return nil, queue.Reject{Err: errors.New("the files of its parts are gone")}
		case err != nil:
			return nil, u.local(ctx, j, err)
		}
		return part, nil
	}
	scan, size, err := u.Files.Open(j)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrRootMissing):
		return nil, queue.Changed{}
	case err != nil:
		return nil, u.local(ctx, j, err)
	case size != j.Size:
		scan.Close()
		return nil, queue.Changed{}
	}
	return scan, nil
}

// collectPart fetches the results of the part that the job is at.
func (u *Uploader) collectPart(ctx context.Context, j queue.Job) queue.Outcome {
	n := j.Part()
	o := u.collectEach(ctx, j, func(format string) error {
		if has, err := u.Parts.Has(j, n, format); has || err != nil {
			return err
		}
		return u.Parts.Write(j, n, format, func(into hwocr.File) error {
			return u.download(ctx, j, format, into)
		})
	})
	if _, here := o.(queue.Collected); here {
		return queue.PartCollected{}
	}
	return o
}

// join makes the results of the job from those of its parts.
func (u *Uploader) join(j queue.Job, format string, into io.Writer) error {
	err := u.Parts.Join(j, format, into)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return &joinError{err}
	}
	for n := range j.Parts {
		if has, missing := u.Parts.Has(j, n, format); missing == nil && !has {
			return &lostError{n, fmt.Errorf("its %s of pages %d to %d is not in the state folder any more: %w", format, j.Parts[n].From, j.Parts[n].To, err)}
		}
	}
	return err
}

// A joinError says that the parts' results of one format cannot be made one. It
// says nothing of the other formats.
type joinError struct{ err error }

func (e *joinError) Error() string {
	return e.err.Error() + "; the results of its parts lie in the state folder, under parts"
}

func (e *joinError) Unwrap() error { return e.err }

// A lostError says that a part's result is gone.
type lostError struct {
	part int
	err  error
}

func (e *lostError) Error() string { return e.err.Error() }

// clear removes the parts of a job that has its results. What cannot be removed
// now is at the next start.
func (u *Uploader) clear(j queue.Job) {
	if len(j.Parts) == 0 || u.Parts == nil {
		return
	}
	if err := u.Parts.Clear(j); err != nil {
		u.Log.Warn("the parts of a scan could not be removed", keyJob, j.ID, keyScan, j.Path, keyError, err)
	}
}
