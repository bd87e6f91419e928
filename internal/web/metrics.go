package web

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scandrop/queue"
)

// A Meter counts what happens between the daemon and the service. Its zero value
// is ready. It may be used concurrently.
type Meter struct {
	mu       sync.Mutex
	requests map[request]int64
	took     histogram
}

type request struct {
	op     string
	status int // 0: no answer
}

// Asked counts a request to the service: of which operation, and the status of
// its answer, 0 if there was none.
func (m *Meter) Asked(op string, status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.requests == nil {
		m.requests = map[request]int64{}
	}
	m.requests[request{op, status}]++
}

// Requests is how many requests went out, and how many of them the service
// called too many.
func (m *Meter) Requests() (all, refused int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, n := range m.requests {
		all += n
		if r.status == http.StatusTooManyRequests {
			refused += n
		}
	}
	return all, refused
}

// Done counts a scan that is done, by how long that took since it was queued.
func (m *Meter) Done(j queue.Job) { m.took.add(j.Finished.Sub(j.Added)) }

// bounds of the histogram, in seconds: from a photo to a weekend.
var bounds = [...]float64{5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600, 72 * 3600}

type histogram struct {
	counts [len(bounds) + 1]atomic.Int64
	micros atomic.Int64 // the sum
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	i, _ := slices.BinarySearch(bounds[:], d.Seconds())
	h.counts[i].Add(1)
	h.micros.Add(d.Microseconds())
}

// A family writes the samples of one metric in the text format of Prometheus.
type family struct {
	w    io.Writer
	name string
}

func newFamily(w io.Writer, name, kind, help string) family {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	return family{w, name}
}

// sample writes a value; labels are names and values by turns.
func (f family) sample(value float64, labels ...string) {
	fmt.Fprint(f.w, f.name)
	for i := 0; i+1 < len(labels); i += 2 {
		lead := ","
		if i == 0 {
			lead = "{"
		}
		fmt.Fprintf(f.w, `%s%s="%s"`, lead, labels[i], escapeLabel.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")))
	}
	if len(labels) > 0 {
		fmt.Fprint(f.w, "}")
	}
	fmt.Fprintf(f.w, " %v\n", value)
}

var escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// metrics serves what Prometheus wants to know. It names folders and no file.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	st, err := s.status()
	if err != nil {
		s.failed(w, r, err)
		return
	}
	billed, err := s.Queue.Billed()
	if err != nil {
		s.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	one := func(name, kind, help string, value float64, labels ...string) {
		newFamily(w, name, kind, help).sample(value, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	seconds := func(t time.Time) float64 {
		if t.IsZero() {
			return 0
		}
		return float64(t.UnixMilli()) / 1000
	}

	one("scandrop_build_info", "gauge", "Which scandrop this is; always 1.", 1, "version", st.Version)
	one("scandrop_start_time_seconds", "gauge", "When it started, in seconds since 1970.", seconds(st.Started))
	one("scandrop_ready", "gauge", "Whether work gets done: the queue can be written and nothing is held.", flag(st.Ready))

	jobs := newFamily(w, "scandrop_jobs", "gauge", "Jobs by hot folder and state.")
	for _, f := range st.Folders {
		for _, state := range queue.States {
			jobs.sample(float64(f.Jobs[state]), "folder", f.Path, "state", string(state))
		}
	}
	held := newFamily(w, "scandrop_held", "gauge", "What is held, by cause and hot folder (none for all): how many holds.")
	type scope struct {
		cause  queue.Cause
		folder string
	}
	var scopes []scope // each once: several profiles of one hot folder may be held
	holds := map[scope]int{}
	for _, h := range st.Holds {
		sc := scope{h.Cause, h.Folder}
		if holds[sc]++; holds[sc] == 1 {
			scopes = append(scopes, sc)
		}
	}
	for _, sc := range scopes {
		held.sample(float64(holds[sc]), "cause", string(sc.cause), "folder", sc.folder)
	}
	today := newFamily(w, "scandrop_today", "gauge", "What came to its end since midnight, by state.")
	today.sample(float64(st.Today.Done), "state", "done")
	today.sample(float64(st.Today.Failed), "state", "failed")
	today.sample(float64(st.Today.Rejected), "state", "rejected")
	one("scandrop_pages_today", "gauge", "Pages of the scans that were done since midnight, as far as the service says how many.", float64(st.Today.Pages))
	limits := newFamily(w, "scandrop_limit_pages", "gauge", "Pages that may be used, by limit and hot folder (none for all).")
	for _, l := range st.Limits {
		limits.sample(float64(l.Most), "limit", l.Name, "folder", l.Folder)
	}
	used := newFamily(w, "scandrop_limit_used_pages", "gauge", "Pages that are used of a limit.")
	for _, l := range st.Limits {
		used.sample(float64(l.Used), "limit", l.Name, "folder", l.Folder)
	}

	last := newFamily(w, "scandrop_folder_last_scan_timestamp_seconds", "gauge", "When a scan was last taken from a hot folder, in seconds since 1970; 0 for not since the start.")
	for _, f := range st.Folders {
		last.sample(seconds(f.Last), "folder", f.Path)
	}
	missed := newFamily(w, "scandrop_missed_events_total", "counter", "Scans that no event told of, found by a look at the whole folder.")
	for _, f := range st.Folders {
		missed.sample(float64(f.Missed), "folder", f.Path)
	}
	polled := newFamily(w, "scandrop_folder_polled", "gauge", "Whether a hot folder is looked at by the clock alone, without events.")
	for _, f := range st.Folders {
		polled.sample(flag(f.Mode == "polling"), "folder", f.Path)
	}

	one("scandrop_billed_pages_total", "counter", "Pages of all documents that the service made of our scans; one where it does not say.", float64(billed.Pages))
	one("scandrop_distinct_pages_total", "counter", "Those of them that were to be billed: of contents that were not billed before, or that a person asked to be.", float64(billed.Distinct))
	ratio := 1.0
	if billed.Distinct > 0 {
		ratio = float64(billed.Pages) / float64(billed.Distinct)
	}
	one("scandrop_billed_pages_ratio", "gauge", "Billed pages over distinct pages; 1 is the promise.", ratio)

	one("scandrop_rate_requests_per_second", "gauge", "How fast the service is asked at present.", st.Pace.Rate)
	one("scandrop_rate_limit_requests_per_second", "gauge", "How fast it is asked at most (api.rate).", st.Pace.Limit)
	one("scandrop_rate_wait_until_timestamp_seconds", "gauge", "Before when nothing is asked, as the service wished, in seconds since 1970; 0 for no such wait.", seconds(st.Pace.NotBefore))
	one("scandrop_backoffs_total", "counter", "Answers of the service that it was asked too often (429).", float64(st.Pace.Refused))
	one("scandrop_queue_bytes", "gauge", "The size of the queue file.", float64(st.Bytes))
	s.Meter.write(w)
}

func (m *Meter) write(w io.Writer) {
	m.mu.Lock()
	all := make([]request, 0, len(m.requests))
	counts := map[request]int64{}
	for r, n := range m.requests {
		all = append(all, r)
		counts[r] = n
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b request) int {
		if c := strings.Compare(a.op, b.op); c != 0 {
			return c
		}
		return a.status - b.status
	})
	requests := newFamily(w, "scandrop_requests_total", "counter", "Requests to the service, by operation and status of the answer (none: no answer).")
	for _, r := range all {
		status := fmt.Sprint(r.status)
		if r.status == 0 {
			status = "none"
		}
		requests.sample(float64(counts[r]), "operation", r.op, "status", status)
	}
	const took = "scandrop_scan_duration_seconds"
	newFamily(w, took, "histogram", "From the moment a scan was queued until it was done.")
	n := int64(0)
	for i := range m.took.counts {
		n += m.took.counts[i].Load()
		le := "+Inf"
		if i < len(bounds) {
			le = fmt.Sprint(bounds[i])
		}
		family{w, took + "_bucket"}.sample(float64(n), "le", le)
	}
	family{w, took + "_sum"}.sample(float64(m.took.micros.Load()) / 1e6)
	family{w, took + "_count"}.sample(float64(n))
}
