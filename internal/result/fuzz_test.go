package result

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a scan is called, the names of its results are different, fit, stay
// in their folder and are no devices.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"letter.pdf", "a", ".pdf", "con.pdf", "_con.pdf", "lpt9 .jpg", "..pdf", "nul:x.tif", "a/b.pdf", `a\b.pdf`,
		strings.Repeat("x", 300) + ".pdf", strings.Repeat("é", 127) + ".gif", strings.Repeat("\x80", 255), "letter (2).pdf", "\xff.png", "/"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, original string) {
		if original != filepath.Base(original) || original == "." || original == ".." || original == string(filepath.Separator) {
			return // not the name of a file
		}
		for _, format := range []string{"txt", "docx", "json", "csv", "xlsx"} {
			seen := map[string]bool{}
			all := names(original, format, 12)
			for _, name := range all {
				switch {
				case name != filepath.Base(name) || name == "." || name == "..":
					t.Errorf("%q: %q leaves the folder", original, name)
				case len(name) > longest:
					t.Errorf("%q: %q has %d bytes", original, name, len(name))
				case filepath.Ext(name) != "."+format:
					t.Errorf("%q: %q is no %s", original, name, format)
				case utf8.ValidString(original) && !utf8.ValidString(name):
					t.Errorf("%q: %q is not UTF-8", original, name)
				case device(name):
					t.Errorf("%q: %q is a device", original, name)
				case seen[strings.ToLower(name)]:
					t.Errorf("%q: %q comes twice", original, name)
				}
				seen[strings.ToLower(name)] = true
			}
			if again := names(original, format, 12); strings.Join(all, "\n") != strings.Join(again, "\n") {
				t.Errorf("%q: %q, and then %q", original, all, again)
			}
		}
	})
}

// Whatever a scan is to be called that is dropped, it lies in the folder, whole, and
// nothing else does; or it is refused, and nothing is left.
func FuzzDrop(f *testing.F) {
	for _, name := range []string{"a.pdf", "../a.pdf", "/a.pdf", `..\a.pdf`, "a/b.pdf", "", ".", "..", ".a.pdf", "a.pdf:x", "con.pdf", "a\x00.pdf", "\xff.pdf", strings.Repeat("x", 300), "way", "link.pdf"} {
		f.Add(name, []byte("content"))
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		around := t.TempDir()
		hot, other := filepath.Join(around, "hot"), filepath.Join(around, "other")
		if err := errors.Join(os.Mkdir(hot, 0o700), os.Mkdir(other, 0o700), os.Symlink(other, filepath.Join(hot, "way")), os.Symlink(filepath.Join(other, "x"), filepath.Join(hot, "link.pdf"))); err != nil {
			t.Skip(err)
		}
		folder, err := Open(hot)
		if err != nil {
			t.Fatal(err)
		}
		defer folder.Close()
		if runtime.GOOS != "linux" && !utf8.ValidString(name) {
			t.Skip("only where names are bytes: elsewhere there is no such name")
		}
		path, failed := folder.Drop(name, strings.NewReader(string(content)))
		var found []string
		err = filepath.WalkDir(around, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				found = append(found, p)
			}
			return err
		})
		switch {
		case err != nil:
			t.Fatal(err)
		case failed != nil:
			if len(found) > 0 {
				t.Errorf("%q: %v, and %q are left", name, failed, found)
			}
		case len(found) != 1 || found[0] != path || filepath.Dir(path) != hot || strings.HasPrefix(filepath.Base(path), "."):
			t.Errorf("%q: dropped as %q, there are %q", name, path, found)
		default:
			if got, err := os.ReadFile(path); err != nil || string(got) != string(content) {
				t.Errorf("%q: %q, %v; want %q", name, got, err, content)
			}
		}
	})
}
