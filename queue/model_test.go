package queue

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// TestModel drives a queue with everything that can happen to it, in any order,
// crashes included, and holds it against plain maps after each step. It is kept
// short; after a change to the queue run it with -rapid.checks=2000.
func TestModel(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("30"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		m := &model{
			path: filepath.Join(dir, fmt.Sprint(n)), jobs: map[uint64]Job{}, allowed: map[Digest]int{}, spent: map[Digest]int{}, paid: map[Digest]bool{},
			living: map[string]uint64{}, remote: map[string]string{}, options: map[string]Options{},
		}
		for _, f := range modelFolders {
			m.options[f] = transcribe
		}
		inBubble(t, func() {
			m.open(rt)
			defer func() { m.q.Close() }()
			rt.Repeat(map[string]func(*rapid.T){
				"":          m.check,
				"add":       m.add,
				"add more":  m.add,
				"claim":     m.claim,
				"claim two": m.claim,
				"report":    m.report,
				"report on": m.report,
				"crash":     m.crash,
				"by hand":   m.byHand,
				"hold":      m.hold,
				"configure": m.configure,
				"reserve":   m.reserve,
				"rebuild":   m.rebuild,
				"look":      m.look,
				"wait":      m.wait,
				"journal":   m.write,
				"snapshot":  m.snapshot,
			})
			m.restore(rt)
		})
	})
}

// inBubble runs f in a synctest bubble of its own, so that rapid's own clock
// goes on outside, and hands on the panics by which rapid ends a run.
func inBubble(t *testing.T, f func()) {
	t.Helper()
	var thrown any
	synctest.Test(t, func(*testing.T) {
		defer func() { thrown = recover() }()
		f()
	})
	if thrown != nil {
		panic(thrown)
	}
}

var (
	modelFolders = []string{"/scans", "/forms"}
	transcribe   = Options{Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: true}
)

// A model is what a person with a pencil would know of the queue.
type model struct {
	q    *Queue
	path string

	jobs    map[uint64]Job     // as last seen
	tasks   []Task             // that workers have
	options map[string]Options // of folders

	// How often content may have been accepted by the service: the first time
	// is free; each further needs a person, or a look-up that found nothing.
	allowed, spent map[Digest]int

	paid map[Digest]bool // a document was made

	documents int
	living    map[string]uint64 // documents that have to go, and whose they are
	remote    map[string]string // documents at the service, and their marks
	listed    []Stray           // what the service's list said when the census began
	rebuilt   time.Time         // when the queue was restored, until the list was read long enough after

	journal   []Entry // its lines
	copied    string  // the last snapshot; "" if there is none
	snapshots int
}

func (m *model) open(t *rapid.T) {
	t.Helper()
	q, err := Open(Config{Path: m.path, Installation: Installation{Name: "AB12", Key: []byte("key")}, Timeout: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	q.db.NoSync = true // a crash of the process, not of the machine; and many of them
	m.q = q
}

// write moves entries from the outbox to the journal, of which some may be there
// already, and may be cut off before it says so.
func (m *model) write(t *rapid.T) {
	entries, err := m.q.Outbox(0, rapid.IntRange(1, 5).Draw(t, "entries"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := len(m.journal); n == 0 || e.Seq > m.journal[n-1].Seq {
			m.journal = append(m.journal, e)
		}
	}
	if len(entries) == 0 || rapid.Bool().Draw(t, "cut off") {
		return
	}
	head := Head{Seq: m.journal[len(m.journal)-1].Seq, Hash: Digest{rapid.Byte().Draw(t, "hash")}}
	if err := m.q.Acknowledge(head); err != nil {
		t.Fatal(err)
	}
	if is, err := m.q.Head(); is != head || err != nil {
		t.Fatalf("the head is %v, %v, want %v", is, err, head)
	}
	if entries, err := m.q.Outbox(0, 1); err != nil || len(entries) > 0 && entries[0].Seq <= head.Seq {
		t.Fatalf("what was acknowledged waits on: %v, %v", entries, err)
	}
}

func (m *model) snapshot(t *rapid.T) {
	m.snapshots++
	m.copied = fmt.Sprint(m.path, "-", m.snapshots)
	if err := m.q.Snapshot(m.copied); err != nil {
		t.Fatal(err)
	}
}

// told is all that was told of ends, in the journal and the outbox.
func (m *model) told(t *rapid.T) []Entry {
	told := slices.Clone(m.journal)
	entries, err := m.q.Outbox(0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if n := len(told); n == 0 || e.Seq > told[n-1].Seq {
			told = append(told, e)
		}
	}
	for i, e := range told {
		if e.Seq != uint64(i)+1 {
			t.Fatalf("entry %d has the number %d", i+1, e.Seq)
		}
	}
	return told
}

// restore loses the queue, and makes of its last snapshot, or of nothing, and of
// the journal, another one that knows every end, and pays for nothing again.
func (m *model) restore(t *rapid.T) {
	for _, path := range slices.Compact([]string{m.path + "-empty", cmp.Or(m.copied, m.path+"-empty")}) {
		q, err := Open(Config{Path: path, Installation: Installation{Name: "AB12", Key: []byte("key")}, Timeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		q.db.NoSync = true
		head, known := Head{}, uint64(0)
		err = q.read(func(b *tx) (err error) {
			known = b.Bucket(bucketOutbox).Sequence()
			head, err = b.head()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		after := func(yield func(Entry, error) bool) {
			for _, e := range m.journal {
				text, err := json.Marshal(e)
				var read Entry
				if err == nil {
					err = json.Unmarshal(text, &read)
				}
				if e.Seq > head.Seq && !yield(read, err) {
					return
				}
			}
		}
		last := Head{Seq: uint64(len(m.journal)), Hash: Digest{1}}
		if _, err := q.Replay(after, last); err != nil {
			t.Fatal(err)
		}
		check(t, q)
		if n, err := q.Replay(after, last); n != 0 || err != nil {
			t.Fatalf("replayed once more: %d entries were new, %v", n, err)
		}
		check(t, q)
		jobs := map[uint64]Job{}
		for j, err := range q.All(Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			jobs[j.ID] = j
		}
		ends := map[uint64]Entry{}
		for _, e := range m.journal {
			if e.Seq > known {
				ends[e.ID] = e
			}
			err := q.read(func(b *tx) error {
				if is := b.identity(e.Identity); is.Paid < e.Paid || is.Resends < e.Resends {
					return fmt.Errorf("entry %d was paid for %d times, sent again %d times, and is known as %+v", e.Seq, e.Paid, e.Resends, is)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for id, e := range ends {
			if !sameEnd(jobs[id], e.Job) {
				t.Fatalf("job %d ended as %+v, and was restored as %+v", id, e.Job, jobs[id])
			}
		}
		for id, j := range jobs {
			err := q.read(func(b *tx) error {
				if j.State == Queued && !j.Due.IsZero() && j.Twin == 0 && j.Resend == 0 && j.Resent == 0 && b.identity(j.Identity).Paid > 0 {
					return fmt.Errorf("job %d was paid for and is to be sent", id)
				}
				twin, err := b.job(j.Twin)
				if j.State == Queued && j.Due.IsZero() && (err != nil || twin.State.Final()) {
					return fmt.Errorf("job %d waits for job %d, which is %q", id, j.Twin, twin.State)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		// What ends now has numbers that the journal does not have.
		added, err := q.Add(Scan{Folder: "/scans", Path: "/scans/new.pdf", ModTime: time.Now(), Reject: "empty"})
		if err != nil || jobs[added[0].Job.ID].ID != 0 {
			t.Fatalf("job %d has the number of another, %v", added[0].Job.ID, err)
		}
		entries, err := q.Outbox(0, 1<<20)
		if err != nil || len(entries) == 0 || entries[0].Seq <= last.Seq {
			t.Fatalf("the journal ends with %d, and the outbox begins with %+v, %v", last.Seq, entries, err)
		}
		// Nothing is told twice, and nothing is left untold.
		for _, e := range entries {
			for _, line := range m.journal {
				if line.ID == e.ID && sameEnd(line.Job, e.Job) && line.At.Equal(e.At) {
					t.Fatalf("entry %d waits, and is line %d of the journal", e.Seq, line.Seq)
				}
			}
		}
		ended(t, q, append(slices.Clone(m.journal), entries...))
	}
}

// sameEnd reports whether b tells of the job's end as a is.
func sameEnd(a, b Job) bool {
	return a.State == b.State && a.Path == b.Path && a.Content == b.Content && a.Identity == b.Identity && a.Finished.Equal(b.Finished) &&
		a.Document == b.Document && slices.Equal(a.Trash, b.Trash) && a.Moved == b.Moved && a.Source == b.Source && a.Deleted.Equal(b.Deleted)
}

// ended holds the jobs that are at their end against what was told of them.
func ended(t rapid.TB, q *Queue, told []Entry) {
	t.Helper()
	last := map[uint64]Entry{}
	for _, e := range told {
		last[e.ID] = e
	}
	for j, err := range q.All(Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if j.State.Final() && !sameEnd(j, last[j.ID].Job) {
			t.Fatalf("job %d is at its end: %+v; the last that was told of it is %+v", j.ID, j, last[j.ID])
		}
	}
}

func (m *model) add(t *rapid.T) {
	folder := rapid.SampledFrom(modelFolders).Draw(t, "folder")
	s := Scan{
		Folder: folder, Path: folder + "/" + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name") + ".pdf", Ext: ".pdf",
		Size: rapid.Int64Range(1, 9).Draw(t, "size"), ModTime: time.Now(),
		Content: Digest{rapid.SampledFrom([]byte{1, 2, 3}).Draw(t, "content")}, Options: m.options[folder],
	}
	switch rapid.IntRange(0, 9).Draw(t, "oddity") {
	case 0:
		s.Reject = "not a scan"
	case 1:
		s.Content, s.Reject = Digest{}, "not readable"
	}
	before, _ := m.q.ByPath(s.Path)
	added, err := m.q.Add(s)
	if err != nil {
		t.Fatal(err)
	}
	a := added[0]
	t.Logf("added %s: job %d %s, known %v, replaced %d", s.Path, a.Job.ID, a.Job.State, a.Known, a.Replaced)
	if a.Known != (a.Job.ID == before.ID) {
		t.Fatalf("job %d had the path; now %d has it, known: %v", before.ID, a.Job.ID, a.Known)
	}
	if a.Replaced != 0 {
		if a.Replaced != before.ID || before.Content == s.Content && m.paid[before.Identity] {
			t.Fatalf("job %d was replaced by job %d", a.Replaced, a.Job.ID)
		}
		m.drop(before)
	}
	m.jobs[a.Job.ID] = a.Job
	if a.Job.State == Processing && !a.Known {
		m.found(t, a.Job)
	}
	if seen, err := m.q.Seen(s.Path, s.Size, s.ModTime); err != nil || !seen {
		t.Fatalf("what was added was not seen: %v", err)
	}
}

func (m *model) drop(j Job) { delete(m.jobs, j.ID) }

func (m *model) wait(t *rapid.T) {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 25 * time.Hour}).Draw(t, "time"))
}

func (m *model) claim(t *rapid.T) {
	patience := rapid.SampledFrom([]time.Duration{0, 5 * time.Second, 10 * time.Minute, 2 * time.Hour}).Draw(t, "patience")
	ctx, cancel := context.WithTimeout(context.Background(), patience+1)
	defer cancel()
	task, err := m.q.Claim(ctx)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		return
	}
	t.Logf("claimed job %d to %s", task.Job.ID, task.Step)
	for _, other := range m.tasks {
		if other.Job.ID == task.Job.ID && (task.Job.ID != 0 || other.Step == task.Step) {
			t.Fatalf("%s of job %d was handed out twice", task.Step, task.Job.ID)
		}
	}
	switch task.Step {
	case Probe:
	case Census:
		m.listed = m.list()
	case Sweep:
		m.unneeded(t, task.Stray)
	default:
		if task.Job.Due.IsZero() || task.Job.Due.After(time.Now()) {
			t.Fatalf("job %d is due at %v", task.Job.ID, task.Job.Due)
		}
		if want := m.step(task.Job); task.Step != want {
			t.Fatalf("job %d is %s and to be taken to %s, want %s", task.Job.ID, task.Job.State, task.Step, want)
		}
	}
	m.tasks = append(m.tasks, task)
}

func (m *model) step(j Job) Step {
	switch {
	case j.State == Queued && j.Twin != 0:
		return Copy
	case j.State == Queued:
		return Upload
	case j.State == Doubtful:
		return LookUp
	case j.State == Processing:
		return Collect
	}
	return Delete
}

// trouble is what can go wrong with any step.
func (m *model) trouble(j Job) []Outcome {
	return []Outcome{
		Retry{Err: errTrouble}, Retry{Err: errTrouble, After: time.Minute}, Interrupted{},
		Held{Hold{Cause: Token, Reason: "no"}}, Held{Hold{Cause: Room, Folder: j.Folder, Reason: "full"}}, Held{Hold{Cause: Credits, Reason: "none"}},
	}
}

func (m *model) report(t *rapid.T) {
	if len(m.tasks) == 0 {
		t.Skip("nobody works")
	}
	i := rapid.IntRange(0, len(m.tasks)-1).Draw(t, "worker")
	task := m.tasks[i]
	var can []Outcome
	doc := fmt.Sprintf("doc%d", m.documents)
	j := task.Job
	if task.Step == Census || task.Step == Sweep {
		m.tasks = slices.Delete(m.tasks, i, i+1)
		m.chore(t, task)
		return
	}
	switch {
	case task.Step == Probe:
		can = []Outcome{Answered{}, Answered{}, Held{Hold{Cause: Token, Reason: "no"}}, Retry{Err: errTrouble}}
	case task.Step == Copy:
		can = append(m.trouble(j), Collected{}, Collected{}, Reject{Err: errTrouble})
	case task.Step == Upload && j.State == Queued:
		can = append(m.trouble(j)[:3], Sending{}, Sending{}, Sending{}, Sending{}, Sending{}, Sending{}, Reject{Err: errTrouble}, Changed{})
	case task.Step == Upload:
		can = append(m.trouble(j), Uploaded{Document: doc}, Uploaded{Document: doc}, Uploaded{Document: doc, Twins: []string{doc + "late"}},
			Unanswered{Err: errTrouble}, Unanswered{Err: errTrouble}, Reject{Err: errTrouble}, Changed{})
	case task.Step == LookUp:
		can = append(m.trouble(j), Uploaded{Document: doc}, Uploaded{Document: doc, Twins: []string{doc + "late"}}, NotFound{}, NotFound{Later: true}, NotFound{Nameless: true})
	case task.Step == Collect:
		can = append(m.trouble(j), Pending{}, Collected{}, Collected{}, Collected{}, Reject{Err: errTrouble}, Fail{Err: errTrouble}, Gone{Err: errTrouble})
	default:
		all := Deleted{Documents: j.Doomed(time.Now())}
		if j.MoveTo() != "" {
			all.Moved = "/elsewhere/" + filepath.Base(j.Path)
		}
		can = append(m.trouble(j), all, all, all, Deleted{Documents: all.Documents[:len(all.Documents)/2]}, Deleted{Stays: true})
	}
	o := rapid.SampledFrom(can).Draw(t, "outcome")

	before, inQueue := m.jobs[j.ID], true
	if task.Step != Probe {
		_, inQueue = m.jobs[j.ID]
	}
	if _, sending := o.(Sending); sending {
		m.spent[j.Identity]++
	}
	now, err := m.q.Report(task, o)
	_, moved := errors.AsType[*MoveError](err)
	t.Logf("job %d, %s: %s → %s, %v", j.ID, task.Step, o.kind(), now.State, err)
	switch {
	case errors.Is(err, ErrHeld):
		m.spent[j.Identity]--
		m.tasks[i].holds = nil
		if found, err := m.q.Get(j.ID); err == nil && found.State == Processing {
			m.jobs[j.ID] = found
			m.found(t, found)
		}
		return // the task is still the worker's
	case moved && before.State != j.State, errors.Is(err, ErrNoJob) && !inQueue:
		if o == (Sending{}) {
			m.spent[j.Identity]--
		}
		m.tasks = slices.Delete(m.tasks, i, i+1)
		return
	case err != nil:
		t.Fatal(err)
	}
	if o == (Sending{}) {
		m.tasks[i].Job = now
	} else {
		m.tasks = slices.Delete(m.tasks, i, i+1)
	}
	if task.Step == Probe {
		return
	}
	m.jobs[j.ID] = now
	m.account(t, before, now, o)
}

// account draws what an outcome means for money and documents.
func (m *model) account(t *rapid.T, before, now Job, o Outcome) {
	t.Helper()
	switch o := o.(type) {
	case Sending:
		if !m.rebuilt.IsZero() {
			t.Fatalf("job %d is sent though the list was not read since the queue was restored", now.ID)
		}
		if m.spent[now.Identity] > max(1, m.allowed[now.Identity]+1) {
			t.Fatalf("job %d is sent, the content for the %dth time, but only %d were asked for", now.ID, m.spent[now.Identity], m.allowed[now.Identity]+1)
		}
		for _, other := range m.jobs {
			if other.ID != now.ID && other.Mark == now.Mark && (other.State == Uploading || other.State == Doubtful || other.State == Processing) {
				t.Fatalf("jobs %d and %d are under way with the same mark", now.ID, other.ID)
			}
		}
	case Retry, Reject, Changed, Interrupted, Held:
		if before.State == Uploading { // nothing was accepted
			m.spent[before.Identity]--
		}
	case Unanswered:
		if rapid.Bool().Draw(t, "it arrived") {
			m.documents++
			m.remote[fmt.Sprintf("doc%d lost", m.documents)] = before.Mark
		}
	case NotFound:
		if now.State != Doubtful {
			m.allowed[before.Identity]++
		}
	case Uploaded:
		m.documents++
		m.paid[now.Identity] = true
		for _, d := range append([]string{o.Document}, o.Twins...) {
			m.remote[d] = now.Mark
		}
		m.living[o.Document] = now.ID
		if !now.Options.DeleteRemote && now.State != Cancelled {
			delete(m.living, o.Document)
		}
		for _, d := range o.Twins {
			m.living[d] = now.ID
		}
	case Gone:
		delete(m.living, before.Document)
		delete(m.remote, before.Document)
	case Deleted:
		for _, d := range o.Documents {
			delete(m.remote, d)
			delete(m.living, d)
		}
	}
	if now.State == removed {
		m.drop(before)
	}
	if now.State == Cancelled && before.Document != "" {
		m.living[before.Document] = now.ID
	}
	// The queue promises to the worker what it keeps.
	if kept, err := m.q.Get(now.ID); now.State != removed && (err != nil || kept.State != now.State) {
		t.Fatalf("job %d was reported %s, but is %s, %v", now.ID, now.State, kept.State, err)
	}
}

// crash ends the process at any moment: workers are gone, the file stays.
func (m *model) crash(t *rapid.T) {
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.q.Counts(); !errors.Is(err, ErrClosed) {
		t.Fatalf("a closed queue says %v", err)
	}
	m.tasks = nil
	m.open(t)
	for id, j := range m.jobs {
		if j.State == Uploading {
			j.State = Doubtful
			m.jobs[id] = j
		}
	}
}

func (m *model) byHand(t *rapid.T) {
	if len(m.jobs) == 0 {
		t.Skip("no jobs")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.jobs))).Draw(t, "job")
	what := rapid.SampledFrom([]string{"retry", "pay", "cancel", "forget"}).Draw(t, "what")
	j, err := m.q.Get(id)
	if err != nil {
		t.Fatal(err)
	}
	busy := slices.ContainsFunc(m.tasks, func(task Task) bool { return task.Job.ID == id })
	paid := m.paid[j.Identity]
	var now Job
	switch what {
	case "cancel":
		now, err = m.q.Cancel(id)
	case "forget":
		now, err = m.q.Forget(id)
	default:
		now, err = m.q.Retry(id, what == "pay")
	}
	t.Logf("%s job %d, which is %s: %s, %v", what, id, j.State, now.State, err)
	refused, _ := errors.AsType[*RefusedError](err)
	if err != nil && refused == nil {
		t.Fatal(err)
	}
	after, gone := m.q.Get(id)
	switch {
	case refused != nil:
		if after.State != j.State || gone != nil {
			t.Fatalf("it was refused (%v), but the job is %s, %v", err, after.State, gone)
		}
		return
	case what == "forget":
		if !j.State.Final() || busy || gone == nil {
			t.Fatalf("job %d, which is %s, was forgotten (%v)", id, j.State, gone)
		}
		for d, owner := range m.living {
			if owner == id {
				t.Fatalf("job %d was forgotten while its document %s lives", id, d)
			}
		}
		m.drop(j)
		return
	case what == "cancel":
		if j.State.Final() || after.State != Cancelled && !after.Cancel {
			t.Fatalf("job %d was %s and is %s", id, j.State, after.State)
		}
		if j.State == Doubtful && after.State == Cancelled {
			m.allowed[j.Identity]++ // a person settled it
		}
		if after.State == Cancelled && j.Document != "" {
			m.living[j.Document] = id
		}
	case j.Content.IsZero():
		if gone == nil {
			t.Fatalf("job %d of an unreadable file is still there", id)
		}
		m.drop(j)
		return
	default:
		if busy || j.State == Done && what != "pay" {
			t.Fatalf("job %d, which is %s, was retried (busy: %v)", id, j.State, busy)
		}
		if after.State == Queued && (paid || j.State == Doubtful) {
			m.allowed[j.Identity]++
		}
		if j.State == Failed && j.Document != "" && after.State == Queued {
			t.Fatalf("job %d has a document and is sent all the same", id)
		}
	}
	m.jobs[id] = after
}

func (m *model) hold(t *rapid.T) {
	if rapid.Bool().Draw(t, "release") {
		key := "all"
		if holds := m.q.Holds(); len(holds) > 0 && rapid.Bool().Draw(t, "one") {
			key = rapid.SampledFrom(holds).Draw(t, "hold").Key()
		}
		before := len(m.q.Holds())
		n, err := m.q.Release(key)
		left := m.q.Holds()
		if key == string(Rebuilt) {
			m.rebuilt = time.Time{}
		}
		if after := len(left); err != nil || before-after != n || key == "all" && slices.ContainsFunc(left, func(h Hold) bool { return h.Cause != Rebuilt }) {
			t.Fatalf("released %d of %d holds, %d are left, %v", n, before, after, err)
		}
		return
	}
	h := Hold{Cause: rapid.SampledFrom([]Cause{Token, Address, Credits}).Draw(t, "cause"), Reason: "trouble"}
	if rapid.Bool().Draw(t, "of a folder") {
		h = Hold{Cause: rapid.SampledFrom([]Cause{Refused, Missing, Room}).Draw(t, "cause"), Folder: rapid.SampledFrom(modelFolders).Draw(t, "folder"), Reason: "trouble"}
	}
	if err := m.q.Hold(h); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(m.q.Holds(), func(other Hold) bool { return other.Key() == h.Key() }) {
		t.Fatalf("%s does not stand", h.Key())
	}
}

func (m *model) configure(t *rapid.T) {
	folder := rapid.SampledFrom(modelFolders).Draw(t, "folder")
	o := transcribe
	switch rapid.IntRange(0, 4).Draw(t, "options") {
	case 0:
		o.Action, o.Formats = "tables", []string{"xlsx"}
	case 1:
		o.Formats = []string{"txt", "docx"}
	case 2:
		o.DeleteRemote = false
	case 3:
		o.MoveDone, o.MoveFailed = "/done", "/failed"
	}
	m.options[folder] = o
	if err := m.q.Configure(folder, o, nil); err != nil {
		t.Fatal(err)
	}
	for _, j := range slices.Collect(maps.Values(m.jobs)) {
		busy := slices.ContainsFunc(m.tasks, func(task Task) bool { return task.Job.ID == j.ID })
		// What was sent again, or is to be, has a past that must not be lost.
		if j.Folder != folder || j.State != Queued || j.Resent > 0 || j.Resend > 0 || len(j.Trash) > 0 || busy {
			continue
		}
		now, err := m.q.Get(j.ID)
		switch {
		case j.Options.Action == o.Action:
			if err != nil || !now.Options.equal(o) && now.State == Queued {
				t.Fatalf("job %d waits with %+v, want %+v, %v", j.ID, now.Options, o, err)
			}
		case errors.Is(err, ErrNoJob):
			if seen, _ := m.q.Seen(j.Path, j.Size, j.ModTime); seen && m.newest(j) {
				t.Fatalf("job %d was dropped, but its file will not be noticed again", j.ID)
			}
			m.drop(j)
		default:
			t.Fatalf("job %d is other work now, but waits on, %v", j.ID, err)
		}
	}
}

// newest reports whether no later job has the path.
func (m *model) newest(j Job) bool {
	for _, other := range m.jobs {
		if other.Path == j.Path && other.ID > j.ID {
			return false
		}
	}
	return true
}

func (m *model) reserve(t *rapid.T) {
	var ids []uint64
	for id, j := range m.jobs {
		if j.State == Processing || j.State == Queued && j.Twin != 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("nothing is collected")
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "job")
	path := m.jobs[id].Path + rapid.SampledFrom([]string{".txt", " (2).txt"}).Draw(t, "name")
	claim, err := m.q.Reserve(id, "txt", path, Digest{rapid.Byte().Draw(t, "content")})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range m.jobs {
		if other.Path == m.jobs[id].Path && other.ID > id && claim.Mine {
			if now, err := m.q.Get(other.ID); err == nil && now.owns(path) {
				t.Fatalf("job %d took %s from job %d, which is newer", id, path, other.ID)
			}
		}
	}
}

func (j Job) owns(path string) bool {
	return slices.ContainsFunc(j.Results, func(r Result) bool { return r.Path == path })
}

// check holds the queue against the model.
func (m *model) check(t *rapid.T) {
	listed := map[uint64]Job{}
	for j, err := range m.q.All(Filter{Limit: 8}) {
		if err != nil {
			t.Fatal(err)
		}
		listed[j.ID] = j
	}
	for id, j := range m.jobs {
		now, ok := listed[id]
		if !ok {
			t.Fatalf("job %d, which was %s, is lost", id, j.State)
		}
		if now.State != j.State {
			// Only a twin's end moves a job that nobody touched.
			if j.State != Queued || now.State != Rejected || j.Twin == 0 || !m.paid[j.Identity] {
				t.Fatalf("job %d went from %s to %s by itself", id, j.State, now.State)
			}
		}
		m.jobs[id] = now
	}
	for id := range listed {
		if _, ok := m.jobs[id]; !ok {
			t.Fatalf("nobody knows where job %d comes from", id)
		}
	}
	for d, owner := range m.living {
		j := listed[owner]
		if slices.Contains(j.documents(), d) {
			if found, err := m.q.ByDocument(d); err != nil || found.ID != owner {
				t.Fatalf("document %s belongs to job %d, not %d, %v", d, owner, found.ID, err)
			}
			continue
		}
		if !j.Options.DeleteRemote && owner == j.ID { // may stay
			delete(m.living, d)
			continue
		}
		t.Fatalf("document %s of job %d lives, and nobody is going to delete it", d, owner)
	}
	for id, j := range listed {
		busy := slices.ContainsFunc(m.tasks, func(task Task) bool { return task.Job.ID == id })
		if j.Due.IsZero() && !busy && !j.State.Final() && !(j.State == Doubtful && j.Error != "") {
			twin, ok := listed[j.Twin]
			if j.State != Queued || !ok || twin.State.Final() || twin.Twin != 0 {
				t.Fatalf("job %d is %s and nobody will ever touch it (twin %d, which is %q)", id, j.State, j.Twin, twin.State)
			}
		}
	}
	check(t, m.q)
	ended(t, m.q, m.told(t))
}

// check walks through the whole file, and holds what memory has against it.
func check(t rapid.TB, q *Queue) {
	t.Helper()
	listing := map[string]map[State]int{}
	err := q.read(func(b *tx) error {
		if _, err := b.verify(); err != nil {
			return err
		}
		err := b.Bucket(bucketJobs).ForEach(func(_, record []byte) error {
			j, err := decode(record)
			if err != nil {
				return err
			}
			if listing[j.Folder] == nil {
				listing[j.Folder] = map[State]int{}
			}
			listing[j.Folder][j.State]++
			if j.State == Uploading && j.Sent.IsZero() {
				return fmt.Errorf("job %d is on the wire since nobody knows when", j.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = b.Bucket(bucketHolds).ForEach(func(k, _ []byte) error {
			if _, ok := b.holds[string(k)]; !ok {
				return fmt.Errorf("holds: %s is in the file only", k)
			}
			return nil
		})
		if b.Bucket(bucketHolds).Stats().KeyN != len(b.holds) {
			err = errors.Join(err, errors.New("holds: some are in memory only"))
		}
		return errors.Join(err, bucketsKnown(b.Tx))
	})
	if err != nil {
		t.Fatalf("the file does not agree with itself: %v", err)
	}
	counts, err := q.Counts()
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(counts, func(_ string, n map[State]int) bool { return len(n) == 0 })
	if !maps.EqualFunc(counts, listing, func(a, b map[State]int) bool { return maps.Equal(a, b) }) {
		t.Fatalf("the counts are %v, the records say %v", counts, listing)
	}
}

func bucketsKnown(b *bbolt.Tx) error {
	return b.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if !slices.ContainsFunc(allBuckets, func(known []byte) bool { return bytes.Equal(known, name) }) {
			return fmt.Errorf("nobody knows bucket %q", name)
		}
		return nil
	})
}
