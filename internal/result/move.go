package result

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"scandrop/internal/atomicfile"
)

// ErrStays means that an original is not moved, because it is gone or is
// another file now.
var ErrStays = errors.New("the original is gone, or is another file now")

// MoveOriginal moves the original at path, below the hot folder, to the folder
// dir, keeping its path below the hot folder, and returns where it is then. If
// that name is taken, a number is put before its extension. Nothing is
// replaced, and the mode and the time are kept. dir is made if it is missing,
// as open as the hot folder, but not the folder around it: a disk that is not
// mounted is not made up.
//
// Only a file with exactly this content, by its SHA-256, is moved; if there is
// another or none, the error wraps [ErrStays].
//
// After a crash it is called again, and then finishes what it began: an
// original that is gone, or in whose place another file lies by now, and that
// lies in dir with this content has been moved. For
// that one content lies in dir once only under each name: moving a second one
// removes it. Moving the same original twice at once fails for one of them.
func (f *Folder) MoveOriginal(path, dir string, content [sha256.Size]byte) (string, error) {
	moved, err := f.moveOriginal(path, dir, content)
	if err != nil {
		return "", fmt.Errorf("move %s to %s: %w", path, dir, err)
	}
	return filepath.Join(dir, moved), nil
}

func (f *Folder) moveOriginal(path, dir string, content [sha256.Size]byte) (string, error) {
	rel, err := f.rel(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(content[:], rel...))
	m := &move{from: f.root, rel: rel, content: content, temp: fmt.Sprintf(".scandrop-%x.tmp", sum[:8])}
	if err := m.recover(); err != nil {
		return "", err
	}
	m.file, err = openRegular(m.from, rel)
	if errors.Is(err, fs.ErrNotExist) {
		return m.earlier(dir)
	}
	if err != nil {
		return "", err
	}
	defer m.file.Close()
	if m.info, err = m.file.Stat(); err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, m.file); err != nil {
		return "", err
	}
	if [sha256.Size]byte(h.Sum(nil)) != content { // the next scan of that name, perhaps
		m.info = nil
		return m.earlier(dir)
	}
	if m.to, err = m.open(dir); err != nil {
		return "", err
	}
	defer m.to.Close()
	return m.run()
}

// A move takes one original from one folder to another.
type move struct {
	from, to *os.Root
	rel      string // of the original, below both
	content  [sha256.Size]byte
	temp     string // a hidden name that no other move uses

	file *os.File // the original, open
	info fs.FileInfo
}

// open opens the folder that the original goes to, and makes it.
func (m *move) open(dir string) (*os.Root, error) {
	to, err := os.OpenRoot(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return to, err
	}
	around, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		return nil, fmt.Errorf("make the folder around it, or mount its disk: %w", err)
	}
	defer around.Close()
	like, err := m.from.Stat(".")
	if err != nil {
		return nil, err
	}
	if err := makeDir(around, filepath.Base(dir), like); err != nil {
		return nil, err
	}
	return os.OpenRoot(dir)
}

func (m *move) beside(name string) string { return filepath.Join(filepath.Dir(m.rel), name) }

// run moves the original, whose content is known to be the right one.
func (m *move) run() (string, error) {
	if err := makeDirs(m.to, filepath.Dir(m.rel)); err != nil {
		return "", err
	}
	here, err := m.from.Stat(filepath.Dir(m.rel))
	if err != nil {
		return "", err
	}
	there, err := m.to.Stat(filepath.Dir(m.rel))
	if err != nil {
		return "", err
	}
	if os.SameFile(here, there) { // it would be taken for its own copy, and removed
		return m.rel, nil
	}
	for name := range originals(filepath.Base(m.rel), m.content) {
		target := m.beside(name)
		for range 3 { // between a look and the deed others may come and go
			is, err := m.is(target)
			if err != nil {
				return "", err
			}
			if is == strange {
				break
			}
			if is == same { // copied, and then interrupted
				return target, m.remove()
			}
			err = m.take(target)
			if err == nil {
				return target, nil
			}
			if !errors.Is(err, fs.ErrExist) {
				return "", err
			}
		}
	}
	return "", fmt.Errorf("too many files of this name are there: move some away")
}

// is says what lies where the original is to go.
func (m *move) is(target string) (finding, error) {
	info, err := m.to.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return absent, nil
	}
	if err != nil {
		return strange, err
	}
	if m.info != nil && info.Size() != m.info.Size() {
		return strange, nil
	}
	digest, _, err := digestOf(m.to, target)
	switch {
	case errors.Is(err, errNotRegular), errors.Is(err, fs.ErrPermission):
		return strange, nil
	case errors.Is(err, fs.ErrNotExist):
		return absent, nil
	case err != nil:
		return strange, err
	case digest == m.content:
		return same, nil
	}
	return strange, nil
}

// earlier finds the original where it was moved to before.
func (m *move) earlier(dir string) (string, error) {
	var err error
	m.to, err = os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrStays
	}
	if err != nil {
		return "", err
	}
	defer m.to.Close()
	for name := range originals(filepath.Base(m.rel), m.content) {
		switch is, err := m.is(m.beside(name)); {
		case err != nil:
			return "", err
		case is == same:
			return m.beside(name), nil
		case is == absent:
			return "", ErrStays
		}
	}
	return "", ErrStays
}

// take moves the original to a name that is free.
func (m *move) take(target string) error {
	err := atomicfile.Rename(m.from, m.rel, m.to, target)
	switch {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil: // another disk, mostly
		return m.copy(target)
	}
	if !m.unchanged(m.to, target) { // it was replaced just before
		if err := m.giveBack(m.to, target); err != nil {
			return err
		}
		return ErrStays
	}
	if err := atomicfile.SyncDir(m.to, filepath.Dir(target)); err != nil {
		return err
	}
	return atomicfile.SyncDir(m.from, filepath.Dir(target))
}

// copy moves the original to another disk.
func (m *move) copy(target string) error {
	if _, err := m.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	copied, err := atomicfile.Create(m.to, filepath.Dir(target), m.temp)
	if err != nil {
		return err
	}
	defer copied.Discard()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(copied, h), m.file); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != m.content {
		return ErrStays
	}
	copied.Permit(m.info, m.info.Mode().Perm())
	if err := copied.Publish(filepath.Base(target)); err != nil {
		return err
	}
	m.to.Chtimes(target, m.info.ModTime(), m.info.ModTime()) // without it the copy is as good
	err = m.remove()
	if errors.Is(err, ErrStays) {
		m.to.Remove(target)
	}
	return err
}

// remove removes the original, a copy of which is safe. It is given a hidden
// name first and looked at under that: a new scan that takes its place in this
// moment must not be removed instead.
func (m *move) remove() error {
	if err := atomicfile.SyncDir(m.to, filepath.Dir(m.rel)); err != nil {
		return err
	}
	m.file.Close() // on Windows the name of an open file would stay for a while
	if err := m.from.Rename(m.rel, m.beside(m.temp)); err != nil {
		return err
	}
	if !m.unchanged(m.from, m.beside(m.temp)) {
		if err := m.giveBack(m.from, m.beside(m.temp)); err != nil {
			return err
		}
		return ErrStays
	}
	if err := m.from.Remove(m.beside(m.temp)); err != nil {
		return err
	}
	return atomicfile.SyncDir(m.from, filepath.Dir(m.rel))
}

// recover gives back what a crash has left under the hidden name.
func (m *move) recover() error {
	_, err := m.from.Lstat(m.beside(m.temp))
	if err != nil {
		return nil // not there, mostly; what else is wrong will show
	}
	return m.giveBack(m.from, m.beside(m.temp))
}

// giveBack renames a file to where the original was, or beside it.
func (m *move) giveBack(root *os.Root, name string) error {
	for free := range originals(filepath.Base(m.rel), m.content) {
		err := atomicfile.Rename(root, name, m.from, m.beside(free))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s belongs beside %s, where all names are taken", filepath.Join(root.Name(), name), m.rel)
}

// unchanged reports whether what lies at name is still the file that was
// opened, as it was then.
func (m *move) unchanged(root *os.Root, name string) bool {
	there, err := root.Lstat(name)
	return err == nil && os.SameFile(there, m.info) &&
		there.Size() == m.info.Size() && there.ModTime().Equal(m.info.ModTime())
}
