//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Busy reports whether an error means that another program has the file open
// and that the operation may succeed later. It never does on this system.
func Busy(error) bool { return false }

// supported drops the errors by which file systems say that they do not know
// how to sync. ENOTTY is what the exFAT driver of some versions of macOS says:
// https://github.com/restic/restic/issues/4016.
func supported(err error) error {
	for _, no := range []error{syscall.EINVAL, syscall.ENOTSUP, syscall.ENOSYS, syscall.ENOTTY} {
		if errors.Is(err, no) {
			return nil
		}
	}
	return err
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return supported(fsync(d))
}

// Permit gives a file or folder of ours the mode, and the owner and group of
// the one that like describes, as far as we may and the file system can: FAT
// and many shares keep none of it, and an ordinary user gives nothing away.
//
// Nobody gets more than meant by that. Where the group cannot be set, members
// of the one group count as others and those of another as the group; so both
// classes keep only what both were to have.
func Permit(f *os.File, like fs.FileInfo, mode fs.FileMode) {
	want, ok := like.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	if f.Chown(int(want.Uid), int(want.Gid)) != nil {
		f.Chown(-1, int(want.Gid)) // the mode below heeds what became of it
	}
	info, err := f.Stat()
	if err != nil {
		return
	}
	if got, ok := info.Sys().(*syscall.Stat_t); !ok || got.Gid != want.Gid {
		both := mode >> 3 & mode & 0o7
		mode = mode&^0o077 | both<<3 | both
	}
	f.Chmod(mode) // a mode that stays as narrow as it was made is safe
}
