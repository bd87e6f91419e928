package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A queue file that is lost with its snapshots while scans are under way costs
// nothing: the service's list has what was sent.
func TestLostInFlight(t *testing.T) {
	t.Parallel()
	const scans = 3
	for _, n := range []int{1, scans, scans + 1} { // nothing can be done yet
		for _, when := range []sandbox.Moment{sandbox.Made, sandbox.After} {
			t.Run(fmt.Sprintf("call %d moment %d", n, when), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, scans)
				var once sync.Once
				s.onCall(func(call int, at sandbox.Moment) {
					if call == n && at == when {
						once.Do(s.kill)
					}
				})
				s.start().Wait()
				state := filepath.Join(s.dir, "state")
				if err := errors.Join(os.Remove(filepath.Join(state, queueFile)), os.RemoveAll(filepath.Join(state, snapshotFolder))); err != nil {
					t.Fatal(err)
				}
				s.finish(scans)
				s.wantCensus(func(c queue.CensusState) bool { return !c.Rebuilt.IsZero() && len(c.Awaited) == 0 })
			})
		}
	}
}

// wantCensus checks how far the last run got with the service's list.
func (s *site) wantCensus(right func(queue.CensusState) bool) {
	s.t.Helper()
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		s.t.Fatal(err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	if state, err := q.Census(); err != nil || !right(state) {
		s.t.Errorf("the census: %+v, %v", state, err)
	}
}
