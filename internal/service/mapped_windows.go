package service

import (
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// unmapped returns what a folder on a mapped drive is called by everybody, or "" if
// it lies on another one. Drives that the user has mapped are known even where, as in
// a terminal of an administrator, they are not there.
func unmapped(folder string) (share string) {
	drive := filepath.VolumeName(folder)
	if len(drive) != 2 {
		return ""
	}
	root, err := windows.UTF16PtrFromString(drive + `\`)
	if err != nil {
		return ""
	}
	switch windows.GetDriveType(root) {
	case windows.DRIVE_REMOTE, windows.DRIVE_NO_ROOT_DIR:
	default:
		return ""
	}
	remote := connection(drive)
	if remote == "" {
		k, err := registry.OpenKey(registry.CURRENT_USER, `Network\`+drive[:1], registry.QUERY_VALUE)
		if err != nil {
			return ""
		}
		defer k.Close()
		if remote, _, err = k.GetStringValue("RemotePath"); err != nil {
			return ""
		}
	}
	if !strings.HasPrefix(remote, `\\`) {
		return ""
	}
	return strings.TrimRight(remote, `\`) + folder[len(drive):]
}

// connection returns the share that a drive stands for in this session, or "".
func connection(drive string) string {
	name, err := windows.UTF16PtrFromString(drive)
	if err != nil {
		return ""
	}
	get := windows.NewLazySystemDLL("mpr.dll").NewProc("WNetGetConnectionW")
	if get.Find() != nil {
		return ""
	}
	var remote [1024]uint16
	length := uint32(len(remote))
	if status, _, _ := get.Call(uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&remote[0])), uintptr(unsafe.Pointer(&length))); status != 0 {
		return ""
	}
	return windows.UTF16ToString(remote[:])
}
