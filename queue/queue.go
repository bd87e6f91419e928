package queue

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Errors of Open.
var (
	// ErrInUse means that another process holds the queue file: a daemon, or
	// another command.
	ErrInUse = errors.New("the queue is in use by another process")
	// ErrForeign means that the file is not a queue of scandrop's. It is left
	// as it was.
	ErrForeign = errors.New("not a queue file of scandrop's")
	// ErrNewer means that a newer scandrop wrote the file. It is left as it
	// was.
	ErrNewer = errors.New("written by a newer version of scandrop")
	// ErrDamaged means that the file is a queue, but cannot be read.
	ErrDamaged = errors.New("the queue file is damaged")
)

// Errors of the methods.
var (
	// ErrNoJob means that there is no job with that id.
	ErrNoJob = errors.New("no such job")
	// ErrClosed means that the queue was closed.
	ErrClosed = errors.New("the queue is closed")
	// ErrUncertain means that the disk failed while a change was committed, so
	// late that nobody knows whether it lasts. Every call fails with it from then
	// on. Who closes the queue and opens it again, best in a new process, goes on
	// from what the file says.
	ErrUncertain = errors.New("the disk failed at the end of a change, which may or may not be in the queue file")
)

const defaultTimeout = time.Second

// Config says how to open a queue. Path and Installation must be given.
type Config struct {
	Path         string       // of the file, on a local file system; its folder must exist
	Installation Installation // makes the marks

	// Doubt is how long an unanswered upload is looked for before it is held
	// to have never arrived. Defaults to 5 minutes.
	Doubt time.Duration
	// LongestDelay bounds the time between two attempts, except where the
	// service asks for more. Defaults to an hour.
	LongestDelay time.Duration
	// Timeout is how long Open waits for another process to let go of the
	// file. Defaults to a second.
	Timeout time.Duration
	// Folders lists the hot folders, with the priority of their uploads: higher
	// first. Scans that wait in other folders are not sent. nil means all
	// folders that there ever were, with priority 0.
	Folders map[string]int
	// Limits are those of the folders, and under "" those of all together. None
	// are bound that are not in it.
	Limits map[string]Limits
}

// A Queue is an open queue file. Its methods may be called concurrently.
type Queue struct {
	db           *bolt.DB
	installation Installation
	policy       policy
	configured   map[string]int // nil: all
	limits       map[string]Limits

	claiming chan struct{} // held by the one who looks for work
	found    chan Task     // what it found for the others
	idle     atomic.Int32  // how many wait for work, who looks among them

	queuing    sync.Mutex   // guards changes and committing; taken last
	changes    []*change    // that wait to be committed
	committing bool         // somebody commits, or is about to
	working    atomic.Int32 // how many tasks of jobs workers have
	forgotten  atomic.Uint64
	decoded    decoded
	doubts     doubts
	unsound    atomic.Bool // a record was found to be damaged

	mu      sync.Mutex // guards what follows; the maps behind holds and folders are replaced, never changed
	holds   map[string]Hold
	folders map[string]folder
	census  census
	claimed map[uint64]bool // jobs that a worker has
	damaged map[uint64]bool // jobs whose record cannot be read
	early   early           // documents that were announced and that no job has
	passed  map[string]int  // how often others were preferred to the folder's first waiting scan
	probing bool            // a worker has the probe of the account
	// A worker has the census, or the deletion of a stray.
	counting, sweeping bool
	began              time.Time // the census that a worker has, or had last
	strayDue           time.Time // no stray is due before
	surveys            surveys
	limit              int           // steps of a class at once; 0: without
	busy               [classes]int  // steps that workers have
	uploading          int           // uploads among them; copies ask the service for nothing
	looksLast          bool          // a look was claimed since the last upload was
	changed            chan struct{} // closed, and replaced, when something changed

	behind    int   // versions; see Behind
	uncertain error // wraps ErrUncertain; nil while all is well
}

// Open opens the queue file, and makes it if there is none. Jobs that were
// uploading when the last process ended become [Doubtful]; everything that was
// held is tried at once.
//
// Its errors wrap [ErrInUse], [ErrForeign], [ErrNewer] or [ErrDamaged] where
// they apply; the file is then as it was.
func Open(c Config) (*Queue, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Doubt == 0 {
		c.Doubt = 5 * time.Minute
	}
	if c.LongestDelay == 0 {
		c.LongestDelay = time.Hour
	}
	if err := plausible(c.Path); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	q := &Queue{
		installation: c.Installation,
		policy:       policy{doubt: c.Doubt, longestDelay: c.LongestDelay, looks: &looks{}},
		configured:   c.Folders,
		limits:       c.Limits,
		holds:        map[string]Hold{},
		folders:      map[string]folder{},
		claimed:      map[uint64]bool{},
		damaged:      map[uint64]bool{},
		surveys:      surveys{alone: map[uint64]bool{}},
		passed:       map[string]int{},
		changed:      make(chan struct{}),
		claiming:     make(chan struct{}, 1),
		found:        make(chan Task),
	}
	var file *os.File
	err := guard(func() (err error) {
		q.db, err = bolt.Open(c.Path, 0o600, &bolt.Options{
			OpenFile: func(name string, flag int, perm fs.FileMode) (*os.File, error) {
				file, err = os.OpenFile(name, flag, perm)
				return file, err
			},
			Timeout:        c.Timeout,
			NoFreelistSync: true, // a page less that can be damaged; Open scans instead
			FreelistType:   bolt.FreelistArrayType,
		})
		return err
	})
	if err != nil {
		return nil, openError(c.Path, err)
	}
	if err = current(file, c.Path); err == nil {
		err = unseal(c.Path)
	}
	if err == nil {
		err = steady(file, q.db.Info().PageSize)
	}
	if err == nil {
		err = q.load()
	}
	if err != nil {
		q.db.Close()
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return q, nil
}

// current makes sure that the file that was opened is still the one at the path:
// while we waited for it, who had it may have put another one in its place.
func current(file *os.File, path string) error {
	opened, err := file.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(opened, there) {
		return ErrInUse
	}
	return nil
}

// steady makes what the file shows now last. A process that was killed, or a disk
// that failed, in the middle of a commit leaves a root that can be read and is
// not on the disk yet; the pages that only the root before it needs would be
// written over by the first change, before any sync. The roots are written anew
// as they are: after a failed sync the system takes them for clean.
func steady(file *os.File, page int) error {
	roots := make([]byte, 2*page)
	if _, err := file.ReadAt(roots, 0); err != nil {
		return err
	}
	if _, err := file.WriteAt(roots, 0); err != nil {
		return err
	}
	return file.Sync()
}

// plausible refuses, before bbolt maps it, a file that cannot be a queue. A
// mapped file that is shorter than its pages say would end the process.
func plausible(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return ErrForeign
	case info.Size() == 0:
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkMeta(f)
}

// checkMeta reads the two pages from which bbolt learns how long the file is,
// as bbolt lays them out: the second lies where the pages' size says, which is
// any power of two.
func checkMeta(f *os.File) error {
	const (
		header = 16 // of a page
		length = 64 // of a meta: magic, version, page size, flags, root, sequence, free list, pages, transaction, checksum
		magic  = 0xED0CDAED
	)
	var (
		found  bool   // a meta, perhaps a damaged one
		newest uint64 // transaction of a good one
		needed uint64 // bytes of the file, by the newest
		page   [header + length]byte
	)
	for _, at := range []int64{0, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16} {
		if n, err := f.ReadAt(page[:], at); n < len(page) && err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return err
		}
		meta := page[header:]
		if binary.NativeEndian.Uint32(meta) != magic {
			continue
		}
		found = true
		sum := fnv.New64a()
		sum.Write(meta[:length-8])
		transaction := binary.NativeEndian.Uint64(meta[48:])
		if sum.Sum64() == binary.NativeEndian.Uint64(meta[56:]) && transaction >= newest {
			newest = transaction
			needed = binary.NativeEndian.Uint64(meta[40:]) * uint64(binary.NativeEndian.Uint32(meta[8:]))
		}
	}
	info, err := f.Stat() // only now: a process that has it open makes it longer first
	switch {
	case err != nil:
		return err
	case !found:
		return ErrForeign
	case needed == 0:
		return fmt.Errorf("%w: both of its first pages are", ErrDamaged)
	case uint64(info.Size()) < needed:
		return fmt.Errorf("%w: it is cut off after %d of %d bytes", ErrDamaged, info.Size(), needed)
	}
	return nil
}

func (q *Queue) load() error {
	version := 0
	err := q.read(func(t *tx) (err error) {
		version, err = t.version()
		return err
	})
	if err == nil && version > 0 && version < fileVersion {
		err = q.keep(version)
	}
	if err != nil {
		return err
	}
	return q.update(func(t *tx) error {
		for _, name := range allBuckets {
			if _, err := t.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		switch {
		case version == 0:
			t.putJSON(bucketMeta, []byte("version"), fileVersion)
		case version < fileVersion:
			if err := t.migrate(version); err != nil {
				return err
			}
		}
		err := t.bucket(bucketFolders).ForEach(func(k, v []byte) error {
			var f folder
			if err := json.Unmarshal(v, &f); err != nil {
				return fmt.Errorf("folder %q: %w", k, err)
			}
			t.folders[string(k)] = f
			return nil
		})
		if err != nil {
			return err
		}
		if err := t.loadHolds(); err != nil {
			return err
		}
		if err := t.loadCensus(); err != nil {
			return err
		}
		t.loadLooks()
		return t.recover()
	})
}

// recover makes of the jobs what a restart must: those whose upload was on the
// wire are in doubt, and those that were held are tried again at once.
func (t *tx) recover() error {
	for _, id := range t.inState(Uploading) {
		j, err := t.job(id)
		if err != nil {
			return err
		}
		if _, err := t.apply(j, crashed{}); err != nil {
			return err
		}
	}
	for _, h := range t.holds {
		if h.Cause != Profile { // who only looks changes nothing; see Reconsider
			t.free(h)
		}
	}
	t.holdRemoved()
	t.releaseIdle()
	return nil
}

// Close closes the file, and seals it: [Intact] then tells whether it is still
// what it was. Workers should have stopped: what they report later fails with
// [ErrClosed].
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	path := q.db.Path()
	if path != "" && q.uncertain == nil && !q.unsound.Load() && !q.db.IsReadOnly() {
		_ = seal(path) // without it the next one who opens the file verifies it
	}
	err := q.db.Close()
	q.wake() // who waits for work finds the queue closed
	return err
}

// wake lets everybody who waits look again. The caller holds q.mu.
func (q *Queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Keep stores a small value of the caller's under a name of its own; [Kept]
// reads it back, nil if there is none.
func (q *Queue) Keep(name string, value []byte) error {
	return q.update(func(t *tx) error {
		t.put(bucketMeta, []byte("keep "+name), value)
		return nil
	})
}

// Kept returns what Keep stored.
func (q *Queue) Kept(name string) (value []byte, err error) {
	err = q.read(func(t *tx) error {
		value = append(value, t.get(bucketMeta, []byte("keep "+name))...)
		return nil
	})
	return value, err
}
