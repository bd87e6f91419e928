//go:build unix

package config

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
)

// home returns the user's home folder, "" if it is not known.
func home(e Environment) string { return e.folder("HOME") }

// privileged tells whether this process works for the whole machine.
func privileged() bool { return os.Geteuid() == 0 }

// othersMayRead tells whether more people than needed may read a file. That a group may is fine where the file is not
// ours: then the group is how we read it.
func othersMayRead(info fs.FileInfo) bool {
	others := fs.FileMode(0o077)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		others = 0o007
	}
	return info.Mode()&others != 0
}

// strayPath returns why a path cannot be meant for this system, or "", with the way out.
func strayPath(path string) (text, hint string) {
	drive := len(path) > 2 && path[1] == ':' && (path[2] == '\\' || path[2] == '/')
	if drive || strings.HasPrefix(path, `\\`) {
		return "is a path of Windows", "write it as this system does, such as /srv/scans"
	}
	return "", ""
}
