package watcher

import (
	"path/filepath"
	"strings"
	"testing"
)

// It says so exactly where the watcher would leave the file alone.
func TestOverlooked(t *testing.T) {
	root := filepath.Join(t.TempDir(), "scans")
	f := Folder{Path: root, Recursive: true, Include: []string{"**"}, Exclude: []string{"drafts/**", "*.gif"}, Skip: []string{filepath.Join(root, "done")}}
	flat := Folder{Path: root}
	for _, tt := range []struct {
		folder Folder
		path   string
		want   string
	}{
		{f, "letter.pdf", ""},
		{f, "sub/LETTER.JPG", ""},
		{flat, "letter.pdf", ""},
		{flat, "sub/letter.pdf", "recursive is off"},
		{f, "letter.doc", "does not end like a scan's"},
		{f, ".letter.pdf", "hidden or temporary"},
		{f, "~$letter.pdf", "hidden or temporary"},
		{f, ".stfolder/letter.pdf", "hidden or the system's own"},
		{f, "done/letter.pdf", "left out"},
		{f, "drafts/letter.pdf", "left out"},
		{f, "a.gif", "exclude"},
		{Folder{Path: root, Include: []string{"in/*"}}, "letter.pdf", "include"},
	} {
		got := Overlooked(tt.folder, filepath.Join(root, filepath.FromSlash(tt.path)))
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.path, got, tt.want)
		}
	}
}
