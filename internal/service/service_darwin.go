package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/kardianos/service"
)

// backend is launchd, with our own description of the service: the library's is
// started again after a clean end, and not at the system's start.
func (c Config) backend() (backend, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	logs := "/Library/Logs/scandrop"
	domain := "system"
	if c.User {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		logs = filepath.Join(home, "Library", "Logs", "scandrop")
		domain = "gui/" + strconv.Itoa(os.Getuid())
	}
	l, err := newLibrary(c, filepath.Join(logs, "scandrop.log"), service.KeyValue{
		"UserService":   c.User,
		"LaunchdConfig": plistFor(c, logs),
	})
	return launchd{l, domain, logs}, err
}

// launchd is the library, but for what it says of a service's state.
type launchd struct {
	library
	domain string
	logDir string
}

func (l launchd) install(c Config) ([]string, error) {
	if !c.User && os.Geteuid() != 0 {
		return nil, fmt.Errorf("install: %w", fs.ErrPermission)
	}
	if err := os.MkdirAll(l.logDir, 0o755); err != nil {
		return nil, err
	}
	if c.Account != "" && !c.User {
		if err := own(l.logDir, c.Account); err != nil {
			return nil, fmt.Errorf("install: %w", err)
		}
	}
	notes, err := l.library.install(c)
	if err == nil {
		notes = append(notes, "macOS asks for leave before a program reads Documents, Desktop, Downloads or a network volume: "+
			"if a hot folder lies there, add "+c.Program+" under System Settings, Privacy & Security, Full Disk Access")
	}
	return notes, err
}

// own gives a folder to an account: launchd opens the log as that.
func own(dir, account string) error {
	u, err := user.Lookup(account)
	if err != nil {
		return err
	}
	uid, err := id(u.Uid)
	if err != nil {
		return err
	}
	return os.Chown(dir, int(uid), -1)
}

// status asks launchd: the library takes a service that waits to be started again
// for one that is stopped.
func (l launchd) status() (Status, error) {
	out, err := exec.Command("launchctl", "print", l.domain+"/"+Name).Output()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return l.library.status() // not loaded: stopped, or not installed
	}
	if err != nil {
		return Status{}, err
	}
	return launchdStatus(string(out)), nil
}

// installed reads in the description of a service of the machine whom it runs as.
func (l launchd) installed(Config) (i Installation, err error) {
	if _, err := l.status(); err != nil || l.domain != "system" {
		return i, err
	}
	text, err := os.ReadFile("/Library/LaunchDaemons/" + Name + ".plist")
	if err != nil {
		return i, err
	}
	i.Account = plistAccount(string(text))
	return i, nil
}

var launchdLine = regexp.MustCompile(`(?m)^\t(state|pid|runs|last exit code|last terminating signal) = (.*)$`)

// launchdStatus reads what "launchctl print" says of a service.
func launchdStatus(printed string) Status {
	p := map[string]string{}
	for _, m := range launchdLine.FindAllStringSubmatch(printed, -1) {
		p[m[1]] = strings.TrimSpace(m[2])
	}
	s := Status{State: Stopped}
	s.PID, _ = strconv.Atoi(p["pid"]) // none is 0
	signal, crashed := p["last terminating signal"]
	code := p["last exit code"]
	failed := crashed || code != "" && code != "0" && !strings.HasPrefix(code, "(")
	switch {
	case p["state"] == "running":
		s.State = Running
	case failed:
		s.State = Restarting
		s.Reason = "it ended with status " + code
		if crashed {
			s.Reason = "it was ended by signal " + signal
		}
	}
	return s
}
