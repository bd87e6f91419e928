package queue

import "time"

// looks is how long the service works on scans of a kind (their extension), as far as
// it has been seen: no scan is asked for the first time sooner after its upload. Every
// look that comes too early costs a request that another scan could have used. It is
// forgotten at the end of the process, and guarded by Queue.mu.
type looks map[string]time.Duration

const (
	// firstLook is where nothing is known yet. Nothing is asked for sooner.
	firstLook = 2 * time.Second
	// latestFirstLook is the vendor's own advice. A few scans of many pages must not
	// make all others wait for longer.
	latestFirstLook = 10 * time.Second
)

// first is how long after its upload a job's result is asked for first.
func (l looks) first(j Job) time.Duration {
	if d, known := l[j.Ext]; known {
		return d
	}
	return firstLook
}

// learn takes what became of a claimed look. It comes to rest where about one look in
// fifty is too early.
func (l looks) learn(j Job, o Outcome, now time.Time) {
	if _, ready := o.(Collected); !ready || j.State != Processing || j.Attempts > 0 {
		return
	}
	first := l.first(j)
	switch asked := j.Due.Sub(j.Uploaded); {
	case j.Looks > 0 && asked > first:
		first += (min(asked, latestFirstLook) - first) / 4
	case j.Looks == 0 && now.Sub(j.Uploaded) < first+first/4: // asked later, it tells nothing
		first -= first / 300
	}
	l[j.Ext] = min(max(first, firstLook), latestFirstLook)
}
