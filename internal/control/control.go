// Package control is what the daemon and those who ask it share: the form of
// the JSON API (internal/web/openapi.json), a client for it, and the two files of the
// state folder by which a client finds the daemon and shows that it may ask.
//
// The keys of the JSON are a contract: they are added to, never renamed. What
// "scandrop … --json" prints has the same form, whether a daemon was asked or the
// queue file was opened.
package control

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"scandrop/queue"
)

// A Job is one job as the API and --json show it.
type Job struct {
	ID       uint64      `json:"id"`
	State    queue.State `json:"state"`
	Scan     string      `json:"scan"`            // where it was found, absolute
	Moved    string      `json:"moved,omitempty"` // where the original lies now, if elsewhere
	Folder   string      `json:"folder"`
	Action   string      `json:"action"`
	Size     int64       `json:"size"`
	Content  string      `json:"content,omitempty"` // SHA-256
	SameAs   uint64      `json:"same_as,omitempty"` // the job with the same content
	Document string      `json:"document,omitempty"`
	Mark     string      `json:"mark,omitempty"`
	Pages    int         `json:"pages,omitempty"`
	Parts    int         `json:"parts,omitempty"` // that the scan is sent in, if it is too big to be sent whole
	Part     int         `json:"part,omitempty"`  // the one that it is at, from 1
	Results  []Result    `json:"results"`
	Attempts int         `json:"attempts"`
	Looks    int         `json:"looks,omitempty"` // how often the service was asked for it
	Error    string      `json:"error,omitempty"`
	Cancel   bool        `json:"cancel,omitempty"` // asked for, to take effect at the next safe point
	Next     string      `json:"next,omitempty"`   // what happens next, in plain words
	Due      time.Time   `json:"due,omitzero"`     // and when
	Added    time.Time   `json:"added"`
	Sent     time.Time   `json:"sent,omitzero"`
	Uploaded time.Time   `json:"uploaded,omitzero"`
	Finished time.Time   `json:"finished,omitzero"`

	// Can lists what a person can do with the job now: retry, cancel, forget,
	// and "retry, paid" where another try costs its pages once more.
	Can []string `json:"can,omitempty"`

	Story []queue.Event `json:"story,omitempty"` // of a single job only; oldest first
}

// A Result is one file that a scan became, or is to become.
type Result struct {
	Format  string `json:"format"`
	Path    string `json:"path,omitempty"`
	Content string `json:"content,omitempty"` // SHA-256
	Refused string `json:"refused,omitempty"` // why the service does not make this format
}

// What a person can do with a job; see [Job.Can].
const (
	Retry     = "retry"
	RetryPaid = "retry, paid"
	Cancel    = "cancel"
	Forget    = "forget"
)

// View is the job as it is shown, while the holds stand; they say what it waits
// for.
func View(j queue.Job, holds []queue.Hold) Job {
	v := Job{
		ID: j.ID, State: j.State, Scan: j.Path, Moved: j.Moved, Folder: j.Folder, Action: j.Options.Action,
		Size: j.Size, SameAs: j.Twin, Document: j.Document, Mark: j.Mark, Pages: cmp.Or(j.Pages, j.Counted), Parts: len(j.Parts),
		Results: []Result{}, Attempts: j.Attempts, Looks: j.Looks, Error: j.Error, Cancel: j.Cancel, Next: next(j, holds),
		Due: j.Due, Added: j.Added, Sent: j.Sent, Uploaded: j.Uploaded, Finished: j.Finished,
	}
	if n := j.Part(); len(j.Parts) > 1 && n < len(j.Parts) {
		v.Part = n + 1
		if v.Next != "" && !j.State.Final() {
			v.Next += fmt.Sprintf(" (part %d of %d)", v.Part, len(j.Parts))
		}
	}
	if !j.Content.IsZero() {
		v.Content = j.Content.String()
	}
	for _, r := range j.Results {
		view := Result{Format: r.Format, Path: r.Path, Refused: r.Refused}
		if !r.Content.IsZero() {
			view.Content = r.Content.String()
		}
		v.Results = append(v.Results, view)
	}
	if v.Hopeless() {
		v.Next = "nothing; replace the file: another content is taken by itself"
	}
	switch j.State {
	case queue.Done:
		v.Can = []string{RetryPaid, Forget}
	case queue.Failed, queue.Rejected, queue.Cancelled:
		v.Can = []string{Retry, Forget}
	case queue.Queued, queue.Uploading, queue.Doubtful, queue.Processing:
		if !j.Cancel {
			v.Can = []string{Cancel}
		}
		if j.State != queue.Uploading {
			v.Can = append([]string{Retry}, v.Can...)
		}
	}
	return v
}

// next says what happens to the job next, in plain words.
func next(j queue.Job, holds []queue.Hold) string {
	switch {
	case j.Cancel && !j.State.Final():
		return "is stopped at the next safe point"
	case j.State == queue.Queued && j.Twin != 0 && j.Due.IsZero():
		return fmt.Sprintf("waits for the results of job %d, which has the same content", j.Twin)
	case j.State == queue.Queued:
		for _, h := range holds {
			if h.Stops(j) {
				return "waits until the hold " + h.Key() + " is over"
			}
		}
		if j.Twin != 0 {
			return fmt.Sprintf("has the results of job %d copied", j.Twin)
		}
		if j.Attempts > 0 {
			return "is sent again"
		}
		return "is sent"
	case j.State.Final():
		switch {
		case len(j.Trash) > 0 || j.Document != "" && j.Options.DeleteRemote:
			return "the copy at the service is deleted"
		case j.State == queue.Done:
			return ""
		}
		return "nothing, until a person retries or forgets it"
	case j.State == queue.Doubtful && j.Due.IsZero():
		return "waits for a person: retry looks for it once more, cancel gives it up"
	case j.HeldBy != "":
		return "waits until the hold " + string(j.HeldBy) + " is over"
	}
	switch j.State {
	case queue.Uploading:
		return "the service's answer is waited for"
	case queue.Doubtful:
		return "is looked for at the service before anything is sent again"
	case queue.Processing:
		return "the service is asked for the result"
	case queue.Written:
		return "the copy at the service is deleted"
	}
	return ""
}

// Hopeless reports whether the scan was rejected for what the file is: another try
// with the same content comes to the same end. The reasons are the watcher's.
func (j Job) Hopeless() bool {
	return j.State == queue.Rejected && j.Sent.IsZero() && (j.Error == "it is empty" ||
		strings.HasPrefix(j.Error, "it is too big: ") ||
		strings.HasPrefix(j.Error, "it is ") && strings.Contains(j.Error, ", not a "))
}

// Name is the scan's file name.
func (j Job) Name() string { return filepath.Base(j.Scan) }

// Below is where below its hot folder the scan lies, "" for directly in it.
func (j Job) Below() string {
	rel, err := filepath.Rel(j.Folder, filepath.Dir(j.Scan))
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") {
		return ""
	}
	return rel
}

// Say tells an event of a story in plain words, and whether it is trouble.
func Say(e queue.Event) (text string, trouble bool) {
	words := map[string]string{
		"announced":       "The service says that its result is there",
		"divided":         "Divided: it is too big to be sent whole",
		"part collected":  "The results of a part are here",
		"part lost":       "A part has to be sent again",
		"damaged":         "What was told before is lost",
		"adopted":         "Found at the service under our mark",
		"results present": "Its results lay beside it already",
		"replayed":        "Known again from the journal",
		"noticed":         "Noticed: it had stopped changing, was read for its digest, and queued",
		"sending":         "Sent to the service",
		"uploaded":        "The service has it",
		"unanswered":      "Sent, and not answered: it may have arrived",
		"not found":       "Not found at the service",
		"collected":       "Its results are on the disk",
		"deleted":         "Its copy at the service is deleted",
		"retry":           "That did not work; it is tried again",
		"reject":          "Rejected",
		"fail":            "The service failed with it",
		"gone":            "The copy at the service is gone",
		"held":            "Held: the trouble is not this file's",
		"changed":         "The file changed before it was sent",
		"crashed":         "scandrop ended while it was being sent",
		"cancel":          "Cancelled by hand",
		"again":           "Another try was asked for",
	}
	if text = words[e.What]; text == "" {
		text = e.What
	}
	switch e.What {
	case "noticed":
		if e.State == queue.Rejected {
			text, trouble = "Noticed, and rejected", true
		}
	case "retry":
		if e.State == queue.Failed {
			text = "That did not work, and was tried often enough"
		}
		trouble = true
	case "unanswered", "reject", "fail", "gone", "held", "crashed":
		trouble = true
	case "deleted":
		if e.State == queue.Done {
			text = "Done: " + strings.ToLower(text[:1]) + text[1:]
		}
	}
	if e.Note != "" {
		text += ": " + e.Note
	}
	return text, trouble
}

// Dropped says where a scan that was dropped lies.
type Dropped struct {
	Scan string `json:"scan"`
}

// A Page is one page of the list, newest first.
type Page struct {
	Jobs []Job  `json:"jobs"`
	Next uint64 `json:"next,omitempty"` // the cursor of the next page; 0 if there is none
}

// A Hold is what is held, why, and when it is tried whether the trouble is over.
type Hold struct {
	Name   string      `json:"name"` // what "queue release" calls it
	Cause  queue.Cause `json:"cause"`
	Folder string      `json:"folder,omitempty"` // "" for all
	Reason string      `json:"reason"`
	Since  time.Time   `json:"since"`
	Next   time.Time   `json:"next,omitzero"`
}

// ViewHold is the hold as it is shown.
func ViewHold(h queue.Hold) Hold {
	return Hold{Name: h.Key(), Cause: h.Cause, Folder: h.Folder, Reason: h.Reason, Since: h.Since, Next: h.Next}
}

// Counts are numbers of jobs by state. States without jobs are left out.
type Counts map[queue.State]int

// Of is how many jobs are in the state.
func (c Counts) Of(s queue.State) int { return c[s] }

// Open is how many jobs are not at their end.
func (c Counts) Open() int {
	n := 0
	for s, jobs := range c {
		if !s.Final() {
			n += jobs
		}
	}
	return n
}

// A Folder is one hot folder.
type Folder struct {
	Path    string   `json:"path"`
	Action  string   `json:"action"`
	Formats []string `json:"formats"`
	Jobs    Counts   `json:"jobs"`

	Mode   string    `json:"mode"`               // how scans are noticed: events, polling, or "" before the first look
	Missed int64     `json:"missed"`             // scans that only the look at the whole folder found
	Looked time.Time `json:"looked,omitzero"`    // the last look at the whole folder
	Last   time.Time `json:"last_scan,omitzero"` // when the last scan was handed over
	Error  string    `json:"error,omitempty"`    // why it cannot be read
	Held   []string  `json:"held,omitempty"`     // names of the holds of this folder
	Why    string    `json:"why_poll,omitempty"` // why it is polled although events were wanted
	Settle int       `json:"settling,omitempty"` // files that have not stopped changing
}

// Today is what came to its end since midnight, by the machine's clock and zone.
type Today struct {
	Done     int `json:"done"`
	Failed   int `json:"failed"`
	Rejected int `json:"rejected"`
	Pages    int `json:"pages"` // of those that are done, paid for or copied
}

// A Pace is how fast the service is asked.
type Pace struct {
	Rate      float64   `json:"rate"`  // requests a second at present
	Limit     float64   `json:"limit"` // at most, by api.rate
	NotBefore time.Time `json:"not_before,omitzero"`
	Quota     int       `json:"quota,omitzero"` // requests in each Window, where the service has such a limit
	Window    string    `json:"window,omitempty"`
	Requests  int64     `json:"requests"` // since the start
	Refused   int64     `json:"refused"`  // of them answered "too many"
}

// A Limit is how much may be used, and how much is.
type Limit struct {
	Name   string `json:"name"`             // such as "pages a day"
	Folder string `json:"folder,omitempty"` // "" for all together
	Used   int    `json:"used"`
	Most   int    `json:"most"` // 0: no limit
}

// A Status is what the daemon knows of itself.
type Status struct {
	Version string    `json:"version"`
	Now     time.Time `json:"now"`
	Started time.Time `json:"started,omitzero"` // zero where no daemon answers
	State   string    `json:"state_folder"`
	Service string    `json:"service"` // the address of the API

	Ready   bool     `json:"ready"` // nothing stands in the way; see /readyz
	Reasons []string `json:"not_ready,omitempty"`

	Jobs    Counts   `json:"jobs"`
	Today   Today    `json:"today"`
	Holds   []Hold   `json:"holds"`
	Folders []Folder `json:"folders"`
	Pace    Pace     `json:"pace"`
	Limits  []Limit  `json:"limits,omitempty"`
	Bytes   int64    `json:"queue_bytes"` // size of the queue file

	// Restart lists the keys of the configuration that were changed by a reload and
	// take effect at the next start.
	Restart []string `json:"restart,omitempty"`
}

// A Problem is why a request was not fulfilled.
type Problem struct {
	Code    string `json:"code"` // one of the Code constants
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Codes of problems.
const (
	CodeBad      = "bad_request"  // 400: the request itself
	CodeSession  = "no_session"   // 401: no session, or a wrong token
	CodeOrigin   = "cross_origin" // 403: asked for by a page of another origin
	CodeNoJob    = "no_job"       // 404
	CodeNoFile   = "no_file"      // 404: the file is not there (any more)
	CodeNotFound = "not_found"    // 404: no such address
	CodeRefused  = "refused"      // 409: the job is not in a state for that
	CodeTooBig   = "too_big"      // 413
	CodeType     = "not_a_scan"   // 415
	CodeHost     = "wrong_host"   // 421: the Host header names another machine
	CodeFailed   = "failed"       // 500, 503, 507: the daemon could not
)

// Error implements error.
func (p *Problem) Error() string { return p.Message }
