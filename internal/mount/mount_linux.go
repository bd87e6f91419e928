package mount

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Network names the kind of network file system that the folder lies on; ""
// if it lies on a disk of this machine, or if that cannot be told.
func Network(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	magic := int64(uint32(s.Type)) // its size and sign differ between processors
	if magic == unix.FUSE_SUPER_MAGIC {
		return remoteFUSE(dir)
	}
	return kindOf(magic)
}

// shared names the file system of the folder if it shows what others, of whom this
// system hears nothing, may change: FUSE, and what a virtual machine or a container
// has of its host.
func shared(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	kind := sharedKind(int64(uint32(s.Type)))
	if kind == "FUSE" && fuseType(dir) == "fuseblk" {
		return "" // a disk of this machine, with NTFS as a rule
	}
	return kind
}

// Numbers that the header files have not, from the sources of those file systems.
const (
	virtioFS   = 0x6a656a63 // shares FUSE's protocol, and has a number of its own on some kernels
	vboxSF     = 0x786f4256
	vmwareHGFS = 0xbacbacbc
)

func sharedKind(magic int64) string {
	switch magic {
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE"
	case virtioFS:
		return "virtiofs"
	case vboxSF:
		return "a folder of VirtualBox"
	case vmwareHGFS:
		return "a folder of VMware"
	}
	return ""
}

// kindOf names a network file system by its number; see statfs(2).
func kindOf(magic int64) string {
	switch magic {
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
	}
	return ""
}

// remoteFUSE names the program that serves the folder if it is one for remote
// ones: many lie on disks of this machine.
func remoteFUSE(dir string) string {
	switch kind := fuseType(dir); kind {
	case "fuse.sshfs", "fuse.rclone", "fuse.glusterfs", "fuse.s3fs", "fuse.smbnetfs", "fuse.davfs2", "fuse.curlftpfs", "fuse.gcsfuse", "fuse.cephfs", "fuse.juicefs":
		return kind
	}
	return ""
}

// fuseType is the type under which the folder's file system is mounted; "" if that
// cannot be told.
func fuseType(dir string) string {
	var stat unix.Stat_t
	if unix.Stat(dir, &stat) != nil {
		return ""
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return typeOf(string(table), fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev)))
}

// typeOf looks a device up in the table of mounts, whose lines
// proc_pid_mountinfo(5) describes: id, parent, device, root, mount point,
// options, optional fields, "-", type, source, options.
func typeOf(table, device string) string {
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) >= 3 && len(kind) > 0 && fields[2] == device {
			return kind[0]
		}
	}
	return ""
}
