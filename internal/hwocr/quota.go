package hwocr

import "time"

// quota is what is known of a number of requests that the service lets through in each
// of consecutive windows of time. [Pace.mu] guards it.
type quota struct {
	limit  int           // requests a window; 0 = not known
	length time.Duration // of a window; 0 = not known
	told   bool          // limit is the service's word

	open    bool      // a window has begun
	partial bool      // it had, perhaps, before we counted
	begin   time.Time // of the window
	end     time.Time // of the window; zero = not known
	used    int       // of the window's quota
	full    bool      // something was refused in it: its quota is what was used

	heard     Turn // the last request whose answer told of the quota
	heardUsed int  // how much of it was used up then

	calm     int  // windows that were used up and nothing refused
	quiet    int  // requests in them
	patience int  // how many windows of that kind until more is tried
	trial    bool // in this window more is tried

	surprise int // used when it was refused well below the limit, in the last whole window; 0 = it was not
	vain     int // so many windows in a row had all their requests refused
	wary     int // so often what looked like a quota was none: more windows have to agree
	before   int // used in the last window in which something was refused
	agreed   int // so many such windows were alike

	beyond int       // the request that goes beyond the limit; 0 = none is under way
	since  time.Time // since when it is
	found  int       // how many did so in this window, and were let through
}

const (
	firstPatience = 4
	mostPatience  = 10
	leastQuiet    = 40 // requests until more is tried
	mostWary      = 4
	smallQuota    = 8 // chance, too, lets about as few through twice

	// longGap is a rest after which a window of unknown length may be another.
	longGap = 10 * time.Second
	// longestTry is how long others wait for the answer to a request that goes beyond
	// the limit: it may be a long upload.
	longestTry = 10 * time.Second
)

func newQuota() quota { return quota{partial: true, patience: firstPatience} }

// roll closes a window that is over.
func (q *quota) roll(now time.Time) {
	if !q.open || q.end.IsZero() || now.Before(q.end) {
		return
	}
	if !q.full && q.limit > 0 && q.used >= q.limit {
		q.calm++
		q.quiet += q.used
	}
	if q.full {
		if q.agreed++; !alike(q.used, q.before) {
			q.agreed = 0
		}
		q.before = q.used
	}
	if q.limit == 0 {
		q.length = 0 // how long it is remains to be seen
	}
	q.open, q.partial, q.full, q.trial, q.end = false, false, false, false, time.Time{}
	q.used, q.found = 0, 0
}

// ready is when another request may go out, as far as can be known now; zero is at once.
func (q *quota) ready(now time.Time) time.Time {
	q.roll(now)
	if !q.open || q.limit == 0 || q.used < q.limit {
		return time.Time{}
	}
	if !q.end.IsZero() {
		if !q.told && !q.full && q.calm >= q.patience && (q.quiet >= leastQuiet || q.wary > 1) {
			q.trial = true
		}
		if !q.trial {
			return q.end
		}
	}
	if q.beyond != 0 {
		return q.since.Add(longestTry)
	}
	return time.Time{}
}

// take counts a request that goes out.
func (q *quota) take(now time.Time, number int) {
	q.roll(now)
	if !q.open {
		q.open, q.begin = true, now
		if q.length > 0 {
			q.end = now.Add(q.length)
		}
	}
	if q.used++; q.limit > 0 && q.used > q.limit {
		q.beyond, q.since = number, now
	}
}

// gap notes that nothing was sent for a while, which may have been a window's end.
func (q *quota) gap() {
	if q.length == 0 {
		q.partial = true
	}
}

// answered takes the answer to a request, and reports whether others may have waited
// for it.
func (q *quota) answered(number int, a Answer) bool {
	if a.refused() {
		q.used = max(q.used-1, 0)
		q.learn()
	}
	if a.fine() && a.Limit == 0 {
		q.told = false // it no longer says
	}
	if number != q.beyond {
		return false
	}
	q.beyond = 0
	if q.trial && a.fine() && !q.told {
		q.found++
		q.limit = max(q.limit, q.used) // the next goes beyond it again, until one is refused
	}
	return true
}

// exhausted notes that a request was refused, and when more will be let through. Where
// none was let through before, somebody else had used the quota.
func (q *quota) exhausted(now time.Time, after time.Duration, none bool) {
	end := now.Add(after)
	q.partial = q.partial || none
	q.wonder()
	switch {
	case q.trial && q.found == 0:
		q.patience = min(2*q.patience, mostPatience)
	case q.trial:
		q.patience = firstPatience
	}
	q.calm, q.quiet, q.trial, q.full = 0, 0, false, true
	if !q.partial {
		// A window that begins by the service's clock may have begun before we did.
		if q.length = max(q.length, end.Sub(q.begin)); q.length > maxRetryAfter { // a guess that is not worth the risk
			q.length, q.limit = 0, 0
		}
	}
	q.open, q.end = true, end
	q.learn()
	if q.limit > 0 && q.used < q.limit && !q.told && q.partial {
		q.used = q.limit // somebody else used the rest
	}
}

// wonder doubts what is known where a request is refused long before the quota is
// used up. Where the next window is used up as early the quota is another one now;
// where it is not there is none: requests are refused by chance.
func (q *quota) wonder() {
	switch {
	case q.partial || q.told || q.limit == 0 || q.length == 0:
	case q.trial && q.found >= max(q.limit/2, 4): // far more was let through than was known
		q.forget()
	case q.used == 0: // nothing else was let through in it
		if q.vain++; q.vain >= 2 {
			q.forget()
		}
		return
	case q.trial || 4*q.used >= 3*q.limit || alike(q.used, q.limit):
		q.surprise = 0
	case q.surprise == 0:
		q.surprise, q.partial = q.used, true
	case alike(q.used, q.surprise):
		q.surprise = 0
	default:
		q.forget()
	}
	q.vain = 0
}

// forget takes what looked like a quota for none, until more windows agree than did.
func (q *quota) forget() {
	q.limit, q.length, q.surprise, q.vain, q.before, q.agreed = 0, 0, 0, 0, 0, 0
	q.wary = min(q.wary+1, mostWary)
}

// proved reports whether the windows seen so far tell of a quota that is not known yet.
func (q *quota) proved() bool {
	needed := q.wary
	if 2*q.used < q.before {
		needed++
	}
	if q.used < smallQuota {
		needed += 2
	}
	return needed == 0 || q.agreed+1 >= needed && alike(q.used, q.before)
}

// alike reports whether two windows let about as many requests through.
func alike(a, b int) bool { return max(a-b, b-a) <= max(1, b/8) }

// learn takes what was let through in a window that was seen as a whole, and in which
// something was refused, for the quota.
func (q *quota) learn() {
	if q.limit == 0 && !q.proved() {
		return
	}
	if q.full && !q.partial && q.length > 0 {
		q.limit = max(q.used, 1)
	}
}

// hear takes what the service tells in its answer to a request, after which so many
// others were sent.
func (q *quota) hear(now time.Time, t Turn, later int, a Answer) {
	used := max(a.Limit-a.Left, 0)
	first := used == 1 && !a.refused()
	if first { // this one began the window
		if q.open, q.partial, q.begin = true, false, t.at; q.length > 0 {
			q.end = t.at.Add(q.length)
		}
	}
	if t.number < q.heard.number {
		return
	}
	if used < q.heardUsed && q.begin.Before(q.heard.at) && !first { // another window, whose beginning we did not see
		q.partial = true
	}
	q.heard, q.heardUsed = t, used
	q.told, q.limit, q.used = true, a.Limit, used+later
	if a.Reset > 0 {
		q.open, q.end = true, now.Add(min(a.Reset, maxRetryAfter))
	}
}
