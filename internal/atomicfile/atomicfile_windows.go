package atomicfile

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// Busy reports whether an error means that another program has the file open
// and that the operation may succeed later. Windows says "access denied" both
// for that and for what will never be allowed.
func Busy(err error) bool {
	return errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
}

func supported(err error) error { return err }

// syncDir does nothing: NTFS keeps its names in a journal, and Windows knows no
// sync of a folder.
func syncDir(*os.Root, string) error { return nil }

// Permit does nothing: on Windows a file inherits its access list from the
// folder it is made in.
func Permit(*os.File, fs.FileInfo, fs.FileMode) {}
