// Package atomicfile writes files that are absent or whole.
//
// A file grows under a temporary name in the folder where it is to be. Once
// its content is on the disk it is given its name in one step, and the folder
// is synced: when [File.Publish] or [File.Replace] returns nil, neither a crash
// of the process nor of the machine takes the file away, so far as the file
// system keeps what it says it has synced. A crash before that leaves the
// temporary file, which the next [Create] under the same temporary name
// removes.
//
// All of it happens below an [os.Root]: no symbolic link leads out of there.
//
// What it does not promise: two writers that use the same temporary name at
// once are noticed mostly, and then one of them fails; they are not kept apart.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A File is being written and has no name yet. It is made by [Create], and
// must be discarded in the end, whether it was published or not. It is not for
// concurrent use.
type File struct {
	root *os.Root
	dir  string
	temp string // below root
	file *os.File
	info fs.FileInfo // of file
	size int64
	err  error // the first of writing, syncing and closing; final

	closed bool
	gone   bool // nothing of ours bears the temporary name any more
}

// Create begins a file in the folder dir below root, under the temporary name
// temp. The caller chooses that name so that after a crash the same work finds
// its own leftover, which is removed first. It is removed rather than
// truncated, because it may be a link to something: a crash between the two
// halves of a publication leaves it as a second name of a file that is whole.
//
// Until it is published only the user we run as may read it.
func Create(root *os.Root, dir, temp string) (*File, error) {
	if err := checkName(temp); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, temp)
	err := patiently(Busy, func() error { return root.Remove(name) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		root.Remove(name)
		return nil, err
	}
	return &File{root: root, dir: dir, temp: name, file: file, info: info}, nil
}

// checkName refuses what is not the plain name of a file.
func checkName(name string) error {
	if name == "." || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return fmt.Errorf("%q is not the name of a file", name)
	}
	return nil
}

// Write appends to the file. After an error it cannot be published any more.
func (f *File) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	f.size += int64(n)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}

// ReadAt reads what was written. It fails once the file has been published,
// even if that failed.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// Size is how many bytes have been written.
func (f *File) Size() int64 { return f.size }

// Permit gives the file the mode, and the owner and group of the file that
// like describes, as [Permit] does. It must come before Publish and Replace.
func (f *File) Permit(like fs.FileInfo, mode fs.FileMode) { Permit(f.file, like, mode) }

// Publish gives the file its name, in the same folder, as [Rename] does. It
// never replaces anything: if the name is taken the error wraps [fs.ErrExist],
// and the file may be published under another one. An error for which [Busy]
// holds may pass by itself. After any other error than those two the file can
// only be discarded.
func (f *File) Publish(target string) error {
	to, err := f.finish(target)
	if err != nil {
		return err
	}
	if err := Rename(f.root, f.temp, f.root, to); err != nil {
		return err
	}
	f.gone = true
	return SyncDir(f.root, f.dir)
}

// Replace gives the file its name, in the same folder, in place of any file
// that had it. A symbolic link is replaced itself, not what it points to.
// After an error for which [Busy] holds it may be tried again.
func (f *File) Replace(target string) error {
	to, err := f.finish(target)
	if err != nil {
		return err
	}
	if err := patiently(Busy, func() error { return f.root.Rename(f.temp, to) }); err != nil {
		return err
	}
	f.gone = true
	return SyncDir(f.root, f.dir)
}

// finish brings the content to the disk, closes the file and returns the path
// of target. It is done once: a sync that failed would report success if it
// were repeated, because the system has dropped what it could not write.
func (f *File) finish(target string) (string, error) {
	if err := checkName(target); err != nil {
		return "", err
	}
	if f.gone {
		return "", fs.ErrClosed
	}
	if f.err == nil && !f.closed {
		f.err = supported(fsync(f.file))
	}
	if err := f.close(); f.err == nil {
		f.err = err
	}
	if f.err != nil {
		return "", f.err
	}
	if err := f.ours(); err != nil {
		return "", err
	}
	return filepath.Join(f.dir, target), nil
}

func (f *File) close() error {
	if f.closed {
		return nil
	}
	f.closed = true
	return f.file.Close()
}

// ours returns an error if the temporary name is not that of our file any
// more: what is there now may be half of something.
func (f *File) ours() error {
	there, err := f.root.Lstat(f.temp)
	if err != nil {
		return err
	}
	if !os.SameFile(there, f.info) {
		return fmt.Errorf("%s is another file now: is another scandrop at work in this folder?", f.temp)
	}
	return nil
}

// Discard closes the file and removes it, unless it has been published. It may
// be called at any time and more than once.
func (f *File) Discard() {
	f.close()
	if !f.gone && f.ours() == nil {
		_ = patiently(Busy, func() error { return f.root.Remove(f.temp) }) // the next try removes it
	}
	f.gone = true
}

// Rename moves a file and never replaces anything: if the name is taken the
// error wraps [fs.ErrExist]. The content is whole under either name or both at
// any time. Neither folder is synced.
//
// Between two roots this works where both are on one file system that can
// rename without replacing; elsewhere the error is whatever the system says,
// and means that one has to copy.
//
// Within one root, given as the same *os.Root, it works everywhere. If the file
// system cannot rename without replacing, the file gets its new name as a
// second one before it loses the old; a crash may leave both. If it cannot do
// that either (exFAT on Linux; FAT and some network shares elsewhere), the name
// is taken by an empty file and the whole one is then renamed over that. A
// crash in the moment between leaves the empty file: who knows that the name is
// theirs may replace it.
func Rename(from *os.Root, name string, to *os.Root, target string) error {
	err := patiently(Busy, func() error { return rename(from, name, to, target) })
	if err == nil || errors.Is(err, fs.ErrExist) || from != to {
		return err
	}
	err = link(from, name, target)
	if err == nil || errors.Is(err, fs.ErrExist) || Busy(err) {
		return err
	}
	return takeName(from, name, target)
}

// link gives the file its new name before it takes the old one away.
func link(root *os.Root, name, target string) error {
	if err := patiently(Busy, func() error { return root.Link(name, target) }); err != nil {
		return err
	}
	err := patiently(Busy, func() error { return root.Remove(name) })
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// takeName takes the name target with an empty file and renames over that.
func takeName(root *os.Root, name, target string) error {
	empty, err := root.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	info, err := empty.Stat()
	empty.Close()
	if err != nil {
		return err
	}
	err = patiently(Busy, func() error { return root.Rename(name, target) })
	if err == nil {
		return nil
	}
	if there, e := root.Lstat(target); e == nil && os.SameFile(there, info) && there.Size() == 0 {
		root.Remove(target)
	}
	return err
}

// fsync brings a file, or the names in a folder, to the disk. Only a test replaces it,
// to see that it is done, and when.
var fsync = (*os.File).Sync

// SyncDir makes the names in the folder last through a crash of the machine,
// if the system and the file system know how to do that.
func SyncDir(root *os.Root, dir string) error { return syncDir(root, dir) }

// WriteFile writes a small file of our own, whole or not at all, replacing the
// one that is there. The mode is perm, whatever the umask. It is not for
// writers of the same path at once.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	if err := writeFile(path, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeFile(path string, data []byte, perm fs.FileMode) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Base(path)
	f, err := Create(root, ".", "."+name+".tmp")
	if err != nil {
		return err
	}
	defer f.Discard()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.file.Chmod(perm); err != nil {
		return err
	}
	return f.Replace(name)
}

// patiently repeats what cannot be done while another program has the file
// open: on Windows a virus scanner or a preview often has, for a moment.
func patiently(busy func(error) bool, do func() error) error {
	const longest = 2 * time.Second
	began := time.Now()
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		err := do()
		left := longest - time.Since(began)
		if err == nil || !busy(err) || left <= 0 {
			return err
		}
		time.Sleep(min(wait, left))
	}
}
