//go:build unix

package daemon

import (
	"errors"
	"syscall"
)

func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func notFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
