package config

import (
	"strings"
	"testing"
)

func TestStrayPath(t *testing.T) {
	for path, want := range map[string]string{
		`C:\Scans`: "", `c:/Scans`: "", `\\nas\scans\in`: "", "scans": "", `..\scans`: "",
		`\Scans`: "drive", "/srv/scans": "drive", "C:Scans": "current folder",
	} {
		if got, hint := strayPath(path); !strings.Contains(got, want) || (got == "") != (want == "") || (hint == "") != (want == "") {
			t.Errorf("%s: %q, %q", path, got, hint)
		}
	}
}

func TestCaseMakesNoOtherFolder(t *testing.T) {
	_, err := Parse("config.yaml", []byte("folders:\n- path: scans\n- path: Scans\n"), environment(t))
	if err == nil || !strings.Contains(err.Error(), "is the folder of folders[0] too") {
		t.Error(err)
	}
}
