package daemon

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTry(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		try   Try
		wrong string
	}{
		{Try{Path: dir, Write: true}, ""},
		{Try{Path: file, File: true, Write: true}, ""},
		{Try{Path: file, Write: true}, "not a folder"},
		{Try{Path: filepath.Join(dir, "nothing")}, "does not exist"},
		{Try{Path: filepath.Join(dir, "shown"), Via: dir, Write: true}, ""},
	} {
		got := tt.try.Do()
		if got.Path != tt.try.Path || (got.Problem == "") != (tt.wrong == "") || !strings.Contains(got.Problem, tt.wrong) || (got.Hint == "") != (tt.wrong == "") {
			t.Errorf("%+v: %+v, want %q", tt.try, got, tt.wrong)
		}
		if got.Absent != (tt.wrong == "does not exist") || (got.Free > 0) != (tt.wrong == "" && !tt.try.File) {
			t.Errorf("%+v: %+v", tt.try, got)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "x" {
		t.Errorf("the file is %q now, %v", text, err)
	}
}

func TestScarce(t *testing.T) {
	for _, tt := range []struct {
		trial  Trial
		scarce bool
		short  bool
	}{
		{Trial{Free: -1}, false, false},
		{Trial{Free: 1 << 40}, false, false},
		{Trial{Free: 100 << 20}, true, false},
		{Trial{Free: 1 << 20}, true, true},
		{Trial{Free: 0}, true, true},
		{Trial{Free: 0, Problem: "it is gone"}, false, false},
	} {
		if text, short := tt.trial.Scarce(); (text != "") != tt.scarce || short != tt.short {
			t.Errorf("%+v: %q, %v", tt.trial, text, short)
		}
	}
}

// macOS refuses for privacy with EPERM; what permissions refuse is another thing.
func TestPrivacy(t *testing.T) {
	for err, is := range map[error]bool{syscall.EPERM: true, syscall.EACCES: false, syscall.ENOENT: false} {
		err := &fs.PathError{Op: "open", Path: "/Users/anna/Documents", Err: err}
		if got := refusedByPrivacy(err); got != is && filepath.Separator == '/' {
			t.Errorf("%v: %v", err, got)
		}
		if hint := privacyHint(err); (hint != "") != (is && guardsPrivacy) {
			t.Errorf("%v: %q", err, hint)
		}
	}
}
