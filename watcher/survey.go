package watcher

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// A Sighting is a file that may be a scan, as a [Watcher.Survey] finds it.
type Sighting struct {
	Folder  string // the Path of its [Folder], cleaned
	Path    string // absolute
	Size    int64  // in bytes
	ModTime time.Time

	read func(context.Context) (File, error)
}

// Read reads the file and returns what would be handed over of it if it did not
// change any more. The error says why that cannot be told now.
func (s Sighting) Read(ctx context.Context) (File, error) { return s.read(ctx) }

// Survey looks at each folder once and tells see, folder by folder, of every file
// that would be taken and is not known. It waits for none to settle, and hands
// nothing over. The error of see ends it; that of a folder which cannot be looked
// at is returned when the others have been.
func (w *Watcher) Survey(ctx context.Context, see func(Sighting) error) error {
	var errs []error
	for _, f := range w.folders(nil) {
		info, err := f.stat()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.root = info
		err = f.walk(ctx, f.Path, func(path string, info fs.FileInfo) error {
			known, err := w.known(path, info)
			if err != nil || known {
				return err
			}
			return see(Sighting{f.Path, path, info.Size(), info.ModTime(), func(ctx context.Context) (File, error) {
				return w.survey(ctx, f.Folder, path, info)
			}})
		})
		if unreadable, ok := errors.AsType[*rootError](err); ok {
			errs = append(errs, unreadable)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func (w *Watcher) survey(ctx context.Context, f Folder, path string, info fs.FileInfo) (File, error) {
	file, _, err := w.read(ctx, f, path, info.Size(), info.ModTime())
	switch {
	case file == nil:
		return File{}, fmt.Errorf("it cannot be read now: %w", cause(err))
	case errors.As(err, new(*cutOff)) && f.CutOff:
		file.Reject = ""
	}
	return *file, nil
}
