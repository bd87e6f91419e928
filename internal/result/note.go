package result

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"

	"scandrop/internal/atomicfile"
)

// Note puts a small file with the text beside a scan, whole or not at all, at
// path, and lets those read it who may read the scan. It replaces nothing: if the
// name is taken the error wraps [fs.ErrExist].
func (f *Folder) Note(path, scan string, text []byte) error {
	rel, err := f.rel(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(rel))
	file, err := atomicfile.Create(f.root, filepath.Dir(rel), ".scandrop-note-"+hex.EncodeToString(sum[:8])+".tmp")
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(text); err != nil {
		return err
	}
	if of, err := f.rel(scan); err == nil {
		if like, err := f.root.Lstat(of); err == nil && like.Mode().IsRegular() {
			file.Permit(like, like.Mode().Perm()&0o666)
		}
	}
	return file.Publish(filepath.Base(rel))
}

// RemoveNote removes the file at path if it holds exactly that content; else it
// is not ours, or was edited, and stays. It is no error if there is none.
func (f *Folder) RemoveNote(path string, content [sha256.Size]byte) error {
	ours, err := f.Has(path, content)
	if err != nil || !ours {
		return err
	}
	rel, err := f.rel(path)
	if err == nil {
		err = f.root.Remove(rel)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Exists reports whether a regular file lies at path.
func (f *Folder) Exists(path string) (bool, error) {
	rel, err := f.rel(path)
	if err != nil {
		return false, err
	}
	info, err := f.root.Lstat(rel)
	if errors.Is(err, fs.ErrNotExist) || err != nil && notFolder(err) {
		return false, nil
	}
	return err == nil && info.Mode().IsRegular(), err
}
