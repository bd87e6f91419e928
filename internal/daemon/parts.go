package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"scandrop/internal/atomicfile"
	"scandrop/internal/hwocr"
	"scandrop/internal/join"
	"scandrop/internal/pages"
	"scandrop/internal/result"
	"scandrop/queue"
	"scandrop/uploader"
)

const (
	// maxWhole is the largest scan that is sent whole if it can be divided: the
	// service says "20 MB".
	maxWhole = 20_000_000
	// maxUpload is the largest that is tried if it cannot: the service does not say
	// which MB, and a refusal costs nothing.
	maxUpload = 20 << 20
	// maxScan is the largest that is taken at all: to divide it takes some times as
	// much memory.
	maxScan = 500_000_000
)

// parts keeps the parts of scans that are too big, and their results, in the state
// folder: a folder for each scan, which goes when the scan is done.
type parts struct {
	state   string
	tool    pages.Tool
	largest int64
}

const partsFolder = "parts"

func (p parts) folder(j queue.Job) string {
	return filepath.Join(p.state, partsFolder, fmt.Sprintf("%d-%x", j.ID, j.Identity[:8]))
}

// open opens a scan's folder, and makes it if it is not there.
func (p parts) open(j queue.Job) (*os.Root, error) {
	dir := p.folder(j)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, stateTrouble(err)
	}
	root, err := os.OpenRoot(dir)
	return root, stateTrouble(err)
}

// stateTrouble gives an error of the state folder's disk the uploader's words.
func stateTrouble(err error) error {
	if err != nil && (result.NoRoom(err) || errors.Is(err, fs.ErrPermission)) {
		return fmt.Errorf("%w: %w", uploader.ErrState, err)
	}
	return err
}

// Divide implements [uploader.Parts].
func (p parts) Divide(ctx context.Context, j queue.Job, scan io.Reader) ([]queue.Part, error) {
	free, err := result.Room(p.state)
	if err != nil {
		return nil, stateTrouble(err)
	}
	if need := uint64(j.Size)*3 + stateRoom; free < need { // a copy, the parts, their results
		return nil, fmt.Errorf("%w: to divide this scan the disk of %s needs %.0f MB and has %.0f: free some of it", uploader.ErrState, p.state, float64(need)/1e6, float64(free)/1e6)
	}
	root, err := p.open(j)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	whole, err := p.copyOf(root, j, scan)
	if err != nil {
		return nil, err
	}
	defer root.Remove(wholeName)
	defer whole.Close()
	const fresh = "new"
	if err := root.RemoveAll(fresh); err != nil {
		return nil, err
	}
	if err := root.Mkdir(fresh, 0o700); err != nil {
		return nil, stateTrouble(err)
	}
	defer root.RemoveAll(fresh)
	made, err := p.tool.Split(ctx, whole, j.Ext, filepath.Join(p.folder(j), fresh), p.largest)
	if err != nil { // others may have filled the disk meanwhile: that is not the scan's fault
		if free, e := result.Room(p.state); e == nil && free < uint64(p.largest)+stateRoom {
			return nil, fmt.Errorf("%w: %w", uploader.ErrState, err)
		}
	}
	switch {
	case errors.Is(err, pages.ErrUnreadable) && j.Size <= maxUpload && len(j.Parts) == 0:
		return nil, nil // it may do as it is
	case errors.Is(err, pages.ErrUnreadable):
		return nil, fmt.Errorf("%w: it is too big (%.1f MB, and at most %.0f MB can be sent at a time) and cannot be divided: %w; scan with a lower resolution, or fewer pages at a time",
			uploader.ErrIndivisible, float64(j.Size)/1e6, float64(p.largest)/1e6, err)
	case err != nil:
		return nil, err
	}
	all := make([]queue.Part, len(made))
	for i, m := range made {
		part := queue.Part{From: m.From, To: m.To, Ext: m.Ext}
		if part.Size, part.Content, err = settle(root, filepath.Join(fresh, m.Name), partName(i, part)); err != nil {
			return nil, stateTrouble(err)
		}
		all[i] = part
	}
	return all, stateTrouble(atomicfile.SyncDir(root, "."))
}

const wholeName = "scan"

// copyOf copies the scan, as it was queued, so that it cannot change while it is
// divided.
func (p parts) copyOf(root *os.Root, j queue.Job, scan io.Reader) (*os.File, error) {
	whole, err := root.OpenFile(wholeName, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, stateTrouble(err)
	}
	digest := sha256.New()
	n, err := io.Copy(io.MultiWriter(whole, digest), io.LimitReader(scan, j.Size+1))
	if err == nil && (n != j.Size || !bytes.Equal(digest.Sum(nil), j.Content[:])) {
		err = hwocr.ErrChanged
	}
	if err != nil {
		return nil, errors.Join(stateTrouble(err), whole.Close(), root.Remove(wholeName))
	}
	return whole, nil
}

// settle makes a part's file last, and gives it its name.
func settle(root *os.Root, from, as string) (size int64, content queue.Digest, err error) {
	f, err := root.OpenFile(from, os.O_RDWR, 0)
	if err != nil {
		return 0, content, err
	}
	digest := sha256.New()
	size, err = io.Copy(digest, f)
	digest.Sum(content[:0])
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, content, err
	}
	return size, content, root.Rename(from, as)
}

func partName(n int, p queue.Part) string { return fmt.Sprintf("part-%04d%s", n+1, p.Ext) }

func resultName(n int, format string) string { return fmt.Sprintf("result-%04d.%s", n+1, format) }

// Open implements [uploader.Parts].
func (p parts) Open(j queue.Job) (io.ReadCloser, error) {
	root, err := p.open(j)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	part := j.Sends()
	f, err := root.Open(partName(j.Part(), part))
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	n, err := io.Copy(digest, f)
	if err == nil && (n != part.Size || !bytes.Equal(digest.Sum(nil), part.Content[:])) {
		err = fmt.Errorf("%s is not what was made: %w", f.Name(), fs.ErrNotExist)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Has implements [uploader.Parts].
func (p parts) Has(j queue.Job, n int, format string) (bool, error) {
	info, err := os.Lstat(filepath.Join(p.folder(j), resultName(n, format)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}

// Write implements [uploader.Parts].
func (p parts) Write(j queue.Job, n int, format string, fill func(hwocr.File) error) error {
	root, err := p.open(j)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := atomicfile.Create(root, ".", ".new-"+resultName(n, format))
	if err != nil {
		return stateTrouble(err)
	}
	defer f.Discard()
	if err := fill(f); err != nil {
		return stateTrouble(err)
	}
	return stateTrouble(f.Replace(resultName(n, format)))
}

// Join implements [uploader.Parts].
func (p parts) Join(j queue.Job, format string, into io.Writer) error {
	root, err := p.open(j)
	if err != nil {
		return err
	}
	defer root.Close()
	var all []join.Part
	for n, part := range j.Parts {
		f, err := root.Open(resultName(n, format))
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		all = append(all, join.Part{ReaderAt: f, Size: info.Size(), From: part.From, To: part.To})
	}
	return join.Results(into, format, all)
}

// Clear implements [uploader.Parts].
func (p parts) Clear(j queue.Job) error { return os.RemoveAll(p.folder(j)) }

// tidy removes what is left of scans that need it no more: a process that ended
// before it had cleared up, a scan that was forgotten.
func (p parts) tidy(q *queue.Queue) error {
	entries, err := os.ReadDir(filepath.Join(p.state, partsFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "-")
		id, _ := strconv.ParseUint(number, 10, 64) // what is no number is nobody's
		j, gone := q.Get(id)
		if gone != nil && !errors.Is(gone, queue.ErrNoJob) {
			continue // its record cannot be read
		}
		if gone != nil || j.State == queue.Done || p.folder(j) != filepath.Join(p.state, partsFolder, e.Name()) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(p.state, partsFolder, e.Name())))
		}
	}
	return err
}
