package watcher

import "time"

// Status is how a folder is being watched.
type Status struct {
	Folder string // the Path of its [Folder]

	// Mode is how new scans are noticed: "events", "polling", or "" before the folder
	// was found for the first time. Why says why it is polling, though nobody asked
	// for that.
	Mode, Why string

	Scanned  time.Time     // when the last scan of the folder began
	Rescan   time.Duration // how often it is scanned at present
	Quiet    time.Duration // how long a PDF or TIFF must be still at present
	Taken    time.Time     // when a scan was last handed over
	Missed   int64         // scans that events should have told of and only a scan of the folder found
	Settling int           // files that have not settled yet
	Error    string        // why the folder cannot be scanned; "" if it can
}

// Status says how each folder is being watched, in the order of [Config.Folders]. It
// never waits for a folder.
func (w *Watcher) Status() []Status {
	all := make([]Status, len(w.states))
	for i := range w.states {
		all[i].Folder = w.cfg.Folders[i].Path
		if s := w.states[i].Load(); s != nil {
			all[i] = *s
		}
	}
	return all
}

// publish lets Status tell how it is now.
func (f *folder) publish() {
	s := Status{
		Folder: f.Path, Scanned: f.scanned, Rescan: f.rescan(), Quiet: f.quiet(),
		Taken: f.taken, Missed: f.missed, Settling: len(f.settling.byPath), Error: f.trouble,
	}
	switch {
	case f.scanned.IsZero():
	case f.notifier == nil:
		s.Mode, s.Why = "polling", f.why
	default:
		s.Mode = "events"
	}
	f.state.Store(&s)
}
