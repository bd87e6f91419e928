package daemon

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func notFolder(err error) bool {
	return errors.Is(err, windows.ERROR_DIRECTORY) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND)
}

// refusedByPrivacy is false: Windows refuses by access lists alone.
func refusedByPrivacy(error) bool { return false }

// mayWrite cannot be told without writing.
func mayWrite(string) error { return nil }

// tryLock takes the lock of a file, or returns errLocked.
func tryLock(f *os.File) error {
	const all = ^uint32(0)
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, all, all, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
