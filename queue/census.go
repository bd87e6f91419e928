package queue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Stray is a document in the service's list that bears a mark of this
// installation.
type Stray struct {
	Document string    `json:"document"` // the service's id
	Mark     string    `json:"mark"`     // in its canonical form; see [Installation.Find]
	Pages    int       `json:"pages,omitempty"`
	Failed   bool      `json:"failed,omitempty"` // the service says that it failed
	Created  time.Time `json:"created,omitzero"` // by the service's clock; zero if it did not say
}

// Counted says that the service's list was read to its end: what a [Census]
// leads to if nothing goes wrong.
type Counted struct {
	Documents []Stray // every one that bears a mark of this installation
	Nameless  bool    // the list does not give our names back, so it proves nothing
}

// adopted says that the service's list has a document of a job that was not
// known to have one: it is the document of its resend-th upload, under the mark.
type adopted struct {
	Uploaded
	resend int
	mark   string
}

func (Counted) kind() kind { return "counted" }
func (adopted) kind() kind { return "adopted" }

const (
	// censusEvery is how often the service's list is read for documents that
	// no job needs.
	censusEvery = 24 * time.Hour

	// overdue is how long a census, or the deletion of a stray, gives way to
	// everything else that is due.
	overdue = time.Hour

	// spareResends is how many uploads of an identity a restored queue may have
	// forgotten that a person asked for.
	spareResends = 8
)

// A census is what is known of the reading of the service's list.
type census struct {
	Next    time.Time `json:"next"`
	Last    time.Time `json:"last,omitzero"`    // when the last that was complete began
	Failed  int       `json:"failed,omitempty"` // attempts since then
	Rebuilt time.Time `json:"rebuilt,omitzero"` // when the queue was restored; zero once all that may have been lost is found
	Looked  []string  `json:"looked,omitempty"` // folders that were looked through since
	Adopted int       `json:"adopted,omitempty"`
	Deleted int       `json:"deleted,omitempty"`
}

var keyCensus = []byte("census")

func (t *tx) putCensus(c census) {
	t.census = c
	t.putJSON(bucketMeta, keyCensus, c)
}

// loadCensus reads when the next census is due: one that is overdue, or failed,
// or that others wait for, now.
func (t *tx) loadCensus() error {
	var c census
	if v := t.get(bucketMeta, keyCensus); v != nil {
		if err := json.Unmarshal(v, &c); err != nil {
			return fmt.Errorf("census: %w", err)
		}
	}
	if c.Failed > 0 || c.Next.Before(t.now) || c.Next.After(t.now.Add(censusEvery)) || t.holdsRebuilt() {
		c.Next, c.Failed = t.now, 0
	}
	if c.Rebuilt.After(t.now) { // the clock was ahead
		c.Rebuilt = t.now
	}
	t.census = c
	return nil
}

// A strayRecord is a stray that no job has.
type strayRecord struct {
	Stray
	Due      time.Time `json:"due,omitzero"` // when it is deleted; zero: not, as its scan may be found yet, or as it cannot be
	Attempts int       `json:"attempts,omitempty"`
}

func strayKey(s Stray) []byte { return []byte(s.Mark + "\x00" + s.Document) }

func (t *tx) putStray(r strayRecord) {
	t.putJSON(bucketStrays, strayKey(r.Stray), r)
	t.strayDue = t.strayDue || !r.Due.IsZero()
}

// claimDocument takes a document out of those that no job has.
func (t *tx) claimDocument(document string) {
	var all []Stray
	t.eachStray(nil, func(r strayRecord) bool {
		if r.Document == document {
			all = append(all, r.Stray)
		}
		return true
	})
	for _, s := range all {
		t.dropStray(s)
	}
	t.delete(bucketLeft, []byte(document))
}

func (t *tx) dropStray(s Stray) {
	t.delete(bucketStrays, strayKey(s))
}

// eachStray calls f for the strays whose keys have the prefix, until f returns
// false. f must not change the bucket.
func (t *tx) eachStray(prefix []byte, f func(strayRecord) bool) {
	c := t.Bucket(bucketStrays).Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		var r strayRecord
		if err := json.Unmarshal(v, &r); err != nil {
			t.fail(fmt.Errorf("stray %q: %w", k, err))
			return
		}
		if !f(r) {
			return
		}
	}
}

// Rebuild says that the queue was restored, or made anew in the place of one
// that was lost: documents may lie at the service that no job knows. Nothing is
// sent until the service's list has been read, and what is in it goes on as it
// was, also for scans that are found later. What belongs to no scan is deleted
// when a day has passed in which every folder was looked through.
func (q *Queue) Rebuild() error {
	return q.update(func(t *tx) error {
		c := t.census
		c.Rebuilt, c.Looked, c.Next, c.Failed = t.now, nil, t.now, 0
		t.putCensus(c)
		t.setDue(time.Time{})
		t.holdRebuilt("the queue file was restored; the service's list is read before anything is sent")
		return nil
	})
}

// setDue changes when the strays are deleted.
func (t *tx) setDue(due time.Time) {
	var all []strayRecord
	t.eachStray(nil, func(r strayRecord) bool {
		all = append(all, r)
		return true
	})
	for _, r := range all {
		r.Due, r.Attempts = due, 0
		t.putStray(r)
	}
}

func (t *tx) holdRebuilt(reason string) {
	h := Hold{Cause: Rebuilt, Reason: reason, Since: t.now, Next: t.census.Next}
	if old, stands := t.holds[h.Key()]; stands {
		h.Since = old.Since
	}
	t.putHold(h)
}

// holdsRebuilt reports whether nothing may be sent because the list was not read.
func (t *tx) holdsRebuilt() bool {
	_, stands := t.holds[Hold{Cause: Rebuilt}.Key()]
	return stands
}

// Looked says that a folder was looked through, and that everything in it was
// taken note of. It matters only after [Queue.Rebuild].
func (q *Queue) Looked(folder string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	name := wrapPath(folder)
	if q.census.Rebuilt.IsZero() || slices.Contains(q.census.Looked, name) {
		return nil
	}
	return q.updateLocked(func(t *tx) error {
		c := t.census
		c.Looked = append(slices.Clip(c.Looked), name)
		t.putCensus(c)
		return nil
	})
}

// awaited lists the folders that were not looked through since the queue was
// restored, and those that are missing now.
func (t *tx) awaited() []string {
	var paths []string
	for path := range t.wanted() {
		_, missing := t.holds[Hold{Cause: Missing, Folder: path}.Key()]
		if missing || !slices.Contains(t.census.Looked, wrapPath(path)) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// wanted is the set of folders that scans are taken from.
func (t *tx) wanted() map[string]bool {
	all := map[string]bool{}
	for path := range t.configured {
		all[path] = true
	}
	if t.configured == nil {
		for path := range t.folders {
			all[path] = true
		}
	}
	return all
}

// keepsCopies reports whether there is a folder whose copies stay at the
// service: a document that nobody knows may be one of them.
func (t *tx) keepsCopies() bool {
	for path := range t.wanted() {
		if t.folders[path].KeepsCopies {
			return true
		}
	}
	return false
}

// leave remembers documents that stay at the service on purpose and that no job
// has any more.
func (t *tx) leave(documents ...string) {
	for _, d := range documents {
		t.put(bucketLeft, []byte(d), nil)
	}
}

// leaveForgotten remembers what a job had and has no more, though nobody said
// that it is gone.
func (t *tx) leaveForgotten(j, next Job, o Outcome) {
	switch o.(type) {
	case Deleted, Gone:
		return
	}
	kept := next.documents()
	for _, d := range j.documents() {
		if !slices.Contains(kept, d) {
			t.leave(d)
		}
	}
}

// chore is the next step that is not a job's, and whether it goes before what
// is due of the jobs; or when there will be one. The caller holds q.mu.
func (q *Queue) chore(t *tx, now time.Time) (task Task, urgent bool, next time.Time) {
	if c := t.census; !q.counting {
		if !now.Before(c.Next) {
			return Task{Step: Census}, t.holdsRebuilt() || now.Sub(c.Next) > overdue, next
		}
		next = c.Next
	}
	if q.sweeping || t.keepsCopies() {
		return task, false, next
	}
	if !now.Before(q.strayDue) {
		q.strayDue = now.Add(censusEvery) // none before the next census records one
		t.eachStray(nil, func(r strayRecord) bool {
			switch {
			case r.Due.IsZero():
			case now.Before(r.Due):
				q.strayDue = minTime(q.strayDue, r.Due)
			default:
				task = Task{Step: Sweep, Stray: r.Stray}
				urgent = now.Sub(r.Due) > overdue
				q.strayDue = time.Time{}
				return false
			}
			return true
		})
		if task.Step != "" {
			return task, urgent, next
		}
	}
	if next.IsZero() || q.strayDue.Before(next) {
		next = q.strayDue
	}
	return task, false, next
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// reportChore takes what became of a step that is not a job's.
func (q *Queue) reportChore(task Task, o Outcome) error {
	err := q.updateLocked(func(t *tx) error {
		if held, ok := o.(Held); ok {
			t.hold(held.Hold)
		}
		if task.Step == Census {
			t.reportCensus(o, q.began, q.claimed)
		} else {
			t.reportSweep(task.Stray, o)
		}
		return t.err
	})
	if err != nil {
		return err
	}
	if task.Step == Census {
		q.counting = false
	} else {
		q.sweeping = false
	}
	q.wake()
	return nil
}

func (t *tx) reportCensus(o Outcome, began time.Time, claimed map[uint64]bool) {
	switch o := o.(type) {
	case Counted:
		t.answered()
		t.counted(o, began, claimed)
		return
	case Retry:
		c := t.census
		c.Failed++
		c.Next = t.now.Add(max(min(firstDelay<<min(c.Failed-1, 12), t.policy.longestDelay), min(o.After, longestAsked)))
		t.putCensus(c)
		if t.holdsRebuilt() {
			t.holdRebuilt("the queue file was restored, and the service's list, which is to be read before anything is sent, fails: " + o.Err.Error())
		}
		if o.Silent && c.Failed >= attempts-1 {
			t.hold(unreachable(o.Err))
		}
	case Held:
		c := t.census
		c.Next = t.now.Add(heldDelay)
		t.putCensus(c)
	}
}

// counted draws what the service's list says.
func (t *tx) counted(o Counted, began time.Time, claimed map[uint64]bool) {
	c := t.census
	if c.Rebuilt.After(t.now) { // the clock was ahead
		c.Rebuilt = t.now
	}
	c.Last, c.Failed, c.Next = began, 0, t.now.Add(censusEvery)
	if o.Nameless {
		t.putCensus(c)
		if t.holdsRebuilt() {
			t.holdRebuilt(`the queue file was restored, and the service's list does not give file names back, so nobody can tell which scans it has; look into the account, delete or note what is there, then "scandrop queue release rebuilt" sends what waits`)
		}
		return
	}
	ending := !c.Rebuilt.IsZero() && began.Sub(c.Rebuilt) >= censusEvery && len(t.awaited()) == 0
	if ending {
		c.Rebuilt, c.Looked = time.Time{}, nil
		defer t.setDue(t.now.Add(t.policy.doubt))
	}
	t.putCensus(c)
	t.forgetGone(o.Documents)
	groups := t.unknown(o.Documents)
	holders := t.holders(groups)
	for _, mark := range slices.Sorted(maps.Keys(groups)) {
		j, held := holders[mark]
		if held {
			var err error
			if j, err = t.job(j.ID); err != nil { // it moved on just now
				t.fail(err)
				return
			}
		}
		switch {
		case held && settledByLookUp(j):
		case held && t.adoptable(j) && !claimed[j.ID]:
			t.adopt(j, groups[mark])
		default:
			for _, s := range groups[mark] {
				if t.get(bucketStrays, strayKey(s)) != nil {
					continue
				}
				r := strayRecord{Stray: s}
				if c.Rebuilt.IsZero() {
					r.Due = t.now.Add(t.policy.doubt)
				}
				t.putStray(r)
				if held {
					t.paid(j, 1) // its content is not sent again by itself
				}
			}
		}
	}
	// A list may lag: it proves that something is absent only as long after the
	// last upload as a look-up would take.
	if t.holdsRebuilt() {
		if settled := t.census.Rebuilt.Add(t.policy.doubt); began.Before(settled) {
			c := t.census
			c.Next = settled
			t.putCensus(c)
			t.holdRebuilt("the queue file was restored; the service's list was read, and is read once more before anything is sent, as it may lag")
			return
		}
		t.endAllPresent()
		t.release(func(h Hold) bool { return h.Cause == Rebuilt })
	}
}

// endAllPresent ends the jobs that wait to be sent although their results seem to
// be here, now that the service's list was read and has none of their documents.
func (t *tx) endAllPresent() {
	for _, id := range t.inState(Queued) {
		if j, err := t.job(id); err == nil && j.State == Queued && j.Present {
			t.endPresent(j)
		}
	}
}

// endPresent ends a job that a restored queue would send although files with the
// names of all its results lie beside the scan: most likely they are its results,
// were paid for, and their end was forgotten. A person can tell.
func (t *tx) endPresent(j Job) Job {
	next := j
	next.Present = false
	next.Error = `its results lie beside it already, and the queue, which was restored, knows nothing of them; if they are not its own, "scandrop queue retry" has it read and pays for it`
	next = next.end(Rejected, t.now)
	t.paid(j, 1)
	t.write(j, next)
	t.addEvent(j.ID, Event{At: t.now, What: "results present", State: next.State, Note: next.Error})
	t.freeTwins(next)
	return next
}

// Rebuilding reports whether the queue was restored and may not know of all that
// it had: while it is so, [Scan.Present] matters.
func (q *Queue) Rebuilding() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.census.Rebuilt.IsZero()
}

// Listed reports whether a restored queue has found, in the service's list, a document
// that bears a mark of the scan and that no job has: it was sent, whatever else is known
// of it. It only looks at Content and Options.
func (q *Queue) Listed(s Scan) (listed bool, err error) {
	err = q.read(func(t *tx) error {
		identity := Identity(s.Content, s.Options)
		for _, mark := range t.marks(Job{State: Queued, Content: s.Content, Identity: identity, Mark: t.mark(identity, 0)}) {
			t.eachStray([]byte(mark+"\x00"), func(strayRecord) bool {
				listed = true
				return false
			})
		}
		return t.err
	})
	return listed, err
}

// forgetGone forgets the strays, and the documents that were left on purpose,
// that are not in the list any more.
func (t *tx) forgetGone(listed []Stray) {
	there := make(map[string]bool, len(listed))
	for _, s := range listed {
		there[s.Document] = true
	}
	var gone []Stray
	t.eachStray(nil, func(r strayRecord) bool {
		if !there[r.Document] {
			gone = append(gone, r.Stray)
		}
		return true
	})
	for _, s := range gone {
		t.dropStray(s)
	}
	var left [][]byte
	c := t.Bucket(bucketLeft).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		if !there[string(k)] {
			left = append(left, bytes.Clone(k))
		}
	}
	for _, k := range left {
		t.delete(bucketLeft, k)
	}
}

// unknown are the documents that no job has and that were not left on purpose,
// by their mark.
func (t *tx) unknown(listed []Stray) map[string][]Stray {
	groups := map[string][]Stray{}
	for _, s := range listed {
		d := []byte(s.Document)
		if t.get(bucketDocuments, d) == nil && t.get(bucketLeft, d) == nil {
			groups[s.Mark] = append(groups[s.Mark], s)
		}
	}
	return groups
}

// holders finds the jobs that bear the marks; of several, the one that may want
// a document most. Jobs that are done want none.
func (t *tx) holders(groups map[string][]Stray) map[string]Job {
	holders := map[string]Job{}
	if len(groups) == 0 {
		return holders
	}
	for _, s := range []State{Uploading, Doubtful, Queued, Processing, Written, Failed, Cancelled, Rejected} { // the neediest first
		for _, id := range t.inState(s) {
			j, err := t.job(id)
			if err != nil { // its record is damaged: the others go on without it
				continue
			}
			for _, mark := range t.marks(j) {
				if _, taken := holders[mark]; !taken && groups[mark] != nil && (s != Queued || j.Twin == 0) {
					holders[mark] = j
				}
			}
		}
	}
	return holders
}

// marks are those under which a document of the job may be found, by the number
// of the upload. One that is on its way has one only.
func (t *tx) marks(j Job) map[int]string {
	marks := map[int]string{j.Resend: j.Mark}
	if j.Content.IsZero() || j.State == Uploading || j.State == Doubtful {
		return marks
	}
	last := j.Resend
	if !t.census.Rebuilt.IsZero() {
		last += spareResends
	}
	for n := range last + 1 {
		if n != j.Resend {
			marks[n] = t.mark(j.sentIdentity(), n)
		}
	}
	return marks
}

// settledByLookUp reports whether a look-up decides about the documents that
// bear the job's mark.
func settledByLookUp(j Job) bool { return j.State == Uploading || j.State == Doubtful }

// adoptable reports whether the job would rather have a document that bears its
// mark than be sent, or stay without a result that was paid for. After a queue
// was restored that holds for all that came to nothing: the retry that a person
// asked for since is lost, not what it cost.
func (t *tx) adoptable(j Job) bool {
	if j.Twin != 0 || j.Document != "" || j.Content.IsZero() || !j.Collected.IsZero() {
		return false
	}
	switch j.State {
	case Queued:
		return true
	case Failed: // one that had a document would only fail again
		return j.Uploaded.IsZero() || !t.census.Rebuilt.IsZero()
	case Rejected, Cancelled:
		return !t.census.Rebuilt.IsZero()
	}
	return false
}

// adopt lets the job go on with one of the documents, which bear one of its
// marks: the oldest that has not failed, as it has got furthest. The others are
// deleted with it.
func (t *tx) adopt(j Job, strays []Stray) Job {
	best := slices.MinFunc(strays, func(a, b Stray) int {
		if a.Failed != b.Failed {
			if a.Failed {
				return 1
			}
			return -1
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Document, b.Document))
	})
	o := adopted{Uploaded: Uploaded{Document: best.Document, Pages: best.Pages}, mark: best.Mark, resend: j.Resend}
	for n, mark := range t.marks(j) {
		if mark == best.Mark {
			o.resend = n
		}
	}
	for _, s := range strays {
		t.dropStray(s)
		if s.Document != best.Document {
			o.Twins = append(o.Twins, s.Document)
		}
	}
	next, err := t.apply(j, o)
	t.fail(err)
	record := t.identity(j.Identity)
	if record.Resends < o.resend {
		record.Resends = o.resend
		t.putJSON(bucketIdentities, j.Identity[:], record)
	}
	c := t.census
	c.Adopted++
	t.putCensus(c)
	return next
}

// adoptStray lets the job go on with a document that a census found before, if
// there is one.
func (t *tx) adoptStray(j Job) (next Job, found bool) {
	if k, _ := t.Bucket(bucketStrays).Cursor().First(); k == nil || !t.adoptable(j) {
		return j, false
	}
	marks := t.marks(j)
	for _, n := range slices.Sorted(maps.Keys(marks)) {
		var strays []Stray
		t.eachStray([]byte(marks[n]+"\x00"), func(r strayRecord) bool {
			strays = append(strays, r.Stray)
			return true
		})
		if len(strays) > 0 {
			return t.adopt(j, strays), true
		}
	}
	return j, false
}

// reportSweep takes what became of the deletion of a stray.
func (t *tx) reportSweep(s Stray, o Outcome) {
	var r strayRecord
	v := t.get(bucketStrays, strayKey(s))
	if v == nil { // a scan was found meanwhile that has it
		return
	}
	if err := json.Unmarshal(v, &r); err != nil {
		t.fail(err)
		return
	}
	switch o := o.(type) {
	case Deleted:
		t.answered()
		t.dropStray(s)
		c := t.census
		c.Deleted++
		t.putCensus(c)
	case Retry:
		r.Attempts++
		r.Due = t.now.Add(max(min(firstDelay<<min(r.Attempts-1, 12), t.policy.longestDelay), min(o.After, longestAsked)))
		if o.Silent && r.Attempts >= attempts-1 {
			r.Attempts = attempts - 1
			t.hold(unreachable(o.Err))
		}
		if r.Attempts >= deleteAttempts { // the service's own expiry is what is left
			r.Due = time.Time{}
		}
		t.putStray(r)
	case Held:
		r.Due = t.now.Add(heldDelay)
		t.putStray(r)
	}
}

// unreachable is the hold of an account that nobody answers.
func unreachable(err error) Hold {
	return Hold{Cause: Unreachable, Reason: "the service does not answer: see that the network, api.url and api.proxy are right (" + err.Error() + ")"}
}

// A CensusState says how far the reading of the service's list has got.
type CensusState struct {
	Last    time.Time // when the last complete one began; zero if there was none
	Next    time.Time // when the next one is due
	Rebuilt time.Time // when the queue was restored, while what was lost is still looked for; else zero
	Awaited []string  // the folders that are still to be looked through for that
	Strays  int       // documents of this installation that no job has, and that are still there
	Adopted int       // documents that jobs went on with, since the queue was made
	Deleted int       // documents that no job needed and that were deleted, since then
}

// Census returns how far the reading of the service's list has got.
func (q *Queue) Census() (CensusState, error) {
	var s CensusState
	err := q.read(func(t *tx) error {
		c := t.census
		s = CensusState{Last: c.Last, Next: c.Next, Rebuilt: c.Rebuilt, Adopted: c.Adopted, Deleted: c.Deleted}
		if !c.Rebuilt.IsZero() {
			s.Awaited = t.awaited()
		}
		t.eachStray(nil, func(strayRecord) bool {
			s.Strays++
			return true
		})
		return t.err
	})
	return s, err
}

// ErrRebuilding means that the queue was restored and that documents may still
// be of scans that were not found yet.
var ErrRebuilding = errors.New("the queue was restored, and not all of its scans may have been found again")

// Orphans returns those of the documents that no job has or may still want; of
// those that were left at the service on purpose, none. The error is
// [ErrRebuilding] while that cannot be told.
func (q *Queue) Orphans(listed []Stray) ([]Stray, error) {
	var orphans []Stray
	err := q.read(func(t *tx) error {
		if !t.census.Rebuilt.IsZero() {
			return ErrRebuilding
		}
		groups := t.unknown(listed)
		holders := t.holders(groups)
		for _, s := range listed {
			if !slices.Contains(groups[s.Mark], s) {
				continue
			}
			if j, held := holders[s.Mark]; !held || !settledByLookUp(j) && !t.adoptable(j) {
				orphans = append(orphans, s)
			}
		}
		return t.err
	})
	return orphans, err
}

// KeepsCopies reports whether there is a folder whose copies stay at the
// service on purpose. Strays are not deleted by themselves then.
func (q *Queue) KeepsCopies() (keeps bool, err error) {
	err = q.read(func(t *tx) error {
		keeps = t.keepsCopies()
		return nil
	})
	return keeps, err
}

// verifyStrays checks the records of strays and of documents that were left.
func (t *tx) verifyStrays() error {
	err := t.bucket(bucketStrays).ForEach(func(k, v []byte) error {
		var r strayRecord
		switch err := json.Unmarshal(v, &r); {
		case err != nil || !bytes.Equal(strayKey(r.Stray), k):
			return fmt.Errorf("strays: the entry of %q is damaged", k)
		case t.get(bucketDocuments, []byte(r.Document)) != nil:
			return fmt.Errorf("strays: %s belongs to a job", r.Document)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.bucket(bucketLeft).ForEach(func(k, _ []byte) error {
		if t.get(bucketDocuments, k) != nil {
			return fmt.Errorf("left: %s belongs to a job", k)
		}
		return nil
	})
}

// choreSoon reports whether there is something to do, beside the jobs, that is
// worth waiting for. A restored queue sends nothing before its census: that is
// waited for, unless it fails again and again or tells nothing.
func (q *Queue) choreSoon(t *tx, now time.Time) bool {
	task, _, next := q.chore(t, now)
	if task.Step != "" {
		return true
	}
	c := t.census
	if t.holdsRebuilt() && c.Failed < attempts && c.Next.Sub(now) < censusEvery/2 {
		return true
	}
	const horizon = time.Minute
	return !next.IsZero() && !next.Equal(c.Next) && next.Sub(now) <= horizon
}

// Installation returns what makes the marks of this queue.
func (q *Queue) Installation() Installation { return q.installation }
