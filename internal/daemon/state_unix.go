//go:build unix

package daemon

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func notFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// refusedByPrivacy reports whether a folder was refused as macOS does it for privacy:
// permissions refuse with EACCES.
func refusedByPrivacy(err error) bool { return errors.Is(err, syscall.EPERM) }

// mayWrite asks whether this process may write in the folder. It asks for the real
// account, which is the effective one: where the kernel cannot be asked for that, the
// mode would be read instead, and access lists forgotten.
func mayWrite(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "write in", Path: dir, Err: err}
	}
	return nil
}

// tryLock takes the lock of a file, or returns errLocked.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
