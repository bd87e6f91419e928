package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A lounge is a running daemon over two folders, whose service lets uploads wait.
type lounge struct {
	*testing.T
	dir    string
	reload chan *config.Config
	alive  chan []queue.Hold // filled by every beat that somebody waits for
	moved  chan queue.Job
	upload chan struct{} // an upload has arrived
	answer chan struct{} // closed: uploads are answered
	mu     sync.Mutex
	log    strings.Builder
}

func (l *lounge) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *lounge) logged(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.log.String(), text)
}

func (l *lounge) config(text string) *config.Config {
	l.Helper()
	text = "api: {url: 'http://127.0.0.1:1/api/v2', token: t, rate: 1000, burst: 100}\nstatus: {listen: ''}\n" + text
	c, err := config.Parse(filepath.Join(l.dir, "c.yaml"), []byte(text), config.Environment{})
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lounge) drop(name, scan string) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(scanOf(scan)), 0o600); err != nil {
		l.Fatal(err)
	}
}

// until waits for a move of the scan to the state.
func (l *lounge) until(name string, state queue.State) {
	for j := range l.moved {
		if filepath.Base(j.Path) == name && j.State == state {
			return
		}
	}
}

// held waits until exactly this is held; "" is nothing.
func (l *lounge) held(key string) {
	for holds := range l.alive {
		var keys []string
		for _, h := range holds {
			keys = append(keys, h.Key())
		}
		if strings.Join(keys, " ") == key {
			return
		}
	}
}

func enter(t *testing.T, first string) *lounge {
	l := &lounge{
		T: t, dir: t.TempDir(), reload: make(chan *config.Config), alive: make(chan []queue.Hold),
		moved: make(chan queue.Job, 1000), upload: make(chan struct{}, 1000), answer: make(chan struct{}),
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(l.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	box := sandbox.New(sandbox.Options{})
	t.Cleanup(func() { box.Close() })
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			l.upload <- struct{}{}
			<-l.answer
		}
		box.ServeHTTP(w, r)
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	o := Options{
		Config: l.config(first), Version: "test", Transport: serve(t, handler), Reload: l.reload,
		Alive: func(holds []queue.Hold) {
			select {
			case l.alive <- holds:
			default:
			}
		},
		AliveEvery: 1e6,
		Moved:      func(j queue.Job) { l.moved <- j },
		Log:        slog.New(slog.NewTextHandler(l, nil)),
	}
	go func() {
		_, err := Run(ctx, o)
		ended <- err
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l
}

const fast = ", watch: poll, rescan: 20ms, quiet: 1ms"

// A reload while a scan is on the wire: it comes to its end, although its folder
// is gone; what waits there is held, and what lies in the new one is taken.
func TestReload(t *testing.T) {
	t.Parallel()
	l := enter(t, "state: state\nworkers: 1\nfolders: [{path: a"+fast+"}]")
	l.drop("a/wire.gif", "on the wire")
	<-l.upload
	l.drop("a/waits.gif", "it waits")
	l.until("waits.gif", queue.Queued)

	l.reload <- l.config("state: state\nworkers: 1\nfolders: [{path: b" + fast + "}]")
	l.held("removed:" + filepath.Join(l.dir, "a"))
	l.drop("b/new.gif", "in the new folder")
	l.until("new.gif", queue.Queued)
	close(l.answer)
	l.until("wire.gif", queue.Done)
	l.until("new.gif", queue.Done)
	if _, err := os.Stat(filepath.Join(l.dir, "a", "wire.txt")); err != nil {
		t.Error(err)
	}

	l.reload <- l.config(fmt.Sprintf("state: state\nworkers: 1\nlog: {level: debug}\nfolders: [{path: b%s}, {path: a%s}]", fast, fast))
	l.held("")
	l.until("waits.gif", queue.Done)
	if n := 1 + len(l.upload); n != 3 {
		t.Errorf("%d uploads of 3 scans", n)
	}
	if !l.logged("these keys take effect at the next start") || !l.logged("keys=log") {
		t.Error("the log does not say that log waits for a restart")
	}
}

// More workers, and another pace, take effect at once.
func TestReloadPace(t *testing.T) {
	t.Parallel()
	l := enter(t, "state: state\nworkers: 1\nfolders: [{path: a"+fast+"}]")
	l.drop("a/first.gif", "on the wire")
	<-l.upload
	l.drop("a/second.gif", "it waits for a worker")
	l.until("second.gif", queue.Queued)
	l.reload <- l.config("state: state\nworkers: 2\nfolders: [{path: a" + fast + "}]")
	<-l.upload // while the first has no answer yet
	close(l.answer)
	l.until("second.gif", queue.Done)
	if l.logged("these keys take effect at the next start") {
		t.Error("it waits for a restart")
	}
}

// A new folder that cannot be used is said, also before a scan lies in it.
func TestReloadUnusable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("only where permissions bind us")
	}
	l := enter(t, "state: state\nfolders: [{path: a"+fast+"}]")
	close(l.answer)
	if err := os.Chmod(filepath.Join(l.dir, "b"), 0o555); err != nil {
		t.Fatal(err)
	}
	l.reload <- l.config("state: state\nfolders: [{path: a" + fast + "}, {path: b" + fast + "}]")
	for !l.logged("a folder cannot be used as it is") {
		<-l.alive
	}
}

// What hangs is left to itself, and told when it has come to its end.
func TestInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := 0
		if !inTime(func() { time.Sleep(hangTime - 1) }, func() { late++ }) {
			t.Error("it came in time")
		}
		if inTime(func() { time.Sleep(3 * hangTime) }, func() { late += 10 }) {
			t.Error("it hung")
		}
		time.Sleep(3 * hangTime)
		if synctest.Wait(); late != 10 {
			t.Errorf("late: %d", late)
		}
	})
}

// One that cannot take the old one's place is refused, and changes nothing.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	l := enter(t, "state: state\nfolders: [{path: a"+fast+"}]")
	close(l.answer)
	l.reload <- l.config("state: elsewhere\nfolders: [{path: b" + fast + "}]")
	l.drop("a/scan.gif", "the old configuration goes on")
	l.drop("b/scan2.gif", "nobody looks here")
	l.until("scan.gif", queue.Done)
	if !l.logged("the new configuration is refused") {
		t.Error("the log does not say that it was refused")
	}
	if _, err := os.Stat(filepath.Join(l.dir, "elsewhere")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the other state folder was made")
	}
}
