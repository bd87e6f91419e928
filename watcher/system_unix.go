//go:build unix && !linux

package watcher

import (
	"time"

	"golang.org/x/sys/unix"
)

// tellsRenames says that a file of which events told that it is there, and not that it
// was written to, arrived by a rename or a link. Here events tell of what was written
// before they were asked for less surely.
const tellsRenames = false

// costsApart says that [processorTime] does not count what other goroutines do meanwhile.
const costsApart = false

// processorTime is that of the whole process: it cannot be told of one thread here.
func processorTime() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// WatchLimit tells of none here.
func WatchLimit() (limit int, name string) { return 0, "" }

// RaiseHint says how to raise the limit of open files, of which events need one for
// every file in a folder.
func RaiseHint(int) string {
	return "raise the limit of open files, move finished scans out of the folder, or set watch: poll"
}
