//go:build unix

package result

import (
	"errors"
	"os"
	"syscall"
)

// openFlags keep a named pipe that took the place of a file from blocking the
// open.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// NoRoom reports whether an error means that the disk, or our share of it, is
// full, or that it cannot be written.
func NoRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// notFolder reports whether an error means that what should be a folder on the
// way to a file is none, so that there is no such file.
func notFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
