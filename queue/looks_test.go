package queue

import (
	"math/rand/v2"
	"testing"
	"time"
)

// follow has one scan after the other asked for as the queue does, and returns how
// many looks were in vain, a scan, and how late results were found, as a share of the
// time that the service took.
func follow(l *looks, scans int, scarce bool, work func() time.Duration) (vain, late float64) {
	now := noon
	var worked, lay time.Duration
	misses := 0
	for i := range scans {
		j := Job{ID: uint64(i + 1), Ext: ".jpg", State: Processing, Uploaded: now}
		ready := now.Add(work())
		for {
			now = l.next(j, now, scarce)
			if !now.Before(ready) {
				break
			}
			misses++
			j.Looked = now
			j.Looks++
		}
		l.learn(j, now)
		worked += ready.Sub(j.Uploaded)
		lay += now.Sub(ready)
	}
	return float64(misses) / float64(scans), lay.Seconds() / worked.Seconds()
}

// TestLooks wants few looks in vain, and few results that lie: the more the less
// can be foretold. First is what the first forty scans of a kind may cost.
func TestLooks(t *testing.T) {
	type cost struct{ vain, late float64 }
	for _, test := range []struct {
		name        string
		from, to    time.Duration
		scarce      bool
		first, then cost // at most
	}{
		{"steady 300 ms", 270 * time.Millisecond, 330 * time.Millisecond, false, cost{0.9, 1}, cost{0.9, 0.10}},
		{"steady 3 s", 2700 * time.Millisecond, 3300 * time.Millisecond, false, cost{0.9, 0.10}, cost{0.9, 0.10}},
		{"steady 10 s", 9 * time.Second, 11 * time.Second, false, cost{0.9, 0.10}, cost{0.9, 0.10}},
		{"steady 3 min", 162 * time.Second, 198 * time.Second, false, cost{2, 0.2}, cost{1, 0.10}},
		{"anything from 2 to 30 s", 2 * time.Second, 30 * time.Second, false, cost{1.75, 0.27}, cost{1.65, 0.25}},
		{"where requests are scarce", 2 * time.Second, 30 * time.Second, true, cost{1, 1}, cost{0.06, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const runs = 20
			var first, then cost
			for seed := range uint64(runs) {
				l, r := &looks{}, rand.New(rand.NewPCG(seed, 7))
				work := func() time.Duration { return test.from + time.Duration(r.Int64N(int64(test.to-test.from))) }
				vain, late := follow(l, 40, test.scarce, work)
				first = cost{first.vain + vain/runs, first.late + late/runs}
				vain, late = follow(l, 400, test.scarce, work)
				then = cost{then.vain + vain/runs, then.late + late/runs}
			}
			t.Logf("%.2f looks in vain, %.1f %% late; then %.2f and %.1f %%", first.vain, 100*first.late, then.vain, 100*then.late)
			if first.vain > test.first.vain || first.late > test.first.late || then.vain > test.then.vain || then.late > test.then.late {
				t.Errorf("want at most %v, then %v", test.first, test.then)
			}
		})
	}
}

// TestLooksAdapt: what the service did some time ago says little of what it does now.
func TestLooksAdapt(t *testing.T) {
	l := &looks{}
	always := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
	for _, d := range []time.Duration{20 * time.Second, 3 * time.Second, 90 * time.Second, 0} {
		follow(l, 2*remembered, false, always(d))
		if vain, late := follow(l, 40, false, always(max(d, time.Millisecond))); vain > 1.4 || d > 0 && late > 0.1 {
			t.Errorf("after %d scans of %v there are %.2f looks in vain, and results lie for %.0f %%", 2*remembered, d, vain, 100*late)
		}
	}
	now := noon
	j := Job{ID: 1, Ext: ".jpg", State: Processing, Uploaded: now}
	if due := l.next(j, now, false); due.Sub(now) > 250*time.Millisecond {
		t.Errorf("where the service is ready at once it is asked after %v", due.Sub(now))
	}
	j.Ext = ".pdf"
	l.next(j, now, false) // goes ahead
	if due := l.next(j, now, false); due.Sub(now) != firstLook {
		t.Errorf("of another kind the second is asked for after %v", due.Sub(now))
	}
}

// TestLooksCurve draws the curve of looks in vain against lateness, for docs/looks.md:
// the price of a look in vain moves along it. No point on it is better in both.
func TestLooksCurve(t *testing.T) {
	for _, d := range []struct {
		name     string
		from, to time.Duration
	}{
		{"10 s, ±10 %", 9 * time.Second, 11 * time.Second},
		{"2 to 30 s", 2 * time.Second, 30 * time.Second},
	} {
		vain, late := 100., 0.
		for _, price := range []float64{1. / 8, 1. / 4, 1. / 2, 1, 2, 4, 8} {
			const runs = 20
			v, l := 0., 0.
			for seed := range uint64(runs) {
				known, r := &looks{price: price}, rand.New(rand.NewPCG(seed, 7))
				work := func() time.Duration { return d.from + time.Duration(r.Int64N(int64(d.to-d.from))) }
				follow(known, 40, false, work)
				vain, late := follow(known, 200, false, work)
				v, l = v+vain/runs, l+late/runs
			}
			t.Logf("| %s | %g | %.2f | %.2f | %.1f %% |", d.name, price, v, (3+v)/3, 100*l)
			if v > vain || l < late {
				t.Errorf("%s: at the price %g there are %.2f looks in vain, %.1f %% late; at half of it %.2f, %.1f %%", d.name, price, v, 100*l, vain, 100*late)
			}
			vain, late = v, l
		}
	}
}
