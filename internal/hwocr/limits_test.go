package hwocr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A limit is a service's limit of requests: it lets one through, or says how long to
// wait. It is called under a lock.
type limit interface {
	take(now time.Time) (wait time.Duration)
}

// bucket lets burst requests through at once, and then perSecond.
type bucket struct {
	perSecond float64
	burst     int
	full      time.Time // when it is
}

func (b *bucket) take(now time.Time) time.Duration {
	step := time.Duration(float64(time.Second) / b.perSecond)
	if b.full.Before(now) {
		b.full = now
	}
	if wait := b.full.Sub(now) - time.Duration(b.burst-1)*step; wait > 0 {
		return wait
	}
	b.full = b.full.Add(step)
	return 0
}

// windows lets quota requests through in each window, which begins with a request or,
// if they are aligned, by the clock.
type windows struct {
	quota   int
	length  time.Duration
	aligned bool
	end     time.Time
	used    int
}

func (w *windows) take(now time.Time) time.Duration {
	if !now.Before(w.end) {
		w.end, w.used = now.Add(w.length), 0
		if w.aligned {
			w.end = now.Truncate(w.length).Add(w.length)
		}
	}
	if w.used >= w.quota {
		return w.end.Sub(now)
	}
	w.used++
	return 0
}

// sliding lets quota requests through in any span of that length.
type sliding struct {
	quota  int
	length time.Duration
	let    []time.Time
}

func (s *sliding) take(now time.Time) time.Duration {
	if n := len(s.let); n >= s.quota {
		if wait := s.let[n-s.quota].Add(s.length).Sub(now); wait > 0 {
			return wait
		}
	}
	s.let = append(s.let, now)
	return 0
}

// A load is some workers who send all the time.
type load struct {
	pace    *Pace
	limit   limit
	mute    bool          // the service does not say how long to wait
	latency time.Duration // of an answer
	jitter  time.Duration // of a request, at most

	mu      sync.Mutex // guards the limit, too
	let     int
	refused int
}

// run sends for so long, and returns how many requests a second were let through, and
// how many were refused.
func (l *load) run(t *testing.T, long time.Duration) (perSecond float64, refused int) {
	t.Helper()
	l.let, l.refused = 0, 0
	end := time.Now().Add(long)
	var wg sync.WaitGroup
	for worker := range 4 {
		random := rand.New(rand.NewPCG(uint64(worker), 1))
		wg.Go(func() {
			for time.Now().Before(end) {
				turn, err := l.pace.Wait(t.Context())
				if err != nil {
					return
				}
				if l.jitter > 0 {
					time.Sleep(time.Duration(random.Int64N(int64(l.jitter))))
				}
				l.mu.Lock()
				a := Answer{Status: 200}
				if wait := l.limit.take(time.Now()); wait > 0 {
					a.Status = 429
					if !l.mute {
						a.After = time.Duration(math.Ceil(wait.Seconds())) * time.Second
					}
					l.refused++
				} else {
					l.let++
				}
				l.mu.Unlock()
				time.Sleep(l.latency)
				l.pace.Done(turn, a)
			}
		})
	}
	wg.Wait()
	return float64(l.let) / long.Seconds(), l.refused
}

// TestPaceSettles holds ten minutes, after two in which the pace may find out, against
// what each limit lets through.
func TestPaceSettles(t *testing.T) {
	type test struct {
		name    string
		limit   func() limit
		most    float64 // requests a second that can be let through
		share   float64 // of them are to be
		refused float64 // of all may be
	}
	var tests []test
	for _, r := range []float64{0.2, 0.5, 2, 7.5, 40} {
		for _, b := range []int{1, 2, 10} {
			tt := test{fmt.Sprintf("bucket of %g, burst %d", r, b), func() limit { return &bucket{perSecond: r, burst: b} }, r, 0.8, 0.04}
			switch {
			case r < 1./3: // looks like a quota, which is now and then tried to be exceeded
				tt.share, tt.refused = 0.7, 0.12
			case r == 7.5 && b == 1: // the jitter is a sixth of the distance
				tt.share = 0.75
			case r == 40 && b == 1: // it is nearly as large
				tt.share = 0.45
			}
			tests = append(tests, tt)
		}
	}
	for _, n := range []int{30, 120} {
		tests = append(tests,
			test{fmt.Sprintf("windows of %d", n), func() limit { return &windows{quota: n, length: time.Minute} }, float64(n) / 60, 0.95, 0.01},
			test{fmt.Sprintf("aligned windows of %d", n), func() limit { return &windows{quota: n, length: time.Minute, aligned: true} }, float64(n) / 60, 0.9, 0.05},
			test{fmt.Sprintf("sliding window of %d", n), func() limit { return &sliding{quota: n, length: time.Minute} }, float64(n) / 60, 0.6, 0.07},
		)
	}
	tests = append(tests,
		test{"windows of 20 in 10 s", func() limit { return &windows{quota: 20, length: 10 * time.Second} }, 2, 0.9, 0.02},
		test{"no limit", func() limit { return &bucket{perSecond: 1e6, burst: 10} }, 1e6, 0.99, 0},
	)
	for _, own := range []float64{2, 50} {
		for _, jitter := range []time.Duration{0, 20 * time.Millisecond} {
			for _, tt := range tests {
				name := fmt.Sprintf("rate %g, jitter %v, %s", own, jitter, tt.name)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						time.Sleep(17 * time.Second) // not at the full minute
						l := &load{pace: NewPace(own, 4), limit: tt.limit(), latency: 50 * time.Millisecond, jitter: jitter}
						_, early := l.run(t, 2*time.Minute)
						got, refused := l.run(t, 10*time.Minute)
						all := got*600 + float64(refused)
						most := min(tt.most, own, 4/(l.latency+jitter/2).Seconds())
						t.Logf("%-55s %6.2f a second, %5.1f %%; refused at first %2d, then %.1f %%", name, got, 100*got/most, early, 100*float64(refused)/all)
						if got < tt.share*most || float64(refused) > tt.refused*all {
							t.Errorf("want %.0f %%, and at most %.1f %% refused", 100*tt.share, 100*tt.refused)
						}
					})
				})
			}
		}
	}
}

// TestPaceAdapts halves the limit in the middle, and then doubles it.
func TestPaceAdapts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits []limit
	}{
		{"bucket, burst 1", []limit{&bucket{perSecond: 2, burst: 1}, &bucket{perSecond: 1, burst: 1}, &bucket{perSecond: 2, burst: 1}}},
		{"bucket, burst 5", []limit{&bucket{perSecond: 2, burst: 5}, &bucket{perSecond: 1, burst: 5}, &bucket{perSecond: 2, burst: 5}}},
		{"large bucket", []limit{&bucket{perSecond: 20, burst: 5}, &bucket{perSecond: 10, burst: 5}, &bucket{perSecond: 20, burst: 5}}},
		{"windows", []limit{
			&windows{quota: 60, length: time.Minute}, &windows{quota: 30, length: time.Minute}, &windows{quota: 60, length: time.Minute}}},
		{"bucket, then windows, then a bucket", []limit{
			&bucket{perSecond: 2, burst: 5}, &windows{quota: 60, length: time.Minute}, &bucket{perSecond: 2, burst: 5}}},
	} {
		for _, own := range []float64{2, 50} {
			name := fmt.Sprintf("rate %g, %s", own, tt.name)
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := &load{pace: NewPace(own, 4), latency: 50 * time.Millisecond}
					for i, limit := range tt.limits {
						l.limit = fresh(limit)
						_, early := l.run(t, 12*time.Minute) // to find out
						got, refused := l.run(t, 10*time.Minute)
						most := min(steady(limit), own)
						t.Logf("%-45s %d: %5.2f a second, %5.1f %%; refused at first %2d, then %d", name, i+1, got, 100*got/most, early, refused)
						if got < 0.8*most || float64(refused) > 0.03*got*600 || early > 60 {
							t.Errorf("want 80 %%, at most 60 refused at first and 3 %% then")
						}
					}
				})
			})
		}
	}
}

// fresh is a limit of which nothing is used.
func fresh(l limit) limit {
	switch l := l.(type) {
	case *bucket:
		return &bucket{perSecond: l.perSecond, burst: l.burst}
	case *windows:
		return &windows{quota: l.quota, length: l.length, aligned: l.aligned}
	}
	return l
}

// steady is how many requests a second a limit lets through.
func steady(l limit) float64 {
	switch l := l.(type) {
	case *bucket:
		return l.perSecond
	case *windows:
		return float64(l.quota) / l.length.Seconds()
	}
	return math.Inf(1)
}

// Without a word on how long to wait it must do, too.
func TestPaceMute(t *testing.T) {
	for _, own := range []float64{2, 50} {
		for _, limit := range []limit{&bucket{perSecond: 2, burst: 5}, &bucket{perSecond: 0.2, burst: 1}, &windows{quota: 60, length: time.Minute}} {
			synctest.Test(t, func(t *testing.T) {
				l := &load{pace: NewPace(own, 4), limit: fresh(limit), latency: 50 * time.Millisecond, mute: true}
				_, early := l.run(t, 5*time.Minute)
				got, refused := l.run(t, 20*time.Minute)
				t.Logf("rate %g, %T: %.2f a second of %.2f, refused %d, then %d", own, limit, got, steady(limit), early, refused)
				if got < steady(limit)/2 || float64(refused) > got*1200/2 {
					t.Errorf("want half of it, and fewer refused than that")
				}
			})
		}
	}
}

// More than the quota is tried less and less often.
func TestPaceTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &load{pace: NewPace(50, 4), limit: &windows{quota: 30, length: time.Minute}, latency: 50 * time.Millisecond}
		l.run(t, 30*time.Minute)
		if _, refused := l.run(t, time.Hour); refused == 0 || refused > 7 {
			t.Errorf("%d were refused in 60 windows", refused)
		}
	})
}

// A client that has little to do is not kept from it by what it learned in a rush.
func TestPaceIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &load{pace: NewPace(50, 4), limit: &windows{quota: 30, length: time.Minute}, latency: 50 * time.Millisecond}
		l.run(t, 10*time.Minute)
		time.Sleep(time.Hour)
		for range 100 {
			start := time.Now()
			for range 4 {
				turn := turn(t, l.pace)
				a := Answer{Status: 200}
				if l.limit.take(time.Now()) > 0 {
					t.Error("refused")
					a.Status = 429
				}
				l.pace.Done(turn, a)
			}
			if waited := time.Since(start); waited > 200*time.Millisecond {
				t.Errorf("four requests took %v", waited)
			}
			time.Sleep(17 * time.Second)
		}
	})
}
