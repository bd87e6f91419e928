package watcher

import (
	"time"

	"golang.org/x/sys/windows"
)

// tellsRenames says that a file of which events told that it is there, and not that it
// was written to, arrived by a rename or a link. Here events tell of what is written on
// behalf of another machine less surely.
const tellsRenames = false

// costsApart says that [processorTime] does not count what other goroutines do meanwhile.
const costsApart = false

// processorTime is that of the whole process: it cannot be told of one thread here.
func processorTime() (time.Duration, bool) {
	var created, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &ended, &kernel, &user) != nil {
		return 0, false
	}
	const tick = 100 * time.Nanosecond
	ticks := func(t windows.Filetime) time.Duration {
		return time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * tick
	}
	return ticks(kernel) + ticks(user), true
}

// WatchLimit tells of none here.
func WatchLimit() (limit int, name string) { return 0, "" }

// RaiseHint has no limit to raise here.
func RaiseHint(int) string { return "set watch: poll" }
