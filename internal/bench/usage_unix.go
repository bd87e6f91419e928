//go:build unix

package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// inGroup has the command, and all that it starts, end together.
func inGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// signalGroup ends the processes of a group: at once, or as the system asks for it.
func signalGroup(cmd *exec.Cmd, atOnce bool) {
	signal := syscall.SIGTERM
	if atOnce {
		signal = syscall.SIGKILL
	}
	_ = syscall.Kill(-cmd.Process.Pid, signal) // it may have ended
}

// usage is the time that a process and those that it waited for computed, and the
// memory of the largest of them.
func usage(s *os.ProcessState) (cpu time.Duration, memory int64) {
	cpu = s.UserTime() + s.SystemTime()
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		memory = int64(u.Maxrss)
		if runtime.GOOS == "linux" {
			memory *= 1024
		}
	}
	return cpu, memory
}
