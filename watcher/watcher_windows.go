package watcher

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// caseless says that names that differ only in case are the same.
const caseless = true

const openFlags = os.O_RDONLY

const (
	readHint = "let the account that scandrop runs as read it;" +
		" a service sees no mapped drives, so give a share by its \\\\server\\share name"
	instancesHint = "set watch: poll"
)

// notBusy returns [errBusy] if somebody has the file open for writing: then it cannot
// be opened by one who shares it for reading only. It is closed at once, because while
// it is open so nobody else could begin to write.
func notBusy(path string) error {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_DELETE, nil,
		windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case errors.Is(err, windows.ERROR_SHARING_VIOLATION), errors.Is(err, windows.ERROR_LOCK_VIOLATION):
		return errBusy
	case err != nil:
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	return windows.CloseHandle(h)
}

// watchHint says what to do about an error of watching a folder.
func watchHint(error) string { return "set watch: poll if the folder lies on a network share" }
