package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// groupCPU is the time that the processes of the command's group have computed, those
// that have ended and were waited for among them.
func groupCPU(cmd *exec.Cmd) time.Duration {
	const ticks = 100 // a second
	var all int64
	eachOf(cmd, func(_ string, fields []string) {
		for _, f := range fields[11:15] { // user, system, and those of children
			n, _ := strconv.ParseInt(f, 10, 64)
			all += n
		}
	})
	return time.Duration(all) * time.Second / ticks
}

// groupMemory is the anonymous memory of the processes of the command's group, in bytes.
func groupMemory(cmd *exec.Cmd) (all int64) {
	eachOf(cmd, func(dir string, _ []string) { all += anonymous(dir) })
	return all
}

// anonymous is RssAnon of a process: what is not mapped from files.
func anonymous(dir string) int64 {
	text, _ := os.ReadFile(filepath.Join(dir, "status")) // one that has ended has none
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
			return n * 1024
		}
	}
	return 0
}

// eachOf calls f for each process of the command's group, with its folder in /proc and
// the fields of its stat that follow the name.
func eachOf(cmd *exec.Cmd, f func(dir string, fields []string)) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		text, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, rest, ok := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if ok && len(fields) > 15 && fields[2] == strconv.Itoa(cmd.Process.Pid) {
			f(dir, fields)
		}
	}
}
