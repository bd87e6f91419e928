// Package mount tells what kind of file system a folder lies on, as far as that
// decides whom to trust: network file systems do not lock and sync as a database
// needs it, and many send no events of what others change.
//
// It asks the system anew at each call, as file systems are mounted and unmounted at
// any time. All functions may be called concurrently, and block as long as the system
// does: on a share whose server is gone that may be long.
package mount

// Silent names the kind of file system that the folder lies on if events of it cannot
// be trusted: one of the network, of FUSE, or of a virtual machine's or container's
// host. It is "" if they can, or if that cannot be told.
func Silent(dir string) string {
	if kind := Network(dir); kind != "" {
		return kind
	}
	return shared(dir)
}
