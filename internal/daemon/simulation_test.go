//go:build unix

package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
)

var (
	seeds   = flag.Int("seeds", 40, "how many plans the simulation goes through")
	first   = flag.Int64("first", 1, "the first of them")
	oneSeed = flag.Int64("seed", 0, "the only plan that the simulation goes through, with its whole story; 0 = many")
)

// TestSimulation lets the daemon live through seeded plans of what people, the
// service and the machine can do, in virtual time: the real watcher, queue,
// uploader and client on real folders, over the sandbox. What scandrop promises
// is checked after every step; see [simulation.check].
//
// A seed makes the plan and the service's trouble. The order in which goroutines
// run within one moment is not part of it: a seed that failed may pass once when
// it is run again.
func TestSimulation(t *testing.T) {
	if *oneSeed != 0 {
		replay(t, uint64(*oneSeed))
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	var (
		total   = newFigures()
		mu      sync.Mutex
		next    atomic.Int64
		failed  atomic.Int64
		working sync.WaitGroup
		began   = time.Now()
	)
	for range runtime.GOMAXPROCS(0) {
		working.Go(func() {
			for failed.Load() < 5 {
				n := next.Add(1)
				if n > int64(*seeds) {
					return
				}
				seed := *first + n - 1
				f := simulate(t, newPlan(uint64(seed)))
				mu.Lock()
				total.add(f)
				mu.Unlock()
				if len(f.broken) > 0 {
					text := ""
					if failed.Add(1) == 1 {
						text = "\n" + f.story // it may not happen again
					}
					t.Errorf("seed %d (again with -seed %[1]d):\n%s%s", seed, strings.Join(f.broken, "\n"), text)
				}
			}
		})
	}
	working.Wait()
	t.Logf("%v\nin %v", total, time.Since(began).Round(time.Millisecond))
}

// replay goes through one plan. If a promise is broken it takes away what need
// not be in the plan for that, and tells the story of what is left.
func replay(t *testing.T, seed uint64) {
	p := newPlan(seed)
	f := simulate(t, p)
	if len(f.broken) == 0 {
		t.Logf("seed %d: %v\n%s", seed, f, f.story)
		return
	}
	for i := 0; i < len(p.steps); {
		fewer := p
		fewer.steps = slices.Delete(slices.Clone(p.steps), i, i+1)
		if less := simulate(t, fewer); len(less.broken) > 0 {
			p, f = fewer, less
		} else {
			i++
		}
	}
	t.Errorf("seed %d:\n%s\n\nthe steps that it takes:\n%v\nthe story:\n%s", seed, strings.Join(f.broken, "\n"), p, f.story)
}

// figures are what happened in one simulation, or in many.
type figures struct {
	seeds, steps, crashes, starts, scans, done, failures, uploads, requests, lagged, told int

	virtual  time.Duration
	faults   map[string]int // by call and kind
	places   map[string]int // of crashes
	broken   []string       // promises, of one simulation
	promises int            // that were broken in all of them
	losses   int            // of the queue file
	story    string
}

func newFigures() *figures { return &figures{faults: map[string]int{}, places: map[string]int{}} }

func (f *figures) add(g *figures) {
	f.seeds += g.seeds
	f.steps += g.steps
	f.crashes += g.crashes
	f.starts += g.starts
	f.scans += g.scans
	f.done += g.done
	f.failures += g.failures
	f.uploads += g.uploads
	f.requests += g.requests
	f.lagged += g.lagged
	f.told += g.told
	f.promises += g.promises
	f.losses += g.losses
	f.virtual += g.virtual
	for k, n := range g.faults {
		f.faults[k] += n
	}
	for k, n := range g.places {
		f.places[k] += n
	}
}

func (f *figures) String() string {
	var b strings.Builder
	const day = 24 * time.Hour
	fmt.Fprintf(&b, "%d seeds, %.1f virtual days, %d steps, %d scans: %d done, %d ended otherwise, %d uploads, %d requests, %d announcements taken, %d starts, %d crashes, %d queue files lost",
		f.seeds, float64(f.virtual)/float64(day), f.steps, f.scans, f.done, f.failures, f.uploads, f.requests, f.told, f.starts, f.crashes, f.losses)
	fmt.Fprintf(&b, "\n%d promises broken; %d scans paid twice where the list lagged beyond doubt", f.promises, f.lagged)
	list := func(what string, m map[string]int) {
		sum := 0
		for _, n := range m {
			sum += n
		}
		fmt.Fprintf(&b, "\n%d %s:", sum, what)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, " %s %d ·", k, m[k])
		}
	}
	list("faults", f.faults)
	list("places of crashes", f.places)
	return b.String()
}

// story is a log in virtual time.
type story struct {
	mu    sync.Mutex
	began time.Time
	text  strings.Builder
}

const longestStory = 1 << 20

func (s *story) Write(p []byte) (int, error) {
	s.tell("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.text.Len() < longestStory {
		fmt.Fprintf(&s.text, "%12v  ", time.Since(s.began).Round(time.Millisecond))
		fmt.Fprintf(&s.text, format, args...)
		s.text.WriteByte('\n')
	}
}

// shorten takes out of the daemon's log what tells nothing here.
func (s *simulation) shorten(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	if text := a.Value.String(); strings.Contains(text, s.dir) {
		a.Value = slog.StringValue(strings.ReplaceAll(text, s.dir, ""))
	}
	return a
}

// A simulation is one plan being lived through. It belongs to the goroutine of
// the plan, which acts while everybody else waits, but for what mu guards.
type simulation struct {
	plan    plan
	dir     string // holds all
	world   string // a link to the tree with the folders, which is what everybody sees
	state   string // the state folder of the next incarnation
	config  *config.Config
	box     *sandbox.Sandbox
	network http.RoundTripper
	hooks   *hooks
	story   *story
	figures *figures
	running sync.WaitGroup

	current    atomic.Pointer[incarnation]
	generation int                          // of the tree; changed by the incarnation that is killed
	in         *incarnation                 // the one that runs; nil if none does
	since      time.Time                    // when it began
	restart    time.Time                    // when the next begins
	cursed     func(op, mark string) string // trouble of a scan's own; may be nil

	arm   sync.Mutex             // held from when the next call's trouble is set until that call has begun
	armed atomic.Pointer[string] // what is set; its holder, or the call, lets go of arm
	luck  *rand.Rand             // under arm

	mu       sync.Mutex // guards what follows
	level    float64    // chance of trouble of any call
	outages  []outage
	faulted  map[string]map[string]int // by mark, what went wrong how often
	marks    map[string]string         // document → mark
	billed   map[string][]string       // mark → documents
	spent    map[string]map[string]int // mark → pages by day
	expires  map[string]time.Time      // document → when it deletes itself
	settled  map[string]*content       // by digest, what users ever wrote
	parts    map[string]string         // digests of what was sent of books → of the books
	broken   map[string]bool
	reloaded bool      // what folder a asks for has changed
	lost     time.Time // when the queue file was; zero if it was not
	copied   int       // which start made the older copy of it
	foreign  bool      // somebody else is using the account

	// What follows is the plan's own.
	digests  map[string]string   // mark → digest
	roots    map[string]string   // mark → the folder of its job
	profiles map[string]profile  // by the folder that has it
	earlier  map[string][]string // path → digests that users took away from there
	files    map[string]*file    // by path below the world: what users left there
	drops    []*drop
	edited   map[string]string    // results that users changed → what they wrote
	restless map[string]bool      // digests whose results users may have spoilt
	asked    map[string]int       // digest → how often a person asked for it to be sent again
	taken    map[string]bool      // digests that users took away from somewhere
	handled  map[string]bool      // digests that a person cancelled
	gone     map[string]time.Time // folders that are not there → when they come back
	back     map[string]time.Time
}

// An outage is trouble that befalls every call of an operation for a while.
type outage struct {
	op, action string
	until      time.Time
}

// A content is something that a user wrote, and where it has lain.
type content struct {
	n     int
	kind  string // scan, book, half, junk, empty, doomed
	from  map[string]time.Time
	quiet bool // it lay somewhere, unchanged, for long enough
}

// A file is what a user left at a path.
type file struct {
	digest string
	since  time.Time
	whole  bool
}

// A drop is a scan that a user wants to be transcribed.
type drop struct {
	path, digest string
	at           time.Time
	given        time.Time // up: removed, renamed or replaced by the user; zero if not
	copied       bool      // it is so, and will be sent all the same
}

// tempDir is a folder in memory where there is such, as every seed syncs a lot.
func tempDir() (string, error) {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		if dir, err := os.MkdirTemp("/dev/shm", "simulation"); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", "simulation")
}

// stepByStep has f lead a simulation of the plan, which has just begun.
func stepByStep(t *testing.T, p plan, f func(t *testing.T, s *simulation, began time.Time)) {
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		s := newSimulation(dir, p)
		if err := s.prepare(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.restart = began
		s.pass(began)
		f(t, s, began)
	})
}

// simulate lives through a plan.
func simulate(t *testing.T, p plan) *figures {
	dir, err := tempDir()
	if err != nil {
		t.Error(err)
		return newFigures()
	}
	defer os.RemoveAll(dir)
	var f *figures
	synctest.Test(t, func(*testing.T) { f = newSimulation(dir, p).run() })
	return f
}

func newSimulation(dir string, p plan) *simulation {
	s := &simulation{
		plan: p, dir: dir, world: filepath.Join(dir, "world"), state: filepath.Join(dir, "state0"),
		story: &story{began: time.Now()}, figures: newFigures(),
		luck: rand.New(rand.NewPCG(p.seed, 2)), level: p.level,
		faulted: map[string]map[string]int{}, marks: map[string]string{}, billed: map[string][]string{}, spent: map[string]map[string]int{}, roots: map[string]string{}, profiles: map[string]profile{},
		expires: map[string]time.Time{}, settled: map[string]*content{}, parts: map[string]string{},
		broken: map[string]bool{}, digests: map[string]string{}, earlier: map[string][]string{}, files: map[string]*file{}, edited: map[string]string{}, restless: map[string]bool{},
		asked: map[string]int{}, handled: map[string]bool{}, taken: map[string]bool{}, gone: map[string]time.Time{}, back: map[string]time.Time{},
	}
	s.hooks = &hooks{s: s, luck: rand.New(rand.NewPCG(p.seed, 3))}
	hook := ""
	if p.hooks != "" {
		hook = "https://hook.invalid/"
	}
	s.box = sandbox.New(sandbox.Options{
		Token: goodToken, Work: p.work, Latency: p.latency, Rate: p.boxRate, Burst: 4,
		WebhookURL: hook, WebhookSecret: hookSecret, HookClient: &http.Client{Transport: s.hooks},
		Engine: reader{s}, Prompts: []string{"somebody"}, OnCall: s.onCall, Log: slog.New(slog.NewTextHandler(s.story, &slog.HandlerOptions{ReplaceAttr: s.shorten})),
	})
	s.network = s.box.RoundTripper()
	return s
}

const goodToken = "good-token"

// reader reads scans as [sandbox.Plain] does, but for those that it cannot.
type reader struct{ s *simulation }

func (e reader) Read(ctx context.Context, scan sandbox.Scan) (sandbox.Reading, error) {
	if scan.Type == "image/tiff" {
		return e.s.readBook(scan)
	}
	e.s.mu.Lock()
	c := e.s.settled[scan.Digest]
	e.s.mu.Unlock()
	if c != nil && c.kind == "doomed" {
		return sandbox.Reading{}, errors.New("the page is upside down")
	}
	return sandbox.Plain{}.Read(ctx, scan)
}

// run lives through the plan, to its end and to that of all trouble.
func (s *simulation) run() *figures {
	defer s.box.Close()
	if err := s.prepare(); err != nil {
		s.violated("prepare: %v", err)
		return s.end()
	}
	began := time.Now()
	s.restart = began
	for i, step := range s.plan.steps {
		s.pass(began.Add(step.at))
		s.story.tell("--- %v", step)
		s.take(step)
		s.figures.steps++
		if i%max(s.plan.checks, 1) == 0 {
			s.check()
		}
	}
	s.finish()
	s.checkEnd()
	s.figures.virtual = time.Since(began)
	return s.end()
}

func (s *simulation) prepare() error {
	tree := filepath.Join(s.dir, "tree0")
	for _, name := range []string{"a", "b", "c", "done"} {
		if err := os.MkdirAll(filepath.Join(tree, name), 0o755); err != nil {
			return err
		}
	}
	if err := s.link(tree); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "hook-secret"), []byte(hookSecret+"\n"), 0o600); err != nil {
		return err
	}
	return s.configure()
}

// configure makes the plan's configuration the one of the next start.
func (s *simulation) configure() (err error) {
	s.config, err = config.Parse(filepath.Join(s.dir, "scandrop.yaml"), []byte(s.plan.config(s.world)), config.Environment{})
	return err
}

// reload has another configuration take effect while the daemon runs.
func (s *simulation) reload(formats string) {
	s.plan.formats, s.reloaded = formats, true
	if err := s.configure(); err != nil {
		s.violated("the configuration is refused: %v", err)
		return
	}
	if s.in == nil {
		return
	}
	c := *s.config
	c.State = s.in.daemon.Config.State
	select {
	case s.in.reload <- &c:
	case <-s.in.died:
	case <-time.After(2 * patience):
		s.violated("a new configuration does not take effect")
	}
	synctest.Wait()
}

// end stops what runs and returns the figures.
func (s *simulation) end() *figures {
	if s.in != nil {
		s.stopped()
	}
	s.running.Wait()
	s.figures.requests = 0
	for _, n := range s.box.Stats().Requests {
		s.figures.requests += n
	}
	s.figures.uploads = s.box.Stats().Uploads
	s.figures.told = s.hooks.told
	if !s.lost.IsZero() {
		s.figures.losses = 1
	}
	s.figures.seeds = 1
	s.figures.broken = slices.Sorted(maps.Keys(s.broken))
	s.figures.promises = len(s.figures.broken)
	s.figures.story = s.story.text.String()
	return s.figures
}

// pass lets time pass, starts the daemon again when its time has come, and
// returns when everybody waits.
func (s *simulation) pass(until time.Time) {
	for {
		synctest.Wait()
		if s.in != nil {
			if !s.in.alive() {
				s.in = nil
				s.restart = time.Now().Add(s.plan.downtime)
				s.check()
			} else if len(s.in.ended) > 0 {
				s.violated("the daemon ended by itself: %v", <-s.in.ended)
				s.in = nil
				s.restart = time.Now().Add(time.Minute)
			}
		}
		now := time.Now()
		s.mount(false)
		next := until
		for _, back := range s.gone {
			if back.Before(next) {
				next = back
			}
		}
		if s.in == nil && s.restart.Before(next) {
			next = s.restart
		}
		if s.in == nil && !now.Before(s.restart) {
			in, err := s.start()
			if err != nil {
				s.violated("it does not start: %v", err)
				s.restart = now.Add(time.Hour)
				continue
			}
			s.in, s.since = in, now
			s.current.Store(in)
			s.figures.starts++
			continue
		}
		if !now.Before(until) {
			return
		}
		if s.in == nil {
			time.Sleep(next.Sub(now))
			continue
		}
		wait := time.NewTimer(next.Sub(now))
		select {
		case <-wait.C:
		case <-s.in.died:
		}
		wait.Stop()
	}
}

// stopped stops the daemon as a service manager does.
func (s *simulation) stopped() {
	if s.in == nil {
		return
	}
	s.in.stop()
	select {
	case err := <-s.in.ended:
		if err != nil {
			s.violated("the daemon, told to stop, ended with: %v", err)
		}
	case <-s.in.died:
	}
	s.in = nil
}

// crashed notes a kill; it runs on whatever goroutine of the incarnation was
// killed.
func (s *simulation) crashed(where string, err error) {
	s.story.tell("!!! killed: %s", where)
	s.mu.Lock()
	s.figures.crashes++
	s.figures.places[where]++
	s.mu.Unlock()
	if err != nil {
		s.violated("the world could not be copied: %v", err)
	}
}

// violated notes a broken promise.
func (s *simulation) violated(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), s.dir, "")
	s.mu.Lock()
	seen := s.broken[text]
	s.broken[text] = true
	s.mu.Unlock()
	if !seen {
		s.story.tell("BROKEN %s", text)
	}
}

// exchange has the sandbox serve a request, with the trouble that is due.
func (s *simulation) exchange(req *http.Request, op, id, format string, mark func() string) (*http.Response, error) {
	s.arm.Lock()
	action := s.trouble(op, format)
	if id != "" {
		s.mu.Lock()
		known := s.marks[id]
		s.mu.Unlock()
		mark = func() string { return known }
	}
	if s.cursed != nil {
		action = s.cursed(op, mark())
	}
	s.box.SetTrouble(s.script(op, action))
	s.armed.Store(&action)
	resp, err := s.network.RoundTrip(req)
	if s.armed.CompareAndSwap(&action, nil) { // it never began
		s.box.SetTrouble(sandbox.Script{})
		s.arm.Unlock()
	}
	if action != "" {
		s.mu.Lock()
		s.figures.faults[op+" "+action]++
		m := mark()
		if s.faulted[m] == nil {
			s.faulted[m] = map[string]int{}
		}
		s.faulted[m][op+" "+action]++
		s.mu.Unlock()
		s.story.tell("    trouble: %s %s: %s", op, id, action)
	}
	return resp, err
}

var scripts sync.Map // op and action → sandbox.Script

func (s *simulation) script(op, action string) sandbox.Script {
	if action == "" {
		return sandbox.Script{}
	}
	line := op + " 1: " + action
	if parsed, ok := scripts.Load(line); ok {
		return parsed.(sandbox.Script)
	}
	parsed, err := sandbox.ParseScript(line)
	if err != nil {
		s.violated("a slip in the table of troubles: %v", err)
	}
	scripts.Store(line, parsed)
	return parsed
}

// onCall follows the sandbox's calls on their own goroutines.
func (s *simulation) onCall(_ int, op string, when sandbox.Moment) {
	switch when {
	case sandbox.Before:
		if s.armed.Swap(nil) != nil {
			s.arm.Unlock()
		}
	case sandbox.Made:
		if op == "upload" {
			s.documentsMade()
		}
		s.mu.Lock()
		foreign := s.foreign
		s.mu.Unlock()
		if in := s.current.Load(); in != nil && !foreign {
			in.point(op + " made")
		}
	}
}

// documentsMade notes what the service has accepted.
func (s *simulation) documentsMade() {
	now := time.Now()
	for _, d := range s.box.Documents() {
		s.mu.Lock()
		_, seen := s.expires[d.ID]
		s.expires[d.ID] = d.Expires
		mark := markOf(d.Name)
		s.marks[d.ID] = mark
		if !seen && mark != "" {
			s.billed[mark] = append(s.billed[mark], d.ID)
			if s.spent[mark] == nil {
				s.spent[mark] = map[string]int{}
			}
			s.spent[mark][now.Local().Format(time.DateOnly)] += d.Pages
		}
		c := s.settled[d.Digest]
		if whole := s.parts[d.Digest]; whole != "" {
			c = s.settled[whole]
		}
		ok := c != nil && (c.kind == "scan" || c.kind == "book" || c.kind == "doomed") && c.hadSettled(now)
		s.mu.Unlock()
		if !seen {
			s.hooks.made(d.ID)
		}
		switch {
		case seen || mark == "":
		case !ok:
			s.violated("P4: the service has accepted %.8s, which is no content of a file that had settled", d.Digest)
		case d.Expires.Sub(d.Created) != 168*time.Hour:
			s.violated("P6: document %s deletes itself after %v", d.Name, d.Expires.Sub(d.Created))
		}
	}
}

// hadSettled reports whether the content ever lay somewhere, unchanged, for
// quiet.
func (c *content) hadSettled(now time.Time) bool {
	for _, from := range c.from {
		if now.Sub(from) >= quiet {
			c.quiet = true
		}
	}
	return c.quiet
}

const quiet = 5 * time.Second

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}
