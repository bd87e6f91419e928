package daemon

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// asDaemon is the environment variable that makes the test binary run as the
// daemon, once, with the configuration that it names.
const asDaemon = "SCANDROP_TEST_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(asVerifier); path != "" {
		if err := verifyHere(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	path := os.Getenv(asDaemon)
	if path == "" {
		os.Exit(m.Run())
	}
	c, err := config.Load(path, config.Environment{})
	if err == nil {
		_, err = Run(context.Background(), Options{Config: c, Once: true, Version: "test", Verify: verifyApart})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// asVerifier makes the test binary verify the queue file that it names.
const asVerifier = "SCANDROP_TEST_VERIFY"

// verifyApart has a process of its own read the file, as the command line does.
func verifyApart(path string) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asVerifier+"="+path)
	if out, err := cmd.Output(); err != nil {
		return fmt.Errorf("%w: %s, %v", queue.ErrDamaged, out, err)
	}
	return nil
}

// A site is a hot folder with a service of its own and a daemon that is a
// process of its own.
type site struct {
	t      *testing.T
	dir    string
	box    *sandbox.Sandbox
	call   atomic.Value // a callback, told of every call of the API; they count from 1
	daemon atomic.Pointer[exec.Cmd]
}

func newSite(t *testing.T, scans int) *site {
	s := &site{t: t, dir: t.TempDir()}
	s.onCall(func(int, sandbox.Moment) {})
	s.box = sandbox.New(sandbox.Options{OnCall: func(n int, _ string, when sandbox.Moment) {
		s.call.Load().(callback)(n, when)
	}})
	server := httptest.NewServer(s.box)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		s.box.Close()
	})
	for i := range scans {
		s.drop(fmt.Sprintf("sub%d/scan%d.png", i%3, i), i)
	}
	text := fmt.Sprintf(`
api: {url: "%s/api/v2", token: secret, rate: 1000, burst: 1000, doubt: 1s}
state: state
folders:
- path: scans
  formats: [txt, json]
  quiet: 10ms
`, server.URL)
	if err := os.WriteFile(filepath.Join(s.dir, "c.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

type callback func(n int, when sandbox.Moment)

func (s *site) onCall(f callback) { s.call.Store(f) }

// drop makes a scan whose content depends on n alone.
func (s *site) drop(name string, n int) {
	s.t.Helper()
	path := filepath.Join(s.dir, "scans", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	picture := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range 10 {
		picture.SetGray(i, n%32, color.Gray{Y: uint8(n * (i + 1))})
	}
	picture.SetGray(31, 31, color.Gray{Y: uint8(n / 256)})
	if err := png.Encode(f, picture); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the daemon.
func (s *site) start() *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asDaemon+"="+filepath.Join(s.dir, "c.yaml"))
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.daemon.Store(cmd)
	return cmd
}

// kill kills the daemon that runs now, at this very instruction of the
// service's.
func (s *site) kill() {
	if cmd := s.daemon.Load(); cmd != nil {
		cmd.Process.Kill()
	}
}

// finish runs the daemon to its end and holds what is there against what was
// promised.
func (s *site) finish(scans int) {
	s.t.Helper()
	s.onCall(func(int, sandbox.Moment) {})
	if err := s.start().Wait(); err != nil {
		s.t.Fatalf("the last run: %v", err)
	}
	stats := s.box.Stats()
	results := 0
	err := filepath.WalkDir(filepath.Join(s.dir, "scans"), func(path string, d os.DirEntry, err error) error {
		switch ext := filepath.Ext(path); {
		case err != nil || d.IsDir() || ext == ".png":
		case ext != ".txt" && ext != ".json" || strings.HasPrefix(d.Name(), "."):
			s.t.Errorf("%s was left behind", path)
		default:
			results++
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if stats.Uploads != scans || results != 2*scans || len(s.box.Documents()) != 0 {
		s.t.Errorf("%d scans: %d uploads, %d results, %d documents left; want %d, %d, 0",
			scans, stats.Uploads, results, len(s.box.Documents()), scans, 2*scans)
	}
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		s.t.Fatal(err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	for j, err := range q.All(queue.Filter{}) {
		if err != nil || j.State != queue.Done {
			s.t.Errorf("job %d is %s (%s), %v", j.ID, j.State, j.Error, err)
		}
	}
}

// The daemon is killed before, in the middle of and after every call that it
// makes: whatever happened on either side, the scan is uploaded once, its
// results are there and its remote copy is gone.
func TestKillAtEveryCall(t *testing.T) {
	t.Parallel()
	const scans = 2
	moments := []sandbox.Moment{sandbox.Before, sandbox.Made, sandbox.After}
	for n := 1; n <= scans*4+2; n++ {
		for _, when := range moments {
			t.Run(fmt.Sprintf("call %d moment %d", n, when), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, scans)
				var once sync.Once
				s.onCall(func(call int, at sandbox.Moment) {
					if call == n && at == when {
						once.Do(s.kill)
					}
				})
				s.start().Wait() // killed, or done if it makes fewer calls
				s.finish(scans)
			})
		}
	}
}

// The daemon is killed again and again at random calls, in the middle of a
// larger lot of work.
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	const scans, kills = 40, 25
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t, scans)
	for range kills {
		left := int64(1 + random.IntN(12))
		when := sandbox.Moment(random.IntN(3))
		var n atomic.Int64
		s.onCall(func(_ int, at sandbox.Moment) {
			if at == when && n.Add(1) == left {
				s.kill()
			}
		})
		s.start().Wait()
	}
	s.finish(scans)
}

// A person who stops a daemon with work on the wire loses nothing either.
func TestStopAndGoOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, 6)
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	s.onCall(func(n int, when sandbox.Moment) {
		if n == 5 && when == sandbox.Made {
			stop()
		}
	})
	if _, err := Run(ctx, Options{Config: c, Once: true}); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() == nil {
		t.Fatal("it was never told to stop")
	}
	s.finish(6)
}
