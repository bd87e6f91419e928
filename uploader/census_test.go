package uploader

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// stranger is the name of a document whose scan nobody here knows.
func (b *bench) stranger(n int) string {
	return fmt.Sprintf("lost%d.%s.gif", n, b.queue.Installation().Mark(queue.Digest{byte(n), byte(n >> 8)}, 0))
}

// lose is a queue file that is gone, and the empty one that takes its place.
func (b *bench) lose(s setup) {
	b.t.Helper()
	if err := b.queue.Close(); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Remove(b.path); err != nil {
		b.t.Fatal(err)
	}
	b.open(s)
	if err := b.queue.Rebuild(); err != nil {
		b.t.Fatal(err)
	}
}

// What bears our mark and no job needs is deleted, over several pages; what is
// another installation's, or a stranger's, is not touched. A process that dies
// in the middle goes on.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "delete every 7: 500\ndelete 30: lost\ndelete 40: made 404")})
		s := setup{transport: sb.RoundTripper(), census: true}
		b := newBench(t, s)
		const documents = 250
		others := 0
		namesake := queue.Installation{Name: "AB12", Key: []byte("another's")} // whose name is ours by accident
		for n := range documents {
			switch n % 5 {
			case 3:
				others++
				b.plant(fmt.Sprintf("other%d.%s.gif", n, namesake.Mark(queue.Digest{byte(n)}, 0)), scan(fmt.Sprint(n)))
			case 4:
				others++
				b.plant(fmt.Sprintf("holiday%d.gif", n), scan(fmt.Sprint(n)))
			default:
				b.plant(b.stranger(n), scan(fmt.Sprint(n)))
			}
		}
		j := b.drop("letter.gif", scan("letter"), transcribe)
		stop := b.run()
		time.Sleep(4 * time.Minute)
		if left := len(sb.Documents()); left != documents {
			t.Errorf("%d documents left before the doubt is over, want %d", left, documents)
		}
		b.until("some are gone", func() bool { return len(sb.Documents()) < documents-20 })
		stop()
		if left := len(sb.Documents()); left == others {
			t.Fatal("the test came too late to interrupt anything")
		}
		b.reopen(s)
		stop = b.run()
		b.until("all are gone", func() bool { return len(sb.Documents()) <= others })
		time.Sleep(25 * time.Hour)
		stop()
		for _, d := range sb.Documents() {
			if strings.HasPrefix(d.Name, "lost") {
				t.Errorf("left: %s", d.Name)
			}
		}
		wantLeft(t, sb, others)
		if s, err := b.queue.Census(); err != nil || s.Deleted != documents-others || s.Strays != 0 {
			t.Errorf("%+v, %v", s, err)
		}
		b.wantWhole(b.wantState(j.ID, queue.Done, 0))
		b.wantHolds()
		wantRequests(t, sb, "list", 3, 3) // one a day, of two pages at first
	})
}

// A queue file that is lost with everything under way costs nothing: whatever
// the service has is found again by its mark.
func TestLostQueue(t *testing.T) {
	for _, trouble := range []string{"", "list 1-5: 500", "list 1: lag 1h", "list 1: cut 100\nlist 2: 429 retry-after 20", "list: slow 2s"} {
		t.Run(trouble, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{
					Trouble: script(t, "upload 3: lost\nupload 7: made 500\nupload 9: twin\nupload 9: lost"),
					Work:    func(sandbox.Document) time.Duration { return time.Minute },
				})
				s := setup{transport: sb.RoundTripper(), workers: 4}
				b := newBench(t, s)
				name := func(n int) (string, string) { return fmt.Sprintf("scan%d.gif", n), scan(fmt.Sprint(n)) }
				const sent, waiting, later = 12, 4, 3
				for n := range sent {
					file, content := name(n)
					b.drop(file, content, transcribe)
				}
				stop := b.run()
				b.until("all are sent", func() bool { return b.counts()[queue.Queued] == 0 && b.counts()[queue.Uploading] == 0 })
				stop()
				orphan := b.plant(b.stranger(1), scan("nobody's")).ID
				uploads := sb.Stats().Uploads

				sb.SetTrouble(script(t, trouble))
				b.lose(s)
				for n := later; n < sent+waiting; n++ { // the watcher finds most of them at once
					file, content := name(n)
					b.drop(file, content, transcribe)
				}
				stop = b.run()
				b.until("the list was read", func() bool { return len(b.holds()) == 0 })
				for n := range later {
					file, content := name(n)
					b.drop(file, content, transcribe)
				}
				b.until("all are done", func() bool { return b.counts()[queue.Done] == sent+waiting })
				for _, j := range b.jobs() {
					b.wantWhole(j)
				}
				if more := sb.Stats().Uploads - uploads; more != waiting {
					t.Errorf("%d were uploaded after the loss, want the %d that never had been", more, waiting)
				}
				if left := sb.Documents(); len(left) != 1 || left[0].ID != orphan {
					t.Errorf("left: %v", left)
				}
				if err := b.queue.Looked(b.dir); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Hour)
				wantLeft(t, sb, 1) // its scan may be found yet
				time.Sleep(30 * time.Hour)
				wantLeft(t, sb, 0)
				stop()
			})
		})
	}
}

// A census that runs while documents come in, and while others delete theirs,
// misses none of ours.
func TestCensusShifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		var b *bench
		var newest []string
		pages := 0
		b = newBench(t, setup{census: true, transport: service(func(op string, req *http.Request) (*http.Response, error) {
			if op == opList && req.URL.Query().Get("page") == "2" {
				switch pages++; pages {
				case 1, 2: // others delete: rows move up
					if err := b.api.Delete(req.Context(), newest[pages]); err != nil {
						return nil, err
					}
				default: // a new one: rows move down
					b.plant("new.gif", scan(fmt.Sprint("new", pages)))
				}
			}
			return sb.RoundTripper().RoundTrip(req)
		})})
		const ours = 60
		for n := range ours {
			b.plant(b.stranger(n), scan(fmt.Sprint("ours", n)))
		}
		for n := range 201 - ours/2 {
			newest = append(newest, b.plant("other.gif", scan(fmt.Sprint("other", n))).ID)
		}
		b.take(t.Context(), b.claim(queue.Census))
		if s, err := b.queue.Census(); err != nil || s.Strays != ours || pages < 3 {
			t.Errorf("%d found in %d tries, want %d, %v", s.Strays, pages, ours, err)
		}
	})
}

// Where the list cannot be had, a restored queue waits; any other goes on.
func TestCensusRefused(t *testing.T) {
	for _, trouble := range []string{"403", "404", "500", "lost", "garbage", "200 html"} {
		t.Run(trouble, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{Trouble: script(t, "list: "+trouble)})
				s := setup{transport: sb.RoundTripper(), timeout: time.Minute, census: true}
				b := newBench(t, s)
				j := b.drop("letter.gif", scan("letter"), transcribe)
				b.drain()
				b.wantState(j.ID, queue.Done, 0)
				b.wantHolds()

				b.lose(s)
				j = b.drop("another.gif", scan("another"), transcribe)
				stop := b.run()
				time.Sleep(3 * time.Hour)
				b.wantState(j.ID, queue.Queued, 0)
				if held := b.holds(); len(held) == 0 || held[0] != "rebuilt" {
					t.Errorf("held: %q", held)
				}
				wantRequests(t, sb, "upload", 1, 1)
				wantRequests(t, sb, "list", 10, 400)
				sb.SetTrouble(sandbox.Script{})
				b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
				b.wantHolds()
				stop()
			})
		})
	}
}

// A list without names says nothing about what a restored queue has lost: it
// sends nothing by itself.
func TestLostNameless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{
			Trouble: script(t, "list: nonames"),
			Work:    func(sandbox.Document) time.Duration { return time.Hour },
		})
		s := setup{transport: sb.RoundTripper()}
		b := newBench(t, s)
		b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		b.lose(s)
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.drain()
		b.wantState(j.ID, queue.Queued, 0)
		b.wantHolds("rebuilt")
		wantRequests(t, sb, "upload", 1, 1)

		// The service mends its list.
		sb.SetTrouble(sandbox.Script{})
		stop := b.run()
		defer stop()
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
		wantRequests(t, sb, "upload", 1, 1)
		b.wantHolds()
	})
}
