package result

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

const openFlags = os.O_RDONLY

// NoRoom reports whether an error means that the disk, or our share of it, is
// full, or that it cannot be written.
func NoRoom(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, windows.ERROR_WRITE_PROTECT)
}

// notFolder reports whether an error means that what should be a folder on the
// way to a file is none, so that there is no such file.
func notFolder(err error) bool { return errors.Is(err, windows.ERROR_DIRECTORY) }

func room(dir string) (uint64, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free, total uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, &total, nil); err != nil {
		return 0, err
	}
	if total == 0 {
		return math.MaxUint64, nil
	}
	return free, nil
}
