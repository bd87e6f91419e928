package watcher

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// tellsRenames says that a file of which events told that it is there, and not that it
// was written to, arrived by a rename or a link.
const tellsRenames = true

// cost is the processor time that f takes: what a slow share keeps it waiting does not
// count.
func cost(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, ok := threadTime()
	f()
	ended, still := threadTime()
	if !ok || !still {
		return 0
	}
	return ended - began
}

func threadTime() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
