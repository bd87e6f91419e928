package daemon

import (
	"context"
	"errors"

	"scandrop/queue"
	"scandrop/watcher"
)

// errUnread means that what lies in a folder is not looked at yet.
var errUnread = errors.New("the queue was restored, and the service's list, which tells what was sent of this folder, has not been read yet")

// ignore takes note of scans that lay in a folder with existing: ignore when it was
// looked through for the first time; see [watcher.Config.Ignored]. After the queue was
// restored nobody can tell which of them lay there before and which came later. Those
// that the service has were sent, and are left to be found like any other.
func (d *daemon) ignore(ctx context.Context, in *intake, files []watcher.File) error {
	if !d.queue.Rebuilding() {
		d.Log.Info("scans that were there before are ignored", "folder", files[0].Folder, "scans", len(files))
		return d.queue.Ignore(scansOf(files, nil)...)
	}
	if d.held(queue.Hold{Cause: queue.Rebuilt}.Key()) {
		return errUnread
	}
	c, err := d.queue.Census()
	if err != nil {
		return err
	}
	var ignored []watcher.File
	resolve := in.profiles()
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		sent := false
		if c.Strays > 0 {
			if sent, err = d.sent(resolve, f); err != nil {
				return err
			}
		}
		if !sent {
			ignored = append(ignored, f)
		}
	}
	d.Log.Warn("the queue was restored, and cannot tell what lay here before: scans are ignored but for those that the service has; one that came later, and was not sent, is read when it is touched",
		"folder", files[0].Folder, "ignored", len(ignored), "sent", len(files)-len(ignored))
	return d.queue.Ignore(scansOf(ignored, nil)...)
}

// sent reports whether the service has a file, whole, that no job knows. Of one that
// cannot be read nobody can tell.
func (d *daemon) sent(resolve profiles, f watcher.File) (bool, error) {
	w, err := resolve.of(f.Folder, f.Path)
	if err != nil {
		return false, err
	}
	folder, err := d.files.reach(f.Folder, d.files.hot)
	if err != nil {
		return false, err
	}
	defer folder.Close()
	content, err := folder.Digest(f.Path)
	if err != nil {
		d.Log.Warn("a scan cannot be read, and is ignored", "scan", f.Path, "error", err)
		return false, nil
	}
	return d.queue.Listed(queue.Scan{Content: content, Options: optionsOf(w.folder)})
}
