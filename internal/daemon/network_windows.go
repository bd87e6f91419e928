package daemon

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// networkFS names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func networkFS(dir string) string {
	volume := filepath.VolumeName(dir)
	if strings.HasPrefix(volume, `\\`) && !strings.HasPrefix(volume, `\\?\`) && !strings.HasPrefix(volume, `\\.\`) || strings.HasPrefix(strings.ToUpper(volume), `\\?\UNC\`) {
		return "a share"
	}
	root, err := windows.UTF16PtrFromString(volume + `\`)
	if err != nil || windows.GetDriveType(root) != windows.DRIVE_REMOTE {
		return ""
	}
	return "a mapped drive"
}
