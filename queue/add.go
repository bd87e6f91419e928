package queue

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"time"
)

// An Added says what became of a scan that was added.
type Added struct {
	Job Job
	// Known is set if the scan had been there before and nothing was made of
	// it now.
	Known bool
	// Replaced is the job of the same path that was still waiting to be sent
	// and has been dropped for this one; 0 if there was none.
	Replaced uint64
}

// Seen reports whether the file at the path, with that size and time, is
// known: it has been added, or ignored, before. It is the cheap first look
// that saves a rescan from reading files.
func (q *Queue) Seen(path string, size int64, mod time.Time) (bool, error) {
	seen := false
	err := q.read(func(t *tx) error {
		p, ok := t.path(path)
		seen = ok && p.size == size && p.mod == mod.UnixNano()
		return nil
	})
	return seen, err
}

// Forgotten is how many files have ceased to be [Queue.Seen] since the queue was
// opened, so that they can be noticed anew.
func (q *Queue) Forgotten() uint64 { return q.forgotten.Load() }

// Add takes settled scans, durably, all of them or none. A scan that is
// already known, by its path and content, changes nothing. New content at the
// path of a job that was not sent yet takes that job's place. The same content
// under another name waits for the results of the first, or is rejected if it
// was paid for and they cannot be had; it is never sent again by itself.
func (q *Queue) Add(scans ...Scan) ([]Added, error) {
	var added []Added
	err := q.update(func(t *tx) error {
		added = added[:0]
		for _, s := range scans {
			a := t.add(s, q.claimed)
			if t.err != nil {
				return t.err
			}
			added = append(added, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

func (t *tx) add(s Scan, claimed map[uint64]bool) Added {
	a := Added{}
	record := pathRecord{size: s.Size, mod: s.ModTime.UnixNano()}
	if p, ok := t.path(s.Path); ok && p.job != 0 {
		old, err := t.job(p.job)
		same := old.Content == s.Content && !s.Content.IsZero()
		switch {
		case err != nil: // its record is gone or damaged; the scan itself is what counts
		case same && !t.startOver(old, s, claimed):
			record.job = old.ID
			t.putPath(s.Path, record)
			return Added{Job: old, Known: true}
		case same, t.unsent(old, claimed) && !old.Spooled: // a copy of the earlier scan is kept, and is sent
			t.drop(old)
			a.Replaced = old.ID
		}
	}
	a.Job = t.enter(s)
	record.job = a.Job.ID
	t.putPath(s.Path, record)
	return a
}

// enter makes a job of a scan that is new.
func (t *tx) enter(s Scan) Job {
	j := t.newJob(s)
	if j.State == Queued && j.HeldBy == "" {
		if why := t.tooMany(j); why != "" {
			j.Error = why
			j = j.end(Rejected, t.now)
		}
	}
	j = t.create(j)
	if s.Profile != nil {
		t.hold(*s.Profile)
	}
	t.tell(Job{}, j, nil)
	j, _ = t.adoptStray(j)
	if j.State == Queued && j.Present && !t.holdsRebuilt() {
		j = t.endPresent(j)
	}
	return j
}

// enterAnew makes another job of what is kept of a job's scan: its file may be gone.
func (t *tx) enterAnew(j Job, o Options, hold *Hold) {
	p, known := t.path(j.Path)
	t.drop(j)
	next := t.enter(Scan{
		Folder: j.Folder, Path: j.Path, Size: j.Size, ModTime: j.ModTime, Content: j.Content, Ext: j.Ext,
		Pages: j.Counted, Spooled: true, Options: o, Profile: hold,
	})
	if known && p.job == j.ID {
		p.job = next.ID
		t.putPath(j.Path, p)
	}
}

// drop removes a job that was never paid for; a twin of it that waits takes its
// place.
func (t *tx) drop(j Job) {
	t.remove(j)
	j.State = removed
	t.freeTwins(j)
}

// unsent reports whether no upload of the job can have arrived and no worker
// has it: it can be dropped without a trace. One that was begun and refused
// did not arrive.
func (t *tx) unsent(j Job, claimed map[uint64]bool) bool {
	return j.State == Queued && j.Resent == 0 && j.Resend == 0 && len(j.Trash) == 0 && !j.halfway() && !claimed[j.ID]
}

// startOver reports whether a scan that is found again as it was is to be
// taken as new all the same: it was not paid for, and what stood in its way
// may have gone, because the folder asks for other work now, or because the
// job had failed, not for a reason in the file, and was dropped once more.
func (t *tx) startOver(old Job, s Scan, claimed map[uint64]bool) bool {
	if t.identity(old.Identity).Paid > 0 {
		return false
	}
	if t.unsent(old, claimed) {
		return !old.Options.equal(s.Options)
	}
	return (old.State == Failed || old.State == Cancelled) && !old.leftovers()
}

// newJob decides what becomes of a scan that is new.
func (t *tx) newJob(s Scan) Job {
	j := Job{
		State: Queued, Folder: s.Folder, Path: s.Path, Size: s.Size, ModTime: s.ModTime.Round(0).UTC(),
		Content: s.Content, Ext: s.Ext, Counted: s.Pages, Spooled: s.Spooled, Options: s.Options, Identity: Identity(s.Content, s.Options),
		Present: s.Present && !t.census.Rebuilt.IsZero(),
		Added:   t.now, Due: t.now,
	}
	j.Mark = t.mark(j.Identity, 0)
	if s.Reject != "" {
		j.Error = s.Reject
		return j.end(Rejected, t.now)
	}
	if s.Profile != nil { // it waits by itself, and nobody for it
		j.Options, j.Identity = Options{}, Identity(s.Content, Options{})
		j.Mark, j.HeldBy, j.Error, j.Due = t.mark(j.Identity, 0), Profile, s.Profile.Reason, time.Time{}
		return j
	}
	return t.place(j)
}

// below reports whether the file lies in the folder, or in one below it.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// place decides whether a job whose scan was never sent may be: only if nothing
// was paid for its identity. Else it is to have another job's results.
func (t *tx) place(j Job) Job {
	first, found := t.firstOf(j)
	switch {
	case !found:
		if paid := t.identity(j.Identity); paid.Paid > 0 {
			j.Error = fmt.Sprintf("the same content was sent and paid for before (last on %s), and its story has been forgotten; retry it to pay again", paid.Last.Format(time.DateOnly))
			return j.end(Rejected, t.now)
		}
	case first.State == Done:
		j.Twin = first.ID
	case !first.State.Final():
		j.Twin, j.Due = first.ID, time.Time{}
	case t.identity(j.Identity).Paid > 0:
		j.Error = paidElsewhere(first)
		return j.end(Rejected, t.now)
	}
	return j
}

// firstOf finds the job of the same identity whose results j should have: one
// that is done, else one that is on its way, else any that was tried.
func (t *tx) firstOf(j Job) (first Job, found bool) {
	rank := func(j Job) int {
		switch {
		case j.State == Done:
			return 3
		case !j.State.Final() && j.Twin == 0:
			return 2
		case j.State == Rejected:
			return 0
		}
		return 1
	}
	for _, other := range t.sameContent(j.Content) {
		if j.Content.IsZero() || other.ID == j.ID || other.Identity != j.Identity || !other.State.Final() && other.Twin != 0 {
			continue
		}
		if !found || rank(other) > rank(first) {
			first, found = other, true
		}
	}
	return first, found
}

// Ignore records files that are known and not wanted. Only their Path, Size
// and ModTime matter.
func (q *Queue) Ignore(scans ...Scan) error {
	return q.update(func(t *tx) error {
		for _, s := range scans {
			if _, known := t.path(s.Path); !known {
				t.putPath(s.Path, pathRecord{size: s.Size, mod: s.ModTime.UnixNano()})
			}
		}
		return nil
	})
}

// Introduced reports whether the folder has been looked through completely at
// least once; [Queue.Introduce] records that it has.
func (q *Queue) Introduced(folder string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.folders[folder].Introduced
}

// Introduce records that the folder has been looked through.
func (q *Queue) Introduce(folder string) error {
	return q.update(func(t *tx) error {
		f := t.folder(folder)
		f.Introduced = true
		t.putFolder(folder, f)
		return nil
	})
}

// Configure gives the jobs of the folder that wait to be sent its present
// options, or those that of gives for their path, or the hold of a profile where
// none can be had. Those that are held, and those that would become other work
// (another action, extractor or prompt), are dropped: the watcher finds their files
// again and they are queued as what they are then. Those of which a copy is kept
// are queued anew at once. Jobs that were sent keep the options they were sent with.
// The queue goes on while of is asked, however long that takes.
func (q *Queue) Configure(folder string, usual Options, of func(path string) (Options, *Hold)) error {
	type answer struct {
		o    Options
		hold *Hold
	}
	answers := map[string]answer{} // by path
	for {
		// It looks into folders, and a share may hang: nothing may be locked
		// meanwhile. What is added in between is asked for in the next round.
		var unknown []string
		err := q.update(func(t *tx) error {
			unknown = nil
			f, known := t.folders[folder]
			if f.KeepsCopies == usual.DeleteRemote {
				f = t.folder(folder)
				f.KeepsCopies = !usual.DeleteRemote
				t.putFolder(folder, f)
			}
			if !known {
				return nil
			}
			for j, err := range t.waiting(folder, q.claimed) {
				if err != nil {
					return err
				}
				if _, asked := answers[j.Path]; of != nil && !asked {
					unknown = append(unknown, j.Path)
				}
			}
			if len(unknown) > 0 {
				return nil
			}
			for j, err := range t.waiting(folder, q.claimed) {
				if err != nil {
					return err
				}
				a := answer{o: usual}
				if of != nil {
					a = answers[j.Path]
				}
				held := j.HeldBy == Profile
				switch {
				case a.hold != nil && held:
				case a.hold == nil && !held && j.Options.equal(a.o):
				case a.hold == nil && !held && j.Options.sameWork(a.o):
					next := j
					next.Options = a.o
					t.write(j, next)
				case j.Spooled:
					t.enterAnew(j, a.o, a.hold)
				default:
					t.drop(j)
				}
			}
			return nil
		})
		if err != nil || len(unknown) == 0 {
			return err
		}
		for _, path := range unknown {
			o, hold := of(path)
			answers[path] = answer{o, hold}
		}
	}
}

// waiting yields the jobs of the folder that wait to be sent and may become
// something else. Those that wait for a twin are not due, but waiting all the
// same. They are newer than it, and go first: who is dropped inherits nothing.
func (t *tx) waiting(folder string, claimed map[uint64]bool) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for _, id := range slices.Backward(t.inState(Queued)) {
			j, err := t.job(id)
			if err == nil && (j.Folder != folder || !t.unsent(j, claimed) || j.HeldBy == Profile && !j.Spooled) {
				continue
			}
			if !yield(j, err) || err != nil {
				return
			}
		}
	}
}

// A NameClaim is the queue's answer to a job that wants a name for a result.
type NameClaim struct {
	Mine bool
	// Replaces lists the contents that may be overwritten under that name: our
	// own, by this job or by an older one of the same scan's path.
	Replaces []Digest
}

// Reserve asks whether the job may have the path for its result of the given
// format, and records, if so, that it will hold the content. A name belongs to
// the job that reserved it first; a newer job of the same scan's path takes it
// over, unless the older one's original was moved away.
func (q *Queue) Reserve(job uint64, format, path string, content Digest) (NameClaim, error) {
	var claim NameClaim
	err := q.update(func(t *tx) error {
		claim = NameClaim{}
		j, err := t.job(job)
		if err != nil {
			return err
		}
		// What this job ever wrote as this format is its own, under any name.
		mine, _ := j.Result(format)
		contents := mine.contents()
		if owner := t.owner(path); owner.ID != 0 && owner.ID != job {
			// One whose original was moved away, or kept, was not replaced: a
			// scanner that calls all its scans the same still wants all their results.
			if owner.Path != j.Path || owner.ID > job || owner.Moved != "" || owner.Spooled {
				return nil
			}
			contents = append(contents, owner.contents(path)...)
		}
		claim.Mine = true
		claim.Replaces = contents
		const kept = 8
		if n := len(claim.Replaces); n > kept {
			claim.Replaces = claim.Replaces[n-kept:]
		}
		next := j
		next.setResult(Result{Format: format, Path: path, Content: content, Earlier: claim.Replaces})
		t.write(j, next)
		t.put(bucketNames, []byte(path), key64(job))
		return nil
	})
	return claim, err
}

// Refuse records that the service does not make a format of this job's scan.
func (q *Queue) Refuse(job uint64, format, why string) error {
	return q.update(func(t *tx) error {
		j, err := t.job(job)
		if err != nil {
			return err
		}
		next := j
		next.setResult(Result{Format: format, Refused: why})
		t.write(j, next)
		return nil
	})
}

// owner is the job that reserved the name, the zero Job if none did or it is
// forgotten.
func (t *tx) owner(path string) Job {
	v := t.get(bucketNames, []byte(path))
	if v == nil {
		return Job{}
	}
	j, err := t.job(parseID(v))
	if err != nil {
		return Job{}
	}
	return j
}

// contents lists the digests that the result's file may rightly have.
func (r Result) contents() []Digest {
	all := append([]Digest(nil), r.Earlier...)
	if !r.Content.IsZero() {
		all = append(all, r.Content)
	}
	return all
}

func (j Job) contents(path string) []Digest {
	for _, r := range j.Results {
		if r.Path == path {
			return r.contents()
		}
	}
	return nil
}

func (j *Job) setResult(r Result) {
	results := make([]Result, 0, len(j.Results)+1)
	for _, old := range j.Results {
		if old.Format != r.Format {
			results = append(results, old)
		}
	}
	j.Results = append(results, r)
}

// Has reports whether there is a job whose scan has, or had, the content.
func (q *Queue) Has(content Digest) (has bool, err error) {
	err = q.read(func(t *tx) error {
		has = len(t.sameContent(content)) > 0
		return t.err
	})
	return has, err
}

// Spooled reports whether the kept copy of that content is needed: by a job that
// is not done, and so is sent, or may be sent again, from there.
func (q *Queue) Spooled(content Digest) (needed bool, err error) {
	err = q.read(func(t *tx) error {
		for _, j := range t.sameContent(content) {
			needed = needed || j.Spooled && j.State != Done
		}
		return t.err
	})
	return needed, err
}
