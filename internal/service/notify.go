package service

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Manager is the service manager that this process was started by, as far as
// it wants to be told how the process is: systemd, and what speaks like it.
type Manager struct {
	address string
	every   time.Duration
}

// often is how often a manager is told, at least.
const often = 5 * time.Second

// Started returns the manager that started this process; nil if none, or none
// that listens, did.
func Started(getenv func(string) string) *Manager {
	address := getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	m := &Manager{address: address, every: often}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if pid := getenv("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		m.every = min(m.every, time.Duration(usec)*time.Microsecond/3)
	}
	return m
}

// Every is how often the manager wants to hear that all is well; each time, it is
// content for at least twice as long.
func (m *Manager) Every() time.Duration { return m.every }

// Well tells that the process is ready and well. held says what stands in the
// way of its work, "" if nothing does.
func (m *Manager) Well(held string) error {
	text := Running
	if held != "" {
		text = Held + ": " + held
	}
	return m.send("READY=1", "WATCHDOG=1", "STATUS="+line(text))
}

// Failing tells why the process is about to end.
func (m *Manager) Failing(why string) error {
	if m == nil {
		return nil
	}
	return m.send("STATUS=" + line(Failed+": "+why))
}

// line makes text one line.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

func (m *Manager) send(lines ...string) error {
	address := m.address
	if strings.HasPrefix(address, "@") { // of the abstract name space
		address = "\x00" + address[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	return err
}
