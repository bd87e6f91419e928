package queue

import (
	"bytes"
	"time"
)

// A survey asks for all jobs that the service works on at once, by its list.
// What it shows are hints. Where it shows nothing of use, or proves wrong,
// every job is asked for by itself for a while.

// Surveyed says what the newest part of the service's list shows.
type Surveyed struct {
	Rows  []Row
	Began time.Time // when it was asked for
}

// A Row is what the service's list says of a document.
type Row struct {
	Document string
	Status   string // in the service's words; "" if it does not say
}

func (Surveyed) kind() kind { return "surveyed" }

const (
	// surveyRows is how many documents a request shows.
	surveyRows = 200

	// surveyPatience is how long jobs wait for a survey that is under way.
	surveyPatience = 5 * time.Second

	// After a survey of no use there is none for so long, doubling.
	firstSurveyPause   = time.Minute
	longestSurveyPause = time.Hour
)

// surveys is what is known of surveys. Queue.mu guards it.
type surveys struct {
	running bool
	began   time.Time // the one that is running, or the last
	last    time.Time // when the last that was of use began
	gap     time.Duration
	useless int       // in a row
	from    time.Time // none is made before

	// alone are jobs that are to be asked for by themselves: the list did not
	// show them, or was wrong.
	alone map[uint64]bool
}

// doubt gives up surveys for a while.
func (s *surveys) doubt(now time.Time) {
	s.from = now.Add(min(firstSurveyPause<<min(s.useless, 10), longestSurveyPause))
	s.useless++
}

// look is how a job that is due to be looked at is asked for: by a survey, by
// itself, or not before a time, when a survey has answered or may be made. The
// caller holds q.mu.
func (q *Queue) look(t *tx, d dueJob, now time.Time) (step Step, at time.Time) {
	s := &q.surveys
	switch {
	case s.alone[d.id], now.Before(s.from):
		return Collect, at
	case s.running:
		if at = s.began.Add(surveyPatience); now.Before(at) {
			return "", at
		}
		return Collect, at
	}
	j, err := t.job(d.id)
	if err != nil {
		return Collect, at // which finds out
	}
	working := t.countState(Processing)
	pages := (working + surveyRows - 1) / surveyRows
	// A survey answers for all that are due before long. It is worth its
	// requests where so many of their own would be in vain.
	typical := t.policy.looks.timing(j).typical()
	s.gap = typical * time.Duration(40*pages) / time.Duration(max(working, 1))
	s.gap = max(min(s.gap, typical/4), typical/16, 100*time.Millisecond)
	worth := 3 * pages
	if t.scarce(now) {
		worth = 30 * pages
	}
	switch {
	case !t.dueLooks(now.Add(s.gap), worth):
		return Collect, at
	case now.Before(s.last.Add(s.gap)):
		return "", s.last.Add(s.gap)
	}
	return Survey, at
}

// dueLooks reports whether at least n jobs are due to be looked at by then.
func (t *tx) dueLooks(by time.Time, n int) bool {
	prefix := lanePrefix(laneLook, 0)
	c := t.Bucket(bucketDue).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if at, _ := parseDueKey(k); at.After(by) {
			return false
		}
		if n--; n <= 0 {
			return true
		}
	}
	return false
}

// scarce reports whether scans have been waiting to be sent for a while: then
// requests, or workers, are what there is too little of.
func (t *tx) scarce(now time.Time) bool {
	const while = 5 * time.Second
	c := t.Bucket(bucketDue).Cursor()
	for path, f := range t.folders {
		if _, wanted := t.configured[path]; t.configured != nil && !wanted || t.blocked(path) {
			continue
		}
		prefix := lanePrefix(laneUpload, f.Number)
		if k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix) {
			if at, _ := parseDueKey(k); now.Sub(at) > while {
				return true
			}
		}
	}
	return false
}

// blocked reports whether a hold keeps the folder's scans from being sent.
func (t *tx) blocked(folder string) bool {
	for _, h := range t.holds {
		if h.blocksAll() || h.blocksUploads(folder) {
			return true
		}
	}
	return false
}

// reportSurvey takes what became of a survey.
func (q *Queue) reportSurvey(o Outcome) error {
	s := &q.surveys
	useful := false
	var alone []uint64
	err := q.updateLocked(func(t *tx) error {
		useful, alone = false, alone[:0]
		switch o := o.(type) {
		case Surveyed:
			useful, alone = q.surveyed(t, o)
			t.answered()
		case Held:
			t.hold(o.Hold)
		}
		return t.err
	})
	if err != nil {
		return err
	}
	s.running = false
	for _, id := range alone {
		s.alone[id] = true
	}
	switch _, interrupted := o.(Interrupted); {
	case useful:
		s.last, s.useless = s.began, 0
	case !interrupted:
		s.doubt(time.Now())
	}
	q.wake()
	return nil
}

// surveyed draws what the rows say. Jobs that are due and still worked on are
// put off, as if each had been asked for; alone are those that are not believed
// to be, after so long. useful is whether the list tells of our documents.
func (q *Queue) surveyed(t *tx, o Surveyed) (useful bool, alone []uint64) {
	working := t.countState(Processing)
	told := 0
	for _, r := range o.Rows {
		v := t.get(bucketDocuments, []byte(r.Document))
		if v == nil {
			continue
		}
		j, err := t.job(parseID(v))
		if err != nil || j.State != Processing || j.Document != r.Document {
			continue
		}
		if r.Status != "" {
			told++
		}
		if q.claimed[j.ID] || q.surveys.alone[j.ID] || j.Hint != "" {
			continue
		}
		hint := map[string]Hint{"processed": HintReady, "failed": HintFailed}[r.Status]
		if hint == "" {
			continue
		}
		if before := q.surveys.last; before.After(j.Looked) { // it was at work then
			j.Looked = before
		}
		if hint == HintReady {
			t.policy.looks.learn(j, t.now)
		}
		_, err = t.apply(j, hinted{hint})
		t.fail(err)
	}
	for _, id := range t.dueBy(laneLook, t.now) {
		j, err := t.job(id)
		switch {
		case err != nil || q.claimed[id] || j.Uploaded.After(o.Began):
		case t.now.Sub(j.Uploaded) > t.policy.looks.timing(j).late():
			alone = append(alone, id)
		default:
			_, err = t.apply(j, asked{})
			t.fail(err)
		}
	}
	return 2*told >= min(working, surveyRows), alone
}

// dueBy lists the jobs of a lane that are due by then.
func (t *tx) dueBy(l lane, by time.Time) []uint64 {
	var ids []uint64
	prefix := lanePrefix(l, 0)
	c := t.Bucket(bucketDue).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		at, id := parseDueKey(k)
		if at.After(by) {
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// looked draws what a look at a job by itself says about the times that the
// service takes, and about what the list said of the job. next is what became of it.
func (q *Queue) looked(j, next Job, o Outcome) {
	if j.State != Processing {
		return
	}
	s := &q.surveys
	l := q.policy.looks
	switch o := o.(type) {
	case Pending:
		delete(s.alone, j.ID)
		if j.Hint != "" && j.Announced.IsZero() { // it was wrong
			s.alone[j.ID] = true
			s.doubt(time.Now())
		}
	case Collected:
		if s.alone[j.ID] { // the list should have told
			s.doubt(time.Now())
		}
		if j.Hint == "" && j.Attempts == 0 && !o.Ready.IsZero() && !q.policy.told && next.Announced.IsZero() {
			if s.last.After(j.Looked) { // it was at work then
				j.Looked = s.last
			}
			l.learn(j, j.asked(o.Ready))
		}
		delete(s.alone, j.ID)
	case Retry, Interrupted, Held:
	default:
		delete(s.alone, j.ID)
	}
}

// Working returns how many jobs the service works on.
func (q *Queue) Working() (n int, err error) {
	err = q.read(func(t *tx) error {
		n = t.countState(Processing)
		return nil
	})
	return n, err
}
