package result

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// longest is what file systems commonly allow for a name, in bytes. Where they
// count UTF-16 units or characters instead it is on the safe side.
const longest = 255

// Names yields the names that a result may have, best first and without end:
// for letter.pdf and txt letter.txt, letter.pdf.txt, letter.pdf (2).txt and so
// on. They are all different, and depend on nothing else.
//
// They can be used on every system: a name that Windows takes for a device
// gets an underscore in front, and one that is too long is cut and gets eight
// digits of its SHA-256 instead of its end. The original is a name without a
// folder.
func Names(original, format string) iter.Seq[string] {
	suffix := "." + format
	stem := strings.TrimSuffix(original, filepath.Ext(original))
	return func(yield func(string) bool) {
		if stem != "" && stem != original && !yield(name(stem, suffix)) {
			return
		}
		if !yield(name(original, suffix)) {
			return
		}
		for n := 2; yield(name(original, fmt.Sprintf(" (%d)%s", n, suffix))); n++ {
		}
	}
}

// originals yields the names that an original may have where it is moved to:
// letter.pdf, letter (2).pdf and so on, and after many of them one that the
// content makes its own: a scanner may call all its scans the same, for years.
func originals(original string, content [sha256.Size]byte) iter.Seq[string] {
	ext := filepath.Ext(original)
	stem := strings.TrimSuffix(original, ext)
	return func(yield func(string) bool) {
		if !yield(original) {
			return
		}
		for n := 2; n <= maxNames; n++ {
			if !yield(name(stem, fmt.Sprintf(" (%d)%s", n, ext))) {
				return
			}
		}
		yield(name(stem, fmt.Sprintf(" (%x)%s", content[:16], ext)))
	}
}

// name joins a stem and a suffix to a name that is safe and not too long.
func name(stem, suffix string) string {
	if device(stem) {
		stem = "_" + stem
	}
	if len(stem)+len(suffix) <= longest {
		return stem + suffix
	}
	mark := fmt.Sprintf("~%x", sha256.Sum256([]byte(stem)))[:9]
	end := max(0, longest-len(mark)-len(suffix))
	for end > 0 && !utf8.RuneStart(stem[end]) {
		end--
	}
	return stem[:end] + mark + suffix
}

// device reports whether Windows takes a file of this name for a device,
// whatever its extensions.
func device(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	name, _, _ = strings.Cut(name, ":")
	name = strings.ToUpper(strings.TrimRight(name, " "))
	switch name {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	port, number := strings.CutPrefix(name, "COM")
	if !number {
		port, number = strings.CutPrefix(name, "LPT")
	}
	switch port {
	case "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return number
	}
	return false
}
