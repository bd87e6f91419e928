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
		turn, err := p.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.Done(turn, Answer{})
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
		wantElapsed(t, NewPace(math.Inf(1), 1), 1001, 10*time.Millisecond)
		wantElapsed(t, nil, 1000, 0)
	})
}

// turn waits for a turn.
func turn(t *testing.T, p *Pace) Turn {
	t.Helper()
	turn, err := p.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return turn
}

// refuse has the next request refused.
func refuse(t *testing.T, p *Pace, after time.Duration) {
	t.Helper()
	p.Done(turn(t, p), Answer{Status: 429, After: after})
}

// pass has the next n requests answered.
func pass(t *testing.T, p *Pace, n int) {
	t.Helper()
	for range n {
		p.Done(turn(t, p), Answer{Status: 200})
	}
}

func wantPause(t *testing.T, p *Pace, want time.Duration) {
	t.Helper()
	if got := max(0, time.Until(p.State().NotBefore)); got != want {
		t.Errorf("nobody sends for %v, want %v", got, want)
	}
}

// What was under way together is refused together, and slows once; the pause is the
// longest that was asked for.
func TestPaceOneIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 4)
		turns := []Turn{turn(t, p), turn(t, p), turn(t, p), turn(t, p)}
		time.Sleep(time.Second)
		for i, after := range []time.Duration{0, 2 * time.Second, time.Second} {
			p.Done(turns[i], Answer{Status: 429, After: after})
		}
		p.Done(turns[3], Answer{Status: 200}) // which speeds nothing up
		wantRate(t, p, 1)
		wantPause(t, p, 2*time.Second)
		wantElapsed(t, p, 3, 4*time.Second) // no burst after it
	})
}

// An answer to what was under way at a refusal does not make up for it.
func TestPaceLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		turn(t, p)
		first, second := turn(t, p), turn(t, p)
		p.Done(first, Answer{Status: 429})
		p.Done(second, Answer{Status: 200})
		wantRate(t, p, 1)
	})
}

// A client that has had little to do is not taken for one that could not do more.
func TestPaceLittleToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		refuse(t, p, 0)
		pass(t, p, 60)
		wantRate(t, p, 8)
		for range 100 {
			pass(t, p, 1)
			time.Sleep(4 * time.Second)
		}
		refuse(t, p, 0)
		if r := p.State().Rate; r < 0.9 {
			t.Errorf("the rate is %v", r)
		}
	})
}

// However slow it has become, it finds back within the hour.
func TestPaceFromTheFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 1)
		p.Restore(PaceState{Rate: slowest, Known: slowest})
		for start := time.Now(); time.Since(start) < time.Hour; {
			pass(t, p, 1)
		}
		if r := p.State().Rate; r < 1 {
			t.Errorf("the rate is %v", r)
		}
	})
}

// A quota is learned only from a window that was seen from its beginning to its end.
func TestPaceLearnsNothing(t *testing.T) {
	for name, see := range map[string]func(*testing.T, *Pace){
		"nothing let through": func(t *testing.T, p *Pace) {
			for range 4 {
				refuse(t, p, 30*time.Second)
			}
		},
		"a gap": func(t *testing.T, p *Pace) {
			refuse(t, p, 30*time.Second)
			pass(t, p, 5)
			time.Sleep(20 * time.Minute)
			pass(t, p, 5)
			refuse(t, p, 30*time.Second)
		},
		"somebody else": func(t *testing.T, p *Pace) {
			for i, left := range []int{59, 40, 50} {
				turn := turn(t, p)
				p.Done(turn, Answer{Status: 200, Limit: 60, Left: left})
				time.Sleep(time.Duration(i) * time.Second)
			}
			p.Done(turn(t, p), Answer{Status: 429, After: 30 * time.Second, Limit: 60, Left: 0})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := NewPace(8, 1)
				see(t, p)
				if s := p.State(); s.Quota != 0 || s.Window != 0 {
					t.Errorf("learned %d in %v", s.Quota, s.Window)
				}
			})
		})
	}
}

// A quota that the service no longer tells of is one to be found out again.
func TestPaceToldNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		p.Done(turn(t, p), Answer{Status: 200, Limit: 2, Left: 1})
		p.Done(turn(t, p), Answer{Status: 429, Limit: 2, After: time.Minute})
		for range 100 * leastQuiet {
			pass(t, p, 1)
		}
		wantElapsed(t, p, 80, 10*time.Second)
	})
}

// A burst that is refused takes the bursts, and not the rate.
func TestPaceBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 4)
		first, second := turn(t, p), turn(t, p)
		p.Done(first, Answer{Status: 200})
		p.Done(second, Answer{Status: 429, After: time.Second})
		wantRate(t, p, 2)
		time.Sleep(time.Minute)
		wantElapsed(t, p, 3, time.Second)
		pass(t, p, 3*calmAnswers) // but not for ever
		time.Sleep(time.Minute)
		wantElapsed(t, p, 5, 500*time.Millisecond)
	})
}

// Where the rate changes, what is to be waited for changes with it, however large the
// bursts: neither does it grow, nor is there another burst.
func TestPaceChangesRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1000)
		refuse(t, p, time.Second)
		wantRate(t, p, 1)
		pass(t, p, 1)
		start := time.Now()
		pass(t, p, 10)
		took := time.Since(start)
		var want time.Duration
		for i := range 10 {
			want += time.Duration(float64(time.Second) / math.Pow(1.1, float64(i+1))) // the first made it grow
		}
		if took < want-want/50 || took > want+want/50 {
			t.Errorf("ten requests took %v, want %v", took, want)
		}
	})
}

// Refusals without anything between them are no reason to go slower, but to wait longer.
func TestPaceDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 1)
		refuse(t, p, 0)
		wantRate(t, p, 1)
		for _, want := range []int{2, 4, 8, 16, 32, 60, 60, 60} {
			refuse(t, p, 0)
			wantPause(t, p, time.Duration(want)*time.Second)
		}
		wantRate(t, p, 1)
		pass(t, p, 1)
		refuse(t, p, 0)
		wantPause(t, p, time.Second)
		for range 100 {
			refuse(t, p, 0)
			pass(t, p, 1)
		}
		if r := p.State().Rate; r < slowest || r > 1 {
			t.Errorf("the rate is %v", r)
		}
		refuse(t, p, 365*24*time.Hour)
		wantPause(t, p, time.Hour)
	})
}

// The rate grows only where it is made use of, quickly up to where others were refused.
func TestPaceCreepsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		refuse(t, p, 0)
		wantRate(t, p, 1)
		time.Sleep(time.Second)
		for range 100 {
			pass(t, p, 1)
			time.Sleep(time.Minute)
		}
		wantRate(t, p, 1)
		pass(t, p, 2)
		wantRate(t, p, 1.1) // this one had to wait
		pass(t, p, 30)
		wantRate(t, p, 8)
		refuse(t, p, 0)
		below := p.State().Rate
		if below < 2 || below >= 8 {
			t.Fatalf("after a second refusal the rate is %v", below)
		}
		pass(t, p, stepAnswers)
		if got := p.State().Rate; got < below || got > 1.05*below {
			t.Errorf("the rate is %v soon after a refusal at %v", got, below)
		}
		pass(t, p, 1000)
		wantRate(t, p, 8)
	})
}

// Whoever waited when the service asked for a pause must neither go on before its end,
// nor start off together with all others after it, nor at the rate of before.
func TestPaceSlowWhileWaiting(t *testing.T) {
	for _, pause := range []time.Duration{2500 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			p := NewPace(1, 1)
			first := turn(t, p)
			var mu sync.Mutex
			var at []time.Time
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if turn, err := p.Wait(t.Context()); err == nil {
						p.Done(turn, Answer{})
						mu.Lock()
						defer mu.Unlock()
						at = append(at, time.Now())
					}
				})
			}
			time.Sleep(500 * time.Millisecond)
			next := time.Now().Add(pause)
			p.Done(first, Answer{Status: 429, After: pause})
			wg.Wait()
			for i, got := range at {
				if got.Before(next.Add(-time.Microsecond)) {
					t.Errorf("after a pause of %v request %d went out %v early", pause, i, next.Sub(got))
				}
				next = got.Add(time.Second) // the distance at least
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
		refuse(t, p, time.Minute)
		for _, pause := range []time.Duration{time.Second, 0} {
			// Two of them: one in front of the limiter, and one behind.
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			start := time.Now()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if _, err := p.Wait(ctx); err != context.DeadlineExceeded {
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
			if _, err := p.Wait(ctx); err != context.Canceled {
				t.Errorf("got %v", err)
			}
		}
	})
}

// restored is the pace of the next process, which knows what this one kept.
func restored(t *testing.T, p *Pace) *Pace {
	t.Helper()
	b, err := json.Marshal(p.State())
	if err != nil {
		t.Fatal(err)
	}
	var s PaceState
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	next := NewPace(p.ceiling, p.most)
	next.Restore(s)
	return next
}

func TestPaceRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(2, 1)
		pass(t, p, 3)
		refuse(t, p, time.Second)
		refuse(t, p, time.Minute)
		time.Sleep(20 * time.Second)
		p = restored(t, p)
		wantRate(t, p, 1)
		wantElapsed(t, p, 2, 41*time.Second)

		p = NewPace(2, 4)
		p.Restore(NewPace(2, 4).State())
		wantElapsed(t, p, 2, 500*time.Millisecond) // no burst
		time.Sleep(time.Minute)
		wantElapsed(t, p, 5, 500*time.Millisecond) // but later

		for _, s := range []PaceState{{}, {Rate: 100, Known: 1e9, Burst: 99}, {Rate: -1, Known: -1, Burst: -1}, {Rate: math.NaN(), Known: math.NaN()}} {
			p = NewPace(2, 4)
			p.Restore(s)
			wantRate(t, p, 2)
			if got := p.State(); got.Known != 2 || got.Burst != 4 {
				t.Errorf("%+v became %+v", s, got)
			}
		}
		p.Restore(PaceState{Rate: 1e-9, NotBefore: time.Now().AddDate(30, 0, 0)}) // a clock was wrong
		wantRate(t, p, 1./60)
		wantPause(t, p, time.Hour)
		(*Pace)(nil).Restore((*Pace)(nil).State())
	})
}

// What is to be kept is told when it changes, and not with every request.
func TestPaceChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		changes := 0
		look := func() (changed bool) {
			select {
			case <-p.Changed():
				changes++
				return true
			default:
				return false
			}
		}
		pass(t, p, 1000)
		if look() {
			t.Error("a change although all is well")
		}
		refuse(t, p, time.Second)
		if !look() {
			t.Error("no change after a refusal")
		}
		kept := p.State().Rate
		for range 1000 {
			pass(t, p, 1)
			if look() {
				kept = p.State().Rate
			}
			if r := p.State().Rate; r > 1.1001*kept {
				t.Fatalf("the rate is %v, and %v was kept", r, kept)
			}
		}
		if kept != 8 || changes > 25 {
			t.Errorf("%v was kept, with %d changes", kept, changes)
		}
		if p.hold(time.Second); look() {
			t.Error("a change with a short pause")
		}
		if p.hold(time.Minute); !look() {
			t.Error("no change with a long pause")
		}
		if (*Pace)(nil).Changed() != nil {
			t.Error("a nil pace changes")
		}
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
					turn, err := p.Wait(t.Context())
					if err != nil {
						continue
					}
					let.Add(1)
					a := Answer{Status: 200}
					if i%20 == 19 {
						a = Answer{Status: 429, After: time.Second}
					}
					p.Done(turn, a)
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

// TestPaceLast: what begins goes after what brings to an end, and goes all the same.
func TestPaceLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1, 1)
		var mu sync.Mutex
		var order []byte
		var wg sync.WaitGroup
		send := func(wait func(context.Context) (Turn, error), name byte) {
			wg.Go(func() {
				turn, err := wait(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				p.Done(turn, Answer{Status: 200})
			})
			synctest.Wait()
		}
		send(p.Wait, 'f') // goes at once
		for range 3 {
			send(p.WaitLast, 'l')
		}
		for range 20 {
			send(p.Wait, 'f')
		}
		wg.Wait()
		if got, want := string(order), "f"+"ffffffffl"+"ffffffffl"+"ffffl"; got != want {
			t.Errorf("they went as %s, want %s", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.WaitLast(ctx); err == nil {
			t.Error("it goes although it was told not to")
		}
	})
}

// Who takes the turn of one that waited for it and yielded is as good a sign that the
// rate is made use of as if it had waited itself.
func TestPaceYieldedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1, 1)
		pass(t, p, 1)
		var wg sync.WaitGroup
		send := func(wait func(context.Context) (Turn, error), limited bool) {
			wg.Go(func() {
				if turn, err := wait(t.Context()); err != nil || turn.limited != limited {
					t.Errorf("%+v, %v; want limited: %v", turn, err, limited)
				}
			})
			synctest.Wait()
		}
		send(p.WaitLast, true) // waits in front, and yields
		send(p.Wait, true)     // stands behind it until then
		wg.Wait()
		time.Sleep(time.Minute)
		send(p.Wait, false)
		wg.Wait()
	})
}

// Another bound takes effect at once, also for who waits; what was learned of the
// service stays as far as it fits.
func TestPaceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1./60, 1)
		pass(t, p, 1)
		went := make(chan time.Duration)
		began := time.Now()
		go func() {
			turn(t, p)
			went <- time.Since(began)
		}()
		time.Sleep(time.Second)
		p.Limit(2, 4)
		if after := <-went; after > 2*time.Second {
			t.Errorf("who waited went out after %v", after)
		}
		wantRate(t, p, 2)
		time.Sleep(time.Minute)
		wantElapsed(t, p, 6, time.Second) // four at once, and two

		p.Limit(0.5, 1)
		wantRate(t, p, 0.5)
		time.Sleep(time.Minute)
		wantElapsed(t, p, 3, 4*time.Second)

		p.Limit(2, 1)
		pass(t, p, 1)
		refuse(t, p, 2*time.Second)
		learned := p.State().Rate
		if learned >= 2 {
			t.Fatalf("the rate is %v after a refusal", learned)
		}
		p.Limit(100, 1)
		wantRate(t, p, learned)
		p.Limit(learned/2, 1)
		wantRate(t, p, learned/2)
	})
	var none *Pace
	none.Limit(1, 1)
}
