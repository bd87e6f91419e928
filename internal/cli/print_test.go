package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"scandrop/internal/config"
)

// steers is what must not reach a terminal.
const steers = "a\x1b[2J\x1b]0;t\x07\u009b31m\u202eb\r\nc\x7f\u2028\u200f\xff\U000e0001"

func wantHarmless(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && r != '\uFFFD' && !unicode.IsPrint(r) }) {
		t.Errorf("%q would steer a terminal", text)
	}
}

func TestNothingRawIsPrinted(t *testing.T) {
	wantHarmless(t, clean(steers))
	if strings.Contains(clean(steers), "\n") {
		t.Error("a name ends the line")
	}
	if text := "Brief an Müller\t手紙　1.pdf 🙂"; clean(text) != text {
		t.Errorf("%q became %q", text, clean(text))
	}

	var b bytes.Buffer
	if err := json.NewEncoder(plainJSON{&b}).Encode(steers); err != nil {
		t.Fatal(err)
	}
	wantHarmless(t, b.String())
	var back string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back != strings.ToValidUTF8(steers, "\uFFFD") {
		t.Errorf("%s is read as %q, %v", b.String(), back, err)
	}

	for _, format := range []string{"text", "json"} {
		b.Reset()
		a := &app{Streams: Streams{Out: io.Discard, Err: &b}}
		log, done, err := a.logger(config.Log{Level: "info", Format: format})
		if err != nil {
			t.Fatal(err)
		}
		log.LogAttrs(t.Context(), slog.LevelInfo, steers, slog.String(steers, steers), slog.Any("error", io.ErrUnexpectedEOF))
		if err := done(); err != nil {
			t.Fatal(err)
		}
		wantHarmless(t, b.String())
		if strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%s: more than one line: %q", format, b.String())
		}
	}
}

// What is printed holds nothing that steers a terminal, and is the same JSON.
func FuzzPlain(f *testing.F) {
	f.Add(steers)
	f.Add("Müller 手紙　🙂")
	f.Fuzz(func(t *testing.T, s string) {
		wantClean := strings.ContainsFunc(clean(s), func(r rune) bool { return r != '\t' && !harmless(r) && r != '\uFFFD' })
		if wantClean {
			t.Errorf("%q became %q", s, clean(s))
		}
		var b, plain bytes.Buffer
		if json.NewEncoder(&b).Encode(map[string]string{"x": s}) != nil || json.NewEncoder(plainJSON{&plain}).Encode(map[string]string{"x": s}) != nil {
			t.Fatal("not written")
		}
		var want, got any
		if json.Unmarshal(b.Bytes(), &want) != nil || json.Unmarshal(plain.Bytes(), &got) != nil || !cmp.Equal(want, got) {
			t.Errorf("%s became %s", b.String(), plain.String())
		}
		for _, r := range plain.String() {
			if r != '\n' && !harmless(r) {
				t.Errorf("%q holds %q", plain.String(), r)
			}
		}
	})
}
