package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
	if traces() {
		return
	}
	path := os.Getenv(asDaemon)
	if path == "" {
		flag.Parse()
		given := false
		flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
		if !given { // most tests wait for a daemon, which mostly waits
			flag.Set("test.parallel", fmt.Sprint(4*runtime.GOMAXPROCS(0)))
		}
		status := m.Run()
		if line := toll.String(); line != "" {
			fmt.Println(line)
		}
		os.Exit(status)
	}
	verify := verifyApart
	if os.Getenv(verifiesItself) != "" {
		verify = verifyHere
	}
	c, err := config.Load(path, config.Environment{})
	if err == nil {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		largest, _ := strconv.ParseInt(os.Getenv(sendsWhole), 10, 64)
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		_, err = Run(ctx, Options{Config: c, Once: os.Getenv(staysDaemon) == "", Version: "test", Verify: verify, Log: log, Largest: largest})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(statusFailed)
	}
}

// statusFailed is the exit status of a daemon that ends with an error. It is not
// 1, which is that of one that is killed on Windows.
const statusFailed = 3

// wasKilled reports whether a daemon ended by a kill, and not by an error of its
// own.
func wasKilled(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && (status.Signal() == syscall.SIGKILL || runtime.GOOS == "windows" && status.ExitStatus() == 1)
}

// staysDaemon keeps that daemon running until it is told to stop.
const staysDaemon = "SCANDROP_TEST_STAYS"

// sendsWhole is the size of the largest scan that the daemon sends whole.
const sendsWhole = "SCANDROP_TEST_LARGEST"

// verifiesItself keeps the daemon from starting another process.
const verifiesItself = "SCANDROP_TEST_VERIFIES_ITSELF"

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
	server *httptest.Server
	active connections
	engine *engine
	call   atomic.Value // a callback, told of every call of the API; they count from 1
	daemon atomic.Pointer[exec.Cmd]

	largest int64 // scan that is sent whole; 0 is the usual

	said    transcription // what the daemons said on standard error
	damaged bool          // the test damages the queue file itself
}

func newSite(t *testing.T, scans int) *site { return newSiteAt(t, t.TempDir(), scans) }

// newSiteAt is newSite in a folder that is there.
func newSiteAt(t *testing.T, dir string, scans int) *site {
	s := &site{t: t, dir: dir, engine: &engine{read: map[string]int{}}}
	s.onCall(func(int, sandbox.Moment) {})
	s.box = sandbox.New(sandbox.Options{Engine: s.engine, OnCall: func(n int, _ string, when sandbox.Moment) {
		s.call.Load().(callback)(n, when)
	}})
	s.server = httptest.NewUnstartedServer(s.box)
	s.server.Config.ConnState = s.active.note
	s.server.Start()
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
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
`, s.server.URL)
	if err := os.WriteFile(filepath.Join(s.dir, "c.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// connections are those to the service on which a request is being served.
type connections struct {
	mu     sync.Mutex
	active map[net.Conn]bool
	fewer  chan struct{} // closed when there are; nil while nobody waits
}

// note is [http.Server.ConnState].
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if state == http.StateActive {
		if c.active == nil {
			c.active = map[net.Conn]bool{}
		}
		c.active[conn] = true
		return
	}
	delete(c.active, conn)
	if c.fewer != nil {
		close(c.fewer)
		c.fewer = nil
	}
}

// quiet returns when nothing is being served.
func (c *connections) quiet() {
	for {
		c.mu.Lock()
		if len(c.active) == 0 {
			c.mu.Unlock()
			return
		}
		if c.fewer == nil {
			c.fewer = make(chan struct{})
		}
		fewer := c.fewer
		c.mu.Unlock()
		<-fewer
	}
}

// configure adds lines about the hot folder to the configuration.
func (s *site) configure(lines string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "c.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(lines)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// A transcription is what was written to it.
type transcription struct {
	mu   sync.Mutex
	text []byte
	more chan struct{} // closed when there is more; nil while nobody waits
}

func (t *transcription) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
	return len(p), nil
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

// scans is the hot folder.
func (s *site) scans() string { return filepath.Join(s.dir, "scans") }

// config is the daemon's configuration.
func (s *site) config() *config.Config {
	s.t.Helper()
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// start starts the daemon, by the command that is given to do so, if any. What the
// one before it had sent is served before: a service that is at it for longer than
// doubt is beyond what is promised, and a machine may be so busy that it is.
func (s *site) start(by ...string) *exec.Cmd {
	s.t.Helper()
	if last := s.daemon.Load(); last != nil && last.ProcessState != nil {
		s.server.CloseClientConnections()
		s.active.quiet()
	}
	args := append(by, os.Args[0])
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), asDaemon+"="+filepath.Join(s.dir, "c.yaml"))
	if s.largest > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", sendsWhole, s.largest))
	}
	if len(by) > 0 { // what is done to the daemon must not be done to another process
		cmd.Env = append(cmd.Env, verifiesItself+"=1", "GOMAXPROCS=1")
	}
	cmd.Stderr = io.MultiWriter(s.t.Output(), &s.said)
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

// outlive waits for the end of a daemon, reports whether it was a kill, which is
// counted under where, and wants no other error.
func (s *site) outlive(daemon *exec.Cmd, where string) (killed bool) {
	s.t.Helper()
	err := daemon.Wait()
	if err != nil && !wasKilled(err) {
		s.t.Fatalf("the daemon was to be killed, and ended with %v", err)
	}
	return toll.killed(where, err)
}

// finish runs the daemon to its end and holds what is there against what was
// promised.
func (s *site) finish(scans int) {
	s.t.Helper()
	s.onCall(func(int, sandbox.Moment) {})
	if err := s.start().Wait(); err != nil {
		s.t.Fatalf("the last run: %v", err)
	}
	s.judge(scans)
}

// judge holds what is there after the end of all work against what was promised.
func (s *site) judge(scans int) {
	s.t.Helper()
	if n := s.inspect(true); n != scans {
		s.t.Errorf("%d scans lie there, want %d", n, scans)
	}
	for _, what := range []string{"spool", partsFolder} {
		if left, _ := os.ReadDir(filepath.Join(s.dir, "state", what)); len(left) > 0 {
			s.t.Errorf("%d files are left in the state folder under %s", len(left), what)
		}
	}
}

// inspect says what audit finds, and returns how many scans there are.
func (s *site) inspect(atEnd bool) (scans int) {
	s.t.Helper()
	a := s.audit(atEnd)
	for _, fault := range a.found {
		s.t.Error(fault)
	}
	if atEnd && !s.damaged {
		toll.add(a)
	}
	return a.scans
}

// An audit is what was found to be otherwise than promised.
type audit struct {
	scans                             int
	lost, paidTwice, leftBehind, half int
	found                             []string
}

func (a *audit) fault(n *int, format string, args ...any) {
	if n != nil {
		*n++
	}
	a.found = append(a.found, fmt.Sprintf(format, args...))
}

// audit holds what lies on the disk and at the service against what was
// promised. Some of it must hold at any moment: no scan is paid for twice, and
// what has the name of a result is whole and right. The rest must hold at the
// end.
func (s *site) audit(atEnd bool) *audit {
	s.t.Helper()
	a := &audit{}
	results, there := map[string]string{}, map[string]bool{} // path → digest of its scan; path
	err := filepath.WalkDir(s.scans(), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && d.Name() == "lost+found" {
				return filepath.SkipDir
			}
			return err
		}
		if filepath.Ext(path) == ".pdf" {
			a.scans++
			base := strings.TrimSuffix(path, ".pdf")
			results[base+".txt"], results[base+".json"] = bigScan, bigScan
			for n := range bigPages {
				if times := s.engine.times(pageOf(n + 1)); times > 1 {
					a.fault(&a.paidTwice, "page %d of %s was uploaded %d times", n+1, path, times)
				}
			}
			return nil
		}
		if filepath.Ext(path) != ".png" {
			there[path] = true
			return nil
		}
		a.scans++
		content, err := os.ReadFile(path)
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		base := strings.TrimSuffix(path, ".png")
		results[base+".txt"], results[base+".json"] = digest, digest
		if n := s.engine.times(digest); n > 1 {
			a.fault(&a.paidTwice, "%s was uploaded %d times", path, n)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for path, digest := range results {
		content, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if atEnd {
				a.fault(&a.lost, "%s is missing", path)
			}
		case err != nil:
			s.t.Error(err)
		case !whole(filepath.Ext(path), content, digest):
			a.fault(&a.half, "%s is not whole, or another's: %d bytes", path, len(content))
		}
		delete(there, path)
	}
	for path := range there {
		// After the queue was lost a result that it knew is a stranger's, and
		// comes once more, under the next name.
		usual := strings.Replace(path, ".png.", ".", 1)
		if digest, again := results[usual]; s.damaged && again {
			if content, err := os.ReadFile(path); err == nil && whole(filepath.Ext(path), content, digest) {
				continue
			}
		}
		if atEnd || !strings.HasPrefix(filepath.Base(path), ".") {
			a.fault(&a.leftBehind, "%s was left behind", path)
		}
	}
	if damaged, _ := filepath.Glob(filepath.Join(s.dir, "state", asidePrefix+"*")); len(damaged) > 0 && !s.damaged {
		a.fault(nil, "the queue file was damaged: %v", damaged)
	}
	if atEnd {
		s.auditQueue(a)
		if left := len(s.box.Documents()); left > 0 {
			a.fault(&a.leftBehind, "%d documents are left at the service", left)
		}
	}
	return a
}

// auditQueue has every job done, and no hold.
func (s *site) auditQueue(a *audit) {
	s.t.Helper()
	c := s.config()
	if _, err := queue.Verify(QueuePath(c)); err != nil {
		a.fault(nil, "%v", err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		a.fault(&a.lost, "%v", err)
		return
	}
	defer q.Close()
	jobs := 0
	for j, err := range q.All(queue.Filter{}) {
		jobs++
		if s.damaged && j.State == queue.Rejected && strings.Contains(j.Error, "lie beside it already") {
			continue // its end was lost with the queue file; audit looks at its results
		}
		if err != nil || j.State != queue.Done {
			a.fault(&a.lost, "job %d is %s (%s), %v", j.ID, j.State, j.Error, err)
		}
	}
	if jobs != a.scans && !s.damaged {
		a.fault(&a.lost, "%d jobs for %d scans", jobs, a.scans)
	}
	for _, h := range q.Holds() {
		a.fault(nil, "%s is held: %s", h.Key(), h.Reason)
	}
}

// An engine says what scans contain: so much that it is not written at once. It
// counts how often each was uploaded, which is what is paid for.
type engine struct {
	mu    sync.Mutex
	read  map[string]int // digest, or page, → times
	fails string         // the page that it fails with
}

func (e *engine) Read(_ context.Context, scan sandbox.Scan) (sandbox.Reading, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if scan.Type == "application/pdf" {
		return e.readPages(scan)
	}
	e.read[scan.Digest]++
	return sandbox.Reading{Pages: []string{transcript(scan.Digest)}}, nil
}

func (e *engine) times(digest string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.read[digest]
}

// transcript is what the engine reads in a scan: 98 KB.
func transcript(digest string) string { return strings.Repeat(digest+"\n", 1500) + "the end" }

// whole reports whether a result is all of what the service makes of a scan.
func whole(ext string, content []byte, digest string) bool {
	if digest == bigScan {
		return wholeBig(ext, content)
	}
	if ext == ".txt" {
		return string(content) == "=== **Page: 1 of 1**\n\n"+transcript(digest)+"\n"
	}
	var document struct {
		Results []struct{ Transcript string }
	}
	err := json.Unmarshal(content, &document)
	return err == nil && len(document.Results) == 1 && document.Results[0].Transcript == transcript(digest)
}

// kills is how often the daemon is killed, all loops together, more or less.
var kills = flag.Int("kills", 100, "how often to kill the daemon, about")

// killsEach is about how often each of the loops does it.
func killsEach() int { return max(1, *kills/3) }

// toll counts what all loops did to how many scans, and what it cost.
var toll tally

type tally struct {
	mu    sync.Mutex
	kills map[string]int // where → times
	cuts  int            // of the power, which are kills, too
	notes string         // what more there is to say
	audit
}

func (t *tally) add(a *audit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scans += a.scans
	t.lost += a.lost
	t.paidTwice += a.paidTwice
	t.leftBehind += a.leftBehind
	t.half += a.half
}

// killed counts a kill, if the error of the daemon's end says that it was one.
func (t *tally) killed(where string, err error) bool {
	if err == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kills == nil {
		t.kills = map[string]int{}
	}
	t.kills[where]++
	return true
}

// String is the line that sums it all up.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all, places := 0, slices.Sorted(maps.Keys(t.kills))
	for i, where := range places {
		all += t.kills[where]
		places[i] = fmt.Sprintf("%s %d", where, t.kills[where])
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%d kills, %d of them power cuts (%s), %d scans: lost %d, paid twice %d, left behind %d, half results %d%s",
		all, t.cuts, strings.Join(places, ", "), t.scans, t.lost, t.paidTwice, t.leftBehind, t.half, t.notes)
}

// The daemon is killed before, in the middle of and after every call that it
// makes: whatever happened on either side, the scan is uploaded once, its
// results are there and its remote copy is gone.
func TestKillAtEveryCall(t *testing.T) {
	t.Parallel()
	moments := []sandbox.Moment{sandbox.Before, sandbox.Made, sandbox.After}
	scans := max(1, killsEach()/len(moments)/4) // each is four calls
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
				s.outlive(s.start(), "calls") // or done, if it makes fewer
				s.finish(scans)
			})
		}
	}
}

// The daemon is killed again and again at random calls, in the middle of a
// larger lot of work.
func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	const scans, most = 40, 25 // kills, until most of that work is done
	each := min(most, killsEach())
	for round := range killsEach() / each {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			s := newSite(t, scans)
			all := scans
			if round%2 == 0 { // with a copy of each, and one that is divided
				s.configure("  spool: true\n")
				s.dropBig("big.pdf")
				all++
			}
			for range each {
				left := int64(1 + random.IntN(12))
				when := sandbox.Moment(random.IntN(3))
				var n atomic.Int64
				s.onCall(func(_ int, at sandbox.Moment) {
					if at == when && n.Add(1) == left {
						s.kill()
					}
				})
				s.outlive(s.start(), "random calls")
				s.inspect(false)
			}
			s.finish(all)
		})
	}
}

// The daemon is killed at random times, whatever it is at: between calls it looks
// at scans, copies and divides them, commits, joins and writes results, makes
// snapshots. The times are within what the last lot of the same work took, all its
// lives together, so that they fit the machine; the first lot is left alone. Each
// lot has a site of its own, as some of that is done in a site's first lives alone.
func TestKillAtRandomTime(t *testing.T) {
	t.Parallel()
	const scans, most = 4, 25
	each := min(most, killsEach())
	for range killsEach() / each {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var took time.Duration
			for killed, lot := 0, 0; killed < each; lot++ {
				s := newSite(t, scans)
				if lot%2 == 1 {
					s.configure("  spool: true\n")
				}
				s.dropBig("big.pdf")
				whole := took
				took = 0
				for alive := false; !alive; {
					daemon := s.start()
					began := time.Now()
					if whole > 0 {
						time.AfterFunc(time.Duration(random.Int64N(int64(whole))), func() { daemon.Process.Kill() })
					}
					alive = !s.outlive(daemon, "random times")
					took += time.Since(began)
					if !alive {
						killed++
						s.inspect(false)
					}
				}
				s.judge(scans + 1)
			}
		})
	}
}

// A person who stops a daemon with work on the wire loses nothing either.
func TestStopAndGoOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, 6)
	c := s.config()
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
