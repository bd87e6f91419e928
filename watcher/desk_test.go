package watcher

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// samples are the least that is whole of the accepted types, by true extension.
var samples = map[string]string{
	".pdf":  "%PDF-1.7\nstartxref\n9\n%%EOF\n",
	".jpg":  "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9",
	".png":  "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x00IEND\xaeB`\x82",
	".tif":  "II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	".heic": "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\x00\x00\x00\x08meta\x00\x00\x00\x08mdat",
	".gif":  "GIF89a\x01\x00\x01\x00\x00\x00\x00;",
}

// A look is one call of Looked.
type look struct {
	scanned bool
	err     error
}

// A desk stands for the queue: it takes files and knows them from then on.
type desk struct {
	t   *testing.T
	log strings.Builder

	mu       sync.Mutex
	known    map[string]bool
	asked    int // calls of Known
	batches  [][]File
	ignored  []File
	looks    map[string][]look
	trouble  error         // what Known, Found and Ignored return, if set
	foundErr error         // what Found returns, if set
	changed  chan struct{} // closed and replaced at every call
}

func newDesk(t *testing.T) *desk {
	return &desk{t: t, known: make(map[string]bool), looks: make(map[string][]look), changed: make(chan struct{})}
}

func key(path string, size int64, mod time.Time) string {
	return fmt.Sprintf("%q %d %d", path, size, mod.UnixNano())
}

func (d *desk) config(folders ...Folder) Config {
	return Config{
		Folders: folders,
		Log:     slog.New(slog.NewTextHandler(d, nil)),
		Known: func(path string, size int64, mod time.Time) (bool, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.asked++
			return d.known[key(path, size, mod)], d.trouble
		},
		Found: func(_ context.Context, files []File) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			defer d.signal()
			if d.trouble != nil {
				return d.trouble
			}
			if d.foundErr != nil {
				return d.foundErr
			}
			d.batches = append(d.batches, slices.Clone(files))
			d.learn(files)
			return nil
		},
		Ignored: func(_ context.Context, files []File) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			defer d.signal()
			if d.trouble != nil {
				return d.trouble
			}
			d.ignored = append(d.ignored, files...)
			d.learn(files)
			return nil
		},
		Looked: func(folder string, scanned bool, err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			defer d.signal()
			d.looks[folder] = append(d.looks[folder], look{scanned, err})
		},
	}
}

func (d *desk) learn(files []File) {
	for _, f := range files {
		d.known[key(f.Path, f.Size, f.ModTime)] = true
	}
}

func (d *desk) signal() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Write takes the log.
func (d *desk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.Write(p)
}

func (d *desk) logged() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.log.String()
}

// files returns what was found until now, in the order in which it was.
func (d *desk) files() []File {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Concat(d.batches...)
}

func (d *desk) ignoredFiles() []File {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.ignored)
}

func (d *desk) batchSizes() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sizes []int
	for _, b := range d.batches {
		sizes = append(sizes, len(b))
	}
	return sizes
}

// calls returns how often Known was called.
func (d *desk) calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// want fails the test unless exactly the files of these names were found, in any order.
func (d *desk) want(root string, names ...string) {
	d.t.Helper()
	var got []string
	for _, f := range d.files() {
		rel, err := filepath.Rel(root, f.Path)
		if err != nil {
			d.t.Fatal(err)
		}
		got = append(got, filepath.ToSlash(rel))
	}
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		d.t.Fatalf("found %q, want %q", got, names)
	}
}

// lastLook returns how the folder was when it was last looked at.
func (d *desk) lastLook(folder string) look {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	looks := d.looks[folder]
	if len(looks) == 0 {
		d.t.Fatal("the folder was not looked at")
	}
	return looks[len(looks)-1]
}

func (d *desk) set(trouble, foundErr error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble, d.foundErr = trouble, foundErr
}

// await waits until cond holds, however long that takes. It is not for bubbles.
func (d *desk) await(what string, cond func() bool) {
	d.t.Helper()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-d.t.Context().Done():
			d.t.Fatalf("waiting for %s", what)
		}
	}
}

// A fakeNotifier sends the events that a test gives it.
type fakeNotifier struct {
	events chan fsnotify.Event
	errs   chan error

	mu      sync.Mutex
	watched map[string]bool // and whether it still sends events
	refuse  error           // what Add returns, if set
}

func newFakeNotifier() *fakeNotifier {
	return &fakeNotifier{events: make(chan fsnotify.Event), errs: make(chan error), watched: make(map[string]bool)}
}

func (n *fakeNotifier) Add(dir string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return n.refuse
	}
	if _, ok := n.watched[dir]; !ok {
		n.watched[dir] = true
	}
	return nil
}

func (n *fakeNotifier) Remove(dir string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.watched[dir]; !ok {
		return fsnotify.ErrNonExistentWatch
	}
	delete(n.watched, dir)
	return nil
}

// kill makes the watch of dir one that is listed and sends nothing, as it is on Windows
// after an error, and on Linux when another folder took the place of dir.
func (n *fakeNotifier) kill(dir string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched[dir] = false
}

// watches returns the folders of which there are events.
func (n *fakeNotifier) watches() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var dirs []string
	for dir, alive := range n.watched {
		if alive {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

func (n *fakeNotifier) send(op fsnotify.Op, path string) {
	n.events <- fsnotify.Event{Name: path, Op: op}
}

func mustNew(t *testing.T, cfg Config) *Watcher {
	t.Helper()
	w, err := New(cfg)
	must(t, err)
	return w
}

// once runs w once and returns how many files it left.
func once(t *testing.T, w *Watcher) int {
	t.Helper()
	left, err := w.Once(t.Context())
	must(t, err)
	return left
}

// start runs w with a fake notifier until the test ends.
func start(t *testing.T, w *Watcher) *fakeNotifier {
	t.Helper()
	n := newFakeNotifier()
	startWith(t, func(ctx context.Context) error { return w.run(ctx, n, n.events, n.errs) })
	return n
}

func startWith(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// symlink makes a symbolic link at path. Where the system makes none, be it that we
// may not or that it only says that it did, as Wine does, the test is skipped.
func symlink(t *testing.T, to, path string) {
	t.Helper()
	err := os.Symlink(to, path)
	if err == nil {
		_, err = os.Readlink(path)
	}
	if err != nil {
		t.Skip("no symbolic links are made here:", err)
	}
}

// try is must for the watcher's goroutines, in which a test cannot end.
func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// write makes a file, and the folders that it lies in.
func write(t *testing.T, content string, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	try(t, os.MkdirAll(filepath.Dir(path), 0o777))
	try(t, os.WriteFile(path, []byte(content), 0o666))
	return path
}

// drop writes a file under another name and renames it, so that it is never seen half
// written.
func drop(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	must(t, os.Rename(write(t, pdf, path+".part"), path))
	return path
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// appendTo adds to a file.
func appendTo(t *testing.T, path, content string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Error(err)
		return
	}
	_, err = f.WriteString(content)
	try(t, err)
	try(t, f.Close())
}
