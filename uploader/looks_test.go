package uploader

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A bundle of scans that were seen through, and what it took.
type looked struct {
	requests float64 // a scan
	late     float64 // of the time that the service worked, results lay there, on average
	mean     time.Duration
	lists    int
}

func (l looked) String() string {
	return fmt.Sprintf("%.3f requests a scan (%d of the list in all), results lie for %.1f %% (%v)",
		l.requests, l.lists, 100*l.late, l.mean.Round(time.Millisecond))
}

// latency is that of the service in these tests.
const latency = 50 * time.Millisecond

// tally says what it took to see the scans through whose number is above after.
func (b *bench) tally(sb *sandbox.Sandbox, work func(sandbox.Document) time.Duration, after uint64, before sandbox.Stats) looked {
	b.t.Helper()
	var l looked
	var lay, worked time.Duration
	n := 0
	for j, err := range b.queue.All(queue.Filter{}) {
		if err != nil {
			b.t.Fatal(err)
		}
		if j.State != queue.Done {
			b.t.Errorf("%s is %s: %s", j.Path, j.State, j.Error)
		}
		if j.ID <= after {
			continue
		}
		n++
		w := work(sandbox.Document{Digest: hex.EncodeToString(j.Content[:])})
		worked += w
		lay += j.Collected.Sub(j.Uploaded.Add(w - latency))
	}
	total := 0
	for call, count := range sb.Stats().Requests {
		count -= before.Requests[call]
		total += count
		if call.Op == "list" {
			l.lists += count
		}
		if call.Status == http.StatusTooManyRequests {
			b.t.Errorf("%d answers of 429", count)
		}
	}
	l.requests = float64(total) / float64(n)
	l.late, l.mean = lay.Seconds()/worked.Seconds(), lay/time.Duration(n)
	return l
}

// between is a time that differs from scan to scan, evenly.
func between(from, to time.Duration) func(sandbox.Document) time.Duration {
	return func(d sandbox.Document) time.Duration {
		b, _ := hex.DecodeString(d.Digest[:4])
		return from + (to-from)*time.Duration(int(b[0])<<8|int(b[1]))/(1<<16)
	}
}

var twoToThirty = between(2*time.Second, 30*time.Second)

// TestOneAtATime sees one scan after the other through.
func TestOneAtATime(t *testing.T) {
	inMemory(t)
	for _, test := range []struct {
		name           string
		work           func(sandbox.Document) time.Duration
		formats        []string
		requests, late float64 // at most; requests are by the floor
	}{
		{"steady, 3 s", between(2700*time.Millisecond, 3300*time.Millisecond), []string{"txt"}, 1.3, 0.10},
		{"steady, 10 s", between(9*time.Second, 11*time.Second), []string{"txt"}, 1.3, 0.10},
		{"steady, 10 s, two formats", between(9*time.Second, 11*time.Second), []string{"txt", "docx"}, 1.3, 0.10},
		{"anything from 2 to 30 s", twoToThirty, []string{"txt"}, 1.6, 0.25},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{Work: test.work, Latency: latency})
				b := newBench(t, setup{transport: sb.RoundTripper(), pace: hwocr.NewPace(100, 4)})
				o := transcribe
				o.Formats = test.formats
				stop := b.run()
				var before sandbox.Stats
				var last queue.Job
				for i := range 220 {
					if i == 20 { // by then it knows what to expect
						before = sb.Stats()
						last = b.jobs()[0]
					}
					b.drop(fmt.Sprintf("scan%03d.gif", i), scan(fmt.Sprint("number ", i)), o)
					if err := b.queue.Drained(t.Context()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(7 * time.Second)
				}
				stop()
				l := b.tally(sb, test.work, last.ID, before)
				floor := float64(2 + len(o.Formats))
				t.Logf("%v: %.3f × the floor", l, l.requests/floor)
				asRecorded(t, test.name, l.requests)
				if l.requests > test.requests*floor || l.late > test.late {
					t.Errorf("want at most %.2f × the floor and %.0f %%", test.requests, 100*test.late)
				}
			})
		})
	}
}

// asRecorded holds the requests a scan against those of testdata/requests.txt: in virtual
// time they depend on no machine. Who has a reason for others writes them there.
func asRecorded(t *testing.T, what string, requests float64) {
	t.Helper()
	text, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name != what {
			continue
		}
		recorded, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		if requests > 1.02*recorded || requests < 0.95*recorded {
			t.Errorf("%.3f requests a scan, %.3f are recorded: find out why, or record it", requests, recorded)
		}
		return
	}
	t.Errorf("no requests are recorded for %q", what)
}

// TestThousandInFlight has the service work on a thousand scans at once.
func TestThousandInFlight(t *testing.T) {
	inMemory(t)
	synctest.Test(t, func(t *testing.T) {
		const scans = 1000
		sb := newSandbox(t, sandbox.Options{Work: twoToThirty, Latency: latency})
		b := newBench(t, setup{transport: sb.RoundTripper(), pace: hwocr.NewPace(1000, 100), workers: 32})
		b.dropMany(scans)
		b.drain()
		l := b.tally(sb, twoToThirty, 0, sandbox.Stats{})
		t.Logf("%v: %.4f × the floor", l, l.requests/3)
		if l.requests > 1.03*3 || l.late > 0.15 {
			t.Errorf("want at most 1.03 × the floor, and 15 %%")
		}
	})
}

// statuses is a service whose list says the same of all documents.
type statuses struct {
	http.RoundTripper
	status []byte
}

var statusPattern = regexp.MustCompile(`"status":"[a-z]+"`)

func (s statuses) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.RoundTripper.RoundTrip(req)
	if err != nil || req.Method != http.MethodGet || req.URL.RawQuery == "" {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	body = statusPattern.ReplaceAll(body, s.status)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

// TestUselessList: a list that fails, lags, or says nothing costs some requests, and
// no more.
func TestUselessList(t *testing.T) {
	inMemory(t)
	for _, test := range []struct {
		name    string
		trouble string
		status  string // in all rows
	}{
		{name: "it fails", trouble: "list: 500"},
		{name: "it is garbage", trouble: "list: garbage"},
		{name: "it is slow", trouble: "list: slow 3m"},
		{name: "it lacks the latest", trouble: "list: lag 3m"},
		{name: "403", trouble: "list: 403"},
		{name: "it shows no status", status: `"status":null`},
		{name: "it says that all is being worked on", status: `"status":"processing"`},
		{name: "it says that all is done", status: `"status":"processed"`},
		{name: "it says that all has failed", status: `"status":"failed"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const scans = 100
				trouble, err := sandbox.ParseScript(test.trouble)
				if err != nil {
					t.Fatal(err)
				}
				sb := newSandbox(t, sandbox.Options{Work: twoToThirty, Latency: latency, Trouble: trouble})
				transport := sb.RoundTripper()
				if test.status != "" {
					transport = statuses{transport, []byte(test.status)}
				}
				b := newBench(t, setup{transport: transport, pace: hwocr.NewPace(100, 4)})
				b.dropMany(scans)
				b.drain()
				l := b.tally(sb, twoToThirty, 0, sandbox.Stats{})
				t.Log(l)
				if l.requests > 16 || l.late > 1 {
					t.Error("want at most 16 requests a scan, and results that lie as long as the service worked")
				}
			})
		})
	}
}
