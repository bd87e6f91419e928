package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scandrop/internal/sandbox"
)

// mounted mounts a file system at the folder for as long as the test runs, and
// skips the test where that cannot be.
func mounted(t *testing.T, dir string, args ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount file systems")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted: %v, %s", err, out)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

// unmount waits while the file system is busy: a process that another test has
// just begun has, until it runs its program, all the files that we have.
func unmount(t *testing.T, dir string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		out, err := exec.Command("umount", dir).CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(out), "busy") || time.Since(began) > time.Minute {
			t.Fatalf("unmount %s: %v, %s", dir, err, out)
		}
	}
}

// remount changes how a file system is mounted.
func remount(t *testing.T, dir, options string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, dir).CombinedOutput(); err != nil {
		t.Errorf("remount %s: %v, %s", dir, err, out)
	}
}

// filler is the file that takes the room of others.
const filler = ".filler"

// fill leaves no more than some bytes free on the file system of the folder.
func fill(t *testing.T, dir string, leave int64) {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Error(err)
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, filler), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	if leave > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-leave); err != nil {
			t.Error(err)
		}
		return
	}
	// Others write and let go of some meanwhile.
	for _, bytes := range []int{1 << 16, 512} {
		for err == nil {
			_, err = f.Write(make([]byte, bytes))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		err = nil
	}
}

// empty gives the room back.
func empty(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filler)); err != nil {
		t.Error(err)
	}
}

// Before the disk of the state folder is full nothing more is sent, and status
// and log say why.
func TestStateNearlyFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	mounted(t, state, "-t", "tmpfs", "-o", "size=16m", "tmpfs")
	s := newSiteAt(t, dir, 3)
	fill(t, state, 2<<20)
	if err := s.start().Wait(); err != nil {
		t.Fatal(err)
	}
	s.inspect(false)
	if n := s.box.Stats().Uploads; n != 0 {
		t.Errorf("%d uploads", n)
	}
	s.wantHolds("disk")
	if s.said.times("cause=disk") == 0 {
		t.Error("the log does not say why")
	}
	empty(t, state)
	s.finish(3)
}

// wantHolds wants these holds to stand when the queue is opened.
func (s *site) wantHolds(keys ...string) {
	s.t.Helper()
	q, err := OpenQueue(s.config(), Opening{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	var held []string
	for _, h := range q.Holds() {
		held = append(held, h.Key())
	}
	if fmt.Sprint(held) != fmt.Sprint(keys) {
		s.t.Errorf("held: %q, want %q", held, keys)
	}
}

// unwritten is what the log says while the queue cannot be written.
const unwritten = "the queue could not be written, trying again"

// The disk of the state folder is full from one moment to the next, at every
// call that follows: the daemon lives, says so once, keeps what the service
// said, and goes on when there is room; or it is killed while it waits.
func TestStateFull(t *testing.T) {
	t.Parallel()
	const scans = 2
	for n := 1; n <= scans*4; n++ {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d killed %v", n, killed), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				state := filepath.Join(dir, "state")
				mounted(t, state, "-t", "tmpfs", "-o", "size=16m", "tmpfs")
				s := newSiteAt(t, dir, scans)
				var once sync.Once
				var full atomic.Bool
				s.onCall(func(call int, at sandbox.Moment) {
					if call == n && at == sandbox.Made {
						once.Do(func() { full.Store(true); fill(t, state, 0) })
					}
				})
				daemon := s.start()
				ended := make(chan error, 1)
				go func() { ended <- daemon.Wait() }()
				said := make(chan error, 1)
				go func() { said <- s.said.wait(t.Context(), unwritten) }()
				var err error
				select {
				case err = <-ended: // it made fewer calls
				case <-said:
					if killed {
						daemon.Process.Kill()
						<-ended
						empty(t, state)
					} else {
						empty(t, state)
						err = <-ended
					}
					full.Store(false)
				}
				if err != nil {
					t.Error(err)
				}
				if times := s.said.times(unwritten); times > 1 {
					t.Errorf("it said so %d times", times)
				}
				if full.Load() {
					empty(t, state)
				}
				s.inspect(false)
				s.finish(scans)
			})
		}
	}
}

// A hot folder has no room, no files left, or becomes read-only, before
// anything is paid for or after: it is held, nothing is uploaded for it, no half
// result gets a name, and it goes on when that is mended.
func TestFolderFull(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct {
		name       string
		make, mend func(t *testing.T, dir string)
	}{
		{"full", func(t *testing.T, dir string) { fill(t, dir, 0) }, empty},
		{"nearly full", func(t *testing.T, dir string) { fill(t, dir, 1<<20) }, empty},
		{"no files left", func(t *testing.T, dir string) {
			for n := 0; os.WriteFile(filepath.Join(dir, fmt.Sprint(filler, n)), nil, 0o600) == nil; n++ {
			}
		}, func(t *testing.T, dir string) {
			for n := 0; os.Remove(filepath.Join(dir, fmt.Sprint(filler, n))) == nil; n++ {
			}
		}},
		{"read-only", func(t *testing.T, dir string) { remount(t, dir, "ro") }, func(t *testing.T, dir string) { remount(t, dir, "rw") }},
	} {
		for call := range 3 { // 0: before the start
			t.Run(fmt.Sprintf("%s, call %d", trouble.name, call), func(t *testing.T) {
				t.Parallel()
				const scans = 3
				dir := t.TempDir()
				folder := filepath.Join(dir, "scans")
				mounted(t, folder, "-t", "tmpfs", "-o", "size=16m,nr_inodes=1000", "tmpfs")
				s := newSiteAt(t, dir, scans)
				var once sync.Once
				s.onCall(func(n int, at sandbox.Moment) {
					if n == call && at == sandbox.Made {
						once.Do(func() { trouble.make(t, folder) })
					}
				})
				if call == 0 {
					trouble.make(t, folder)
				}
				if err := s.start().Wait(); err != nil {
					t.Fatal(err)
				}
				s.inspect(false)
				if n := s.box.Stats().Uploads; call == 0 && n != 0 {
					t.Errorf("%d uploads", n)
				}
				if held := s.said.times("cause=room") > 0; !held && (trouble.name != "nearly full" || call == 0) {
					t.Error("the log does not say why")
				}
				trouble.mend(t, folder)
				s.finish(scans)
			})
		}
	}
}

// On a state folder that cannot be written nothing starts, and nothing is lost.
func TestStateReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	mounted(t, state, "-t", "tmpfs", "-o", "size=16m", "tmpfs")
	s := newSiteAt(t, dir, 3)
	remount(t, state, "ro")
	if err := s.start().Wait(); err == nil || s.said.times("read-only file system") == 0 {
		t.Errorf("it ended with %v", err)
	}
	remount(t, state, "rw")
	s.onCall(func(n int, at sandbox.Moment) {
		if n == 4 && at == sandbox.Made {
			s.kill()
		}
	})
	s.start().Wait()
	remount(t, state, "ro") // after work, with scans under way
	if err := s.start().Wait(); err == nil {
		t.Error("it worked without a queue")
	}
	remount(t, state, "rw")
	s.finish(3)
}

// The disk fails at a call, once or twice in a row, and the daemon lives on or
// ends. Where a commit may or may not have lasted it ends: to go on would be to
// build on it. Whoever starts it again loses and pays nothing.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	const uncertain = "may or may not be in the queue file"
	for _, fault := range []struct {
		call, errno string
		most        int // the last call of a thread at which it strikes
	}{
		{"fdatasync", "EIO", 12}, {"pwrite64", "EIO", 12}, {"pwrite64", "ENOSPC", 12}, {"pwrite64", "EDQUOT", 4},
		{"fsync", "EIO", 6}, {"renameat2", "EIO", 2}, {"renameat", "ENOSPC", 2},
	} {
		t.Run(fault.call+" "+fault.errno, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			scans := 0
			strikes := []int{1, 2} // at the state folder's first files
			for n := fault.most; n > 0; n-- {
				strikes = append(strikes, n)
			}
			for _, n := range strikes {
				s.drop(fmt.Sprintf("scan%d.png", scans), scans)
				scans++
				before := s.said.times(uncertain)
				when := fmt.Sprintf("error=%s:when=%d..%d", fault.errno, n, n+n%2)
				err := s.start(straced(t, fault.call, when)...).Wait()
				if s.said.times(uncertain) > before && err == nil {
					t.Error("it ended as if all were well")
				}
				s.inspect(false)
			}
			if fault.call == "fdatasync" && s.said.times(uncertain) == 0 {
				t.Error("no commit was in doubt")
			}
			s.finish(scans)
		})
	}
}

// times is how often it has the words.
func (t *transcription) times(words string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Count(t.text, []byte(words))
}

// wait returns when it has the words, or ctx's error.
func (t *transcription) wait(ctx context.Context, words string) error {
	for {
		t.mu.Lock()
		if bytes.Contains(t.text, []byte(words)) {
			t.mu.Unlock()
			return nil
		}
		if t.more == nil {
			t.more = make(chan struct{})
		}
		more := t.more
		t.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
