package sandbox

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/time/rate"
)

// Announce is what a Sandbox tells of its limits of requests.
type Announce int

const (
	// AnnounceWait sends Retry-After with every 429.
	AnnounceWait Announce = iota
	// AnnounceLeft also sends X-RateLimit-Limit and X-RateLimit-Remaining with
	// every answer, and X-RateLimit-Reset, a Unix time, with every 429.
	AnnounceLeft
	// AnnounceAll sends X-RateLimit-Reset with every answer.
	AnnounceAll
	// AnnounceNothing sends a bare 429.
	AnnounceNothing
)

// limits are the limits of requests of a Sandbox, whose mutex guards them.
type limits struct {
	bucket *rate.Limiter // nil: none
	quota  int           // requests a window; 0: without limit
	window time.Duration
	ends   time.Time // of the window that began last
	used   int       // of its quota
}

// take lets one request through, or says how long to wait until one may come. A
// request that is refused uses nothing up. header receives what is announced.
func (l *limits) take(now time.Time, a Announce, header http.Header) (wait time.Duration) {
	var limit, left int
	var reset time.Time
	switch {
	case l.bucket != nil:
		limit = l.bucket.Burst()
		if r := l.bucket.ReserveN(now, 1); r.DelayFrom(now) > 0 {
			wait = r.DelayFrom(now)
			r.CancelAt(now)
		}
		tokens := l.bucket.TokensAt(now)
		left = max(0, int(tokens))
		reset = now.Add(time.Duration((float64(limit) - tokens) / float64(l.bucket.Limit()) * float64(time.Second)))
	case l.quota > 0:
		if !now.Before(l.ends) { // a window begins with the first request after the last one
			l.ends, l.used = now.Add(l.window), 0
		}
		if l.used < l.quota {
			l.used++
		} else {
			wait = l.ends.Sub(now)
		}
		limit, left, reset = l.quota, max(0, l.quota-l.used), l.ends
	default:
		return 0
	}
	if a == AnnounceNothing {
		return wait
	}
	seconds := int64(math.Ceil(wait.Seconds()))
	if wait > 0 {
		header.Set("Retry-After", strconv.FormatInt(seconds, 10))
		reset = now.Add(wait)
	}
	if a == AnnounceWait {
		return wait
	}
	header.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	header.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	if wait > 0 || a == AnnounceAll {
		up := reset.Add(time.Second - time.Nanosecond) // whole seconds, never too early
		header.Set("X-RateLimit-Reset", strconv.FormatInt(up.Unix(), 10))
	}
	return wait
}

// SetRate replaces Options.Rate and Options.Burst; 0 is without limit.
func (s *Sandbox) SetRate(perSecond rate.Limit, burst int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.bucket = bucket(perSecond, burst)
}

// SetQuota replaces Options.Quota and Options.Window. A window that has begun
// keeps its end, and what was used of it.
func (s *Sandbox) SetQuota(requests int, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.quota, s.limits.window = requests, window
}

func bucket(perSecond rate.Limit, burst int) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(perSecond, max(burst, 1))
}
