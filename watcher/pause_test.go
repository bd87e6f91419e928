package watcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// What cannot get another page goes after a moment, what may waits.
func TestHowLongAFileMustBeStill(t *testing.T) {
	scans := realScans(t)
	of := func(ext string) string {
		for name, text := range scans {
			if filepath.Ext(name) == ext {
				return string(text)
			}
		}
		t.Fatalf("there is no sample %s", ext)
		return ""
	}
	jpg := of(".jpg")
	quiet := func(d time.Duration) Folder { return Folder{Quiet: d} }
	tests := []struct {
		name, file, text string
		folder           Folder
		arrives          fsnotify.Op // what events say
		want             time.Duration
	}{
		{"picture", "a.jpg", jpg, Folder{}, 0, glance},
		{"png", "a.png", of(".png"), Folder{}, fsnotify.Create | fsnotify.Write, glance},
		{"gif", "a.gif", of(".gif"), Folder{}, 0, glance},
		{"heic", "a.heic", of(".heic"), Folder{}, 0, glance},
		{"pdf", "a.pdf", pdf, Folder{}, fsnotify.Create | fsnotify.Write, defaultQuiet},
		{"tiff", "a.tif", of(".tiff"), Folder{}, fsnotify.Create | fsnotify.Write, defaultQuiet},
		{"pdf that nobody announced", "a.pdf", pdf, Folder{}, 0, defaultQuiet},
		{"pdf that calls itself a picture", "a.jpg", pdf, Folder{}, fsnotify.Write, defaultQuiet},
		{"picture that calls itself a pdf", "a.pdf", jpg, Folder{}, fsnotify.Write, defaultQuiet},
		{"half a picture", "a.jpg", jpg[:len(jpg)/2], Folder{}, fsnotify.Create, defaultQuiet + time.Minute},
		{"half a picture that is wanted", "a.jpg", jpg[:len(jpg)/2], Folder{CutOff: true}, fsnotify.Create, defaultQuiet},
		{"half a pdf by rename", "a.pdf", pdf[:12], Folder{}, fsnotify.Create, defaultQuiet + time.Minute},
		{"picture, longer configured", "a.jpg", jpg, quiet(20 * time.Second), 0, 20 * time.Second},
		{"pdf, shorter configured", "a.pdf", pdf, quiet(time.Second), 0, time.Second},
		{"pdf, longer configured, by rename", "a.pdf", pdf, quiet(20 * time.Second), fsnotify.Create, 20 * time.Second},
		{"pdf in a folder of pauses", "a.pdf", pdf, Folder{Pause: 20 * time.Second}, fsnotify.Create | fsnotify.Write, 30 * time.Second},
		{"pdf in a folder of long pauses", "a.pdf", pdf, Folder{Pause: time.Hour}, fsnotify.Create | fsnotify.Write, longestQuiet},
		{"half a pdf in a folder of pauses", "a.pdf", pdf[:12], Folder{Pause: 40 * time.Second}, fsnotify.Write, 180 * time.Second},
	}
	if tellsRenames {
		tests = append(tests, struct {
			name, file, text string
			folder           Folder
			arrives          fsnotify.Op
			want             time.Duration
		}{"pdf by rename", "a.pdf", pdf, Folder{}, fsnotify.Create, glance})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk, root string) {
				tt.folder.Path, tt.folder.Rescan = root, 24*time.Hour
				if tt.arrives == 0 {
					write(t, tt.text, root, tt.file)
				}
				n := start(t, mustNew(t, d.config(tt.folder)))
				synctest.Wait()
				if tt.arrives != 0 {
					n.send(tt.arrives, write(t, tt.text, root, tt.file))
				}
				pass(tt.want - 10*time.Millisecond)
				d.want(root)
				pass(20 * time.Millisecond)
				d.want(root, tt.file)
			})
		})
	}
}

// A write after the rename makes a file one like others.
func TestWrittenAfterTheRename(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: 24 * time.Hour})))
		synctest.Wait()
		path := write(t, pdf, root, "a.pdf")
		n.send(fsnotify.Create, path)
		pass(200 * time.Millisecond)
		appendTo(t, path, pdf)
		n.send(fsnotify.Write, path)
		pass(defaultQuiet - 10*time.Millisecond)
		d.want(root)
		pass(20 * time.Millisecond)
		d.want(root, "a.pdf")
	})
}

// A folder learns how long its scanner pauses, tells so, and forgets it again.
func TestPausesAreLearned(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		var told []time.Duration
		c := d.config(Folder{Path: root, Rescan: 24 * time.Hour})
		c.Paused = func(folder string, pause time.Duration) {
			if folder != root {
				t.Errorf("told of %s", folder)
			}
			told = append(told, pause)
		}
		w := mustNew(t, c)
		n := start(t, w)
		synctest.Wait()
		clock := func(path string) { must(t, os.Chtimes(path, time.Now(), time.Now())) } // files have the real one
		page := func(path, text string) {
			appendTo(t, path, text)
			clock(path)
			n.send(fsnotify.Write, path)
			synctest.Wait()
		}
		slow := write(t, pdf+strings.Repeat("x", headSize)+pdf, root, "slow.pdf")
		clock(slow)
		n.send(fsnotify.Create|fsnotify.Write, slow)
		pass(defaultQuiet + time.Second) // handed over, too early
		d.want(root, "slow.pdf")
		pass(14 * time.Second)
		page(slow, pdf)
		pass(40 * time.Second)
		d.want(root, "slow.pdf", "slow.pdf")
		if len(told) != 1 || told[0] < 19*time.Second || told[0] > 21*time.Second {
			t.Fatalf("told %v, want about 20s", told)
		}
		if got := w.Status()[0].Quiet; got != told[0]*3/2 {
			t.Errorf("now waits %v", got)
		}

		next := write(t, pdf, root, "next.pdf")
		n.send(fsnotify.Create|fsnotify.Write, next)
		for range 3 {
			pass(20 * time.Second)
			page(next, pdf)
		}
		d.want(root, "slow.pdf", "slow.pdf")
		pass(40 * time.Second)
		d.want(root, "slow.pdf", "slow.pdf", "next.pdf")

		for i := range 300 { // another scanner, that pauses for a second
			path := write(t, pdf, root, fmt.Sprintf("%d.pdf", i))
			n.send(fsnotify.Create|fsnotify.Write, path)
			pass(time.Second)
			page(path, pdf)
		}
		pass(time.Minute)
		if got := w.Status()[0].Quiet; got != defaultQuiet {
			t.Errorf("after 300 quick ones it still waits %v", got)
		}
		if last := told[len(told)-1]; last > 4*time.Second {
			t.Errorf("a restart would know %v", last)
		}
	})
}

// Another scan under the same name says nothing of pauses, however soon it comes.
func TestNamesThatComeBackAreNoPauses(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		n := start(t, mustNew(t, d.config(Folder{Path: root, Rescan: 24 * time.Hour})))
		synctest.Wait()
		text := pdf
		for i := range 5 {
			text += fmt.Sprintf("page %d", i)
			path := write(t, fmt.Sprintf("%%PDF-1.7 number %d\n", i)+strings.Repeat("x", headSize)+text+pdf, root, "SCN_0001.pdf")
			n.send(fsnotify.Create|fsnotify.Write, path)
			pass(20 * time.Second)
			if got := len(d.files()); got != i+1 {
				t.Fatalf("%d taken of %d", got, i+1)
			}
		}
	})
}

// A scan that no event told of is counted, and has its folder looked through more
// often until nothing is missed any more.
func TestMissedEvents(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Rescan: time.Minute}))
		write(t, pdf, root, "before.pdf")
		n := start(t, w)
		synctest.Wait()
		told := write(t, pdf+"1", root, "told.pdf")
		n.send(fsnotify.Create|fsnotify.Write, told)
		pass(50 * time.Second)
		late := write(t, pdf+"2", root, "late.pdf") // the rescan sees it before its event comes
		pass(11 * time.Second)
		n.send(fsnotify.Create|fsnotify.Write, late)
		pass(10 * time.Second)
		d.want(root, "before.pdf", "told.pdf", "late.pdf")
		if s := w.Status()[0]; s.Missed != 0 || s.Mode != "events" || s.Rescan != time.Minute || s.Taken.IsZero() {
			t.Errorf("with every event: %+v", s)
		}

		write(t, pdf+"3", root, "missed1.pdf")
		pass(65 * time.Second)
		s := w.Status()[0]
		if s.Missed != 1 || s.Rescan >= time.Minute {
			t.Fatalf("after one was missed: %+v", s)
		}
		for i := range 5 {
			write(t, pdf+fmt.Sprint("more", i), root, fmt.Sprintf("more%d.pdf", i))
			pass(s.Rescan + defaultQuiet)
			s = w.Status()[0]
		}
		if s.Missed != 6 || s.Rescan > 10*time.Second || s.Rescan < hurriedRescan {
			t.Errorf("after six were missed: %+v", s)
		}
		pass(time.Hour)
		if s := w.Status()[0]; s.Missed != 6 || s.Rescan != time.Minute {
			t.Errorf("after an hour without: %+v", s)
		}
	})
}

// What was touched and looks new for it was not missed: an event told of it, which wakes
// nobody, or is on its way.
func TestTouchedIsNotMissed(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		w := mustNew(t, d.config(Folder{Path: root, Rescan: time.Minute}))
		known, late := write(t, pdf, root, "known.pdf"), write(t, pdf+"1", root, "late.pdf")
		n := start(t, w)
		pass(30 * time.Second)
		must(t, os.Chtimes(known, time.Time{}, time.Now()))
		n.send(fsnotify.Chmod, known)
		must(t, os.Chtimes(late, time.Time{}, time.Now()))
		pass(31 * time.Second) // the rescan
		n.send(fsnotify.Chmod, late)
		pass(10 * time.Second)
		d.want(root, "known.pdf", "late.pdf", "known.pdf", "late.pdf")
		if s := w.Status()[0]; s.Missed != 0 || s.Rescan != time.Minute {
			t.Errorf("after two were touched: %+v", s)
		}
		must(t, os.Remove(known))
		write(t, pdf+"2", root, "known.pdf") // and no event tells
		pass(70 * time.Second)
		if s := w.Status()[0]; s.Missed != 1 {
			t.Errorf("after one was missed: %+v", s)
		}
	})
}

// Where the file system sends no events, none are asked for, unless they are wanted.
func TestSilentFileSystems(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		quiet, forced := filepath.Join(root, "quiet"), filepath.Join(root, "forced")
		must(t, os.Mkdir(quiet, 0o755))
		must(t, os.Mkdir(forced, 0o755))
		var kind atomic.Value
		kind.Store("NFS")
		c := d.config(Folder{Path: quiet}, Folder{Path: forced, Events: true})
		c.Silent = func(string) string { return kind.Load().(string) }
		w := mustNew(t, c)
		n := start(t, w)
		synctest.Wait()
		if got := n.watches(); len(got) != 1 || got[0] != forced {
			t.Errorf("watched: %q", got)
		}
		s := w.Status()
		if s[0].Mode != "polling" || !strings.Contains(s[0].Why, "NFS") || s[1].Mode != "events" {
			t.Errorf("%+v", s)
		}
		write(t, pdf, quiet, "a.pdf")
		pass(time.Minute + 6*time.Second)
		d.want(quiet, "a.pdf")
		if s := w.Status(); s[0].Missed != 0 {
			t.Errorf("what is polled for is not missed: %+v", s[0])
		}

		must(t, os.RemoveAll(quiet)) // unmounted
		pass(2 * time.Minute)
		if s := w.Status(); s[0].Error == "" {
			t.Errorf("nothing is said of the missing folder: %+v", s[0])
		}
		kind.Store("")
		must(t, os.Mkdir(quiet, 0o755))
		pass(2 * time.Minute)
		if s := w.Status(); s[0].Mode != "events" || s[0].Error != "" || s[0].Why != "" {
			t.Errorf("a disk of this machine: %+v", s[0])
		}
	})
}

// However large a folder is, looking through it takes a hundredth of a processor.
func TestRescansAreAffordable(t *testing.T) {
	f := &folder{Folder: Folder{Rescan: time.Minute}}
	for _, tt := range []struct{ cost, hurry, want time.Duration }{
		{0, 0, time.Minute},
		{500 * time.Millisecond, 0, time.Minute},
		{2 * time.Second, 0, 200 * time.Second},
		{time.Millisecond, hurriedRescan, hurriedRescan},
		{time.Second, hurriedRescan, 100 * time.Second},
	} {
		if f.cost, f.hurry = tt.cost, tt.hurry; f.rescan() != tt.want {
			t.Errorf("a scan that costs %v, hurry %v: every %v, want %v", tt.cost, tt.hurry, f.rescan(), tt.want)
		}
	}
}
