package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// maxBatch and maxWait bound what is handed over at once: a slow share must
	// not keep back what has been read already.
	maxBatch = 100
	maxWait  = time.Second

	// unreadableFor is how long a file cannot be read before it is rejected: the
	// rights of a file often come a moment after the file.
	unreadableFor = time.Minute

	// lostPause is the least time between two scans that lost events ask for.
	lostPause = time.Second

	// advance is how far scans that lost events ask for may run ahead of what they
	// are allowed to cost: six seconds of a processor.
	advance = 10 * time.Minute

	// missingRescan is the longest time between two looks for a root that is gone.
	missingRescan = 5 * time.Second

	// deafFor is how long no more events are asked for after the system gave none.
	deafFor = time.Hour

	// sayAgain is how long the same error is not logged again.
	sayAgain = 10 * time.Minute
)

// A folder is a [Folder] being watched. Everything but its hints belongs to one
// goroutine, the one that is in run or drain.
type folder struct {
	Folder
	*filter
	w     *Watcher
	hints *hints

	notifier notifier            // nil if the scans alone must do
	events   notifier            // what notifier is when the folder's file system sends events
	deaf     time.Time           // until when notifier is nil, as the system gave no more events
	why      string              // why notifier is nil, though events were asked for
	silent   bool                // the folder lies where events cannot be relied on
	watched  map[string]*listing // the folders that the notifier was told of; nil for one that is to be listed

	link     *string     // the link that Path is, "" for none; nil until it was there once
	root     fs.FileInfo // what Path was when it was last scanned; nil while missing
	settling *settling
	ignoring bool      // what is found is there for the first time and not wanted
	once     bool      // nobody comes back for a file that does not settle
	left     int       // how many of them there were
	scanned  time.Time // when the last scan began
	scanAt   time.Time // when the next is due

	pauses *pauses
	state  *atomic.Pointer[Status] // what others are told; see publish
	caught bool                    // all that is new was announced by events, from here on
	missed int64                   // files that should have been and were not
	hurry  time.Duration           // the time between two scans, since events were missed; 0 for Rescan
	cost   time.Duration           // of a scan, in processor time
	asking time.Duration           // its part that was spent by a second goroutine
	paid   time.Time               // when the scans until now take a hundredth of a processor

	quick     bool          // the scan that runs leaves out folders that look as they did
	forgotten uint64        // what Forgotten said when the last scan began
	wholeCost time.Duration // of the last whole scan
	wholeAt   time.Time     // when the next is due

	touched map[string]struct{} // files that were touched since the last scan, or some of them

	taken   time.Time // when a file was last handed over
	trouble string    // why the folder cannot be scanned

	warned map[string]struct{} // folders below Path that cannot be read, logged
	wrong  string              // what a function of the Config last failed with, logged
	said   time.Time           // when it was
}

func newFolder(w *Watcher, f Folder, m *filter, n notifier, state *atomic.Pointer[Status]) *folder {
	why := ""
	switch {
	case f.Poll:
		n = nil
	case n == nil:
		why = w.deaf
	}
	return &folder{
		Folder:   f,
		filter:   m,
		w:        w,
		hints:    newHints(),
		notifier: n,
		events:   n,
		why:      why,
		state:    state,
		pauses:   newPauses(f.Pause),
		watched:  make(map[string]*listing),
		settling: newSettling(),
		touched:  make(map[string]struct{}),
		ignoring: f.Ignore,
		warned:   make(map[string]struct{}),
	}
}

// run watches until ctx is done. Errors of the Config's functions are logged, and what
// they concern is offered again.
func (f *folder) run(ctx context.Context) {
	wake := time.NewTimer(0) // the first scan
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.hints.ready:
		case <-wake.C:
		}
		f.report(ctx, f.turn(ctx))
		f.publish()

		next := f.scanAt
		if due, ok := f.settling.next(); ok && due.Before(next) {
			next = due
		}
		wake.Reset(time.Until(next))
	}
}

// turn does what is due, and no more than one batch of it.
func (f *folder) turn(ctx context.Context) error {
	paths, stale, touched, lost := f.hints.take()
	for dir := range stale {
		f.stale(dir)
	}
	for path := range touched {
		if c := f.settling.byPath[path]; c != nil {
			c.unannounced = false
		} else if len(f.touched) < maxHints {
			f.touched[path] = struct{}{}
		}
	}
	if lost {
		f.caught = false
		f.unwatch(f.Path) // each is watched anew by the scan
		f.scanAt = later(time.Now(), later(f.scanned.Add(lostPause), f.paid.Add(-advance)))
	}
	err := f.follow(ctx, paths)
	if err != nil {
		f.caught = false
		f.scanAt = time.Now().Add(f.pause()) // finds what the events were about
	} else if !f.scanAt.After(time.Now()) {
		err = f.scan(ctx)
	}
	return errors.Join(err, f.handOver(ctx))
}

// drain is run for [Watcher.Once].
func (f *folder) drain(ctx context.Context) error {
	f.once = true
	defer f.publish()
	if err := f.scan(ctx); err != nil {
		return err
	}
	for {
		due, ok := f.settling.next()
		if !ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(due)):
		}
		if err := f.handOver(ctx); err != nil {
			return err
		}
	}
}

// pause is how long to wait after an error of the Config's functions.
func (f *folder) pause() time.Duration { return min(f.Rescan, 5*time.Second) }

// quiet is how long a file must be still that may yet grow.
func (f *folder) quiet() time.Duration {
	if f.Quiet > 0 {
		return f.Quiet
	}
	return f.pauses.quiet()
}

// still is how long a file must be still before it is worth a look. A long one that
// comes slowly is not read again and again: c is what is known of it, or nil.
func (f *folder) still(c *candidate) time.Duration {
	const share = 20 // of the time, at most, goes into reading what is not whole yet
	switch {
	case f.Quiet > 0:
		return f.Quiet
	case c != nil:
		return min(max(glance, share*c.reading), f.quiet())
	}
	return glance
}

// early reports whether a candidate that has been still for a moment only may go
// already, if it is what its name says and has its end.
func (f *folder) early(c *candidate, ext string) bool { return !grows(ext) || renamed(c) }

// renamed reports whether the file arrived by a rename, and so is as whole as it ever
// gets: events told that it is there, and never that it is written to.
func renamed(c *candidate) bool {
	return tellsRenames && c.made && !c.written && c.first.Equal(c.since)
}

// rescan is how long to wait between two scans: what the configuration says, or less
// while events are missed, or so long that scans take no more than a hundredth of a
// processor.
func (f *folder) rescan() time.Duration {
	wanted := f.Rescan
	if f.hurry > 0 {
		wanted = f.hurry
	}
	return max(wanted, 100*f.cost)
}

// hurriedRescan is the least time between two scans that missed events lead to.
const hurriedRescan = 5 * time.Second

// miss notes that a file was handed over of which no event told.
func (f *folder) miss(c *candidate) {
	f.missed++
	f.hurry = min(f.Rescan, max(hurriedRescan, f.rescan()/2))
	f.scanAt = earlier(f.scanAt, f.scanned.Add(f.rescan()))
	f.w.log.Info("no event told of this scan, looking through its folder more often",
		keyFolder, f.Path, keyFile, c.path, "missed", f.missed, "rescan", f.rescan())
}

// relax lets the time between two scans grow back while nothing is missed.
func (f *folder) relax() {
	if f.hurry = f.hurry * 5 / 4; f.hurry >= f.Rescan {
		f.hurry = 0
	}
}

// recheck is how long to wait with a file that has settled and cannot be read.
func (f *folder) recheck() time.Duration { return min(max(f.quiet(), time.Second), 10*time.Second) }

// endsWithin is how long the end of a file may be missing before it is rejected.
func (f *folder) endsWithin() time.Duration {
	return max(time.Minute, 3*f.Quiet, 3*f.pauses.longest, 3*f.pauses.stall)
}

// patience is how long a file may change before it is worth a word.
func (f *folder) patience() time.Duration { return max(time.Minute, 10*f.quiet()) }

// report logs an error of the Config's functions, not again and again: a full disk may
// stay full for a weekend.
func (f *folder) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil || err.Error() == f.wrong && time.Since(f.said) < sayAgain {
		return
	}
	f.wrong, f.said = err.Error(), time.Now()
	f.w.log.Error("found scans not taken, offering them again", keyFolder, f.Path, keyError, err)
}

// follow looks where events happened.
func (f *folder) follow(ctx context.Context, paths map[string]fsnotify.Op) error {
	// What has gone comes first: a folder that was renamed is watched anew only
	// when its old name is not watched any more.
	for path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			f.unwatch(path)
			f.settling.drop(path)
		}
	}
	var errs []error
	for path, op := range paths {
		created := op.Has(fsnotify.Create)
		if path == f.Path {
			// A write is a change of what it holds: there are events of that, too.
			if created || op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename) {
				f.scanAt = time.Now()
			}
			continue
		}
		if f.root == nil {
			continue // the scan that finds it again finds the rest
		}
		info, err := os.Lstat(path)
		switch {
		case err != nil: // the scan tells whether it matters
		case info.IsDir():
			if created && f.Recursive && f.enters(path) {
				f.unwatch(path) // it may be another of that name
				errs = append(errs, f.walk(ctx, path, f.look))
			}
		case f.ignoring && !created: // it may have been there before
		case info.Mode().IsRegular() && f.takes(path):
			// Only events tell a pause from a change that nobody saw.
			if c := f.settling.byPath[path]; c != nil && op.Has(fsnotify.Write) {
				if info.Size() > c.size && grows(path) {
					f.learn(c)
				}
				if same(info, c.size, c.mod) { // within one tick of its file system's clock
					f.settling.stir(c, f.still(c))
				}
			}
			errs = append(errs, f.see(path, info))
			if c := f.settling.byPath[path]; c != nil {
				c.unannounced = false
				c.made = c.made || created
				c.written = c.written || op.Has(fsnotify.Write)
			}
		}
	}
	return errors.Join(errs...)
}

// scan looks at the whole folder and tells Looked how it is. The error is one of the
// Config's functions.
func (f *folder) scan(ctx context.Context) error {
	f.scanned = time.Now()
	f.scanAt = f.scanned.Add(f.rescan())

	if err := f.arrive(); err != nil {
		f.scanAt = f.scanned.Add(min(f.rescan(), missingRescan))
		f.looked(false, err)
		return nil
	}
	if f.notifier == nil && !f.deaf.IsZero() && !f.scanned.Before(f.deaf) {
		f.notifier, f.deaf, f.why = f.events, time.Time{}, ""
	}
	for dir := range f.watched {
		if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
			f.unwatch(dir)
		}
	}

	var err error
	f.quick, f.forgotten = f.trusted(), f.w.forgotten()
	f.asking = 0
	f.cost = cost(func() {
		if f.ignoring {
			err = f.ignore(ctx)
		} else {
			err = f.walk(ctx, f.Path, f.rediscover)
		}
	})
	f.cost += f.asking
	clear(f.touched)
	if !f.quick {
		f.wholly(f.cost)
	}
	f.quick = false
	f.relax()
	f.paid = later(f.paid, f.scanned).Add(100 * f.cost)
	f.scanAt = later(f.scanned.Add(f.rescan()), f.paid)
	if ctx.Err() != nil {
		return nil
	}
	if unreadable, ok := errors.AsType[*rootError](err); ok {
		f.leave()
		f.looked(false, unreadable)
		return nil
	}
	// A root that went away while it was scanned looked empty, and was not.
	if there, gone := f.stat(); gone != nil || !os.SameFile(there, f.root) {
		f.scanAt = time.Now().Add(f.pause())
		if gone != nil {
			f.leave()
		}
		f.looked(false, gone)
		return err
	}
	if err != nil {
		f.scanAt = time.Now().Add(f.pause())
	} else {
		f.ignoring = false
	}
	f.caught = err == nil && f.notifier != nil
	f.looked(err == nil, nil)
	return err
}

// looked passes on how a scan of the folder went.
func (f *folder) looked(scanned bool, err error) {
	f.trouble = ""
	if err != nil {
		f.trouble = err.Error()
	}
	f.w.looked(f.Path, scanned, err)
}

// rediscover is the visitor of a scan: what is new, and no event told of, was missed
// unless one is on its way. That a file was touched is an event of it, too.
func (f *folder) rediscover(path string, info fs.FileInfo) error {
	before := f.settling.byPath[path]
	if err := f.look(path, info); err != nil {
		return err
	}
	if c := f.settling.byPath[path]; c != nil && before == nil {
		_, touched := f.touched[path]
		c.unannounced = f.caught && !touched
	}
	return nil
}

// A rootError says that a hot folder is missing or cannot be read, and what to do.
type rootError struct {
	path, what, hint string
	err              error
}

func (e *rootError) Error() string {
	return fmt.Sprintf("folder %s %s: %v; %s", e.path, e.what, e.err, e.hint)
}

func (e *rootError) Unwrap() error { return e.err }

// stat returns what Path is.
func (f *folder) stat() (fs.FileInfo, error) {
	info, err := os.Stat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &rootError{f.Path, "is missing", "create it, or mount what it lies on", cause(err)}
	case err != nil:
		return nil, &rootError{f.Path, "cannot be reached", readHint, cause(err)}
	case !info.IsDir():
		return nil, &rootError{f.Path, "cannot be watched", "name a folder", syscall.ENOTDIR}
	}
	// Who may write to the folder around it must not have us take files from
	// wherever we may read.
	link, err := os.Readlink(f.Path)
	if err != nil { // it is no link
		link = ""
	}
	if f.link == nil {
		f.link = &link
	}
	if link != *f.link {
		return nil, &rootError{f.Path, "is not what it was", "put it back, or restart scandrop if that is meant",
			fmt.Errorf("it led to %q before and leads to %q now (nothing means that it is a folder itself)", *f.link, link)}
	}
	// On Windows, which folder it is gets looked up by its path when it is first
	// asked for: that must be now, and not when another one lies there.
	_ = os.SameFile(info, info)
	return info, nil
}

// arrive finds out whether Path is there, and still what it was.
func (f *folder) arrive() error {
	info, err := f.stat()
	if err != nil {
		f.leave()
		return err
	}
	if f.root != nil && !os.SameFile(f.root, info) {
		f.leave() // another one was put, or mounted, in its place
	}
	if f.root == nil {
		f.listen()
	}
	f.root = info
	return nil
}

// listen decides whether events are to be asked for of the root that was just found:
// what is mounted there may be another file system than before.
func (f *folder) listen() {
	if f.events == nil || f.w.cfg.Silent == nil {
		return
	}
	kind := f.w.cfg.Silent(f.Path)
	f.silent = kind != ""
	if f.Events {
		return
	}
	f.notifier, f.deaf, f.why = f.events, time.Time{}, ""
	if f.silent {
		f.notifier, f.why = nil, "events cannot be relied on: the folder lies on "+kind
		f.w.log.Info("folder is polled", keyFolder, f.Path, "file_system", kind, "rescan", f.rescan())
	}
}

// leave forgets all that was seen and watched below a root that is gone.
func (f *folder) leave() {
	f.unwatch(f.Path)
	f.settling = newSettling()
	f.root = nil
	f.caught = false
}

// A visitor is told of a file that the filter takes.
type visitor func(path string, info fs.FileInfo) error

// walk visits the files in dir, and below it if the folder is recursive. What vanishes
// meanwhile is no error. The errors of visit end it.
func (f *folder) walk(ctx context.Context, dir string, visit visitor) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.watch(dir) // before it is read, so that nothing is made in between
	now := f.list(dir)
	if before, ok := f.unchanged(dir, now); ok {
		return f.walkAll(ctx, before.folders, visit)
	}
	f.stale(dir) // until all in it was looked at
	entries, err := os.ReadDir(dir)
	var files []listed
	var folders []string
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir():
			if f.Recursive && f.enters(path) {
				folders = append(folders, path)
			}
		case entry.Type().IsRegular() && f.takes(path):
			files = append(files, listed{path, entry})
		}
	}
	visited := 0
	for file, info := range f.infos(files) {
		if err := visit(file.path, info); err != nil {
			return err
		}
		visited++
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if now != nil && err == nil && visited == len(files) {
		now.folders = folders
		f.watched[dir] = now
	}
	if err := f.walkAll(ctx, folders, visit); err != nil {
		return err
	}
	_, warned := f.warned[dir]
	switch {
	case err == nil:
		delete(f.warned, dir)
	case dir == f.Path:
		return &rootError{dir, "cannot be read", readHint, cause(err)}
	case errors.Is(err, fs.ErrNotExist):
	case !warned:
		f.warned[dir] = struct{}{}
		f.w.log.Warn("folder below a hot folder cannot be read, leaving it out",
			keyFolder, dir, keyError, cause(err), keyHint, readHint)
	}
	return nil
}

func (f *folder) walkAll(ctx context.Context, dirs []string, visit visitor) error {
	for _, dir := range dirs {
		if err := f.walk(ctx, dir, visit); err != nil {
			return err
		}
	}
	return nil
}

// listed is a file in a listing.
type listed struct {
	path  string
	entry fs.DirEntry
}

// infos yields the files that are still there, with their sizes and times. Where there
// are many a second goroutine asks the system for those of the next ones meanwhile:
// that is half of what a scan of known files takes.
func (f *folder) infos(files []listed) iter.Seq2[listed, fs.FileInfo] {
	const chunk = 64
	ask := func(some []listed) []fs.FileInfo {
		infos := make([]fs.FileInfo, len(some))
		for i, file := range some {
			infos[i], _ = file.entry.Info() // nil if it has gone
		}
		return infos
	}
	return func(yield func(listed, fs.FileInfo) bool) {
		pass := func(some []listed, infos []fs.FileInfo) bool {
			for i, info := range infos {
				if info != nil && !yield(some[i], info) {
					return false
				}
			}
			return true
		}
		if len(files) <= chunk {
			pass(files, ask(files))
			return
		}
		var took time.Duration
		answers, stop := make(chan []fs.FileInfo, 4), make(chan struct{})
		go func() {
			defer close(answers)
			took = cost(func() {
				for some := range slices.Chunk(files, chunk) {
					select {
					case answers <- ask(some):
					case <-stop:
						return
					}
				}
			})
		}()
		defer func() {
			close(stop)
			for range answers { // until it has ended
			}
			if costsApart {
				f.asking += took
			}
		}()
		for some := range slices.Chunk(files, chunk) {
			if !pass(some, <-answers) {
				return
			}
		}
	}
}

// look is the visitor that makes a candidate of a file that is not known.
func (f *folder) look(path string, info fs.FileInfo) error {
	if old, err := f.old(path, info); old || err != nil {
		return err
	}
	// On Windows a folder may list the size and time that a file had when it was
	// last opened.
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	return f.see(path, info)
}

// old reports whether a file that looks like this is waited for already, or taken.
func (f *folder) old(path string, info fs.FileInfo) (bool, error) {
	if f.settling.has(path, info) {
		return true, nil
	}
	known, err := f.w.known(path, info)
	if known && err == nil {
		f.settling.drop(path)
	}
	return known, err
}

// see begins, or begins anew, to wait for a file unless it is known like this.
func (f *folder) see(path string, info fs.FileInfo) error {
	if old, err := f.old(path, info); old || err != nil {
		return err
	}
	f.settling.see(path, info, f.still(f.settling.byPath[path]))
	return nil
}

// learn takes note of the pause that a candidate made before it grew.
func (f *folder) learn(c *candidate) {
	pause := time.Since(c.since)
	if c.file != nil && c.file.Reject != "" { // it was read, and lacked its end
		f.pauses.stalled(pause)
		return
	}
	c.paused = max(c.paused, pause)
	f.pauses.seen(pause)
	f.keep()
}

// keep passes on what the next start must know of pauses.
func (f *folder) keep() {
	if longest, news := f.pauses.news(); news {
		f.w.paused(f.Path, longest)
	}
}

// ignore walks the folder and hands all that is not known to Ignored.
func (f *folder) ignore(ctx context.Context) error {
	var batch []File
	var infos []fs.FileInfo
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := f.w.ignored(ctx, batch)
		for i, file := range batch {
			if err == nil {
				err = f.look(file.Path, infos[i])
			}
		}
		batch, infos = nil, nil
		return err
	}
	err := f.walk(ctx, f.Path, func(path string, info fs.FileInfo) error {
		if f.settling.byPath[path] != nil { // was dropped while we tried before
			return nil
		}
		known, err := f.w.known(path, info)
		if err != nil || known {
			return err
		}
		batch = append(batch, File{Folder: f.Path, Path: path, Size: info.Size(), ModTime: info.ModTime()})
		infos = append(infos, info)
		if len(batch) == maxBatch {
			return flush()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// handOver reads the files that have settled and hands them to Found, one batch. The
// error is one of the Config's functions.
func (f *folder) handOver(ctx context.Context) error {
	began := time.Now()
	var (
		ready []*candidate
		files []File
		err   error
	)
	for err == nil && len(files) < maxBatch && time.Since(began) < maxWait && ctx.Err() == nil {
		c := f.settling.dueNow()
		if c == nil {
			break
		}
		var file *File
		if file, err = f.settle(ctx, c); file != nil {
			f.settling.drop(c.path)
			ready, files = append(ready, c), append(files, *file)
		}
	}
	if len(files) == 0 || ctx.Err() != nil {
		return err
	}
	if refused := f.w.found(ctx, files); refused != nil {
		for _, c := range ready {
			f.settling.put(c, time.Now().Add(f.pause()))
		}
		return errors.Join(err, refused)
	}
	f.taken = time.Now()
	for _, c := range ready {
		if c.unannounced {
			f.miss(c)
		}
		if c.file.Reject == "" && grows(c.file.Ext) {
			pause := f.pauses.grown(c)
			f.pauses.seen(pause)
			f.pauses.fade(max(pause, c.paused))
			f.pauses.handOver(c)
			f.keep()
		}
	}
	return err
}

// settle decides about a candidate that is due: it has settled, and is returned as it
// is to be handed over, or it is put off, or dropped. The error is one of Known.
func (f *folder) settle(ctx context.Context, c *candidate) (*File, error) {
	info, err := os.Lstat(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		f.settling.drop(c.path)
		return nil, nil
	case err == nil && !same(info, c.size, c.mod):
		return nil, f.restart(c, info)
	case err == nil && c.file == nil:
		if !f.early(c, c.path) && f.wait(c) {
			return nil, nil
		}
		began := time.Now()
		c.file, c.head, err = f.w.read(ctx, f.Folder, c.path, c.size, c.mod)
		c.reading = time.Since(began)
	}
	switch {
	case err == nil:
		if !f.early(c, c.file.Ext) && f.wait(c) { // it is not what its name says
			c.file = nil
			return nil, nil
		}
		return c.file, nil
	case ctx.Err() != nil:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		f.settling.drop(c.path)
		return nil, nil
	case errors.Is(err, errChanged):
		f.settling.put(c, time.Now().Add(f.quiet()))
		if info, err := os.Lstat(c.path); err == nil && !same(info, c.size, c.mod) {
			return nil, f.restart(c, info)
		}
		f.unsettled(c, err)
		return nil, nil
	case errors.As(err, new(*cutOff)):
		if f.wait(c) { // it was read early, for the case that it has its end
			c.file = nil
			return nil, nil
		}
		if f.CutOff {
			c.file.Reject = ""
			return c.file, nil
		}
		// Nobody reads it again before it changes; then it begins anew.
		f.settling.put(c, time.Now().Add(f.endsWithin()))
		if f.once { // somebody waits for it
			f.w.log.Info("scan not taken yet: its end is missing, waiting whether it comes",
				keyFolder, f.Path, keyFile, c.path, keyError, err, "seconds", f.endsWithin().Seconds())
		}
		return nil, nil
	case errors.As(err, new(*examineError)):
		f.settling.put(c, time.Now().Add(f.recheck()))
		f.report(ctx, err)
		if f.once && time.Since(c.first) > f.patience() {
			f.settling.drop(c.path)
			f.left++
		}
		return nil, nil
	case errors.Is(err, errBusy):
		f.settling.put(c, time.Now().Add(f.recheck()))
		f.unsettled(c, err)
		return nil, nil
	}
	return f.unreadable(ctx, c, err)
}

// wait puts off a candidate that has not been still for as long as one that may grow
// must be, and reports whether it did.
func (f *folder) wait(c *candidate) bool {
	due := c.since.Add(f.quiet())
	if !time.Now().Before(due) {
		return false
	}
	f.settling.put(c, due)
	return true
}

// restart begins to wait anew for a candidate that does not look as before.
func (f *folder) restart(c *candidate, info fs.FileInfo) error {
	f.settling.put(c, time.Now().Add(f.pause())) // in case Known fails
	if err := f.see(c.path, info); err != nil {
		return err
	}
	f.unsettled(c, errors.New("its size or time keeps changing"))
	return nil
}

// unsettled says so if a candidate has not settled for long, and gives it up if nobody
// will come back for it.
func (f *folder) unsettled(c *candidate, why error) {
	if time.Since(c.first) < f.patience() {
		return
	}
	if !c.told {
		c.told = true
		f.w.log.Warn("scan not taken yet: it is still being written",
			keyFolder, f.Path, keyFile, c.path, keyError, why)
	}
	if f.once {
		f.settling.drop(c.path)
		f.left++
	}
}

// unreadable puts off a candidate that cannot be read, and after a while rejects it.
func (f *folder) unreadable(ctx context.Context, c *candidate, err error) (*File, error) {
	f.settling.put(c, time.Now().Add(f.recheck()))

	// Neither a share that went away nor our own want of files is its fault.
	if there, gone := f.stat(); gone != nil || f.root == nil || !os.SameFile(there, f.root) {
		return nil, f.scan(ctx)
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil, nil
	}

	if c.failing.IsZero() {
		c.failing = time.Now()
	}
	if time.Since(c.failing) < unreadableFor {
		return nil, nil
	}
	c.file = &File{
		Folder: f.Path, Path: c.path, Size: c.size, ModTime: c.mod,
		Reject: fmt.Sprintf("it cannot be read: %v; %s", cause(err), readHint),
	}
	return c.file, nil
}

// watch asks for events of dir. A folder for which that cannot be had is polled.
func (f *folder) watch(dir string) {
	if f.notifier == nil {
		return
	}
	before, again := f.watched[dir]
	if !again {
		// On Windows a folder that was renamed is watched under its old name.
		_ = f.notifier.Remove(dir)
	}
	// Also if it is watched: the system may have dropped the watch without a word,
	// as when a file system is unmounted.
	err := f.notifier.Add(dir)
	switch {
	case err == nil:
		f.watched[dir] = before
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		delete(f.watched, dir) // reading it will say so
	default:
		hint := watchHint(err)
		f.w.log.Warn("no folder events, rescanning instead", keyFolder, f.Path, keyError, err, keyHint, hint)
		f.unwatch(f.Path) // some are no use, and cost
		f.notifier, f.deaf = nil, time.Now().Add(deafFor)
		f.why = fmt.Sprintf("the system gives no more events: %v; %s", cause(err), hint)
	}
}

// unwatch ends the events of dir and of all below it.
func (f *folder) unwatch(dir string) {
	for path := range f.watched {
		if path == dir || below(dir, path) {
			_ = f.notifier.Remove(path) // gone with the folder, as a rule
			delete(f.watched, path)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// cost is the processor time that f takes: what a slow share keeps it waiting does not
// count. It is 0 where the system does not tell, and on some systems too much, see
// [costsApart].
func cost(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, ok := processorTime()
	f()
	ended, still := processorTime()
	if !ok || !still {
		return 0
	}
	return ended - began
}
