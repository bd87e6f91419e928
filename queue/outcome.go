package queue

import "time"

// An Outcome is what became of one step of a job. The set is closed: a worker
// reports facts, and the queue alone turns them into a state and a due time.
type Outcome interface{ kind() kind }

type kind string

// Sending says that the first byte is about to go on the wire. It must be
// reported, and the report must have succeeded, before it does.
type Sending struct{}

// Uploaded says that the service has the scan, and under which id; found by a
// look-up or told in the answer. Twins are further documents that bear the same
// mark and are not needed.
type Uploaded struct {
	Document string
	Pages    int // 0 if unknown
	Twins    []string
}

// Unanswered says that the whole upload was handed over and nobody knows
// whether it arrived.
type Unanswered struct {
	Err error
	// Accepted says that there was an answer which claims that it did, and not
	// under which id.
	Accepted bool
}

// NotFound says that a complete look through the service's list did not show
// the job's mark.
type NotFound struct {
	Later    bool // an upload of ours that began after this one is in the list
	Nameless bool // the list does not give our names back, so it proves nothing
}

// Pending says that the service is still working.
type Pending struct{}

// Divided says that the scan is too big to be sent whole, and into which parts it
// was divided; their files lie in the state folder, synced.
type Divided struct{ Parts []Part }

// PartCollected says that every result that the service makes of the part that
// the job is at is in the state folder and synced.
type PartCollected struct{}

// PartLost says that results of a part that was collected are not there any
// more, or not whole.
type PartLost struct {
	Part int // its number, from 0
	Err  error
}

// Collected says that every result that the service makes is on disk and synced.
type Collected struct {
	Ready time.Time // when the service first gave one of them; zero if it was not asked
}

// Deleted says that what was left over has been cleared away.
type Deleted struct {
	Documents []string // the remote copies that are gone
	Twins     []string // those among them that the job did not know of
	Moved     string   // where the original was moved to, "" if it was not
	Stays     bool     // the original cannot be moved, and is not to be tried again
}

// Retry says that the step failed in a way that may pass. After is how long
// the service asked us to wait, 0 if it did not.
type Retry struct {
	Err    error
	After  time.Duration
	Silent bool // nobody answered at all
	// Throttled says that the service wants fewer requests from the account,
	// whatever they are about: no scan fails for that.
	Throttled bool
	// InUse says that another program has the file open that is to be replaced: no
	// scan fails for that, as long as the service keeps what is wanted, unless the
	// queue's delays are to be short.
	InUse bool
}

// Reject says that this file never will.
type Reject struct{ Err error }

// Fail says that the service itself failed with this scan for good.
type Fail struct{ Err error }

// Gone says that the document is no longer there: expired, or deleted by
// somebody else.
type Gone struct{ Err error }

// Changed says that the file is no longer the one that was queued and that
// none of it can have been accepted. The job is dropped; the watcher brings
// what the file is now.
type Changed struct{}

// Interrupted says that we stopped before anything that counts had happened.
type Interrupted struct{}

// Held says that the trouble is not the file's. The hold is placed, and the
// job waits without using up an attempt.
type Held struct{ Hold Hold }

// Answered says that a probe was answered as it should be.
type Answered struct{}

// What happens to a job without a worker.
type (
	// crashed says that a process ended while the job was uploading.
	crashed struct{}
	// hinted says what the service is said to have made of it.
	hinted struct{ hint Hint }
	// asked says that the service's list shows it as still at work.
	asked struct{}
	// cancel says that a person wants no more of it. busy: a worker has it.
	cancel struct{ busy bool }
	// again says that a person wants another try. If it has to be sent, then
	// as the resend-th upload, under the mark; twin is a job whose results may
	// do instead: one that is done, or one on its way, to wait for.
	again struct {
		resend int
		mark   string
		twin   uint64
		wait   bool
	}
)

func (crashed) kind() kind       { return "crashed" }
func (hinted) kind() kind        { return "hinted" }
func (asked) kind() kind         { return "asked" }
func (cancel) kind() kind        { return "cancel" }
func (again) kind() kind         { return "again" }
func (Sending) kind() kind       { return "sending" }
func (Uploaded) kind() kind      { return "uploaded" }
func (Unanswered) kind() kind    { return "unanswered" }
func (NotFound) kind() kind      { return "not found" }
func (Pending) kind() kind       { return "pending" }
func (Divided) kind() kind       { return "divided" }
func (PartCollected) kind() kind { return "part collected" }
func (PartLost) kind() kind      { return "part lost" }
func (Collected) kind() kind     { return "collected" }
func (Deleted) kind() kind       { return "deleted" }
func (Retry) kind() kind         { return "retry" }
func (Reject) kind() kind        { return "reject" }
func (Fail) kind() kind          { return "fail" }
func (Gone) kind() kind          { return "gone" }
func (Changed) kind() kind       { return "changed" }
func (Interrupted) kind() kind   { return "interrupted" }
func (Held) kind() kind          { return "held" }
func (Answered) kind() kind      { return "answered" }

// reason is the outcome's error in plain words, "" if it has none.
func reason(o Outcome) string {
	var err error
	switch o := o.(type) {
	case Unanswered:
		err = o.Err
	case Retry:
		err = o.Err
	case Reject:
		err = o.Err
	case Fail:
		err = o.Err
	case Gone:
		err = o.Err
	case PartLost:
		err = o.Err
	case Held:
		return o.Hold.Reason
	}
	if err == nil {
		return ""
	}
	return err.Error()
}
