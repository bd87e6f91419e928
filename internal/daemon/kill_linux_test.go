package daemon

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"sync"
	"testing"
)

// straced skips the test where strace cannot be used, and returns the command
// that has it do something to the daemon's calls, which it counts by thread. It is
// the daemon that is the command's process, and strace a grandchild.
func straced(t *testing.T, call, inject string) []string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	return []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=" + call + ":" + inject, "--"}
}

// The daemon is killed at every durable step of a site's first life, in which the
// queue, the journal and a snapshot are begun, and two scans are copied, divided
// where that must be, and come back in two formats. The kill strikes at the entry of
// a call, which then is not made; so what comes after one step is what comes before
// the next one. Steps that a daemon takes after such a kill alone are struck, too,
// once of each name.
//
// Which steps there are is seen in a life that is left alone. With fewer kills than
// steps a sample of them is struck, which has one of each name before more of any.
func TestKillAtDurableStep(t *testing.T) {
	t.Parallel()
	_, steps := liveAndDie(t)
	var strikes, more []strike
	for step, times := range steps {
		for i, n := range rand.Perm(times) {
			if i == 0 {
				strikes = append(strikes, strike{step, n + 1})
			} else {
				more = append(more, strike{step, n + 1})
			}
		}
	}
	for _, s := range [][]strike{strikes, more} {
		rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	}
	strikes = append(strikes, more...)
	all := len(strikes)
	strikes = strikes[:min(all, max(1, *kills*2/5))] // all of them when there are to be 1000 kills

	var mu sync.Mutex
	struck, names := map[strike]bool{}, map[string]bool{} // of the first life
	later := map[string]strike{}                          // a step of the life after that strike alone
	t.Run("first", func(t *testing.T) {
		for _, at := range strikes {
			t.Run(at.String(), func(t *testing.T) {
				t.Parallel()
				died, then := liveAndDie(t, at)
				if !died && at.N > 1 { // as commits were shared by several jobs, fewer were made
					at.N = 1
					died, then = liveAndDie(t, at)
				}
				if !died {
					t.Error("that step was never taken")
				}
				mu.Lock()
				defer mu.Unlock()
				struck[at], names[at.Step] = true, true
				for step := range then {
					if steps[step] == 0 {
						later[step] = at
					}
				}
			})
		}
	})
	again := 0
	t.Run("again", func(t *testing.T) {
		left := max(1, *kills/10)
		for step, first := range later {
			if left--; left < 0 {
				break
			}
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				if died, _ := liveAndDie(t, first, strike{step, 1}); died {
					mu.Lock()
					defer mu.Unlock()
					again++
				}
			})
		}
	})
	toll.note(fmt.Sprintf("durable steps: %d of %d struck, %d of %d names; after a kill alone %d of %d names", len(struck), all, len(names), len(steps), again, len(later)))
}

// liveAndDie has a daemon live through every durable step, in a site of its own. It
// is struck at one after the other, each in a life of its own, and then left alone.
// died says whether it took all of those steps; steps are those of the last life,
// and how often it took them.
func liveAndDie(t *testing.T, strikes ...strike) (died bool, steps map[string]int) {
	t.Helper()
	s := newSite(t, 0)
	s.configure("  spool: true\n")
	s.drop("scan.png", 0)
	s.dropBig("big.pdf")
	s.largest = bigLimit * 3 / 2 // two parts
	died = true
	for _, at := range append(strikes, strike{}) {
		by, taken := traced(t, at)
		killed := s.outlive(s.start(by...), "durable steps")
		all := taken()
		steps = map[string]int{}
		for _, step := range all {
			steps[step]++
		}
		if !killed {
			died = at.N == 0
			break
		}
		if last := all[len(all)-1]; last != at.Step || steps[last] != at.N {
			t.Fatalf("it was killed at %v, and not at %v", strike{last, steps[last]}, at)
		}
		s.inspect(false)
	}
	s.judge(2)
	return died, steps
}

// note adds to what there is to say.
func (t *tally) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes += "; " + text
}
