package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

var contentTypes = map[string]string{
	".pdf": "application/pdf", ".jpg": "image/jpeg", ".png": "image/png",
	".tif": "image/tiff", ".heic": "image/heic", ".gif": "image/gif",
}

// upload sends the scan. Up to its first byte nothing is on record; from then
// on the queue has it as uploading. What the file is gets checked while it is
// sent: one that is not what was queued is never wholly sent.
func (u *Uploader) upload(ctx context.Context, t *queue.Task) queue.Outcome {
	j := t.Job
	if why := u.Queue.TooMany(j); why != "" {
		return queue.Reject{Err: errors.New(why)}
	}
	if err := u.Files.Room(j); err != nil {
		return u.local(ctx, j, err)
	}
	scan, instead := u.open(ctx, j)
	if instead != nil {
		return instead
	}
	defer scan.Close()
	o, sent := j.Options, j.Sends()
	d, err := u.API.Upload(ctx, hwocr.Upload{
		Name: j.UploadName(), ContentType: contentTypes[sent.Ext],
		Action: o.Action, ExtractorID: o.ExtractorID, PromptID: o.PromptID, DeleteAfter: o.DeleteAfter,
		Body: scan, Size: sent.Size, Content: sent.Content,
		Begin: func() error {
			sending, err := u.Queue.Report(*t, queue.Sending{})
			if err != nil {
				return unwritten(err)
			}
			t.Job = sending
			u.Moved(sending)
			return nil
		},
	})
	if err != nil {
		return u.classify(ctx, opUpload, j, err)
	}
	return queue.Uploaded{Document: d.ID, Pages: d.Pages}
}

// missingPause is how long to wait for the folder with the results of a twin:
// ten times, and a share that is away for two hours costs nobody money.
const missingPause = 15 * time.Minute

// copy gives a scan the results that the same content had under another name:
// if they are there, unchanged, nothing needs to be paid.
func (u *Uploader) copy(ctx context.Context, t queue.Task) queue.Outcome {
	j := t.Job
	for _, format := range j.Options.Formats {
		r, _ := t.Twin.Result(format)
		if r.Refused != "" {
			if err := u.Queue.Refuse(j.ID, format, r.Refused); err != nil {
				return u.local(ctx, j, unwritten(err))
			}
			continue
		}
		source, err := u.unchanged(j, r)
		if err != nil {
			return u.local(ctx, j, err)
		}
		if source == "" && r.Path != "" && j.Resend == 0 {
			if _, err := u.Files.Has(t.Twin, r.Path, r.Content); errors.Is(err, ErrRootMissing) {
				return queue.Retry{
					Err:   fmt.Errorf("the same content as %q (job %d), which was paid for; its %s can be copied when its folder is back: %w", t.Twin.Path, j.Twin, format, err),
					After: missingPause,
				}
			}
		}
		if source == "" && r.Path == "" {
			return queue.Reject{Err: fmt.Errorf("the same content as %q (job %d), which was paid for, but not made as %s; retry this job to pay again", t.Twin.Path, j.Twin, format)}
		}
		if source == "" {
			return queue.Reject{Err: fmt.Errorf("the same content as %q (job %d), which was paid for, but its %s is not there any more or was edited; retry this job to pay again", t.Twin.Path, j.Twin, format)}
		}
		if source == beside(j, r) && r.Path != source { // it came along with the scan
			if c, err := u.reserve(j, format)(source, r.Content); err != nil {
				return u.local(ctx, j, err)
			} else if c.Mine {
				continue
			}
		}
		err = u.Files.Write(ctx, j, format, func(into hwocr.File) error {
			from, err := u.Files.OpenResult(j, source)
			if err != nil {
				return err
			}
			defer from.Close()
			_, err = io.Copy(into, from)
			return err
		}, u.reserve(j, format))
		if err != nil {
			return u.local(ctx, j, err)
		}
	}
	return queue.Collected{}
}

// unchanged finds a twin's result: where it was written, or beside the scan,
// should both have been moved together. It returns "" if neither is there as
// it was written.
func (u *Uploader) unchanged(j queue.Job, r queue.Result) (string, error) {
	if r.Content.IsZero() {
		return "", nil
	}
	for _, path := range []string{r.Path, beside(j, r)} {
		has, err := u.Files.Has(j, path, r.Content)
		if err != nil {
			return "", err
		}
		if has {
			return path, nil
		}
	}
	return "", nil
}

// beside is where a twin's result would be if it had been moved with the scan.
func beside(j queue.Job, r queue.Result) string {
	return filepath.Join(filepath.Dir(j.Path), filepath.Base(r.Path))
}

func (u *Uploader) reserve(j queue.Job, format string) Reserve {
	return func(path string, content queue.Digest) (queue.NameClaim, error) {
		c, err := u.Queue.Reserve(j.ID, format, path, content)
		return c, unwritten(err)
	}
}

// unwritten marks an error of the queue as one of its disk, unless it says that
// the job may not go on.
func unwritten(err error) error {
	_, moved := errors.AsType[*queue.MoveError](err)
	if err == nil || moved || errors.Is(err, queue.ErrHeld) || errors.Is(err, queue.ErrNoJob) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrState, err)
}
