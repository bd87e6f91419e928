package watcher

import (
	"errors"
	"os"
	"syscall"
)

// caseless says that names that differ only in case are the same, as on the volumes
// that macOS makes unless told otherwise.
const caseless = true

// openFlags keep a named pipe that took the place of a file from blocking the open.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

const (
	readHint = "let the user that scandrop runs as read it, and give scandrop Full Disk Access" +
		" in System Settings if it lies on the desktop, among documents or downloads, or on a share"
	instancesHint = "raise the limit of open files with launchctl limit maxfiles"
)

// notBusy returns nil: here nobody can be asked who writes a file, and the quiet time
// has to do.
func notBusy(string) error { return nil }

// watchHint says what to do about an error of watching a folder. macOS needs an open
// file for every file in it.
func watchHint(err error) string {
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return "move finished scans out of the folder, or set watch: poll"
	}
	return "set watch: poll if the folder lies on a network share"
}
