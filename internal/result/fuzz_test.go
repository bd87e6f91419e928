package result

import (
	"path/filepath"
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
