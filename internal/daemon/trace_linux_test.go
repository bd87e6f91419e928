package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asTracer makes the test binary run the daemon under ptrace(2), as the
// [tracing] that it holds says. asTraced makes the daemon stop at what interests
// the tracer, and nowhere else.
const (
	asTracer = "SCANDROP_TEST_TRACER"
	asTraced = "SCANDROP_TEST_TRACED"
)

// A tracing is what a tracer does. strace can kill at the n-th call, too, but
// counts by thread, and a goroutine is now on this one, now on that.
type tracing struct {
	strike
	Log string // the file that gets the steps of the daemon, a line each
}

// A strike is a kill at the entry of the Nth step of that name, which then is not
// made. The name is a lasting call and its file, with # for what differs from file to
// file of one kind, or a call alone, whatever its file. The zero value does not kill.
type strike struct {
	Step string
	N    int
}

func (s strike) String() string { return fmt.Sprintf("%s, %d", s.Step, s.N) }

// traced returns the command that has the daemon be struck, and a function that
// returns the names of the steps that it took up to there.
func traced(t *testing.T, s strike) (by []string, steps func() []string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "steps")
	spec, err := json.Marshal(tracing{s, log})
	if err != nil {
		t.Fatal(err)
	}
	return []string{"env", asTracer + "=" + string(spec), os.Args[0]}, func() []string {
		t.Helper()
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	}
}

// A lasting call of the system is one by which what is on the disk is changed, or
// brought there.
type lasting struct {
	name  string
	file  int  // the argument that is the file
	named bool // that is its folder, and the next one its name
}

var lastingCalls = map[uint64]lasting{
	unix.SYS_WRITE: {name: "write"}, unix.SYS_PWRITE64: {name: "pwrite64"}, unix.SYS_SENDFILE: {name: "sendfile"},
	unix.SYS_COPY_FILE_RANGE: {name: "copy_file_range", file: 2}, unix.SYS_SPLICE: {name: "splice", file: 2},
	unix.SYS_FTRUNCATE: {name: "ftruncate"}, unix.SYS_FALLOCATE: {name: "fallocate"},
	unix.SYS_FSYNC: {name: "fsync"}, unix.SYS_FDATASYNC: {name: "fdatasync"},
	unix.SYS_FCHMOD: {name: "fchmod"}, unix.SYS_FCHOWN: {name: "fchown"},
	unix.SYS_OPENAT: {name: "openat", named: true}, unix.SYS_MKDIRAT: {name: "mkdirat", named: true},
	unix.SYS_LINKAT: {name: "linkat", named: true}, unix.SYS_UNLINKAT: {name: "unlinkat", named: true},
	unix.SYS_RENAMEAT: {name: "renameat", named: true}, unix.SYS_RENAMEAT2: {name: "renameat2", named: true},
}

// numbers are what names of files differ in, though the files are of one kind.
var numbers = regexp.MustCompile(`[0-9a-f]{16,}|[0-9]+`)

// A syscallInfo is what ptrace(2) calls struct ptrace_syscall_info, at the entry of
// a call.
type syscallInfo struct {
	_    [24]byte // where it is called from
	nr   uint64
	args [6]uint64
	_    uint64
}

// traces runs the program that the arguments name under a [tracing] and ends as it
// does, if this process is there to do so. If it is that program it says no, but
// does its part.
func traces() bool {
	if os.Getenv(asTraced) != "" {
		if err := stopAtLasting(); err != nil {
			panic(err)
		}
	}
	spec := os.Getenv(asTracer)
	if spec == "" {
		return false
	}
	status, err := func() (unix.WaitStatus, error) {
		var tr tracing
		if err := json.Unmarshal([]byte(spec), &tr); err != nil {
			return 0, err
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(os.Getenv(asDaemon)))
		if err != nil {
			return 0, err
		}
		os.Unsetenv(asTracer)
		os.Setenv(asTraced, "1")
		return tr.run(dir)
	}()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(statusFailed)
	case status.Signaled():
		unix.Kill(os.Getpid(), status.Signal())
	}
	os.Exit(status.ExitStatus())
	return true
}

// stopAtLasting has all threads of the process stop for its tracer at the entry of
// lasting calls.
func stopAtLasting() error {
	const load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: load}} // the number of the call
	for nr := range lastingCalls {
		filter = append(filter, unix.SockFilter{Code: equal, Jf: 1, K: uint32(nr)}, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_TRACE})
	}
	filter = append(filter, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ALLOW})
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	return nil
}

// run traces the daemon whose files lie in dir until it has ended.
func (tr tracing) run(dir string) (status unix.WaitStatus, err error) {
	runtime.LockOSThread() // it is the thread that traces
	p, err := os.StartProcess(os.Args[1], os.Args[1:], &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return 0, err
	}
	if _, err := unix.Wait4(p.Pid, &status, unix.WALL, nil); err != nil {
		return 0, err
	}
	if err := unix.PtraceSetOptions(p.Pid, unix.PTRACE_O_TRACESECCOMP|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, err
	}
	var steps bytes.Buffer
	defer func() { err = errors.Join(err, os.WriteFile(tr.Log, steps.Bytes(), 0o600)) }()
	times := 0
	for thread := p.Pid; ; {
		if status.Stopped() {
			pass := status.StopSignal()
			if status.TrapCause() == unix.PTRACE_EVENT_SECCOMP && !(tr.N > 0 && times == tr.N) {
				if step, call := entered(thread, dir); step != "" {
					fmt.Fprintln(&steps, step)
					if tr.Step == step || tr.Step == call {
						times++
					}
					if tr.N > 0 && times == tr.N {
						unix.Kill(p.Pid, unix.SIGKILL)
					}
				}
			}
			if pass == unix.SIGTRAP || pass == unix.SIGSTOP { // it is the tracing's
				pass = 0
			}
			if err := unix.PtraceCont(thread, int(pass)); err != nil && err != unix.ESRCH {
				return 0, err
			}
		}
		if thread, err = unix.Wait4(-1, &status, unix.WALL, nil); err != nil {
			return 0, err
		}
		if thread == p.Pid && (status.Exited() || status.Signaled()) {
			return status, nil
		}
	}
}

// entered returns the step that a thread begins, and its call: they are empty where
// there is nothing to change below dir.
func entered(thread int, dir string) (step, call string) {
	var info syscallInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return "", ""
	}
	c := lastingCalls[info.nr]
	path := ""
	if fd := int32(info.args[c.file]); fd != unix.AT_FDCWD {
		path, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", thread, fd))
	}
	if c.named {
		if name := textAt(thread, info.args[c.file+1]); filepath.IsAbs(name) {
			path = name
		} else {
			path = filepath.Join(path, name)
		}
		_, err := os.Lstat(path)
		changes := err == nil
		switch c.name {
		case "openat":
			changes = changes && info.args[2]&unix.O_TRUNC != 0 || !changes && info.args[2]&unix.O_CREAT != 0
		case "mkdirat":
			changes = !changes
		}
		if !changes {
			return "", ""
		}
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return "", ""
	}
	return c.name + " " + numbers.ReplaceAllString(rel, "#"), c.name
}

// textAt is the text at an address of the thread's.
func textAt(thread int, address uint64) string {
	var text []byte
	for part := make([]byte, 64); len(text) < unix.PathMax; {
		n, err := unix.PtracePeekData(thread, uintptr(address)+uintptr(len(text)), part)
		if end := bytes.IndexByte(part[:n], 0); end >= 0 {
			return string(append(text, part[:end]...))
		}
		text = append(text, part[:n]...)
		if err != nil || n == 0 {
			break
		}
	}
	return string(text)
}
