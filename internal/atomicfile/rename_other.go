//go:build !linux && !darwin

package atomicfile

import (
	"errors"
	"os"
)

// rename knows no way: Windows can rename without replacing, but only by paths,
// which anybody who may write in a folder can lead elsewhere meanwhile.
func rename(*os.Root, string, *os.Root, string) error { return errors.ErrUnsupported }
