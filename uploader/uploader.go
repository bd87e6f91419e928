// Package uploader acts: its workers take the steps that the queue hands out,
// one function a step, and report what became of them.
//
// It has no memory. Every worker may be killed at any instruction; what the
// queue then knows is enough to go on. A job that waits for the service holds
// no worker. What an error means for a job is decided in one place, classify,
// from the table in docs/design.md.
package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// API is the service, as far as it is needed here. *hwocr.Client is one; each
// call makes one attempt.
type API interface {
	Upload(context.Context, hwocr.Upload) (hwocr.Document, error)
	Status(ctx context.Context, id string) (hwocr.Document, error)
	Download(ctx context.Context, id, format string, into hwocr.File) (int64, error)
	Documents(ctx context.Context, perPage int) iter.Seq2[hwocr.Document, error]
	Page(ctx context.Context, perPage, n int) (documents []hwocr.Document, more bool, err error)
	Delete(ctx context.Context, id string) error
}

// Files is the local side: scans and results. Its errors wrap [ErrRootMissing]
// or [ErrNoRoom] where they apply.
type Files interface {
	// Room fails, with ErrNoRoom if the whole folder is at fault, if what the
	// scan may become could not be written next to it; with ErrState if what the
	// queue has to write about it could not.
	Room(queue.Job) error
	// Open opens the original. The error wraps fs.ErrNotExist if its folder is
	// there and it is not.
	Open(queue.Job) (io.ReadCloser, int64, error)
	// Write makes the job's result of the format: fill writes it to a
	// temporary file, reserve is asked for names, and when Write returns nil
	// the result is on disk, whole and synced. Errors of fill and reserve come
	// back as they are, wrapped perhaps.
	Write(ctx context.Context, j queue.Job, format string, fill func(hwocr.File) error, reserve Reserve) error
	// Has reports whether a result is on disk with exactly its content. The
	// path need not be below the job's own folder.
	Has(j queue.Job, path string, content queue.Digest) (bool, error)
	// OpenResult opens a result for reading.
	OpenResult(j queue.Job, path string) (io.ReadCloser, error)
	// Move moves the original, if it is unchanged, and returns where it is
	// then. The error wraps ErrStays if it is gone or another file now.
	Move(j queue.Job, dir string) (string, error)
}

// Reserve asks for a name for a result; see [queue.Queue.Reserve].
type Reserve func(path string, content queue.Digest) (queue.NameClaim, error)

// What the errors of API and Files may wrap.
var (
	// ErrRootMissing means that the job's hot folder is not there.
	ErrRootMissing = errors.New("the folder is missing")
	// ErrSilent means that the folder does not answer, as a share whose server is
	// gone. It is an ErrRootMissing.
	ErrSilent = fmt.Errorf("%w, or hangs", ErrRootMissing)
	// ErrState means that the queue's own disk is full, nearly so, or cannot be
	// written.
	ErrState = errors.New("the state folder cannot be written")
	// ErrNoRoom means that the disk is full or cannot be written.
	ErrNoRoom = errors.New("nothing can be written")
	// ErrInUse means that another program has the file open that is to be replaced.
	ErrInUse = errors.New("another program has the file open")
	// ErrStays means that an original cannot be moved and need not be.
	ErrStays = errors.New("the original is not there any more, or changed")
	// ErrToken means that there is no usable token on our side.
	ErrToken = errors.New("no usable token")
)

// Config is what an Uploader works with. Queue, API and Files must be given.
type Config struct {
	Queue *queue.Queue
	API   API
	Files Files

	// Parts, if not nil, divides scans of more than Largest bytes.
	Parts   Parts
	Largest int64

	// Workers is how many scans are sent at once, how many results fetched, and
	// how many remote copies deleted: none of it waits for the others. Defaults
	// to 4.
	Workers int
	// Grace is how long work goes on after Run was told to stop. Defaults to
	// 10 s.
	Grace time.Duration
	// Moved, if not nil, is told of every move of a job that is on disk. It is
	// called by several workers at once and must not block.
	Moved func(queue.Job)
	// Log receives one line a move. nil discards it.
	Log *slog.Logger
}

// An Uploader is made by New and run once.
type Uploader struct {
	Config

	// deleting is shared by those who delete, and wholly taken by a look
	// through the list: documents that vanish while it is paged make rows move
	// up unseen. Whoever waits for it can be told to stop.
	deleting *semaphore.Weighted

	mu      sync.Mutex
	workers int    // that Run has started
	start   func() // starts another; nil unless Run runs

	complained atomic.Pointer[time.Time] // when the log last told that the queue cannot be written
}

// sayAgain is how often the log tells of what lasts.
const sayAgain = time.Minute

// all is the whole of Uploader.deleting.
const all = math.MaxInt64

// New returns an Uploader.
func New(c Config) *Uploader {
	if c.Workers <= 0 {
		c.Workers = 4
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Second
	}
	if c.Moved == nil {
		c.Moved = func(queue.Job) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Uploader{Config: c, deleting: semaphore.NewWeighted(all)}
}

// The keys of the log lines.
const (
	keyJob      = "job"
	keyScan     = "scan"
	keyState    = "state"
	keyDocument = "document"
	keyError    = "error"
	keyDue      = "due"
	keyCause    = "cause"
)

// Run works until ctx is done: then it claims nothing more, and after a grace
// it breaks off what is still going on. It returns nil when it was told to
// stop, and an error if the queue cannot be read.
func (u *Uploader) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	claim, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(claim, func() {
		grace := time.AfterFunc(u.Grace, cancel)
		context.AfterFunc(work, func() { grace.Stop() })
	})
	g := new(errgroup.Group)
	worker := func() error {
		defer stop() // one that cannot go on must not leave the others working unseen
		for {
			task, err := u.Queue.Claim(claim)
			if claim.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			u.take(work, task)
		}
	}
	g.Go(func() error { // so that the group has not come to its end while workers may be added
		u.mu.Lock()
		u.start = func() { g.Go(worker) }
		u.staff()
		u.mu.Unlock()
		<-claim.Done()
		u.mu.Lock()
		defer u.mu.Unlock()
		u.start, u.workers = nil, 0
		return nil
	})
	return g.Wait()
}

// SetWorkers changes [Config.Workers]. Fewer takes effect as steps come to their
// end. It may be called at any time.
func (u *Uploader) SetWorkers(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.Workers = n
	u.staff()
}

// staff starts workers until there are enough: while two kinds of steps hang there
// is one for the third. The caller holds u.mu.
func (u *Uploader) staff() {
	if u.start == nil {
		return
	}
	u.Queue.Limit(u.Workers)
	for ; u.workers < 2*u.Workers+1; u.workers++ {
		u.start()
	}
}

// take takes the step and reports what became of it.
func (u *Uploader) take(ctx context.Context, t queue.Task) {
	var o queue.Outcome
	switch t.Step {
	case queue.Upload:
		o = u.upload(ctx, &t)
	case queue.Copy:
		o = u.copy(ctx, t)
	case queue.LookUp:
		o = u.lookUp(ctx, t)
	case queue.Collect:
		o = u.collect(ctx, t)
	case queue.Delete:
		o = u.delete(ctx, t)
	case queue.Survey:
		o = u.survey(ctx)
	case queue.Probe:
		o = u.probe(ctx)
	case queue.Census:
		o = u.census(ctx)
	case queue.Sweep:
		o = u.sweep(ctx, t.Stray)
	}
	u.report(ctx, t, o)
	if _, here := o.(queue.Collected); here {
		u.clear(t.Job)
	}
}

// report tells the queue until it has taken it: a disk that is full for an
// hour must not make us forget what the service said.
func (u *Uploader) report(ctx context.Context, t queue.Task, o queue.Outcome) {
	log := u.Log.With(keyJob, t.Job.ID, keyScan, t.Job.Path)
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		j, err := u.Queue.Report(t, o)
		if err == nil {
			u.tell(log, t, o, j)
			return
		}
		if _, stale := errors.AsType[*queue.MoveError](err); stale || errors.Is(err, queue.ErrNoJob) {
			log.Info("job moved meanwhile", keyError, err)
			return
		}
		if errors.Is(err, queue.ErrUncertain) {
			return // the next who claims learns it, too, and ends the run
		}
		u.complain(log, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// complain logs that the queue cannot be written: once for all workers, and again
// where it lasts.
func (u *Uploader) complain(log *slog.Logger, err error) {
	now, last := time.Now(), u.complained.Load()
	if (last == nil || now.Sub(*last) >= sayAgain) && u.complained.CompareAndSwap(last, &now) {
		log.Error("the queue could not be written, trying again", keyError, err)
	}
}

// tell logs a move of a job.
func (u *Uploader) tell(log *slog.Logger, t queue.Task, o queue.Outcome, j queue.Job) {
	if t.Job.ID == 0 {
		u.tellAccount(t, o)
		return
	}
	u.Moved(j)
	log = log.With(keyState, j.State)
	switch { // whatever it was that came last
	case j.State == t.Job.State:
	case j.State == queue.Failed:
		log.Warn("job failed", keyError, j.Error)
		return
	case j.State == queue.Cancelled:
		log.Info("job cancelled")
		return
	}
	switch o := o.(type) {
	case queue.Uploaded:
		if j.State == queue.Doubtful { // it was not believed
			log.Warn("the document that the service names is not taken for this scan's", keyDocument, o.Document, keyError, j.Error)
			return
		}
		log.Info("job uploaded", keyDocument, o.Document)
		if len(o.Twins) > 0 {
			log.Warn("the service has this scan more than once; the others will be deleted", "documents", o.Twins)
		}
	case queue.Divided:
		log.Info("scan divided, it is too big to be sent whole", "parts", len(j.Parts))
	case queue.PartCollected:
		log.Info("part collected", "part", j.Part(), "of", len(j.Parts))
	case queue.PartLost:
		log.Warn("a part is fetched again", keyError, o.Err)
	case queue.Collected:
		log.Info("job written")
	case queue.Deleted:
		if o.Moved != "" {
			log = log.With("moved", o.Moved)
		}
		log.Info("job cleared up", "deleted", o.Documents)
		if len(o.Twins) > 0 {
			log.Warn("the service had this scan more than once; the others were deleted", "documents", o.Twins)
		}
	case queue.Unanswered:
		log.Warn("upload unanswered, it will be looked for", keyError, o.Err)
	case queue.NotFound:
		if j.State != queue.Doubtful {
			log.Warn("upload did not arrive")
		}
	case queue.Retry:
		log.Warn("job put back", keyError, o.Err, keyDue, j.Due)
	case queue.Reject:
		log.Warn("job rejected", keyError, o.Err)
	case queue.Changed:
		log.Info("scan changed before it was sent, the new one will be taken")
	case queue.Held:
		log.Warn("job held", keyCause, o.Hold.Cause, keyError, o.Hold.Reason)
	case queue.Interrupted:
		log.Debug("job interrupted")
	}
}
