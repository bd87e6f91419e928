package uploader

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// working is how long the sandbox works on a scan in these tests: 2 to 5 s.
func working(d sandbox.Document) time.Duration {
	b, _ := hex.DecodeString(d.Digest[:2])
	return 2*time.Second + time.Duration(b[0])*3*time.Second/255
}

// inMemory keeps the test's files in memory where the system offers that: these tests
// make tens of thousands of transactions, and what they are about is not the disk.
func inMemory(t *testing.T) {
	const memory = "/dev/shm"
	if dir, err := os.MkdirTemp(memory, "scandrop"); err == nil {
		os.Remove(dir)
		t.Setenv("TMPDIR", memory)
	}
}

// A run of many scans, and what it took.
type paced struct {
	refused, early, requests int // 429, 202, all
	took                     time.Duration
	last                     time.Duration // that the service worked on the scan that it got last
}

func (p paced) String() string {
	return fmt.Sprintf("%3d requests, %2d of them 202, %2d of them 429, %v", p.requests, p.early, p.refused, p.took.Round(100*time.Millisecond))
}

// measure says what it took to see all scans through that are done.
func (b *bench) measure(sb *sandbox.Sandbox) paced {
	b.t.Helper()
	var p paced
	for call, n := range sb.Stats().Requests {
		p.requests += n
		switch call.Status {
		case http.StatusTooManyRequests:
			p.refused += n
		case http.StatusAccepted:
			p.early += n
		}
	}
	var first, last queue.Job
	for _, j := range b.jobs() {
		if first.ID == 0 || j.Added.Before(first.Added) {
			first = j
		}
		if j.Uploaded.After(last.Uploaded) {
			last = j
		}
		if j.Finished.Sub(first.Added) > p.took {
			p.took = j.Finished.Sub(first.Added)
		}
	}
	p.last = working(sandbox.Document{Digest: hex.EncodeToString(last.Content[:])})
	return p
}

// wantAllDone wants nothing to be left, or to have come to nothing.
func (b *bench) wantAllDone() {
	b.t.Helper()
	for _, j := range b.jobs() {
		if j.State != queue.Done {
			b.t.Errorf("%s is %s: %s", j.Path, j.State, j.Error)
		}
	}
}

func (b *bench) dropMany(n int) {
	b.t.Helper()
	for i := range n {
		b.drop(fmt.Sprintf("scan%03d.gif", i), scan(fmt.Sprint("number ", i)), transcribe)
	}
}

// The requests that 60 scans with one format need at the least, and how long the
// service's limit, or our own rate, makes them take.
const scans, needed = 60, 3 * 60

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func bucketFloor(burst int) time.Duration { return seconds(float64(needed-burst) / 2) }

// Windows that are used up are waited for to their end; the rest goes at our own rate.
func windowFloor(quota int, own float64) time.Duration {
	return time.Duration(needed/quota)*time.Minute + seconds(float64(needed%quota)/own)
}

// TestPaceTable sees 60 scans through against every kind of limit.
func TestPaceTable(t *testing.T) {
	inMemory(t)
	type test struct {
		name    string
		options sandbox.Options
		rate    float64
		floor   time.Duration
	}
	var tests []test
	for _, own := range []float64{2, 50} {
		for _, burst := range []int{1, 2, 5, 10} {
			tests = append(tests, test{fmt.Sprintf("bucket 2 a second, burst %d", burst),
				sandbox.Options{Rate: 2, Burst: burst}, own, bucketFloor(burst)})
		}
		for _, quota := range []int{120, 30} {
			for announce, what := range []string{
				sandbox.AnnounceWait: "", sandbox.AnnounceLeft: ", X-RateLimit", sandbox.AnnounceAll: ", X-RateLimit with Reset",
			} {
				tests = append(tests, test{fmt.Sprintf("windows of %d a minute%s", quota, what),
					sandbox.Options{Quota: quota, Window: time.Minute, Announce: sandbox.Announce(announce)}, own, windowFloor(quota, own)})
			}
		}
	}
	for _, tt := range tests {
		name := fmt.Sprintf("rate %g, %s", tt.rate, tt.name)
		t.Run(name, func(t *testing.T) {
			most, slack := 3, 1.10
			if tt.rate > 2 {
				most, slack = 12, 1.25
			}
			switch tt.options.Announce { // who is told need not find out
			case sandbox.AnnounceLeft:
				most = 3
			case sandbox.AnnounceAll:
				most = 0
			}
			runs := 1
			if tt.rate > 2 && tt.options.Rate > 0 {
				runs = 3 // which of the workers goes first decides where the pace is refused: the middle one counts
			}
			var over []float64 // by how much each run took longer than the floor
			for range runs {
				synctest.Test(t, func(t *testing.T) {
					options := tt.options
					options.Work, options.Latency = working, 60*time.Millisecond
					sb := newSandbox(t, options)
					b := newBench(t, setup{transport: sb.RoundTripper(), pace: hwocr.NewPace(tt.rate, 4)})
					b.dropMany(scans)
					b.drain()
					b.wantAllDone()
					p := b.measure(sb)
					floor := tt.floor + p.last
					over = append(over, p.took.Seconds()/floor.Seconds())
					t.Logf("%-52s %v, floor %v, %+.1f %%", name, p, floor.Round(100*time.Millisecond), 100*(p.took.Seconds()/floor.Seconds()-1))
					if p.refused > most {
						t.Errorf("%d answers of 429, at most %d wanted", p.refused, most)
					}
					wantLeft(t, sb, 0)
				})
			}
			slices.Sort(over)
			if middle := over[runs/2]; middle > slack {
				t.Errorf("took %.3f times the floor, at most %g wanted", middle, slack)
			}
		})
	}
}

// TestPaceRestart kills the process in the middle. The next one knows the pace from
// what was kept when it last changed, and is refused no more than the first would be.
func TestPaceRestart(t *testing.T) {
	inMemory(t)
	const perSecond = 50
	for _, tt := range []struct {
		name    string
		options sandbox.Options
		floor   time.Duration
		refused int // of the second process, at most
	}{
		{"bucket", sandbox.Options{Rate: 2, Burst: 5}, bucketFloor(5), 4},
		{"windows", sandbox.Options{Quota: 30, Window: time.Minute}, windowFloor(30, perSecond), 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.options.Work, tt.options.Latency = working, 60*time.Millisecond
				sb := newSandbox(t, tt.options)
				pace := hwocr.NewPace(perSecond, 4)
				b := newBench(t, setup{transport: sb.RoundTripper(), pace: pace})
				b.dropMany(scans)
				var kept hwocr.PaceState
				changes := 0
				stop := b.run()
				for b.counts()[queue.Done] < scans/3 { // as the daemon does
					select {
					case <-pace.Changed():
						kept = pace.State()
						changes++
					case <-time.After(time.Second):
					}
				}
				stop()
				before := b.measure(sb)
				if changes*3 > before.requests {
					t.Errorf("%d changes with %d requests", changes, before.requests)
				}

				pace = hwocr.NewPace(perSecond, 4)
				pace.Restore(kept)
				b.connect(setup{transport: sb.RoundTripper(), pace: pace})
				b.reopen(setup{})
				b.drain()
				p := b.measure(sb)
				floor := tt.floor + p.last
				t.Logf("%v, %d of the 429 after the restart, %d changes, floor %v", p, p.refused-before.refused, changes, floor)
				if p.refused-before.refused > tt.refused || p.took > floor*5/4 {
					t.Errorf("want at most %d, and at most %v", tt.refused, floor*5/4)
				}
				b.wantAllDone()
				wantLeft(t, sb, 0)
			})
		})
	}
}

// TestPaceAtTheLimit sends just as fast as the service lets through.
func TestPaceAtTheLimit(t *testing.T) {
	inMemory(t)
	synctest.Test(t, func(t *testing.T) {
		const perSecond, long = 2, 10 * time.Minute
		sb := newSandbox(t, sandbox.Options{Rate: perSecond, Burst: 5, Work: working, Latency: 60 * time.Millisecond})
		b := newBench(t, setup{transport: sb.RoundTripper(), pace: hwocr.NewPace(perSecond, 4)})
		b.dropMany(int(long.Seconds()*perSecond/3) + 20)
		stop := b.run()
		time.Sleep(long)
		done := float64(b.counts()[queue.Done])
		p := b.measure(sb)
		stop()
		share := done / (long.Seconds() * perSecond / 3)
		t.Logf("%g scans in %v, %.1f %% of what can be; %d requests, %d of them 202, %d of them 429", done, long, 100*share, p.requests, p.early, p.refused)
		if share < 0.97 || p.refused*200 > p.requests {
			t.Error("want 97 %, and one 429 in 200 at most")
		}
	})
}
