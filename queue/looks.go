package queue

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"
)

// looks knows how long the service has lately worked on scans, by kind, and
// from that when asking for a result is worth a request. A look that comes too
// early costs one; a look that comes late leaves a result lying. What is known
// is kept in the queue file. It is guarded by Queue.mu; nil knows nothing.
type looks struct {
	kinds   map[string]*timing
	unsaved int     // seen since it was last kept
	price   float64 // of a look in vain, by the usual; 0: as usual
}

const (
	// firstLook is the first look at a scan of a kind that nothing is known of,
	// soonLook that at the one which goes before, to find out.
	firstLook = 2 * time.Second
	soonLook  = 500 * time.Millisecond
	// exploring is how long one goes before.
	exploring = time.Minute

	// longestPause bounds the time between two looks at a scan that takes
	// longer than any before.
	longestPause = time.Minute

	// remembered is how many scans of a kind are remembered.
	remembered = 64

	// lateAnyway is how long a scan of a kind that is not known may take before
	// it is looked at by itself, whatever the service's list says of it.
	lateAnyway = 30 * time.Second
)

// kindOf names what the service works on alike: its action and its pages, or
// its extension where those are not known.
func kindOf(j Job) string {
	pages := j.Pages
	if p := j.Sends(); p.From > 0 {
		pages = p.To - p.From + 1
	}
	if pages > 0 {
		return fmt.Sprintf("%s %d", j.Options.Action, 1<<bits.Len(uint(pages-1))) // 1, 2, to 4, to 8, …
	}
	return j.Options.Action + " " + j.Ext
}

func (l *looks) timing(j Job) *timing {
	if l == nil {
		return &timing{}
	}
	k := kindOf(j)
	if l.kinds == nil {
		l.kinds = map[string]*timing{}
	}
	if l.kinds[k] == nil {
		l.kinds[k] = &timing{price: l.price}
	}
	return l.kinds[k]
}

// next is when a job that the service works on, and that was not ready at
// now, is looked at (again). Where requests are scarce, others have better uses
// for them, and it is looked at when it is almost certainly ready.
func (l *looks) next(j Job, now time.Time, scarce bool) time.Time {
	k := l.timing(j)
	age := max(now.Sub(j.Uploaded), 0)
	first := j.Looked.IsZero()
	switch {
	case first && len(k.Seen) == 0 && now.Sub(k.explored) < exploring:
		return now.Add(firstLook)
	case first && len(k.Seen) == 0:
		k.explored = now
		return now.Add(soonLook)
	}
	if at := k.next(age, scarce); at > 0 {
		return now.Add(max(at-age, firstBin))
	}
	pause := min(max(age/4, time.Second), longestPause)
	return now.Add(pause - spread(j, pause/10))
}

// learn takes note of a scan that was ready at the given time, and was not yet
// when it was last looked at.
func (l *looks) learn(j Job, ready time.Time) {
	if l == nil || j.Uploaded.IsZero() || ready.Before(j.Uploaded) {
		return
	}
	var after time.Duration
	if j.Looked.After(j.Uploaded) {
		after = j.Looked.Sub(j.Uploaded)
	}
	k := l.timing(j)
	k.see(span{after, ready.Sub(j.Uploaded)})
	l.unsaved++
}

// asked is when a job was looked at whose answer came at the given time: when it
// was due, unless it had to wait.
func (j Job) asked(answered time.Time) time.Time {
	if wait := answered.Sub(j.Due); wait < 0 || wait > max(300*time.Millisecond, j.Due.Sub(j.Uploaded)/20) {
		return answered
	}
	return j.Due
}

// worthKeeping reports whether enough was learned since it was last kept.
func (l *looks) worthKeeping() bool {
	if l == nil || l.unsaved == 0 {
		return false
	}
	seen := 0
	for _, k := range l.kinds {
		seen += len(k.Seen)
	}
	return l.unsaved >= 16 || seen <= 16
}

var keyLooks = []byte("looks")

// loadLooks reads what was learned. What cannot be read is learned anew.
func (t *tx) loadLooks() {
	l := t.policy.looks
	_ = json.Unmarshal(t.get(bucketMeta, keyLooks), &l.kinds)
	for name, k := range l.kinds {
		bad := func(s span) bool { return s.After < 0 || s.Ready < s.After }
		if k == nil || len(k.Seen) > remembered || slices.ContainsFunc(k.Seen, bad) {
			delete(l.kinds, name)
		}
	}
}

// A span says that a scan became ready some time after the one and at the
// latest by the other, counted from its upload.
type span struct {
	After time.Duration `json:"after"`
	Ready time.Duration `json:"ready"`
}

// A timing is how long the service has worked on scans of a kind, and the plan
// of looks that this leads to.
type timing struct {
	Seen []span `json:"seen"` // the latest, oldest first

	explored time.Time // when a scan was last sent ahead, to find out
	fresh    int       // of Seen, those that the plan does not know of; -1: there is no plan
	planned  bool
	mean     time.Duration
	price    float64 // of a look in vain, by the usual; 0: as usual
	plans    [2]plan // usual, and where requests are scarce
}

// A plan is, for every number of bins that have passed without a result, the
// number of those that are to have passed at the next look; 0 if nothing is
// known of what comes then.
type plan [bins + 1]uint16

// Times are sorted into bins, each four hundredths longer than the one before:
// from a twentieth of a second to an hour.
const (
	bins     = 290
	binRatio = 1.04
	firstBin = 50 * time.Millisecond
)

// edge is the end of a bin.
func edge(bin int) time.Duration {
	return time.Duration(float64(firstBin) * math.Pow(binRatio, float64(bin)))
}

// binOf is the bin that a time falls into.
func binOf(d time.Duration) int {
	if d <= firstBin {
		return 0
	}
	return min(int(math.Ceil(math.Log(float64(d)/float64(firstBin))/math.Log(binRatio)-1e-9)), bins-1)
}

func (k *timing) see(s span) {
	k.Seen = append(k.Seen, s)
	if extra := len(k.Seen) - remembered; extra > 0 {
		k.Seen = slices.Delete(k.Seen, 0, extra)
	}
	k.fresh++
}

// late is from when on a scan takes longer than can be expected.
func (k *timing) late() time.Duration {
	if len(k.Seen) < 4 {
		return lateAnyway
	}
	longest := time.Duration(0)
	for _, s := range k.Seen {
		longest = max(longest, s.Ready)
	}
	return longest + longest/2 + 5*time.Second
}

// typical is how long a scan takes on average, as far as is known.
func (k *timing) typical() time.Duration {
	k.refresh()
	return k.mean
}

// next is how long after its upload a scan that was not ready at the age is
// looked at; 0 if nothing is known of scans that take as long.
func (k *timing) next(age time.Duration, scarce bool) time.Duration {
	k.refresh()
	passed := 0
	if age >= firstBin {
		passed = min(binOf(age+1), bins) // a bin that has just begun may still bring it
	}
	mode := 0
	if scarce && len(k.Seen) >= 8 {
		mode = 1
	}
	to := k.plans[mode][passed]
	if to == 0 {
		return 0
	}
	return edge(int(to) - 1)
}

// refresh makes the plans anew where enough is known that they did not know.
func (k *timing) refresh() {
	if !k.planned || k.fresh > 0 && (len(k.Seen) < 16 || k.fresh >= 8) {
		k.plan()
		k.planned, k.fresh = true, 0
	}
}

// plan finds the looks with the least cost: the time that a result lies ready
// on average, and a price for each look in vain. The price is chosen such that
// a look in vain is spent where it saves most: little on scans that all take
// the same time, more on those that nobody can foretell.
func (k *timing) plan() {
	var mass, mid [bins]float64
	for b := range bins {
		mid[b] = edge(b).Seconds() - 0.5*(edge(b)-edge(max(b-1, 0))).Seconds()
	}
	mid[0] = firstBin.Seconds() / 2
	k.weigh(&mass)
	var sum, squares float64
	for b := range bins {
		sum += mass[b] * mid[b]
		squares += mass[b] * mid[b] * mid[b]
	}
	if len(k.Seen) > 0 { // what has not been seen yet counts as one more
		n := float64(len(k.Seen))
		for b := range bins {
			mass[b] *= n / (n + 1)
		}
		unseen(&mass, 1/(n+1))
	} else {
		unseen(&mass, 1)
		for b := range bins {
			sum += mass[b] * mid[b]
			squares += mass[b] * mid[b] * mid[b]
		}
	}
	k.mean = time.Duration(sum * float64(time.Second))
	spread := math.Sqrt(max(squares-sum*sum, 0)) / sum
	price := 0.130 * sum * math.Pow(max(spread, 0.02), 0.36)
	if k.price > 0 {
		price *= k.price
	}
	k.plans[0] = cheapest(&mass, &mid, price)
	k.plans[1] = cheapest(&mass, &mid, 2*sum)
}

// unseen spreads a weight over what scans are known to take anywhere: the
// service's users tell of 3 s to half a minute.
func unseen(mass *[bins]float64, weight float64) {
	from, to := binOf(time.Second), binOf(40*time.Second)
	for b := from; b <= to; b++ {
		mass[b] += weight / float64(to-from+1)
	}
}

// weigh finds the likeliest distribution over the bins: each scan counts once,
// somewhere within its span, and where is likelier the more others tell of it.
func (k *timing) weigh(mass *[bins]float64) {
	if len(k.Seen) == 0 {
		return
	}
	type between struct{ from, to int } // bins, to included
	spans := make([]between, len(k.Seen))
	for i, s := range k.Seen {
		to := binOf(s.Ready)
		from := 0
		if s.After > 0 {
			from = min(binOf(s.After)+1, to)
		}
		spans[i] = between{from, to}
		for b := from; b <= to; b++ {
			mass[b] = (edge(b) - edge(b-1)).Seconds()
		}
	}
	for range 2 { // more would take chance for a rule, where few were seen
		var upTo [bins + 1]float64
		for b := range bins {
			upTo[b+1] = upTo[b] + mass[b]
		}
		var change [bins + 1]float64
		for _, s := range spans {
			if in := upTo[s.to+1] - upTo[s.from]; in > 0 {
				change[s.from] += 1 / in
				change[s.to+1] -= 1 / in
			}
		}
		share := 0.
		for b := range bins {
			share += change[b]
			mass[b] *= max(share, 0) / float64(len(spans))
		}
	}
}

// cheapest finds, from behind, for every number of bins that have passed, the
// look that costs least together with all that follow it.
func cheapest(mass, mid *[bins]float64, price float64) plan {
	var p plan
	var upTo, weighted, cost [bins + 1]float64 // mass, and mass by time, of the bins before
	for b := range bins {
		upTo[b+1] = upTo[b] + mass[b]
		weighted[b+1] = weighted[b] + mass[b]*mid[b]
	}
	all := upTo[bins]
	for i := bins - 1; i >= 0; i-- {
		if all-upTo[i] < 1e-6 {
			continue // nothing is known to take as long
		}
		best := math.Inf(1)
		for j := i + 1; j <= bins; j++ {
			wait := edges[j-1]*(upTo[j]-upTo[i]) - (weighted[j] - weighted[i])
			if wait >= best {
				break // it only grows
			}
			if c := wait + max(all-upTo[j], 0)*price + cost[j]; c < best {
				best = c
				p[i] = uint16(j)
			}
		}
		cost[i] = best
	}
	return p
}

// edges are the ends of the bins in seconds.
var edges = func() (e [bins]float64) {
	for b := range e {
		e[b] = edge(b).Seconds()
	}
	return e
}()
