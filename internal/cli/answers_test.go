package cli

import (
	"path/filepath"
	"testing"

	"scandrop/queue"
)

// Only a document of ours without any mark of ours proves that the service does not give
// names back.
func TestNamesLost(t *testing.T) {
	q, err := queue.Open(queue.Config{Path: filepath.Join(t.TempDir(), "queue.db"), Installation: queue.Installation{Name: "ABCD", Key: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	s := queue.Scan{Folder: "/scans", Path: "/scans/a.gif", Size: 1, Ext: ".gif", Options: queue.Options{Action: "transcribe", Formats: []string{"txt"}}}
	s.Content[0] = 1
	added, err := q.Add(s)
	if err != nil {
		t.Fatal(err)
	}
	mark := added[0].Job.Mark
	task, err := q.Claim(t.Context())
	if err == nil {
		task.Job, err = q.Report(task, queue.Sending{})
	}
	if err == nil {
		_, err = q.Report(task, queue.Uploaded{Document: "ours", Pages: 1})
	}
	if err == nil { // the one that is left is of another upload, and has another mark
		_, err = q.Cancel(task.Job.ID)
	}
	if err == nil {
		_, err = q.Retry(task.Job.ID, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if j, err := q.Get(task.Job.ID); err != nil || j.Mark == mark {
		t.Fatalf("%+v, %v: want another mark", j, err)
	}
	for name, want := range map[string]bool{"a." + mark + ".gif": false, "document 1": true, "": true} {
		if got := namesLost(q, document{ID: "ours", Name: name}); got != want {
			t.Errorf("a document of ours named %q: %v, want %v", name, got, want)
		}
	}
	if namesLost(q, document{ID: "theirs", Name: "document 2"}) {
		t.Error("a stranger's document proves something")
	}
}
