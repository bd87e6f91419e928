package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The token is encrypted where it lies, read as before, and may be replaced by a plain
// one, which is encrypted again.
func TestSealToken(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	c, err := Parse(filepath.Join(dir, "config.yaml"), []byte("folders:\n- path: scans\n"), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"1|the-token", "2|another"} {
		if err := os.WriteFile(path, []byte(token+"\r\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} { // again changes nothing
			if where, changed, err := c.SealToken(); where != path || changed != want || err != nil {
				t.Fatalf("SealToken = %s, %v, %v, want %v", where, changed, err, want)
			}
			text, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(text), token) || !strings.HasPrefix(string(text), sealed) {
				t.Errorf("the file holds %q, %v", text, err)
			}
			if got, err := c.TokenSource().Token(); got.Reveal() != token || err != nil {
				t.Errorf("the token is %q, %v", got.Reveal(), err)
			}
		}
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A token of another machine, or a damaged one, is told with the way out.
func TestSealedElsewhere(t *testing.T) {
	dir := t.TempDir()
	c, err := Parse(filepath.Join(dir, "config.yaml"), []byte("folders:\n- path: scans\n"), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{sealed, sealed + "????", sealed + "AQAAANCMnd8BFdERjHoAwE/Cl+s="} {
		if err := os.WriteFile(filepath.Join(dir, "token"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		err := c.CheckToken()
		p := Problem{}
		if !errors.As(err, &p) || !strings.Contains(p.Text, "another machine") || !strings.Contains(p.Hint, "write the token itself") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOnlyOurFileIsSealed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(path, []byte("1|the-token"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "config.yaml"), []byte("api: {token_file: elsewhere}\nfolders:\n- path: scans\n"), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, changed, err := c.SealToken(); changed || err != nil {
		t.Errorf("SealToken changed a file of others' (%v), %v", changed, err)
	}
}
