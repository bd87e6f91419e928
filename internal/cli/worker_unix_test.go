//go:build unix

package cli

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

// What the service's account may not do is found out as that account, whoever asks;
// what the service manager shows it is tried past what lies above.
func TestTryAsAnotherAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another account")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	make := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open, readable, shut := make("open", 0o777), make("readable", 0o755), make("shut", 0o700)
	inside := make("shut/inside", 0o777)
	w := worker{installed: true, account: "nobody", become: true, bound: func(path string) bool { return path == inside }}
	apart := w
	apart.bound = nil
	for _, tt := range []struct {
		w     worker
		try   daemon.Try
		wrong string
	}{
		{w, daemon.Try{Path: open, Write: true}, ""},
		{w, daemon.Try{Path: readable}, ""},
		{w, daemon.Try{Path: readable, Write: true}, "permission denied"},
		{w, daemon.Try{Path: shut}, "permission denied"},
		{w, daemon.Try{Path: inside, Write: true}, ""},
		{apart, daemon.Try{Path: inside, Write: true}, "permission denied"},
		{w, daemon.Try{Path: filepath.Join(open, "nothing")}, "does not exist"},
		{worker{}, daemon.Try{Path: readable, Write: true}, ""}, // we may
	} {
		got := tt.w.try(tt.try)
		if (got.Problem == "") != (tt.wrong == "") || !strings.Contains(got.Problem, tt.wrong) || got.Path != tt.try.Path || strings.Contains(got.Problem, "/proc/") {
			t.Errorf("%+v: %+v, want %q", tt.try, got, tt.wrong)
		}
	}
	if left, err := os.ReadDir(inside); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A hold of a folder is over where the service's account can use the folder, whatever
// root can.
func TestHoldsAsAnotherAccount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another account")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := &config.Config{State: filepath.Join(dir, "state"), Folders: []config.Folder{{Path: filepath.Join(dir, "open")}, {Path: filepath.Join(dir, "shut")}}}
	q, err := daemon.OpenQueue(conf, daemon.Opening{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{} // by what they are called: whether they are over
	for name, mode := range map[string]os.FileMode{"open": 0o777, "shut": 0o755} {
		folder := filepath.Join(dir, name)
		h := queue.Hold{Cause: queue.Missing, Folder: folder, Reason: "trouble"}
		if err := errors.Join(os.Mkdir(folder, 0o700), os.Chmod(folder, mode), q.Hold(h)); err != nil {
			t.Fatal(err)
		}
		want["hold "+h.Key()] = name == "open"
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	c := &checkup{app: &app{}, conf: conf, worker: worker{installed: true, account: "nobody", become: true}}
	c.queue(nil)
	got := map[string]bool{}
	for _, f := range c.findings {
		if what, over := strings.CutSuffix(f.What, " (over: the next run lifts it)"); strings.HasPrefix(what, "hold ") {
			got[what] = over
			if f.OK != over {
				t.Errorf("%+v", f)
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("over are %v, want %v\n%+v", got, want, c.findings)
	}
}
