package config

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const hush = "12|hush-hush"

// revealed tells whether text shows the secret, plainly or in hexadecimal.
func revealed(text string) bool {
	return strings.Contains(strings.ToLower(text), "hush") ||
		strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", "hush"))
}

func TestSecretIsNeverShown(t *testing.T) {
	type inner struct {
		Exported Secret
		hidden   Secret
	}
	type outer struct {
		Inner inner
		Ptr   *inner
		List  []Secret
		Map   map[string]Secret
	}
	s := NewSecret(hush)
	in := inner{s, s}
	c, err := Parse("config.yaml", []byte("api: {token: '"+hush+"', proxy: 'http://u:hush@h:1'}\nfolders: [{path: a}]"),
		environment(t, "SCANDROP_TOKEN", hush))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{s, &s, in, &in, outer{in, &in, []Secret{s}, map[string]Secret{"a": s}}, c, *c, c.TokenSource(), []any{s, in}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%T", "%o", "%10.3s"} {
			if got := fmt.Sprintf(verb, v); revealed(got) {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
		if got := fmt.Errorf("oh: %w, %v", errors.New("x"), v).Error(); revealed(got) {
			t.Errorf("error with %T: %s", v, got)
		}
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).With("a", v).WithGroup("g").Info("m", "v", v, slog.Group("h", "v", v))
		}
		if revealed(log.String()) || log.Len() == 0 {
			t.Errorf("log of %T: %s", v, log.String())
		}
		if got, err := json.Marshal(v); err != nil || revealed(string(got)) {
			t.Errorf("json of %T: %s, %v", v, got, err)
		}
		if got, err := yaml.Marshal(v); err != nil || revealed(string(got)) {
			t.Errorf("yaml of %T: %s, %v", v, got, err)
		}
	}
	if got, err := xml.Marshal(in); err != nil || revealed(string(got)) {
		t.Errorf("xml: %s, %v", got, err)
	}
	for _, got := range []string{s.String(), s.GoString(), s.LogValue().String()} {
		if !strings.Contains(got, redacted) {
			t.Errorf("placeholder: %s", got)
		}
	}
	if s.Reveal() != hush || !s.Equal(NewSecret(hush)) || s.Equal(NewSecret("x")) || s.IsZero() {
		t.Error("the secret itself is gone")
	}
	if z := NewSecret(""); !z.IsZero() || z.String() != "" || z.Reveal() != "" || z != (Secret{}) {
		t.Errorf("the empty secret: %#v", z)
	}
}

// TestMistakesKeepSecrets puts the token where people put it by mistake.
func TestMistakesKeepSecrets(t *testing.T) {
	long := "hushhushhushhushhushhushhushhushhushhush"
	for _, text := range []string{
		"api: {token: ['" + hush + "']}",
		"api: {token: " + hush + ", token_file: x}",
		"api: {token: '" + hush + " x'}",
		"api: {token: *hush}",
		"api: {token: &hush x}",
		"api: {token: !hush x}",
		"api:\n  token:" + hush + "\n",
		"api:\n  token:" + hush + "\n  rate: 2\n",
		"api: {token:" + hush + "}",
		"api: {" + hush + ": x}",
		"api: {" + long + ": x}",
		"api: " + hush,
		"api: ['" + hush + "']",
		"api: {token_file: '" + hush + "'}",
		"api: {token_file: " + long + "}",
		"api: {token_file: ['" + hush + "']}",
		"api: {url: 'https://hush:hush@example.org'}",
		"api: {url: '" + hush + "'}",
		"api: {proxy: '" + hush + "'}",
		"api: {rate: '" + hush + "'}",
		"api: {token: \"" + hush + "\n",
		"workers: '" + hush + "'",
		hush,
	} {
		_, err := Parse("config.yaml", []byte(text+"\nfolders: [{path: a}]\n"), environment(t))
		if err == nil || revealed(fmt.Sprintf("%v %+v", err, err)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	credentials := filepath.Join(dir, "credentials")
	beside := filepath.Join(dir, "beside")
	for _, d := range []string{credentials, beside} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, "token"), filepath.Base(d)+"\n")
	}
	named := write(t, filepath.Join(dir, "named"), " 12|named\r\n")
	file := fmt.Sprintf("api: {token_file: '%s'}", named)
	long := strings.Repeat("x", maxToken)

	for _, tc := range []struct {
		name, api  string
		vars       []string
		config     string
		want, oops string
	}{
		{"variable over key", "api: {token: key}", []string{"SCANDROP_TOKEN", "variable\n"}, beside, "variable", ""},
		{"variable over file", file, []string{"SCANDROP_TOKEN", "variable"}, beside, "variable", ""},
		{"blank variable", file, []string{"SCANDROP_TOKEN", " "}, beside, "12|named", ""},
		{"key over credential", "api: {token: key}", []string{"CREDENTIALS_DIRECTORY", credentials}, beside, "key", ""},
		{"file over credential", file, []string{"CREDENTIALS_DIRECTORY", credentials}, beside, "12|named", ""},
		{"credential over neighbour", "", []string{"CREDENTIALS_DIRECTORY", credentials}, beside, "credentials", ""},
		{"other credentials", "", []string{"CREDENTIALS_DIRECTORY", dir}, beside, "beside", ""},
		{"neighbour", "", nil, beside, "beside", ""},
		{"relative file", "api: {token_file: ../named}", nil, beside, "12|named", ""},
		{"longest", "", []string{"SCANDROP_TOKEN", long}, dir, long, ""},

		{"none", "", nil, dir, "", "api: there is no token; write it into " + filepath.Join(dir, "token")},
		{"no file", "api: {token_file: gone}", nil, beside, "", "api.token_file: " + filepath.Join(beside, "gone") + " does not exist; write"},
		{"a folder", "api: {token_file: ../credentials}", nil, beside, "", "api.token_file: the token cannot be read from " + credentials + ": not an ordinary file"},
		{"too long", "", []string{"SCANDROP_TOKEN", long + "x"}, dir, "", "SCANDROP_TOKEN: the token is longer than 4096 bytes"},
		{"two lines", "", []string{"SCANDROP_TOKEN", "hush\nhush"}, dir, "", "SCANDROP_TOKEN: the token holds a space"},
		{"control", "", []string{"SCANDROP_TOKEN", "hush\x00"}, dir, "", "SCANDROP_TOKEN: the token holds a space"},
		{"not ASCII", "", []string{"SCANDROP_TOKEN", "hüsh"}, dir, "", "SCANDROP_TOKEN: the token holds a space"},
	} {
		c, err := Parse(filepath.Join(tc.config, "c.yaml"), []byte(tc.api+"\nfolders: [{path: a}]"), environment(t, tc.vars...))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got, err := c.TokenSource().Token()
		if got.Reveal() != tc.want || (err == nil) != (tc.oops == "") || (c.CheckToken() == nil) != (err == nil) {
			t.Errorf("%s: got %q, %v", tc.name, got.Reveal(), err)
		}
		if err != nil {
			if p, ok := errors.AsType[Problem](err); !ok || p.Hint == "" || !strings.HasPrefix(err.Error(), tc.oops) || revealed(err.Error()) {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
	}
}

func TestTokenIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	c, err := Parse(filepath.Join(filepath.Dir(path), "c.yaml"), []byte("folders: [{path: a}]"), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	source := c.TokenSource()
	for _, tc := range []struct{ text, want string }{
		{"one", "one"}, {"two", "two"}, {" \n", ""}, {"\ufeffthree\n", "three"}, {"\xff\xfef\x00o\x00u\x00r\x00\r\x00\n\x00", "four"},
	} {
		write(t, path, tc.text)
		if got, err := source.Token(); got.Reveal() != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%q: %q, %v", tc.text, got.Reveal(), err)
		}
	}
}

func TestExposedToken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing there")
	}
	dir := t.TempDir()
	config := write(t, filepath.Join(dir, "c.yaml"), "api: {token: hush}\nfolders: [{path: a}]")
	other := write(t, filepath.Join(dir, "d.yaml"), "folders: [{path: a}]")
	token := write(t, filepath.Join(dir, "token"), "hush")
	for _, path := range []string{config, token} {
		for mode, want := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o640: 1, 0o604: 1} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			load := config
			if path == token {
				load = other
			}
			c, err := Load(load, environment(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) != want || want > 0 && (!strings.Contains(c.Warnings[0].Error(), path) || revealed(c.Warnings[0].Error())) {
				t.Errorf("%s, mode %o: %v", path, mode, c.Warnings)
			}
		}
	}
}
