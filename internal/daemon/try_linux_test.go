package daemon

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An account that has leave by an access list alone may write, and one that has none
// may not, also where the kernel has no faccessat2, or refuses it: there a look at the
// mode would tell the wrong thing.
func TestMayWriteByAccessList(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another account")
	}
	const nobody = 65534
	t.Chdir(t.TempDir()) // from here on, as nobody may not pass what lies above
	for _, dir := range []string{"listed", "closed"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	list := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		kind, rights uint16
		id           uint32
	}{{1, 7, ^uint32(0)}, {2, 7, nobody}, {4, 0, ^uint32(0)}, {16, 7, ^uint32(0)}, {32, 0, ^uint32(0)}} { // owner, nobody, group, mask, others
		list = binary.LittleEndian.AppendUint16(list, e.kind)
		list = binary.LittleEndian.AppendUint16(list, e.rights)
		list = binary.LittleEndian.AppendUint32(list, e.id)
	}
	if err := unix.Setxattr("listed", "system.posix_acl_access", list, 0); err != nil {
		t.Skip("this file system has no access lists: ", err)
	}
	for name, refusal := range map[string]unix.Errno{"as it is": 0, "not known": unix.ENOSYS, "not allowed": unix.EPERM} {
		t.Run(name, func(t *testing.T) {
			errs := make(chan [3]error)
			go func() {
				runtime.LockOSThread() // and never unlocked: the thread ends with this
				var all [3]error
				defer func() { errs <- all }()
				if all[0] = refuse(unix.SYS_FACCESSAT2, refusal); all[0] != nil {
					return
				}
				for _, become := range [][4]uintptr{{unix.SYS_SETGROUPS}, {unix.SYS_SETRESGID, nobody, nobody, nobody}, {unix.SYS_SETRESUID, nobody, nobody, nobody}} {
					if _, _, errno := unix.RawSyscall(become[0], become[1], become[2], become[3]); errno != 0 { // this thread alone
						all[0] = errno
						return
					}
				}
				all[1], all[2] = mayWrite("listed"), mayWrite("closed")
			}()
			all := <-errs
			if all[0] != nil {
				t.Skip("this thread cannot be confined: ", all[0])
			}
			if all[1] != nil {
				t.Errorf("with leave by an access list: %v", all[1])
			}
			if all[2] == nil {
				t.Error("without leave it may")
			}
		})
	}
}

// refuse has the kernel refuse a system call to this thread.
func refuse(call uint32, errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
