package service

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

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
	l, err := newLibrary(c, scriptLog(manager.String()), service.KeyValue{
		"Restart":      "on-failure",
		"OpenRCScript": openRCScript(c),
	})
	return scripted{library: l}, err
}

// scriptLog says where what a service prints is found.
func scriptLog(manager string) string {
	switch manager {
	case "linux-openrc":
		return "/var/log/scandrop.log"
	case "linux-procd":
		return "the system's log (logread -e scandrop)"
	case "linux-upstart":
		return "/var/log/upstart/scandrop.log"
	}
	return "/var/log/scandrop.err"
}

// The script of the packages, for the account that they make.
//
//go:embed openrc/scandrop
var packagedOpenRC string

// openRCScript is that script for c. The library's own knows no account, no umask, no
// reload and no end of restarts.
func openRCScript(c Config) string {
	account := c.Account
	if account == "" {
		account = "root"
	}
	return strings.NewReplacer(
		"command="+packagedProgram, "command="+c.Program,
		packagedConfig, c.File,
		"command_user="+Name, "command_user="+account,
	).Replace(packagedOpenRC)
}

// nameable returns an error if a name is one that the shells which read the scripts
// would take apart.
func nameable(names ...string) error {
	for _, name := range names {
		for _, r := range name {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-@+:,=", r) {
				return fmt.Errorf("a script cannot name %q, as it has %q: give it another name", name, r)
			}
		}
	}
	return nil
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
	if err := nameable(c.Program, c.File, c.Account); err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	if c.Account != "" && m.Platform() != "linux-upstart" && m.Platform() != "linux-openrc" {
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
		return Status{}, ErrNotInstalled
	}
	s, err := m.library.status()
	if _, ended := errors.AsType[*exec.ExitError](err); ended || errors.Is(err, ErrNotInstalled) {
		return Status{State: Stopped}, nil // it is installed: what failed says that it does not run
	}
	return s, err
}
