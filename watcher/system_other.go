//go:build !linux

package watcher

import "time"

// tellsRenames says that a file of which events told that it is there, and not that it
// was written to, arrived by a rename or a link. Here events tell of what was written
// before they were asked for, or on behalf of another machine, less surely.
const tellsRenames = false

// cost is the time that f takes: more than that of the processor, which cannot be told
// of one goroutine here.
func cost(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}
