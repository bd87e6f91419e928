package hwocr

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Pace decides when a request may go out. All that share an account share one, so that
// the service sees one well-behaved client however many workers there are.
//
// Requests go out in the order in which they came, no faster than a ceiling. When the
// service says that it is too much, nobody sends for a while and the rate halves; with
// every few requests that are answered it creeps back.
//
// A Pace is safe for concurrent use. A nil *Pace lets everything through at once.
type Pace struct {
	ceiling float64 // requests a second
	burst   int

	// turn is held by the one who stands in front of the limiter. If all did, each
	// would hold a place that was given out before the service asked for a pause,
	// and they would start off together after it.
	turn chan struct{}

	mu        sync.Mutex
	limiter   *rate.Limiter
	rate      float64   // from floor to ceiling
	slowed    time.Time // when the rate was last halved
	notBefore time.Time // nobody sends earlier
	answered  int       // requests since the rate last changed
}

const (
	slowest = 1. / 60 // requests a second
	fastest = 1000.
)

// NewPace returns a pace of at most rate requests a second, of which burst may go out
// at once after a rest. A rate outside of one a minute to 1000 a second, or a burst
// below 1, counts as the nearest that is allowed.
func NewPace(perSecond float64, burst int) *Pace {
	if !(perSecond >= slowest) { // also where it is not a number
		perSecond = slowest
	}
	perSecond = min(perSecond, fastest)
	burst = max(burst, 1)
	return &Pace{
		ceiling: perSecond,
		burst:   burst,
		turn:    make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Limit(perSecond), burst),
		rate:    perSecond,
	}
}

// Wait returns nil when a request may go out, or the context's error when that ended
// before. A deadline that cannot be met is waited for: it may yet be lifted.
func (p *Pace) Wait(ctx context.Context) error {
	if p == nil {
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		for d := p.pause(); d > 0; d = p.pause() {
			if err := sleep(ctx, d); err != nil {
				return err
			}
		}
		if err := p.limiter.Wait(timeless{ctx}); err != nil {
			return err
		}
		if p.pause() <= 0 { // else somebody was told to slow down meanwhile
			return nil
		}
	}
}

// Slow tells that the service refused a request as one too many; sent is when that
// request had been let through, after is how long the service wants to be left alone.
// Nobody sends for that long, at least a second and at most an hour. The rate halves,
// but only once for all requests that were under way together.
func (p *Pace) Slow(sent time.Time, after time.Duration) {
	if p == nil {
		return
	}
	if after <= 0 {
		after = time.Second
	}
	p.hold(after)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = 0
	if sent.After(p.slowed) {
		p.slowed = time.Now()
		p.setRate(p.rate / 2)
	}
}

// OK tells that a request was answered. After every tenth the rate grows by a
// twentieth of the ceiling, until it is there.
func (p *Pace) OK() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answered++; p.answered >= 10 && p.rate < p.ceiling {
		p.answered = 0
		p.setRate(p.rate + p.ceiling/20)
	}
}

// PaceState is what of a Pace is worth keeping across a restart. It marshals to JSON.
type PaceState struct {
	Rate      float64   `json:"rate"`                // requests a second at present
	NotBefore time.Time `json:"not_before,omitzero"` // nobody sends earlier
}

// State returns the present state.
func (p *Pace) State() PaceState {
	if p == nil {
		return PaceState{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return PaceState{Rate: p.rate, NotBefore: p.notBefore}
}

// Restore goes on from an earlier state, before the first request. There is no burst
// at the start, lest a daemon that crashes again and again sends one each time. What
// does not fit the present ceiling, or asks for more than an hour's pause, is cut.
func (p *Pace) Restore(s PaceState) {
	if p == nil {
		return
	}
	p.hold(time.Until(s.NotBefore))
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.Rate > 0 {
		p.setRate(s.Rate)
	}
	now := time.Now()
	p.limiter.AllowN(now, int(p.limiter.TokensAt(now)))
}

// hold lets nobody send for d, at most an hour.
func (p *Pace) hold(d time.Duration) {
	if p == nil || d <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := time.Now().Add(min(d, maxRetryAfter)); t.After(p.notBefore) {
		p.notBefore = t
	}
}

// pause returns how long nobody may send from now on.
func (p *Pace) pause() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.notBefore)
}

// setRate brings r between the bounds and sets it. Bursts are for the full rate only:
// one right after a pause would bring on the next.
func (p *Pace) setRate(r float64) {
	p.rate = math.Min(math.Max(r, math.Max(p.ceiling/64, slowest)), p.ceiling)
	p.limiter.SetLimit(rate.Limit(p.rate))
	burst := 1
	if p.rate == p.ceiling {
		burst = p.burst
	}
	p.limiter.SetBurst(burst)
}

// timeless hides a context's deadline from the limiter, which else would refuse at
// once where it expects to miss it, with an error that is not the context's.
type timeless struct{ context.Context }

func (timeless) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
