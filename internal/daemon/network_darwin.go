package daemon

import "golang.org/x/sys/unix"

// networkFS names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func networkFS(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Flags&unix.MNT_LOCAL != 0 {
		return ""
	}
	return unix.ByteSliceToString(s.Fstypename[:])
}
