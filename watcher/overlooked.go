package watcher

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Overlooked says why the file at path, which lies below the folder, is left
// alone by its name and place; "" if it is not. It looks at no disk.
func Overlooked(f Folder, path string) string {
	m := newFilter(f)
	for dir := filepath.Dir(path); below(f.Path, dir); dir = filepath.Dir(dir) {
		switch {
		case !f.Recursive:
			return "it lies in a folder below the hot one, and recursive is off"
		case !entered(filepath.Base(dir)):
			return "it lies in " + dir + ", which is hidden or the system's own"
		case !m.enters(dir):
			return "it lies in " + dir + ", which is left out"
		}
	}
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, "."), strings.HasPrefix(name, "~$"):
		return "its name is that of a hidden or temporary file"
	case !taken(name):
		return "its name does not end like a scan's: .pdf .jpg .jpeg .png .tif .tiff .heic .gif"
	case len(m.include) > 0 && !matches(m.include, m.rel(path)):
		return "no pattern of include matches it"
	case matches(m.exclude, m.rel(path)):
		return "a pattern of exclude matches it"
	}
	return ""
}

// EndMissing says where the file at path ends too early; "" if it has its end, or
// nobody can tell.
func EndMissing(path string) string {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return ""
	}
	defer root.Close()
	f, err := openFile(root, filepath.Base(path))
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	head := make([]byte, headSize)
	n, _ := f.ReadAt(head, 0)
	ext, _ := sniff(head[:n])
	if end, ok := errors.AsType[*cutOff](whole(f, info.Size(), ext)); ok {
		return end.Error()
	}
	return ""
}
