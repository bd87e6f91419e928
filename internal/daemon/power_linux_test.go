package daemon

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"scandrop/internal/sandbox"
)

// A machine is a disk that can lose its power: an ext4 in a file.
type machine struct {
	t          *testing.T
	image, dir string
}

// newMachine skips the test where there can be none.
func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount file systems")
	}
	for _, program := range []string{"mkfs.ext4", "xfs_io", "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	m := &machine{t: t, image: filepath.Join(t.TempDir(), "disk.img"), dir: filepath.Join(t.TempDir(), "disk")}
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(m.image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	m.do("mkfs.ext4", "-q", m.image)
	if err := m.mount(); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	t.Cleanup(func() { unmount(t, m.dir) })
	return m
}

// mount tries again where another test took the loop device that was free a
// moment ago.
func (m *machine) mount() (err error) {
	for range 10 {
		var out []byte
		if out, err = exec.Command("mount", "-o", "loop", m.image, m.dir).CombinedOutput(); err == nil {
			return nil
		}
		err = fmt.Errorf("mount: %w, %s", err, out)
	}
	return err
}

func (m *machine) do(program string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v, %s", program, err, out)
	}
}

// sync brings to the disk what is not the daemon's to sync: the scans.
func (m *machine) sync() {
	m.t.Helper()
	dir, err := os.Open(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		m.t.Fatal(err)
	}
}

// cut cuts the power: nothing is written any more, not even what was to be.
func (m *machine) cut() error {
	out, err := exec.Command("xfs_io", "-x", "-c", "shutdown", m.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w, %s", err, out)
	}
	return nil
}

// boot starts the machine again, once nothing runs on it.
func (m *machine) boot() {
	m.t.Helper()
	unmount(m.t, m.dir)
	if err := m.mount(); err != nil {
		m.t.Fatal(err)
	}
}

// The power is cut before every sync, and at every call of the service: what
// was never synced is gone. Nothing is lost, paid twice or left behind.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	t.Run("at calls", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		s := newSiteAt(t, m.dir, 0)
		scans := 0
		for call := 1; call <= 12; call++ {
			moment := sandbox.Moment(rand.IntN(3))
			for range 2 {
				s.drop(fmt.Sprintf("scan%d.png", scans), scans)
				scans++
			}
			m.sync()
			var mu sync.Mutex
			calls, over := 0, false // over: what the service says later is of a daemon that has ended
			s.onCall(func(_ int, at sandbox.Moment) {
				mu.Lock()
				defer mu.Unlock()
				if at != moment || over {
					return
				}
				if calls++; calls == call {
					if err := m.cut(); err != nil {
						t.Error(err)
					}
					s.kill()
				}
			})
			err := s.start().Wait()
			mu.Lock()
			over = true
			mu.Unlock()
			toll.cut("at calls", err)
			m.boot()
			s.inspect(false)
		}
		s.finish(scans)
	})
	for _, call := range []string{"fdatasync", "fsync"} {
		t.Run("at "+call, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			s := newSiteAt(t, m.dir, 0)
			scans := 0
			for n := 1; ; n++ {
				s.drop(fmt.Sprintf("scan%d.png", scans), scans)
				scans++
				m.sync()
				by, _ := traced(t, strike{call, n})
				err := s.start(by...).Wait()
				if err == nil {
					break
				}
				if !wasKilled(err) {
					t.Fatal(err)
				}
				if err := m.cut(); err != nil {
					t.Fatal(err)
				}
				toll.cut("at "+call, err)
				m.boot()
				s.inspect(false)
			}
			s.finish(scans)
		})
	}
}

// The positive control: where the queue's syncs, or all of them, are not made and
// only said to be, a cut loses what was built on them, and the audit finds it. Of
// a queue that is lost alone much is rebuilt, so that one is looked at before.
func TestPowerCutWithoutSync(t *testing.T) {
	t.Parallel()
	for _, calls := range []string{"fdatasync", "fdatasync,fsync"} {
		t.Run(calls, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			s := newSiteAt(t, m.dir, 8)
			m.sync()
			if err := s.start(straced(t, calls, "retval=0")...).Wait(); err != nil {
				t.Fatal(err)
			}
			if a := s.audit(false); len(a.found) > 0 {
				t.Errorf("before the cut: %v", a.found)
			}
			if err := m.cut(); err != nil {
				t.Fatal(err)
			}
			m.boot()
			a := &audit{scans: 8}
			if calls == "fdatasync" {
				s.auditQueue(a)
			} else {
				s.start().Wait()
				a = s.audit(true)
			}
			if a.lost+a.paidTwice+a.half == 0 {
				t.Error("the audit finds nothing wrong, though nothing was synced: it is blind")
			}
			t.Logf("found, as it must: %q", a.found)
		})
	}
}

// cut counts a power cut, if the daemon's end says that it was one.
func (t *tally) cut(where string, err error) {
	if t.killed("power "+where, err) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.cuts++
	}
}
