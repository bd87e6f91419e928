package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sent notes notices instead of sending them.
type sent struct {
	mu   sync.Mutex
	all  []Notice
	at   []time.Time
	fail error
}

func (s *sent) Send(_ context.Context, n Notice) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	if s.fail != nil {
		return s.fail
	}
	s.all = append(s.all, n)
	return nil
}

// tries are when something was to be sent.
func (s *sent) tries() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at)
}

func (s *sent) take() []Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// world is what a Notifier looks at.
type world struct {
	mu     sync.Mutex
	held   []Hold
	newest time.Time
	kept   []byte
	log    strings.Builder
}

func (w *world) hold(names ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = nil
	for _, n := range names {
		w.held = append(w.held, Hold{n, "because of " + n})
	}
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) config(ways ...Way) Config {
	return Config{
		Host: "desk", Ways: ways,
		Holds:  func() []Hold { w.mu.Lock(); defer w.mu.Unlock(); return w.held },
		Newest: func() (time.Time, error) { w.mu.Lock(); defer w.mu.Unlock(); return w.newest, nil },
		Open:   func() (int, error) { return 7, nil },
		Keep:   func(b []byte) error { w.mu.Lock(); defer w.mu.Unlock(); w.kept = b; return nil },
		Kept:   func() ([]byte, error) { w.mu.Lock(); defer w.mu.Unlock(); return w.kept, nil },
		Log:    slog.New(slog.NewTextHandler(w, nil)),
	}
}

// start runs a Notifier until stop is called.
func start(t *testing.T, c Config) (n *Notifier, stop func()) {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.Run(ctx)
	}()
	return n, func() {
		cancel()
		<-ended
	}
}

func fail(n *Notifier, job int) {
	n.Ended(End{Job: uint64(job), Scan: fmt.Sprintf("/scans/%d.pdf", job), State: "failed", Error: "upside down", At: time.Now()})
}

func all(s Sender) Way {
	return Way{Name: "test", Sender: s, Events: []Kind{Failed, Held, Free}, Every: 15 * time.Minute, Digest: -1}
}

// A thousand failures are one notice, those that follow are another, later.
func TestBundled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		var s sent
		n, stop := start(t, w.config(all(&s)))
		defer stop()
		for i := range 1000 {
			fail(n, i+1)
			fail(n, i+1) // told of twice
		}
		time.Sleep(time.Minute)
		got := s.take()
		if len(got) != 1 || got[0].Counts[Failed] != 1000 || len(got[0].Events) != mostEvents || got[0].More != 1000-mostEvents ||
			got[0].Title != "scandrop on desk: 1000 scans failed" {
			t.Fatalf("%d notices: %+v", len(got), got)
		}
		if text := got[0].Text(); !strings.Contains(text, "/scans/1.pdf failed (job 1): upside down") || !strings.Contains(text, "and 980 more") {
			t.Errorf("the text is %s", text)
		}
		for i := range 100 { // one every 20 s, for half an hour
			fail(n, 2000+i)
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Hour)
		sum, ids := 0, map[string]bool{}
		got = s.take()
		for _, n := range got {
			sum += n.Counts[Failed]
			ids[n.ID] = true
		}
		if len(got) < 2 || len(got) > 4 || sum != 100 || len(ids) != len(got) {
			t.Errorf("%d notices of %d failures", len(got), sum)
		}
		n.Ended(End{Job: 5000, State: "done", At: time.Now()})
		time.Sleep(time.Hour)
		if got := s.take(); len(got) != 0 {
			t.Errorf("of a scan that is done: %v", got)
		}
	})
}

// A notice that cannot be sent is tried again, ever more rarely, is kept over a
// restart, and delays nobody.
func TestNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		bad, good := sent{fail: errors.New("nobody there")}, sent{}
		other := all(&good)
		other.Name = "other"
		n, stop := start(t, w.config(all(&bad), other))
		began := time.Now()
		fail(n, 1)
		if time.Since(began) != 0 {
			t.Error("whoever tells waits")
		}
		time.Sleep(24 * time.Hour)
		fail(n, 2)
		time.Sleep(time.Minute)
		if len(good.take()) != 2 {
			t.Error("one way waits for another")
		}
		if n := len(bad.tries()); n < 20 || n > 40 {
			t.Errorf("it was tried %d times in a day", n)
		}
		stop()
		bad.fail = nil
		n, stop = start(t, w.config(all(&bad), other))
		defer stop()
		time.Sleep(time.Minute)
		if got := bad.take(); len(got) != 1 || got[0].Counts[Failed] != 2 {
			t.Errorf("after the restart: %+v", got)
		}
		time.Sleep(24 * time.Hour)
		if a, b := bad.take(), good.take(); len(a)+len(b) > 0 {
			t.Errorf("told once more: %v %v", a, b)
		}
		fail(n, 3)
		time.Sleep(time.Minute)
		if got := bad.take(); len(got) != 1 || got[0].Counts[Failed] != 1 {
			t.Errorf("the next: %+v", got)
		}
	})
}

func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		var s, failures sent
		only := all(&failures)
		only.Name, only.Events = "only", []Kind{Failed}
		_, stop := start(t, w.config(all(&s), only))
		time.Sleep(time.Minute)
		w.hold("token")
		time.Sleep(time.Minute)
		if got := s.take(); len(got) != 1 || got[0].Counts[Held] != 1 || !strings.Contains(got[0].Text(), "held, token: because of token") {
			t.Errorf("held: %+v", got)
		}
		stop()
		_, stop = start(t, w.config(all(&s), only)) // what stands is not told of again
		defer stop()
		time.Sleep(time.Hour)
		if got := s.take(); len(got) != 0 {
			t.Errorf("after the restart: %+v", got)
		}
		w.hold()
		time.Sleep(time.Minute)
		if got := s.take(); len(got) != 1 || got[0].Counts[Free] != 1 || got[0].Title != "scandrop on desk: free again" {
			t.Errorf("free again: %+v", got)
		}
		if got := failures.take(); len(got) != 0 {
			t.Errorf("told of what is not wanted: %+v", got)
		}
	})
}

func TestSilentAndDigest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		var s sent
		way := all(&s)
		way.Silent, way.Digest = 72*time.Hour, 7*time.Hour+30*time.Minute
		n, stop := start(t, w.config(way))
		defer stop()
		begun := time.Now()
		n.Ended(End{Job: 1, State: "done", Pages: 3, At: begun})
		time.Sleep(24 * time.Hour)
		got := s.take()
		if len(got) != 1 || got[0].Counts[Digest] != 1 || !strings.Contains(got[0].Text(), "1 done (3 pages), 0 failed, 0 rejected; 7 not finished") {
			t.Fatalf("the first day: %+v", got)
		}
		if at := s.tries()[0].Local(); at.Hour() != 7 || at.Minute() != 30 {
			t.Errorf("the digest comes at %v", at)
		}
		time.Sleep(47 * time.Hour)
		for _, n := range s.take() {
			if n.Counts[Silent] > 0 || !strings.Contains(n.Text(), "0 done") {
				t.Errorf("%+v", n)
			}
		}
		time.Sleep(5 * 24 * time.Hour)
		silent, digests := 0, 0
		for _, n := range s.take() {
			silent += n.Counts[Silent]
			digests += n.Counts[Digest]
		}
		if silent != 1 || digests != 5 {
			t.Errorf("in five days: %d times silent, %d digests", silent, digests)
		}
		w.mu.Lock()
		w.newest = time.Now()
		w.mu.Unlock()
		time.Sleep(71 * time.Hour)
		for _, n := range s.take() {
			if n.Counts[Silent] > 0 {
				t.Error("told too early")
			}
		}
		time.Sleep(2 * time.Hour)
		if got := s.take(); len(got) != 1 || got[0].Counts[Silent] != 1 {
			t.Errorf("silent again: %+v", got)
		}
	})
}

// A process that ends by itself sends what waits at once.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w world
		var s sent
		n, stop := start(t, w.config(all(&s)))
		fail(n, 1)
		w.hold("disk")
		stop()
		n.Flush(t.Context())
		if got := s.take(); len(got) != 1 || got[0].Counts[Failed] != 1 || got[0].Counts[Held] != 1 {
			t.Errorf("%+v", got)
		}
	})
}
