package daemon

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// networkFS names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func networkFS(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	switch uint32(s.Type) {
	case unix.NFS_SUPER_MAGIC:
		return "NFS"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "SMB"
	case unix.V9FS_MAGIC:
		return "9p"
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "AFS"
	case unix.CEPH_SUPER_MAGIC:
		return "Ceph"
	case unix.CODA_SUPER_MAGIC:
		return "Coda"
	case unix.FUSE_SUPER_MAGIC:
		return remoteFUSE(dir)
	}
	return ""
}

// remoteFUSE looks up which program serves the folder: many that do lie on
// disks of this machine.
func remoteFUSE(dir string) string {
	var stat unix.Stat_t
	if unix.Stat(dir, &stat) != nil {
		return ""
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	device := deviceOf(stat.Dev)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// proc_pid_mountinfo(5): id parent major:minor root mount-point options optional… - type source super-options
		before, after, _ := strings.Cut(lines.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 3 || len(kind) == 0 || fields[2] != device {
			continue
		}
		switch kind[0] {
		case "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs", "fuse.smbnetfs", "fuse.davfs2", "fuse.curlftpfs", "fuse.gcsfuse", "fuse.cephfs", "fuse.juicefs":
			return kind[0]
		}
	}
	return ""
}

func deviceOf(dev uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
}
