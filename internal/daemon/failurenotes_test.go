package daemon

import (
	"path/filepath"
	"testing"

	"scandrop/queue"
)

// A note that an earlier process did not come to write is still to be kept: what
// becomes of its scan is not overlooked.
func TestFailureNotePending(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	d, err := begin(Options{Config: s.config()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.queue.Close()
	o := optionsOf(s.config().Folders[0])
	o.Notes = true
	if _, err := d.queue.Add(queue.Scan{Folder: s.scans(), Path: filepath.Join(s.scans(), "scan.png"), Size: 1, Content: queue.Digest{1}, Ext: ".png", Options: o, Reject: "it is empty"}); err != nil {
		t.Fatal(err)
	}
	n, err := newFailureNotes(d.queue, d.files, d.Log)
	if err != nil {
		t.Fatal(err)
	}
	if len(n.jobs) != 1 || !n.any.Load() {
		t.Errorf("%d notes are pending, kept: %t; want one that is", len(n.jobs), n.any.Load())
	}
	n.moved(queue.Job{ID: 99})
	if len(n.jobs) != 2 {
		t.Error("a job without notes of its own is overlooked")
	}
}
