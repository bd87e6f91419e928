package service

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kardianos/service"
)

// A stand-in of a manager of scripts, as the library sees it.
type scriptsOf struct {
	service.Service
	script  string
	running bool
	broken  error // what asking for it fails with
}

func (s *scriptsOf) Platform() string { return "unix-systemv" }

func (s *scriptsOf) Status() (service.Status, error) {
	switch {
	case s.broken != nil:
		return service.StatusUnknown, s.broken
	case s.running:
		return service.StatusRunning, nil
	}
	return service.StatusUnknown, exec.Command("false").Run() // as "service NAME status" of one that is stopped
}

func (s *scriptsOf) Install() error   { return os.WriteFile(s.script, []byte("#!/bin/sh\n"), 0o755) }
func (s *scriptsOf) Uninstall() error { return os.Remove(s.script) }
func (s *scriptsOf) Start() error     { s.running = true; return nil }

func (s *scriptsOf) Stop() error {
	if !s.running {
		return errors.New("it is not running")
	}
	s.running = false
	return nil
}

// A service of scripts says how it is, can be installed again, and leaves nothing.
func TestScripted(t *testing.T) {
	root := t.TempDir()
	script := filepath.Join(root, "/etc/init.d/scandrop")
	link := filepath.Join(root, "/etc/rc2.d/S50scandrop")
	other := filepath.Join(root, "/etc/rc2.d/S50another")
	if err := errors.Join(os.MkdirAll(filepath.Dir(script), 0o755), os.MkdirAll(filepath.Dir(link), 0o755),
		os.Symlink(script, link), os.Symlink(filepath.Join(root, "nothing"), other)); err != nil {
		t.Fatal(err)
	}
	fake := &scriptsOf{script: script}
	m := scripted{library: library{Service: fake}, root: root}
	want := func(state string) {
		t.Helper()
		if s, err := m.status(); err != nil || s.State != state {
			t.Errorf("it is %q, %v; want %s", s.State, err, state)
		}
	}
	if _, err := m.status(); err != ErrNotInstalled {
		t.Errorf("asked for what is not installed: %v", err)
	}
	for what, err := range map[string]error{"status": second(m.status()), "start": m.start(), "stop": m.stop(), "uninstall": m.uninstall()} {
		if !errors.Is(err, ErrNotInstalled) {
			t.Errorf("%s of what is not installed: %v", what, err)
		}
	}
	if _, err := m.install(Config{Account: "anna"}); err == nil || !strings.Contains(err.Error(), "as root, and not as anna") {
		t.Errorf("an account that it cannot have: %v", err)
	}
	if _, err := m.install(Config{File: "/srv/$(reboot)/config.yaml"}); err == nil || !strings.Contains(err.Error(), `as it has '$'`) {
		t.Errorf("a name that a shell takes apart: %v", err)
	}
	for range 2 {
		if notes, err := m.install(Config{}); err != nil || !strings.Contains(strings.Join(notes, " "), "runs as root") {
			t.Error(notes, err)
		}
		want(Stopped)
	}
	if err := errors.Join(m.start(), m.start()); err != nil {
		t.Error(err)
	}
	want(Running)
	if err := errors.Join(m.stop(), m.stop()); err != nil {
		t.Error(err)
	}
	want(Stopped)
	if err := errors.Join(m.start(), m.uninstall()); err != nil {
		t.Error(err)
	}
	if fake.running {
		t.Error("it was left running")
	}
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Error("a link to it is left")
	}
	if _, err := os.Lstat(other); err != nil {
		t.Errorf("another's link: %v", err)
	}
	fake.broken = errors.New("no such program")
	if err := os.WriteFile(script, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := m.status(); err == nil {
		t.Error("what cannot be asked is called stopped")
	}
}

// The script of OpenRC is that of the packages, with other names.
func TestOpenRCScript(t *testing.T) {
	packaged := openRCScript(Config{Program: packagedProgram, File: packagedConfig, Account: Name})
	if packaged != packagedOpenRC {
		t.Error("with the names of the packages it is another")
	}
	installed := openRCScript(Config{Program: "/opt/scandrop/bin", File: "/srv/etc/c.yaml"})
	for _, line := range []string{"command=/opt/scandrop/bin\n", `"run --config /srv/etc/c.yaml"`, "command_user=root\n"} {
		if !strings.Contains(installed, line) {
			t.Errorf("it lacks %s", line)
		}
	}
	if strings.Contains(installed, packagedProgram) || strings.Contains(installed, packagedConfig) {
		t.Error("it names what the packages install")
	}
}

func second(_ Status, err error) error { return err }
