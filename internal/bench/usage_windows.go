package main

import (
	"os"
	"os/exec"
	"time"
)

// inGroup changes nothing: the contenders are those of Linux.
func inGroup(*exec.Cmd) {}

// signalGroup ends a process.
func signalGroup(cmd *exec.Cmd, _ bool) { _ = cmd.Process.Kill() }

// usage is the time that a process computed.
func usage(s *os.ProcessState) (cpu time.Duration, memory int64) {
	return s.UserTime() + s.SystemTime(), 0
}
