package web

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the types of markup leave open, the pages keep to: an attribute that leads
// somewhere is a Link, and none holds a script or a style.
func TestAttributes(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	leads := []string{"href", "src", "action", "data"}
	call := regexp.MustCompile(`\b(Attr|Link)\(([^,)]*)`)
	seen := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			seen++
			name := strings.Trim(m[2], `"`)
			others := []string{"style", "srcdoc", "srcset", "formaction", "poster", "ping", "cite", "background", "http-equiv", "xlink:href"}
			switch {
			case m[2] == name:
				t.Errorf("%s: the name of an attribute is no literal: %s", file, m[0])
			case (m[1] == "Link") != slices.Contains(leads, name), slices.Contains(others, name), strings.HasPrefix(name, "on"):
				t.Errorf("%s: %s)", file, m[0])
			}
		}
	}
	if seen == 0 {
		t.Error("no attribute was found")
	}
}
