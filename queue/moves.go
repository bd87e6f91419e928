package queue

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"
)

// removed is where a job goes that was never sent and is no longer wanted as
// it is: out of the queue, so that its file can be noticed anew.
const removed State = ""

// legal is the table of moves: from a state, by an outcome, to one of some
// states. What is not in it does not happen.
var legal = map[State]map[kind][]State{
	Queued: {
		"sending":     {Uploading},
		"divided":     {Queued},
		"collected":   {Written, Done}, // the results of its twin were copied
		"retry":       {Queued, Failed, Cancelled},
		"reject":      {Rejected, Queued},
		"changed":     {removed, Cancelled},
		"interrupted": {Queued, Cancelled},
		"held":        {Queued, Cancelled},
		"cancel":      {Queued, Cancelled},
		"again":       {Queued},
		"adopted":     {Processing, Cancelled},
	},
	Uploading: {
		"crashed":     {Doubtful},
		"cancel":      {Uploading},
		"uploaded":    {Processing, Cancelled},
		"unanswered":  {Doubtful},
		"retry":       {Queued, Failed, Cancelled},
		"reject":      {Rejected},
		"changed":     {removed, Cancelled},
		"interrupted": {Queued, Cancelled},
		"held":        {Queued, Cancelled},
	},
	Doubtful: {
		"uploaded":    {Processing, Cancelled},
		"not found":   {Doubtful, Queued, Failed, Cancelled},
		"retry":       {Doubtful},
		"interrupted": {Doubtful},
		"held":        {Doubtful},
		"cancel":      {Doubtful, Cancelled},
		"again":       {Queued, Doubtful},
	},
	Processing: {
		"pending":        {Processing, Failed, Cancelled},
		"collected":      {Written, Done},
		"part collected": {Queued, Processing, Cancelled},
		"part lost":      {Processing, Failed},
		"hinted":         {Processing},
		"asked":          {Processing},
		"retry":          {Processing, Failed, Cancelled},
		"reject":         {Rejected},
		"fail":           {Failed},
		"gone":           {Failed},
		"interrupted":    {Processing, Cancelled},
		"held":           {Processing, Cancelled},
		"announced":      {Processing},
		"cancel":         {Processing, Cancelled},
		"again":          {Processing},
	},
	Written: {
		"deleted":     {Done, Written},
		"retry":       {Written, Failed, Done},
		"interrupted": {Written},
		"held":        {Written},
		"again":       {Written},
	},
	Done: {
		"again": {Queued},
	},
	Rejected: {
		"deleted":     {Rejected},
		"retry":       {Rejected},
		"interrupted": {Rejected},
		"held":        {Rejected},
		"again":       {Queued},
		"adopted":     {Processing},
	},
	Failed: {
		"deleted":     {Failed},
		"retry":       {Failed},
		"interrupted": {Failed},
		"held":        {Failed},
		"again":       {Queued, Processing, Written},
		"adopted":     {Processing},
	},
	Cancelled: {
		"deleted":     {Cancelled},
		"retry":       {Cancelled},
		"interrupted": {Cancelled},
		"held":        {Cancelled},
		"again":       {Queued},
		"adopted":     {Processing},
	},
}

// A policy holds the times and numbers that decide when something is tried
// again, and for how long.
type policy struct {
	doubt        time.Duration // how long an unanswered upload is looked for
	longestDelay time.Duration // between two attempts, unless the service asks for more
	looks        *looks        // when results are asked for
	scarce       bool          // others could use the requests: see [looks.next]
	told         bool          // the service announces results; see [Queue.Hint]
}

// patient reports whether what somebody has open may be waited for: who asks for
// short delays, as run --once does, wants an end.
func (p policy) patient() bool { return p.longestDelay >= longestAsked }

const (
	attempts       = 10 // a step
	deleteAttempts = 30
	firstDelay     = 2 * time.Second
	longestAsked   = time.Hour // how much of a Retry-After is obeyed

	processingLimit = 24 * time.Hour

	// fewestLooks, a minute apart at most, must have found nothing before a job is
	// given up: that it is late may only be due to the clock, which was set.
	fewestLooks = 60

	// laterIsProof is how long after an upload a later one in the service's
	// list proves that the earlier did not arrive.
	laterIsProof = 30 * time.Second

	// heldDelay is how long a step that cannot be held back by its hold (what
	// is paid is still collected) waits before the next attempt.
	heldDelay = 30 * time.Second

	// paidGrace is how long a failed job's remote copy is kept when its result
	// may still be had and the service would keep it for ever: a person who
	// mends the cause within it need not pay again.
	paidGrace = 7 * 24 * time.Hour

	// silentLooks is how often a list may fail before a person is told.
	silentLooks = 12
)

// after is the job once o has happened to it at the given time. It is pure;
// that the move is legal is checked by [move].
func (j Job) after(o Outcome, now time.Time, p policy) Job {
	if err := reason(o); err != "" && (!j.State.Final() || j.Error == "") { // trouble with the clearing-up must not hide why a job failed
		j.Error = j.where() + err
	}
	switch o := o.(type) {
	case Sending:
		j.State, j.Sent, j.Due, j.Looks, j.Accepted = Uploading, now, time.Time{}, 0, false
	case Uploaded:
		j.Document, j.Uploaded, j.Pages = o.Document, now, max(j.Pages, o.Pages)
		j.Source, j.Deleted = o.Document, time.Time{}
		j.Trash = slices.DeleteFunc(slices.Clone(j.Trash), func(d string) bool { return d == o.Document })
		j.Trash = append(j.Trash, o.Twins...)
		if j.Cancel {
			return j.end(Cancelled, now)
		}
		j.next(Processing, now)
		j.Announced = time.Time{}
		j.Due = p.firstLook(j, now)
	case adopted:
		return j.adopted(o, now)
	case Unanswered:
		j.next(Doubtful, now)
		j.Doubted, j.Accepted = now, o.Accepted
		j.Error = o.Err.Error()
		j.Due = p.nextLook(j, now)
	case NotFound:
		return j.notFound(o, now, p)
	case Pending:
		j.Looks++
		switch {
		case j.Cancel:
			return j.end(Cancelled, now)
		case now.Sub(j.Uploaded) > processingLimit && j.Looks >= fewestLooks:
			j.Error = fmt.Sprintf("the service has not finished within %v", processingLimit)
			return j.endPaid(now)
		}
		j.Attempts, j.Hint, j.Looked = 0, "", j.asked(now)
		j.Due = p.nextAsked(j, now)
	case hinted:
		j.Hint, j.Due = o.hint, now
	case asked:
		j.Looked = now
		j.Due = p.nextAsked(j, now)
	case Divided:
		j = j.divided(o)
		j.Due = now
	case PartCollected:
		return j.partCollected(now)
	case PartLost:
		return j.partLost(o, now)
	case Collected:
		j.next(Written, now)
		j.Collected = now
		if !j.leftovers() {
			return j.end(Done, now)
		}
	case Deleted:
		return j.deleted(o, now)
	case Retry:
		return j.retry(o, now, p)
	case Reject:
		if j.State == Queued && j.Twin != 0 && j.Resend > 0 { // copying was only tried first, to save the money
			j.Twin, j.Due = 0, now
			return j
		}
		return j.end(Rejected, now)
	case Fail:
		j.discard()
		return j.end(Failed, now)
	case Gone:
		j.Document = ""
		return j.end(Failed, now)
	case Changed:
		if len(j.documents()) > 0 { // of an earlier upload, or of parts; somebody has to remember them
			return j.end(Cancelled, now)
		}
		j.State = removed
	case Interrupted:
		if j.Cancel && cancellable(j.State) {
			return j.end(Cancelled, now)
		}
		if j.State == Uploading {
			j.next(Queued, now)
		}
		j.Due = now
	case announced:
		j.Announced = now
		if j.Attempts == 0 { // where trouble makes it wait it waits
			j.Due, j.Hint = now, HintReady
		}
	case crashed:
		// When the process ended nobody knows; by now it cannot be sending.
		j.State, j.Due, j.Looks, j.Doubted = Doubtful, now, 0, now
		j.Error = "scandrop ended while this was being uploaded"
	case cancel:
		return j.cancelled(o, now)
	case again:
		return j.again(o, now)
	case Held:
		if j.Cancel && cancellable(j.State) {
			return j.end(Cancelled, now)
		}
		if j.State == Uploading {
			j.State = Queued // its attempts count on: none was used, none is given back
		}
		j.Due = now
		if j.State != Queued {
			j.Due = now.Add(heldDelay)
		}
	}
	return j
}

// next enters a state whose step is due at once and has used no attempts.
// Going back to Queued keeps them, so that an upload that never arrives does
// not go round for ever.
func (j *Job) next(s State, now time.Time) {
	if s != Queued && s != Doubtful {
		j.Attempts = 0
		j.Error = ""
	}
	j.State, j.Due, j.Looks = s, now, 0
	j.Hint, j.Looked = "", time.Time{}
}

// end enters a final state; what is left over is to be cleared away at once.
func (j Job) end(s State, now time.Time) Job {
	j.State, j.Finished, j.Cancel = s, now, false
	j.Attempts, j.Looks, j.Due = 0, 0, time.Time{}
	j.Hint, j.Looked = "", time.Time{}
	switch s {
	case Done:
		j.Error = ""
		if j.Options.DeleteRemote {
			j.forget(func(string) bool { return true })
		}
	case Rejected:
		j.discard()
	case Cancelled: // whoever cancels wants nothing to stay, whatever the folder's rule
		j.Trash = append(slices.Clip(j.Trash), j.live()...)
		j.forget(func(string) bool { return true })
		j.Error = ""
	}
	if s != Done && j.leftovers() {
		j.Due = now
	}
	return j
}

// forget drops the documents that match from the job, wherever it has them but in
// the trash.
func (j *Job) forget(match func(string) bool) {
	if match(j.Document) {
		j.Document = ""
	}
	for n, p := range j.Parts {
		if match(p.Document) {
			j.part(n).Document = ""
		}
	}
}

// partCollected is the job once it has all results of the part that it is at.
func (j Job) partCollected(now time.Time) Job {
	if n := j.Part(); n < len(j.Parts) {
		p := j.part(n)
		p.Document, p.Source, p.Resent, p.Collected = j.Document, j.Source, j.Resent, true
		j.Document, j.Resent = "", 0
	}
	n := j.Part()
	if n < len(j.Parts) {
		j.Mark = j.Parts[n].Mark
	}
	if j.Cancel {
		return j.end(Cancelled, now)
	}
	if n == len(j.Parts) {
		j.next(Processing, now)
		return j
	}
	j.next(Queued, now)
	j.Attempts, j.Error = 0, "" // of the part before
	j.Due = j.Added             // before all that came later
	return j
}

// partLost is the job once results of a part are found to be missing: where its
// document lives they are fetched again.
func (j Job) partLost(o PartLost, now time.Time) Job {
	if o.Part >= len(j.Parts) || j.Document != "" { // it was at another one
		j.Due = now
		return j
	}
	p := j.part(o.Part)
	p.Collected = false
	j.Mark, j.Resent, p.Resent = p.Mark, p.Resent, 0
	if p.Document == "" {
		return j.end(Failed, now)
	}
	j.Document, p.Document = p.Document, ""
	j.next(Processing, now)
	return j
}

// discard gives up the job's document: there is no result to be had from it.
func (j *Job) discard() {
	if j.Options.DeleteRemote {
		j.trash()
	}
	j.Document = ""
}

// trash has the job's document deleted, if there is one.
func (j *Job) trash() {
	if j.Document != "" {
		j.Trash = append(slices.Clip(j.Trash), j.Document)
	}
	j.Document = ""
}

// keep puts off deleting the document until it expires by itself.
func (j Job) keep(now time.Time) Job {
	j.Keep = now.Add(paidGrace)
	if j.Options.DeleteAfter > 0 {
		j.Keep = j.Uploaded.Add(j.Options.DeleteAfter)
	}
	return j
}

// endPaid fails a job whose result may still be had: its remote copy is kept
// for a while, so that a retry can collect it.
func (j Job) endPaid(now time.Time) Job {
	return j.keep(now).end(Failed, now)
}

func (j Job) deleted(o Deleted, now time.Time) Job {
	isGone := func(id string) bool { return slices.Contains(o.Documents, id) }
	j.Trash = slices.DeleteFunc(slices.Clone(j.Trash), isGone)
	j.forget(isGone)
	if len(o.Documents) > 0 && len(j.documents()) == 0 {
		j.Deleted = now
	}
	switch {
	case o.Moved != "":
		j.Moved = o.Moved
	case o.Stays:
		j.Options.MoveDone, j.Options.MoveFailed = "", ""
	}
	j.Attempts, j.Due = 0, time.Time{}
	switch {
	case j.leftovers():
		j.Due = now
		if j.Keep.After(now) {
			j.Due = j.Keep
		}
	case j.State == Written:
		return j.end(Done, now)
	}
	return j
}

// cancellable reports whether a job that is not being worked on can be
// cancelled at once in this state.
func cancellable(s State) bool {
	return s == Queued || s == Uploading || s == Processing
}

func (j Job) retry(o Retry, now time.Time, p policy) Job {
	if j.Cancel && cancellable(j.State) {
		return j.end(Cancelled, now)
	}
	j.Attempts++
	j.Due = now.Add(p.delay(j, o.After))
	if o.Silent && j.State != Written { // nobody said no: a night without network is not the scan's fault
		j.Attempts = min(j.Attempts, attempts-1)
	}
	if o.Throttled || o.InUse && p.patient() { // others may keep the account busy, or a text open, for a day
		limit := attempts
		if j.State == Written || j.State.Final() {
			limit = deleteAttempts
		}
		j.Attempts = min(j.Attempts, limit-1)
	}
	switch j.State {
	case Doubtful: // a list that fails proves nothing, however often, and is no attempt to send
		j.Attempts--
		j.Looks++
		j.Due = now.Add(max(min(time.Second<<min(j.Looks, 12), p.longestDelay), min(o.After, longestAsked)))
	case Queued, Uploading:
		j.State = Queued
		if j.Attempts >= attempts {
			return j.end(Failed, now)
		}
	case Processing:
		if j.Attempts >= attempts {
			return j.endPaid(now)
		}
	case Written:
		switch {
		case j.Attempts < deleteAttempts:
		case len(j.documents()) == 0: // only its original could not be moved: it stays
			return j.end(Done, now)
		default:
			j.Error = "its results are here, but its remote copy could not be deleted: " + j.Error
			j = j.end(Failed, now)
			j.Due = time.Time{}
		}
	default:
		if j.Attempts >= deleteAttempts { // the service's own expiry is what is left
			j.Due = time.Time{}
		}
	}
	return j
}

// adopted is the job once a document of it was found that it did not know of.
func (j Job) adopted(o adopted, now time.Time) Job {
	j.trash()
	j.Document, j.Uploaded, j.Pages = o.Document, now, max(j.Pages, o.Pages)
	j.Trash = append(slices.Clip(j.Trash), o.Twins...)
	j.Resend, j.Mark, j.Announced = o.resend, o.mark, time.Time{}
	if j.Cancel {
		return j.end(Cancelled, now)
	}
	j.Keep, j.Finished = time.Time{}, time.Time{}
	j.allowRefused()
	j.next(Processing, now)
	return j
}

func (j Job) notFound(o NotFound, now time.Time, p policy) Job {
	since := now.Sub(j.Doubted)
	j.Looks++
	switch {
	case o.Nameless:
		j.Error = "the service's list does not give file names back, so nobody can tell whether this upload arrived; look into the account, then retry it (which pays again if it did) or cancel it"
		j.Due = time.Time{}
	case since < p.doubt && (j.Accepted || !o.Later || since < laterIsProof):
		j.Due = p.nextLook(j, now)
	case j.Cancel:
		return j.end(Cancelled, now)
	case j.Accepted && j.Resent > 0: // it says yes each time, and each time may have cost money
		j.Error = fmt.Sprintf("the service has twice said that it took this scan, not under which id, and its list does not show it; look into the account, then retry it (which pays again if it did) or cancel it: %s", j.Error)
		j.Due = time.Time{}
	default:
		j.Attempts++
		if j.Attempts >= attempts {
			j.Error = fmt.Sprintf("sent %d times, and each time neither answered nor found in the service's list: %s", j.Resent+1, j.Error)
			return j.end(Failed, now)
		}
		j.Resent++
		j.State, j.Looks = Queued, 0
		j.Due = now
	}
	return j
}

// cancelled is the job once a person has cancelled it: at once, or, if a
// request may be on its way, at the next safe point.
func (j Job) cancelled(o cancel, now time.Time) Job {
	switch {
	case o.busy, j.State == Uploading:
		j.Cancel = true
	case j.State == Doubtful && !j.Due.IsZero(): // it is found first, so that it can be deleted
		j.Cancel, j.Due = true, now
	default:
		return j.end(Cancelled, now)
	}
	return j
}

// again is the job once a person has asked for another try. Where a document
// lives its result is collected; only where there is none is the scan sent.
func (j Job) again(o again, now time.Time) Job {
	j.Attempts, j.Cancel, j.Finished, j.Keep = 0, false, time.Time{}, time.Time{}
	j.Present = false // a person can tell
	switch {
	case j.State == Queued && j.Due.IsZero(): // its twin's results are on their way
		return j
	case j.State == Queued, j.State == Processing, j.State == Written, j.State == Doubtful && !j.Due.IsZero():
		j.Due = now
		return j
	case j.State == Failed && !j.Collected.IsZero(): // only the clearing-up failed
		j.next(Written, now)
		return j
	case j.State == Failed && (j.Document != "" || j.gathered()):
		j.next(Processing, now)
		j.Uploaded = now // the deadline counts from here
		j.allowRefused()
		return j
	}
	j.discard()
	if j.Twin = o.twin; j.State == Done { // its results were had: a person wants it sent
		j.Twin = 0
		j.Parts = nil // with their files, which are gone
	}
	if n := j.Part(); n < len(j.Parts) {
		j.part(n).Mark = o.mark
	}
	j.State, j.Due, j.Looks, j.Error, j.Collected = Queued, now, 0, "", time.Time{}
	j.Anyway = true
	if j.Twin != 0 && o.wait {
		j.Due = time.Time{}
	}
	j.Resend, j.Mark = o.resend, o.mark
	j.allowRefused()
	for i, r := range j.Results { // ours to overwrite, and no longer what is wanted
		j.Results[i].Earlier, j.Results[i].Content = r.contents(), Digest{}
	}
	return j
}

// allowRefused lets formats be asked for again that the service refused.
func (j *Job) allowRefused() {
	j.Results = slices.Clone(j.Results)
	j.Results = slices.DeleteFunc(j.Results, func(r Result) bool { return r.Refused != "" })
}

// delay is how long to wait before the next attempt: 2 s, doubling, and no less
// than the service asked for, up to an hour. Who asks for a second, again and
// again, would else see all attempts used up at once. Up to a fifth of our own
// delay is taken off, so that jobs that failed together don't come back
// together; the share is derived from the job, which keeps [Job.after] pure.
func (p policy) delay(j Job, asked time.Duration) time.Duration {
	d := min(firstDelay<<min(j.Attempts-1, 12), p.longestDelay)
	return max(d-spread(j, d/5), min(asked, longestAsked))
}

// nextLook is when to look again for a doubtful upload: soon, then at growing
// intervals, and at the very moments at which a look can settle it.
func (p policy) nextLook(j Job, now time.Time) time.Time {
	next := now.Add(min(time.Second<<min(j.Looks, 5), 30*time.Second))
	for _, decisive := range []time.Duration{laterIsProof, p.doubt} {
		if at := j.Doubted.Add(decisive); at.After(now) && at.Before(next) {
			next = at
		}
	}
	return next
}

// spread is a duration below most, which differs from job to job and from
// attempt to attempt.
func spread(j Job, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	h := fnv.New64a()
	fmt.Fprint(h, j.ID, j.Attempts, j.Looks)
	return time.Duration(h.Sum64() % uint64(most))
}

// A MoveError says that an outcome does not fit the job any more: somebody
// else, a person perhaps, moved it meanwhile. Nothing was changed.
type MoveError struct {
	Job     uint64
	From    State  // where the job is
	Outcome string // what was reported
}

func (e *MoveError) Error() string {
	return fmt.Sprintf("job %d is %s: %q does not apply to it", e.Job, e.From, e.Outcome)
}

// move is after, held against the table.
func (j Job) move(o Outcome, now time.Time, p policy) (Job, error) {
	to := legal[j.State][o.kind()]
	if to == nil {
		return j, &MoveError{j.ID, j.State, string(o.kind())}
	}
	next := j.after(o, now.Round(0).UTC(), p)
	if !slices.Contains(to, next.State) {
		return j, errors.Join(&MoveError{j.ID, j.State, string(o.kind())}, fmt.Errorf("it would become %q", next.State))
	}
	return next, nil
}
