package daemon

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"scandrop/internal/atomicfile"
	"scandrop/internal/config"
	"scandrop/queue"
)

const (
	restoringFile  = "queue.restoring.db"
	compactingFile = "queue.compacting.db"
	asidePrefix    = "queue.damaged-"
	asideKept      = 3

	snapshotFolder = "snapshots"
	snapshotPrefix = "queue-"
	snapshotTemp   = "snapshot.tmp"
	snapshotsKept  = 3

	// fileTime makes names whose order is that of time.
	fileTime = "20060102T150405.000"
)

// snapshots lists the snapshots of the queue, the newest first.
func (s state) snapshots() ([]string, error) { return newest(s.path(snapshotFolder), snapshotPrefix) }

// newest lists the files with a time in their names, the newest first. A time to
// come is that of a clock which was wrong: such a file counts as the oldest.
func newest(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var paths []string
	for _, e := range slices.Backward(entries) { // by name
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), ".db") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	soon := filepath.Join(dir, prefix+time.Now().UTC().Add(time.Minute).Format(fileTime))
	slices.SortStableFunc(paths, func(a, b string) int {
		return cmp.Compare(btoi(a > soon), btoi(b > soon))
	})
	return paths, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// thin removes all but the newest few of them.
func thin(paths []string, keep int) error {
	for _, path := range paths[min(keep, len(paths)):] {
		if err := gone(path); err != nil {
			return err
		}
	}
	return nil
}

// restore puts the queue file right: it is put aside, and the newest snapshot
// that is sound takes its place, an empty queue if there is none. What happened
// since is rebuilt: from the journal, from the folders, and from the service's
// list, before anything is sent. The new file appears under its name when all
// this is noted in it: a crash meanwhile leaves a lost file, which is restored
// again.
func (s state) restore(c *config.Config, damage error) error {
	s.Log.Error("the queue file cannot be used", "file", s.path(queueFile), "error", damage)
	aside, err := s.putAside()
	if err != nil {
		return err
	}
	temp := s.path(restoringFile)
	if err := errors.Join(gone(temp), gone(temp+".sum")); err != nil {
		return err
	}
	from, err := s.copySnapshot(temp)
	if err != nil {
		return err
	}
	q, err := s.open(c, temp)
	if err != nil {
		return err
	}
	if err := errors.Join(rebuild(q), s.replay(q), q.Close()); err != nil {
		return err
	}
	if err := s.rename(restoringFile, queueFile); err != nil {
		return err
	}
	// The new name has the seal of the old one only by accident.
	if err := errors.Join(gone(s.path(queueFile)+".sum"), gone(temp+".sum")); err != nil {
		return err
	}
	s.Log.Warn("the queue was restored; the service's list is read before anything is sent", "snapshot", from, "put_aside", aside)
	return nil
}

// putAside keeps what is left of the queue file under another name, and
// returns that; "" if there is nothing left.
func (s state) putAside() (string, error) {
	path := s.path(queueFile)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || info.Size() == 0 {
		return "", errors.Join(err, gone(path))
	}
	name := asidePrefix + time.Now().UTC().Format(fileTime) + ".db"
	if err := s.rename(queueFile, name); err != nil {
		return "", err
	}
	old, err := newest(s.dir, asidePrefix)
	if err == nil {
		err = thin(old, asideKept)
	}
	if err != nil {
		return "", err
	}
	return s.path(name), nil
}

// rename renames a file of the state folder, so that it lasts.
func (s state) rename(from, to string) error {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Rename(from, to); err != nil {
		return err
	}
	return atomicfile.SyncDir(root, ".")
}

// copySnapshot copies the newest snapshot that is sound to path, and returns
// its name; "" if there is none.
func (s state) copySnapshot(path string) (string, error) {
	snapshots, err := s.snapshots()
	if err != nil {
		return "", err
	}
	for _, snapshot := range snapshots {
		err := s.Verify(snapshot)
		if err == nil {
			return snapshot, copyFile(snapshot, path)
		}
		s.Log.Error("a snapshot of the queue cannot be used", "file", snapshot, "error", err)
	}
	return "", nil
}

func copyFile(from, to string) (err error) {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// snapshot makes a snapshot of the queue and removes all but the newest few.
func (s state) snapshot(q *queue.Queue) error {
	dir := s.path(snapshotFolder)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Remove(snapshotTemp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := q.Snapshot(filepath.Join(dir, snapshotTemp)); err != nil {
		return err
	}
	name := snapshotPrefix + time.Now().UTC().Format(fileTime) + ".db"
	if err := root.Rename(snapshotTemp, name); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(root, "."); err != nil {
		return err
	}
	all, err := s.snapshots()
	if err != nil {
		return err
	}
	return thin(all, snapshotsKept)
}

// loose is how many bytes of free room in a queue file are worth compacting it.
const loose = 8 << 20

// tidy compacts the queue file where most of it is free room, and returns the
// queue, which may be another one.
func (s state) tidy(c *config.Config, q *queue.Queue) (*queue.Queue, error) {
	size, free, err := q.Room()
	if err != nil || free < loose || free < size/2 {
		return q, err
	}
	if err := s.compact(q); err != nil { // a full disk: what is there serves as well
		s.Log.Warn("the queue file could not be compacted", "error", err)
	} else {
		s.Log.Info("queue file compacted", "bytes", size, "free_bytes", free)
	}
	return s.open(c, s.path(queueFile))
}

// compact closes the queue and replaces its file by a copy without the free
// room. If it fails the file is as it was.
func (s state) compact(q *queue.Queue) error {
	path := s.path(compactingFile)
	err := gone(path)
	if err == nil {
		err = q.Snapshot(path)
	}
	if err != nil {
		return errors.Join(err, q.Close())
	}
	// While it is ours: who waits for it finds that it is not the file any more
	// (see queue.Open). Windows renames over no open file; there it is closed first.
	err = s.rename(compactingFile, queueFile)
	closed := q.Close()
	if err != nil {
		err = s.rename(compactingFile, queueFile)
	}
	return errors.Join(err, closed, gone(s.path(queueFile)+".sum"))
}

// Compact rewrites the queue file of a configuration without the free room in
// it, and returns its size before and after. Its errors are those of
// [OpenQueue].
func Compact(c *config.Config, o Opening) (before, after int64, err error) {
	q, err := OpenQueue(c, o)
	if err != nil {
		return 0, 0, err
	}
	s := state{dir: c.State, Opening: o}
	path := s.path(queueFile)
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, errors.Join(stateError(path, err), q.Close())
	}
	before = info.Size()
	if err := s.compact(q); err != nil {
		return before, before, stateError(path, err)
	}
	if info, err = os.Stat(path); err != nil {
		return before, before, stateError(path, err)
	}
	return before, info.Size(), nil
}

// gone removes a file that need not be there.
func gone(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// snapshotEvery is how old the newest snapshot may become while the queue
// changes.
const snapshotEvery = time.Hour

// keepSnapshots makes a snapshot now and then until ctx is done. What cannot be
// written is said, and tried again the next time: the work goes on.
func (d *daemon) keepSnapshots(ctx context.Context) {
	last := -1 // what the queue's Changes were
	made := func() time.Time {
		paths, err := d.state.snapshots()
		if err != nil || len(paths) == 0 {
			return time.Time{}
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(paths[0]), snapshotPrefix), ".db")
		t, err := time.Parse(fileTime, name)
		if err != nil || t.After(time.Now()) { // the clock was ahead
			return time.Time{}
		}
		return t
	}()
	for {
		wait := time.NewTimer(time.Until(made.Add(snapshotEvery)))
		due := false // by a folder, and also if the end has come
		select {
		case <-ctx.Done():
			due = len(d.introduced) > 0
		case <-wait.C:
		case <-d.introduced:
			due = true
		}
		wait.Stop()
		if ctx.Err() != nil && !due {
			return
		}
		made = time.Now()
		n, err := d.queue.Changes()
		if err == nil && n != last {
			last = n
			err = d.state.snapshot(d.queue)
		}
		switch {
		case errors.Is(err, queue.ErrDamaged):
			d.Log.Error("no snapshot of the queue could be made; at its next start scandrop restores the queue from the last one", "error", err)
		case err != nil:
			d.Log.Error("no snapshot of the queue could be made", "error", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}
