package cli

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Who is asked is told at once what cannot be meant, and asked again.
func TestAskAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "letter.pdf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	typed := strings.Join([]string{file, dir, "/srv/scans", "extractor", "a b", "e1", "pdf", "csv json"}, "\n") + "\n"
	var out bytes.Buffer
	var w answers
	if err := w.complete(&questions{lines: bufio.NewReader(strings.NewReader(typed)), out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if w.folder != dir || w.action != "extractor" || w.extractor != "e1" || !slices.Equal(w.formats, []string{"csv", "json"}) {
		t.Errorf("%+v\n%s", w, &out)
	}
	for _, said := range []string{"letter.pdf is a file, not a folder", `"/srv/scans" is none of transcribe, tables, extractor`, "must not hold spaces", `"pdf" is not a format of action extractor`} {
		if strings.Count(out.String(), said) != 1 {
			t.Errorf("%q is not said once:\n%s", said, &out)
		}
	}
}
