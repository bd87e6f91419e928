package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/kardianos/service"
)

// backend is systemd, or whatever the library finds: OpenRC, SysV, rcS, Upstart,
// procd. Those have no services of single users.
func (c Config) backend() (backend, error) {
	manager := service.ChosenSystem()
	switch {
	case manager == nil:
		return nil, ErrNoManager
	case manager.String() == "linux-systemd":
		return newSystemd(c.User), nil
	case c.User:
		return nil, ErrNoUserService
	}
	l, err := newLibrary(c, "the system's log (syslog)", service.KeyValue{
		"Restart": "on-failure",
	})
	return scripted{library: l}, err
}

// scripted is a service manager of scripts, as the library knows it, but for what
// that gets wrong: it takes a service that is stopped for an error, and leaves links
// to what it has removed.
type scripted struct {
	library
	root string // before every path; "" but for tests
}

// scripts are where the library writes what the managers read.
var scripts = []string{"/etc/init.d/" + Name, "/etc/init/" + Name + ".conf"}

func (m scripted) there() bool {
	for _, path := range scripts {
		if _, err := os.Stat(filepath.Join(m.root, path)); err == nil {
			return true
		}
	}
	return false
}

func (m scripted) install(c Config) (notes []string, err error) {
	if os.Geteuid() != 0 && m.root == "" {
		return nil, fmt.Errorf("install: %w", fs.ErrPermission)
	}
	if c.Account != "" && m.Platform() != "linux-upstart" {
		return nil, fmt.Errorf("install: scripts for %s start a service as root, and not as %s", m.Platform(), c.Account)
	}
	notes, err = m.library.install(c)
	if err == nil && c.Account == "" {
		notes = append(notes, "it runs as root: on a system without systemd it has no account of its own")
	}
	return notes, err
}

func (m scripted) uninstall() error {
	if !m.there() {
		return fmt.Errorf("uninstall: %w", ErrNotInstalled)
	}
	if s, err := m.status(); err == nil && s.State == Running {
		if err := m.library.stop(); err != nil {
			return err
		}
	}
	if err := m.err("uninstall", m.Uninstall()); err != nil {
		return err
	}
	for _, pattern := range []string{"S[0-9][0-9]" + Name, "K[0-9][0-9]" + Name} {
		links, err := filepath.Glob(filepath.Join(m.root, "/etc/rc*.d", pattern))
		if err != nil {
			return err
		}
		for _, link := range links {
			if _, err := os.Stat(link); errors.Is(err, fs.ErrNotExist) {
				if err := os.Remove(link); err != nil {
					return fmt.Errorf("uninstall: %w", err)
				}
			}
		}
	}
	return nil
}

func (m scripted) start() error {
	if !m.there() {
		return fmt.Errorf("start: %w", ErrNotInstalled)
	}
	return m.library.start()
}

func (m scripted) stop() error {
	switch s, err := m.status(); {
	case err != nil:
		return fmt.Errorf("stop: %w", err)
	case s.State == Stopped:
		return nil
	}
	return m.library.stop()
}

func (m scripted) status() (Status, error) {
	if !m.there() {
		return Status{}, fmt.Errorf("ask for the service with %s: %w", m.Platform(), ErrNotInstalled)
	}
	s, err := m.library.status()
	if _, ended := errors.AsType[*exec.ExitError](err); ended || errors.Is(err, ErrNotInstalled) {
		return Status{State: Stopped}, nil // it is installed: what failed says that it does not run
	}
	return s, err
}
