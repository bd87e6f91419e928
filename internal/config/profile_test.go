package config

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
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
		"formats: [pdf]", "action: paint", "extractor_id: e1", "action: extractor", "blank: \"a\\nb\"", "prompt_id: 'a b'", "[a]", "a: &b c", "formats: txt", "\tformats: []", "\xff",
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

// Whatever a profile says, it changes what it may and nothing else, into what the
// service knows; twice is once; and written out in full it says the same. A mistake is
// one line, of its file.
func FuzzWithProfile(f *testing.F) {
	for _, s := range []string{
		"", "formats: [json, txt]", "action: tables", "action: extractor\nextractor_id: e1\nprompt_id: p1\nformats: [csv]", "blank: skip\nfailure_notes: true",
		"formats: []", "formats: [txt, txt]", "formats: [~]", "action: ~", "blank: \"a\\nb\"", "prompt_id: 'a\u2028b'", "path: /etc", "delete_remote: false", "[a]",
		"a: &b c", "\tformats: []", "\xff\xfea", "---\n...\n---", "action: extractor", "extractor_id: 007", "? [a]\n: b", "{action: tables, action: tables}",
	} {
		f.Add([]byte(s))
	}
	var usual Folder
	usual.preset()
	usual.Path, usual.Formats, usual.PromptID = "/scans", []string{"txt", "docx"}, "p0"
	before := usual
	before.Formats = slices.Clone(usual.Formats)
	const name = "forms/.scandrop.yaml"
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := usual.WithProfile(name, data)
		if diff := cmp.Diff(before, usual); diff != "" {
			t.Fatalf("the folder that it was laid over changed:\n%s", diff)
		}
		if err != nil {
			problems, ok := err.(Errors)
			if !ok || len(problems) == 0 {
				t.Fatalf("%T: %v", err, err)
			}
			lines := len(toUTF8(data)) + 1
			for _, p := range problems {
				if p.File != name || p.Text == "" || p.Line < 0 || p.Line > lines || strings.ContainsFunc(p.Error(), unicode.IsControl) {
					t.Errorf("%+v", p)
				}
			}
			return
		}
		known := formats[got.Action]
		for i, format := range got.Formats {
			if !slices.Contains(known, format) || slices.Contains(got.Formats[:i], format) {
				t.Errorf("the formats of %s are %q", got.Action, got.Formats)
			}
		}
		if len(got.Formats) == 0 || (got.Action == "extractor") != (got.ExtractorID != "") || got.Blank != "upload" && got.Blank != "skip" {
			t.Errorf("got %+v", got)
		}
		rest := got
		rest.Action, rest.Formats, rest.ExtractorID, rest.PromptID = usual.Action, usual.Formats, usual.ExtractorID, usual.PromptID
		rest.Blank, rest.FailureNotes = usual.Blank, usual.FailureNotes
		if diff := cmp.Diff(usual, rest); diff != "" {
			t.Errorf("it changed what it may not:\n%s", diff)
		}
		whole, err := yaml.Marshal(Profile{&got.Action, &got.Formats, &got.ExtractorID, &got.PromptID, &got.Blank, &got.FailureNotes})
		if err != nil {
			t.Fatal(err)
		}
		for _, again := range []struct {
			over Folder
			data []byte
		}{{got, data}, {usual, whole}} {
			same, err := again.over.WithProfile(name, again.data)
			if diff := cmp.Diff(got, same); err != nil || diff != "" {
				t.Errorf("%q over %s: %v\n%s", again.data, again.over.Action, err, diff)
			}
		}
	})
}
