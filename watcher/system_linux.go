package watcher

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tellsRenames says that a file of which events told that it is there, and not that it
// was written to, arrived by a rename or a link.
const tellsRenames = true

// costsApart says that [processorTime] does not count what other goroutines do meanwhile.
const costsApart = true

// processorTime is that of the thread.
func processorTime() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}

// WatchLimit is how many folders the user that scandrop runs as may have watched, all
// programs together, and the name of the limit; 0 if there is none, or if it cannot be
// told.
func WatchLimit() (limit int, name string) {
	const sysctl = "fs.inotify.max_user_watches"
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(sysctl, ".", "/"))
	if err != nil {
		return 0, sysctl
	}
	limit, err = strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, sysctl
	}
	return limit, sysctl
}

// RaiseHint says how to raise the limit of watches so that needed ones, and those of
// other programs, find room.
func RaiseHint(needed int) string {
	limit, name := WatchLimit()
	const usual = 524288 // what desktops and container hosts set; a watch costs about 1 kB
	value := usual
	for value < 2*max(needed, limit) {
		value *= 2
	}
	return fmt.Sprintf("raise %s, which is %d: sysctl -w %s=%d, and the same line in /etc/sysctl.d", name, limit, name, value)
}
