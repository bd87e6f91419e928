package queue

import (
	"sync"
	"time"
)

// doubts knows since when this process has been looking for uploads that were not
// answered. Whether one may be sent again hangs on how long it has not been found, and
// the system's clock can be set meanwhile: machines without a clock of their own start
// in the past, and learn the time later. So that is measured without it, and anew after
// a restart.
type doubts struct {
	mu    sync.Mutex
	since map[uint64]time.Time // by job, with the reading of the monotonic clock
}

// begin takes note that a job is in doubt from now on.
func (d *doubts) begin(job uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since == nil {
		d.since = map[uint64]time.Time{}
	}
	d.since[job] = time.Now()
}

// lasted is for how long a job has been in doubt; one that is not known is so from now
// on.
func (d *doubts) lasted(job uint64) time.Duration {
	d.mu.Lock()
	since, known := d.since[job]
	d.mu.Unlock()
	if !known {
		d.begin(job)
		return 0
	}
	return time.Since(since)
}

// end forgets a job. To do so too early only makes the doubt longer.
func (d *doubts) end(job uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.since, job)
}
