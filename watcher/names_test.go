package watcher

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTaken(t *testing.T) {
	for name, want := range map[string]bool{
		"letter.pdf": true, "letter.PDF": true, "a.jpg": true, "a.JPeG": true, "a.png": true, "a.tif": true,
		"a.tiff": true, "a.heic": true, "a.gif": true, "a.b.pdf": true, " .pdf": true, "~letter.pdf": true,

		"letter": false, "letter.txt": false, "letter.docx": false, "letter.webp": false, "letter.avif": false,
		".pdf": false, ".letter.pdf": false, "._letter.pdf": false, "~$letter.pdf": false, ".~lock.letter.pdf": false,
		"letter.pdf.part": false, "letter.pdf.partial": false, "letter.pdf.crdownload": false,
		"letter.pdf.filepart": false, "letter.pdf.tmp": false, "letter.pdf~": false, "letter.pdf ": false,
		".DS_Store": false, "Thumbs.db": false, "desktop.ini": false, "": false, "pdf": false,
	} {
		if got := taken(name); got != want {
			t.Errorf("taken(%q) = %v", name, got)
		}
	}
}

func TestEntered(t *testing.T) {
	for name, want := range map[string]bool{
		"letters": true, "2026": true, "eaDir": true, "a.pdf": true,
		".git": false, ".stfolder": false, "@eaDir": false, "#recycle": false, "$RECYCLE.BIN": false, "$Recycle.Bin": false,
		"System Volume Information": false, "lost+found": false,
	} {
		if got := entered(name); got != want {
			t.Errorf("entered(%q) = %v", name, got)
		}
	}
}

func TestBelow(t *testing.T) {
	sep := string(filepath.Separator)
	for _, tt := range []struct {
		dir, path string
		want      bool
	}{
		{"/a", "/a/b", true},
		{"/a", "/a/b/c", true},
		{"/", "/a", true},
		{"/a", "/a", false},
		{"/a", "/ab", false},
		{"/a/b", "/a", false},
	} {
		dir, path := strings.ReplaceAll(tt.dir, "/", sep), strings.ReplaceAll(tt.path, "/", sep)
		if got := below(dir, path); got != tt.want {
			t.Errorf("below(%q, %q) = %v", dir, path, got)
		}
	}
}

func FuzzTaken(f *testing.F) {
	for _, name := range []string{"letter.pdf", ".pdf", "~$a.gif", "", "a\xff.TIF", "\u0130.pdf"} {
		f.Add(name)
	}
	dir := filepath.Join(f.TempDir(), "hot")
	m := newFilter(Folder{Path: dir, Include: []string{"**/*.{pdf,TIF}", "[a-c]*"}, Exclude: []string{"x/**"}})
	f.Fuzz(func(t *testing.T, name string) {
		if taken(name) != (formatOf(name) != "" && name[0] != '.' && !strings.HasPrefix(name, "~$")) {
			t.Errorf("taken(%q) = %v", name, taken(name))
		}
		path := filepath.Join(dir, name)
		if m.takes(path) && !taken(filepath.Base(path)) {
			t.Errorf("takes(%q), and is not taken", path)
		}
		if m.enters(path) && !entered(filepath.Base(path)) {
			t.Errorf("enters(%q), and is not entered", path)
		}
	})
}

// A glob that is accepted can be matched with any path, and with what it names.
func FuzzGlobs(f *testing.F) {
	for _, glob := range []string{"**", "*.pdf", "a/**/b?.pdf", "[a-z]*", "{a,b}/**", "\\", "[", "{{{{"} {
		f.Add(glob, "a/b/letter.pdf")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, glob, name string) {
		w, err := New(Config{
			Folders: []Folder{{Path: dir, Include: []string{glob}, Exclude: []string{glob}}},
			Known:   func(string, int64, time.Time) (bool, error) { return false, nil },
			Found:   func(context.Context, []File) error { return nil },
			Ignored: func(context.Context, []File) error { return nil },
			Looked:  func(string, bool, error) {},
		})
		if err != nil {
			return
		}
		path := filepath.Join(dir, name)
		if m := w.filters[0]; m.takes(path) {
			t.Errorf("%q is included and excluded by %q, and taken", path, glob)
		} else {
			m.enters(path)
		}
	})
}
