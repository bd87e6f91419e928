package hwocr

import (
	"context"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Pace decides when a request may go out. All that share an account share one, so that
// the service sees one well-behaved client however many workers there are.
//
// Requests go out in the order in which they came, those of [Pace.WaitLast] after the
// others, no faster than a ceiling. When the
// service says that it is too much, nobody sends for as long as it names. What comes
// then depends on what the refusal looks like:
//
//   - A short wait means that the rate was too high. It goes down to what the service has
//     let through lately, back up quickly to just below where it was refused, and from
//     there in small steps that grow the longer all is well. Where a burst was refused
//     that went out after a rest, there are no more bursts for a while, and the rate stays.
//   - A long wait means that a quota is used up. How many requests it lets through, and
//     how often it is renewed, is learned from two refusals, or from what the service
//     tells in its answers. From then on nobody sends when it must be used up, except one
//     request now and then that tries whether there is more.
//   - Some services refuse a part of all requests by chance. Where a lower rate is refused
//     as often, a refusal costs the pause that it asks for, and nothing else; where
//     windows let now few and now many requests through, there is no quota.
//
// A Pace is safe for concurrent use. A nil *Pace lets everything through at once.
type Pace struct {
	ceiling float64 // requests a second
	most    int     // bound of burst

	// turn is held by the one who waits in front. All others wait for it, which keeps
	// their order.
	turn    chan struct{}
	changed chan struct{} // holds one element when State has changed

	firsts, lasts atomic.Int32 // how many wait that go first, and last

	mu        sync.Mutex
	overtaken int           // how many went first while one waited that goes last
	awaited   bool          // the next request was waited for, be it by one that yielded
	news      chan struct{} // closed, and replaced, when somebody may go earlier than it seemed
	rate      float64       // from slowest to ceiling
	known     float64       // up to this rate grows quickly; above it others were refused
	step      float64       // by how much of itself rate grows next, above known
	stepped   time.Time     // when it last grew
	good      int           // answers since then
	burst     int           // from 1 to most
	calm      int           // answers since a burst was refused
	notBefore time.Time     // nobody sends earlier
	steady    time.Time     // when the next would be due had there been no burst
	sent      int           // requests that were let through
	last      time.Time     // when the last of them was
	burstAt   time.Time     // when the last was that did not keep the distance
	told      float64       // rate when changed was last filled
	quota     quota
	chance    chance

	// Since the last refusal:
	since    int           // sent, then: what was sent earlier was under way together
	refusals int           // how many there were before
	passed   bool          // something was let through
	deaf     int           // refusals before that
	accepted float64       // answers to what was sent in
	active   time.Duration // time spent sending, lately, without pauses and rests
	paused   time.Duration // pause before that
}

const (
	slowest = 1. / 60 // requests a second
	fastest = 100_000.

	defaultPause = time.Second      // where the service names none
	longestDeaf  = time.Minute      // pause after refusals alone
	quotaPause   = 3 * time.Second  // with a wait from here on it is a quota that is used up
	longSpan     = 30 * time.Second // of which the rate that was let through is measured
	firstStep    = 0.04
	stepAnswers  = 25
	stepTime     = 10 * time.Second
	calmAnswers  = 500 // until bursts grow again

	mostOvertaken = 8
)

// NewPace returns a pace of at most rate requests a second, of which burst may go out
// at once after a rest. A rate outside of one a minute to 100,000 a second, or a burst
// below 1, counts as the nearest that is allowed.
func NewPace(perSecond float64, burst int) *Pace {
	if !(perSecond >= slowest) { // also where it is not a number
		perSecond = slowest
	}
	perSecond = min(perSecond, fastest)
	burst = max(burst, 1)
	return &Pace{
		ceiling: perSecond,
		most:    burst,
		turn:    make(chan struct{}, 1),
		changed: make(chan struct{}, 1),
		news:    make(chan struct{}),
		rate:    perSecond,
		known:   perSecond,
		told:    perSecond,
		step:    firstStep,
		burst:   burst,
		quota:   newQuota(),
		chance:  newChance(),
	}
}

// A Turn is the leave to send one request. It is given back with [Pace.Done].
type Turn struct {
	number  int // counts from 1
	at      time.Time
	limited bool // it was waited for
}

// Wait returns when a request may go out, or with the context's error when that ended
// before. A deadline that cannot be met is waited for: it may yet be lifted. A Turn
// without an error must be given back, or later ones may come late.
func (p *Pace) Wait(ctx context.Context) (Turn, error) { return p.wait(ctx, false) }

// WaitLast is Wait for a request that lets all go first that come by Wait, save for
// every ninth: what was begun is brought to its end before more is begun, and more is
// begun all the same.
func (p *Pace) WaitLast(ctx context.Context) (Turn, error) { return p.wait(ctx, true) }

func (p *Pace) wait(ctx context.Context, last bool) (Turn, error) {
	if p == nil {
		return Turn{at: time.Now()}, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return Turn{}, err
	}
	waiting := &p.firsts
	if last {
		waiting = &p.lasts
	}
	waiting.Add(1)
	defer waiting.Add(-1)
	limited := false
	for {
		select {
		case p.turn <- struct{}{}:
		case <-ctx.Done():
			return Turn{}, ctx.Err()
		}
		t, yields, err := p.inFront(ctx, last, &limited)
		<-p.turn
		if !yields {
			return t, err
		}
	}
}

// inFront waits in front of all others until a request may go out. Then it may have
// to yield: to those that go first, or to those that did so often enough.
func (p *Pace) inFront(ctx context.Context, last bool, limited *bool) (t Turn, yields bool, err error) {
	for {
		p.mu.Lock()
		now := time.Now()
		at := p.ready(now)
		if !at.After(now) {
			yields = p.lasts.Load() > 0 && p.overtaken >= mostOvertaken
			if last {
				yields = p.firsts.Load() > 0 && p.overtaken < mostOvertaken
			}
			p.awaited = p.awaited || *limited
			if !yields {
				t = p.take(now, p.awaited)
				p.awaited = false
				if p.overtaken++; last || p.lasts.Load() == 0 {
					p.overtaken = 0
				}
			}
			p.mu.Unlock()
			return t, yields, nil
		}
		news := p.news
		p.mu.Unlock()
		*limited = true
		if err := sleep(ctx, at.Sub(now), news); err != nil {
			return Turn{}, false, err
		}
	}
}

// An Answer is what the answer to a request says about the pace. The zero Answer
// stands for none.
type Answer struct {
	Status int           // of HTTP; 0 = nothing was answered
	After  time.Duration // how long the service wants to be left alone; 0 = it does not say

	// What the service tells of its quota: how many requests it lets through (0 = it
	// does not say), how many of them are left, and when (0 = it does not say) it is
	// renewed.
	Limit, Left int
	Reset       time.Duration
}

// refused reports whether the request was one too many.
func (a Answer) refused() bool {
	switch a.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// fine reports whether the service did, or will do, what it was asked.
func (a Answer) fine() bool { return a.Status > 0 && a.Status < 400 }

// Done gives back a turn: its request was answered, or will not be.
func (p *Pace) Done(t Turn, a Answer) {
	if p == nil || t.number == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.quota.answered(t.number, a) {
		p.wake()
	}
	if a.Limit > 0 {
		p.quota.hear(now, t, p.sent-t.number, a)
	}
	switch {
	case a.refused():
		p.refused(now, t, a)
	case a.Status > 0:
		p.let(now, t, a.fine())
	}
}

// hold lets nobody send for d, at most an hour, nor a burst after it.
func (p *Pace) hold(d time.Duration) {
	if p == nil || d <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause(time.Now(), d)
	if d >= quotaPause { // shorter ones may come with every answer
		p.tell()
	}
}

// PaceState is what of a Pace is worth keeping across a restart. It marshals to JSON.
type PaceState struct {
	Rate      float64       `json:"rate"`                // requests a second at present
	Known     float64       `json:"known,omitzero"`      // up to this rate it grows quickly
	Burst     int           `json:"burst,omitzero"`      // how many may go out at once
	NotBefore time.Time     `json:"not_before,omitzero"` // nobody sends earlier
	Quota     int           `json:"quota,omitzero"`      // requests that are let through in each Window
	Window    time.Duration `json:"window,omitzero"`     // in nanoseconds
}

// State returns the present state.
func (p *Pace) State() PaceState {
	if p == nil {
		return PaceState{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PaceState{Rate: p.rate, Known: p.known, Burst: p.burst, NotBefore: p.notBefore}
	if p.quota.length > 0 {
		s.Quota, s.Window = p.quota.limit, p.quota.length
	}
	return s
}

// Changed returns a channel that holds an element when State has changed so much that a
// process which dies now should have kept it: after every refusal, and with every tenth
// by which the rate grows; never with every request. It is for one receiver.
func (p *Pace) Changed() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.changed
}

// Restore goes on from an earlier state, before the first request. There is no burst
// at the start, lest a daemon that crashes again and again sends one each time. What
// does not fit the present ceiling, or asks for more than an hour's pause, is cut.
func (p *Pace) Restore(s PaceState) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if s.Rate > 0 {
		p.rate = p.bounded(s.Rate)
		p.told = p.rate
	}
	if s.Known > 0 {
		p.known = max(p.bounded(s.Known), p.rate)
	}
	if s.Burst > 0 {
		p.burst = min(s.Burst, p.most)
	}
	if s.Quota > 0 && s.Window > 0 && s.Window <= maxRetryAfter {
		p.quota.limit, p.quota.length = s.Quota, s.Window
	}
	p.rest(now)
	p.pause(now, s.NotBefore.Sub(now))
}

// Limit bounds the pace anew: at most perSecond requests a second, of which burst may
// go out at once after a rest, as for [NewPace]. What was learned of the service stays
// as far as it fits; a pace that was at its bound is at the new one.
func (p *Pace) Limit(perSecond float64, burst int) {
	if p == nil {
		return
	}
	if !(perSecond >= slowest) {
		perSecond = slowest
	}
	perSecond, burst = min(perSecond, fastest), max(burst, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	rate, known, bursts := p.rate, p.known, p.burst
	if rate >= p.ceiling {
		rate = perSecond
	}
	if known >= p.ceiling {
		known = perSecond
	}
	if bursts >= p.most {
		bursts = burst
	}
	p.ceiling, p.most = perSecond, burst
	p.set(time.Now(), p.bounded(rate), min(bursts, burst))
	p.known = max(p.bounded(known), p.rate)
	p.tell()
	p.wake()
}

// The methods below want p.mu to be held.

// bounded is r where a rate may be.
func (p *Pace) bounded(r float64) float64 { return min(max(r, slowest), p.ceiling) }

// interval is the distance between two requests.
func (p *Pace) interval() time.Duration { return time.Duration(float64(time.Second) / p.rate) }

// lead is how far requests may be ahead of the steady rate.
func (p *Pace) lead() time.Duration { return time.Duration(p.burst-1) * p.interval() }

// set changes rate and burst. What the next request has still to wait for changes with
// the rate; there is no more of a burst left than before.
func (p *Pace) set(now time.Time, rate float64, burst int) {
	wait := p.steady.Add(-p.lead()).Sub(now)
	if wait < -p.lead() {
		wait = -p.lead()
	}
	wait = time.Duration(float64(wait) * p.rate / rate)
	p.rate, p.burst = rate, burst
	p.steady = now.Add(wait + p.lead())
}

// jump changes the rate to one that is taken for known.
func (p *Pace) jump(now time.Time, rate float64) {
	p.known = p.bounded(rate)
	p.set(now, p.known, p.burst)
}

// rest makes that from t on there is no burst.
func (p *Pace) rest(t time.Time) {
	if t = t.Add(p.lead()); t.After(p.steady) {
		p.steady = t
	}
}

// ready is when the next request may go out, as far as can be known now.
func (p *Pace) ready(now time.Time) time.Time {
	at := p.steady.Add(-p.lead())
	for _, t := range []time.Time{p.notBefore, p.quota.ready(now)} {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// take lets a request go out now.
func (p *Pace) take(now time.Time, limited bool) Turn {
	step := p.interval()
	p.sent++
	if p.sent > 1 {
		from := p.last
		if p.notBefore.After(from) && !p.notBefore.After(now) {
			from = p.notBefore
		}
		gap := now.Sub(from)
		p.active += min(gap, max(2*step, time.Second)) // more was not spent sending
		if gap < step*9/10 && from.Equal(p.last) {
			p.burstAt = now
		}
		if gap > longGap {
			p.accepted, p.active, p.paused = 0, 0, 0
			p.quota.gap()
		}
		if p.active > longSpan { // what was long ago counts less and less
			p.accepted, p.active, p.paused = p.accepted/2, p.active/2, p.paused/2
		}
	}
	p.last = now
	if p.steady.Before(now) {
		p.steady = now
	}
	p.steady = p.steady.Add(step)
	p.quota.take(now, p.sent)
	return Turn{number: p.sent, at: now, limited: limited}
}

// let notes that a request was not refused.
func (p *Pace) let(now time.Time, t Turn, ok bool) {
	late := t.number <= p.since // it was under way when another was refused
	if !late {
		p.accepted++
		p.passed, p.deaf = true, 0
		if p.calm++; p.calm >= calmAnswers && p.burst < p.most {
			p.calm = 0
			p.set(now, p.rate, p.burst+1)
		}
	}
	if p.chance.mode != blaming || !late {
		if rate := p.chance.pass(p.rate, p.ceiling); rate != p.rate {
			p.jump(now, rate)
			p.tell()
		}
	}
	if late || p.chance.mode != blaming {
		return
	}
	// A rate that nobody makes use of is not known to be borne.
	if !ok || !t.limited || p.rate >= p.ceiling {
		return
	}
	p.good++
	switch {
	case p.rate < p.known:
		p.set(now, min(p.rate*1.1, p.known), p.burst)
	case p.good >= stepAnswers && now.Sub(p.stepped) >= stepTime,
		p.good >= stepAnswers/5 && now.Sub(p.stepped) >= 4*stepTime: // where answers are few
		p.set(now, p.bounded(p.rate*(1+p.step)), p.burst)
		p.known = p.rate
		p.step = min(2*p.step, 1)
	default:
		return
	}
	p.good, p.stepped = 0, now
	if p.rate >= 1.1*p.told || p.rate == p.ceiling {
		p.tell()
	}
}

// refused notes that a request was one too many.
func (p *Pace) refused(now time.Time, t Turn, a Answer) {
	after := min(a.After, maxRetryAfter)
	if after <= 0 {
		after = defaultPause
	}
	full := after >= quotaPause && a.Status == http.StatusTooManyRequests
	incident := t.number > p.since // else others of the same congestion have slowed us already
	decided := false
	if !full && p.quota.limit == 0 && (p.chance.mode != blaming || incident && (p.passed || p.refusals == 0)) {
		var rate float64
		if rate, decided = p.chance.fail(p.rate); decided {
			p.jump(now, rate)
		}
	}
	if !incident {
		p.pause(now, after)
		p.tell()
		return
	}
	measured := false // what was let through still tells of the rate
	n, spent, waited := p.accepted+0.5, p.active.Seconds(), p.paused.Seconds()
	switch {
	case full:
		p.quota.exhausted(now, after, !p.passed)
	case !p.passed && p.refusals > 0:
		// The pause was too short, whatever the rate.
		p.deaf++
		after = max(after, min(defaultPause<<min(p.deaf, 10), longestDeaf))
	case decided:
	case p.burstAt.Add(p.interval()).After(t.at) && p.lead() >= time.Second/2:
		p.set(now, p.rate, 1)
		p.calm = 0
		measured = true
	case p.refusals == 0 && spent < 10:
		// Nothing is known yet but that this is too fast: find out from below.
		p.set(now, p.bounded(min(p.rate/2, 1/after.Seconds())), p.burst)
	default:
		// All that the service let through since it last was at its limit, it
		// could bear, even with the pause in between. More than went through
		// without that pause it could not; nor, while the rate still grew, what
		// the rate was in the end.
		low, high, share := n/(spent+waited), 0.95*p.rate, 1./2
		if p.rate >= p.known {
			high, share = min(high, n/max(spent, 0.001)), 1./3
		}
		p.set(now, p.bounded(min(0.9*p.rate, low*math.Pow(max(high/low, 1), share))), p.burst)
		p.known = p.rate
	}
	p.refusals++
	p.since, p.passed = p.sent, false
	if !measured {
		p.accepted, p.active, p.paused = 0, 0, 0
	}
	p.step, p.good, p.stepped = firstStep, 0, now
	p.pause(now, after)
	p.tell()
}

// pause lets nobody send for d, nor a burst after it.
func (p *Pace) pause(now time.Time, d time.Duration) {
	t := now.Add(min(d, maxRetryAfter))
	if !t.After(p.notBefore) {
		return
	}
	from := now
	if p.notBefore.After(from) {
		from = p.notBefore
	}
	p.paused += t.Sub(from)
	p.notBefore = t
	p.rest(t)
}

// tell fills the channel of [Pace.Changed].
func (p *Pace) tell() {
	p.told = p.rate
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// wake lets the one in front look again.
func (p *Pace) wake() {
	close(p.news)
	p.news = make(chan struct{})
}

// sleep returns after d, or earlier when there is news, or with the context's error.
func sleep(ctx context.Context, d time.Duration, news <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-news:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
