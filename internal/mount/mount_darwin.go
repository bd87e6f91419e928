package mount

import "golang.org/x/sys/unix"

// Network names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func Network(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Flags&unix.MNT_LOCAL != 0 {
		return ""
	}
	return unix.ByteSliceToString(s.Fstypename[:])
}

// shared names the file system of the folder if it shows what others, of whom this
// system hears nothing, may change. None is known here.
func shared(string) string { return "" }
