//go:build unix && !darwin

package watcher

import (
	"errors"
	"os"
	"syscall"
)

// caseless says that names that differ only in case are the same.
const caseless = false

// openFlags keep a named pipe that took the place of a file from blocking the open.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

const (
	readHint      = "let the user that scandrop runs as read it"
	instancesHint = "raise fs.inotify.max_user_instances with sysctl"
)

// notBusy returns nil: here nobody can be asked who writes a file, and the quiet time
// has to do.
func notBusy(string) error { return nil }

// watchHint says what to do about an error of watching a folder.
func watchHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return RaiseHint(0)
	case errors.Is(err, syscall.EMFILE):
		return instancesHint
	}
	return "set watch: poll if the folder lies on a network share"
}
