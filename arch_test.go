package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may says which of our own packages each of them may import, and so draws the
// house: imports go downwards only. docs/design.md has the picture.
var may = map[string][]string{
	"scandrop":                     {"internal/cli"},
	"scandrop/queue":               {},
	"scandrop/watcher":             {"internal/tiff"},
	"scandrop/uploader":            {"queue", "internal/hwocr"},
	"scandrop/internal/hwocr":      {},
	"scandrop/internal/tiff":       {},
	"scandrop/internal/join":       {},
	"scandrop/internal/pages":      {"internal/tiff"},
	"scandrop/internal/sandbox":    {},
	"scandrop/internal/atomicfile": {},
	"scandrop/internal/journal":    {"internal/atomicfile"},
	"scandrop/internal/config":     {},
	"scandrop/internal/markup":     {},
	"scandrop/internal/mount":      {},
	"scandrop/internal/service":    {},
	"scandrop/internal/webhook":    {},
	"scandrop/internal/notice":     {},
	"scandrop/internal/result":     {"internal/atomicfile"},
	"scandrop/internal/control":    {"queue"},
	"scandrop/internal/web":        {"queue", "internal/control", "internal/markup", "internal/tiff"},
	"scandrop/internal/daemon": {"watcher", "uploader", "queue",
		"internal/hwocr", "internal/config", "internal/mount", "internal/result", "internal/journal", "internal/atomicfile", "internal/pages", "internal/join",
		"internal/control", "internal/web", "internal/webhook", "internal/notice"},
	"scandrop/packaging/release": {"internal/cli"},
	"scandrop/internal/bench":    {"internal/sandbox", "queue"},
	"scandrop/internal/cli": {"queue",
		"internal/control", "internal/daemon", "internal/config", "internal/hwocr", "internal/pages", "internal/sandbox", "internal/service"},
}

func TestArchitecture(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Doc string
			Imports         []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen[p.ImportPath] = true
		if p.Doc == "" {
			t.Errorf("%s has no package comment: say what it promises", p.ImportPath)
		}
		allowed, known := may[p.ImportPath]
		if !known {
			t.Errorf("%s is not in this test's table: give it a line here and in docs/design.md", p.ImportPath)
		}
		for _, i := range p.Imports {
			ours, found := strings.CutPrefix(i, "scandrop/")
			if found && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which lies beside or above it", p.ImportPath, i)
			}
		}
	}
	for p := range may {
		if !seen[p] {
			t.Errorf("%s is in this test's table and not in the tree", p)
		}
	}
}
