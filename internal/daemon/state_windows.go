package daemon

import (
	"errors"

	"golang.org/x/sys/windows"
)

func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func notFolder(err error) bool {
	return errors.Is(err, windows.ERROR_DIRECTORY) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND)
}
