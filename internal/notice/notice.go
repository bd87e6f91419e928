// Package notice tells people of trouble who are not looking: that a scan failed
// for good, that the queue is held or free again, that nothing has arrived for
// long, and once a day what was done.
//
// What happens is bundled: each way of telling gathers for some seconds, then for
// its Every, and a thousand failures are one notice. A notice that cannot be sent
// is tried again, ever more rarely, with all that has happened since; what waits
// is kept across restarts, and bounded. Nothing here stops or delays the work, and
// no secret reaches the log.
package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Kind is what a notice tells of.
type Kind string

const (
	Failed Kind = "failed" // a scan failed for good, or was rejected
	Held   Kind = "held"   // something is held
	Free   Kind = "free"   // a hold is over
	Silent Kind = "silent" // nothing has arrived for long
	Digest Kind = "digest" // what was done in a day
)

// Kinds lists every kind, the most urgent first.
var Kinds = []Kind{Held, Failed, Silent, Free, Digest}

// An Event is one thing that happened. Its JSON keys are a contract.
type Event struct {
	Kind  Kind      `json:"kind"`
	At    time.Time `json:"at"`
	Job   uint64    `json:"job,omitempty"`
	Scan  string    `json:"scan,omitempty"`
	State string    `json:"state,omitempty"` // of the job: failed or rejected
	Hold  string    `json:"hold,omitempty"`  // its name
	Text  string    `json:"text"`            // why, in plain words
}

// A Notice is what is sent: everything since the last one. Its JSON keys are a
// contract.
type Notice struct {
	ID     string       `json:"id"` // the same when it is sent again
	Host   string       `json:"host"`
	Title  string       `json:"title"`
	Counts map[Kind]int `json:"counts"`
	Events []Event      `json:"events"`         // the first: at most 20 failures, 40 events in all
	More   int          `json:"more,omitempty"` // events that are left out
}

// mostEvents bounds the failures that a notice lists, and twice that all it lists; the
// rest is counted.
const mostEvents = 20

// Text is the notice for people to read, without its title.
func (n Notice) Text() string {
	var b strings.Builder
	for _, e := range n.Events {
		fmt.Fprintf(&b, "%s  %s\n", e.At.Local().Format("2006-01-02 15:04"), e.line())
	}
	if n.More > 0 {
		fmt.Fprintf(&b, "and %d more\n", n.More)
	}
	if n.Counts[Failed] > 0 {
		b.WriteString("\n\"scandrop queue list --state failed,rejected\" says why, \"scandrop queue retry JOB\" tries again.\n")
	}
	if n.Counts[Held] > 0 {
		b.WriteString("\n\"scandrop status\" shows what is held; it goes on by itself when the trouble is over.\n")
	}
	return b.String()
}

func (e Event) line() string {
	switch e.Kind {
	case Failed:
		return fmt.Sprintf("%s %s (job %d): %s", e.Scan, e.State, e.Job, e.Text)
	case Held:
		return fmt.Sprintf("held, %s: %s", e.Hold, e.Text)
	case Free:
		return fmt.Sprintf("free again, %s", e.Hold)
	}
	return e.Text
}

// titles say how often what happened.
var titles = map[Kind][2]string{
	Held: {"held: 1 hold", "held: %d holds"}, Failed: {"1 scan failed", "%d scans failed"},
	Silent: {"nothing arrives", "nothing arrives"}, Free: {"free again", "free again"}, Digest: {"digest of the day", "digests of %d days"},
}

func title(host string, counts map[Kind]int) string {
	var parts []string
	for _, k := range Kinds {
		switch n := counts[k]; {
		case n == 1 || n > 1 && !strings.Contains(titles[k][1], "%"):
			parts = append(parts, titles[k][0])
		case n > 1:
			parts = append(parts, fmt.Sprintf(titles[k][1], n))
		}
	}
	return "scandrop on " + host + ": " + strings.Join(parts, ", ")
}

// A Sender sends a notice on one way. Its errors hold no secret.
type Sender interface {
	Send(context.Context, Notice) error
}

// A Way is one way of telling people, and of what.
type Way struct {
	Name   string // for the log, and under which what waits is kept
	Sender Sender
	Events []Kind        // of Failed, Held and Free
	Every  time.Duration // at most one notice in this time
	// Silent is how long nothing has to arrive until that is told; 0 is never.
	Silent time.Duration
	// Digest is when the digest is sent, by the local clock, since midnight;
	// negative is never.
	Digest time.Duration
}

// A Hold is what is held.
type Hold struct{ Name, Reason string }

// Config says what a Notifier works with.
type Config struct {
	Host string
	Ways []Way

	Holds  func() []Hold             // what is held now
	Newest func() (time.Time, error) // when the newest scan arrived; zero if none ever did
	Open   func() (int, error)       // how many scans are not at their end
	Keep   func([]byte) error        // keeps what waits; Kept gives it back, nil at first
	Kept   func() ([]byte, error)
	Log    *slog.Logger
}

const (
	gather    = 10 * time.Second // after the first event, for those that come with it
	lookEvery = 5 * time.Second  // at what is held
	keepAfter = time.Second      // so that a thousand failures are not a thousand transactions
	sendTime  = 30 * time.Second
	firstWait = time.Minute // after a notice that could not be sent
	longest   = time.Hour
)

// A Notifier is made by New and run once.
type Notifier struct {
	Config
	wake chan struct{} // closed, and replaced, when something has happened
	mu   sync.Mutex
	memory
	dirty bool
	ended map[uint64]time.Time // jobs whose end was told of → when that was
}

// memory is what is kept.
type memory struct {
	Holds map[string]time.Time `json:"holds"` // that were told of, by name → when they were seen first
	Ways  map[string]*outbox   `json:"ways"`
	Tally map[string]*tally    `json:"tally"` // by way, since its last digest
	Began time.Time            `json:"began"` // when there were notices for the first time
}

// An outbox is what waits to be sent on one way.
type outbox struct {
	ID         string       `json:"id,omitempty"`
	Counts     map[Kind]int `json:"counts,omitempty"`
	Events     []Event      `json:"events,omitempty"`
	Since      time.Time    `json:"since,omitzero"`       // the first of it
	Sent       time.Time    `json:"sent,omitzero"`        // the last notice
	SilentTold time.Time    `json:"silent_told,omitzero"` // the arrival since when nothing came, as told
	DigestTold time.Time    `json:"digest_told,omitzero"`
	Sequence   int          `json:"sequence"`

	failures int
	retry    time.Time
}

// A tally is what was done since the last digest.
type tally struct{ Done, Failed, Rejected, Pages int }

// New returns a Notifier that goes on where the last one ended.
func New(c Config) (*Notifier, error) {
	n := &Notifier{Config: c, wake: make(chan struct{}), ended: map[uint64]time.Time{}}
	text, err := c.Kept()
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &n.memory) != nil {
		n.memory = memory{} // what cannot be read is not worth stopping for
	}
	if n.memory.Holds == nil {
		n.memory.Holds = map[string]time.Time{}
	}
	ways, tallies := map[string]*outbox{}, map[string]*tally{}
	for _, w := range c.Ways {
		if ways[w.Name] = n.memory.Ways[w.Name]; ways[w.Name] == nil {
			ways[w.Name] = &outbox{}
		}
		if ways[w.Name].Counts == nil {
			ways[w.Name].Counts = map[Kind]int{}
		}
		if tallies[w.Name] = n.Tally[w.Name]; tallies[w.Name] == nil {
			tallies[w.Name] = &tally{}
		}
	}
	n.memory.Ways, n.Tally = ways, tallies
	if now := time.Now(); n.Began.IsZero() || n.Began.After(now) {
		n.Began = now.Round(0)
	}
	return n, nil
}

// An End is how a scan came to its end.
type End struct {
	Job         uint64
	Scan, State string
	Error       string
	Pages       int
	At          time.Time // tells one end of a job from the next
}

// mostEnded bounds the ends that are remembered in order not to be told of twice.
const mostEnded = 10000

// Ended takes note of the end of a scan: done, failed or rejected. It may be told
// of the same one several times. It never blocks.
func (n *Notifier) Ended(e End) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended[e.Job].Equal(e.At) {
		return
	}
	if len(n.ended) >= mostEnded {
		clear(n.ended)
	}
	n.ended[e.Job] = e.At
	for _, t := range n.Tally {
		switch e.State {
		case "done":
			t.Done++
			t.Pages += e.Pages
		case "failed":
			t.Failed++
		case "rejected":
			t.Rejected++
		}
	}
	n.dirty = true
	if e.State != "done" {
		n.tell(Event{Kind: Failed, At: e.At, Job: e.Job, Scan: e.Scan, State: e.State, Text: e.Error})
	}
}

// tell puts an event into the outbox of each way that is to tell of it. The
// caller holds n.mu.
func (n *Notifier) tell(e Event) {
	for _, w := range n.Config.Ways {
		if slices.Contains(w.Events, e.Kind) {
			n.put(w, e)
		}
	}
}

func (n *Notifier) put(w Way, e Event) {
	o := n.memory.Ways[w.Name]
	if len(o.Counts) == 0 {
		o.Since = time.Now().Round(0)
	}
	const longestText = 500
	if r := []rune(e.Text); len(r) > longestText {
		e.Text = string(r[:longestText]) + "…"
	}
	o.Counts[e.Kind]++
	if len(o.Events) < mostEvents || e.Kind != Failed && len(o.Events) < 2*mostEvents { // failures push nothing out
		o.Events = append(o.Events, e)
	}
	n.dirty = true
	close(n.wake)
	n.wake = make(chan struct{})
}

// look finds out what only a look tells.
func (n *Notifier) look(now time.Time) {
	held := n.Config.Holds()
	n.mu.Lock()
	defer n.mu.Unlock()
	standing := map[string]bool{}
	for _, h := range held {
		standing[h.Name] = true
		if _, told := n.memory.Holds[h.Name]; !told {
			n.memory.Holds[h.Name] = now.Round(0)
			n.dirty = true
			n.tell(Event{Kind: Held, At: now.Round(0), Hold: h.Name, Text: h.Reason})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.memory.Holds)) {
		if !standing[name] {
			since := n.memory.Holds[name]
			delete(n.memory.Holds, name)
			n.dirty = true
			n.tell(Event{Kind: Free, At: now.Round(0), Hold: name, Text: "held since " + since.Local().Format("2006-01-02 15:04")})
		}
	}
	for _, w := range n.Config.Ways {
		n.lookSilent(w, now)
		n.lookDigest(w, now)
	}
}

func (n *Notifier) lookSilent(w Way, now time.Time) {
	if w.Silent <= 0 {
		return
	}
	newest, err := n.Newest()
	if err != nil {
		return
	}
	if newest.Before(n.Began) {
		newest = n.Began
	}
	o := n.memory.Ways[w.Name]
	if now.Sub(newest) < w.Silent || o.SilentTold.Equal(newest) {
		return
	}
	o.SilentTold = newest
	n.put(w, Event{Kind: Silent, At: now.Round(0),
		Text: fmt.Sprintf("no scan has arrived since %s: is the scanner on, and does it save into the hot folder?", newest.Local().Format("2006-01-02 15:04"))})
}

func (n *Notifier) lookDigest(w Way, now time.Time) {
	if w.Digest < 0 {
		return
	}
	o := n.memory.Ways[w.Name]
	if o.DigestTold.IsZero() || o.DigestTold.After(now) {
		o.DigestTold = n.Began // the first comes when its time has come once
	}
	local := now.Local()
	due := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.Local).Add(w.Digest)
	if due.After(now) {
		due = due.AddDate(0, 0, -1)
	}
	if !o.DigestTold.Before(due) {
		return
	}
	open, err := n.Open()
	if err != nil {
		return
	}
	t := n.Tally[w.Name]
	text := fmt.Sprintf("since %s: %d done (%d pages), %d failed, %d rejected; %d not finished",
		o.DigestTold.Local().Format("2006-01-02 15:04"), t.Done, t.Pages, t.Failed, t.Rejected, open)
	for _, name := range slices.Sorted(maps.Keys(n.memory.Holds)) {
		text += "; held: " + name
	}
	o.DigestTold, *t = now.Round(0), tally{}
	n.put(w, Event{Kind: Digest, At: now.Round(0), Text: text})
}

// Run looks and sends until ctx is done. What waits then is kept.
func (n *Notifier) Run(ctx context.Context) {
	var g sync.WaitGroup
	defer func() {
		g.Wait()
		n.keep()
	}()
	for _, w := range n.Config.Ways {
		g.Go(func() { n.serve(ctx, w) })
	}
	g.Go(func() {
		for wait(ctx, nil, keepAfter) {
			n.keep()
		}
	})
	for {
		n.look(time.Now())
		if !wait(ctx, nil, lookEvery) {
			return
		}
	}
}

// Flush looks once more and sends what waits at once, for a process that ends by
// itself. What cannot be sent is kept.
func (n *Notifier) Flush(ctx context.Context) {
	n.look(time.Now())
	var g sync.WaitGroup
	for _, w := range n.Config.Ways {
		g.Go(func() { n.send(ctx, w) })
	}
	g.Wait()
	n.keep()
}

// wait waits for the time, or less if wake is closed, and reports whether ctx
// still goes on.
func wait(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
	return ctx.Err() == nil
}

// serve sends what waits on one way whenever it is due.
func (n *Notifier) serve(ctx context.Context, w Way) {
	for ctx.Err() == nil {
		n.mu.Lock()
		wake, o := n.wake, n.memory.Ways[w.Name]
		due := 24 * time.Hour // it is woken before
		if len(o.Counts) > 0 {
			at := o.Since.Add(gather)
			for _, t := range []time.Time{o.Sent.Add(w.Every), o.retry} {
				if t.After(at) {
					at = t
				}
			}
			due = time.Until(at)
		}
		n.mu.Unlock()
		if due > 0 {
			wait(ctx, wake, min(due, 24*time.Hour))
			continue
		}
		n.send(ctx, w)
	}
}

// send sends what waits on one way, if anything does.
func (n *Notifier) send(ctx context.Context, w Way) {
	n.mu.Lock()
	o := n.memory.Ways[w.Name]
	if len(o.Counts) == 0 {
		n.mu.Unlock()
		return
	}
	if o.ID == "" {
		o.Sequence++
		o.ID = fmt.Sprintf("%d-%d", n.Began.Unix(), o.Sequence)
	}
	notice := Notice{ID: o.ID, Host: n.Host, Counts: maps.Clone(o.Counts), Events: slices.Clone(o.Events)}
	n.mu.Unlock()

	sum := 0
	for _, c := range notice.Counts {
		sum += c
	}
	notice.More = sum - len(notice.Events)
	notice.Title = title(n.Host, notice.Counts)
	limited, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	err := w.Sender.Send(limited, notice)

	n.mu.Lock()
	defer n.mu.Unlock()
	n.dirty = true
	if err != nil {
		if ctx.Err() != nil {
			return // told to stop: it waits for the next start
		}
		o.failures++
		pause := min(firstWait<<min(o.failures-1, 10), longest)
		o.retry = time.Now().Add(pause)
		n.Log.Warn("notice not sent, trying again", "notice", w.Name, "error", err, "due", o.retry.Round(time.Second))
		return
	}
	n.Log.Info("notice sent", "notice", w.Name, "events", sum)
	for k, c := range notice.Counts { // what came meanwhile waits for the next
		if o.Counts[k] -= c; o.Counts[k] <= 0 {
			delete(o.Counts, k)
		}
	}
	o.Events = slices.Clone(o.Events[len(notice.Events):])
	o.ID, o.Sent, o.Since, o.failures, o.retry = "", time.Now().Round(0), time.Now().Round(0), 0, time.Time{}
}

// keep keeps what has changed.
func (n *Notifier) keep() {
	n.mu.Lock()
	if !n.dirty {
		n.mu.Unlock()
		return
	}
	n.dirty = false
	text, err := json.Marshal(n.memory)
	n.mu.Unlock()
	if err == nil {
		err = n.Keep(text)
	}
	if err != nil { // a full disk, say: it is tried again with the next change
		n.mu.Lock()
		n.dirty = true
		n.mu.Unlock()
	}
}
