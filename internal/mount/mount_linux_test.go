package mount

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNetworkFS(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "/dev/shm", "/proc", "/no such folder"} {
		if kind := Network(dir); kind != "" {
			t.Errorf("%s lies on the network: %s", dir, kind)
		}
	}
	for kind, want := range map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB", unix.SMB_SUPER_MAGIC: "SMB",
		unix.V9FS_MAGIC: "9p", unix.CEPH_SUPER_MAGIC: "Ceph", unix.EXT4_SUPER_MAGIC: "", unix.TMPFS_MAGIC: "",
	} {
		if got := kindOf(kind); got != want {
			t.Errorf("file system %x is %q, want %q", kind, got, want)
		}
	}
	for kind, want := range map[int64]string{unix.FUSE_SUPER_MAGIC: "FUSE", vboxSF: "a folder of VirtualBox", unix.OVERLAYFS_SUPER_MAGIC: "", unix.BTRFS_SUPER_MAGIC: ""} {
		if got := sharedKind(kind); got != want {
			t.Errorf("file system %x is shared by %q, want %q", kind, got, want)
		}
	}
	for _, dir := range []string{t.TempDir(), "/dev/shm", "/no such folder"} {
		if kind := Silent(dir); kind != "" {
			t.Errorf("%s sends no events: %s", dir, kind)
		}
	}
	const table = `22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw
812 28 0:61 / /mnt/a\040b rw,nosuid shared:456 - fuse.sshfs host:/data rw,user_id=0
813 28 0:62 / /mnt/disk rw - fuseblk /dev/sdb1 rw
814 28 0:63 / /mnt/view rw master:1 propagate_from:2 - fuse.bindfs /data rw
half a line
`
	for device, want := range map[string]string{"0:61": "fuse.sshfs", "0:62": "fuseblk", "0:63": "fuse.bindfs", "0:21": "sysfs", "9:9": ""} {
		if got := typeOf(table, device); got != want {
			t.Errorf("device %s is %q, want %q", device, got, want)
		}
	}
	if _, err := os.ReadFile("/proc/self/mountinfo"); err != nil {
		t.Error(err)
	}
}
