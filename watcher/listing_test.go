package watcher

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A rest is a folder whose scans are known and listed, as it is when nothing happens:
// scans of it leave out what looks as it did, but for one in sixteen minutes or so.
type rest struct {
	*desk
	t         *testing.T
	w         *Watcher
	n         *fakeNotifier
	root, old string // old is a scan that is known
	forgotten atomic.Uint64
}

func atRest(t *testing.T, change func(*Config), f func(r *rest)) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		r := &rest{desk: d, t: t, root: root, old: write(t, pdf, root, "sub", "old.pdf")}
		r.age()
		c := d.config(Folder{Path: root, Recursive: true})
		c.Forgotten = r.forgotten.Load
		if change != nil {
			change(&c)
		}
		r.w = mustNew(t, c)
		r.w.whole.Store(int64(time.Second)) // as if other folders were large
		r.n = start(t, r.w)
		pass(3 * time.Minute)
		d.want(root, "sub/old.pdf")
		f(r)
	})
}

// age gives the folders a time at which nothing is done to them: the clock of the file
// system does not go with that of the bubble, and ticks slowly.
func (r *rest) age() {
	for _, dir := range []string{filepath.Join(r.root, "sub"), r.root} {
		must(r.t, os.Chtimes(dir, time.Time{}, time.Unix(1e9, 0)))
	}
}

// looks is how many files are looked at within the given time.
func (r *rest) looks(within time.Duration) int {
	before := r.calls()
	pass(within)
	return r.calls() - before
}

// overwrite changes the old scan in its place, so that its folder looks as before.
func (r *rest) overwrite() {
	appendTo(r.t, r.old, pdf)
}

func TestFoldersAtRestAreNotListed(t *testing.T) {
	atRest(t, nil, func(r *rest) {
		if n := r.looks(10 * time.Minute); n != 0 {
			t.Errorf("%d looks at a known file in ten minutes", n)
		}
		if n := r.looks(10 * time.Minute); n != 1 {
			t.Errorf("%d looks at a known file in ten minutes, want that of a whole scan", n)
		}
	})
}

// What comes, goes or is renamed in a folder that was left out changes its time.
func TestNewFilesShowWithoutEvents(t *testing.T) {
	for name, dir := range map[string]string{"the root": "", "a folder": "sub", "a new folder": "sub/new"} {
		t.Run(name, func(t *testing.T) {
			atRest(t, nil, func(r *rest) {
				write(t, pdf, r.root, dir, "new.pdf")
				pass(time.Minute + defaultQuiet)
				r.want(r.root, "sub/old.pdf", filepath.ToSlash(filepath.Join(dir, "new.pdf")))
			})
		})
	}
}

// What is changed in its place is told by events; where they say nothing a whole scan
// finds it.
func TestOverwrittenWithoutEvents(t *testing.T) {
	atRest(t, nil, func(r *rest) {
		r.overwrite()
		pass(5 * time.Minute)
		r.want(r.root, "sub/old.pdf")
		pass(wholeShare*time.Second - 5*time.Minute)
		r.want(r.root, "sub/old.pdf", "sub/old.pdf")

		// They have missed something: from now on each scan is whole.
		if n := r.looks(time.Hour); n < 60 {
			t.Errorf("%d looks within an hour", n)
		}
	})
}

func TestWholeScans(t *testing.T) {
	quiet := 10 * time.Minute // that a folder at rest is not listed in
	for name, tt := range map[string]struct {
		change func(*Config)
		then   func(r *rest)
		want   int // looks
	}{
		"nothing happens":                {want: 0},
		"something was forgotten":        {then: func(r *rest) { r.forgotten.Add(1) }, want: 1},
		"events were lost":               {then: func(r *rest) { r.n.errs <- errors.New("overflow") }, want: 2},
		"something was touched":          {then: func(r *rest) { r.n.send(fsnotify.Chmod, r.old) }, want: 2},
		"the folder is another":          {then: (*rest).replace, want: 2},
		"there are no events":            {change: func(c *Config) { c.Folders[0].Poll = true }, want: 10},
		"events cannot be relied on":     {change: silent, want: 10},
		"they cannot, and are asked for": {change: func(c *Config) { silent(c); c.Folders[0].Events = true }, want: 10},
	} {
		t.Run(name, func(t *testing.T) {
			atRest(t, tt.change, func(r *rest) {
				pass(0)
				if tt.then != nil {
					tt.then(r)
				}
				if n := r.looks(quiet); n != tt.want {
					t.Errorf("%d looks at the known file, want %d", n, tt.want)
				}
			})
		})
	}
}

func silent(c *Config) { c.Silent = func(string) string { return "a share" } }

// replace puts another folder of the same time in the place of sub.
func (r *rest) replace() {
	sub := filepath.Join(r.root, "sub")
	other := sub + ".other"
	must(r.t, os.Rename(sub, other))
	must(r.t, os.Mkdir(sub, 0o777))
	must(r.t, os.Rename(filepath.Join(other, "old.pdf"), r.old))
	must(r.t, os.Remove(other))
	r.age()
}

// A scan under which the folder changed says nothing of what came within the same tick
// of the file system's clock.
func TestListedTooSoonToTell(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Rescan: time.Second}))
		w.whole.Store(int64(time.Second))
		start(t, w)
		pass(2500 * time.Millisecond)
		info, err := os.Stat(root)
		must(t, err)
		write(t, pdf, root, "new.pdf")
		must(t, os.Chtimes(root, time.Time{}, info.ModTime()))
		pass(time.Second + defaultQuiet)
		d.want(root, "new.pdf")
	})
}

// A whole scan that failed is followed by a whole one: it has not seen what comes after
// the file over which it failed.
func TestKnownFailsAtRest(t *testing.T) {
	atRest(t, nil, func(r *rest) {
		later := filepath.Join(r.root, "sub", "z", "later.pdf")
		write(t, pdf, later)
		r.n.send(fsnotify.Create, filepath.Dir(later))
		pass(3 * time.Minute)
		r.want(r.root, "sub/old.pdf", "sub/z/later.pdf")

		r.forgotten.Add(1)
		r.set(errors.New("disk failed"), nil)
		pass(time.Minute)
		appendTo(t, later, pdf)
		r.set(nil, nil)
		pass(10*time.Second + defaultQuiet)
		r.want(r.root, "sub/old.pdf", "sub/z/later.pdf", "sub/z/later.pdf")
	})
}

// Nothing is remembered of folders that are gone.
func TestListingsOfGoneFolders(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Recursive: true}))
		n := newFakeNotifier()
		f := w.folders(n)[0]
		must(t, os.MkdirAll(filepath.Join(root, "a", "b"), 0o777))
		must(t, f.scan(t.Context()))
		if got := len(f.watched); got != 3 {
			t.Fatalf("%d listings", got)
		}
		must(t, os.RemoveAll(filepath.Join(root, "a")))
		pass(time.Minute)
		must(t, f.scan(t.Context()))
		synctest.Wait()
		var left []string
		for dir := range f.watched {
			left = append(left, dir)
		}
		if !slices.Equal(left, []string{root}) {
			t.Errorf("left are %q", left)
		}
	})
}
