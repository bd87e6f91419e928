package config

import (
	"slices"
	"strings"
	"testing"
)

func TestWithProfile(t *testing.T) {
	var usual Folder
	usual.preset()
	usual.Path, usual.Formats, usual.PromptID = "/scans", []string{"txt", "docx"}, "p0"
	for _, test := range []struct {
		name, profile string
		want          func(*Folder)
	}{
		{"nothing", "", func(*Folder) {}},
		{"comments", "# nothing\n", func(*Folder) {}},
		{"formats", "formats: [json]", func(f *Folder) { f.Formats = []string{"json"} }},
		{"another action", "action: tables", func(f *Folder) { f.Action, f.Formats = "tables", []string{"xlsx"} }},
		{"the same action", "action: transcribe", func(*Folder) {}},
		{"an extractor", "action: extractor\nextractor_id: e1\nprompt_id: p1\nformats: [csv]", func(f *Folder) {
			f.Action, f.ExtractorID, f.PromptID, f.Formats = "extractor", "e1", "p1", []string{"csv"}
		}},
		{"no prompt", `prompt_id: ""`, func(f *Folder) { f.PromptID = "" }},
		{"the rest", "blank: skip\nfailure_notes: true", func(f *Folder) { f.Blank, f.FailureNotes = "skip", true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := usual.WithProfile(".scandrop.yaml", []byte(test.profile))
			if err != nil {
				t.Fatal(err)
			}
			want := usual
			test.want(&want)
			if got.Action != want.Action || !slices.Equal(got.Formats, want.Formats) || got.ExtractorID != want.ExtractorID ||
				got.PromptID != want.PromptID || got.Blank != want.Blank || got.FailureNotes != want.FailureNotes || got.Path != want.Path {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}

	// Nothing that could harm, and nothing that cannot be understood.
	for _, bad := range []string{
		"path: /etc", "originals: {done: /tmp}", "delete_remote: false", "delete_after: 336h", "spool: false", "limits: {pages_per_day: 0}",
		"existing: process", "include: ['**']", "recursive: true", "api: {url: x}", "token: x", "token_file: /etc/shadow", "priority: 9",
		"formats: [pdf]", "action: paint", "extractor_id: e1", "action: extractor", "blank: maybe", "prompt_id: 'a b'", "[a]", "a: &b c", "formats: txt", "\tformats: []", "\xff",
	} {
		_, err := usual.WithProfile("forms/.scandrop.yaml", []byte(bad))
		if err == nil || !strings.HasPrefix(err.Error(), "forms/.scandrop.yaml:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if !slices.Equal(usual.Formats, []string{"txt", "docx"}) {
		t.Error("a profile changed the folder that it was laid over")
	}
}
