package uploader

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A bench is an Uploader at work: a real queue and a real client over a
// transport of the test's, and a hot folder on the disk. It belongs into a
// synctest bubble.
type bench struct {
	t    *testing.T
	dir  string // the hot folder
	path string // of the queue
	log  bytes.Buffer

	queue *queue.Queue
	disk  *disk
	api   *hwocr.Client
	token atomic.Value // string
	*Uploader
}

// setup is what a test may want otherwise.
type setup struct {
	transport http.RoundTripper
	pace      *hwocr.Pace
	timeout   time.Duration // of a request
	doubt     time.Duration
	workers   int
	grace     time.Duration
	census    bool // the service's list is read at the start
}

var transcribe = queue.Options{
	Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: true, DeleteAfter: 168 * time.Hour,
}

func newBench(t *testing.T, s setup) *bench {
	t.Helper()
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "scans"), path: filepath.Join(t.TempDir(), "queue"), disk: &disk{}}
	b.token.Store("good token")
	if err := os.Mkdir(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.connect(s)
	b.open(s)
	if !s.census { // it is not what most tests are about
		b.reports(b.claim(queue.Census), queue.Counted{})
	}
	t.Cleanup(func() {
		b.queue.Close()
		if t.Failed() {
			const last = 4 << 10
			t.Logf("log:\n%s", b.log.Bytes()[max(0, b.log.Len()-last):])
		}
	})
	return b
}

// connect makes the client.
func (b *bench) connect(s setup) {
	b.t.Helper()
	api, err := hwocr.New(hwocr.Config{
		URL:       "https://sandbox.invalid/api/v2",
		Token:     func() (string, error) { return strings.ReplaceAll(b.token.Load().(string), " ", "|"), nil },
		Timeout:   s.timeout,
		Pace:      s.pace,
		Transport: s.transport,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.api = api
}

// open opens the queue, and a new Uploader, as a process does that starts.
func (b *bench) open(s setup) {
	b.t.Helper()
	q, err := queue.Open(queue.Config{
		Path: b.path, Doubt: s.doubt, Installation: queue.Installation{Name: "AB12", Key: make([]byte, 32)},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.queue = q
	b.Uploader = New(Config{
		Queue: q, API: b.api, Files: b.disk, Workers: s.workers, Grace: s.grace,
		Log: slog.New(slog.NewTextHandler(&b.log, nil)),
	})
}

// reopen is a process that died, and the next.
func (b *bench) reopen(s setup) {
	b.t.Helper()
	if err := b.queue.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open(s)
}

// write makes the file at a path that is relative to the hot folder.
func (b *bench) write(name, content string) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// scan is a GIF of one pixel that says something of its own.
func scan(text string) string {
	return "GIF89a\x01\x00\x01\x00\x00\x00\x00" + text
}

// drop puts a scan into the hot folder and into the queue, as the watcher does.
func (b *bench) drop(name, content string, o queue.Options) queue.Job {
	b.t.Helper()
	path := b.write(name, content)
	info, err := os.Stat(path)
	if err != nil {
		b.t.Fatal(err)
	}
	added, err := b.queue.Add(queue.Scan{
		Folder: b.dir, Path: path, Size: info.Size(), ModTime: info.ModTime(),
		Content: sha256.Sum256([]byte(content)), Ext: filepath.Ext(name), Options: o,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return added[0].Job
}

func (b *bench) job(id uint64) queue.Job {
	b.t.Helper()
	j, err := b.queue.Get(id)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// claim waits for the next step.
func (b *bench) claim(step queue.Step) queue.Task {
	b.t.Helper()
	task, err := b.queue.Claim(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	if task.Step != step {
		b.t.Fatalf("the next step is %q, not %q", task.Step, step)
	}
	return task
}

func (b *bench) reports(task queue.Task, o queue.Outcome) queue.Job {
	b.t.Helper()
	j, err := b.queue.Report(task, o)
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// step waits for the next step and takes it.
func (b *bench) step(step queue.Step) queue.Job {
	b.t.Helper()
	task := b.claim(step)
	b.take(b.t.Context(), task)
	return b.job(task.Job.ID)
}

// run runs the Uploader until stopped, which waits for its end.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	return func() {
		b.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}
}

// until lets the bubble's time pass until the condition holds.
func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	const longest = 26 * time.Hour
	for began := time.Now(); !condition(); time.Sleep(time.Second) {
		if time.Since(began) > longest {
			b.t.Fatalf("after %v there is still not: %s; %v", longest, what, b.counts())
		}
	}
}

// drain runs the Uploader until nothing is left to do.
func (b *bench) drain() {
	b.t.Helper()
	stop := b.run()
	defer stop()
	if err := b.queue.Drained(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) counts() map[queue.State]int {
	b.t.Helper()
	counts, err := b.queue.Counts()
	if err != nil {
		b.t.Fatal(err)
	}
	sum := map[queue.State]int{}
	for _, states := range counts {
		for s, n := range states {
			sum[s] += n
		}
	}
	return sum
}

func (b *bench) jobs() []queue.Job {
	b.t.Helper()
	page, err := b.queue.List(queue.Filter{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	return page.Jobs
}

// holds are the keys of what is held, with the hot folder as "DIR".
func (b *bench) holds() []string {
	var keys []string
	for _, h := range b.queue.Holds() {
		keys = append(keys, strings.ReplaceAll(h.Key(), b.dir, "DIR"))
	}
	return keys
}

// wantHolds compares what is held.
func (b *bench) wantHolds(want ...string) {
	b.t.Helper()
	if got := b.holds(); !slices.Equal(got, want) {
		b.t.Errorf("held: %q, want %q", got, want)
	}
}

// wantState compares a job's state and how many attempts it has used.
func (b *bench) wantState(id uint64, state queue.State, attempts int) queue.Job {
	b.t.Helper()
	j := b.job(id)
	if j.State != state || j.Attempts != attempts {
		b.t.Errorf("%s is %s after %d attempts, want %s after %d (%s)",
			filepath.Base(j.Path), j.State, j.Attempts, state, attempts, j.Error)
	}
	return j
}

// read returns a file of the hot folder, "" if there is none.
func (b *bench) read(name string) string {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	return string(content)
}

// A disk is Files over the plain file system, with the rules that matter here:
// results are absent or whole, and nothing but our own is replaced.
type disk struct {
	full  atomic.Bool
	inUse atomic.Bool // a viewer has every result open
	state atomic.Bool // the queue's own disk is
}

func (*disk) root(j queue.Job) error {
	if _, err := os.Stat(j.Folder); err != nil {
		return fmt.Errorf("%w: %w", ErrRootMissing, err)
	}
	return nil
}

func (d *disk) Room(j queue.Job) error {
	if d.state.Load() {
		return fmt.Errorf("%w: 0 bytes are free", ErrState)
	}
	return d.space(j)
}

func (d *disk) space(j queue.Job) error {
	if d.full.Load() {
		return fmt.Errorf("%w: 0 bytes are free", ErrNoRoom)
	}
	return d.root(j)
}

func (d *disk) Open(j queue.Job) (io.ReadCloser, int64, error) {
	if err := d.root(j); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(j.Original())
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (d *disk) Write(_ context.Context, j queue.Job, format string, fill func(hwocr.File) error, reserve Reserve) error {
	if err := d.space(j); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(j.Path), ".scandrop-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	if err := fill(temp); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	content, err := digest(temp.Name())
	if err != nil {
		return err
	}
	stem := strings.TrimSuffix(j.Path, filepath.Ext(j.Path))
	for _, path := range []string{stem + "." + format, j.Path + "." + format, j.Path + " (2)." + format} {
		claim, err := reserve(path, content)
		if err != nil {
			return err
		}
		there, err := digest(path)
		free := errors.Is(err, fs.ErrNotExist)
		if claim.Mine && (free || err == nil && slices.Contains(claim.Replaces, there)) {
			if d.inUse.Load() {
				return ErrInUse
			}
			return os.Rename(temp.Name(), path)
		}
	}
	return errors.New("no name is free")
}

func digest(path string) (queue.Digest, error) {
	content, err := os.ReadFile(path)
	return sha256.Sum256(content), err
}

func (d *disk) Has(j queue.Job, path string, content queue.Digest) (bool, error) {
	if err := d.root(j); err != nil {
		return false, err
	}
	got, err := digest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return got == content, err
}

func (*disk) OpenResult(_ queue.Job, path string) (io.ReadCloser, error) { return os.Open(path) }

func (d *disk) Move(j queue.Job, dir string) (string, error) {
	if whole, err := d.Has(j, j.Path, j.Content); err != nil || !whole {
		return "", errors.Join(ErrStays, err)
	}
	moved := filepath.Join(dir, filepath.Base(j.Path))
	return moved, os.Rename(j.Path, moved)
}
