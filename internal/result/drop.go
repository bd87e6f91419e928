package result

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"scandrop/internal/atomicfile"
)

// ErrName means that a name cannot be that of a file that is dropped.
var ErrName = errors.New("not the name of a file")

// Drop puts a new scan into the folder, whole or not at all, under the name if
// that is free, else as "letter (2).pdf" and so on, and returns its path. Nothing
// is ever replaced. The error wraps [ErrName] if the name is none: it must not
// lead to another folder.
func (f *Folder) Drop(name string, scan io.Reader) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\:`) || strings.ContainsRune(name, 0) ||
		!filepath.IsLocal(name) || len(name) > 200 {
		return "", fmt.Errorf("%q is %w", name, ErrName)
	}
	file, err := atomicfile.Create(f.root, ".", ".scandrop-drop-"+rand.Text()+".tmp")
	if err != nil {
		return "", err
	}
	defer file.Discard()
	if _, err := io.Copy(file, scan); err != nil {
		return "", err
	}
	if like, err := f.root.Stat("."); err == nil {
		file.Permit(like, like.Mode().Perm()&0o666) // those who may read the folder may read what is in it
	}
	const tries = 1000
	ext := filepath.Ext(name)
	target := name
	for n := 2; ; n++ {
		err := file.Publish(target)
		if err == nil {
			return filepath.Join(f.path, target), nil
		}
		if !errors.Is(err, fs.ErrExist) || n > tries {
			return "", err
		}
		target = fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, ext), n, ext)
	}
}
