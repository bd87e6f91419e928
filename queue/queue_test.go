package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/bbolt"
)

// open opens a queue of its own for the test. It is checked when the test ends.
func open(t testing.TB) *Queue {
	t.Helper()
	return openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db")})
}

func openAt(t testing.TB, c Config) *Queue {
	t.Helper()
	c.Installation = Installation{Name: "AB12", Key: []byte("0123456789abcdef0123456789abcdef")}
	q, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	q.db.NoSync = true                                                             // no test cuts the power
	if c, err := q.Census(); err == nil && c.Last.IsZero() && c.Rebuilt.IsZero() { // it is not what most tests are about
		report(t, q, claim(t, q), Counted{})
	}
	t.Cleanup(func() {
		if _, err := q.Counts(); !errors.Is(err, ErrClosed) && !t.Failed() {
			if _, ok := t.(*testing.B); !ok {
				check(t, q)
			}
		}
		q.Close()
	})
	return q
}

// reopen ends the process, as far as the queue can tell, and starts another.
func reopen(t *testing.T, q *Queue) *Queue {
	t.Helper()
	path := q.db.Path()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return openAt(t, Config{Path: path})
}

// scan is a scan in the folder of its path, which is written with slashes on every
// system; the content is any text.
func scan(name, content string) Scan {
	s := Scan{Folder: path.Dir(name), Path: name, Size: int64(len(content)), ModTime: noon, Ext: ".pdf", Options: transcribe}
	if content != "" {
		copy(s.Content[:], content)
	}
	return s
}

func add(t testing.TB, q *Queue, scans ...Scan) []Job {
	t.Helper()
	added, err := q.Add(scans...)
	if err != nil {
		t.Fatal(err)
	}
	jobs := make([]Job, len(added))
	for i, a := range added {
		jobs[i] = a.Job
	}
	return jobs
}

// claim takes the next task, which must be there now.
func claim(t testing.TB, q *Queue) Task {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	tasks, _, err := q.claim(1)
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) == 0 {
		return Task{}
	}
	return tasks[0]
}

// report gives a task back with outcomes, of which all but the last are
// Sending.
func report(t testing.TB, q *Queue, task Task, outcomes ...Outcome) Job {
	t.Helper()
	for _, o := range outcomes {
		j, err := q.Report(task, o)
		if err != nil {
			t.Fatalf("job %d, %s: %v", task.Job.ID, o.kind(), err)
		}
		task.Job = j
	}
	return task.Job
}

// step claims the next task, which must be that step of that job, and reports.
func step(t testing.TB, q *Queue, want Step, id uint64, outcomes ...Outcome) Job {
	t.Helper()
	task := claim(t, q)
	if task.Step != want || task.Job.ID != id {
		t.Fatalf("the next is to %q job %d, want to %q job %d", task.Step, task.Job.ID, want, id)
	}
	return report(t, q, task, outcomes...)
}

// finish takes a waiting job, which must be the next, to its end.
func finish(t *testing.T, q *Queue, id uint64) Job {
	t.Helper()
	doc := fmt.Sprint("doc", id)
	step(t, q, Upload, id, Sending{}, Uploaded{Document: doc})
	makeDue(t, q, id)
	step(t, q, Collect, id, Collected{})
	return step(t, q, Delete, id, Deleted{Documents: []string{doc}})
}

// makeDue ends a job's waiting.
func makeDue(t testing.TB, q *Queue, id uint64) {
	t.Helper()
	err := q.update(func(b *tx) error {
		j, err := b.job(id)
		next := j
		next.Due = b.now
		b.write(j, next)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, q *Queue, id uint64) Job {
	t.Helper()
	j, err := q.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func wantState(t *testing.T, q *Queue, id uint64, want State) Job {
	t.Helper()
	j := get(t, q, id)
	if j.State != want {
		t.Fatalf("job %d is %s (%q), want %s", id, j.State, j.Error, want)
	}
	return j
}

func TestOpenRefuses(t *testing.T) {
	foreign := func(t *testing.T, path string) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		err = db.Update(func(b *bbolt.Tx) error {
			_, err := b.CreateBucket([]byte("another program's"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ours := func(t *testing.T, path string) {
		q := openAt(t, Config{Path: path})
		add(t, q, scan("/scans/a.pdf", "a"))
		q.Close()
	}
	edit := func(f func(b *bbolt.Bucket) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			ours(t, path)
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if err := db.Update(func(b *bbolt.Tx) error { return f(b.Bucket(bucketMeta)) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(content []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	cut := func(share int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			ours(t, path)
			info, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, info.Size()*share/100)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	random := make([]byte, 50_000)
	for i := range random {
		random[i] = byte(i * i >> 3)
	}

	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want error // nil: any
		says string
	}{
		{"another program's database", foreign, ErrForeign, ""},
		{"random bytes", write(random), ErrForeign, ""},
		{"a text", write([]byte("dear diary\n")), ErrForeign, ""},
		{"a long text", write(bytes.Repeat([]byte("dear diary\n"), 10_000)), ErrForeign, ""},
		{"a newer version", edit(func(b *bbolt.Bucket) error { return b.Put([]byte("version"), []byte("4")) }), ErrNewer, "4"},
		{"no version", edit(func(b *bbolt.Bucket) error { return b.Delete([]byte("version")) }), ErrDamaged, ""},
		{"cut in half", cut(50), ErrDamaged, "cut off"},
		{"cut to its first page", cut(2), nil, ""},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, ErrForeign, ""},
		{"in a folder that is not there", func(*testing.T, string) {}, fs.ErrNotExist, "no such"},
		{"not for us", func(t *testing.T, path string) {
			if runtime.GOOS == "windows" || os.Geteuid() == 0 {
				t.Skip("only where permissions bind us: not for root, not on Windows")
			}
			ours(t, path)
			if err := os.Chmod(path, 0o400); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrPermission, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "queue.db")
			if errors.Is(tt.want, fs.ErrNotExist) {
				path = filepath.Join(t.TempDir(), "no such folder", "queue.db")
			}
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			q, err := Open(Config{Path: path})
			if err == nil {
				q.Close()
				t.Fatal("it was opened")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error: %v, want one that wraps %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q should name %q and say %q", err, path, tt.says)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Errorf("the file was changed: %d bytes, then %d", len(before), len(after))
			}
		})
	}
}

func TestOpenInUse(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	_, err := Open(Config{Path: q.db.Path(), Timeout: time.Millisecond})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("error: %v, want one that wraps %q", err, ErrInUse)
	}
	wantState(t, q, a.ID, Queued)
	q = reopen(t, q)
	wantState(t, q, a.ID, Queued)
}

// TestGenerations: what one process knew the next one knows.
func TestGenerations(t *testing.T) {
	q := open(t)
	jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"), scan("/scans/c.pdf", "c"), scan("/scans/d.pdf", "d"))
	finish(t, q, jobs[0].ID)
	step(t, q, Upload, jobs[1].ID, Sending{})                          // on the wire
	step(t, q, Upload, jobs[2].ID, Sending{}, Uploaded{Document: "c"}) // being read
	claim(t, q)                                                        // d: claimed, nothing sent
	if err := q.Hold(Hold{Cause: Missing, Folder: "/other", Reason: "gone"}); err != nil {
		t.Fatal(err)
	}
	if err := q.Keep("pace", []byte("slow")); err != nil {
		t.Fatal(err)
	}

	q = reopen(t, q)
	wantState(t, q, jobs[0].ID, Done)
	b := wantState(t, q, jobs[1].ID, Doubtful)
	wantState(t, q, jobs[2].ID, Processing)
	wantState(t, q, jobs[3].ID, Queued)
	if b.Error == "" || b.Due.IsZero() || b.Attempts != 0 {
		t.Errorf("job %d: %q, due %v, %d attempts; want a reason, a look-up at once, and none used", b.ID, b.Error, b.Due, b.Attempts)
	}
	if holds := q.Holds(); len(holds) != 1 || holds[0].Reason != "gone" {
		t.Errorf("holds: %+v", holds)
	}
	if v, err := q.Kept("pace"); err != nil || string(v) != "slow" {
		t.Errorf("kept %q, %v", v, err)
	}
	if v, err := q.Kept("nothing"); err != nil || v != nil {
		t.Errorf("what was never kept is %q, %v", v, err)
	}
	step(t, q, LookUp, b.ID, Uploaded{Document: "b"})
	step(t, q, Upload, jobs[3].ID, Sending{}, Unanswered{Err: errTrouble})
	if story, err := q.Story(b.ID); err != nil || len(story) != 4 || story[2].What != "crashed" || story[2].State != Doubtful {
		t.Errorf("the story of job %d is %+v, %v", b.ID, story, err)
	}
}

func TestClosed(t *testing.T) {
	q := open(t)
	add(t, q, scan("/scans/a.pdf", "a"))
	task := claim(t, q)
	q.Close()
	if _, err := q.Report(task, Interrupted{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Report: %v", err)
	}
	if _, err := q.Claim(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Claim: %v", err)
	}
	if _, err := q.List(Filter{}); !errors.Is(err, ErrClosed) {
		t.Errorf("List: %v", err)
	}
}

func TestNoJob(t *testing.T) {
	q := open(t)
	_, get := q.Get(7)
	_, path := q.ByPath("/scans/a.pdf")
	_, document := q.ByDocument("d")
	_, story := q.Story(7)
	_, retry := q.Retry(7, false)
	_, cancel := q.Cancel(7)
	_, forget := q.Forget(7)
	_, reserve := q.Reserve(7, "txt", "/scans/a.txt", Digest{})
	for what, err := range map[string]error{"Get": get, "ByPath": path, "ByDocument": document, "Story": story, "Retry": retry, "Cancel": cancel, "Forget": forget, "Reserve": reserve} {
		if !errors.Is(err, ErrNoJob) {
			t.Errorf("%s: %v, want one that wraps %q", what, err, ErrNoJob)
		}
	}
}

func TestClaimOrder(t *testing.T) {
	q := openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: map[string]int{"/urgent": 2, "/forms": 1, "/scans": 0, "/held": 0}})
	var ids []uint64
	for _, path := range []string{"/scans/1.pdf", "/forms/2.pdf", "/urgent/3.pdf", "/scans/4.pdf", "/urgent/5.pdf", "/held/6.pdf"} {
		ids = append(ids, add(t, q, scan(path, path))[0].ID)
	}
	if err := q.Hold(Hold{Cause: Missing, Folder: "/held", Reason: "gone"}); err != nil {
		t.Fatal(err)
	}
	step(t, q, Upload, ids[2], Sending{}, Uploaded{Document: "3"})
	makeDue(t, q, ids[2])
	for _, want := range []int{2, 4, 1, 0, 3} { // what is paid first, then by priority, then the oldest
		if task := claim(t, q); task.Job.ID != ids[want] {
			t.Fatalf("the next is %s, want job %d", task.Job.Path, ids[want])
		}
	}
	if task := claim(t, q); task.Step != "" {
		t.Fatalf("%s was handed out, though its folder is held", task.Job.Path)
	}
	if n, err := q.Release("missing:/held"); n != 1 || err != nil {
		t.Fatalf("released %d, %v", n, err)
	}
	step(t, q, Upload, ids[5], Interrupted{})
}

func TestClaimWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		type got struct {
			task Task
			err  error
		}
		claims := make(chan got, 1)
		next := func(ctx context.Context) {
			task, err := q.Claim(ctx)
			claims <- got{task, err}
		}
		ctx, cancel := context.WithCancel(t.Context())
		go next(ctx)
		synctest.Wait()
		cancel()
		if g := <-claims; !errors.Is(g.err, context.Canceled) {
			t.Fatalf("%+v, want the context's error", g)
		}

		go next(t.Context())
		synctest.Wait()
		a := add(t, q, scan("/scans/a.pdf", "a"))[0]
		g := <-claims
		if g.err != nil || g.task.Job.ID != a.ID {
			t.Fatalf("%+v, want job %d as soon as it is there", g, a.ID)
		}
		start := time.Now()
		report(t, q, g.task, Retry{Err: errTrouble, After: 10 * time.Minute})
		go next(t.Context())
		if g = <-claims; g.err != nil || time.Since(start) != 10*time.Minute {
			t.Fatalf("it came after %v, %v; want when it is due", time.Since(start), g.err)
		}
		report(t, q, g.task, Interrupted{})
	})
}

// TestStale: a report about a job that has moved meanwhile changes nothing.
func TestStale(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	task := claim(t, q)
	report(t, q, task, Sending{})
	_, err := q.Report(task, Sending{}) // by a worker that thinks it is still queued
	m, ok := errors.AsType[*MoveError](err)
	if !ok || m.Job != a.ID || m.From != Uploading || !strings.Contains(err.Error(), "uploading") {
		t.Fatalf("error: %v, want a MoveError that names the job and where it is", err)
	}
	task.Job = wantState(t, q, a.ID, Uploading)
	if _, err = q.Report(task, Deleted{}); !errors.As(err, &m) {
		t.Fatalf("error: %v, want a MoveError", err)
	}
	wantState(t, q, a.ID, Uploading)
}

func TestSendingHeld(t *testing.T) {
	tests := []struct {
		name string
		hold Hold
		want error
	}{
		{"token", Hold{Cause: Token, Reason: "the token is refused"}, ErrHeld},
		{"credits", Hold{Cause: Credits, Reason: "no credits"}, ErrHeld},
		{"its folder", Hold{Cause: Room, Folder: "/scans", Reason: "full"}, ErrHeld},
		{"another folder", Hold{Cause: Room, Folder: "/forms", Reason: "full"}, nil},
		{"doubt", Hold{Cause: Doubt, Reason: "nameless"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := open(t)
			a := add(t, q, scan("/scans/a.pdf", "a"))[0]
			task := claim(t, q)
			if err := q.Hold(tt.hold); err != nil {
				t.Fatal(err)
			}
			_, err := q.Report(task, Sending{})
			if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.hold.Reason) {
				t.Fatalf("error: %v, want %v", err, tt.want)
			}
			if tt.want == nil {
				return
			}
			report(t, q, task, Interrupted{}) // the task is still the worker's
			if j := wantState(t, q, a.ID, Queued); j.Attempts != 0 {
				t.Errorf("%d attempts were used", j.Attempts)
			}
		})
	}
}

// TestSendingCancelled: a cancellation that comes before the first byte saves
// the money.
func TestSendingCancelled(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	task := claim(t, q)
	if j, err := q.Cancel(a.ID); err != nil || j.State != Queued || !j.Cancel {
		t.Fatalf("%s, %v; want it to take effect when the worker gets there", j.State, err)
	}
	if _, err := q.Report(task, Sending{}); !errors.Is(err, ErrHeld) {
		t.Fatalf("error: %v, want %v", err, ErrHeld)
	}
	report(t, q, task, Interrupted{})
	wantState(t, q, a.ID, Cancelled)
}

func TestProbeByList(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
		refused := Held{Hold{Cause: Token, Reason: "the token is refused"}}
		step(t, q, Upload, jobs[0].ID, Sending{}, Uploaded{Document: "a"})
		step(t, q, Upload, jobs[1].ID, Sending{}, refused)

		last := time.Now()
		var waits []time.Duration
		for range 7 {
			task, err := q.Claim(t.Context())
			if err != nil || task.Step != Probe {
				t.Fatalf("%s of job %d, %v; want nothing but probes", task.Step, task.Job.ID, err)
			}
			if other := claim(t, q); other.Step != "" {
				t.Fatalf("%s is handed out while a probe is out", other.Step)
			}
			waits = append(waits, time.Since(last))
			last = time.Now()
			report(t, q, task, refused)
		}
		const m = time.Minute
		if want := []time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 30 * m, 30 * m}; !slices.Equal(waits, want) {
			t.Errorf("probed after %v, want %v", waits, want)
		}

		task, _ := q.Claim(t.Context())
		report(t, q, task, Answered{})
		if holds := q.Holds(); len(holds) != 0 {
			t.Errorf("answered, but %v stand", holds)
		}
		step(t, q, Collect, jobs[0].ID, Interrupted{})
		if b := wantState(t, q, jobs[1].ID, Queued); b.Attempts != 0 {
			t.Errorf("job %d used %d attempts", b.ID, b.Attempts)
		}
	})
}

// TestProbeSlow: a probe that takes longer than the time until the next one
// keeps nobody busy.
func TestProbeSlow(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		if err := q.Hold(Hold{Cause: Token, Reason: "no"}); err != nil {
			t.Fatal(err)
		}
		probe, err := q.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := q.Claim(ctx); !errors.Is(err, context.DeadlineExceeded) { // the bubble's time stands still if it spins
			t.Fatal(err)
		}
		report(t, q, probe, Interrupted{})
	})
}

func TestProbeByUpload(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		jobs := add(t, q, scan("/scans/a.pdf", "a long one"), scan("/scans/b.pdf", "short"), scan("/scans/c.pdf", "middling"), scan("/scans/d.pdf", "middling2"))
		none := Held{Hold{Cause: Credits, Reason: "no credits"}}
		step(t, q, Upload, jobs[0].ID, Sending{}, none)
		last := time.Now()
		var waits []time.Duration
		for range 3 {
			task, err := q.Claim(t.Context())
			if err != nil || task.Job.ID != jobs[1].ID {
				t.Fatalf("job %d, %v; want the smallest, job %d", task.Job.ID, err, jobs[1].ID)
			}
			if other := claim(t, q); other.Step != "" {
				t.Fatalf("%s of job %d is handed out while a probe is out", other.Step, other.Job.ID)
			}
			waits = append(waits, time.Since(last))
			last = time.Now()
			report(t, q, task, Sending{}, none)
		}
		if want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}; !slices.Equal(waits, want) {
			t.Errorf("probed after %v, want %v", waits, want)
		}
		task, err := q.Claim(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		report(t, q, task, Sending{}, Uploaded{Document: "b"})
		if holds := q.Holds(); len(holds) != 0 {
			t.Errorf("uploaded, but %v stand", holds)
		}
		step(t, q, Upload, jobs[0].ID, Interrupted{})
	})
}

// TestProbeTwoHolds: two troubles at once do not keep each other alive.
func TestProbeTwoHolds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		a := add(t, q, scan("/scans/a.pdf", "a"))[0]
		for _, h := range []Hold{{Cause: Credits, Reason: "none"}, {Cause: Room, Folder: "/scans", Reason: "full"}} {
			if err := q.Hold(h); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
		}
		start := time.Now()
		task, err := q.Claim(t.Context())
		if err != nil || task.Job.ID != a.ID || time.Since(start) != 40*time.Second {
			t.Fatalf("job %d after %v, %v; want it when both may be tried", task.Job.ID, time.Since(start), err)
		}
		report(t, q, task, Sending{}, Uploaded{Document: "a"})
		if holds := q.Holds(); len(holds) != 0 {
			t.Errorf("uploaded, but %v stand", holds)
		}
	})
}

// TestHeldButPaid: what is paid for is tried again while its hold stands, and
// at once when it is lifted, by whatever lifts it.
func TestHeldButPaid(t *testing.T) {
	full := Held{Hold{Cause: Room, Folder: "/scans", Reason: "full"}}
	t.Run("tried again", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
			a := add(t, q, scan("/scans/a.pdf", "a"))[0]
			step(t, q, Upload, a.ID, Sending{}, Uploaded{Document: "a"})
			makeDue(t, q, a.ID)
			step(t, q, Collect, a.ID, full)
			start := time.Now()
			task, err := q.Claim(t.Context())
			if err != nil || task.Step != Collect || time.Since(start) != 30*time.Second {
				t.Fatalf("%s after %v, %v", task.Step, time.Since(start), err)
			}
			report(t, q, task, full)
			if n, err := q.Release("room:/scans"); n != 1 || err != nil {
				t.Fatalf("released %d, %v", n, err)
			}
			step(t, q, Collect, a.ID, Collected{})
		})
	})
	t.Run("after a restart", func(t *testing.T) {
		q := open(t)
		a := add(t, q, scan("/scans/a.pdf", "a"))[0]
		step(t, q, Upload, a.ID, Sending{}, Uploaded{Document: "a"})
		makeDue(t, q, a.ID)
		step(t, q, Collect, a.ID, full)
		q = reopen(t, q)
		step(t, q, Collect, a.ID, Collected{})
	})
	t.Run("lifted by itself", func(t *testing.T) { // the report that lifts a hold is about a job that it held
		q := open(t)
		a := add(t, q, scan("/scans/a.pdf", "a"))[0]
		step(t, q, Upload, a.ID, Sending{}, Unanswered{Err: errTrouble})
		makeDue(t, q, a.ID)
		step(t, q, LookUp, a.ID, Held{Hold{Cause: Token, Reason: "no"}})
		q = reopen(t, q) // which probes at once
		task := claim(t, q)
		report(t, q, task, Answered{})
		lookUp := claim(t, q)
		if err := q.Hold(Hold{Cause: Token, Reason: "no"}); err != nil {
			t.Fatal(err)
		}
		err := q.update(func(b *tx) error {
			j, err := b.job(a.ID)
			next := j
			next.HeldBy = Token
			b.write(j, next)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		report(t, q, lookUp, Uploaded{Document: "a"})
		check(t, q)
	})
}

func TestDrained(t *testing.T) {
	q := open(t)
	drained := func() bool {
		t.Helper()
		q.mu.Lock()
		defer q.mu.Unlock()
		d, err := q.drained()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	want := func(want bool, when string) {
		t.Helper()
		if drained() != want {
			t.Fatalf("%s: drained is %v", when, !want)
		}
	}
	want(true, "empty")
	jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "a"))
	a, b := jobs[0], jobs[1]
	want(false, "a job waits")
	task := claim(t, q)
	want(false, "a job is being worked on")
	report(t, q, task, Retry{Err: errTrouble, After: time.Hour})
	want(false, "a job waits for its next attempt")
	if err := q.Hold(Hold{Cause: Missing, Folder: "/scans", Reason: "gone"}); err != nil {
		t.Fatal(err)
	}
	want(true, "all that waits is held")
	if _, err := q.Release("all"); err != nil {
		t.Fatal(err)
	}
	makeDue(t, q, a.ID)
	step(t, q, Upload, a.ID, Sending{}, Uploaded{Document: "a"})
	want(false, "the service is working")
	if err := q.Hold(Hold{Cause: Token, Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	want(true, "nobody answers, and the next probe is far off")
	if _, err := q.Release("all"); err != nil {
		t.Fatal(err)
	}
	makeDue(t, q, a.ID)
	step(t, q, Collect, a.ID, Held{Hold{Cause: Room, Folder: "/scans", Reason: "full"}})
	want(true, "what is paid is held and was tried")
	makeDue(t, q, a.ID)
	want(false, "what is paid is held and may be tried")
	if _, err := q.Release("all"); err != nil {
		t.Fatal(err)
	}
	step(t, q, Collect, a.ID, Collected{})
	want(false, "a remote copy is to be deleted")
	step(t, q, Delete, a.ID, Retry{Err: errTrouble, After: time.Hour})
	want(false, "a remote copy is to be deleted later")
	makeDue(t, q, a.ID)
	step(t, q, Delete, a.ID, Deleted{Documents: []string{"a"}})
	want(false, "a twin can have its results")
	step(t, q, Copy, b.ID, Collected{})
	want(true, "all is done")

	c := add(t, q, scan("/scans/c.pdf", "c"))[0]
	step(t, q, Upload, c.ID, Sending{}, Uploaded{Document: "c"})
	makeDue(t, q, c.ID)
	step(t, q, Collect, c.ID, Fail{Err: errTrouble})
	want(false, "what failed is to be cleared away")
	step(t, q, Delete, c.ID, Retry{Err: errTrouble, After: time.Hour})
	want(true, "clearing up is far off")

	d := add(t, q, scan("/scans/d.pdf", "d"))[0]
	step(t, q, Upload, d.ID, Sending{}, Unanswered{Err: errTrouble})
	want(false, "an upload is in doubt")
	makeDue(t, q, d.ID)
	step(t, q, LookUp, d.ID, NotFound{Nameless: true})
	want(true, "only a person can settle it")
	if holds := q.Holds(); len(holds) != 1 || holds[0].Cause != Doubt {
		t.Errorf("holds: %+v, want the doubt to be seen", holds)
	}
	if j, err := q.Cancel(d.ID); err != nil || j.State != Cancelled || len(q.Holds()) != 0 {
		t.Errorf("%s, %v, holds %v; want it settled", j.State, err, q.Holds())
	}
}

func TestDrainedWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(dir, "queue.db")})
		a := add(t, q, scan("/scans/a.pdf", "a"))[0]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := q.Drained(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error: %v", err)
		}
		done := make(chan error)
		go func() { done <- q.Drained(t.Context()) }()
		synctest.Wait()
		step(t, q, Upload, a.ID, Reject{Err: errTrouble})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAdd(t *testing.T) {
	q := open(t)
	first := scan("/scans/a.pdf", "a")
	a := add(t, q, first)[0]
	if a.State != Queued || a.Mark == "" || a.Identity != Identity(first.Content, first.Options) || !strings.HasPrefix(a.UploadName(), "a.sdAB12-") {
		t.Errorf("job: %+v", a)
	}
	again := func(s Scan) Added {
		t.Helper()
		added, err := q.Add(s)
		if err != nil {
			t.Fatal(err)
		}
		return added[0]
	}
	if r := again(first); !r.Known || r.Job.ID != a.ID {
		t.Errorf("the same again: %+v", r)
	}
	replaced := again(scan("/scans/a.pdf", "newer"))
	if replaced.Known || replaced.Replaced != a.ID {
		t.Errorf("newer content of a waiting job: %+v", replaced)
	}
	step(t, q, Upload, replaced.Job.ID, Sending{}, Uploaded{Document: "d"})
	if r := again(scan("/scans/a.pdf", "newest")); r.Known || r.Replaced != 0 || r.Job.State != Queued {
		t.Errorf("newer content of a job that was sent: %+v", r)
	}
	wantState(t, q, replaced.Job.ID, Processing)
	if j, err := q.ByPath("/scans/a.pdf"); err != nil || j.Content != scan("", "newest").Content {
		t.Errorf("at the path is %+v, %v", j, err)
	}
	bad := scan("/scans/bad.pdf", "")
	bad.Reject = "empty"
	if r := again(bad); r.Job.State != Rejected || r.Job.Error != "empty" || !r.Job.Due.IsZero() {
		t.Errorf("what can never be sent: %+v", r)
	}
	bad.Options.MoveFailed = "/failed"
	bad.Path = "/scans/bad2.pdf"
	r := again(bad)
	if r.Job.MoveTo() != "/failed" || r.Job.Due.IsZero() {
		t.Errorf("what can never be sent and is to be moved: %+v", r)
	}
	step(t, q, Delete, r.Job.ID, Deleted{Moved: "/failed/bad2.pdf"})
	if j, err := q.Retry(r.Job.ID, false); err != nil {
		t.Errorf("retry of what was not readable: %+v, %v", j, err)
	}
	if seen, _ := q.Seen(bad.Path, bad.Size, bad.ModTime); seen {
		t.Error("it is to be looked at anew, but it counts as seen")
	}
}

// TestAddAllOrNothing: scans that are handed over together are taken together.
func TestAddAllOrNothing(t *testing.T) {
	q := open(t)
	if _, err := q.Add(scan("/scans/a.pdf", "a"), Scan{Folder: "/scans"}); err == nil {
		t.Fatal("a scan without a path was taken")
	}
	if page, err := q.List(Filter{}); err != nil || len(page.Jobs) != 0 {
		t.Errorf("%d jobs, %v", len(page.Jobs), err)
	}
}

func TestTwins(t *testing.T) {
	names := func(n int) []Scan {
		var scans []Scan
		for i := range n {
			scans = append(scans, scan(fmt.Sprintf("/scans/%d.pdf", i), "same"))
		}
		return scans
	}
	t.Run("wait and copy", func(t *testing.T) {
		q := open(t)
		jobs := add(t, q, names(2)...)
		if jobs[1].Twin != jobs[0].ID || !jobs[1].Due.IsZero() {
			t.Fatalf("the second waits for job %d, due %v", jobs[1].Twin, jobs[1].Due)
		}
		finish(t, q, jobs[0].ID)
		task := claim(t, q)
		if task.Step != Copy || task.Job.ID != jobs[1].ID || task.Twin.ID != jobs[0].ID {
			t.Fatalf("%s of job %d from job %d", task.Step, task.Job.ID, task.Twin.ID)
		}
		if j := report(t, q, task, Collected{}); j.State != Done || j.Document != "" {
			t.Fatalf("%s with document %q", j.State, j.Document)
		}
		late := add(t, q, scan("/scans/late.pdf", "same"))[0]
		step(t, q, Copy, late.ID, Reject{Err: errTrouble})
		wantState(t, q, late.ID, Rejected)
		if j, err := q.Retry(late.ID, false); err != nil || j.Twin == 0 || j.Mark == late.Mark {
			t.Fatalf("twin %d, mark %q, %v; want the results tried once more, and another mark", j.Twin, j.Mark, err)
		}
		step(t, q, Copy, late.ID, Reject{Err: errTrouble})
		step(t, q, Upload, late.ID, Interrupted{}) // a person asked for it
	})
	t.Run("the oldest inherits", func(t *testing.T) {
		q := open(t)
		jobs := add(t, q, names(4)...)
		step(t, q, Upload, jobs[0].ID, Reject{Err: errTrouble})
		if j := wantState(t, q, jobs[1].ID, Queued); j.Twin != 0 {
			t.Errorf("the heir waits for job %d", j.Twin)
		}
		for _, other := range jobs[2:] {
			if j := wantState(t, q, other.ID, Queued); j.Twin != jobs[1].ID || !j.Due.IsZero() {
				t.Errorf("job %d waits for job %d", j.ID, j.Twin)
			}
		}
		if added, err := q.Add(scan("/scans/1.pdf", "other")); err != nil || added[0].Replaced != jobs[1].ID {
			t.Fatalf("%+v, %v", added, err)
		}
		if j := wantState(t, q, jobs[2].ID, Queued); j.Twin != 0 {
			t.Errorf("the heir of the heir waits for job %d", j.Twin)
		}
	})
	t.Run("paid for in vain", func(t *testing.T) {
		q := open(t)
		jobs := add(t, q, names(3)...)
		step(t, q, Upload, jobs[0].ID, Sending{}, Uploaded{Document: "d"})
		makeDue(t, q, jobs[0].ID)
		step(t, q, Collect, jobs[0].ID, Gone{Err: errTrouble})
		for _, other := range jobs[1:] {
			if j := wantState(t, q, other.ID, Rejected); !strings.Contains(j.Error, "/scans/0.pdf") || !strings.Contains(j.Error, "retry") {
				t.Errorf("the reason is %q; want it to name the first and the way out", j.Error)
			}
		}
		late := add(t, q, scan("/scans/late.pdf", "same"))[0]
		wantState(t, q, late.ID, Rejected)
		if j, err := q.Retry(late.ID, false); err != nil || j.State != Queued || j.Resend != 1 || j.Mark == late.Mark {
			t.Errorf("%s, resend %d, %v", j.State, j.Resend, err)
		}
	})
	t.Run("forgotten", func(t *testing.T) {
		q := open(t)
		a := add(t, q, names(1)...)[0]
		finish(t, q, a.ID)
		if _, err := q.Forget(a.ID); err != nil {
			t.Fatal(err)
		}
		if seen, err := q.Seen(a.Path, a.Size, a.ModTime); !seen || err != nil {
			t.Errorf("its file comes back by itself (%v)", err)
		}
		b := add(t, q, scan("/elsewhere/b.pdf", "same"))[0]
		if j := wantState(t, q, b.ID, Rejected); !strings.Contains(j.Error, "paid") {
			t.Errorf("the reason is %q", j.Error)
		}
	})
	t.Run("other work", func(t *testing.T) {
		q := open(t)
		jobs := add(t, q, names(1)...)
		tables := scan("/forms/a.pdf", "same")
		tables.Options.Action = "tables"
		if j := add(t, q, tables)[0]; j.Twin != 0 || j.Identity == jobs[0].Identity {
			t.Errorf("other work waits for job %d", j.Twin)
		}
	})
	t.Run("retried while another is on its way", func(t *testing.T) {
		q := open(t)
		a := add(t, q, names(1)...)[0]
		if _, err := q.Cancel(a.ID); err != nil {
			t.Fatal(err)
		}
		b := add(t, q, scan("/scans/b.pdf", "same"))[0]
		if j, err := q.Retry(a.ID, false); err != nil || j.Twin != b.ID || !j.Due.IsZero() {
			t.Fatalf("waits for job %d, due %v, %v; want for job %d: nobody asked to pay for both", j.Twin, j.Due, err, b.ID)
		}
		finish(t, q, b.ID)
		step(t, q, Copy, a.ID, Collected{})
	})
}

func TestChanged(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "a"))[0]
	forgotten := q.Forgotten()
	step(t, q, Upload, a.ID, Sending{}, Changed{})
	if q.Forgotten() == forgotten {
		t.Error("nobody who remembers that its file was seen learns that it is to be noticed anew")
	}
	if _, err := q.Get(a.ID); !errors.Is(err, ErrNoJob) {
		t.Errorf("it is still there: %v", err)
	}
	if seen, _ := q.Seen(a.Path, a.Size, a.ModTime); seen {
		t.Error("its file is not noticed anew")
	}
	b, err := q.ByPath("/scans/b.pdf")
	if err != nil || b.Twin != 0 || b.Due.IsZero() {
		t.Fatalf("%+v, %v; want its twin to take its place", b, err)
	}

	// A job that still has something to delete is not dropped.
	step(t, q, Upload, b.ID, Sending{}, Uploaded{Document: "d"})
	makeDue(t, q, b.ID)
	step(t, q, Collect, b.ID, Reject{Err: errTrouble})
	if _, err := q.Retry(b.ID, false); err != nil {
		t.Fatal(err)
	}
	step(t, q, Upload, b.ID, Changed{})
	if seen, _ := q.Seen(b.Path, b.Size, b.ModTime); seen {
		t.Error("its file is not noticed anew")
	}
	step(t, q, Delete, b.ID, Deleted{Documents: []string{"d"}})
	wantState(t, q, b.ID, Cancelled)
}

// TestRetryUnwritten: a result that was recorded and never written is not lost.
func TestRetryUnwritten(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	step(t, q, Upload, a.ID, Sending{}, Uploaded{Document: "d"})
	for range 10 {
		makeDue(t, q, a.ID)
		task := claim(t, q)
		if claim, err := q.Reserve(a.ID, "txt", "/scans/a.txt", Digest{1}); err != nil || !claim.Mine {
			t.Fatalf("%+v, %v", claim, err)
		}
		report(t, q, task, Retry{Err: errTrouble})
	}
	wantState(t, q, a.ID, Failed)
	if j, err := q.Retry(a.ID, false); err != nil || j.State != Processing || j.Document != "d" {
		t.Fatalf("%s with document %q, %v; want its result collected", j.State, j.Document, err)
	}
}

func TestRefusals(t *testing.T) {
	q := open(t)
	jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
	finish(t, q, jobs[0].ID)
	claim(t, q)
	refusal := func(_ Job, err error) error { return err }
	for what, err := range map[string]error{
		"retry of a done job":     refusal(q.Retry(jobs[0].ID, false)),
		"cancel of a done job":    refusal(q.Cancel(jobs[0].ID)),
		"retry of a busy job":     refusal(q.Retry(jobs[1].ID, false)),
		"forget of a waiting job": refusal(q.Forget(jobs[1].ID)),
	} {
		if r, ok := errors.AsType[*RefusedError](err); !ok || r.Reason == "" {
			t.Errorf("%s: %v, want a RefusedError", what, err)
		}
	}
	if j, err := q.Retry(jobs[0].ID, true); err != nil || j.State != Queued || j.Resend != 1 || j.Mark == jobs[0].Mark {
		t.Errorf("%s, resend %d, %v; want a done job sent again for pay", j.State, j.Resend, err)
	}
}

func TestList(t *testing.T) {
	const n = 2500
	q := open(t)
	var scans []Scan
	for i := range n {
		s := scan(fmt.Sprintf("/%c/%d.pdf", 'a'+i%3, i), fmt.Sprint(i))
		if i%2 == 0 {
			s.Reject = "no"
		}
		scans = append(scans, s)
	}
	jobs := add(t, q, scans...)
	for i, j := range jobs {
		if i%5 == 1 && j.State == Queued {
			if _, err := q.Cancel(j.ID); err != nil {
				t.Fatal(err)
			}
		}
		if i > 100 {
			break
		}
	}
	all := map[uint64]Job{}
	for _, j := range jobs {
		all[j.ID] = get(t, q, j.ID)
	}
	tests := []Filter{
		{}, {Limit: 5000}, {Limit: 7, Folder: "/c"}, {States: []State{Queued}}, {States: []State{Cancelled, Queued}, Limit: 333},
		{States: []State{Rejected}, Folder: "/a", Limit: 50}, {Folder: "/b"}, {Folder: "/nowhere"}, {States: []State{Done}},
		{States: []State{Queued, Queued}}, {After: 1}, {After: 1250, Limit: 100}, {After: 1 << 40},
	}
	for _, f := range tests {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			want := 0
			for id, j := range all {
				if (f.After == 0 || id < f.After) && (f.Folder == "" || j.Folder == f.Folder) && (len(f.States) == 0 || slices.Contains(f.States, j.State)) {
					want++
				}
			}
			most := f.Limit
			if most == 0 {
				most = 100
			}
			got, last := 0, uint64(1<<63)
			for next := f; ; {
				page, err := q.List(next)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Jobs) > min(most, 1000) {
					t.Fatalf("a page of %d jobs", len(page.Jobs))
				}
				for _, j := range page.Jobs {
					if j.ID >= last || f.Folder != "" && j.Folder != f.Folder || len(f.States) > 0 && !slices.Contains(f.States, j.State) {
						t.Fatalf("job %d (%s, %s) comes after job %d", j.ID, j.Folder, j.State, last)
					}
					last = j.ID
					got++
				}
				if next.After = page.Next; next.After == 0 {
					break
				}
				if len(page.Jobs) == 0 {
					t.Fatal("an empty page that is not the last")
				}
			}
			if got != want {
				t.Errorf("%d jobs, want %d", got, want)
			}
		})
	}
	if _, err := q.List(Filter{States: []State{"lost"}}); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("a state that is none: %v", err)
	}
	n1 := 0
	for range q.All(Filter{Limit: 10}) {
		if n1++; n1 == 25 {
			break
		}
	}
	if n1 != 25 {
		t.Errorf("stopped after %d jobs", n1)
	}
}

// A service that wants fewer requests, again and again, is left alone until a
// probe says that it takes some.
func TestThrottledHolds(t *testing.T) {
	q := open(t)
	j := add(t, q, scan("/scans/a.pdf", "a"))[0]
	for n := range attempts {
		if n > 0 {
			makeDue(t, q, j.ID)
		}
		if h := q.Holds(); len(h) > 0 {
			if n != attempts-1 || h[0].Cause != Unreachable {
				t.Errorf("after %d times it is held: %+v", n, h)
			}
			return
		}
		step(t, q, Upload, j.ID, Sending{}, Retry{Err: errTrouble, Throttled: true})
	}
	t.Error("it goes on for ever")
}

// A hold goes with the last job that waited behind it, whatever became of that.
func TestHoldOfNobody(t *testing.T) {
	held := func(t *testing.T) (*Queue, Job) {
		q := open(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		step(t, q, Upload, j.ID, Sending{}, Held{Hold{Cause: Credits, Reason: "no credits", Size: 1}})
		if len(q.Holds()) != 1 {
			t.Fatalf("held: %+v", q.Holds())
		}
		return q, j
	}
	t.Run("cancelled", func(t *testing.T) {
		q, j := held(t)
		b := add(t, q, scan("/scans/b.pdf", "b"))[0]
		if _, err := q.Cancel(j.ID); err != nil {
			t.Fatal(err)
		}
		if len(q.Holds()) != 1 {
			t.Error("it is lifted, though another waits")
		}
		if _, err := q.Cancel(b.ID); err != nil {
			t.Fatal(err)
		}
		if h := q.Holds(); len(h) != 0 {
			t.Errorf("held for nobody: %+v", h)
		}
	})
	t.Run("changed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, j := held(t)
			time.Sleep(time.Hour)
			step(t, q, Upload, j.ID, Changed{})
			if h := q.Holds(); len(h) != 0 {
				t.Errorf("held for nobody: %+v", h)
			}
		})
	})
	t.Run("while one is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q, j := held(t)
			time.Sleep(time.Hour)
			b := add(t, q, scan("/scans/b.pdf", "b"))[0]
			task := claim(t, q)
			if task.Job.ID != j.ID {
				t.Fatalf("job %d is the probe", task.Job.ID)
			}
			sending, err := q.Report(task, Sending{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := q.Cancel(b.ID); err != nil {
				t.Fatal(err)
			}
			if len(q.Holds()) != 1 {
				t.Error("it is lifted while it is tried")
			}
			task.Job = sending
			report(t, q, task, Held{Hold{Cause: Credits, Reason: "no credits", Size: 1}})
		})
	})
}

// A scan whose original was moved away was not replaced by the next one of its
// path, as of a scanner that calls all its scans the same: both want results.
func TestReserveMoved(t *testing.T) {
	q := open(t)
	drop := func(content string) Job {
		s := scan("/scans/scan.pdf", content)
		s.Options.MoveDone = "/done"
		return add(t, q, s)[0]
	}
	first := drop("first")
	step(t, q, Upload, first.ID, Sending{}, Uploaded{Document: "first"})
	if claim, err := q.Reserve(first.ID, "txt", "/scans/scan.txt", Digest{1}); err != nil || !claim.Mine {
		t.Fatalf("%+v, %v", claim, err)
	}
	makeDue(t, q, first.ID)
	step(t, q, Collect, first.ID, Collected{})
	step(t, q, Delete, first.ID, Deleted{Documents: []string{"first"}, Moved: "/done/scan.pdf"})
	second := drop("second")
	if claim, err := q.Reserve(second.ID, "txt", "/scans/scan.txt", Digest{2}); err != nil || claim.Mine {
		t.Errorf("it may have the name of one that was moved away: %+v, %v", claim, err)
	}
}

func TestReserve(t *testing.T) {
	q := open(t)
	reserve := func(id uint64, path string, content byte) NameClaim {
		t.Helper()
		claim, err := q.Reserve(id, "txt", path, Digest{content})
		if err != nil {
			t.Fatal(err)
		}
		return claim
	}
	sent := func(path, content string) uint64 {
		t.Helper()
		j := add(t, q, scan(path, content))[0]
		step(t, q, Upload, j.ID, Sending{}, Uploaded{Document: content})
		return j.ID
	}
	older, stranger, newer := sent("/scans/a.pdf", "a"), sent("/scans/a.jpg", "jpg"), sent("/scans/a.pdf", "newer")

	if c := reserve(older, "/scans/a.txt", 1); !c.Mine || len(c.Replaces) != 0 {
		t.Errorf("a free name: %+v", c)
	}
	if c := reserve(older, "/scans/a.txt", 2); !c.Mine || !slices.Equal(c.Replaces, []Digest{{1}}) {
		t.Errorf("its own name again, as after a crash: %+v", c)
	}
	if c := reserve(stranger, "/scans/a.txt", 3); c.Mine {
		t.Errorf("a stranger's name: %+v", c)
	}
	if c := reserve(newer, "/scans/a.txt", 4); !c.Mine || !slices.Equal(c.Replaces, []Digest{{1}, {2}}) {
		t.Errorf("the name of an older job of the same scan: %+v", c)
	}
	if c := reserve(older, "/scans/a.txt", 5); c.Mine {
		t.Errorf("the name of a newer job of the same scan: %+v", c)
	}
	for i := byte(10); i < 30; i++ {
		reserve(newer, "/scans/a.txt", i)
	}
	if c := reserve(newer, "/scans/a.txt", 30); len(c.Replaces) > 8 || c.Replaces[len(c.Replaces)-1] != (Digest{29}) {
		t.Errorf("it remembers %d of its former contents", len(c.Replaces))
	}
	if err := q.Refuse(newer, "docx", "not this one"); err != nil {
		t.Fatal(err)
	}
	j := get(t, q, newer)
	if r, ok := j.Result("docx"); !ok || r.Refused != "not this one" || r.Path != "" {
		t.Errorf("a refused format: %+v", j.Results)
	}
	if r, ok := j.Result("txt"); !ok || r.Path != "/scans/a.txt" || r.Content != (Digest{30}) {
		t.Errorf("a result: %+v", j.Results)
	}

	// A name outlives its job only while somebody may still need it.
	if _, err := q.Cancel(newer); err != nil {
		t.Fatal(err)
	}
	step(t, q, Delete, newer, Deleted{Documents: []string{"newer"}})
	if _, err := q.Forget(newer); err != nil {
		t.Fatal(err)
	}
	if c := reserve(stranger, "/scans/a.txt", 3); !c.Mine || len(c.Replaces) != 0 {
		t.Errorf("the name of a forgotten job: %+v", c)
	}
}

func TestKnownFiles(t *testing.T) {
	q := open(t)
	seen := func(s Scan) bool {
		t.Helper()
		ok, err := q.Seen(s.Path, s.Size, s.ModTime)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	s := scan("/scans/a.pdf", "a")
	if seen(s) {
		t.Error("seen before it was there")
	}
	if err := q.Ignore(s); err != nil || !seen(s) {
		t.Errorf("ignored, but not seen: %v", err)
	}
	if _, err := q.ByPath(s.Path); !errors.Is(err, ErrNoJob) {
		t.Errorf("ignored, but a job: %v", err)
	}
	newer, larger := s, s
	newer.ModTime = newer.ModTime.Add(1)
	larger.Size++
	if seen(newer) || seen(larger) {
		t.Error("a changed file counts as seen")
	}
	a := add(t, q, newer)[0]
	if a.State != Queued || !seen(newer) || seen(s) {
		t.Errorf("an ignored file that changed: %s", a.State)
	}
	if err := q.Ignore(s); err != nil || !seen(newer) {
		t.Errorf("to ignore a file that is known forgot it: %v", err)
	}

	if q.Introduced("/scans") || q.Introduced("/nowhere") {
		t.Error("introduced before it was")
	}
	if err := q.Introduce("/scans"); err != nil {
		t.Fatal(err)
	}
	q = reopen(t, q)
	if !q.Introduced("/scans") || q.Introduced("/nowhere") || !seen(newer) {
		t.Error("a restart forgot it")
	}
}

func TestConfigure(t *testing.T) {
	q := open(t)
	jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "a"), scan("/forms/c.pdf", "a"), scan("/scans/d.pdf", "d"), scan("/scans/e.pdf", "e"))
	e := jobs[4]
	if _, err := q.Cancel(e.ID); err != nil {
		t.Fatal(err)
	}
	docx := transcribe
	docx.Formats = []string{"docx"}
	if err := q.Configure("/scans", docx, nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"docx", "docx", "txt", "docx", "txt"} { // a twin that waits is waiting too
		if j := get(t, q, jobs[i].ID); !slices.Equal(j.Options.Formats, []string{want}) {
			t.Errorf("%s has formats %v, want %s", j.Path, j.Options.Formats, want)
		}
	}
	step(t, q, Upload, jobs[0].ID, Interrupted{})
	tables := Options{Action: "tables", Formats: []string{"xlsx"}}
	if err := q.Configure("/scans", tables, nil); err != nil {
		t.Fatal(err)
	}
	for _, j := range []Job{jobs[0], jobs[1], jobs[3]} {
		if _, err := q.Get(j.ID); !errors.Is(err, ErrNoJob) {
			t.Errorf("%s is other work now, but waits on, %v", j.Path, err)
		}
		if seen, _ := q.Seen(j.Path, j.Size, j.ModTime); seen {
			t.Errorf("%s is not noticed anew", j.Path)
		}
	}
	if c := get(t, q, jobs[2].ID); c.Twin != 0 || c.Due.IsZero() {
		t.Errorf("the twin in another folder waits for job %d", c.Twin)
	}
	s := scan("/scans/a.pdf", "a")
	s.Options = tables
	if a := add(t, q, s)[0]; a.Options.Action != "tables" || a.State != Queued || a.Twin != 0 {
		t.Errorf("found again it is %+v", a)
	}
}

// A scan of which a copy is kept is not noticed again when its file is gone: it waits for
// its profile to be mended, and is then queued as what is wanted.
func TestConfigureKeepsCopies(t *testing.T) {
	q := open(t)
	s := scan("/scans/a.pdf", "a")
	s.Spooled = true
	first := add(t, q, s)[0]
	mistake := Hold{Cause: Profile, Folder: "/scans", Dir: "/scans", Reason: "no such action"}
	configure := func(o Options, hold *Hold) Job {
		t.Helper()
		if err := q.Configure("/scans", transcribe, func(string) (Options, *Hold) { return o, hold }); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Release(mistake.Key()); err != nil {
			t.Fatal(err)
		}
		page, err := q.List(Filter{})
		jobs := page.Jobs
		if err != nil || len(jobs) != 1 || !jobs[0].Spooled || jobs[0].Content != s.Content || jobs[0].State != Queued {
			t.Fatalf("there are %+v, %v", jobs, err)
		}
		if known, err := q.Seen(s.Path, s.Size, s.ModTime); err != nil || !known {
			t.Errorf("its file would be noticed anew: %v", err)
		}
		return jobs[0]
	}
	held := func() bool {
		return slices.ContainsFunc(q.Holds(), func(h Hold) bool { return h.Cause == Profile })
	}
	if j := configure(transcribe, nil); j.ID != first.ID {
		t.Errorf("nothing has changed, and it is job %d", j.ID)
	}
	for range 2 {
		if j := configure(Options{}, &mistake); j.HeldBy != Profile || j.Error != mistake.Reason || !held() {
			t.Errorf("its profile cannot be understood: %+v, held %v", j, held())
		}
		if task := claim(t, q); task.Job.ID != 0 {
			t.Errorf("it is to be sent: %+v", task)
		}
	}
	tables := Options{Action: "tables", Formats: []string{"xlsx"}, DeleteRemote: true}
	j := configure(tables, nil)
	if j.Options.Action != "tables" || j.HeldBy != "" || held() {
		t.Errorf("its profile is mended: %+v, held %v", j, held())
	}
	if task := claim(t, q); task.Job.ID != j.ID {
		t.Errorf("job %d is next, want %d", task.Job.ID, j.ID)
	}
}

// TestConfigureWhileAFolderHangs: nothing is locked while it is asked what is
// wanted, and a scan that is added meanwhile is asked for, too.
func TestConfigureWhileAFolderHangs(t *testing.T) {
	q := open(t)
	jobs := add(t, q, scan("/scans/a.pdf", "a"))
	docx := transcribe
	docx.Formats = []string{"docx"}
	var asked []string
	err := q.Configure("/scans", transcribe, func(path string) (Options, *Hold) {
		asked = append(asked, path)
		if !q.mu.TryLock() {
			t.Fatal("the queue is locked")
		}
		q.mu.Unlock()
		if len(asked) == 1 {
			jobs = append(jobs, add(t, q, scan("/scans/b.pdf", "b"))...)
		}
		return docx, nil
	})
	if err != nil || !slices.Equal(asked, []string{"/scans/a.pdf", "/scans/b.pdf"}) {
		t.Errorf("it asked for %q, %v", asked, err)
	}
	for _, j := range jobs {
		if j := get(t, q, j.ID); !slices.Equal(j.Options.Formats, docx.Formats) {
			t.Errorf("%s has formats %v, want docx", j.Path, j.Options.Formats)
		}
	}
}

// TestDamagedRecord: a record that was changed behind our back is named, and
// nothing is done on its word.
func TestDamagedRecord(t *testing.T) {
	damage := map[string]func(record []byte) []byte{
		"a flipped bit": func(r []byte) []byte { r[len(r)/2] ^= 1; return r },
		"cut off":       func(r []byte) []byte { return r[:3] },
		"cut short":     func(r []byte) []byte { return r[:len(r)-1] },
		"newer":         func(r []byte) []byte { r[0] = 9; return r },
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			q := open(t)
			defer q.Close() // before it is checked
			jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
			err := q.update(func(b *tx) error {
				b.put(bucketJobs, key64(jobs[0].ID), f(bytes.Clone(b.get(bucketJobs, key64(jobs[0].ID)))))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("job %d", jobs[0].ID)
			_, get := q.Get(jobs[0].ID)
			_, retry := q.Retry(jobs[0].ID, true)
			for what, err := range map[string]error{"Get": get, "Retry": retry} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want an error that names %s", what, err, want)
				}
			}
			page, err := q.List(Filter{})
			if err != nil || len(page.Jobs) != 2 || !strings.Contains(page.Jobs[1].Error, want) {
				t.Errorf("List: %+v, %v; want both, one with the error", page.Jobs, err)
			}
			// Nobody else is stopped.
			task, err := q.Claim(t.Context())
			if err != nil || task.Job.ID != jobs[1].ID {
				t.Errorf("Claim: job %d, %v; want the other one", task.Job.ID, err)
			}
			if _, err := q.Get(jobs[1].ID); err != nil {
				t.Errorf("the other job: %v", err)
			}
			// The scan itself is what counts.
			if added, err := q.Add(scan("/scans/a.pdf", "changed")); err != nil || added[0].Known {
				t.Errorf("its file is found again: %+v, %v", added, err)
			}
		})
	}
}

// TestPathsThatAreNotText: names on old shares are bytes, and come back as they
// were.
func TestPathsThatAreNotText(t *testing.T) {
	q := open(t)
	const path = "/scans/caf\xe9 \\x00.pdf"
	j := add(t, q, scan(path, "a"))[0]
	if got, err := q.ByPath(path); err != nil || got.ID != j.ID || got.Path != path {
		t.Errorf("%q came back as %q, %v", path, got.Path, err)
	}
	if seen, err := q.Seen(path, j.Size, j.ModTime); err != nil || !seen {
		t.Errorf("%q is not known: %v", path, err)
	}
}

func TestStoryIsBounded(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	for range 60 {
		step(t, q, Upload, a.ID, Sending{}, Held{Hold{Cause: Refused, Folder: "/scans", Reason: "no such prompt"}})
		if _, err := q.Release("all"); err != nil {
			t.Fatal(err)
		}
	}
	story, err := q.Story(a.ID)
	if err != nil || len(story) != storyLength || story[0].What != "noticed" || story[len(story)-1].Note != "no such prompt" {
		t.Errorf("%d events, from %+v to %+v, %v", len(story), story[0], story[len(story)-1], err)
	}
}

func TestMark(t *testing.T) {
	// Computed once with Python's hmac, hashlib and base64.
	const known = "sdAB12-6n62zll4jykbnilt"
	i := Installation{Name: "AB12", Key: bytes.Repeat([]byte{7}, 32)}
	identity := Identity(Digest{1, 2, 3}, Options{Action: "extractor", ExtractorID: "ex", PromptID: ""})
	if got := i.Mark(identity, 2); got != known {
		t.Errorf("mark %q, want %q", got, known)
	}
	marks := map[string]bool{}
	other := Installation{Name: "AB12", Key: bytes.Repeat([]byte{8}, 32)}
	for _, m := range []string{
		i.Mark(identity, 0), i.Mark(identity, 1), i.Mark(identity, 2), other.Mark(identity, 0), i.Mark(Digest{9}, 0),
		Installation{Name: "CD34", Key: i.Key}.Mark(identity, 0),
	} {
		if marks[m] {
			t.Errorf("%q is there twice", m)
		}
		marks[m] = true
	}
}

func TestIdentity(t *testing.T) {
	seen := map[Digest]Options{}
	for _, o := range []Options{
		{}, {Action: "tables"}, {Action: "extractor", ExtractorID: "ab"}, {Action: "extractor", PromptID: "ab"},
		{Action: "extractor", ExtractorID: "a", PromptID: "b"}, {Action: "extractora", ExtractorID: "b"},
	} {
		id := Identity(Digest{1}, o)
		if other, ok := seen[id]; ok {
			t.Errorf("%+v and %+v are the same work", o, other)
		}
		seen[id] = o
		o.Formats, o.DeleteRemote, o.MoveDone = []string{"docx"}, true, "/done"
		if Identity(Digest{1}, o) != id {
			t.Error("formats or folders are part of it")
		}
	}
	if Identity(Digest{1}, Options{}) == Identity(Digest{2}, Options{}) {
		t.Error("the content is not part of it")
	}
}

func TestDigestText(t *testing.T) {
	d := Digest{0, 1, 0xfe, 31: 0xff}
	b, err := json.Marshal(d)
	if err != nil || len(b) != 66 {
		t.Fatalf("%s, %v", b, err)
	}
	var back Digest
	if err := json.Unmarshal(b, &back); err != nil || back != d || back.String() != d.String() {
		t.Errorf("%v, %v; want %v", back, err, d)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("0", 66), strings.Repeat("g", 64)} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestRecord: what is written is what is read.
func TestRecord(t *testing.T) {
	for _, s := range States {
		for _, j := range jobsIn(s)[:20] {
			record, err := encode(j)
			if err != nil {
				t.Fatal(err)
			}
			back, err := decode(record)
			if err != nil || text(t, back) != text(t, j) {
				t.Fatalf("%s, %v; want %s", text(t, back), err, text(t, j))
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	record, err := encode(jobsIn(Processing)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, record []byte) {
		j, err := decode(record)
		if err != nil {
			return
		}
		again, err := encode(j)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || text(t, back) != text(t, j) {
			t.Errorf("%v, %v; want %v", back, err, j)
		}
	})
}

func FuzzUploadName(f *testing.F) {
	for _, name := range []string{
		"letter.pdf", "ärztlicher Brief (2).PDF", ".pdf", "", "a/b", `a\b:c*?"<>|;%.pdf`, "\x00\r\n\t", "\xff\xfe.jpg",
		strings.Repeat("ü", 300), strings.Repeat("日", 100) + ".tif", "a\u202egpj.pdf", "..", "a.b.c.d",
	} {
		f.Add(name)
	}
	const mark = "sdAB12-k7f3q2m4x5n6p7r2"
	f.Fuzz(func(t *testing.T, name string) {
		got := Job{Path: "/scans/" + name, Mark: mark, Ext: ".pdf"}.UploadName()
		switch {
		case !utf8.ValidString(got):
			t.Errorf("%q: %q is not UTF-8", name, got)
		case len(got) > 200:
			t.Errorf("%q: %d bytes", name, len(got))
		case !strings.HasSuffix(got, "."+mark+".pdf"):
			t.Errorf("%q: %q does not end in the mark and the extension", name, got)
		case strings.ContainsAny(got, `/\:*?"<>|;%`) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Errorf("%q: %q could upset a header or a file system", name, got)
		}
	})
}

func TestToday(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		finish := func(name string) {
			t.Helper()
			if _, err := q.Cancel(add(t, q, scan("/in/"+name, name))[0].ID); err != nil {
				t.Fatal(err)
			}
		}
		want := func(cancelled int) {
			t.Helper()
			if d, err := q.Today(); err != nil || d != (Day{Cancelled: cancelled}) {
				t.Errorf("%+v, %v; want %d cancelled", d, err, cancelled)
			}
		}
		want(0)
		finish("a")
		finish("b")
		want(2)
		for range 2 * daysKept {
			time.Sleep(24 * time.Hour)
			want(0)
			finish(time.Now().Format(time.DateOnly))
			want(1)
		}
		n := 0
		q.db.View(func(b *bbolt.Tx) error {
			c := b.Bucket(bucketMeta).Cursor()
			for k, _ := c.Seek([]byte(dayPrefix)); bytes.HasPrefix(k, []byte(dayPrefix)); k, _ = c.Next() {
				n++
			}
			return nil
		})
		if n > daysKept+1 {
			t.Errorf("%d days are kept", n)
		}
	})
}

func TestSearch(t *testing.T) {
	q := open(t)
	for i := range 30 {
		add(t, q, scan(fmt.Sprintf("/in/Letter %d.pdf", i), fmt.Sprint(i)))
	}
	var found []string
	for j, err := range q.All(Filter{Text: "lETTER 2", Limit: 4}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, filepath.Base(j.Path))
	}
	if len(found) != 11 || found[0] != "Letter 29.pdf" || found[10] != "Letter 2.pdf" {
		t.Errorf("%q", found)
	}
	if page, err := q.List(Filter{Text: "/in/"}); len(page.Jobs) != 30 || page.Next != 0 || err != nil {
		t.Errorf("%d jobs, next %d, %v", len(page.Jobs), page.Next, err)
	}
}

// TestPanicAfterCommit: a fault in what follows a change locks nobody out.
func TestPanicAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		fault := func(error) error { panic("a fault") }
		if err := q.change(func(*tx) error { return nil }, fault); !errors.Is(err, ErrDamaged) {
			t.Errorf("it panicked: %v", err)
		}
		add(t, q, scan("/scans/a.pdf", "a"))
	})
}

// TestClaimToldToStop: what is handed to one who is told to stop at that instant is
// given back.
func TestClaimToldToStop(t *testing.T) {
	q := open(t)
	add(t, q, scan("/scans/a.pdf", "a"))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for range 50 { // which of the two is seen first is chance
		task := claim(t, q)
		if task.Step != Upload {
			t.Fatal("a task was lost")
		}
		q.claiming <- struct{}{} // another looks for work
		handed := make(chan struct{})
		go func() {
			select {
			case q.found <- task:
			case <-handed:
				q.mu.Lock()
				q.unclaim(task)
				q.mu.Unlock()
			}
			handed <- struct{}{}
		}()
		runtime.Gosched()
		if task, err := q.Claim(stopped); err == nil {
			t.Fatalf("%s is handed out", task.Step)
		}
		select {
		case handed <- struct{}{}:
			<-handed
		case <-handed:
		}
		<-q.claiming
	}
}

// TestStoryDamaged: no job stands still for its story.
func TestStoryDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		err := q.update(func(t *tx) error {
			t.put(bucketStory, key64(j.ID), []byte{packedStory, 0xff, 0xff})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		finish(t, q, j.ID)
		story, err := q.Story(j.ID)
		if err != nil || len(story) < 2 || story[0].What != "damaged" || story[len(story)-1].State != Done {
			t.Errorf("%v, %v", story, err)
		}
	})
}
