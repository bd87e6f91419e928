package watcher

import (
	"io/fs"
	"os"
	"time"
)

const (
	// wholeShare is what of a processor goes into whole scans, of all folders together,
	// where events can be trusted: a thousandth.
	wholeShare = 1000

	// longestWhole is the longest time between two whole scans that this leads to.
	longestWhole = time.Hour

	// coarsest is the time within which two changes of a folder may leave the same time
	// on it: FAT's clock ticks every two seconds.
	coarsest = 3 * time.Second
)

// A listing is what a folder was when it was last listed.
type listing struct {
	info    fs.FileInfo // from before it was listed
	since   time.Time   // when it was first seen with that time
	sure    bool        // a change after it was listed shows in its time
	folders []string    // in it, that are entered
}

// list is the listing of a folder that is about to be listed; nil if it is not watched.
func (f *folder) list(dir string) *listing {
	before, watched := f.watched[dir]
	if !watched {
		return nil
	}
	now := &listing{since: time.Now()}
	var err error
	if now.info, err = os.Stat(dir); err != nil {
		return nil
	}
	if before != nil && before.same(now) {
		now.since = before.since
		now.sure = time.Since(before.since) >= coarsest
	}
	return now
}

func (l *listing) same(other *listing) bool {
	return l.info.ModTime().Equal(other.info.ModTime()) && os.SameFile(l.info, other.info)
}

// unchanged returns what dir was when it was last listed, if that need not be done
// again: by its time nothing came, went or was renamed in it, and events tell of files
// that were written to.
func (f *folder) unchanged(dir string, now *listing) (before *listing, ok bool) {
	before = f.watched[dir]
	return before, f.quick && now != nil && before != nil && before.sure && before.same(now)
}

// trusted reports whether a scan need not be whole: events never missed anything, are
// those of a file system that tells of everything, and nothing that was known of files
// has been forgotten.
func (f *folder) trusted() bool {
	return f.caught && f.missed == 0 && !f.silent && !f.ignoring &&
		f.forgotten == f.w.forgotten() && time.Now().Before(f.wholeAt)
}

// wholly takes note of a whole scan that took the folder so much of a processor.
func (f *folder) wholly(cost time.Duration) {
	all := time.Duration(f.w.whole.Add(int64(cost - f.wholeCost)))
	f.wholeCost = cost
	f.wholeAt = f.scanned.Add(max(f.Rescan, min(wholeShare*all, longestWhole)))
}

// stale has dir listed by the next scan, however it looks.
func (f *folder) stale(dir string) {
	if _, watched := f.watched[dir]; watched {
		f.watched[dir] = nil
	}
}
