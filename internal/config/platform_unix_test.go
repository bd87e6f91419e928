//go:build unix

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStrayPath(t *testing.T) {
	for path, want := range map[string]string{
		`C:\Scans`: "Windows", `c:/Scans`: "Windows", `\\nas\scans`: "Windows",
		"/srv/scans": "", "scans": "", "a:b": "", `C:`: "",
	} {
		if got, hint := strayPath(path); !strings.Contains(got, want) || (got == "") != (want == "") || (hint == "") != (want == "") {
			t.Errorf("%s: %q, %q", path, got, hint)
		}
	}
}

func TestOthersMayReadSomebodyElsesFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := write(t, filepath.Join(t.TempDir(), "token"), "x")
	if err := os.Chown(path, 65534, -1); err != nil {
		t.Skip(err)
	}
	for mode, want := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := othersMayRead(info); got != want {
			t.Errorf("mode %o: %v", mode, got)
		}
	}
}
