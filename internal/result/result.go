// Package result writes results next to their originals, and moves originals
// away once they are done with.
//
// A result is absent or whole, and on disk and synced when [Staged.Publish]
// returns. Nothing that is not ours is ever replaced: neither a stranger's file
// nor a result of ours that was edited. Which names are ours only the queue
// knows, so Publish asks it, by [Reserve], before it touches a name; after a
// crash at any instruction the same work can be done again and ends the same.
//
// Everything happens below an [os.Root]: no symbolic link leads out of a hot
// folder. A hot folder itself is never made; one that is not there, as when a
// share is not mounted, is [ErrRootMissing].
package result

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"scandrop/internal/atomicfile"
)

// ErrRootMissing means that a hot folder is not there, is not a folder, or
// cannot be entered.
var ErrRootMissing = errors.New("the folder is missing")

// A Folder is an open hot folder. It may be used concurrently.
type Folder struct {
	root *os.Root
	path string
}

// Open opens the hot folder at the path, which is the one by which the paths
// of its scans begin. The error wraps [ErrRootMissing].
func Open(path string) (*Folder, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRootMissing, err)
	}
	return &Folder{root, filepath.Clean(path)}, nil
}

// Link returns what the symbolic link is that the folder was opened by; "" if it
// was no link. Whoever compares it with an earlier one notices a hot folder in
// whose place somebody put a link to another. The error wraps [ErrRootMissing]
// if another folder was put there since it was opened.
func (f *Folder) Link() (string, error) {
	opened, err := f.root.Stat(".")
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRootMissing, err)
	}
	there, err := os.Lstat(f.path)
	if err == nil && os.SameFile(there, opened) {
		return "", nil
	}
	link, err := os.Readlink(f.path)
	if err == nil {
		there, err = os.Stat(f.path)
	}
	if err == nil && !os.SameFile(there, opened) {
		err = errors.New("another folder was put in its place")
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrRootMissing, err)
	}
	return link, nil
}

// Close closes the folder; what was staged in it must be discarded first.
func (f *Folder) Close() error { return f.root.Close() }

// rel returns the path below the folder of what lies at path.
func (f *Folder) rel(path string) (string, error) {
	rel, err := filepath.Rel(f.path, path)
	if err != nil || rel == "." || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%s is not below %s", path, f.path)
	}
	return rel, nil
}

// OpenFile opens a file below the folder for reading. Only a regular file is
// one: it never follows a symbolic link in the file's place, nor waits for a
// pipe; for such, too, the error wraps [fs.ErrNotExist]. On Windows others may
// rename and delete the file meanwhile.
func (f *Folder) OpenFile(path string) (*os.File, error) {
	rel, err := f.rel(path)
	if err != nil {
		return nil, err
	}
	return openRegular(f.root, rel)
}

// errNotRegular means that something is there and not a regular file.
var errNotRegular = errors.New("not a regular file")

func openRegular(root *os.Root, name string) (*os.File, error) {
	irregular := fmt.Errorf("%s is %w: %w", filepath.Join(root.Name(), name), errNotRegular, fs.ErrNotExist)
	there, err := root.Lstat(name)
	switch {
	case err == nil && !there.Mode().IsRegular():
		return nil, irregular
	case err != nil && notFolder(err):
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case err != nil:
		return nil, err
	}
	file, err := root.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(there, opened) {
		err = irregular // a link or something else took its place
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Has reports whether at the path, which must be below the folder, there is a
// regular file with exactly this content, by its SHA-256.
func (f *Folder) Has(path string, content [sha256.Size]byte) (bool, error) {
	digest, err := f.Digest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && digest == content, err
}

// Digest is the SHA-256 of the regular file at the path, which must be below the folder.
// The error wraps [fs.ErrNotExist] if there is none.
func (f *Folder) Digest(path string) (digest [sha256.Size]byte, err error) {
	rel, err := f.rel(path)
	if err != nil {
		return digest, err
	}
	digest, _, err = digestOf(f.root, rel)
	return digest, err
}

// digestOf reads a regular file.
func digestOf(root *os.Root, name string) (digest [sha256.Size]byte, size int64, err error) {
	file, err := openRegular(root, name)
	if err != nil {
		return digest, 0, err
	}
	defer file.Close()
	h := sha256.New()
	size, err = io.Copy(h, file)
	h.Sum(digest[:0])
	return digest, size, err
}

// stagedName is the name of a result that has none yet.
func stagedName(key, format string) string { return fmt.Sprintf(".scandrop-%s-%s.tmp", key, format) }

// Unstage removes the name that a result had before it was published, where a crash left
// it as another one of the same file: on Windows, and on file systems that cannot rename
// without replacing, it loses it last. That there is none is no error. The arguments are
// those of [Folder.Stage]; nobody may be writing that result.
func (f *Folder) Unstage(original, key, format string) error {
	rel, err := f.rel(original)
	if err != nil {
		return err
	}
	if err := f.root.Remove(filepath.Join(filepath.Dir(rel), stagedName(key, format))); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Staged is a result that is being written and has no name yet. It must be
// discarded in the end, whether it was published or not, and is not for
// concurrent use.
type Staged struct {
	// Earlier is the path that an earlier try of this result was granted. It is
	// tried before all other names, so that a second try ends where the first
	// did. May be "".
	Earlier string
	// Moved is where the original has been moved to, if it has: there its
	// permissions are found. May be "".
	Moved string

	folder *Folder
	scan   string // the original's path
	rel    string // the same below the folder
	format string
	like   fs.FileInfo // the original when it was staged; nil if it was not there
	file   *atomicfile.File
	digest hash.Hash
}

// Stage begins an original's result in a format, which is also its extension,
// in a hidden temporary file beside the original. Only the user we run as may
// read it. What an interrupted try with the same key left there is removed.
//
// The original need not be there any more. Even its folder is made again,
// below the hot folder and as open as the folder around it.
func (f *Folder) Stage(original, key, format string) (*Staged, error) {
	rel, err := f.rel(original)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(rel)
	if err := makeDirs(f.root, dir); err != nil {
		return nil, err
	}
	s := &Staged{folder: f, scan: original, rel: rel, format: format, digest: sha256.New()}
	s.like = s.original()
	s.file, err = atomicfile.Create(f.root, dir, stagedName(key, format))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// original describes the original as it is now; nil if it is gone.
func (s *Staged) original() fs.FileInfo {
	info, err := s.folder.root.Lstat(s.rel)
	if (err != nil || !info.Mode().IsRegular()) && s.Moved != "" {
		info, err = os.Lstat(s.Moved)
	}
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return info
}

// Write appends to the result. After an error it cannot be published any more.
func (s *Staged) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	s.digest.Write(p[:n])
	return n, err
}

// ReadAt reads what was written, until it is published.
func (s *Staged) ReadAt(p []byte, off int64) (int, error) { return s.file.ReadAt(p, off) }

// Discard removes what was written, unless it has been published. It may be
// called at any time and more than once.
func (s *Staged) Discard() { s.file.Discard() }

// Reserve asks the queue, in one transaction, whether the job may have the
// path for a result with this content, and has it recorded that it will.
type Reserve func(path string, content [sha256.Size]byte) (Claim, error)

// A Claim is the answer to Reserve.
type Claim struct {
	Mine bool
	// Replaces lists the contents, by their SHA-256, that are ours: those that
	// this job or an older one of the same original has written, or was about
	// to write, under the name. A file that has one of them may be replaced.
	Replaces [][sha256.Size]byte
}

// A Result is a file that is on disk, whole and synced.
type Result struct {
	Format  string
	Path    string
	Content [sha256.Size]byte
	Size    int64 // bytes
}

// maxNames is how many names are tried before something must be wrong.
const maxNames = 1000

// Publish gives the result the first of its [Names] that reserve grants and
// that is free, or taken by a content of ours. Under the name of the earlier
// try an empty file, too, is ours: a crash may leave one where files cannot be
// renamed without replacing (see [atomicfile.Rename]).
//
// The result can be read by those who can read the original, by its group and
// by its owner if we may give files away, and by nobody else; if the original
// is gone, by us alone.
//
// Errors of reserve come back wrapped. An error for which [Busy] holds means
// that another program has the file open: it may be published later. After any
// error this Staged can only be discarded.
func (s *Staged) Publish(ctx context.Context, reserve Reserve) (Result, error) {
	if now := s.original(); now != nil {
		s.like = now
	}
	if s.like != nil {
		s.file.Permit(s.like, s.like.Mode().Perm()&^0o111|0o400)
	}
	r := Result{Format: s.format, Size: s.file.Size()}
	s.digest.Sum(r.Content[:0])
	dir := filepath.Dir(s.scan)
	for name := range s.names(dir) {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		r.Path = filepath.Join(dir, name)
		claim, err := reserve(r.Path, r.Content)
		if err != nil {
			return Result{}, fmt.Errorf("reserve %s: %w", r.Path, err)
		}
		if !claim.Mine {
			continue
		}
		done, err := s.publishAs(name, r.Content, claim.Replaces)
		if err != nil {
			return Result{}, fmt.Errorf("write %s: %w", r.Path, err)
		}
		if done {
			return r, nil
		}
	}
	return Result{}, fmt.Errorf("all %d names for the %s of %s are taken: remove or rename what is in their way", maxNames, s.format, s.scan)
}

// names yields the names to try.
func (s *Staged) names(dir string) iter.Seq[string] {
	return func(yield func(string) bool) {
		first := ""
		if s.Earlier != "" && filepath.Dir(s.Earlier) == dir {
			first = filepath.Base(s.Earlier)
			if !yield(first) {
				return
			}
		}
		n := 0
		for name := range Names(filepath.Base(s.rel), s.format) {
			if n++; n > maxNames || name != first && !yield(name) {
				return
			}
		}
	}
}

// publishAs reports whether the result is there under the name now; if not,
// the name is taken.
func (s *Staged) publishAs(name string, content [sha256.Size]byte, replaces [][sha256.Size]byte) (bool, error) {
	dir := filepath.Dir(s.rel)
	for range 3 { // between a look and the deed others may come and go
		there, err := s.look(name, content, replaces)
		if err != nil {
			return false, err
		}
		switch there {
		case strange:
			return false, nil
		case same: // by a try that was interrupted after this
			return true, atomicfile.SyncDir(s.folder.root, dir)
		case ours:
			return true, s.file.Replace(name)
		case absent:
			if err := s.file.Publish(name); !errors.Is(err, fs.ErrExist) {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// What may lie under a name that we have reserved.
type finding int

const (
	absent  finding = iota
	strange         // not ours, or edited, or not a file
	ours            // may be replaced
	same            // ours, and with the content that is to be there
)

// look says what lies under a name.
func (s *Staged) look(name string, content [sha256.Size]byte, replaces [][sha256.Size]byte) (finding, error) {
	root, rel := s.folder.root, filepath.Join(filepath.Dir(s.rel), name)
	_, err := root.Lstat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return strange, err
	case len(replaces) == 0:
		return strange, nil
	}
	digest, size, err := digestOf(root, rel)
	switch {
	case errors.Is(err, errNotRegular), errors.Is(err, fs.ErrPermission):
		return strange, nil
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return strange, err
	case slices.Contains(replaces, digest) && digest == content:
		return same, nil
	case slices.Contains(replaces, digest), size == 0 && s.beganAs(name):
		return ours, nil
	}
	return strange, nil
}

// beganAs reports whether the name is the one that an earlier try was granted.
func (s *Staged) beganAs(name string) bool {
	return s.Earlier == filepath.Join(filepath.Dir(s.scan), name)
}

// Busy reports whether an error means that another program has a file open
// that was to be replaced or removed, which may succeed later.
func Busy(err error) bool { return atomicfile.Busy(err) }

// makeDirs makes a folder below root, each as open as the one around it.
func makeDirs(root *os.Root, dir string) error {
	info, err := root.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: filepath.Join(root.Name(), dir), Err: fs.ErrExist}
	case dir == ".", !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(root, parent); err != nil {
		return err
	}
	around, err := root.Stat(parent)
	if err != nil {
		return err
	}
	return makeDir(root, dir, around)
}

// makeDir makes one folder, as open as the one that like describes.
func makeDir(root *os.Root, dir string, like fs.FileInfo) error {
	err := root.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	made, err := root.Lstat(dir)
	if err != nil {
		return err
	}
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// What is opened must be what was made: a link to another's folder would
	// open that folder to others.
	if opened, err := d.Stat(); err == nil && os.SameFile(made, opened) {
		atomicfile.Permit(d, like, like.Mode()&(fs.ModePerm|fs.ModeSetgid))
	}
	return atomicfile.SyncDir(root, filepath.Dir(dir))
}
