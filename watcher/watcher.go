// Package watcher notices scans: it hands over files that have stopped changing.
//
// A scan of the folder is the truth. It is taken at start, every [Folder.Rescan],
// and whenever events were lost; the events of the file system are only hints that
// save waiting for the next one. So a network share, which sends no events, is
// served just as surely, only later. As long as events have missed nothing, most
// scans leave out the folders whose own time has not changed since they were listed.
//
// A file is handed over once its size and time have stayed the same for a while,
// measured from when the watcher first saw them so: neither the clock of a share nor
// the time of a file is believed. How long depends on the file, unless [Folder.Quiet]
// says so: a picture that has its end, and any whole file that arrived by a rename, goes
// after a moment; a PDF or TIFF can be whole after each of its pages and waits for
// five seconds, or for longer where the folder's scanner was seen to pause longer.
// It is then read once, for its digest and its true type, and handed over only if it
// was the same before and after.
//
// The watcher remembers nothing across restarts and keeps nothing about known files:
// it asks [Config.Known]. It never changes, moves or deletes a file, does not follow
// symbolic links, and lets other programs rename and delete what it is reading.
//
// A file that lacks its end, by its structure, is not handed over while it may yet
// come: a scanner that pauses, or a transfer that is interrupted, looks like a file
// that has stopped changing. After a while it is rejected, until it changes.
package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/fsnotify/fsnotify"
)

const defaultRescan = time.Minute

// Keys of the log.
const (
	keyFolder = "folder"
	keyFile   = "file"
	keyError  = "error"
	keyHint   = "hint"
)

// A Folder is a hot folder: where scans are dropped.
type Folder struct {
	// Path is the absolute path of the folder. It may be a symbolic link.
	Path string

	// Recursive says that scans in folders below Path are taken too.
	Recursive bool

	// Include and Exclude are globs with ** and {a,b}, matched against the path
	// below Path, with slashes on every system, and without regard to case on
	// Windows and macOS. A file is taken if it matches any of Include, or Include
	// is empty, and none of Exclude.
	Include, Exclude []string

	// Skip lists absolute paths of folders below Path that are never entered:
	// other hot folders, and those that scandrop itself writes to.
	Skip []string

	// Quiet is how long a file must stay unchanged before it is handed over,
	// whatever it is; 0 leaves that to the watcher.
	Quiet time.Duration

	// Pause is what [Config.Paused] was last told of this folder; 0 for nothing.
	Pause time.Duration

	// Rescan is how often the folder is scanned. Defaults to a minute.
	Rescan time.Duration

	// CutOff says that files which lack their end are taken like others.
	CutOff bool

	// Poll says that no events are to be asked for: the scans alone must do. Events
	// says that they are to be asked for whatever [Config.Silent] says.
	Poll, Events bool

	// Examine, if it is set, is given every scan that could be sent, open and at
	// its beginning, and all that is known of it. It may set Pages, Spooled and
	// Reject. What it has seen counts only if the file is the same afterwards. An
	// error is not the file's fault: the scan is examined again later. It may be
	// called concurrently with everything else.
	Examine func(ctx context.Context, scan *os.File, file *File) error

	// Ignore says that the folder is seen for the first time and that what lies in
	// it already is not wanted: the first whole scan goes to [Config.Ignored].
	Ignore bool
}

// A File is a scan that has stopped changing.
type File struct {
	Folder  string    // the Path of its [Folder], cleaned
	Path    string    // absolute
	Size    int64     // in bytes
	ModTime time.Time // as the file system tells it

	// Content is the SHA-256 digest; zero if the file could not be read, or was
	// not, because it is ignored.
	Content [32]byte

	// Ext is the true extension, by the first bytes and not by the name: ".pdf",
	// ".jpg", ".png", ".tif", ".heic" or ".gif"; "" if they are of none of these.
	Ext string

	// Pages is how many pages it has; 0 if nobody has counted them.
	Pages int

	// Spooled says that [Folder.Examine] has kept a copy of it.
	Spooled bool

	// Reject says why this file can never be sent; "" if it can.
	Reject string
}

// Config says what is watched, and whom to tell. The functions are called from
// several goroutines, but never two of them at a time. A call holds up every
// folder, so none may wait for the network.
type Config struct {
	// Folders are watched independently of each other: one that hangs, as a share
	// whose server is gone does, holds up no other. A path may be given once.
	Folders []Folder

	// MaxSize is the size in bytes above which a file is rejected; 0 is no limit.
	MaxSize int64

	// Known is the cheap first look: it reports whether this path, with this size
	// and time, was handed over before. It is called for every file at every scan
	// that is whole.
	// After an error it is asked again later.
	Known func(path string, size int64, mod time.Time) (bool, error)

	// Forgotten is a number that changes whenever Known may have become false of a
	// file that has not changed. It may be nil if that never happens.
	Forgotten func() uint64

	// Found takes 1 to 100 files of one folder. When it returns nil they are
	// stored durably and Known is true of them; after an error they are offered
	// again.
	Found func(ctx context.Context, files []File) error

	// Ignored takes 1 to 100 files that lay in a folder with [Folder.Ignore] when
	// it was first scanned, on the same terms as Found, but that those of which Known
	// stays false are wanted after all, and settle as any other. It may be nil if there
	// is no such folder.
	Ignored func(ctx context.Context, files []File) error

	// Looked is told of every scan of a folder. An error says why the folder is
	// missing or cannot be read, and what to do; nil that it is there. Scanned
	// reports that the scan was whole and everything that it found was taken note
	// of, so that from now on nothing in the folder is there for the first time.
	// It may be nil.
	Looked func(folder string, scanned bool, err error)

	// Silent names the kind of file system that a folder lies on if no events are to
	// be expected of it. It is asked whenever the folder was found. It may be nil.
	Silent func(dir string) string

	// Paused is told of how long the scanner of a folder was seen to pause within a
	// file, when that has changed by much: the next Watcher is to know it. It may be
	// nil.
	Paused func(folder string, pause time.Duration)

	// Log may be nil.
	Log *slog.Logger
}

// A Watcher watches folders. [New] makes one.
type Watcher struct {
	cfg     Config
	log     *slog.Logger
	filters []*filter // of cfg.Folders
	open    opener
	deaf    string                   // why there are no events at all; "" if there are
	states  []atomic.Pointer[Status] // of cfg.Folders
	whole   atomic.Int64             // what a whole scan of each folder takes of a processor, together

	mu sync.Mutex // held while a function of cfg runs
}

// New checks cfg and returns a Watcher for it. It starts nothing and touches no file.
// The error names every mistake.
func New(cfg Config) (*Watcher, error) {
	w := &Watcher{cfg: cfg, log: cfg.Log, open: openFile}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.cfg.Folders = make([]Folder, 0, len(cfg.Folders))

	var errs []error
	mistake := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Known == nil || cfg.Found == nil {
		mistake("watcher: Known and Found must be set")
	}
	if cfg.MaxSize < 0 {
		mistake("watcher: MaxSize: %d is negative", cfg.MaxSize)
	}
	if len(cfg.Folders) == 0 {
		mistake("watcher: there is no folder to watch")
	}
	seen := make(map[string]bool)
	for _, f := range cfg.Folders {
		if !filepath.IsAbs(f.Path) {
			mistake("folder %q: the path is not absolute", f.Path)
		}
		f.Path = filepath.Clean(f.Path)
		if seen[fold(f.Path)] {
			mistake("folder %q: is given twice", f.Path)
		}
		seen[fold(f.Path)] = true
		for _, glob := range slices.Concat(f.Include, f.Exclude) {
			if !doublestar.ValidatePattern(glob) {
				mistake("folder %q: %q is not a valid glob", f.Path, glob)
			}
		}
		if f.Quiet < 0 {
			mistake("folder %q: quiet: %v is negative", f.Path, f.Quiet)
		}
		if f.Rescan < 0 {
			mistake("folder %q: rescan: %v is negative", f.Path, f.Rescan)
		}
		if f.Ignore && cfg.Ignored == nil {
			mistake("folder %q: Ignore needs Config.Ignored", f.Path)
		}
		if f.Rescan == 0 {
			f.Rescan = defaultRescan
		}
		w.cfg.Folders = append(w.cfg.Folders, f)
		w.filters = append(w.filters, newFilter(f))
	}
	w.states = make([]atomic.Pointer[Status], len(w.cfg.Folders))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

// Run watches until ctx is done and then returns nil. What was not handed over by
// then is found again by the next Run.
func (w *Watcher) Run(ctx context.Context) error {
	polled := true
	for _, f := range w.cfg.Folders {
		polled = polled && f.Poll
	}
	if polled {
		return w.run(ctx, nil, nil, nil)
	}
	// One for the process: how many a user may have is limited, to 128 by default
	// on Linux.
	n, err := fsnotify.NewWatcher()
	if err != nil {
		w.log.Warn("no folder events, rescanning instead", keyError, err, keyHint, instancesHint)
		w.deaf = fmt.Sprintf("the system gives no more events: %v; %s", cause(err), instancesHint)
		return w.run(ctx, nil, nil, nil)
	}
	defer n.Close()
	return w.run(ctx, n, n.Events, n.Errors)
}

// run is Run with the source of events given: n is told which folders to watch and
// sends what it sees there. A nil n sends nothing.
func (w *Watcher) run(ctx context.Context, n notifier, events <-chan fsnotify.Event, errs <-chan error) error {
	folders := w.folders(n)

	// Events are read until the last folder has stopped: a notifier whose events
	// nobody reads may block in Add.
	done := make(chan struct{})
	var reading, working sync.WaitGroup
	reading.Go(func() { w.dispatch(done, folders, events, errs) })
	for _, f := range folders {
		working.Go(func() { f.run(ctx) })
	}
	working.Wait()
	close(done)
	reading.Wait()
	return nil
}

// Once scans each folder once, waits until everything that it found there has
// settled, hands it over, and returns. A file that is still changing after a minute,
// or ten times the time for which it must not change if that is longer, is left, logged and counted. A folder
// that is missing is no error: [Config.Looked] hears of it.
//
// The error is that of ctx, or what Known, Found and Ignored returned: what they did
// not take is offered by the next Once. One folder's error does not stop the others.
func (w *Watcher) Once(ctx context.Context) (left int, err error) {
	folders := w.folders(nil)
	errs := make([]error, len(folders))
	var working sync.WaitGroup
	for i, f := range folders {
		working.Go(func() { errs[i] = f.drain(ctx) })
	}
	working.Wait()
	for _, f := range folders {
		left += f.left
	}
	if err := ctx.Err(); err != nil {
		return left, err
	}
	return left, errors.Join(errs...)
}

func (w *Watcher) folders(n notifier) []*folder {
	folders := make([]*folder, len(w.cfg.Folders))
	for i, f := range w.cfg.Folders {
		folders[i] = newFolder(w, f, w.filters[i], n, &w.states[i])
	}
	return folders
}

func (w *Watcher) known(path string, info fs.FileInfo) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, err := w.cfg.Known(path, info.Size(), info.ModTime())
	if err != nil {
		return false, fmt.Errorf("looking up whether a file is known: %w", err)
	}
	return known, nil
}

func (w *Watcher) forgotten() uint64 {
	if w.cfg.Forgotten == nil {
		return 0
	}
	return w.cfg.Forgotten()
}

func (w *Watcher) found(ctx context.Context, files []File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.cfg.Found(ctx, files); err != nil {
		return fmt.Errorf("handing over files: %w", err)
	}
	return nil
}

func (w *Watcher) ignored(ctx context.Context, files []File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.cfg.Ignored(ctx, files); err != nil {
		return fmt.Errorf("noting files to ignore: %w", err)
	}
	return nil
}

func (w *Watcher) looked(folder string, scanned bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cfg.Looked != nil {
		w.cfg.Looked(folder, scanned, err)
	}
}

func (w *Watcher) paused(folder string, pause time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log.Info("the scanner of this folder pauses within a file", keyFolder, folder, "pause", pause.Round(100*time.Millisecond))
	if w.cfg.Paused != nil {
		w.cfg.Paused(folder, pause)
	}
}

// cause strips err of the operation and the path, for messages that name the path
// themselves.
func cause(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}

// Watches is how many folders are watched for the events of f, as it is now: its own,
// and those below it that may hold scans. It is 0 for one that is polled or missing.
func Watches(f Folder) int {
	if f.Poll {
		return 0
	}
	f.Path = filepath.Clean(f.Path)
	m := newFilter(f)
	n := 0
	_ = filepath.WalkDir(f.Path, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && path == f.Path:
			return err
		case err != nil || !entry.IsDir():
			return nil // what cannot be read is watched
		case path != f.Path && (!f.Recursive || !m.enters(path)):
			return fs.SkipDir
		}
		n++
		return nil
	})
	return n
}
