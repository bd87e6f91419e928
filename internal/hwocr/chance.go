package hwocr

import "time"

// chance finds out whether refusals have to do with the rate at all. There are
// services that refuse a part of all requests however few they are; who goes slower
// with each refusal of theirs ends at a crawl, and is refused as often.
//
// After some refusals it tries a lower rate. Where as many are refused as before, the
// rate is not the reason: from then on a refusal costs its pause and nothing else, and
// the rate goes up as long as the share of what is refused stays what it is.
// [Pace.mu] guards it.
type chance struct {
	mode         mode
	let, refused int     // answers since the mode, or the level, began
	usual        float64 // the rate before the test
	share        float64 // of the requests that is refused, as far as is known
	wanted       int     // refusals until the next test
}

type mode int

const (
	blaming     mode = iota // a refusal means that the rate is too high
	trying                  // a lower rate is tried
	indifferent             // a refusal means nothing
)

const (
	firstTest   = 6   // refusals until the first test
	lastTest    = 384 // and later, at most, as each that shows that the rate matters makes it four times as many
	longestTest = 10 * time.Minute

	leastChance = 0.009 // of all requests: to be refused less often is no trouble
	mostChance  = 0.4   // of all requests: where more are refused it is no chance
	levelStep   = 1.5   // by how much the rate goes up at once
	muchMore    = 3     // so many times the share is no chance any more,
	moreAtMost  = 0.25  // nor is so much beyond it
	mostWaste   = 0.45  // nor is as much as that
	alarm       = 10    // refusals that tell
)

func newChance() chance { return chance{wanted: firstTest} }

// odds is the share of what was refused since the mode, or the level, began.
func (c *chance) odds() float64 { return float64(c.refused) / float64(max(c.let+c.refused, 1)) }

// expected is how many of what was answered would have been refused as before.
func (c *chance) expected() float64 { return c.share * float64(c.let+c.refused) }

// tooMany reports whether more was refused than chance would explain.
func (c *chance) tooMany() bool {
	return c.odds() > min(muchMore*c.share, c.share+moreAtMost, mostWaste)
}

func (c *chance) begin(m mode) { c.mode, c.let, c.refused = m, 0, 0 }

// fail takes a refusal at the given rate and returns the rate to go on with. It is
// not to be changed for another reason if decided.
func (c *chance) fail(rate float64) (next float64, decided bool) {
	c.refused++
	switch c.mode {
	case trying:
		if c.refused >= 2 {
			c.share = (c.share + c.odds()) / 2
			c.begin(indifferent)
			return c.usual, true
		}
		return rate, true
	case indifferent:
		if c.refused < alarm || !c.tooMany() {
			return rate, true
		}
		return c.test(rate, rate/levelStep), true // it may be that the rate does matter
	}
	if c.refused < c.wanted && (c.refused < firstTest || rate > 0.7*c.usual) {
		return rate, false
	}
	next = c.test(rate, rate)
	return next, c.mode == trying
}

// test begins a test after which the rate is to be the usual one, and returns the
// rate for it.
func (c *chance) test(rate, usual float64) float64 {
	c.share = c.odds()
	lower := 0.5 * rate
	switch { // the rarer refusals are the longer it takes
	case c.share < 0.015:
		lower = 0.85 * rate
	case c.share < 0.1:
		lower = 0.8 * rate
	}
	if c.share < leastChance || c.share > mostChance || 3/c.share/lower > longestTest.Seconds() {
		c.begin(blaming)
		return usual
	}
	c.begin(trying)
	c.usual = usual
	return min(lower, usual)
}

// pass takes an answer that was no refusal, and returns the rate to go on with.
func (c *chance) pass(rate, ceiling float64) float64 {
	c.let++
	switch c.mode {
	case trying:
		if c.expected() >= 4 {
			c.begin(blaming)
			c.wanted = min(4*c.wanted, lastTest)
			return c.usual
		}
	case indifferent:
		switch {
		case c.refused == 0 && c.expected() >= 6: // it refuses nothing any more
			c.begin(blaming)
			c.wanted = firstTest
		case c.expected() >= 3 && !c.tooMany() && (c.refused > 0 || rate < ceiling):
			c.begin(indifferent)
			return min(rate*levelStep, ceiling)
		}
	}
	return rate
}
