package uploader

import (
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/queue"
)

// TestQueueUnwritable has the disk refuse every write from the moment at which
// the service has answered an upload. What it said is not forgotten.
//
// The refusal is that of the process's limits, so it gets one of its own.
func TestQueueUnwritable(t *testing.T) {
	const child = "SCANDROP_TEST_UNWRITABLE"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestQueueUnwritable$")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
			t.Error(err)
		}
	}
	defer limit(before.Cur)
	synctest.Test(t, func(t *testing.T) {
		uploads := 0
		b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
			uploads++
			resp, err := documented[opUpload].to(req, true)
			limit(0)
			return resp, err
		})})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		time.AfterFunc(time.Hour, func() { limit(before.Cur) })
		began := time.Now()
		if j = b.step(queue.Upload); j.State != queue.Processing || j.Document != document || uploads != 1 {
			t.Errorf("it is %s (%q) after %d uploads", j.State, j.Document, uploads)
		}
		if waited := time.Since(began); waited < time.Hour || waited > time.Hour+time.Minute {
			t.Errorf("reported after %v", waited)
		}
		if said := strings.Count(b.log.String(), "could not be written"); said < 1 || said > 61 {
			t.Errorf("the log tells of it %d times in an hour", said)
		}
	})
}
