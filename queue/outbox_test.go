package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"
)

// tell returns what waits in the outbox, in short.
func tell(t *testing.T, q *Queue) []string {
	t.Helper()
	var told []string
	for _, e := range outbox(t, q) {
		told = append(told, fmt.Sprintf("%d: job %d %s %s", e.Seq, e.ID, e.State, strings.Join(e.documents(), ",")))
	}
	return told
}

func outbox(t testing.TB, q *Queue) []Entry {
	t.Helper()
	entries, err := q.Outbox(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// Whichever way a job comes to its end, it is told once; so is what is cleared
// away later.
func TestOutbox(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, q *Queue)
		want []string
	}{
		{"done", func(t *testing.T, q *Queue) {
			finish(t, q, add(t, q, scan("/scans/a.pdf", "a"))[0].ID)
		}, []string{"1: job 1 done "}},
		{"not yet", func(t *testing.T, q *Queue) {
			step(t, q, Upload, add(t, q, scan("/scans/a.pdf", "a"))[0].ID, Sending{}, Uploaded{Document: "doc"})
		}, nil},
		{"rejected at once", func(t *testing.T, q *Queue) {
			s := scan("/scans/a.pdf", "")
			s.Reject = "not readable"
			add(t, q, s)
		}, []string{"1: job 1 rejected "}},
		{"failed, and cleared up later", func(t *testing.T, q *Queue) {
			id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
			step(t, q, Upload, id, Sending{}, Uploaded{Document: "doc", Twins: []string{"twin"}})
			makeDue(t, q, id)
			step(t, q, Collect, id, Fail{Err: errTrouble})
			step(t, q, Delete, id, Deleted{Documents: []string{"twin"}})
			step(t, q, Delete, id, Retry{Err: errTrouble})
			makeDue(t, q, id)
			step(t, q, Delete, id, Deleted{Documents: []string{"doc"}})
		}, []string{"1: job 1 failed twin,doc", "2: job 1 failed doc", "3: job 1 failed "}},
		{"retried", func(t *testing.T, q *Queue) {
			id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
			step(t, q, Upload, id, Reject{Err: errTrouble})
			if _, err := q.Retry(id, false); err != nil {
				t.Fatal(err)
			}
			finish(t, q, id)
		}, []string{"1: job 1 rejected ", "2: job 1 done "}},
		{"cancelled", func(t *testing.T, q *Queue) {
			id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
			if _, err := q.Cancel(id); err != nil {
				t.Fatal(err)
			}
		}, []string{"1: job 1 cancelled "}},
		{"with its twins", func(t *testing.T, q *Queue) {
			add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "a"), scan("/scans/c.pdf", "a"))
			step(t, q, Upload, 1, Sending{}, Uploaded{Document: "doc"})
			makeDue(t, q, 1)
			step(t, q, Collect, 1, Gone{Err: errTrouble})
		}, []string{"1: job 1 failed ", "2: job 2 rejected ", "3: job 3 rejected "}},
		{"forgotten and dropped", func(t *testing.T, q *Queue) {
			finish(t, q, add(t, q, scan("/scans/a.pdf", "a"))[0].ID)
			if _, err := q.Forget(1); err != nil {
				t.Fatal(err)
			}
			add(t, q, scan("/scans/b.pdf", "b"))
			add(t, q, scan("/scans/b.pdf", "c"))
		}, []string{"1: job 1 done "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := open(t)
			tt.do(t, q)
			if told := tell(t, q); !slices.Equal(told, tt.want) {
				t.Errorf("told %q, want %q", told, tt.want)
			}
			q = reopen(t, q)
			if told := tell(t, q); !slices.Equal(told, tt.want) {
				t.Errorf("after a crash: told %q, want %q", told, tt.want)
			}
		})
	}
}

// An entry holds what must be proved.
func TestEntry(t *testing.T) {
	q := open(t)
	id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
	step(t, q, Upload, id, Sending{}, Uploaded{Document: "doc", Pages: 3})
	if _, err := q.Reserve(id, "txt", "/scans/a.txt", Digest{7}); err != nil {
		t.Fatal(err)
	}
	makeDue(t, q, id)
	step(t, q, Collect, id, Collected{})
	j := step(t, q, Delete, id, Deleted{Documents: []string{"doc"}})
	e := outbox(t, q)[0]
	if text(t, e.Job) != text(t, j) {
		t.Errorf("it says %+v of %+v", e.Job, j)
	}
	if e.Source != "doc" || e.Document != "" || e.Deleted.IsZero() || e.Paid != 1 || e.Pages != 3 || e.Results[0].Content != (Digest{7}) || e.Collected.IsZero() || e.At.IsZero() {
		t.Errorf("it says %+v", e)
	}
	if _, err := q.Retry(id, true); err != nil {
		t.Fatal(err)
	}
	if j := step(t, q, Upload, id, Sending{}, Uploaded{Document: "doc2"}); j.Source != "doc2" || !j.Deleted.IsZero() {
		t.Errorf("sent again it says document %q, deleted %v", j.Source, j.Deleted)
	}
	makeDue(t, q, id)
	step(t, q, Collect, id, Fail{Err: errTrouble})
	if e := outbox(t, q)[1]; e.Paid != 2 || e.Resends != 1 || e.Resend != 1 {
		t.Errorf("paid for again it says %+v", e)
	}
}

func TestEntryJSON(t *testing.T) {
	for _, s := range States {
		for _, j := range jobsIn(s)[:20] {
			j.ID, j.Folder, j.Path = 7, "/scans/\xff", "/scans/\xff/caf\xe9.pdf"
			e := Entry{Seq: 3, At: noon, Job: j, Paid: 2, Resends: 1}
			written, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var read Entry
			err = json.Unmarshal(written, &read)
			switch {
			case !s.Final():
				if err == nil {
					t.Errorf("a job that is %s was taken for one at its end", s)
				}
			case err != nil || read.Path != j.Path || read.Seq != 3 || !read.At.Equal(noon) || read.Paid != 2 || read.Resends != 1 || text(t, read.Job) != text(t, j):
				t.Errorf("%s came back as %+v, %v", written, read, err)
			}
		}
	}
	const good = `{"seq":1,"id":1,"state":"done","path":"/a","folder":"/"}`
	if err := json.Unmarshal([]byte(good), new(Entry)); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{
		{`"seq":1`, `"seq":0`}, {`"seq":1`, `"seq":-1`}, {`"seq":1`, `"seq":18446744073709551615`}, {`"id":1`, `"id":0`},
		{`"done"`, `"queued"`}, {`"done"`, `"finished"`}, {`"/a"`, `""`}, {`"/"`, `""`}, {`"seq"`, `"paid":-1,"seq"`},
		{`"seq"`, `"document":"a","trash":["a"],"seq"`}, {`"seq"`, `"trash":[""],"seq"`}, {`"seq"`, `"size":"big","seq"`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if err := json.Unmarshal([]byte(bad), new(Entry)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestAwaitEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		ended := make(chan error)
		go func() { ended <- q.AwaitEntry(t.Context(), 0) }()
		id := add(t, q, scan("/scans/a.pdf", "a"))[0].ID
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("nothing ended, and it was awoken: %v", err)
		default:
		}
		step(t, q, Upload, id, Reject{Err: errTrouble})
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := q.AwaitEntry(t.Context(), 0); err != nil {
			t.Fatalf("what waits already: %v", err)
		}
		if err := q.Acknowledge(Head{Seq: 1}); err != nil {
			t.Fatal(err)
		}
		step(t, q, Upload, add(t, q, scan("/scans/b.pdf", "b"))[0].ID, Reject{Err: errTrouble})
		if entries, err := q.Outbox(1, 9); len(entries) != 1 || entries[0].Seq != 2 || err != nil {
			t.Fatalf("after the first comes %+v, %v", entries, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { ended <- q.AwaitEntry(ctx, 2) }()
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("told to stop: %v", err)
		}
		go func() { ended <- q.AwaitEntry(t.Context(), 2) }()
		synctest.Wait()
		q.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// turn takes the job's next step; those of others have to wait.
func turn(t *testing.T, q *Queue, want Step, id uint64, outcomes ...Outcome) Job {
	t.Helper()
	var others []Task // kept meanwhile: they may be as due, and come first again
	for task := claim(t, q); task.Step != ""; task = claim(t, q) {
		if task.Job.ID != id || task.Step != want {
			others = append(others, task)
			continue
		}
		j := report(t, q, task, outcomes...)
		for _, other := range others {
			report(t, q, other, Interrupted{})
		}
		return j
	}
	t.Fatalf("there is nothing to %s job %d", want, id)
	return Job{}
}

// see takes a job from the beginning to the end of its way.
func see(t *testing.T, q *Queue, id uint64) {
	t.Helper()
	doc := fmt.Sprint("doc", id)
	turn(t, q, Upload, id, Sending{}, Uploaded{Document: doc})
	makeDue(t, q, id)
	turn(t, q, Collect, id, Collected{})
	turn(t, q, Delete, id, Deleted{Documents: []string{doc}})
}

func sequence(entries ...Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func replay(t *testing.T, q *Queue, want int, entries ...Entry) {
	t.Helper()
	head := Head{Hash: Digest{1}}
	if len(entries) > 0 {
		head.Seq = entries[len(entries)-1].Seq
	}
	n, err := q.Replay(sequence(entries...), head)
	if err != nil || n != want {
		t.Fatalf("%d entries were new, want %d, %v", n, want, err)
	}
	check(t, q)
}

// A queue that was lost is made again of the journal: the same scans are known,
// and what was paid for is not sent again.
func TestReplay(t *testing.T) {
	q := open(t)
	const n = 1100 // more than one transaction
	var scans []Scan
	for i := range n {
		s := scan(fmt.Sprintf("/scans/%d.pdf", i), fmt.Sprint("content ", i))
		if i > 2 {
			s.Reject = "empty"
		}
		scans = append(scans, s)
	}
	add(t, q, scans...)
	finish(t, q, 1) // after those that came later
	finish(t, q, 2)
	step(t, q, Upload, 3, Sending{}, Uploaded{Document: "doc"})
	makeDue(t, q, 3)
	step(t, q, Collect, 3, Fail{Err: errTrouble})
	lines := outbox(t, q)

	again := open(t)
	replay(t, again, n, lines...)
	replay(t, again, 0, lines...)
	for _, e := range lines {
		if j := get(t, again, e.ID); text(t, j) != text(t, e.Job) {
			t.Fatalf("job %d is %+v, was %+v", e.ID, j, e.Job)
		}
	}
	for _, a := range mustAdd(t, again, scans[:3]...) {
		if !a.Known {
			t.Errorf("job %d is new", a.Job.ID)
		}
	}
	if a := mustAdd(t, again, scan("/scans/copy.pdf", "content 1"))[0]; a.Job.Twin != 2 || a.Job.ID != n+1 {
		t.Errorf("a copy is job %d, and has the results of job %d", a.Job.ID, a.Job.Twin)
	}
	if story, err := again.Story(2); err != nil || len(story) != 1 || story[0].What != "replayed" {
		t.Errorf("its story is %v, %v", story, err)
	}
	step(t, again, Delete, 3, Deleted{Documents: []string{"doc"}}) // the document is still to go
	if e := outbox(t, again); len(e) != 1 || e[0].Seq != n+1 {
		t.Errorf("the next entry is %+v", e)
	}
}

func mustAdd(t *testing.T, q *Queue, scans ...Scan) []Added {
	t.Helper()
	added, err := q.Add(scans...)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// An older copy of the queue, as a snapshot is, goes on from where the journal
// ends.
func TestReplayOlder(t *testing.T) {
	q := open(t)
	older := func() *Queue {
		t.Helper()
		path := filepath.Join(t.TempDir(), "queue.db")
		if err := q.Snapshot(path); err != nil {
			t.Fatal(err)
		}
		return openAt(t, Config{Path: path})
	}
	// 2 waits for 1, 4 for 3; 5 is to be dropped, and noticed anew as 6.
	add(t, q, scan("/scans/1.pdf", "a"), scan("/scans/2.pdf", "a"), scan("/scans/3.pdf", "c"), scan("/scans/4.pdf", "c"), scan("/scans/5.pdf", "e"))
	first := older()
	see(t, q, 1)
	turn(t, q, Copy, 2, Reject{Err: errTrouble})
	second := older()
	turn(t, q, Upload, 3, Sending{}, Uploaded{Document: "doc"})
	makeDue(t, q, 3)
	turn(t, q, Collect, 3, Gone{Err: errTrouble}) // and 4 with it
	turn(t, q, Upload, 5, Changed{})
	see(t, q, add(t, q, scan("/scans/5.pdf", "e"))[0].ID)
	lines := outbox(t, q)
	if told := tell(t, q); !slices.Equal(told, []string{"1: job 1 done ", "2: job 2 rejected ", "3: job 3 failed ", "4: job 4 rejected ", "5: job 6 done "}) {
		t.Fatal(told)
	}

	t.Run("all", func(t *testing.T) {
		replay(t, second, 3, lines...)
		if told := tell(t, second); told != nil {
			t.Errorf("all is in the journal, and %q waits", told)
		}
		if j, err := second.ByPath("/scans/5.pdf"); err != nil || j.ID != 6 || j.State != Done {
			t.Errorf("job %d of 5.pdf is %s, %v", j.ID, j.State, err)
		}
		if _, err := second.Get(5); !errors.Is(err, ErrNoJob) {
			t.Errorf("job 5 was dropped, and is back: %v", err)
		}
		replay(t, second, 0, lines...)
	})
	t.Run("without the end of those who waited", func(t *testing.T) {
		replay(t, first, 3, lines[0], lines[2], lines[4])
		if j := get(t, first, 2); j.State != Queued || j.Due.IsZero() {
			t.Errorf("job 1 is done, and job 2 is %s, due %v", j.State, j.Due)
		}
		wantState(t, first, 4, Rejected) // what job 3 was paid for is gone
		if told := tell(t, first); !slices.Equal(told, []string{"6: job 4 rejected "}) {
			t.Errorf("what waits is %q", told)
		}
	})
	t.Run("a hole", func(t *testing.T) {
		last := older()
		replay(t, last, 0, lines[1], lines[4])
		if told := tell(t, last); !slices.Equal(told, []string{"6: job 1 done ", "7: job 3 failed ", "8: job 4 rejected "}) {
			t.Errorf("what is not in the journal is %q", told)
		}
	})
}

// The numbers of others, the same name, a journal with a hole: what can be
// saved is.
func TestReplayElse(t *testing.T) {
	q := open(t)
	add(t, q, scan("/scans/1.pdf", "a"), scan("/scans/2.pdf", "b"), scan("/scans/3.pdf", "a"))
	see(t, q, 1)
	turn(t, q, Copy, 3, Reject{Err: errTrouble})
	see(t, q, 2)
	if _, err := q.Reserve(2, "txt", "/scans/x.txt", Digest{2}); err != nil {
		t.Fatal(err)
	}
	lines := outbox(t, q)

	// Scans were noticed before anybody could read the journal.
	noticed := open(t)
	add(t, noticed, scan("/scans/other.pdf", "o"), scan("/scans/2.pdf", "b"), scan("/scans/9.pdf", "b"), scan("/scans/10.pdf", "a"))
	if _, err := noticed.Cancel(1); err != nil {
		t.Fatal(err)
	}
	replay(t, noticed, len(lines), lines...)
	if j, err := noticed.ByPath("/scans/1.pdf"); err != nil || j.State != Done || j.ID == 1 {
		t.Errorf("job %d of 1.pdf is %s, %v", j.ID, j.State, err)
	}
	two, err := noticed.ByPath("/scans/2.pdf")
	if err != nil || two.State != Done {
		t.Errorf("2.pdf is %s, %v", two.State, err)
	}
	for _, path := range []string{"/scans/9.pdf", "/scans/10.pdf"} {
		if j, err := noticed.ByPath(path); err != nil || j.State != Queued || j.Twin == 0 || j.Due.IsZero() {
			t.Errorf("%s is %s after job %d, due %v, %v", path, j.State, j.Twin, j.Due, err)
		}
	}
	if told := tell(t, noticed); len(told) != 1 || !strings.HasPrefix(told[0], fmt.Sprint(len(lines)+1, ": job 1 cancelled")) {
		t.Errorf("what waits is %q", told)
	}

	// An error ends it, and what came before is kept.
	again := open(t)
	n, err := again.Replay(func(yield func(Entry, error) bool) {
		if yield(lines[0], nil) {
			yield(Entry{}, errTrouble)
		}
	}, Head{Seq: 3})
	if n != 0 || !errors.Is(err, errTrouble) {
		t.Errorf("%d, %v", n, err)
	}
	replay(t, again, len(lines), lines...)

	// Not while somebody works.
	busy := open(t)
	add(t, busy, scan("/scans/1.pdf", "a"))
	claim(t, busy)
	if _, err := busy.Replay(sequence(lines...), Head{Seq: 3}); err == nil {
		t.Error("it was replayed while a job was worked on")
	}
	wantState(t, busy, 1, Queued)
}

// Whatever a line says, the queue agrees with itself afterwards.
func FuzzReplay(f *testing.F) {
	for _, s := range []State{Done, Rejected, Failed, Cancelled} {
		e := Entry{Seq: 1, At: noon, Job: jobsIn(s)[3], Paid: 1}
		e.ID, e.Path, e.Folder = 2, "/scans/a.pdf", "/scans"
		written, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(written)
	}
	q := open(f)
	f.Fuzz(func(t *testing.T, line []byte) {
		var e Entry
		if json.Unmarshal(line, &e) != nil {
			return
		}
		written, err := json.Marshal(e)
		var read Entry
		if err != nil || json.Unmarshal(written, &read) != nil || text(t, read.Job) != text(t, e.Job) {
			t.Fatalf("%s, %v: not as it was read", written, err)
		}
		if _, err := q.Replay(sequence(e), Head{Seq: e.Seq}); err == nil { // else a key is too long, say
			check(t, q)
		}
		q.folders = nil
		err = q.db.Update(func(b *bbolt.Tx) error {
			for _, name := range allBuckets {
				if err := b.DeleteBucket(name); err != nil {
					return err
				}
			}
			return nil
		})
		if err = errors.Join(err, q.load()); err != nil {
			t.Fatal(err)
		}
	})
}
