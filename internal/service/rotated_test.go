package service

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, line := range []string{"one\n", "two\n", "three\n", "longer than all of it\n", "four\n"} {
		r, err := openRotated(path, 10) // each time another process
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte("late")); err == nil {
			t.Error("a closed log is written to")
		}
	}
	for name, want := range map[string]string{path: "four\n", path + ".1": "longer than all of it\n"} {
		if got, err := os.ReadFile(name); string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
}
