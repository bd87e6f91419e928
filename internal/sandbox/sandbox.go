package sandbox

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options say how a Sandbox behaves. The zero Options accept everything, at
// once, without limits.
type Options struct {
	// Token is the one bearer token that is accepted. With "" any token is,
	// and each has an account of its own: documents of another are 403.
	Token string

	// Credits is how many pages may still be read; nil is without limit.
	Credits *int

	// Work is how long a document takes from its upload until it is
	// processed: queued for the first fifth of it, then processing. nil
	// processes everything at once.
	Work func(Document) time.Duration

	// Engine says what scans contain. Defaults to Plain.
	Engine Engine

	// Names is what the service keeps of an upload's file name. nil keeps it
	// as it was sent.
	Names func(string) string

	// Extractors and Prompts are the ids that exist; nil accepts every one.
	Extractors, Prompts []string

	// Rate is how many requests a second are answered with anything but 429,
	// after a burst of Burst (at least 1). 0 is without limit.
	Rate  rate.Limit
	Burst int

	// Quota is how many requests are answered with anything but 429 in a
	// window of time, which begins with the first request after the last
	// window's end. 0 is without limit; Rate goes before.
	Quota  int
	Window time.Duration

	// Announce is what is told of Rate or Quota.
	Announce Announce

	// Latency passes before each answer, after its work is done.
	Latency time.Duration

	// Zone is where the service writes the time stamps that name no zone.
	// Defaults to UTC.
	Zone *time.Location

	// WebhookURL, if set, is sent the result of each document when it has
	// been processed, once, signed with WebhookSecret. A webhook_url of an
	// upload to v3 takes its place.
	WebhookURL, WebhookSecret string

	// HookClient sends webhooks. Defaults to one with a time-out of 10 s.
	HookClient *http.Client

	// Trouble is what goes wrong.
	Trouble Script

	// OnCall, if set, is called at three moments of each call of the API:
	// n counts all calls from 1, op is the call's name in a Script. It runs
	// on the goroutine that serves the call, which waits for it.
	OnCall func(n int, op string, when Moment)

	// Log gets a line for each call, without names, tokens or texts. nil
	// discards it.
	Log *slog.Logger
}

// Moment is a point in the life of a call.
type Moment int

const (
	Before Moment = iota // the request's head is here, nothing is read or done
	Made                 // the work is done, nothing is answered
	After                // the answer is on its way
)

// A Sandbox is a stand-in of the API. Its methods may be called concurrently.
// Close ends what it started.
type Sandbox struct {
	opts Options
	log  *slog.Logger
	hook *http.Client

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	hooks  sync.WaitGroup

	mu      sync.Mutex // guards all below
	closed  bool
	token   string
	credits *int // a copy of its own
	limits  limits
	trouble *troubles
	webhook webhook
	calls   int
	serial  int
	byID    map[string]*document
	order   []*document // by creation; what left byID is swept out now and then
	failing []*document // failed ones, or to be, whose pages are not yet refunded
	stats   Stats
}

// New returns a Sandbox without documents.
func New(o Options) *Sandbox {
	s := &Sandbox{
		opts:    o,
		log:     o.Log,
		hook:    o.HookClient,
		token:   o.Token,
		trouble: o.Trouble.start(),
		webhook: webhook{o.WebhookURL, o.WebhookSecret},
		byID:    map[string]*document{},
		stats:   Stats{Requests: map[Call]int{}},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.setCredits(o.Credits)
	if s.opts.Engine == nil {
		s.opts.Engine = Plain{}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.hook == nil {
		s.hook = &http.Client{Timeout: 10 * time.Second}
	}
	s.limits = limits{bucket: bucket(o.Rate, o.Burst), quota: o.Quota, window: o.Window}
	return s
}

// Close ends webhooks and readings that are under way and waits for the
// webhooks' goroutines. A closed sandbox answers as before, but sends no
// webhook and lets no engine read.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, d := range s.byID {
		d.stopHook()
	}
	s.mu.Unlock()
	s.cancel()
	s.hooks.Wait()
	return nil
}

// SetToken replaces Options.Token: the account is the same, its token a new one.
func (s *Sandbox) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// SetCredits replaces the pages that are left; nil is without limit.
func (s *Sandbox) SetCredits(pages *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setCredits(pages)
}

func (s *Sandbox) setCredits(pages *int) {
	if s.credits = nil; pages != nil {
		s.credits = new(*pages)
	}
}

// SetTrouble replaces the script; all its rules count from 1 again.
func (s *Sandbox) SetTrouble(t Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = t.start()
}

// SetWebhook replaces where and how webhooks are sent, also for documents that
// are being processed. "" sends none.
func (s *Sandbox) SetWebhook(url, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhook = webhook{url, secret}
	now := time.Now()
	for _, d := range s.byID {
		if now.Before(d.done) {
			s.scheduleHook(d, now)
		}
	}
}

// Stats is what a Sandbox has done since New.
type Stats struct {
	Uploads   int          // documents made
	Billed    int          // pages paid for
	Refunded  int          // pages of failed documents, given back
	Downloads int          // results served
	Deletes   int          // documents deleted by request
	Requests  map[Call]int // how often each call was answered how
}

// A Call is an operation, as a Script names it, and the status code of its
// answer: 0 if the answer was never sent or not sent whole.
type Call struct {
	Op     string
	Status int
}

// Stats returns a copy of the counts.
func (s *Sandbox) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refund(time.Now())
	stats := s.stats
	stats.Requests = maps.Clone(stats.Requests)
	return stats
}

// A Document is what a Sandbox holds of an upload.
type Document struct {
	ID          string
	Name        string // as the service gives it back
	Type        string // MIME type, found by content
	Digest      string // SHA-256 of the content in lower-case hex
	Size        int64  // in bytes
	Pages       int
	Action      string
	ExtractorID string
	PromptID    string
	Status      string // queued, processing, processed, failed
	Error       string // of a failed one
	Created     time.Time
	Updated     time.Time // when Status became what it is
	Expires     time.Time // when it deletes itself
}

// Documents returns what is neither deleted nor expired, oldest first.
func (s *Sandbox) Documents() []Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	docs := make([]Document, 0, len(s.byID))
	for _, d := range s.living(now) {
		docs = append(docs, d.at(now))
	}
	return docs
}

// document is a Document and what decides its future. [Sandbox.mu] guards it.
type document struct {
	Document
	account string // whose it is
	serial  int
	lives   time.Duration // from Created to Expires
	done    time.Time     // when it is processed, or fails
	stays   bool          // it is never done
	failure string        // why it fails at done; "" = it does not
	reading Reading
	hookURL string // of this document alone
	timer   *time.Timer
}

// at returns d as it is at now.
func (d *document) at(now time.Time) Document {
	doc := d.Document
	started := d.Created.Add(d.done.Sub(d.Created) / 5)
	switch {
	case !d.stays && !now.Before(d.done):
		doc.Status, doc.Updated = "processed", d.done
		if d.failure != "" {
			doc.Status, doc.Error = "failed", d.failure
		}
	case now.Before(started):
		doc.Status, doc.Updated = "queued", d.Created
	default:
		doc.Status, doc.Updated = "processing", started
	}
	return doc
}

func (d *document) stopHook() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// The methods below want s.mu to be held.

// add makes d a document of the sandbox and bills it, unless credits are short.
func (s *Sandbox) add(d *document, now time.Time) bool {
	if s.credits != nil && *s.credits < d.Pages {
		return false
	}
	if s.credits != nil {
		*s.credits -= d.Pages
	}
	if len(s.order) >= 2*len(s.byID)+64 {
		s.living(now)
	}
	s.serial++
	d.serial = s.serial
	for d.ID == "" || s.byID[d.ID] != nil {
		d.ID = strings.ToLower(rand.Text()[:10])
	}
	s.byID[d.ID] = d
	s.order = append(s.order, d)
	s.stats.Uploads++
	s.stats.Billed += d.Pages
	if d.failure != "" {
		s.failing = append(s.failing, d)
	}
	s.scheduleHook(d, now)
	return true
}

// find returns the document of this id that is there at now, or nil.
func (s *Sandbox) find(id string, now time.Time) *document {
	d := s.byID[id]
	if d != nil && !now.Before(d.Expires) {
		s.remove(d, now)
		return nil
	}
	return d
}

func (s *Sandbox) remove(d *document, now time.Time) {
	s.refund(now)
	d.stopHook()
	d.reading = Reading{}
	delete(s.byID, d.ID)
}

// living sweeps the dead out of s.order and returns it.
func (s *Sandbox) living(now time.Time) []*document {
	s.order = slices.DeleteFunc(s.order, func(d *document) bool { return s.find(d.ID, now) == nil })
	return s.order
}

// fail makes d fail at once.
func (s *Sandbox) fail(d *document, why string, now time.Time) {
	if d.failure == "" {
		s.failing = append(s.failing, d)
	}
	d.failure, d.done, d.stays = why, now, false
	d.stopHook()
}

// refund gives back the pages of documents that have failed by now.
func (s *Sandbox) refund(now time.Time) {
	s.failing = slices.DeleteFunc(s.failing, func(d *document) bool {
		if d.stays || now.Before(d.done) {
			return s.byID[d.ID] == nil // it will not live to fail
		}
		s.stats.Refunded += d.Pages
		if s.credits != nil {
			*s.credits += d.Pages
		}
		return true
	})
}

// stay puts off that d is done, by delay or, if that is 0, for ever.
func (s *Sandbox) stay(d *document, delay time.Duration, now time.Time) {
	d.stays = delay == 0
	if d.done.Before(now) {
		d.done = now
	}
	d.done = d.done.Add(delay)
	s.scheduleHook(d, now)
}

// scanName is the upload's name as the service keeps it.
func (s *Sandbox) scanName(name string) string {
	if s.opts.Names != nil {
		name = s.opts.Names(name)
	}
	return cmp.Or(name, "document")
}
