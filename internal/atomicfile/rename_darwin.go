package atomicfile

import "golang.org/x/sys/unix"

func renameat(fromDir int, from string, toDir int, to string) error {
	return unix.RenameatxNp(fromDir, from, toDir, to, unix.RENAME_EXCL)
}
