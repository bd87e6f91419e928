package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/internal/result"
	"scandrop/queue"
	"scandrop/uploader"
)

// files is the uploader's local side: it opens a hot folder for each call, so
// that what is mounted there now is what counts. What is a folder must stay
// one, though, and a link lead where it led: who may write to the folder around
// it must not have us write wherever we may.
type files struct {
	state string    // the state folder
	spool spool     // copies of scans
	links *sync.Map // by hot folder: the link it is, "" for none
	hung  *hung     // the folders that are waited for no longer
	tried *tried    // where results could be begun a moment ago

	stamps *stamps // of profiles

	answers func(folder string) // if not nil, is told of one that hung and hangs no more
}

// hung counts the calls that a folder has not answered in time, and not yet.
type hung struct {
	mu    sync.Mutex
	calls map[string]int
}

// add adds n calls and returns how many there are now.
func (h *hung) add(folder string, n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls[folder] += n
	left := h.calls[folder]
	if left == 0 {
		delete(h.calls, folder)
	}
	return left
}

// newFiles takes note of what the hot folders are. Those that are missing are
// looked at when they first appear, those that hang when they answer.
func newFiles(state string, folders []config.Folder) files {
	f := files{state: state, spool: newSpool(state), links: &sync.Map{}, hung: &hung{calls: map[string]int{}}, tried: &tried{at: map[string]time.Time{}},
		stamps: &stamps{of: map[string]stamp{}}}
	answering(folders, func(path string) {
		if opened, err := f.hot(path); err == nil {
			opened.Close()
		}
	})
	return f
}

// inTime makes a call that touches the folder. Where that hangs, as a share does whose
// server is gone, it is left to itself, and the error is [uploader.ErrSilent]: a
// worker that waited would be lost to the other folders. Until the folder has answered
// it is not asked again. late, if not nil, undoes what the call did after all.
func (f files) inTime(folder string, call func() error, late func()) error {
	silent := fmt.Errorf("%w: %s", uploader.ErrSilent, folder)
	if f.hung.add(folder, 0) > 0 {
		return silent
	}
	var err error
	answered := inTime(func() { err = call() }, func() {
		if late != nil {
			late()
		}
		if f.hung.add(folder, -1) == 0 && f.answers != nil {
			f.answers(folder)
		}
	})
	if answered {
		return err
	}
	f.hung.add(folder, 1)
	return silent
}

// reach opens a folder, if it answers in time.
func (f files) reach(path string, open func(string) (*result.Folder, error)) (*result.Folder, error) {
	var folder *result.Folder
	err := f.inTime(path, func() (err error) {
		folder, err = open(path)
		return err
	}, func() {
		if folder != nil {
			folder.Close()
		}
	})
	if err != nil {
		return nil, err // folder may be written yet
	}
	return folder, nil
}

// hot opens a hot folder.
func (f files) hot(path string) (*result.Folder, error) {
	folder, err := result.Open(path)
	if err != nil {
		return nil, explain(err)
	}
	link, err := folder.Link()
	if err != nil {
		folder.Close()
		return nil, explain(err)
	}
	if was, _ := f.links.LoadOrStore(path, link); was != link {
		folder.Close()
		return nil, fmt.Errorf("%w: %s led to %q before and leads to %q now (nothing means that it is a folder itself): put it back, or restart scandrop if that is meant",
			uploader.ErrRootMissing, path, was, link)
	}
	return folder, nil
}

// of opens the folder of a file of the job: the hot folder, or, for one
// that lies outside, the folder that it lies in.
func (f files) of(j queue.Job, path string) (*result.Folder, error) {
	if dir := folderOf(j, path); dir != j.Folder {
		return f.reach(dir, open)
	}
	return f.reach(j.Folder, f.hot)
}

// room is what the results of a scan may need on its folder's disk, beyond
// twice its size: a document with its pictures in it.
const room = 4 << 20

// stateRoom is what must be free on the state folder's disk before a scan is
// sent: enough to take note of all that is under way, and of the hold.
const stateRoom = 4 << 20

// Room implements [uploader.Files].
func (f files) Room(j queue.Job) error {
	free, err := result.Room(f.state)
	if err != nil {
		return fmt.Errorf("%w: %w", uploader.ErrState, err)
	}
	if free < stateRoom {
		return fmt.Errorf("%w: the disk of %s has %.1f MB left, and %.1f MB may be needed",
			uploader.ErrState, f.state, float64(free)/1e6, float64(stateRoom)/1e6)
	}
	return f.inTime(j.Folder, func() error { return f.roomIn(j) }, nil)
}

// roomIn is Room for the disk of the scan's folder.
func (f files) roomIn(j queue.Job) error {
	free, err := result.Room(j.Folder)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", uploader.ErrRootMissing, j.Folder)
	}
	if err != nil {
		return err
	}
	if need := uint64(j.Size)*2 + room; free < need {
		return fmt.Errorf("%w: free some of the disk of %s: it has %.1f MB left, and %.1f MB may be needed",
			uploader.ErrNoRoom, j.Folder, float64(free)/1e6, float64(need)/1e6)
	}
	folder, err := f.hot(j.Folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	dir := filepath.Dir(j.Path)
	if f.tried.lately(dir) {
		return nil
	}
	if err := try(folder, j, j.Path); err != nil {
		if whole := try(folder, j, filepath.Join(j.Folder, filepath.Base(j.Path))); whole != nil {
			return explainWrite(whole)
		}
		return err // a folder in it alone is at fault, and holds up no other
	}
	f.tried.note(dir)
	return nil
}

// tried remembers in which folders a result could be begun. A file that is made for
// nothing beside every scan costs a disk as much as the result does.
type tried struct {
	mu sync.Mutex
	at map[string]time.Time // by folder
}

const (
	triedFor  = time.Second // should the folder say no within it, what was sent is collected later
	mostTried = 1000
)

func (t *tried) lately(dir string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.at[dir]
	return ok && time.Since(at) < triedFor
}

func (t *tried) note(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.at) >= mostTried {
		clear(t.at)
	}
	t.at[dir] = time.Now()
}

func (t *tried) forget(dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.at, dir)
}

// try begins a result beside the path, and takes it back. It is the first that
// will be written: after a power cut what was taken back may be there again, and
// is then replaced by that.
func try(folder *result.Folder, j queue.Job, path string) error {
	format := "try"
	if len(j.Options.Formats) > 0 {
		format = j.Options.Formats[0]
	}
	staged, err := folder.Stage(path, stageKey(j), format)
	if err != nil {
		return err
	}
	staged.Discard()
	return nil
}

// stageKey tells the temporaries of one scan from those of others beside it. It
// is the same after the queue was restored, and when a person has the scan sent
// once more, which changes its mark, so that none is left for ever.
func stageKey(j queue.Job) string {
	sum := sha256.Sum256(append(j.Identity[:], j.Path...))
	return hex.EncodeToString(sum[:8])
}

// explainWrite is explain for what only writes.
func explainWrite(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: let the user that scandrop runs as write there: %w", uploader.ErrNoRoom, err)
	}
	return explain(err)
}

// Open implements [uploader.Files].
func (f files) Open(j queue.Job) (io.ReadCloser, int64, error) {
	if j.Spooled {
		scan, err := f.spool.open(j)
		if err == nil {
			return sized(scan)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
		// A job that was done is sent once more: its copy is gone.
	}
	// A folder with originals lies outside; what lies there is opened from
	// there.
	folder, err := f.of(j, j.Original())
	if err != nil {
		return nil, 0, err
	}
	defer folder.Close()
	scan, err := folder.OpenFile(j.Original())
	if err != nil {
		return nil, 0, err
	}
	return sized(scan)
}

func sized(scan *os.File) (io.ReadCloser, int64, error) {
	info, err := scan.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, scan.Close())
	}
	return scan, info.Size(), nil
}

// folderOf is the folder that a file of the job is opened from: the hot folder,
// or, for one that lies elsewhere, the folder that it lies in.
func folderOf(j queue.Job, path string) string {
	if rel, err := filepath.Rel(j.Folder, path); err == nil && filepath.IsLocal(rel) {
		return j.Folder
	}
	return filepath.Dir(path)
}

func open(path string) (*result.Folder, error) {
	folder, err := result.Open(path)
	return folder, explain(err)
}

// explain gives an error of the disk the uploader's words.
func explain(err error) error {
	switch {
	case errors.Is(err, result.ErrRootMissing):
		return fmt.Errorf("%w: %w", uploader.ErrRootMissing, err)
	case errors.Is(err, result.ErrStays):
		return fmt.Errorf("%w: %w", uploader.ErrStays, err)
	case result.NoRoom(err):
		return fmt.Errorf("%w: its disk is full or read-only: %w", uploader.ErrNoRoom, err)
	}
	return err
}

// Write implements [uploader.Files].
func (f files) Write(ctx context.Context, j queue.Job, format string, fill func(hwocr.File) error, reserve uploader.Reserve) error {
	folder, err := f.reach(j.Folder, f.hot)
	if err != nil {
		return err
	}
	defer folder.Close()
	staged, err := folder.Stage(j.Path, stageKey(j), format)
	if err != nil {
		f.tried.forget(filepath.Dir(j.Path))
		return explainWrite(err)
	}
	defer staged.Discard()
	before, _ := j.Result(format)
	staged.Earlier, staged.Moved = before.Path, j.Moved
	if err := fill(staged); err != nil {
		return explain(err)
	}
	_, err = staged.Publish(ctx, func(path string, content [32]byte) (result.Claim, error) {
		c, err := reserve(path, content)
		claim := result.Claim{Mine: c.Mine}
		for _, d := range c.Replaces {
			claim.Replaces = append(claim.Replaces, d)
		}
		return claim, err
	})
	if result.Busy(err) {
		return fmt.Errorf("%w: close it there: %w", uploader.ErrInUse, err)
	}
	return explain(err)
}

// Has implements [uploader.Files].
func (f files) Has(j queue.Job, path string, content queue.Digest) (bool, error) {
	folder, err := f.of(j, path)
	if errors.Is(err, uploader.ErrRootMissing) && folderOf(j, path) != j.Folder {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer folder.Close()
	has, err := folder.Has(path, content)
	if has && filepath.Dir(path) == filepath.Dir(j.Path) { // else it was not written there
		err = folder.Unstage(j.Path, stageKey(j), strings.TrimPrefix(filepath.Ext(path), "."))
	}
	return has, err
}

// OpenResult implements [uploader.Files].
func (f files) OpenResult(j queue.Job, path string) (io.ReadCloser, error) {
	folder, err := f.of(j, path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.OpenFile(path)
}

// Move implements [uploader.Files].
func (f files) Move(j queue.Job, dir string) (string, error) {
	folder, err := f.reach(j.Folder, f.hot)
	if err != nil {
		return "", err
	}
	defer folder.Close()
	moved, err := folder.MoveOriginal(j.Path, dir, j.Content)
	return moved, explain(err)
}
