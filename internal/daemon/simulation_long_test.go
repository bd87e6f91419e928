//go:build unix

package daemon

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/sandbox"
	"scandrop/queue"
)

var years = flag.Float64("years", 0.1, "how long the simulation of a quiet office lasts")

// TestSimulationKill kills the daemon right before and right after what it
// commits: what was not committed is lost, what was is kept, and nothing that
// it still does reaches the world.
func TestSimulationKill(t *testing.T) {
	type left struct {
		state     queue.State // as the next one finds it
		documents int
		recorded  bool // a result
		written   bool
		temp      bool // a killed process tidies nothing up
	}
	for _, tt := range []struct {
		place string
		want  left
	}{
		{"room", left{state: queue.Queued}},
		{"opened", left{state: queue.Queued}},
		{"upload begins", left{state: queue.Doubtful}}, // which is after the commit
		{"moved to uploading", left{state: queue.Doubtful}},
		{"in an upload", left{state: queue.Doubtful}},
		{"upload made", left{state: queue.Doubtful, documents: 1}},
		{"upload answered", left{state: queue.Doubtful, documents: 1}},
		{"moved to processing", left{state: queue.Processing, documents: 1}},
		{"in a result", left{state: queue.Processing, documents: 1, temp: true}},
		{"filled", left{state: queue.Processing, documents: 1, temp: true}},
		{"reserve", left{state: queue.Processing, documents: 1, temp: true}},
		{"reserved", left{state: queue.Processing, documents: 1, recorded: true, temp: true}},
		{"result written", left{state: queue.Processing, documents: 1, recorded: true, written: true}},
		{"moved to written", left{state: queue.Written, documents: 1, recorded: true, written: true}},
		{"delete begins", left{state: queue.Written, documents: 1, recorded: true, written: true}},
		{"delete made", left{state: queue.Written, recorded: true, written: true}},
		{"moved to done", left{state: queue.Done, recorded: true, written: true}},
	} {
		t.Run(tt.place, func(t *testing.T) {
			stepByStep(t, plan{
				seed: 1, downtime: 24 * time.Hour, rescan: time.Minute, formats: "[txt]", workers: 1,
				work: func(sandbox.Document) time.Duration { return 0 },
			}, func(t *testing.T, s *simulation, began time.Time) {
				s.take(step{do: "kill soon", path: tt.place, n: 1})
				s.take(step{do: "drop", path: "a/letter.gif", n: 1})
				s.pass(began.Add(5 * time.Minute))
				if s.in != nil {
					t.Fatalf("it never came by there:\n%s", s.story.text.String())
				}
				q, err := queue.Open(queue.Config{Path: filepath.Join(s.state, queueFile)})
				if err != nil {
					t.Fatal(err)
				}
				defer q.Close()
				j, err := q.Get(1)
				if err != nil {
					t.Fatal(err)
				}
				r, _ := j.Result("txt")
				got := left{state: j.State, documents: len(s.box.Documents()), recorded: !r.Content.IsZero()}
				entries, err := os.ReadDir(s.at("a"))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range entries {
					got.written = got.written || e.Name() == "letter.txt"
					got.temp = got.temp || strings.HasPrefix(e.Name(), ".")
				}
				if got != tt.want {
					t.Errorf("%+v, want %+v\n%s", got, tt.want, s.story.text.String())
				}
				for _, broken := range s.end().broken {
					t.Error(broken)
				}
			})
		})
	}
}

// TestSimulationDelays has some scans be in trouble, and looks at the others:
// they are done as if they were alone, less one worker at most (P7).
func TestSimulationDelays(t *testing.T) {
	const victims, others = 8, 12
	for _, tt := range []struct {
		name    string
		victims int
		work    time.Duration // of a victim
		cursed  string        // what becomes of a victim's downloads
		folder  string        // of the victims
		refused bool          // what folder b asks for
		before  []step
	}{
		{name: "slow documents", victims: victims, work: 10 * time.Hour, folder: "a"},
		{name: "one that does not come", victims: 1, cursed: "drip 3m", folder: "a"},
		{name: "ones that cannot be had", victims: victims, cursed: "500", folder: "a"},
		{name: "a folder that is gone", victims: victims, folder: "b", before: []step{
			{do: "folder gone", path: "b", d: 5 * time.Hour},
		}},
		{name: "a folder that is refused", victims: victims, folder: "b", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := tempDir()
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			synctest.Test(t, func(t *testing.T) {
				cursed := map[string]bool{} // digests
				s := newSimulation(dir, plan{
					seed: 1, rescan: time.Minute, formats: "[txt]", workers: 2, refused: tt.refused,
					work: func(d sandbox.Document) time.Duration {
						if cursed[d.Digest] {
							return tt.work
						}
						return 3 * time.Second
					},
				})
				for n := range tt.victims {
					cursed[digestOf(s.content(1000+n, "scan"))] = true
				}
				s.cursed = func(op, mark string) string {
					if op != "download" || !cursed[s.jobOf(mark).Content.String()] {
						return ""
					}
					return tt.cursed
				}
				if err := s.prepare(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				s.restart = began
				s.pass(began)
				for n := range tt.victims {
					s.take(step{do: "drop", path: fmt.Sprintf("%s/victim%d.gif", tt.folder, n), n: 1000 + n})
				}
				s.pass(began.Add(2 * time.Minute))
				for _, step := range tt.before {
					s.take(step)
				}
				for n := range others {
					s.take(step{do: "drop", path: fmt.Sprintf("a/other%d.gif", n), n: 1 + n})
				}
				s.pass(began.Add(2*time.Minute + s.plan.rescan + quiet + time.Minute))
				n := 0
				for j, err := range s.queue().All(queue.Filter{States: []queue.State{queue.Done}}) {
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(j.Path, "other") {
						n++
					}
				}
				if n != others {
					t.Errorf("P7: %d of %d are done a minute after they were taken\n%s", n, others, s.story.text.String())
				}
				for _, broken := range s.end().broken {
					t.Error(broken)
				}
			})
		})
	}
}

// jobOf returns the job of a mark; the zero Job if there is none.
func (s *simulation) jobOf(mark string) queue.Job {
	for j, err := range s.current.Load().daemon.queue.All(queue.Filter{}) {
		if err == nil && j.Mark == mark {
			return j
		}
	}
	return queue.Job{}
}

// TestSimulationSoak lets scans come in all day while a part of all calls goes
// wrong in every way that a scan survives. All are done, and the service is
// hardly asked more often than where nothing goes wrong.
func TestSimulationSoak(t *testing.T) {
	for _, formats := range []string{"[txt]", "[json, txt]"} {
		t.Run(formats, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			p := plan{
				seed: 1, level: 0.01, rescan: 2 * time.Minute, formats: formats, workers: 4, harmless: true, checks: 20,
				downtime: time.Second, latency: 100 * time.Millisecond,
				work: func(sandbox.Document) time.Duration { return time.Second },
			}
			const scans = 200
			for n := range scans {
				p.steps = append(p.steps, step{at: time.Duration(r.Int64N(int64(24 * time.Hour))), do: "drop", path: fmt.Sprintf("a/scan%d.gif", n), n: n + 1})
			}
			slices.SortStableFunc(p.steps, func(a, b step) int { return int(a.at - b.at) })
			f := simulate(t, p)
			floor := 3 + strings.Count(formats, ",") // upload and delete, and each format
			asked := float64(f.requests) / scans
			t.Logf("%v\n%d scans in 24 hours, %.2f requests a scan, %.2f times the floor", f, scans, asked, asked/float64(floor))
			if f.done != scans || asked > 1.3*float64(floor) {
				t.Errorf("%d of %d scans are done, with %.2f requests a scan", f.done, scans, asked)
			}
			for _, broken := range f.broken {
				t.Error(broken)
			}
		})
	}
}

// TestSimulationYears is a quiet office: a few scans a day, none for months,
// updates and kills now and then, a token that expires on a Friday.
func TestSimulationYears(t *testing.T) {
	const day = 24 * time.Hour
	r := rand.New(rand.NewPCG(2, 2))
	p := plan{
		seed: 2, level: 0.02, rescan: 20 * time.Minute, formats: "[txt, json]", workers: 4, checks: 20,
		downtime: time.Minute, latency: 100 * time.Millisecond,
		work: func(sandbox.Document) time.Duration { return 8 * time.Second },
	}
	n := 0
	for d := range int(*years * 365) {
		at := func() time.Duration { return time.Duration(d)*day + time.Duration(r.Int64N(int64(day))) }
		add := func(t step) {
			t.at = at()
			p.steps = append(p.steps, t)
		}
		if d%365 < 60 || d%365 > 150 { // else everybody is away
			for range r.IntN(5) {
				n++
				add(step{do: "drop", path: fmt.Sprintf("%s/scan%d.gif", pick(r, "a", "b", "b"), n%50), n: n})
			}
		}
		switch {
		case d%30 == 29:
			add(step{do: "tidy"})
		case d%30 == 4:
			add(step{do: "no token", d: 60 * time.Hour})
		case d%30 == 14:
			add(step{do: "no credits", d: 30 * time.Hour})
		case d%7 == 3:
			add(step{do: "stop", d: pick(r, 10*time.Second, 10*time.Hour)})
		case d%7 == 5:
			add(step{do: "kill soon", n: 1 + r.IntN(40)})
		case d%7 == 6:
			add(step{do: "outage", path: "any", to: pick(r, "503", "drop", "429 retry-after 20"), d: time.Minute})
		}
	}
	slices.SortStableFunc(p.steps, func(a, b step) int { return int(a.at - b.at) })
	f := simulate(t, p)
	t.Logf("%v virtual years: %v", *years, f)
	for _, broken := range f.broken {
		t.Error(broken)
	}
}

// A retry that is paid for again finds the temporaries of the tries before it.
func TestStageKey(t *testing.T) {
	j := queue.Job{Path: "/scans/letter.pdf", Identity: queue.Digest{1}, Mark: "sdAB12-first"}
	again, other, elsewhere := j, j, j
	again.Mark = "sdAB12-second"
	other.Identity = queue.Digest{2}
	elsewhere.Path = "/scans/copy.pdf"
	if stageKey(j) != stageKey(again) || stageKey(j) == stageKey(other) || stageKey(j) == stageKey(elsewhere) {
		t.Error("the key is not that of a scan at a path")
	}
}
