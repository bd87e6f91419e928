package service

import (
	"errors"
	"io/fs"
	"os"
	"sync"
)

// A rotated is a log file that is put away, as NAME.1, when it is full. Its
// methods may be called concurrently.
type rotated struct {
	path string
	most int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openRotated(path string, most int64) (*rotated, error) {
	r := &rotated{path: path, most: most}
	return r, r.open()
}

func (r *rotated) open() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.size = f, info.Size()
	return nil
}

// Write implements [io.Writer]. Lines are not cut.
func (r *rotated) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return 0, fs.ErrClosed
	}
	if r.size > 0 && r.size+int64(len(p)) > r.most {
		// One that cannot be put away, as it is being looked at, is gone on with.
		_ = r.file.Close()
		_ = os.Rename(r.path, r.path+".1")
		if err := r.open(); err != nil {
			r.file = nil
			return 0, err
		}
	}
	n, err := r.file.Write(p)
	r.size += int64(n)
	return n, err
}

// Close implements [io.Closer].
func (r *rotated) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}
