package uploader

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// A queue that cannot be written holds everything, and under its own name: it
// neither uses up a scan's attempts nor is taken for the hot folder's disk.
func TestStateErrors(t *testing.T) {
	u, full := New(Config{}), unwritten(errors.New("no space left on device"))
	for name, got := range map[string]queue.Outcome{
		"before an upload": u.classify(t.Context(), opUpload, queue.Job{}, &hwocr.Error{Op: opUpload, Err: full}),
		"of a name":        u.local(t.Context(), queue.Job{Folder: "scans"}, fmt.Errorf("%w: %w", ErrNoRoom, full)),
		"of a format":      u.uncollected(t.Context(), queue.Job{Folder: "scans"}, "txt", fmt.Errorf("%w: %w", ErrNoRoom, full)),
	} {
		if o, ok := got.(queue.Held); !ok || o.Hold.Cause != queue.Disk || o.Hold.Folder != "" {
			t.Errorf("%s: %T %+v", name, got, got)
		}
	}
	for name, err := range map[string]error{
		"held": queue.ErrHeld, "gone": queue.ErrNoJob, "moved": &queue.MoveError{}, "well": nil,
	} {
		if got := unwritten(err); errors.Is(got, ErrState) || !errors.Is(got, err) {
			t.Errorf("%s: %v", name, got)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if o, ok := u.classify(stopped, opUpload, queue.Job{}, full).(queue.Interrupted); !ok {
		t.Errorf("when stopped: %T", o)
	}
}
