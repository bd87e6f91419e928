// Package service makes scandrop a service of the system: systemd and its like,
// launchd, the Windows service manager.
//
// What it promises on each: installing again repairs; what fails leaves nothing
// half-done; a crash, and work that dies, are followed by another start within
// seconds; a mistake in the configuration is not, where the manager can tell the
// two apart; [Config.Status] says what is, in the words of the constants below;
// the process is told to stop and has the time for it.
//
// It is the only package that knows github.com/kardianos/service, which does
// what is good enough there; docs/design.md names what is not, and is done here.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Name is the service's, on every system.
const Name = "scandrop"

const description = "Has scans in hot folders read, and puts their text next to them"

// A Config says which service is meant, and what it needs.
type Config struct {
	// Program is the executable, absolute. "" is this one.
	Program string
	// File is the configuration file that the service runs with, absolute.
	File string
	// User makes it a service of this user, where the system has such.
	User bool

	// What follows matters to Install only.

	// Account is whom the service of the machine runs as; "" is its own account.
	Account string
	// Password is the account's, where the system wants one to start a service.
	Password string
	// Folders are those that it reads and writes: hot folders, those that
	// originals are moved to, and a state folder of the configuration's own.
	Folders []string
	// Log is the file that the configuration logs to, "" if it names none.
	Log string
	// State is the state folder. On Windows, where folders give their access lists
	// on, nobody but administrators and the account is left leave to look into it.
	State string
	// Token is a file with the token that the manager may hand over, so that
	// the account need not be able to read it; "" is none. On Windows the account
	// reads it, and nobody but administrators else.
	Token string
}

// The states of a service.
const (
	Running    = "running"
	Held       = "held"       // running, and something is held; Reason says what
	Starting   = "starting"   // not ready yet
	Stopping   = "stopping"   // told to stop
	Restarting = "restarting" // it failed, and is started again in a moment
	Failed     = "failed"     // it failed, and is not started again
	Stopped    = "stopped"
)

// A Status is how a service is. Its keys are a contract.
type Status struct {
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"` // of Held, Restarting and Failed
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts,omitempty"` // after failures, since it was started
}

// ErrNotInstalled means that there is no such service.
var ErrNotInstalled = errors.New("the service is not installed")

// ErrNoManager means that the system has no service manager that we know.
var ErrNoManager = errors.New("no service manager was found on this system")

// ErrNoUserService means that the system has no services of single users.
var ErrNoUserService = errors.New("this system has no services of single users")

// A MappedError means that a folder lies on a drive that is mapped for a user who is
// logged on: a service sees none of those.
type MappedError struct {
	Folder string
	Share  string // what the folder is called everywhere
}

func (e *MappedError) Error() string {
	return e.Folder + " lies on a mapped drive, which a service does not see"
}

// Hint says what to do about it.
func (e *MappedError) Hint() string {
	return fmt.Sprintf("write '%s' in the configuration instead, and install with an account that may use that share: --account NAME --password-file FILE", e.Share)
}

// complete fills in the program.
func (c Config) complete() (Config, error) {
	if c.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return c, err
		}
		if c.Program, err = filepath.EvalSymlinks(self); err != nil {
			return c, err
		}
	}
	if !filepath.IsAbs(c.Program) || !filepath.IsAbs(c.File) {
		return c, fmt.Errorf("%s and %s must be absolute paths", c.Program, c.File)
	}
	return c, nil
}

// A backend is a service manager. The errors of all but install wrap
// [ErrNotInstalled] where there is no service.
type backend interface {
	// install makes the service anew, or as if there had been none. notes say
	// what else was done.
	install(Config) (notes []string, err error)
	uninstall() error
	start() error
	stop() error
	status() (Status, error)
	// logs says where the service's log is.
	logs() string
}

// Install installs the service, to be started with the system, and does not
// start it. Installing again repairs; if it fails, what was there before stays.
// It returns, in words, what else was done for it.
func (c Config) Install() (notes []string, err error) {
	c, err = c.complete()
	if err != nil {
		return nil, err
	}
	b, err := c.backend()
	if err != nil {
		return nil, err
	}
	return b.install(c)
}

// Uninstall stops and removes the service. Configuration, state and scans stay.
func (c Config) Uninstall() error { return c.do(backend.uninstall) }

// Start starts the service and waits until it is ready. If it is running
// already that is fine.
func (c Config) Start() error { return c.do(backend.start) }

// Stop stops the service and waits until it has ended, for as long as the system
// lets it. If it is not running that is fine.
func (c Config) Stop() error { return c.do(backend.stop) }

// Restart stops and starts it.
func (c Config) Restart() error {
	return c.do(func(b backend) error {
		if err := b.stop(); err != nil {
			return err
		}
		return b.start()
	})
}

// Status says how the service is.
func (c Config) Status() (s Status, err error) {
	err = c.do(func(b backend) error {
		s, err = b.status()
		return err
	})
	return s, err
}

// An Installation is how a service was installed.
type Installation struct {
	// Account is whom it runs as; "" is who asks, or whom nobody can tell.
	Account string
	// Lacks lists what it has no leave for, of what the Config names: folders, and the
	// token. To install again gives it that.
	Lacks []string
	// Bound reports whether the service is shown the path whatever lies above it. It
	// may be nil: none is.
	Bound func(path string) bool
}

// Installed says how the service was installed that runs with the configuration
// file; what else c says of Install is what it should have. The error wraps
// [ErrNotInstalled] where there is no service, or it runs with another file.
func (c Config) Installed() (i Installation, err error) {
	err = c.do(func(b backend) error {
		if b, ok := b.(interface {
			installed(Config) (Installation, error)
		}); ok {
			i, err = b.installed(c)
			return err
		}
		_, err = b.status()
		return err
	})
	return i, err
}

// Logs says where the service's log is, for people.
func (c Config) Logs() (where string) {
	_ = c.do(func(b backend) error {
		where = b.logs()
		return nil
	})
	return where
}

func (c Config) do(f func(backend) error) error {
	b, err := c.backend()
	if err != nil {
		return err
	}
	return f(b)
}

// Run runs work until it ends or the service manager says stop, which ends
// work's context. Started by hand, or under a manager that stops processes by
// a signal, it only calls work. Where work ends by itself under a manager that
// has to be told, the process ends, as failed if work returned an error: its
// exit status is what status makes of that.
func Run(ctx context.Context, work func(context.Context) error, status func(error) int) error {
	return run(ctx, work, status)
}
