package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// moves is the table of moves as the design tells it, kept apart from the code
// on purpose: outcome, then for each state that it applies to where the job may
// be afterwards. What is not in it is refused. "gone" is out of the queue.
const moves = `
sending      queued>uploading
uploaded     uploading>processing,cancelled  doubtful>processing,cancelled
unanswered   uploading>doubtful
crashed      uploading>doubtful
not_found    doubtful>doubtful,queued,failed,cancelled
pending      processing>processing,failed,cancelled
announced    processing>processing
divided      queued>queued
part_collected  processing>queued,processing,cancelled
part_lost    processing>processing,failed
collected    queued>written,done  processing>written,done
deleted      written>written,done  rejected>rejected  failed>failed  cancelled>cancelled
retry        queued>queued,failed,cancelled  uploading>queued,failed,cancelled  doubtful>doubtful  processing>processing,failed,cancelled
retry        written>written,failed,done  rejected>rejected  failed>failed  cancelled>cancelled
reject       queued>queued,rejected  uploading>rejected  processing>rejected
fail         processing>failed
gone         processing>failed
changed      queued>gone,cancelled  uploading>gone,cancelled
hinted       processing>processing
asked        processing>processing
interrupted  queued>queued,cancelled  uploading>queued,cancelled  doubtful>doubtful  processing>processing,cancelled
interrupted  written>written  rejected>rejected  failed>failed  cancelled>cancelled
held         queued>queued,cancelled  uploading>queued,cancelled  doubtful>doubtful  processing>processing,cancelled
held         written>written  rejected>rejected  failed>failed  cancelled>cancelled
cancel       queued>queued,cancelled  uploading>uploading  doubtful>doubtful,cancelled  processing>processing,cancelled
again        queued>queued  doubtful>queued,doubtful  processing>processing  written>written  done>queued  rejected>queued  cancelled>queued
again        failed>queued,processing,written
adopted      queued>processing,cancelled  failed>processing  rejected>processing  cancelled>processing
answered
counted
`

func parseMoves(t *testing.T) map[string]map[State][]State {
	t.Helper()
	table := map[string]map[State][]State{}
	for line := range strings.Lines(strings.TrimSpace(moves)) {
		fields := strings.Fields(line)
		outcome := strings.ReplaceAll(fields[0], "_", " ")
		if table[outcome] == nil {
			table[outcome] = map[State][]State{}
		}
		for _, move := range fields[1:] {
			from, to, _ := strings.Cut(move, ">")
			if !slices.Contains(States, State(from)) || table[outcome][State(from)] != nil {
				t.Fatalf("the test's own table is wrong: %s %s", outcome, move)
			}
			for s := range strings.SplitSeq(to, ",") {
				if s == "gone" {
					s = string(removed)
				}
				table[outcome][State(from)] = append(table[outcome][State(from)], State(s))
			}
		}
	}
	return table
}

var (
	noon       = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	errTrouble = errors.New("trouble")
	usual      = policy{doubt: 5 * time.Minute, longestDelay: time.Hour}
)

// everyOutcome has each kind at least once, with whatever makes a difference.
func everyOutcome() []Outcome {
	return []Outcome{
		Sending{}, Uploaded{Document: "new"}, Uploaded{Document: "new", Pages: 3, Twins: []string{"late", "later"}},
		Uploaded{Document: "other", Twins: []string{"latest"}},
		Unanswered{Err: errTrouble}, Unanswered{Err: errTrouble, Accepted: true}, crashed{}, NotFound{}, NotFound{Later: true}, NotFound{Nameless: true},
		Divided{Parts: parts()}, PartCollected{}, PartLost{Part: 0, Err: errTrouble}, PartLost{Part: 1, Err: errTrouble},
		Pending{}, hinted{HintReady}, asked{}, Collected{}, Deleted{}, Deleted{Documents: []string{"d"}}, Deleted{Documents: []string{"t"}},
		Deleted{Documents: []string{"t", "d"}, Moved: "/done/a.pdf"}, Deleted{Documents: []string{"d"}, Stays: true},
		Retry{Err: errTrouble}, Retry{Err: errTrouble, After: 5 * time.Minute}, Reject{Err: errTrouble},
		Fail{Err: errTrouble}, Gone{Err: errTrouble}, Changed{}, Interrupted{},
		Held{Hold{Cause: Token, Reason: "no"}}, Held{Hold{Cause: Room, Folder: "/scans", Reason: "full"}},
		adopted{Uploaded: Uploaded{Document: "new"}, mark: "sdAB12-y"},
		adopted{Uploaded: Uploaded{Document: "new", Pages: 3, Twins: []string{"late"}}, mark: "sdAB12-z", resend: 2},
		announced{}, Answered{}, Counted{}, cancel{}, cancel{busy: true}, again{}, again{resend: 1, mark: "sdAB12-x"}, again{twin: 3}, again{twin: 3, wait: true},
	}
}

func parts() []Part {
	return []Part{
		{From: 1, To: 80, Size: 10, Ext: ".pdf", Content: Digest{1}, Mark: "sdAB12-one"},
		{From: 81, To: 150, Size: 11, Ext: ".pdf", Content: Digest{2}, Mark: "sdAB12-two"},
	}
}

// jobsIn makes jobs that can be in a state, differing in all that may matter to
// an outcome. It is the same list each time.
func jobsIn(s State) []Job {
	r := rand.New(rand.NewPCG(1, uint64(len(s))))
	pick := func(n int) bool { return r.IntN(n) == 0 }
	jobs := make([]Job, 0, 80)
	for range cap(jobs) {
		j := Job{
			ID: 1 + r.Uint64N(1000), State: s, Folder: "/scans", Path: "/scans/a.pdf", Mark: "sdAB12-k7f3q2m4x5n6p7r2",
			Attempts: []int{0, 1, 8, 9, 28, 29}[r.IntN(6)], Looks: r.IntN(100), Due: noon, Added: noon.Add(-48 * time.Hour),
			Doubted:  noon.Add(-[]time.Duration{time.Second, 29 * time.Second, 31 * time.Second, 6 * time.Minute, 30 * time.Hour}[r.IntN(5)]),
			Uploaded: noon.Add(-[]time.Duration{time.Second, 23 * time.Hour, 25 * time.Hour}[r.IntN(3)]),
			Options:  Options{Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: !pick(3)},
		}
		if pick(2) {
			j.Trash = []string{"t"}
		}
		switch {
		case s == Processing, s == Written && pick(2), s == Failed && pick(2), s == Done && !j.Options.DeleteRemote:
			j.Document = "d"
		}
		if s == Failed && j.Document != "" && pick(2) {
			j.Keep = noon.Add(time.Hour)
		}
		if s == Written || s == Done || s == Failed && pick(2) {
			j.Collected = noon
		}
		if s == Queued && pick(2) {
			j.Twin, j.Resend = 3, r.IntN(2)
		}
		if pick(4) {
			j.Options.MoveDone, j.Options.MoveFailed = "/done", "/failed"
		}
		if (s == Queued || s == Doubtful) && pick(4) {
			j.Due = time.Time{}
		}
		if j.Twin == 0 && pick(3) {
			j.Parts = parts()
			if s != Queued && pick(2) || s == Written || s == Done {
				j.Parts[0].Collected, j.Parts[0].Document = true, "d0"
			}
			if s == Processing && j.Parts[0].Collected && pick(2) || s == Written || s == Done {
				j.Parts[1].Collected, j.Parts[1].Document, j.Document = true, "d", ""
			}
			if s == Processing && pick(3) { // failed once, and deleted then
				j.Parts[0].Document = ""
			}
			if s == Done && j.Options.DeleteRemote || s == Failed && j.Document == "" || s == Cancelled {
				j.Parts[0].Document, j.Parts[1].Document = "", ""
			}
			if n := j.Part(); n < len(j.Parts) {
				j.Mark = j.Parts[n].Mark
			}
		}
		j.Cancel = !s.Final() && pick(3)
		if s == Doubtful {
			j.Accepted, j.Resent = pick(3), r.IntN(2)
		}
		if s.Final() {
			j.Finished = noon
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// TestMoves takes every state through every outcome: what happens is in the
// table, and what is in the table can happen.
func TestMoves(t *testing.T) {
	table := parseMoves(t)
	for _, from := range States {
		seen := map[string]map[State]bool{}
		for _, j := range jobsIn(from) {
			for _, o := range everyOutcome() {
				kind := string(o.kind())
				want, known := table[kind]
				if !known {
					t.Fatalf("the table does not know %q", kind)
				}
				next, err := j.move(o, noon, usual)
				if want[from] == nil {
					if m, ok := errors.AsType[*MoveError](err); !ok || m.From != from || m.Job != j.ID || m.Outcome != kind {
						t.Fatalf("%s, %s: error %v, want a MoveError", from, kind, err)
					}
					if !reflect.DeepEqual(next, j) {
						t.Fatalf("%s, %s: refused, but the job changed", from, kind)
					}
					continue
				}
				if err != nil {
					t.Fatalf("%s, %#v: %v\njob: %s", from, o, err, text(t, j))
				}
				if !slices.Contains(want[from], next.State) {
					t.Fatalf("%s, %#v: led to %q, want one of %q\njob: %s", from, o, next.State, want[from], text(t, j))
				}
				if seen[kind] == nil {
					seen[kind] = map[State]bool{}
				}
				seen[kind][next.State] = true
				checkMove(t, j, next, o)
			}
		}
		for kind, want := range table {
			for _, to := range want[from] {
				if !seen[kind][to] {
					t.Errorf("%s, %s: never led to %q", from, kind, to)
				}
			}
		}
	}
}

// checkMove checks what holds for every move.
func checkMove(t *testing.T, j, next Job, o Outcome) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Fatalf("%s, %#v: %s\nbefore: %s\nafter:  %s", j.State, o, fmt.Sprintf(format, args...), text(t, j), text(t, next))
	}

	// Somebody remembers every document that has to go.
	var gone []string
	switch o := o.(type) {
	case Deleted:
		gone = o.Documents
	case Gone:
		gone = []string{j.Document}
	}
	if !j.Options.DeleteRemote && !(next.State == Cancelled) { // what may stay need not be remembered
		gone = append(slices.Clip(gone), j.Document)
		if j.State == Done {
			gone = append(gone, j.live()...)
		}
	}
	before := j.documents()
	u, ok := o.(Uploaded)
	if a, found := o.(adopted); found {
		u, ok = a.Uploaded, true
		gone = nil // what it had is of no use any more
		if next.Mark != a.mark || next.Resend != a.resend {
			fail("its document would not be found again under the mark %q", next.Mark)
		}
	}
	if ok {
		before = append(append(slices.Clip(before), u.Document), u.Twins...)
	}
	for _, d := range before {
		if d == "" || slices.Contains(gone, d) {
			continue
		}
		if next.State == removed || !slices.Contains(next.documents(), d) {
			fail("document %q is forgotten", d)
		}
		if next.State == Cancelled && !slices.Contains(next.Doomed(noon), d) {
			fail("document %q stays though the job is cancelled", d)
		}
	}
	if next.State.Final() {
		if next.Cancel || next.Finished.IsZero() {
			fail("at its end, but its cancellation or its finish say otherwise")
		}
		if (next.State == Rejected || next.State == Cancelled) && next.Document != "" {
			fail("nothing is to be had from its document any more")
		}
	}
	if next.State == Done && len(next.Trash) > 0 {
		fail("done, with trash left")
	}

	// Nobody stands still by accident.
	waits := next.State == Queued && next.Twin != 0 || next.State == Doubtful || next.State == Uploading
	if !next.State.Final() && next.State != removed && next.Due.IsZero() && !waits && !j.Due.IsZero() {
		fail("will never be due")
	}
	if next.Mark != j.Mark && !slices.Contains([]string{"again", "adopted", "divided", "part collected", "part lost"}, string(o.kind())) {
		fail("its mark changed")
	}
	if n := next.Part(); n < len(next.Parts) && next.Mark != next.Parts[n].Mark && o.kind() != "adopted" {
		fail("its mark is not that of part %d", n)
	}

	// What is not the file's fault uses no attempt.
	switch o.(type) {
	case Held, Interrupted, Unanswered, crashed, Sending:
		if next.State != Cancelled && next.State != Doubtful && next.Attempts != j.Attempts {
			fail("attempts went from %d to %d", j.Attempts, next.Attempts)
		}
	case Retry:
		if j.State == Doubtful && next.Attempts != j.Attempts {
			fail("a list that fails is no attempt, but they went from %d to %d", j.Attempts, next.Attempts)
		}
	}
	if next.State == Doubtful && next.Attempts != j.Attempts && o.kind() != "again" {
		fail("attempts went from %d to %d", j.Attempts, next.Attempts)
	}
}

// TestMovePure checks that a move gives the same each time, changes nothing of
// what it was given, and shares no memory that a second move could write to.
func TestMovePure(t *testing.T) {
	for _, from := range States {
		for _, j := range jobsIn(from)[:12] {
			j.Trash = append(make([]string, 0, 8), j.Trash...)
			j.Results = append(make([]Result, 0, 8), Result{Format: "txt", Path: "/scans/a.txt", Content: Digest{1}}, Result{Format: "docx", Refused: "no"})
			before := text(t, j)
			type made struct {
				o    Outcome
				text string
				job  Job
			}
			var all []made
			for _, o := range everyOutcome() {
				next, err := j.move(o, noon, usual)
				if err == nil {
					all = append(all, made{o, text(t, next), next})
				}
			}
			if after := text(t, j); after != before {
				t.Fatalf("%s: a move changed what it was given\nbefore: %s\nafter:  %s", from, before, after)
			}
			for _, m := range all { // before any move is made again, which would mend it
				if later := text(t, m.job); later != m.text {
					t.Fatalf("%s, %#v: another move wrote to its memory\nfirst: %s\nlater: %s", from, m.o, m.text, later)
				}
			}
			for _, m := range all {
				if next, _ := j.move(m.o, noon, usual); text(t, next) != m.text {
					t.Fatalf("%s, %#v: not the same twice\nfirst:  %s\nsecond: %s", from, m.o, m.text, text(t, next))
				}
			}
		}
	}
}

func TestAttempts(t *testing.T) {
	tests := []struct {
		name  string
		start Job
		steps []Outcome // of one attempt
		want  int       // attempts until it is given up
		final State
	}{
		{"upload", Job{State: Queued}, []Outcome{Sending{}, Retry{Err: errTrouble}}, 10, Failed},
		{"upload, before a byte", Job{State: Queued}, []Outcome{Retry{Err: errTrouble}}, 10, Failed},
		{"upload with pauses", Job{State: Queued}, []Outcome{Interrupted{}, Sending{}, Held{Hold{Cause: Token}}, Sending{}, Interrupted{}, Retry{Err: errTrouble}}, 10, Failed},
		{"upload, doubtful", Job{State: Queued}, []Outcome{Sending{}, Unanswered{Err: errTrouble}, Retry{Err: errTrouble}, NotFound{}}, 10, Failed},
		{"collect", Job{State: Processing, Document: "d"}, []Outcome{Retry{Err: errTrouble}, Held{Hold{Cause: Token}}, Interrupted{}}, 10, Failed},
		{"copy", Job{State: Queued, Twin: 3}, []Outcome{Retry{Err: errTrouble}}, 10, Failed},
		{"delete", Job{State: Written, Document: "d"}, []Outcome{Retry{Err: errTrouble}, Interrupted{}}, 30, Failed},
		{"delete after the end", Job{State: Rejected, Trash: []string{"t"}}, []Outcome{Retry{Err: errTrouble}}, 30, Rejected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, now := tt.start, noon
			j.Options.DeleteRemote, j.Uploaded, j.Due = true, now, now
			for n := 1; ; n++ {
				for _, o := range tt.steps {
					now = now.Add(10 * time.Minute)
					next, err := j.move(o, now, usual)
					if err != nil {
						t.Fatalf("attempt %d: %v", n, err)
					}
					if j = next; j.State == tt.final && (tt.start.State != tt.final || j.Due.IsZero()) {
						break
					}
				}
				given := j.State == tt.final && (tt.start.State != tt.final || j.Due.IsZero())
				if given != (n == tt.want) {
					t.Fatalf("after %d attempts it is %s, due %v; want it given up after %d", n, j.State, j.Due, tt.want)
				}
				if given {
					break
				}
			}
			if j.Error == "" {
				t.Error("it does not say why")
			}
			if tt.start.Document != "" && j.Document != "d" {
				t.Error("the document of what was paid for is forgotten")
			}
		})
	}
}

// TestAttemptsFreshPerStep: the attempts of one step are not counted against
// the next.
func TestAttemptsFreshPerStep(t *testing.T) {
	j := Job{State: Uploading, Attempts: 9}
	for _, o := range []Outcome{Uploaded{Document: "d"}, Collected{}} {
		j.Options.DeleteRemote, j.Attempts = true, 9
		next, err := j.move(o, noon, usual)
		if err != nil || next.Attempts != 0 {
			t.Errorf("%s: %d attempts, %v; want none", o.kind(), next.Attempts, err)
		}
		j = next
	}
}

// A service that wants fewer requests says nothing about a scan, however often
// it says so; nor does a program that has a result open.
func TestThrottled(t *testing.T) {
	for _, trouble := range []Retry{{Err: errTrouble, Throttled: true}, {Err: errTrouble, InUse: true}} {
		testThrottled(t, trouble)
	}
}

// Who wants an end has one: run --once does not wait for a viewer to be closed.
func TestInUseEnds(t *testing.T) {
	j, err := Job{State: Processing, Document: "d", Uploaded: noon}, error(nil)
	for n := range attempts {
		if j.State != Processing {
			t.Fatalf("after %d times it is %s", n, j.State)
		}
		if j, err = j.move(Retry{Err: errTrouble, InUse: true}, noon, policy{doubt: time.Minute, longestDelay: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	if j.State != Failed {
		t.Errorf("after %d times it is %s", attempts, j.State)
	}
}

func testThrottled(t *testing.T, trouble Retry) {
	for _, j := range []Job{{State: Queued}, {State: Uploading}, {State: Processing, Document: "d"}, {State: Written, Document: "d"}, {State: Failed, Trash: []string{"t"}}} {
		j.Uploaded, j.Options.DeleteRemote = noon, true
		began := j.State
		for range 100 {
			next, err := j.move(trouble, noon, usual)
			if err != nil {
				t.Fatal(err)
			}
			j = next
		}
		if j.State != began && began != Uploading || j.State == Failed && began != Failed || j.Due.IsZero() {
			t.Errorf("%s: after 100 times it is %s, due %v", began, j.State, j.Due)
		}
		if began == Processing { // real trouble after that is not hidden
			if next, err := j.move(Retry{Err: errTrouble}, noon, usual); err != nil || next.State != Failed {
				t.Errorf("and then failed once more it is %s, %v", next.State, err)
			}
		}
	}
}

func TestDelays(t *testing.T) {
	next := func(j Job, o Retry) time.Duration {
		j.Uploaded, j.Options.DeleteRemote = noon, true
		after, err := j.move(o, noon, usual)
		if err != nil {
			t.Fatal(err)
		}
		return after.Due.Sub(noon)
	}
	longest := 2 * time.Second
	for attempts := range 29 {
		for id := range uint64(50) {
			got := next(Job{ID: id, State: Written, Document: "d", Attempts: attempts}, Retry{Err: errTrouble})
			if got > longest || got <= longest*4/5-1 {
				t.Fatalf("attempt %d of job %d: waits %v, want at most %v and no less than four fifths", attempts+1, id, got, longest)
			}
		}
		longest = min(2*longest, time.Hour)
	}

	spread := map[time.Duration]bool{}
	for id := range uint64(100) {
		spread[next(Job{ID: id, State: Written, Document: "d", Attempts: 5}, Retry{Err: errTrouble})] = true
	}
	if len(spread) < 50 {
		t.Errorf("100 jobs that failed together come back at only %d times", len(spread))
	}

	for _, tt := range []struct{ asked, want time.Duration }{
		{3 * time.Second, 3 * time.Second}, {10 * time.Minute, 10 * time.Minute}, {time.Hour, time.Hour}, {5 * time.Hour, time.Hour},
	} {
		for _, j := range []Job{{State: Queued}, {State: Uploading}, {State: Processing, Document: "d"}, {State: Written, Document: "d"}, {State: Failed, Trash: []string{"t"}}} {
			if got := next(j, Retry{Err: errTrouble, After: tt.asked}); got != tt.want {
				t.Errorf("%s: asked to wait %v, waits %v, want %v", j.State, tt.asked, got, tt.want)
			}
		}
		if got := next(Job{State: Doubtful}, Retry{Err: errTrouble, After: tt.asked}); got < tt.want || got > max(tt.want, 2*time.Second) {
			t.Errorf("doubtful: asked to wait %v, waits %v", tt.asked, got)
		}
	}

	if got := next(Job{State: Processing, Document: "d", Attempts: 8}, Retry{Err: errTrouble, After: time.Second}); got < 5*time.Minute {
		t.Errorf("asked to wait a second for the ninth time, it waits %v only", got)
	}

	short := policy{doubt: time.Minute, longestDelay: 30 * time.Second}
	for _, s := range []State{Queued, Doubtful, Processing} {
		j, err := Job{State: s, Document: "d", Attempts: 8, Looks: 40, Uploaded: noon}.move(Retry{Err: errTrouble}, noon, short)
		if got := j.Due.Sub(noon); err != nil || got > 30*time.Second {
			t.Errorf("%s: waits %v (%v), want at most the longest delay that was set", s, got, err)
		}
	}
}

func TestDoubt(t *testing.T) {
	const s, m = time.Second, time.Minute
	tests := []struct {
		since  time.Duration // it was found unanswered; that it began to be sent may be long ago
		look   NotFound
		cancel bool
		want   State
		due    bool
	}{
		{0, NotFound{}, false, Doubtful, true},
		{29 * s, NotFound{Later: true}, false, Doubtful, true},
		{30 * s, NotFound{Later: true}, false, Queued, true},
		{30 * s, NotFound{}, false, Doubtful, true},
		{5*m - 1, NotFound{}, false, Doubtful, true},
		{5 * m, NotFound{}, false, Queued, true},
		{48 * time.Hour, NotFound{}, false, Queued, true},
		{29 * s, NotFound{Later: true}, true, Doubtful, true},
		{30 * s, NotFound{Later: true}, true, Cancelled, false},
		{5 * m, NotFound{}, true, Cancelled, false},
		{5 * m, NotFound{Nameless: true}, false, Doubtful, false},
		{30 * s, NotFound{Nameless: true, Later: true}, false, Doubtful, false},
	}
	for _, tt := range tests {
		j := Job{State: Doubtful, Sent: noon.Add(-time.Hour), Doubted: noon.Add(-tt.since), Due: noon, Cancel: tt.cancel, Mark: "m"}
		next, err := j.move(tt.look, noon, usual)
		if err != nil || next.State != tt.want || next.Due.IsZero() == tt.due {
			t.Errorf("sent %v ago, %+v, cancelled %v: %s, due %v, %v; want %s, due %v", tt.since, tt.look, tt.cancel, next.State, next.Due, err, tt.want, tt.due)
		}
		if tt.want == Queued && (next.Resent != 1 || next.Mark != "m" || next.Attempts != 1) {
			t.Errorf("sent %v ago, %+v: resent %d with mark %q after %d attempts; want once, the same mark, one attempt", tt.since, tt.look, next.Resent, next.Mark, next.Attempts)
		}
	}
}

// TestDoubtAccepted: an upload that the service claims to have taken is missed
// only after the whole time of doubt, is sent once more, and then waits for a
// person: each time may have cost money.
func TestDoubtAccepted(t *testing.T) {
	j, now := Job{State: Queued, Mark: "m"}, noon
	for sent := range 2 {
		for _, o := range []Outcome{Sending{}, Unanswered{Err: errTrouble, Accepted: true}, NotFound{Later: true}} {
			now = now.Add(time.Minute)
			next, err := j.move(o, now, usual)
			if err != nil {
				t.Fatal(err)
			}
			j = next
		}
		if j.State != Doubtful || j.Due.IsZero() {
			t.Fatalf("sent %d times, a minute ago: %s, due %v; want it to be looked for on", sent+1, j.State, j.Due)
		}
		now = now.Add(usual.doubt)
		next, err := j.move(NotFound{}, now, usual)
		if err != nil {
			t.Fatal(err)
		}
		j = next
		if again := j.State == Queued && !j.Due.IsZero(); again != (sent == 0) {
			t.Fatalf("sent %d times and not found: %s, due %v", sent+1, j.State, j.Due)
		}
	}
	if j.State != Doubtful || !strings.Contains(j.Error, "look into the account") {
		t.Errorf("%s, %q; want it to wait for a person", j.State, j.Error)
	}
	if j, err := j.move(cancel{}, now, usual); err != nil || j.State != Cancelled {
		t.Errorf("cancelled by hand: %s, %v", j.State, err)
	}
}

// TestDoubtLooks: a doubtful upload is looked for soon, ever more rarely, and
// at the moments that settle it.
func TestDoubtLooks(t *testing.T) {
	j, err := Job{State: Uploading, Sent: noon}.move(Unanswered{Err: errTrouble}, noon, usual)
	if err != nil {
		t.Fatal(err)
	}
	var at []time.Duration
	for j.State == Doubtful {
		if len(at) > 100 {
			t.Fatal("it is looked for without end")
		}
		now := j.Due
		at = append(at, now.Sub(noon))
		if j, err = j.move(NotFound{}, now, usual); err != nil {
			t.Fatal(err)
		}
	}
	if at[0] > 2*time.Second || !slices.Contains(at, 30*time.Second) || at[len(at)-1] != 5*time.Minute || len(at) > 20 {
		t.Errorf("looked after %v; want at once, after 30s, after 5m, and rarely between", at)
	}
}

// TestSilence: an attempt that nobody answered is never the one that fails a
// job.
func TestSilence(t *testing.T) {
	for _, start := range []Job{{State: Queued, Due: noon}, {State: Processing, Document: "d", Due: noon, Uploaded: noon}} {
		for silent, want := range map[bool]State{true: start.State, false: Failed} {
			j := start
			for range 12 {
				if j.State != start.State {
					break
				}
				next, err := j.move(Retry{Err: errTrouble, Silent: silent}, noon, usual)
				if err != nil {
					t.Fatal(err)
				}
				j = next
			}
			if j.State != want {
				t.Errorf("%s, silent %v: %s, want %s", start.State, silent, j.State, want)
			}
		}
	}
}

func TestProcessingLimit(t *testing.T) {
	j := Job{State: Processing, Document: "d", Uploaded: noon, Options: Options{DeleteRemote: true}}
	if next, err := j.move(Pending{}, noon.Add(24*time.Hour), usual); err != nil || next.State != Processing {
		t.Errorf("after 24h: %s, %v", next.State, err)
	}
	end := noon.Add(24*time.Hour + 1)
	if next, err := j.move(Pending{}, end, usual); err != nil || next.State != Processing {
		t.Errorf("after one look, as the clock was set: %s, %v", next.State, err)
	}
	j.Looks = fewestLooks
	next, err := j.move(Pending{}, end, usual)
	if err != nil || next.State != Failed || next.Error == "" {
		t.Fatalf("after more than 24h: %s (%q), %v", next.State, next.Error, err)
	}
	if next.Document != "d" || len(next.Doomed(end.Add(time.Hour))) != 0 {
		t.Error("its result may still be had, but its document is not kept for a while")
	}
	if d := next.Doomed(end.Add(8 * 24 * time.Hour)); !slices.Equal(d, []string{"d"}) {
		t.Errorf("a week later %v is deleted, want d", d)
	}

	j.Looks = 0
	var waits []time.Duration
	for now := noon; len(waits) < 40; {
		j, err = j.move(Pending{}, now, usual)
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, j.Due.Sub(now))
		now = j.Due
	}
	if waits[0] > 6*time.Second || slices.Max(waits) > time.Minute || waits[39] < 50*time.Second {
		t.Errorf("it asks after %v; want soon at first, in the end every minute", waits)
	}
}

func TestCancel(t *testing.T) {
	doc := Options{DeleteRemote: true}
	tests := []struct {
		name string
		job  Job
		busy bool
		then []Outcome // the worker's, if it has it, or the look-up's
		want State
		left []string // documents to be deleted
	}{
		{"waiting", Job{State: Queued, Due: noon}, false, nil, Cancelled, nil},
		{"waiting for a twin", Job{State: Queued, Twin: 3}, false, nil, Cancelled, nil},
		{"claimed", Job{State: Queued, Due: noon}, true, []Outcome{Interrupted{}}, Cancelled, nil},
		{"claimed, then trouble", Job{State: Queued, Due: noon}, true, []Outcome{Retry{Err: errTrouble}}, Cancelled, nil},
		{"claimed, then held", Job{State: Queued, Due: noon}, true, []Outcome{Held{Hold{Cause: Token}}}, Cancelled, nil},
		{"uploading, answered", Job{State: Uploading}, true, []Outcome{Uploaded{Document: "d", Twins: []string{"e"}}}, Cancelled, []string{"d", "e"}},
		{"uploading, answered, copies may stay", Job{State: Uploading, Options: Options{}}, true, []Outcome{Uploaded{Document: "d"}}, Cancelled, []string{"d"}},
		{"uploading, failed", Job{State: Uploading}, true, []Outcome{Retry{Err: errTrouble}}, Cancelled, nil},
		{"uploading, stopped", Job{State: Uploading}, true, []Outcome{Interrupted{}}, Cancelled, nil},
		{"uploading, unanswered, found", Job{State: Uploading, Sent: noon}, true, []Outcome{Unanswered{Err: errTrouble}, NotFound{}, Uploaded{Document: "d"}}, Cancelled, []string{"d"}},
		{"uploading, crashed, found", Job{State: Uploading, Sent: noon}, true, []Outcome{crashed{}, Retry{Err: errTrouble}, Uploaded{Document: "d"}}, Cancelled, []string{"d"}},
		{"doubtful, absent", Job{State: Doubtful, Due: noon, Doubted: noon.Add(-time.Hour)}, false, []Outcome{NotFound{}}, Cancelled, nil},
		{"doubtful, found", Job{State: Doubtful, Due: noon, Sent: noon}, false, []Outcome{Uploaded{Document: "d"}}, Cancelled, []string{"d"}},
		{"doubtful, nameless", Job{State: Doubtful}, false, nil, Cancelled, nil},
		{"processing", Job{State: Processing, Document: "d", Due: noon, Options: doc}, false, nil, Cancelled, []string{"d"}},
		{"processing, copies may stay", Job{State: Processing, Document: "d", Due: noon}, false, nil, Cancelled, []string{"d"}},
		{"processing, claimed", Job{State: Processing, Document: "d", Due: noon, Uploaded: noon, Options: doc}, true, []Outcome{Pending{}}, Cancelled, []string{"d"}},
		{"processing, claimed, collected", Job{State: Processing, Document: "d", Due: noon, Options: doc}, true, []Outcome{Collected{}}, Written, []string{"d"}},
		{"processing, claimed, gone", Job{State: Processing, Document: "d", Due: noon, Options: doc}, true, []Outcome{Gone{Err: errTrouble}}, Failed, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := tt.job
			for _, o := range append([]Outcome{cancel{tt.busy}}, tt.then...) {
				next, err := j.move(o, noon, usual)
				if err != nil {
					t.Fatal(err)
				}
				j = next
			}
			left := j.Doomed(noon)
			slices.Sort(left)
			if j.State != tt.want || !slices.Equal(left, tt.left) {
				t.Errorf("%s with %v to delete, want %s with %v", j.State, left, tt.want, tt.left)
			}
			if j.Options.DeleteRemote != tt.job.Options.DeleteRemote {
				t.Error("its options changed")
			}
			if len(left) > 0 && j.Due.IsZero() {
				t.Error("nobody is going to delete what is left")
			}
		})
	}
}

// TestAgain: a retry goes on from what was achieved, and pays only where
// nothing was.
func TestAgain(t *testing.T) {
	recorded := []Result{{Format: "txt", Path: "/scans/a.txt", Content: Digest{1}}}
	tests := []struct {
		name string
		job  Job
		o    again
		want State
		twin uint64
	}{
		{"collecting failed", Job{State: Failed, Document: "d"}, again{}, Processing, 0},
		// A result is recorded before it is written: that it is recorded does not
		// say that it is there.
		{"writing failed", Job{State: Failed, Document: "d", Results: recorded}, again{}, Processing, 0},
		{"deleting failed", Job{State: Failed, Document: "d", Results: recorded, Collected: noon}, again{}, Written, 0},
		{"deleting a late twin failed", Job{State: Failed, Trash: []string{"t"}, Results: recorded, Collected: noon}, again{resend: 1}, Written, 0},
		{"expired", Job{State: Failed, Results: recorded}, again{resend: 1}, Queued, 0},
		{"rejected", Job{State: Rejected}, again{}, Queued, 0},
		{"rejected, its results are elsewhere", Job{State: Rejected}, again{twin: 3, resend: 1}, Queued, 3},
		{"copying failed", Job{State: Failed, Twin: 3}, again{twin: 3, resend: 1}, Queued, 3},
		{"its twin is no more", Job{State: Rejected, Twin: 3}, again{resend: 1}, Queued, 0},
		{"done", Job{State: Done, Collected: noon, Results: recorded}, again{resend: 1}, Queued, 0},
		{"done by copying", Job{State: Done, Twin: 3, Collected: noon}, again{twin: 3, resend: 1}, Queued, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.job.Attempts, tt.job.Options = 7, Options{DeleteRemote: true, Formats: []string{"txt"}}
			j, err := tt.job.move(tt.o, noon, usual)
			if err != nil {
				t.Fatal(err)
			}
			if j.State != tt.want || j.Twin != tt.twin || j.Attempts != 0 || !j.Due.Equal(noon) {
				t.Errorf("%s, twin %d, %d attempts, due %v; want %s, twin %d, none, now", j.State, j.Twin, j.Attempts, j.Due, tt.want, tt.twin)
			}
			if j.State == Queued {
				if r, ok := j.Result("txt"); ok && (!r.Content.IsZero() || !slices.Contains(r.Earlier, Digest{1})) {
					t.Errorf("the earlier result is %+v; want it known as ours, and not as what is wanted", r)
				}
				if !j.Collected.IsZero() {
					t.Error("it is to be sent, but counts as collected")
				}
			}
		})
	}
}

// TestTableIsTheDesign keeps the two tables of moves alike.
func TestTableIsTheDesign(t *testing.T) {
	want := parseMoves(t)
	for from, outcomes := range legal {
		for o, to := range outcomes {
			a, b := slices.Sorted(slices.Values(to)), slices.Sorted(slices.Values(want[string(o)][from]))
			if !slices.Equal(a, b) {
				t.Errorf("%s, %s: the code allows %q, the design %q", from, o, a, b)
			}
		}
	}
	for o, moves := range want {
		for from := range maps.Keys(moves) {
			if legal[from][kind(o)] == nil {
				t.Errorf("%s, %s: the code does not allow it", from, o)
			}
		}
	}
}

func text(t *testing.T, j Job) string {
	t.Helper()
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
