package watcher

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A page that comes in many pieces is one page: it does not make the folder forget how
// long its scanner pauses.
func TestPiecesOfAPageAreNoPauses(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Rescan: 24 * time.Hour, Pause: 20 * time.Second}))
		n := start(t, w)
		synctest.Wait()
		path := write(t, pdf, root, "letter.pdf")
		n.send(fsnotify.Create|fsnotify.Write, path)
		for range 200 {
			pass(10 * time.Millisecond)
			appendTo(t, path, "piece")
			n.send(fsnotify.Write, path)
		}
		pass(29 * time.Second)
		d.want(root)
		if got := w.Status()[0].Quiet; got != 30*time.Second {
			t.Errorf("after 200 pieces it waits %v", got)
		}
		pass(2 * time.Second)
		d.want(root, "letter.pdf")
	})
}

// A transfer that stalls in the middle of a file says how long an end may be waited
// for. Files that have theirs need not wait for that.
func TestStallsAreNoPauses(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Rescan: 24 * time.Hour}))
		n := start(t, w)
		synctest.Wait()
		stall := func(name string) (path string) {
			path = write(t, pdf[:12], root, name)
			n.send(fsnotify.Create|fsnotify.Write, path)
			pass(50 * time.Second)
			return path
		}
		path := stall("slow.pdf")
		appendTo(t, path, pdf[12:])
		n.send(fsnotify.Write, path)
		pass(6 * time.Second)
		d.want(root, "slow.pdf")
		if got := w.Status()[0].Quiet; got != defaultQuiet {
			t.Errorf("a PDF now waits %v", got)
		}
		stall("never.pdf")
		pass(95 * time.Second)
		d.want(root, "slow.pdf")
		pass(10 * time.Second)
		d.want(root, "slow.pdf", "never.pdf")
		if got := d.files()[1].Reject; !strings.Contains(got, "ends too early") {
			t.Errorf("the one whose end never came: %q", got)
		}
	})
}

// A write that leaves size and time alone, as one of two within a tick of the clock
// does, begins the wait anew all the same.
func TestWrittenAndLooksAsBefore(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: 24 * time.Hour})))
		synctest.Wait()
		path := write(t, pdf, root, "letter.pdf")
		n.send(fsnotify.Create|fsnotify.Write, path)
		for range 5 {
			pass(4 * time.Second)
			n.send(fsnotify.Write, path)
		}
		pass(4900 * time.Millisecond)
		d.want(root)
		pass(200 * time.Millisecond)
		d.want(root, "letter.pdf")
	})
}

// What comes slowly is not read again and again.
func TestSlowFilesAreReadSeldom(t *testing.T) {
	f := &folder{pauses: newPauses(0)}
	for _, tt := range []struct{ reading, want time.Duration }{
		{0, glance},
		{time.Millisecond, glance},
		{50 * time.Millisecond, time.Second},
		{time.Hour, defaultQuiet},
	} {
		if got := f.still(&candidate{reading: tt.reading}); got != tt.want {
			t.Errorf("a file that takes %v to read: %v, want %v", tt.reading, got, tt.want)
		}
	}
	if got := f.still(nil); got != glance {
		t.Errorf("a new file: %v", got)
	}
}

// A root that comes back is found soon, however seldom it is scanned.
func TestMissingRootIsLookedForOften(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, dir string) {
		root := filepath.Join(dir, "hot")
		start(t, mustNew(t, d.config(Folder{Path: root, Rescan: time.Hour})))
		pass(time.Minute)
		write(t, pdf, root, "letter.pdf")
		pass(missingRescan + defaultQuiet)
		d.want(root, "letter.pdf")
	})
}

// When the system gives no more events, they are asked for again after a while: other
// programs may have ended, or somebody raised the limit.
func TestEventsAreAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := newFakeNotifier()
		n.refuse = syscall.ENOSPC
		w := mustNew(t, d.config(Folder{Path: root}))
		startWith(t, func(ctx context.Context) error { return w.run(ctx, n, n.events, n.errs) })
		pass(time.Minute)
		if s := w.Status()[0]; s.Mode != "polling" || s.Why == "" {
			t.Errorf("without events: %+v", s)
		}
		n.mu.Lock()
		n.refuse = nil
		n.mu.Unlock()
		pass(30 * time.Minute)
		if s := w.Status()[0]; s.Mode != "polling" {
			t.Errorf("after half an hour: %+v", s)
		}
		pass(31 * time.Minute)
		if s := w.Status()[0]; s.Mode != "events" || s.Why != "" {
			t.Errorf("after an hour: %+v", s)
		}
		if got := n.watches(); len(got) != 1 {
			t.Errorf("watches %q", got)
		}
	})
}

// Even scans that lost events ask for take a hundredth of a processor, over time.
func TestLostEventsAreAffordable(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		var looks atomic.Int64
		c := d.config(Folder{Path: root, Rescan: time.Hour})
		c.Looked = func(string, bool, error) { looks.Add(1) }
		w := mustNew(t, c)
		f := w.folders(nil)[0]
		must(t, f.turn(t.Context()))
		for _, tt := range []struct {
			ahead time.Duration // how much of the time to come has been used already
			scans int64
		}{{0, 1}, {advance, 1}, {advance + time.Minute, 0}} {
			pass(2 * time.Second)
			before := looks.Load()
			f.paid = time.Now().Add(tt.ahead)
			f.hints.lose()
			must(t, f.turn(t.Context()))
			if got := looks.Load() - before; got != tt.scans {
				t.Errorf("%v ahead: %d scans, want %d", tt.ahead, got, tt.scans)
			}
		}
		pass(time.Minute)
		before := looks.Load()
		must(t, f.turn(t.Context()))
		if looks.Load() == before {
			t.Error("the scan never came")
		}
	})
}

func TestWatches(t *testing.T) {
	root := t.TempDir()
	for i := range 5 {
		must(t, os.MkdirAll(filepath.Join(root, fmt.Sprint(i), "deep", ".hidden"), 0o755))
	}
	for _, tt := range []struct {
		f    Folder
		want int
	}{
		{Folder{Path: root, Recursive: true}, 11},
		{Folder{Path: root, Recursive: true, Exclude: []string{"*/deep/**"}}, 6},
		{Folder{Path: root}, 1},
		{Folder{Path: root, Recursive: true, Poll: true}, 0},
		{Folder{Path: filepath.Join(root, "missing")}, 0},
	} {
		if got := Watches(tt.f); got != tt.want {
			t.Errorf("%+v: %d, want %d", tt.f, got, tt.want)
		}
	}
}
