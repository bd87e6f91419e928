package daemon

import (
	"fmt"

	"scandrop/internal/config"
	"scandrop/internal/mount"
	"scandrop/watcher"
)

// CheckEvents holds the folders of which events are asked for against what the system
// allows. what says how it is; an error that it is too little, and hint what to do.
// Nothing is said (what is "") where nothing is watched or nothing limits it. It looks
// through all hot folders that answer, which may take a while.
func CheckEvents(c *config.Config) (what, hint string, err error) {
	needed := 0
	for _, f := range answering(c.Folders, stat) { // that one hangs is said of the folder
		needed += watcher.Watches(watcher.Folder{
			Path: f.Path, Recursive: f.Recursive, Exclude: f.Exclude,
			Poll: f.Watch == "poll" || f.Watch != "events" && mount.Silent(f.Path) != "",
		})
	}
	limit, name := watcher.WatchLimit()
	return enoughEvents(needed, limit, name)
}

func enoughEvents(needed, limit int, name string) (what, hint string, err error) {
	if needed == 0 || limit == 0 {
		return "", "", nil
	}
	what = fmt.Sprintf("folder events (%d of at most %d watches)", needed, limit)
	if needed > limit {
		return what, watcher.RaiseHint(needed), fmt.Errorf("%s is too small: without events scans are only found by looking, once every folders[].rescan", name)
	}
	return what, "", nil
}
