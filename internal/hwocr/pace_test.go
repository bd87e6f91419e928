package hwocr

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// elapsed returns how long n waits take, one after the other.
func elapsed(t *testing.T, p *Pace, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for range n {
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start).Round(time.Millisecond)
}

func wantElapsed(t *testing.T, p *Pace, n int, want time.Duration) {
	t.Helper()
	if got := elapsed(t, p, n); got != want {
		t.Errorf("%d requests went out in %v, want %v", n, got, want)
	}
}

func wantRate(t *testing.T, p *Pace, want float64) {
	t.Helper()
	if got := p.State().Rate; math.Abs(got-want) > 1e-9 {
		t.Errorf("the rate is %v, want %v", got, want)
	}
}

func TestPaceCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wantElapsed(t, NewPace(2, 4), 104, 50*time.Second)
		wantElapsed(t, NewPace(2, 1), 11, 5*time.Second)
		wantElapsed(t, NewPace(math.NaN(), -1), 3, 2*time.Minute)
		wantElapsed(t, NewPace(-1, 0), 2, time.Minute)
		wantElapsed(t, NewPace(math.Inf(1), 1), 1001, time.Second)
		wantElapsed(t, nil, 1000, 0)
	})
}

func TestPaceSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 4)
		wantElapsed(t, p, 4, 0)
		under := time.Now() // four requests are under way
		time.Sleep(time.Second)
		p.Slow(under, 30*time.Second)
		p.Slow(under, 10*time.Second)
		p.Slow(under, 0)
		wantRate(t, p, 1)
		// No burst after the pause, which is the longest that was asked for.
		wantElapsed(t, p, 3, 32*time.Second)
		p.Slow(under, 0) // an answer that took its time
		wantRate(t, p, 1)
		p.Slow(time.Now(), 0) // a new incident
		wantRate(t, p, 0.5)
		wantElapsed(t, p, 2, 4*time.Second)
		for range 20 {
			time.Sleep(time.Second)
			p.Slow(time.Now(), time.Nanosecond)
		}
		wantRate(t, p, 2./64)
		p.Slow(time.Now(), 24*time.Hour)
		if d := time.Until(p.State().NotBefore); d != time.Hour {
			t.Errorf("paused for %v, want an hour", d)
		}

		p = NewPace(1./60, 1)
		p.Slow(time.Now(), 0)
		wantRate(t, p, 1./60)
		p = NewPace(0.5, 1)
		for range 20 {
			time.Sleep(time.Second)
			p.Slow(time.Now(), 0)
		}
		wantRate(t, p, 1./60)
	})
}

func TestPaceCreepsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 4)
		p.Slow(time.Now(), 0)
		for range 9 {
			p.OK()
		}
		wantRate(t, p, 1)
		p.OK()
		wantRate(t, p, 1.1)
		for range 1000 {
			p.OK()
		}
		wantRate(t, p, 2)
		time.Sleep(time.Minute)
		wantElapsed(t, p, 6, time.Second) // the burst is back, too
	})
}

// Whoever waited when the service asked for a pause must neither go on before its end,
// nor start off together with all others after it, nor at the rate of before.
func TestPaceSlowWhileWaiting(t *testing.T) {
	for _, pause := range []time.Duration{10 * time.Second, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := NewPace(1, 1)
			wantElapsed(t, p, 1, 0)
			var mu sync.Mutex
			var at []time.Time
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if p.Wait(t.Context()) == nil {
						mu.Lock()
						defer mu.Unlock()
						at = append(at, time.Now())
					}
				})
			}
			time.Sleep(500 * time.Millisecond)
			next := time.Now().Add(pause)
			p.Slow(time.Now(), pause)
			wg.Wait()
			for i, got := range at {
				if got.Before(next.Add(-time.Microsecond)) {
					t.Errorf("after a pause of %v request %d went out %v early", pause, i, next.Sub(got))
				}
				next = got.Add(2 * time.Second)
			}
			if len(at) != 5 {
				t.Errorf("%d went out", len(at))
			}
		})
	}
}

func TestPaceContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1, 1)
		p.Slow(time.Now(), time.Minute)
		for _, pause := range []time.Duration{time.Second, 0} {
			// Two of them: one in front of the limiter, and one behind.
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			start := time.Now()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if err := p.Wait(ctx); err != context.DeadlineExceeded {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			cancel()
			if took := time.Since(start); took != 500*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if pause > 0 {
				time.Sleep(time.Minute - 500*time.Millisecond)
				wantElapsed(t, p, 1, 0) // the pause is over; now the limiter holds them
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, p := range []*Pace{p, nil} {
			if err := p.Wait(ctx); err != context.Canceled {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestPaceRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 4)
		p.Slow(time.Now(), time.Minute)
		b, err := json.Marshal(p.State())
		if err != nil {
			t.Fatal(err)
		}
		var s PaceState
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		p = NewPace(2, 4)
		p.Restore(s)
		wantRate(t, p, 1)
		wantElapsed(t, p, 2, 41*time.Second)

		p = NewPace(2, 4)
		p.Restore(NewPace(2, 4).State())
		wantElapsed(t, p, 2, time.Second) // no burst

		for _, s := range []PaceState{{}, {Rate: 100}, {Rate: -1}, {Rate: math.NaN()}} {
			p = NewPace(2, 4)
			p.Restore(s)
			wantRate(t, p, 2)
		}
		p.Restore(PaceState{Rate: 1e-9, NotBefore: time.Now().AddDate(30, 0, 0)}) // a clock was wrong
		wantRate(t, p, 2./64)
		if d := time.Until(p.State().NotBefore); d != time.Hour {
			t.Errorf("paused for %v, want an hour", d)
		}
		(*Pace)(nil).Restore((*Pace)(nil).State())
	})
}

func TestPaceShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(10, 1)
		var let atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 50 {
					if p.Wait(t.Context()) == nil {
						let.Add(1)
					}
					if i%20 == 19 {
						p.Slow(time.Now(), time.Second)
					}
					p.OK()
					_ = p.State()
				}
			})
		}
		wg.Wait()
		if let.Load() != 400 {
			t.Errorf("%d of 400 were let through", let.Load())
		}
	})
}
