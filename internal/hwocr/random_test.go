package hwocr

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// dice refuses a share of all requests by chance, whatever the pace.
type dice struct {
	share  float64
	wait   time.Duration
	random *rand.Rand
	limit  limit // to what they let through; nil = none
}

func (d *dice) take(now time.Time) time.Duration {
	if d.random.Float64() < d.share {
		return d.wait
	}
	if d.limit != nil {
		return d.limit.take(now)
	}
	return 0
}

func newDice(share float64, wait time.Duration, seed uint64) *dice {
	return &dice{share: share, wait: wait, random: rand.New(rand.NewPCG(seed, 2))}
}

// TestPaceRandom: a service that refuses by chance is asked nearly as often as it lets
// itself be asked. Each refusal costs the pause that it asks for, and no more.
func TestPaceRandom(t *testing.T) {
	const seeds = 2
	for _, own := range []float64{0.2, 2, 10, 50} {
		for _, wait := range []time.Duration{0, time.Second, 2 * time.Second, 5 * time.Second} {
			for _, share := range []float64{0.01, 1. / 16, 0.2} {
				if own < 1 && wait > 2*time.Second {
					continue // 5 s are the distance of two requests: it takes hours to tell this from a quota
				}
				name := fmt.Sprintf("rate %g, wait %v, %.0f %%", own, wait, 100*share)
				t.Run(name, func(t *testing.T) {
					pause := wait
					if wait == 0 {
						pause = defaultPause
					}
					best := (1 - share) / (1/own + share*pause.Seconds()) // one after the other
					var got, refused, least float64
					for seed := range uint64(seeds) {
						synctest.Test(t, func(t *testing.T) {
							l := &load{pace: NewPace(own, 4), limit: newDice(share, max(wait, 1), seed), latency: 50 * time.Millisecond, mute: wait == 0}
							l.run(t, 10*time.Minute)
							let, no := l.run(t, 30*time.Minute)
							got += let / seeds
							refused += float64(no) / (let*1800 + float64(no)) / seeds
							if seed == 0 || let < least {
								least = let
							}
						})
					}
					t.Logf("%-30s %6.2f a second of %6.2f, %3.0f %%, at least %3.0f %%; refused %.1f %%", name, got, best, 100*got/best, 100*least/best, 100*refused)
					if got < 0.35*best || least < 0.05*best { // which of the workers goes first is not in our hands
						t.Error("want a third on the whole, and 5 % each time")
					}
					if refused > 1.25*share+0.01 {
						t.Errorf("%.1f %% were refused", 100*refused)
					}
				})
			}
		}
	}
}

// Who refuses by chance may have a limit all the same, and it may fall.
func TestPaceRandomAndLimit(t *testing.T) {
	for _, own := range []float64{2, 50} {
		for _, share := range []float64{0.01, 1. / 16} {
			name := fmt.Sprintf("rate %g, %.0f %%", own, 100*share)
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := newDice(share, time.Second, 1)
					l := &load{pace: NewPace(own, 4), limit: d, latency: 50 * time.Millisecond}
					for i, perSecond := range []float64{1e6, 2, 1, 10} {
						d.limit = &bucket{perSecond: perSecond, burst: 5}
						_, early := l.run(t, 12*time.Minute)
						got, refused := l.run(t, 20*time.Minute)
						rate := min(own, perSecond)
						best := (1 - share) / (1/rate + share)
						all := got*1200 + float64(refused)
						t.Logf("%s, %d: %.2f a second of %.2f, %.0f %%; refused at first %d, then %.1f %%", name, i, got, best, 100*got/best, early, 100*float64(refused)/all)
						// With 50 a second it may take longer to find back up.
						if own == 2 && got < 0.3*best || float64(refused) > 0.6*all {
							t.Error("want 30 %, and 60 % refused at most")
						}
					}
				})
			})
		}
	}
}
