//go:build linux || darwin

package atomicfile

import (
	"os"
	"path/filepath"
)

// rename renames without replacing. The folders are opened below their roots
// and the names in them are plain, so nothing leads out.
func rename(from *os.Root, name string, to *os.Root, target string) error {
	fromDir, err := from.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer fromDir.Close()
	toDir, err := to.Open(filepath.Dir(target))
	if err != nil {
		return err
	}
	defer toDir.Close()
	err = renameat(int(fromDir.Fd()), filepath.Base(name), int(toDir.Fd()), filepath.Base(target))
	if err != nil {
		return &os.LinkError{Op: "rename", Old: name, New: target, Err: err}
	}
	return nil
}
