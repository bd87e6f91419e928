package queue

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The buckets of the queue file. Keys are built so that a cursor meets them in
// the order in which they are wanted.
var (
	bucketMeta       = []byte("scandrop")   // version, and what callers keep
	bucketJobs       = []byte("jobs")       // id → record
	bucketStory      = []byte("story")      // id → events
	bucketDue        = []byte("due")        // lane, folder, time, id → nothing
	bucketStates     = []byte("states")     // state, id → nothing
	bucketCounts     = []byte("counts")     // folder, state → number
	bucketPaths      = []byte("paths")      // path → job, size, time of the file there
	bucketContents   = []byte("contents")   // content, id → nothing
	bucketDocuments  = []byte("documents")  // document → id
	bucketIdentities = []byte("identities") // identity → what was paid
	bucketNames      = []byte("names")      // path of a result → id of the job that has it
	bucketFolders    = []byte("folders")    // path → number, introduced
	bucketHolds      = []byte("holds")      // key → hold
	bucketOutbox     = []byte("outbox")     // sequence number → entry for the journal
	bucketStrays     = []byte("strays")     // mark, document → a document of ours that no job has
	bucketLeft       = []byte("left")       // documents that stay at the service on purpose and that no job has any more → nothing

	allBuckets = [][]byte{bucketMeta, bucketJobs, bucketStory, bucketDue, bucketStates, bucketCounts, bucketPaths,
		bucketContents, bucketDocuments, bucketIdentities, bucketNames, bucketFolders, bucketHolds, bucketOutbox, bucketStrays, bucketLeft}
)

// The first byte of every job record.
const (
	plainRecord  = 1
	packedRecord = 2 // of a scan that is done; see [pack]
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode makes a record: version, CRC-32C of the rest, JSON, which may be packed. bbolt
// does not check its values, and a job that is silently wrong may cost money.
func encode(j Job) ([]byte, error) {
	text, err := json.Marshal(j.withPaths(wrapPath))
	if err != nil {
		return nil, err
	}
	record := make([]byte, 5, 5+len(text))
	if record[0] = plainRecord; j.State == Done && j.Due.IsZero() {
		record[0] = packedRecord
		record, err = pack(record, text)
	} else {
		record = append(record, text...)
	}
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(record[1:], crc32.Checksum(record[5:], castagnoli))
	return record, nil
}

// checked returns what a record holds, packed or not, if it is what was written.
func checked(record []byte) ([]byte, error) {
	switch {
	case len(record) < 5:
		return nil, errors.New("the record is cut off")
	case record[0] > packedRecord:
		return nil, fmt.Errorf("the record has version %d: %w", record[0], ErrNewer)
	case binary.BigEndian.Uint32(record[1:]) != crc32.Checksum(record[5:], castagnoli):
		return nil, errors.New("the record's checksum is wrong")
	}
	return record[5:], nil
}

func decode(record []byte) (Job, error) {
	var j Job
	text, err := checked(record)
	if err == nil && record[0] == packedRecord {
		text, err = unpack(text)
	}
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return j, err
	}
	return j.withPaths(unwrapPath), nil
}

// notText begins a path, in a record, that is not valid UTF-8, as the names on
// old shares are: JSON would replace the bytes that it cannot write. No path
// holds a zero byte.
const notText = "\x00"

func wrapPath(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	return notText + base64.StdEncoding.EncodeToString([]byte(path))
}

func unwrapPath(path string) string {
	if text, wrapped := strings.CutPrefix(path, notText); wrapped {
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil {
			return string(raw)
		}
	}
	return path
}

// withPaths is the job with f applied to every path in it.
func (j Job) withPaths(f func(string) string) Job {
	j.Folder, j.Path, j.Moved = f(j.Folder), f(j.Path), f(j.Moved)
	j.Options.MoveDone, j.Options.MoveFailed = f(j.Options.MoveDone), f(j.Options.MoveFailed)
	j.Results = slices.Clone(j.Results)
	for i := range j.Results {
		j.Results[i].Path = f(j.Results[i].Path)
	}
	return j
}

func key64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// A lane is a part of the due index in which jobs are served by their due
// time alone.
type lane byte

const (
	laneFinish lane = 'f' // paid for, and something can be had: look up, collect
	laneDelete lane = 'd' // results are here: delete the remote copy
	laneLook   lane = 'l' // the service may still be at work: collect, if it is not
	laneHeld   lane = 'h' // paid for, but something is in the way that is not the file's
	laneClear  lane = 'x' // nobody waits: remote copies and originals of jobs that came to nothing
	laneUpload lane = 'u' // to be sent, by folder
)

func (j Job) lane() lane {
	switch {
	case j.State == Queued:
		return laneUpload
	case j.HeldBy != "":
		return laneHeld
	case j.State.Final():
		return laneClear
	case j.State == Written:
		return laneDelete
	case j.State == Processing && !j.ready():
		return laneLook
	}
	return laneFinish
}

// ready reports whether a job that is processing is to be collected, and not
// only looked at.
func (j Job) ready() bool {
	return j.Hint != "" || j.Attempts > 0 || len(j.Results) > 0 || j.gathered() || j.Cancel
}

// dueKey is where the job stands in the due index; nil if it does not.
func dueKey(j Job, folder uint32) []byte {
	if j.Due.IsZero() {
		return nil
	}
	l := j.lane()
	if l != laneUpload {
		folder = 0
	}
	k := lanePrefix(l, folder)
	k = binary.BigEndian.AppendUint64(k, uint64(j.Due.UnixNano()))
	return binary.BigEndian.AppendUint64(k, j.ID)
}

func lanePrefix(l lane, folder uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(l)}, folder)
}

func parseDueKey(k []byte) (due time.Time, id uint64) {
	return time.Unix(0, int64(binary.BigEndian.Uint64(k[5:]))).UTC(), binary.BigEndian.Uint64(k[13:])
}

// tx is one transaction, with the queue's own way of writing: errors are kept
// and end it, and what memory holds changes only if the file did.
type tx struct {
	*bolt.Tx
	now        time.Time
	mark       func(Digest, int) string
	policy     policy
	holds      map[string]Hold
	folders    map[string]folder
	configured map[string]int
	limits     map[string]Limits
	ended      []uint64 // jobs that the journal is to tell of
	census     census
	strayDue   bool // some stray is due at another time
	keptLooks  bool // what was learned of the service's times is in the transaction
	forgotten  uint64
	decoded    *decoded
	doubts     *doubts
	err        error
}

type folder struct {
	Number     uint32 `json:"number"`
	Introduced bool   `json:"introduced,omitempty"`
	// KeepsCopies is set where the copies at the service are not deleted.
	KeepsCopies bool `json:"keeps_copies,omitempty"`
}

func (t *tx) bucket(name []byte) *bolt.Bucket { return t.Bucket(name) }

func (t *tx) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

func (t *tx) put(bucket, k, v []byte)     { t.fail(t.Bucket(bucket).Put(k, v)) }
func (t *tx) delete(bucket, k []byte)     { t.fail(t.Bucket(bucket).Delete(k)) }
func (t *tx) get(bucket, k []byte) []byte { return t.Bucket(bucket).Get(k) }

func (t *tx) putJSON(bucket, k []byte, v any) {
	text, err := json.Marshal(v)
	t.fail(err)
	t.put(bucket, k, text)
}

// read runs f in a read-only transaction.
func (q *Queue) read(f func(*tx) error) error {
	q.mu.Lock()
	t, err := q.begin(nil), q.uncertain
	q.mu.Unlock()
	if err != nil {
		return err
	}
	return guard(func() error {
		return q.db.View(func(b *bolt.Tx) error {
			t.Tx = b
			return f(t)
		})
	})
}

// readLocked is read for a caller who holds q.mu.
func (q *Queue) readLocked(f func(*tx) error) error {
	if q.uncertain != nil {
		return q.uncertain
	}
	return guard(func() error {
		return q.db.View(func(b *bolt.Tx) error {
			return f(q.begin(b))
		})
	})
}

// update runs f in a transaction and wakes whoever waits for work. If it fails
// nothing has changed, unless the error wraps [ErrUncertain]: then nobody knows,
// and the queue serves no more. f may be run more than once; see change.
func (q *Queue) update(f func(*tx) error) error { return q.change(f, nil) }

// A change is what somebody wants to have in the file.
type change struct {
	f     func(*tx) error
	after func(error) error
	err   error
	turn  chan bool // true: it is made, or cannot be; false: it is the caller's turn to commit
}

// change is update; after, if it is not nil, is then called with the error, while
// q.mu is held, and says which error to return.
//
// Changes that come while another is committed share the next transaction: a
// lone one never waits, and many cost little more than one. Where one of them
// fails each is tried by itself.
func (q *Queue) change(f func(*tx) error, after func(error) error) error {
	c := &change{f: f, after: after, turn: make(chan bool, 1)}
	q.queuing.Lock()
	q.changes = append(q.changes, c)
	if !q.committing {
		q.committing = true
		c.turn <- false
	}
	q.queuing.Unlock()
	if made := <-c.turn; !made {
		q.gather()
		q.commit()
		<-c.turn
	}
	return c.err
}

// gather lets those go on who are about to bring a change, for as long as each time one
// does. A disk that syncs fast would else make a transaction of every change, which
// costs more than what is in it.
func (q *Queue) gather() {
	for before := 0; ; {
		q.queuing.Lock()
		n := len(q.changes)
		q.queuing.Unlock()
		if n <= before || n >= int(q.working.Load()) {
			return
		}
		before = n
		for range 8 {
			runtime.Gosched()
		}
	}
}

// commit makes all changes that wait, and has one of those who came meanwhile go on,
// whatever becomes of them.
func (q *Queue) commit() {
	for _, c := range q.makeChanges() {
		c.turn <- true
	}
	q.queuing.Lock()
	defer q.queuing.Unlock()
	if q.committing = len(q.changes) > 0; q.committing {
		q.changes[0].turn <- false
	}
}

// makeChanges makes all changes that wait, and returns them.
func (q *Queue) makeChanges() []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queuing.Lock()
	changes := q.changes
	q.changes = nil
	q.queuing.Unlock()
	together := len(changes) > 1 && q.updateLocked(func(t *tx) error {
		for _, c := range changes {
			if err := c.f(t); err != nil {
				return err
			}
		}
		return nil
	}) == nil
	for _, c := range changes {
		if !together {
			c.err = q.updateLocked(c.f)
		}
		if c.after != nil {
			c.err = guard(func() error { return c.after(c.err) })
		}
	}
	return changes
}

// updateLocked is update for a caller who holds q.mu.
func (q *Queue) updateLocked(f func(*tx) error) error {
	if q.uncertain != nil {
		return q.uncertain
	}
	var (
		t  *tx
		id int // of the transaction
	)
	err := guard(func() error {
		return q.db.Update(func(b *bolt.Tx) error {
			t, id = q.begin(b), b.ID()
			t.holds, t.folders = maps.Clone(q.holds), maps.Clone(q.folders)
			if err := f(t); err != nil {
				return err
			}
			t.post()
			return t.err
		})
	})
	if err != nil {
		return q.failed(err, id)
	}
	q.holds, q.folders, q.census = t.holds, t.folders, t.census
	q.forgotten.Add(t.forgotten)
	if t.strayDue {
		q.strayDue = time.Time{}
	}
	if t.keptLooks {
		q.policy.looks.unsaved = 0
	}
	q.wake()
	return nil
}

// failed is err of the transaction with that id, and [ErrUncertain] where the
// disk failed so late that the file shows the transaction all the same: its pages
// were synced, its root was written and may not last. To go on would be to build
// on it, and to use pages again that the root before it needs should it be gone
// after a power cut. If the root was not written the file is what it was.
func (q *Queue) failed(err error, id int) error {
	shown := 0
	viewed := guard(func() error {
		return q.db.View(func(b *bolt.Tx) error {
			shown = b.ID()
			return nil
		})
	})
	if id == 0 || viewed != nil || shown != id {
		return err
	}
	q.uncertain = fmt.Errorf("%w: %w", ErrUncertain, err)
	q.wake() // who waits for work learns that there is none
	return q.uncertain
}

// begin hands the transaction what memory holds; those maps are never changed
// in place, so it may go on reading them after q.mu is released.
func (q *Queue) begin(b *bolt.Tx) *tx {
	return &tx{
		Tx: b, now: time.Now().Round(0).UTC(), policy: q.policy, mark: q.installation.Mark,
		holds: q.holds, folders: q.folders, configured: q.configured, limits: q.limits, census: q.census,
		decoded: &q.decoded, doubts: &q.doubts,
	}
}

// guard turns the panics of bbolt over a damaged page into an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	err = f()
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// job reads a job.
func (t *tx) job(id uint64) (Job, error) {
	record := t.get(bucketJobs, key64(id))
	if record == nil {
		return Job{}, fmt.Errorf("job %d: %w", id, ErrNoJob)
	}
	if j, ok := t.decoded.job(id, record); ok {
		return j, nil
	}
	j, err := decode(record)
	if err != nil {
		return Job{}, fmt.Errorf("job %d: %w", id, err)
	}
	return j, nil
}

// decoded remembers the jobs that were written last: while a scan is seen through its
// record is read a dozen times, which is most of what that costs. What counts is the
// file: a record that is not, byte for byte, the one that was written is decoded.
type decoded struct {
	mu   sync.Mutex
	jobs map[uint64]written
}

type written struct {
	record []byte
	job    Job
}

// mostDecoded bounds the memory that this takes.
const mostDecoded = 256

func (d *decoded) put(j Job, record []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.jobs == nil || len(d.jobs) >= mostDecoded {
		d.jobs = make(map[uint64]written, mostDecoded)
	}
	d.jobs[j.ID] = written{record, j}
}

func (d *decoded) job(id uint64, record []byte) (Job, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.jobs[id]
	return w.job, ok && bytes.Equal(w.record, record)
}

// create gives a new job its id and writes it.
func (t *tx) create(j Job) Job {
	id, err := t.Bucket(bucketJobs).NextSequence()
	t.fail(err)
	j.ID = id
	t.insert(j)
	return j
}

// insert writes a job that has an id and is not in the file.
func (t *tx) insert(j Job) {
	t.write(Job{}, j)
	if !j.Content.IsZero() {
		t.put(bucketContents, append(j.Content[:], key64(j.ID)...), nil)
	}
}

// apply lets o happen to the job, if the table allows it, and draws what
// follows for others: what was paid, whom it holds or releases, which twins
// can go on.
func (t *tx) apply(j Job, o Outcome) (Job, error) {
	if d, ok := o.(Divided); ok {
		o = t.marked(j, d)
	}
	if u, ok := o.(Uploaded); ok {
		o = t.unclaimed(j, u)
	}
	p := t.policy
	switch o.(type) {
	case Uploaded, Pending, asked:
		p.scarce = t.scarce(t.now)
	case NotFound:
		j.Doubted = t.now.Add(-t.doubts.lasted(j.ID))
	}
	next, err := j.move(o, t.now, p)
	if err != nil {
		return j, err
	}
	switch {
	case next.State != Doubtful:
		t.doubts.end(j.ID)
	case j.State != Doubtful:
		t.doubts.begin(j.ID)
	}
	if _, changed := o.(Changed); changed && j.Resent > 0 {
		t.paid(j, 1) // an upload that was given up may yet turn up: only a person sends this again
	}
	if next.State == removed {
		t.drop(j)
		t.releaseIdle()
		return next, t.err
	}
	next.HeldBy = ""
	switch o := o.(type) {
	case Held:
		next.HeldBy = o.Hold.Cause
	case Retry:
		if next.State == Doubtful && next.Looks >= silentLooks {
			next.HeldBy = Doubt
		}
	}
	t.tell(j, next, o)
	t.write(j, next) // before any hold is released, which may write this job again
	t.leaveForgotten(j, next, o)
	switch o := o.(type) {
	case Uploaded:
		t.billed(j, next, 1+len(o.Twins))
		t.paid(j, 1+len(o.Twins))
		t.spend(j, (1+len(o.Twins))*billed(o.Pages, j), t.now)
		if j.State == Uploading { // found by a look-up it says nothing about the present
			t.release(func(h Hold) bool {
				return h.probedByUpload() && h.Stops(j)
			})
		}
		t.answered()
	case adopted:
		t.billed(j, next, 1+len(o.Twins))
		t.paid(j, 1+len(o.Twins))
		t.spend(j, (1+len(o.Twins))*billed(o.Pages, j), t.now)
	case Collected, PartCollected:
		if j.State == Processing { // not copied from a twin
			t.answered()
		}
		t.release(func(h Hold) bool {
			return h.Cause == Room && h.Folder == j.Folder || h.Cause == Disk && j.HeldBy == Disk
		})
	case NotFound:
		t.answered()
		if next.State == Doubtful && next.Due.IsZero() {
			t.hold(Hold{Cause: Doubt, Reason: next.Error})
		}
	case Pending:
		t.answered()
	case Deleted:
		if len(o.Twins) > 0 {
			t.bill(len(o.Twins)*j.cost(), 0)
			t.paid(j, len(o.Twins))
			t.spend(j, len(o.Twins)*j.cost(), t.now)
		}
		if len(o.Documents) > 0 {
			t.answered()
		}
	case Changed:
		t.removePath(j)
	case Held:
		t.hold(o.Hold)
	case Retry:
		t.silence(next, o)
	}
	if next.State == Queued && t.removed(next.Folder) {
		t.holdRemoved()
	}
	if onTheWay(j) && !onTheWay(next) && next.Document == "" { // what was reserved for it is free
		t.release(func(h Hold) bool { return h.Cause == Limit })
	}
	if next.State.Final() && !j.State.Final() {
		t.freeTwins(next)
		t.releaseIdle() // it may have been the last that waited
	}
	if j.State == Doubtful && next.State != Doubtful && t.countState(Doubtful) == 0 {
		t.release(func(h Hold) bool { return h.Cause == Doubt })
	}
	return next, t.err
}

// unclaimed is the outcome, unless the document that it names is one that another scan,
// or another part of this one, has: each would get the other's text, and delete it. What
// was uploaded is then as unknown as if the service had named nothing. Of those found
// beside it the same holds.
func (t *tx) unclaimed(j Job, o Uploaded) Outcome {
	if other := t.claimant(j, o.Document); other != "" {
		err := fmt.Errorf("the service says that this scan is its document %s, which is that of %s", o.Document, other)
		if j.State == Uploading {
			return Unanswered{Err: err, Accepted: true}
		}
		return Retry{Err: err}
	}
	o.Twins = slices.DeleteFunc(slices.Clone(o.Twins), func(d string) bool { return d == o.Document || t.claimant(j, d) != "" })
	return o
}

// claimant says who has the document beside what the job is at; "" if nobody has.
func (t *tx) claimant(j Job, document string) string {
	if id := parseID(t.get(bucketDocuments, []byte(document))); id != 0 && id != j.ID {
		return fmt.Sprintf("job %d", id)
	}
	for n, p := range j.Parts {
		if p.Document == document {
			return fmt.Sprintf("part %d", n+1)
		}
	}
	return ""
}

// onTheWay reports whether an upload of the job may arrive, or have arrived.
func onTheWay(j Job) bool { return j.State == Uploading || j.State == Doubtful }

// silence holds the account when nobody answers, or only to say that it is too
// much, again and again: a probe finds out when somebody does, instead of every
// job by itself.
func (t *tx) silence(j Job, o Retry) {
	switch {
	case j.State == Doubtful && j.HeldBy == Doubt:
		t.hold(Hold{Cause: Doubt, Reason: "an upload was not answered, and the service's list, which would tell whether it arrived, fails: " + o.Err.Error()})
	case o.Throttled && !j.State.Final() && j.Attempts >= attempts-1:
		t.hold(Hold{Cause: Unreachable, Reason: "the service takes no more requests of this account for now: see who else uses it, or lower api.rate (" + o.Err.Error() + ")"})
	case o.Silent && !j.State.Final() && j.Attempts >= attempts-1:
		t.hold(unreachable(o.Err))
	}
}

// answered lifts what any proper answer disproves, and lets those go on whom
// that held.
func (t *tx) answered() {
	t.release(func(h Hold) bool { return h.blocksAll() })
}

// free makes the paid jobs due that the given cause had held.
func (t *tx) free(h Hold) {
	if h.Cause == Doubt { // those that waited for a person are looked for once more
		for _, id := range t.inState(Doubtful) {
			j, err := t.job(id)
			t.fail(err)
			if err == nil && j.Due.IsZero() {
				next := j
				next.Due = t.now
				t.write(j, next)
			}
		}
	}
	if h.Cause == Profile { // their files are to be noticed anew, as what they are now
		for j := range t.heldByProfile(h) {
			if !j.Spooled {
				t.drop(j)
			}
		}
	}
	for _, id := range t.heldBack() {
		j, err := t.job(id)
		t.fail(err)
		if err == nil && j.HeldBy == h.Cause && (h.Folder == "" || h.Folder == j.Folder) {
			next := j
			next.HeldBy, next.Due = "", t.now
			t.write(j, next)
		}
	}
}

// heldByProfile yields the jobs that the hold of a profile holds.
func (t *tx) heldByProfile(h Hold) iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for _, id := range t.inState(Queued) {
			j, err := t.job(id)
			t.fail(err)
			if err == nil && j.HeldBy == Profile && below(h.Dir, j.Path) && !yield(j) {
				return
			}
		}
	}
}

// heldBack lists the paid jobs that something is in the way of.
func (t *tx) heldBack() []uint64 {
	prefix := lanePrefix(laneHeld, 0)
	var ids []uint64
	c := t.Bucket(bucketDue).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		_, id := parseDueKey(k)
		ids = append(ids, id)
	}
	return ids
}

// write replaces old by j in the file and in every index. old is the zero Job
// for a new one.
func (t *tx) write(old, j Job) {
	record, err := encode(j)
	t.fail(err)
	t.put(bucketJobs, key64(j.ID), record)
	t.decoded.put(j, record)
	t.index(old, j)
	t.noteEnd(old, j)
	t.countDay(old, j)
}

// remove takes a job out of the file and of every index. What was paid for its
// identity stays known.
func (t *tx) remove(j Job) {
	t.delete(bucketJobs, key64(j.ID))
	t.delete(bucketStory, key64(j.ID))
	if !j.Content.IsZero() {
		t.delete(bucketContents, append(j.Content[:], key64(j.ID)...))
	}
	for _, r := range j.Results {
		if bytes.Equal(t.get(bucketNames, []byte(r.Path)), key64(j.ID)) {
			t.delete(bucketNames, []byte(r.Path))
		}
	}
	t.removePath(j)
	t.leave(j.documents()...)
	t.index(j, Job{})
}

// removePath lets the job's file be noticed anew, unless a newer job has its
// path.
func (t *tx) removePath(j Job) {
	if p, ok := t.path(j.Path); ok && p.job == j.ID {
		t.delete(bucketPaths, []byte(j.Path))
		t.forgotten++
	}
}

// index moves the job's entries from where old had them to where j has them.
func (t *tx) index(old, j Job) {
	oldDue, due := t.dueKey(old), t.dueKey(j)
	if !bytes.Equal(oldDue, due) {
		if oldDue != nil {
			t.delete(bucketDue, oldDue)
		}
		if due != nil {
			t.put(bucketDue, due, nil)
		}
	}
	if old.State != j.State {
		t.count(old, -1)
		t.count(j, +1)
	}
	oldDocs, docs := old.documents(), j.documents()
	for _, d := range oldDocs {
		if !slices.Contains(docs, d) {
			t.delete(bucketDocuments, []byte(d))
		}
	}
	for _, d := range docs {
		t.put(bucketDocuments, []byte(d), key64(j.ID))
	}
}

func (j Job) documents() []string {
	return append(slices.Clip(j.Trash), j.live()...)
}

func (t *tx) dueKey(j Job) []byte {
	if j.ID == 0 || j.Due.IsZero() {
		return nil
	}
	return dueKey(j, t.folder(j.Folder).Number)
}

// count keeps the numbers of jobs by folder and state, and the index by state.
func (t *tx) count(j Job, by int64) {
	if j.ID == 0 {
		return
	}
	k := countKey(t.folder(j.Folder).Number, j.State)
	n := int64(0)
	if v := t.get(bucketCounts, k); v != nil {
		n = int64(binary.BigEndian.Uint64(v))
	}
	t.put(bucketCounts, k, key64(uint64(n+by)))
	if by > 0 {
		t.put(bucketStates, stateKey(j.State, j.ID), nil)
	} else {
		t.delete(bucketStates, stateKey(j.State, j.ID))
	}
}

// Numbers, not words, in keys: they are short, and they never change.
var stateNumbers = map[State]byte{Queued: 1, Uploading: 2, Doubtful: 3, Processing: 4, Written: 5, Done: 6, Rejected: 7, Failed: 8, Cancelled: 9}

func stateKey(s State, id uint64) []byte {
	return append([]byte{stateNumbers[s]}, key64(id)...)
}

func countKey(folder uint32, s State) []byte {
	return append(binary.BigEndian.AppendUint32(nil, folder), stateNumbers[s])
}

func (t *tx) countState(s State) int {
	n := 0
	for _, f := range t.folders {
		if v := t.get(bucketCounts, countKey(f.Number, s)); v != nil {
			n += int(binary.BigEndian.Uint64(v))
		}
	}
	return n
}

// folder returns the folder's record, and makes it if the transaction may
// write.
func (t *tx) folder(path string) folder {
	f, ok := t.folders[path]
	if ok || !t.Writable() {
		return f
	}
	n, err := t.Bucket(bucketFolders).NextSequence()
	t.fail(err)
	f = folder{Number: uint32(n)}
	t.putFolder(path, f)
	return f
}

func (t *tx) putFolder(path string, f folder) {
	t.folders[path] = f
	t.putJSON(bucketFolders, []byte(path), f)
}

// pathRecord is what is known of the file at a path: the cheap first look.
type pathRecord struct {
	job  uint64 // 0: known, and not wanted
	size int64
	mod  int64 // nanoseconds since 1970
}

func (t *tx) path(path string) (pathRecord, bool) {
	v := t.get(bucketPaths, []byte(path))
	if len(v) != 24 {
		return pathRecord{}, false
	}
	return pathRecord{
		job:  binary.BigEndian.Uint64(v),
		size: int64(binary.BigEndian.Uint64(v[8:])),
		mod:  int64(binary.BigEndian.Uint64(v[16:])),
	}, true
}

func (t *tx) putPath(path string, r pathRecord) {
	v := key64(r.job)
	v = binary.BigEndian.AppendUint64(v, uint64(r.size))
	v = binary.BigEndian.AppendUint64(v, uint64(r.mod))
	t.put(bucketPaths, []byte(path), v)
}

// An identityRecord outlives the jobs: it is what keeps us from paying twice
// after a story was forgotten.
type identityRecord struct {
	Paid    int       `json:"paid"`              // documents that the service made for it
	Resends int       `json:"resends,omitempty"` // uploads that a person asked for beyond the first
	Last    time.Time `json:"last"`              // when the latest was made
}

func (t *tx) identity(d Digest) identityRecord {
	var r identityRecord
	if v := t.get(bucketIdentities, d[:]); v != nil {
		t.fail(json.Unmarshal(v, &r))
	}
	return r
}

func (t *tx) paid(j Job, documents int) {
	r := t.identity(j.Identity)
	r.Paid += documents
	r.Last = t.now.Truncate(time.Second)
	t.putJSON(bucketIdentities, j.Identity[:], r)
}

// sameContent lists the jobs that have the content, oldest first.
func (t *tx) sameContent(content Digest) []Job {
	var jobs []Job
	c := t.Bucket(bucketContents).Cursor()
	for k, _ := c.Seek(content[:]); bytes.HasPrefix(k, content[:]); k, _ = c.Next() {
		j, err := t.job(binary.BigEndian.Uint64(k[len(content):]))
		t.fail(err)
		if err == nil {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// paidElsewhere says why a scan is not sent whose content was paid for with
// another job, which came to nothing.
func paidElsewhere(j Job) string {
	if j.State == removed {
		return fmt.Sprintf("the same content as %q, which was paid for before; retry this one to pay again", j.Path)
	}
	return fmt.Sprintf("the same content as %q (job %d), which was paid for and is %s; retry that one, or this one to pay again", j.Path, j.ID, j.State)
}

// freeTwins lets those go on that waited for the job, which has come to its
// end. If it is done they can have its results. If it was never paid for the
// oldest of them takes its place; else nothing is sent again by itself.
func (t *tx) freeTwins(ended Job) {
	heir := uint64(0)
	for _, twin := range t.sameContent(ended.Content) {
		if twin.Twin != ended.ID || twin.State != Queued || twin.ID == ended.ID {
			continue
		}
		next := twin
		switch {
		case ended.State == Done:
			next.Due = t.now
		case t.identity(ended.Identity).Paid > 0:
			next.Error = paidElsewhere(ended)
			next = next.end(Rejected, t.now)
		case heir == 0:
			heir = twin.ID
			next.Twin, next.Due = 0, t.now
		default:
			next.Twin = heir
		}
		t.write(twin, next)
	}
}
