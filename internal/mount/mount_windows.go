package mount

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// Network names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func Network(dir string) string {
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

// shared names the file system of the folder if it shows what others, of whom this
// system hears nothing, may change. None is known here.
func shared(string) string { return "" }
