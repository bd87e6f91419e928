package daemon

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
)

// durable are the calls of the system by which something lasting is changed. A
// commit of the queue is pwrite64 for its pages, fdatasync, pwrite64 for its
// root, and fdatasync again; a result is openat, write, fsync, renameat2 and
// fsync of its folder.
var durable = []string{"pwrite64", "fdatasync", "openat", "write", "fsync", "renameat", "renameat2", "unlinkat", "ftruncate"}

// straced skips the test where strace cannot be used, and returns the command
// that has it do something to the daemon's calls. It is the daemon that is the
// command's process, and strace a grandchild.
func straced(t *testing.T, call, inject string) []string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	return []string{"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=" + call + ":" + inject, "--"}
}

// The daemon is killed at every durable step. The kill strikes at the entry of a
// call, which then is not made; so what comes after one step is what comes
// before the next one. Each run finds what the last one left, and a scan more.
//
// The calls are counted by thread, of which few do such work: see site.start.
// (With --seccomp-bpf strace would be faster, and send no signal.)
func TestKillAtDurableStep(t *testing.T) {
	t.Parallel()
	const steps = 150 // in a round, at least
	stride := max(1, steps/(2*killsEach()))
	for range (killsEach() + steps - 1) / steps {
		for _, call := range durable {
			t.Run(call, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, 0)
				scans := 0
				for n := 1 + rand.IntN(stride); ; n += stride {
					s.drop(fmt.Sprintf("scan%d.png", scans), scans)
					scans++
					err := s.start(straced(t, call, fmt.Sprintf("signal=KILL:when=%d", n))...).Wait()
					if err == nil {
						break
					}
					if !wasKilled(err) {
						t.Fatal(err)
					}
					toll.killed(call, err)
					s.inspect(false)
				}
				s.finish(scans)
			})
		}
	}
}
