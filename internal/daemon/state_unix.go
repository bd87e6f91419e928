//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"
)

func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func notFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// refusedByPrivacy reports whether a folder was refused as macOS does it for privacy:
// permissions refuse with EACCES.
func refusedByPrivacy(err error) bool { return errors.Is(err, syscall.EPERM) }

// tryLock takes the lock of a file, or returns errLocked.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
