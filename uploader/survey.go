package uploader

import (
	"context"
	"errors"
	"net/http"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// surveyTime bounds a survey: jobs that are due wait for it.
const surveyTime = 20 * time.Second

// survey reads the newest part of the service's list, as far as it takes to
// have met every document that is being worked on. Documents that are deleted
// meanwhile may make it miss some, which does no harm.
func (u *Uploader) survey(ctx context.Context) queue.Outcome {
	o := queue.Surveyed{Began: time.Now()}
	waiting, err := u.Queue.Working()
	if err != nil {
		return u.retry(ctx, err)
	}
	bounded, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	most := 2 + 2*waiting/perPage // pages: others may use the account
	for n := 1; n <= most && waiting > 0; n++ {
		rows, more, err := u.API.Page(bounded, perPage, n)
		e, answered := errors.AsType[*hwocr.Error](err)
		switch {
		case err == nil:
		case answered && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
			return u.retry(ctx, err) // uploads and results may go on without a list
		default:
			return u.classify(ctx, opList, queue.Job{}, err)
		}
		for _, d := range rows {
			owner, err := u.owner(d)
			if err != nil {
				return u.retry(ctx, err)
			}
			if owner.State != queue.Processing || owner.Document != d.ID {
				continue
			}
			waiting--
			o.Rows = append(o.Rows, queue.Row{Document: d.ID, Status: d.Status})
		}
		if !more {
			break
		}
	}
	return o
}
