package watcher

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// errChanged means that a file was not the same all the time while it was read.
var errChanged = errors.New("the file changed while it was read")

// An examineError says that a scan could not be examined, which is not its fault.
type examineError struct{ err error }

func (e *examineError) Error() string { return e.err.Error() }

func (e *examineError) Unwrap() error { return e.err }

// errBusy means that a program may still be writing the file.
var errBusy = errors.New("the file is open in another program")

// A scanFile is what is needed of an [os.File] to read a scan.
type scanFile interface {
	io.ReadCloser
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// An opener opens the file at name, a path below root.
type opener func(root *os.Root, name string) (scanFile, error)

// openFile opens a file without being in anybody's way: through an [os.Root], because
// on Windows nobody could rename or delete a file that was opened otherwise.
func openFile(root *os.Root, name string) (scanFile, error) {
	f, err := root.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// read reads the file at path, of which size and time are known, below folder, and
// returns all there is to say about it, and the digest of how it starts. The error is [errChanged] if it was not of
// this size and time before, after, and while it was read, and [errBusy] if somebody
// has it open for writing. One that lacks its end is returned with a [cutOff], and
// rejected for it.
func (w *Watcher) read(ctx context.Context, of Folder, path string, size int64, mod time.Time) (file *File, start [sha256.Size]byte, err error) {
	folder := of.Path
	if err := notBusy(path); err != nil {
		return nil, start, err
	}
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return nil, start, err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, start, err
	}
	defer root.Close()
	f, err := w.open(root, name)
	if err != nil {
		return nil, start, err
	}
	defer f.Close()

	unchanged := func() error {
		opened, err := f.Stat()
		if err != nil {
			return err
		}
		there, err := root.Lstat(name) // by now another file, or a link, may lie there
		if err != nil {
			return err
		}
		if !there.Mode().IsRegular() || !os.SameFile(opened, there) || !same(opened, size, mod) {
			return errChanged
		}
		return nil
	}
	if err := unchanged(); err != nil {
		return nil, start, err
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, start, err
	}
	head = head[:n]
	digest := sha256.New()
	digest.Write(head)
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	rest, err := io.CopyBuffer(digest, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	}), buf[:])
	if err != nil {
		return nil, start, err
	}
	if int64(n)+rest != size {
		return nil, start, errChanged
	}
	start = sha256.Sum256(head)
	file = &File{Folder: folder, Path: path, Size: size, ModTime: mod}
	digest.Sum(file.Content[:0])
	var media string
	file.Ext, media = sniff(head)
	file.Reject = w.reject(file, media)
	var end error
	if file.Reject == "" {
		end = whole(f, size, file.Ext)
	}
	if file.Reject == "" && (end == nil || of.CutOff) && of.Examine != nil {
		if err := examine(ctx, of, f, file); err != nil {
			return nil, start, err
		}
	}
	if err := unchanged(); err != nil {
		return nil, start, err
	}
	if errors.As(end, new(*cutOff)) {
		if file.Reject != "" {
			return file, start, nil
		}
		file.Reject = fmt.Sprintf("%v; scan it again, or retry it to have it sent as it is", end)
		return file, start, end
	}
	return file, start, end
}

// examine hands the scan to [Folder.Examine], if it is a file of the system.
func examine(ctx context.Context, of Folder, f scanFile, file *File) error {
	scan, ok := f.(*os.File)
	if !ok {
		return nil
	}
	if _, err := scan.Seek(0, io.SeekStart); err != nil {
		return err
	}
	before := *file
	if err := of.Examine(ctx, scan, file); err != nil {
		return &examineError{err}
	}
	if file.Content != before.Content { // what was kept of it is not what was read
		return errChanged
	}
	return nil
}

// reject says why a file can never be sent; "" if it can.
func (w *Watcher) reject(file *File, media string) string {
	switch {
	case file.Size == 0:
		return "it is empty"
	case file.Ext == "" && media == "application/octet-stream":
		return fmt.Sprintf("it is of an unknown type, not a %s", formatOf(file.Path))
	case file.Ext == "":
		return fmt.Sprintf("it is %s, not a %s", media, formatOf(file.Path))
	case w.cfg.MaxSize > 0 && file.Size > w.cfg.MaxSize:
		const mib = 1 << 20
		return fmt.Sprintf("it is too big: %.1f MiB (%d bytes), and at most %.1f MiB (%d bytes) can be sent;"+
			" scan with a lower resolution, or fewer pages at a time",
			float64(file.Size)/mib, file.Size, float64(w.cfg.MaxSize)/mib, w.cfg.MaxSize)
	}
	return ""
}

// same reports whether a file still has this size and time.
func same(info fs.FileInfo, size int64, mod time.Time) bool {
	return info.Size() == size && info.ModTime().Equal(mod)
}

type readerFunc func(p []byte) (int, error)

func (r readerFunc) Read(p []byte) (int, error) { return r(p) }

// buffers are those that files are read through.
var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}
