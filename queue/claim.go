package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A Step is what a worker is to do for a job.
type Step string

const (
	Upload  Step = "upload"  // send the scan
	Copy    Step = "copy"    // have the results of a twin
	LookUp  Step = "look up" // find out whether an unanswered upload arrived
	Collect Step = "collect" // fetch and write the results
	Delete  Step = "delete"  // delete the remote copies, move the original
	Survey  Step = "survey"  // ask for all that the service works on by its list; see [Surveyed]
	Probe   Step = "probe"   // find out whether the service answers us again
	Census  Step = "census"  // read the service's whole list; see [Counted]
	Sweep   Step = "sweep"   // delete a document that no job needs
)

// A class is a kind of step of which none may keep the others waiting.
type class int

const (
	sending class = iota
	fetching
	clearing
	classes
)

func (s Step) class() class {
	switch s {
	case Upload, Copy:
		return sending
	case Delete:
		return clearing
	}
	return fetching
}

// full reports whether as many steps of the class are handed out as may be.
func (q *Queue) full(c class) bool { return q.limit > 0 && q.busy[c] >= q.limit }

// Limit bounds how many steps that send, that fetch, and that clear up are handed out
// at once: so many of each. 0, which is so at first, is without bound. With
// workers for more than twice as many, requests of one kind that hang keep none
// of another from being made.
func (q *Queue) Limit(steps int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit = steps
	q.wake()
}

// A Task is a step of a job that a worker has claimed. It must be given back
// with [Queue.Report].
type Task struct {
	Step  Step
	Job   Job   // as it was when it was claimed; the zero Job for a Survey, a Probe, a Census and a Sweep
	Twin  Job   // for Copy: the job whose results are wanted
	Stray Stray // for Sweep

	holds []string // for the upload that probes holds: their keys
}

// ErrHeld means that what was claimed may not go on: a hold was placed since,
// or the job was cancelled. The task is to be given back as [Interrupted].
var ErrHeld = errors.New("held")

// Claim blocks until the next step of some job is due and hands it out, or
// until ctx is done, whose error it then returns. What is paid for comes first;
// then uploads, by their folder's priority and the oldest first. A job is
// handed out to one worker at a time.
func (q *Queue) Claim(ctx context.Context) (Task, error) {
	q.idle.Add(1)
	defer q.idle.Add(-1)
	select { // one looks for work, for all who wait
	case q.claiming <- struct{}{}:
		defer func() { <-q.claiming }()
	case task := <-q.found:
		if err := ctx.Err(); err != nil { // the caller was told to stop, and would drop it
			q.mu.Lock()
			defer q.mu.Unlock()
			q.unclaim(task)
			q.wake()
			return Task{}, err
		}
		return task, nil
	case <-ctx.Done():
		return Task{}, ctx.Err()
	}
	for {
		if err := ctx.Err(); err != nil {
			return Task{}, err
		}
		q.mu.Lock()
		tasks, next, err := q.claim(int(q.idle.Load()))
		changed := q.changed
		q.mu.Unlock()
		if len(tasks) > 0 {
			q.handOut(tasks[1:])
			return tasks[0], nil
		}
		if err != nil {
			return Task{}, err
		}
		if err := wait(ctx, changed, next); err != nil {
			return Task{}, err
		}
	}
}

// handOut gives tasks to those who wait for one. What nobody takes at once, as when
// they were told to stop, is given back.
func (q *Queue) handOut(tasks []Task) {
	for i, task := range tasks {
		select {
		case q.found <- task:
			continue
		default:
		}
		q.mu.Lock()
		for _, task := range tasks[i:] {
			q.unclaim(task)
		}
		q.wake()
		q.mu.Unlock()
		return
	}
}

// unclaim takes note that a job's task is over. The caller holds q.mu.
func (q *Queue) unclaim(t Task) {
	if q.claimed[t.Job.ID] {
		q.busy[t.Step.class()]--
		if t.Step == Upload {
			q.uploading--
		}
	}
	delete(q.claimed, t.Job.ID)
	q.working.Store(int32(len(q.claimed)))
}

// wait returns when something changed, when the time has come (zero: never),
// or with ctx's error.
func wait(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	var due <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-due:
	}
	return nil
}

// claim finds the next tasks, or says when there will be one: up to n where they are
// ordinary steps of jobs, which may be given back, else one. The caller holds q.mu.
func (q *Queue) claim(n int) (tasks []Task, next time.Time, err error) {
	now := time.Now()
	if err := q.heedLimits(now); err != nil {
		return nil, next, err
	}
	if len(q.limits) > 0 {
		n = 1 // what is on the way counts
	}
	err = q.readLocked(func(t *tx) error {
		for {
			var task Task
			task, next, err = q.choose(t, now)
			if err != nil || task.Step == "" {
				return err
			}
			plain := task.Job.ID != 0 && len(task.holds) == 0
			if !plain && len(tasks) > 0 {
				return nil
			}
			q.take(task, now)
			if tasks = append(tasks, task); !plain || len(tasks) >= n {
				return nil
			}
		}
	})
	if len(tasks) > 0 { // an error is met again
		err = nil
	}
	return tasks, next, err
}

// take takes note that a worker has the task.
func (q *Queue) take(task Task, now time.Time) {
	switch task.Step {
	case Probe:
		q.probing = true
		q.probed(now, Hold.blocksAll)
	case Census:
		q.counting, q.began = true, now.Round(0).UTC()
	case Sweep:
		q.sweeping = true
	case Survey:
		q.surveys.running, q.surveys.began = true, now.Round(0).UTC()
		q.looksLast = true
	default:
		q.looksLast = task.Step == Collect || task.Step != Upload && q.looksLast
		q.claimed[task.Job.ID] = true
		q.working.Store(int32(len(q.claimed)))
		q.busy[task.Step.class()]++
		if task.Step == Upload {
			q.uploading++
		}
		if len(task.holds) > 0 {
			q.probed(now, func(h Hold) bool { return slices.Contains(task.holds, h.Key()) })
		}
	}
}

// probed notes, in memory, that holds are being tried: a restart tries all.
func (q *Queue) probed(now time.Time, match func(Hold) bool) {
	holds := make(map[string]Hold, len(q.holds))
	for k, h := range q.holds {
		if match(h) {
			h.Probes++
			h.Next = now.Add(probeDelay(h.Probes))
		}
		holds[k] = h
	}
	q.holds = holds
}

func (q *Queue) choose(t *tx, now time.Time) (task Task, next time.Time, err error) {
	sooner := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	blocked := false
	for _, h := range t.holds {
		if !h.blocksAll() {
			continue
		}
		blocked = true
		switch {
		case q.probing: // its report wakes whoever waits
		case now.Before(h.Next):
			sooner(h.Next)
		default:
			return Task{Step: Probe}, next, nil
		}
	}
	if blocked {
		return Task{}, next, nil
	}
	chore, urgent, at := q.chore(t, now)
	if urgent {
		return chore, next, nil
	}
	sooner(at)

	var due []dueJob
	for _, l := range []lane{laneFinish, laneDelete, laneHeld, laneClear} {
		if (l == laneFinish || l == laneHeld) && q.full(fetching) || l != laneFinish && q.full(clearing) {
			continue
		}
		if d, ok := q.head(t, lanePrefix(l, 0)); ok {
			due = append(due, d)
		}
	}
	slices.SortStableFunc(due, func(a, b dueJob) int { return a.at.Compare(b.at) })
	var uploads []dueJob
	var probes []time.Time
	if !q.full(sending) {
		uploads, probes = q.uploads(t, now)
	}
	starved := func(d dueJob) int { // its folder has been passed over too often
		if n := q.passed[d.folder]; n >= mostPassed {
			return n
		}
		return 0
	}
	slices.SortFunc(uploads, func(a, b dueJob) int {
		return cmp.Or(cmp.Compare(starved(b), starved(a)), cmp.Compare(b.priority, a.priority), a.at.Compare(b.at), cmp.Compare(a.id, b.id))
	})
	survey := false
	if look, ok := q.head(t, lanePrefix(laneLook, 0)); ok && !q.full(fetching) {
		step := Collect
		if now.Before(look.at) {
			sooner(look.at)
			step = ""
		} else if step, at = q.look(t, look, now); step == "" {
			sooner(at)
		}
		survey = step == Survey
		switch { // looks in vain must not keep scans from being sent, nor these those
		case step == "":
		case q.looksLast && len(uploads) > 0 && !now.Before(uploads[0].at):
			uploads = slices.Insert(uploads, 1, look)
		default:
			uploads = slices.Insert(uploads, 0, look)
		}
	}
	for _, d := range append(due, uploads...) {
		if now.Before(d.at) {
			sooner(d.at)
			continue
		}
		task, err = q.task(t, d)
		if err == nil && survey && task.Step == Collect && !task.Job.ready() {
			return Task{Step: Survey}, next, nil
		}
		if err != nil { // its record cannot be read: the others go on without it
			q.damaged[d.id] = true
			q.unsound.Store(true)
			return Task{}, now, nil
		}
		if d.folder != "" {
			q.pass(d, uploads, now)
		}
		return task, next, nil
	}
	for _, at := range probes {
		sooner(at)
	}
	return chore, next, nil
}

// A dueJob is an entry of the due index.
type dueJob struct {
	id       uint64
	at       time.Time
	priority int
	folder   string   // of an upload
	holds    []string // those that its upload is to probe
}

// mostPassed is how often uploads of other folders go before the one that has
// waited longest in a folder: whatever its priority, and however many scans the
// others have, no folder waits for ever.
const mostPassed = 9

// pass takes note that the upload goes before those of the others that are due.
func (q *Queue) pass(chosen dueJob, uploads []dueJob, now time.Time) {
	for _, d := range uploads {
		switch {
		case d.folder == chosen.folder:
			delete(q.passed, d.folder)
		case !now.Before(d.at):
			q.passed[d.folder]++
		}
	}
}

// head is the first entry of a lane that no worker has.
func (q *Queue) head(t *tx, prefix []byte) (dueJob, bool) {
	c := t.Bucket(bucketDue).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		at, id := parseDueKey(k)
		if !q.claimed[id] && !q.damaged[id] {
			return dueJob{id: id, at: at}, true
		}
	}
	return dueJob{}, false
}

// uploads lists the first waiting job of each folder that is not held, and of
// each that is held and may be tried again. probes are the times at which the
// others may.
func (q *Queue) uploads(t *tx, now time.Time) (due []dueJob, probes []time.Time) {
	for path, f := range t.folders {
		priority, wanted := q.configured[path]
		if q.configured != nil && !wanted {
			continue
		}
		d, ok := q.head(t, lanePrefix(laneUpload, f.Number))
		if !ok {
			continue
		}
		d.priority, d.folder = priority, path
		credits, noCredits := t.holds[Hold{Cause: Credits}.Key()]
		if noCredits && q.uploading > 0 {
			continue // its answer says which others are small enough
		}
		if noCredits {
			least, ok := q.smallest(t, f.Number, now)
			if ok {
				d.id = least.ID
			}
			noCredits = ok && !credits.spares(least)
		}
		stuck := false
		var until time.Time // when all of its holds may be tried
		for key, h := range t.holds {
			switch {
			case !h.blocksUploads(path), h.Cause == Credits && !noCredits:
			case !h.probedByUpload(): // only somebody else can lift it
				stuck = true
				if h.Cause == Limit {
					probes = append(probes, h.Next)
				}
			default:
				d.holds = append(d.holds, key)
				if h.Next.After(until) {
					until = h.Next
				}
			}
		}
		switch {
		case stuck:
			continue
		case now.Before(until):
			probes = append(probes, until)
			continue
		}
		due = append(due, d)
	}
	return due, probes
}

// smallest finds, among the next thousand of the folder's jobs that are due, the
// one that is likely to need the fewest credits.
func (q *Queue) smallest(t *tx, folder uint32, now time.Time) (least Job, ok bool) {
	c := t.Bucket(bucketDue).Cursor()
	prefix := lanePrefix(laneUpload, folder)
	n := 0
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) && n < 1000; k, _ = c.Next() {
		n++
		at, id := parseDueKey(k)
		if now.Before(at) {
			break
		}
		if q.claimed[id] {
			continue
		}
		j, err := t.job(id)
		if err == nil && j.Twin == 0 && (!ok || Hold{Size: least.Size, Pages: least.Counted}.spares(j)) {
			least, ok = j, true
		}
	}
	return least, ok
}

// task is the step that is due for the job.
func (q *Queue) task(t *tx, d dueJob) (Task, error) {
	j, err := t.job(d.id)
	if err != nil {
		return Task{}, err
	}
	task := Task{Job: j, holds: d.holds}
	switch {
	case j.State == Queued && j.Twin != 0:
		task.Step = Copy
		if task.Twin, err = t.job(j.Twin); err != nil {
			task.Twin, err = Job{}, nil // forgotten; the worker finds no results
		}
	case j.State == Queued:
		task.Step = Upload
	case j.State == Doubtful:
		task.Step = LookUp
	case j.State == Processing:
		task.Step = Collect
	default:
		task.Step = Delete
	}
	return task, err
}

// Report takes what became of a claimed step and returns the job as it is now.
// The outcome is applied in one transaction, and only if the job is still where
// it was claimed; else the error is a [MoveError] and the task is over.
//
// [Sending] does not end a task: the job it returns belongs into the task's
// Job, and another report must follow. Its error is [ErrHeld] if a hold has
// been placed, or the job cancelled, since the claim, or if its document is at the
// service already. After any other error the task is still the
// worker's: it should be reported again, until it is done or the worker stops.
func (q *Queue) Report(task Task, o Outcome) (Job, error) {
	switch task.Step {
	case Probe, Census, Sweep, Survey:
		return Job{}, q.reportOther(task, o)
	}
	return q.reportJob(task, o)
}

// reportOther is Report for a step that is not a job's.
func (q *Queue) reportOther(task Task, o Outcome) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch task.Step {
	case Probe:
		return q.reportProbe(o)
	case Survey:
		return q.reportSurvey(o)
	}
	return q.reportChore(task, o)
}

// reportJob is Report for the step of a job.
func (q *Queue) reportJob(task Task, o Outcome) (j Job, err error) {
	_, sending := o.(Sending)
	found := false
	limit := Hold{}
	err = q.change(func(t *tx) (err error) {
		found, limit = false, Hold{}
		if j, err = t.job(task.Job.ID); err != nil {
			return err
		}
		if j.State != task.Job.State {
			return &MoveError{j.ID, j.State, string(o.kind())}
		}
		if sending {
			if j.Cancel {
				return fmt.Errorf("%w: it was cancelled", ErrHeld)
			}
			if j, found = t.adoptStray(j); found {
				return t.err
			}
			for key, h := range t.holds {
				if h.blocksAll() || h.Stops(j) && !slices.Contains(task.holds, key) {
					return fmt.Errorf("%w: %s", ErrHeld, h.Reason)
				}
			}
			if h, over := t.limited(j); over { // others went on the wire since the claim
				limit = h
				t.putHold(h)
				return t.err
			}
		}
		if j, err = t.apply(j, o); err == nil {
			j, err = q.heard(t, task, j, o)
		}
		return err
	}, func(err error) error {
		var held error
		switch {
		case found:
			held = fmt.Errorf("%w: the service has it already", ErrHeld)
		case limit.Cause != "":
			held = fmt.Errorf("%w: %s", ErrHeld, limit.Reason)
		}
		return q.reported(task, o, j, held, err)
	})
	return j, err
}

// reported draws, for memory, what follows from a report whose transaction ended
// with err, and returns what is to be said of it; held is why the job may not go on
// all the same. The caller holds q.mu.
func (q *Queue) reported(task Task, o Outcome, j Job, held, err error) error {
	_, sending := o.(Sending)
	if err == nil {
		q.looked(task.Job, j, o)
		q.policy.told = q.policy.told || !j.Announced.Equal(task.Job.Announced) && !j.Announced.IsZero()
		q.policy.listen(task.Job.State, j, o, time.Now())
	}
	if err == nil {
		err = held
	}
	_, stale := errors.AsType[*MoveError](err)
	if err == nil && !sending || stale || errors.Is(err, ErrNoJob) {
		q.unclaim(task)
		q.wake()
	}
	return err
}

func (q *Queue) reportProbe(o Outcome) error {
	err := q.updateLocked(func(t *tx) error {
		switch o := o.(type) {
		case Answered:
			t.answered()
		case Held:
			t.hold(o.Hold)
		}
		return nil
	})
	if err == nil {
		q.probing = false
		q.wake()
	}
	return err
}

// Drained blocks until there is nothing left to do that could be done without
// a person, a hold being lifted, or a clearing-up that is far off; or until
// ctx is done, whose error it then returns.
func (q *Queue) Drained(ctx context.Context) error {
	for {
		q.mu.Lock()
		drained, err := q.drained()
		if err == nil && drained {
			err = q.updateLocked(func(t *tx) error {
				t.releaseIdle()
				return nil
			})
		}
		changed := q.changed
		q.mu.Unlock()
		if err != nil || drained {
			return err
		}
		if err := wait(ctx, changed, time.Now().Add(time.Second)); err != nil {
			return err
		}
	}
}

func (q *Queue) drained() (bool, error) {
	if len(q.claimed) > 0 || q.probing || q.counting || q.sweeping || q.surveys.running {
		return false, nil
	}
	now := time.Now()
	if err := q.heedLimits(now); err != nil {
		return false, err
	}
	drained := true
	err := q.readLocked(func(t *tx) error {
		blocked := false
		for _, h := range t.holds {
			if h.blocksAll() {
				blocked = true
				drained = drained && now.Before(h.Next)
			}
		}
		if blocked {
			return nil
		}
		for l, horizon := range map[lane]time.Duration{
			laneFinish: 1<<63 - 1, laneLook: 1<<63 - 1, laneDelete: 1<<63 - 1, laneHeld: 0, laneClear: time.Minute,
		} {
			d, ok := q.head(t, lanePrefix(l, 0))
			if ok && d.at.Sub(now) <= horizon {
				drained = false
			}
		}
		if uploads, _ := q.uploads(t, now); len(uploads) > 0 {
			drained = false
		}
		if q.choreSoon(t, now) {
			drained = false
		}
		return nil
	})
	return drained, err
}
