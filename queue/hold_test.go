package queue

import (
	"errors"
	"path/filepath"
	"testing"
)

// A folder that is taken out of the configuration: what is paid goes on, what
// waits is held and says so, and both are as before when the folder comes back.
func TestFolderTakenOut(t *testing.T) {
	both := map[string]int{"/old": 0, "/scans": 0}
	q := openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: both})
	paid := add(t, q, scan("/old/paid.pdf", "paid"))[0]
	step(t, q, Upload, paid.ID, Sending{}, Uploaded{Document: "1"})
	sending := add(t, q, scan("/old/sending.pdf", "sending"))[0]
	task := claim(t, q)
	task.Job = report(t, q, task, Sending{})

	if err := q.SetFolders(map[string]int{"/scans": 0}, nil); err != nil {
		t.Fatal(err)
	}
	if holds := q.Holds(); len(holds) != 0 {
		t.Errorf("held though nothing waits: %v", holds)
	}
	report(t, q, task, Retry{Err: errors.New("no route to the service")})
	held := func(when string, want int) {
		t.Helper()
		holds := q.Holds()
		if len(holds) != want || want == 1 && (holds[0].Key() != "removed:/old" || holds[0].Reason == "") {
			t.Errorf("%s: %d holds, want %d: %v", when, len(holds), want, holds)
		}
	}
	held("when an upload comes back", 1)
	if n, err := q.Release("all"); n != 0 || err != nil {
		t.Errorf("a release lifts it: %d, %v", n, err)
	}
	makeDue(t, q, paid.ID)
	step(t, q, Collect, paid.ID, Collected{})
	step(t, q, Delete, paid.ID, Deleted{Documents: []string{"1"}})
	if task := claim(t, q); task.Step != "" {
		t.Fatalf("%s of %s is handed out", task.Step, task.Job.Path)
	}

	path := q.db.Path()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = openAt(t, Config{Path: path, Folders: map[string]int{"/scans": 0}})
	held("after a restart", 1)
	if err := q.SetFolders(both, nil); err != nil {
		t.Fatal(err)
	}
	held("back in the configuration", 0)
	makeDue(t, q, sending.ID)
	if task := claim(t, q); task.Step != Upload || task.Job.ID != sending.ID {
		t.Fatalf("%s of job %d is handed out, want the upload of what waited", task.Step, task.Job.ID)
	}

	if err := q.SetFolders(map[string]int{"/scans": 0}, nil); err != nil {
		t.Fatal(err)
	}
}

// Who cancels the last scan of a folder that was taken out is rid of the hold.
func TestFolderTakenOutAndCancelled(t *testing.T) {
	q := openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: map[string]int{"/old": 0, "/scans": 0}})
	j := add(t, q, scan("/old/1.pdf", "1"))[0]
	if err := q.SetFolders(map[string]int{"/scans": 0}, nil); err != nil {
		t.Fatal(err)
	}
	if len(q.Holds()) != 1 {
		t.Fatalf("holds %v, want one", q.Holds())
	}
	if _, err := q.Cancel(j.ID); err != nil {
		t.Fatal(err)
	}
	if len(q.Holds()) != 0 {
		t.Errorf("holds %v after the last was cancelled", q.Holds())
	}
}
