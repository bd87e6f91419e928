package uploader

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"scandrop/queue"
)

// TestSilent: a folder that does not answer is held as missing, in words of its own.
func TestSilent(t *testing.T) {
	o := New(Config{}).local(context.Background(), queue.Job{Folder: "/scans"}, fmt.Errorf("%w: /scans", ErrSilent))
	h, ok := o.(queue.Held)
	if !ok || h.Hold.Key() != "missing:/scans" || !strings.Contains(h.Hold.Reason, "does not answer") {
		t.Errorf("%#v", o)
	}
}
