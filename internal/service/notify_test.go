//go:build unix

package service

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestManager(t *testing.T) {
	if Started(func(string) string { return "" }) != nil {
		t.Error("a manager is told of that is not there")
	}
	if err := (*Manager)(nil).Failing("nobody listens"); err != nil {
		t.Error(err)
	}
	dir, err := os.MkdirTemp("", "notify") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": strconv.Itoa(os.Getpid())}
	m := Started(func(name string) string { return env[name] })
	if m.Every() != time.Second {
		t.Errorf("every %v, want a third of the watchdog's time", m.Every())
	}
	heard := func(want string) {
		t.Helper()
		text := make([]byte, 1000)
		n, err := c.Read(text)
		if got := string(text[:n]); err != nil || got != want {
			t.Errorf("heard %q, %v; want %q", got, err, want)
		}
	}
	for _, err := range []error{m.Well(""), m.Well("token: refused\nREADY=0"), m.Failing("no\nroom")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	heard("READY=1\nWATCHDOG=1\nSTATUS=running")
	heard("READY=1\nWATCHDOG=1\nSTATUS=held: token: refused READY=0")
	heard("STATUS=failed: no room")

	env["WATCHDOG_PID"] = "1" // meant for another process
	if every := Started(func(name string) string { return env[name] }).Every(); every != often {
		t.Errorf("every %v, want %v", every, often)
	}
}
