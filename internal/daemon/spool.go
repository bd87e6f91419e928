package daemon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"scandrop/internal/atomicfile"
	"scandrop/internal/result"
	"scandrop/queue"
	"scandrop/uploader"
)

// A spool keeps copies of scans until they are done, so that what is sent does
// not depend on what becomes of the file. Each copy lies in the folder dir under
// the digest of its content, and is there whole or not at all.
type spool struct {
	dir   string
	state string // the state folder
}

const spoolTemp = ".scandrop-spool-"

func newSpool(state string) spool { return spool{dir: filepath.Join(state, "spool"), state: state} }

func (s spool) path(content queue.Digest, ext string) string {
	return filepath.Join(s.dir, content.String()+ext)
}

// keep copies what the scan holds from its offset on, durably, and returns the
// digest of the copy. On file systems that can, the copy shares the blocks. It is
// never a link: the scanner may write into the file that is there.
func (s spool) keep(scan *os.File, size int64, ext string) (content queue.Digest, err error) {
	free, err := result.Room(s.state)
	if err != nil {
		return content, fmt.Errorf("%w: %w", uploader.ErrState, err)
	}
	if need := uint64(size) + stateRoom; free < need {
		return content, fmt.Errorf("%w: the disk of %s has %.1f MB left, and %.1f MB are needed for a copy of the scan", uploader.ErrState, s.state, float64(free)/1e6, float64(need)/1e6)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: copy the scan: %w", uploader.ErrState, err)
		}
	}()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return content, err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return content, err
	}
	defer root.Close()
	copied, err := os.CreateTemp(s.dir, spoolTemp+"*")
	if err != nil {
		return content, err
	}
	defer os.Remove(copied.Name())
	defer copied.Close()
	if _, err := copied.ReadFrom(scan); err != nil { // the system copies, or shares, where it can
		return content, err
	}
	if err := copied.Sync(); err != nil {
		return content, err
	}
	// What was copied, not what was read before, is what will be sent.
	if _, err := copied.Seek(0, io.SeekStart); err != nil {
		return content, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, copied); err != nil {
		return content, err
	}
	h.Sum(content[:0])
	if err := copied.Close(); err != nil {
		return content, err
	}
	if err := root.Rename(filepath.Base(copied.Name()), filepath.Base(s.path(content, ext))); err != nil {
		return content, err
	}
	return content, atomicfile.SyncDir(root, ".")
}

// open opens the copy of a job's scan; the error wraps [fs.ErrNotExist] if there
// is none.
func (s spool) open(j queue.Job) (*os.File, error) { return os.Open(s.path(j.Content, j.Ext)) }

// remove removes the copy of a job's scan, if no other job needs it.
func (s spool) remove(q *queue.Queue, j queue.Job) error {
	if needed, err := q.Spooled(j.Content); needed || err != nil {
		return err
	}
	if err := os.Remove(s.path(j.Content, j.Ext)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tidy removes the copies that no job needs: of jobs that were dropped or
// forgotten, and of scans that were never added. Nobody may be adding any. After the
// queue was restored there may be copies that it does not know, and that may be all that
// is left of a scan: while it is rebuilding they stay, and unknown says how many there
// are; those that nobody has claimed by then are put away for a person, into the folder
// found, which is theirs.
func (s spool) tidy(q *queue.Queue) (unknown, found int, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	unsure, err := q.Kept(keptUnsure)
	if err == nil && len(unsure) == 0 && q.Rebuilding() { // since before this was kept
		unsure = []byte("yes")
		err = q.Keep(keptUnsure, unsure)
	}
	if err != nil {
		return 0, 0, err
	}
	for _, e := range entries {
		var content queue.Digest
		name := e.Name()
		if content.UnmarshalText([]byte(strings.TrimSuffix(name, filepath.Ext(name)))) != nil && !strings.HasPrefix(name, spoolTemp) {
			continue // not ours
		}
		needed, asked := q.Spooled(content)
		has := false
		if asked == nil {
			has, asked = q.Has(content)
		}
		switch {
		case asked != nil:
			err = errors.Join(err, asked)
		case needed:
		case len(unsure) > 0 && !content.IsZero() && q.Rebuilding():
			unknown++
		case len(unsure) > 0 && !content.IsZero() && !has:
			found++
			err = errors.Join(err, s.putAway(name))
		default:
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, name)))
		}
	}
	if err == nil && len(unsure) > 0 && !q.Rebuilding() {
		err = q.Keep(keptUnsure, nil)
	}
	return unknown, found, err
}

// keptUnsure is set when the queue is rebuilt, until that is seen to be over.
const keptUnsure = "unsure"

// rebuild has the queue, which may not know of all that it knew, look for that.
func rebuild(q *queue.Queue) error {
	return errors.Join(q.Keep(keptUnsure, []byte("yes")), q.Rebuild())
}

// found is where copies go that nobody knows.
func (s spool) found() string { return filepath.Join(s.state, "found") }

func (s spool) putAway(name string) error {
	if err := os.MkdirAll(s.found(), 0o700); err != nil {
		return err
	}
	return os.Rename(filepath.Join(s.dir, name), filepath.Join(s.found(), name))
}
