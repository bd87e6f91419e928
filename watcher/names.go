package watcher

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// taken reports whether a file of this name may be a scan. That it must end in the
// extension of one leaves out the temporary files of browsers and transfers
// (letter.pdf.part), the litter of the systems (.DS_Store, Thumbs.db), and what
// scandrop writes itself.
func taken(name string) bool {
	if strings.HasPrefix(name, ".") || // hidden; ._letter.pdf and .~lock.letter.pdf# among them
		strings.HasPrefix(name, "~$") { // the lock of an office program
		return false
	}
	return formatOf(name) != ""
}

// formatOf returns the word for what the extension of name promises; "" if it is not
// one of a scan.
func formatOf(name string) string {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".pdf":
		return "PDF"
	case ".jpg", ".jpeg":
		return "JPEG"
	case ".png":
		return "PNG"
	case ".tif", ".tiff":
		return "TIFF"
	case ".heic":
		return "HEIC"
	case ".gif":
		return "GIF"
	}
	return ""
}

// entered reports whether a folder of this name may hold scans: it is not hidden, and
// not one in which a system keeps thumbnails, snapshots or what was deleted.
func entered(name string) bool {
	if strings.HasPrefix(name, ".") { // .stfolder and .Trash-1000 among them
		return false
	}
	switch strings.ToLower(name) {
	case "@eadir", "#recycle", "#snapshot", // Synology
		"@recycle", "@recently-snapshot", // QNAP
		"$recycle.bin", "system volume information", // Windows
		"lost+found":
		return false
	}
	return true
}

// below reports whether path lies below dir. Both are clean.
func below(dir, path string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && rest != "" && (os.IsPathSeparator(rest[0]) || os.IsPathSeparator(dir[len(dir)-1]))
}

// fold returns s as names are compared on this system.
func fold(s string) string {
	if caseless {
		return strings.ToLower(s)
	}
	return s
}

// A filter says which paths below a folder are of interest.
type filter struct {
	path             string   // of the folder
	include, exclude []string // folded
	skip             map[string]bool
}

func newFilter(f Folder) *filter {
	m := &filter{path: f.Path, skip: make(map[string]bool)}
	for _, glob := range f.Include {
		m.include = append(m.include, fold(glob))
	}
	for _, glob := range f.Exclude {
		m.exclude = append(m.exclude, fold(glob))
	}
	for _, path := range f.Skip {
		m.skip[fold(filepath.Clean(path))] = true
	}
	return m
}

// takes reports whether the file at path may be a scan that is wanted.
func (m *filter) takes(path string) bool {
	if !taken(filepath.Base(path)) {
		return false
	}
	rel := m.rel(path)
	return (len(m.include) == 0 || matches(m.include, rel)) && !matches(m.exclude, rel)
}

// enters reports whether scans may lie in the folder at path.
func (m *filter) enters(path string) bool {
	if !entered(filepath.Base(path)) || m.skip[fold(path)] {
		return false
	}
	rel := m.rel(path)
	for _, glob := range m.exclude {
		// Such a glob, when it matches a folder, matches all below it.
		if strings.HasSuffix(glob, "/**") && doublestar.MatchUnvalidated(glob, rel) {
			return false
		}
	}
	return true
}

// rel returns path as globs see it.
func (m *filter) rel(path string) string {
	rel := strings.TrimPrefix(path, m.path)
	return fold(strings.TrimPrefix(filepath.ToSlash(rel), "/"))
}

func matches(globs []string, rel string) bool {
	for _, glob := range globs {
		if doublestar.MatchUnvalidated(glob, rel) {
			return true
		}
	}
	return false
}
