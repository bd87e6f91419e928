//go:build unix

package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A plan is what people and the machine do, and how the service is minded. Its
// steps name files by themselves, so that any of them can be left out.
type plan struct {
	seed     uint64
	steps    []step
	level    float64       // chance of trouble of any call
	downtime time.Duration // from a kill to the next start
	rescan   time.Duration
	formats  string // of folder a
	daily    int    // pages that folder a may cost a day; 0 = any
	checks   int    // every so many steps; 0 = after each
	refused  bool   // the service knows nothing of what folder b asks for
	loses    bool   // the queue file is lost, or what replaces it is older
	patient  bool   // so much time passes in the end that what belongs to nobody is deleted, too
	lags     bool   // the list lags longer than doubt: the stated limit of what is promised
	harmless bool   // the service does nothing to scans that they do not survive
	workers  int
	latency  time.Duration
	boxRate  rate.Limit
	hooks    string // how the service announces results: "" (not), signed, or path (to a secret one)
	work     func(sandbox.Document) time.Duration
}

// A step is one thing that happens.
type step struct {
	at   time.Duration // from the beginning
	do   string
	path string // below the world
	to   string
	n    int
	d    time.Duration
}

func (t step) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", t.at, t.do)
	if t.path != "" {
		fmt.Fprintf(&b, " %s", t.path)
	}
	if t.to != "" {
		fmt.Fprintf(&b, " %s", t.to)
	}
	if t.n != 0 {
		fmt.Fprintf(&b, " %d", t.n)
	}
	if t.d != 0 {
		fmt.Fprintf(&b, " for %v", t.d)
	}
	return b.String()
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "webhook %q, trouble %v, downtime %v, rescan %v, formats %s, %d pages a day, %d workers, latency %v, the service's rate %v\n",
		p.hooks, p.level, p.downtime, p.rescan, p.formats, p.daily, p.workers, p.latency, p.boxRate)
	for _, t := range p.steps {
		fmt.Fprintf(&b, "%v\n", t)
	}
	return b.String()
}

// config is the plan's configuration. b moves what is done, a does not; of what is
// dropped into c a copy is kept until it is done.
func (p plan) config(world string) string {
	prompt := ""
	if p.refused {
		prompt = ", prompt_id: nobody"
	}
	return fmt.Sprintf(`
api: {url: "https://sandbox.invalid/api/v2", token: %s}
status: {listen: ""}
state: %s
workers: %d
folders:
- {path: %s, formats: %s, watch: poll, quiet: %v, rescan: %v, limits: {pages_per_day: %d}}
- {path: %s, formats: [txt], watch: poll, quiet: %v, rescan: %v, originals: {done: %s}%s}
- {path: %s, formats: [txt], watch: poll, quiet: %v, rescan: %v, spool: true}
%s`, goodToken, filepath.Join(filepath.Dir(world), "state0"), p.workers,
		filepath.Join(world, "a"), p.formats, quiet, p.rescan, p.daily,
		filepath.Join(world, "b"), quiet, p.rescan, filepath.Join(world, "done"), prompt,
		filepath.Join(world, "c"), quiet, p.rescan, p.hookConfig(filepath.Dir(world)))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// newPlan is the plan of a seed.
func newPlan(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed:     seed,
		level:    pick(r, 0, 0.01, 0.03, 0.06, 0.1),
		downtime: pick(r, time.Second, 20*time.Second, 10*time.Minute, 3*time.Hour),
		rescan:   pick(r, time.Minute, 5*time.Minute),
		formats:  pick(r, "[txt]", "[txt]", "[txt, json]", "[txt, json]", "[json, txt]", "[json, txt]", "[docx, txt]"),
		workers:  pick(r, 1, 2, 4, 4),
		latency:  pick(r, 0, 50*time.Millisecond, time.Second),
		boxRate:  pick(r, rate.Limit(0), 0, 0, 1),
	}
	slowest := pick(r, 0, 10*time.Second, 10*time.Second, 40*time.Minute)
	p.work = func(d sandbox.Document) time.Duration {
		if slowest == 0 {
			return 0
		}
		n, _ := strconv.ParseUint(d.Digest[:8], 16, 64)
		return time.Duration(n) * time.Second % slowest
	}
	horizon := pick(r, 5*time.Minute, 15*time.Minute, 15*time.Minute, 30*time.Minute, 30*time.Minute, time.Hour, 3*time.Hour, 18*time.Hour)
	at := func() time.Duration {
		return (time.Duration(r.Int64N(int64(horizon)))).Round(time.Millisecond)
	}
	names := []string{"letter.gif", "letter.jpg", "note.gif", "page 1.gif", "page 2.gif", "sub/deep.gif", "Übung.gif", "x.GIF", "book.tif"}
	var paths []string
	name := func() string {
		path := pick(r, "a/", "a/", "b/", "b/", "c/") + pick(r, names...)
		paths = append(paths, path)
		return path
	}
	known := func() string {
		if len(paths) == 0 || r.IntN(8) == 0 {
			return name()
		}
		return pick(r, paths...)
	}
	contents := 3 + r.IntN(12)
	n := 0
	fresh := func() int { // most contents come once, some come back
		if r.IntN(6) == 0 {
			return 1 + r.IntN(contents)
		}
		n++
		return n
	}
	add := func(t step) { p.steps = append(p.steps, t) }
	for range 3 + r.IntN(10) {
		t := step{at: at(), do: "drop", path: name(), n: fresh()}
		switch r.IntN(12) {
		case 0:
			t.do, t.d = "drop slowly", pick(r, 500*time.Millisecond, 2*time.Second, 4*time.Second, 4900*time.Millisecond)
		case 1:
			t.do, t.d = "drop interrupted", pick(r, 6*time.Second, 2*time.Minute)
		case 2, 3:
			t.do = "drop book"
		}
		add(t)
	}
	for range r.IntN(8) {
		switch r.IntN(13) {
		case 0, 1:
			add(step{at: at(), do: "edit", path: known(), n: fresh()})
		case 2:
			add(step{at: at(), do: "copy", path: known(), to: name()})
		case 3:
			add(step{at: at(), do: "rename", path: known(), to: name()})
		case 4:
			add(step{at: at(), do: "remove", path: known()})
		case 5, 6:
			add(step{at: at(), do: "edit result", n: r.IntN(100)})
		case 7:
			add(step{at: at(), do: "stranger", path: known(), to: pick(r, "txt", "json")})
		case 8:
			add(step{at: at(), do: pick(r, "junk", "empty", "doomed"), path: name(), n: fresh()})
		case 9:
			add(step{at: at(), do: "touch", path: known()})
		case 10, 11:
			add(step{at: at(), do: "retry", n: r.IntN(100)})
		case 12:
			add(step{at: at(), do: "cancel", n: r.IntN(100)})
		}
	}
	for range r.IntN(7) {
		switch r.IntN(5) {
		case 0:
			add(step{at: at(), do: "kill"})
		case 1:
			add(step{at: at(), do: "stop", d: pick(r, time.Second, time.Minute, 5*time.Hour)})
		default:
			add(step{at: at(), do: "kill soon", n: 1 + r.IntN(60)})
		}
	}
	for range r.IntN(4) {
		d := pick(r, 10*time.Second, time.Minute, 3*time.Minute)
		switch r.IntN(9) {
		case 0:
			add(step{at: at(), do: "no token", d: pick(r, time.Minute, time.Hour)})
		case 1:
			add(step{at: at(), do: "no credits", d: pick(r, time.Minute, 3*time.Hour)})
		case 2:
			add(step{at: at(), do: "folder gone", path: pick(r, "a", "b", "c"), d: pick(r, time.Second, time.Minute, time.Hour)})
		case 3:
			add(step{at: at(), do: "outage", path: "any", to: pick(r, "429", "429 retry-after 20", "429 retry-after date", "429 retry-after absurd", "408"), d: d})
		case 4:
			add(step{at: at(), do: "outage", path: "any", to: pick(r, "500", "502 html", "503", "drop", "slow 3m"), d: d})
		case 5:
			add(step{at: at(), do: "outage", path: "list", to: pick(r, "500", "lag 1m", "lag 4m", "garbage"), d: pick(r, d, 20*time.Minute)})
		case 6:
			add(step{at: at(), do: "outage", path: "upload", to: pick(r, "lost", "made 500", "drop", "made 502 html", "slow 90s"), d: d})
		case 7:
			add(step{at: at(), do: "outage", path: pick(r, "upload", "any"), to: pick(r, "redirect", "404"), d: d})
		case 8:
			add(step{at: at(), do: "foreign", n: pick(r, 1, 5, 5, 260)})
		}
	}
	if r.IntN(4) == 0 {
		for range 1 + r.IntN(2) {
			add(step{at: at(), do: "reload", to: pick(r, "[txt]", "[json, txt]", "[docx, txt]")})
		}
	}
	if p.lags = r.IntN(20) == 0; p.lags {
		add(step{at: at(), do: "outage", path: "list", to: "lag 2h", d: time.Hour})
	}
	sortSteps(p.steps)
	p.hooks = pick(r, "", "signed", "path")
	p.daily = pick(r, 0, 0, 0, 0, 2, 3, mostLeaves)
	if r.IntN(4) == 0 {
		for range 1 + r.IntN(3) {
			add(step{at: at(), do: "profile", path: pick(r, "c", "c/sub"), to: pick(r, "formats: [json]", "formats: [txt, json]", "formats: [", "")})
		}
		sortSteps(p.steps)
	}
	p.loses = r.IntN(8) == 0 && !p.lags
	if p.loses {
		how := pick(r, "gone", "gone", "gone with its snapshots", "older", "rotten")
		at := at()
		if how == "older" {
			add(step{at: at / 3, do: "copy queue"})
		}
		add(step{at: at, do: "lose queue", to: how})
		sortSteps(p.steps)
	}
	if p.patient = p.loses || r.IntN(16) == 0; p.patient {
		p.rescan = 5 * time.Minute // or it would look about all night
	}
	return p
}

func sortSteps(steps []step) {
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
}

// A trouble is one way in which a call can go wrong.
type trouble struct {
	weight int
	action string
}

var (
	replies = []trouble{
		{4, "500"}, {3, "503"}, {3, "502 html"}, {3, "429"}, {2, "429 retry-after 7"}, {2, "429 retry-after date"},
		{1, "429 retry-after absurd"}, {2, "408"}, {3, "lost"}, {3, "drop"}, {1, "401"}, {1, "redirect"},
		{2, "slow 20s"}, {2, "slow 3m"}, {3, "cut 5"}, {2, "long"},
	}
	troubles = map[string][]trouble{
		"upload": append(slices.Clone(replies), trouble{6, "lost"}, trouble{3, "made 500"}, trouble{3, "made 502 html"},
			trouble{2, "made 504"}, trouble{3, "drop 40"}, trouble{2, "drop 400"}, trouble{2, "empty"}, trouble{2, "garbage"}, trouble{2, "short"},
			trouble{1, "made 202"}, trouble{1, "made 200 html"}, trouble{2, "403"}, trouble{1, "415"}, trouble{1, "422 field file"}, trouble{1, "422 field action"},
			trouble{1, "404"}, trouble{2, `fail "the ink is invisible"`}, trouble{3, "stay 10m"}, trouble{1, "stay 5h"}, trouble{1, "stay"},
			trouble{1, "vanish"}, trouble{1, "twin"}, trouble{1, "413"}),
		"status": append(slices.Clone(replies), trouble{1, "404"}, trouble{2, "garbage"}, trouble{2, "empty"}, trouble{2, "short"}),
		"download": append(slices.Clone(replies), trouble{3, "cut 20"}, trouble{3, "200 html"}, trouble{2, "404"}, trouble{2, "202"},
			trouble{1, `fail "the ink is invisible"`}, trouble{2, "stay 10m"}, trouble{1, "vanish"}, trouble{2, "drip 100ms"}, trouble{1, "drip 3m"}, trouble{1, "403"}),
		"list":   append(slices.Clone(replies), trouble{2, "garbage"}, trouble{2, "empty"}, trouble{2, "short"}, trouble{3, "lag 1m"}, trouble{3, "lag 4m"}, trouble{1, "cut 100"}),
		"delete": append(slices.Clone(replies), trouble{4, "404"}, trouble{3, "made 404"}, trouble{3, "made 500"}, trouble{1, "403"}),
	}
	// Of a text nobody can tell that they are wrong.
	structured = []trouble{{2, "garbage"}, {2, "short"}, {2, "empty"}}
)

// trouble says what goes wrong with the next call; "" is nothing.
func (s *simulation) trouble(op, format string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.foreign {
		return ""
	}
	now := time.Now()
	for _, o := range s.outages {
		if (o.op == op || o.op == "any") && now.Before(o.until) {
			return o.action
		}
	}
	if s.luck.Float64() >= s.level {
		return ""
	}
	from := troubles[op]
	if s.plan.harmless {
		from = slices.DeleteFunc(slices.Clone(from), fateful)
	}
	if format != "" && format != "txt" {
		from = slices.Concat(from, structured)
	}
	sum := 0
	for _, t := range from {
		sum += t.weight
	}
	n := s.luck.IntN(sum)
	for _, t := range from {
		if n -= t.weight; n < 0 {
			return t.action
		}
	}
	return ""
}

// fateful reports whether trouble may be the end of a scan, or of its being paid
// for once.
func fateful(t trouble) bool {
	for _, what := range []string{"fail ", "stay", "vanish", "twin", "404", "413", "415", "422 field file"} {
		if strings.Contains(t.action, what) {
			return true
		}
	}
	return false
}

// take takes a step of the plan. Everybody else waits.
func (s *simulation) take(t step) {
	switch t.do {
	case "drop", "edit":
		if t.do == "edit" && !s.there(t.path) {
			return
		}
		s.write(t.path, s.content(t.n, "scan"))
	case "drop book":
		s.write(t.path, s.content(t.n, "book"))
	case "junk", "empty", "doomed":
		s.write(t.path, s.content(t.n, t.do))
	case "drop slowly":
		s.writeInPieces(t.path, s.content(t.n, "scan"), t.d)
	case "drop interrupted": // a transfer that hangs: what is there looks like a file that has settled
		body := s.content(t.n, "scan")
		s.write(t.path, body[:len(body)/2])
		s.pass(time.Now().Add(t.d))
		if s.there(t.path) && s.files[t.path] != nil && s.files[t.path].digest == digestOf(body[:len(body)/2]) {
			s.write(t.path, body)
		}
	case "copy", "rename":
		if !s.there(t.path) || t.path == t.to || s.folderGone(t.to) {
			return
		}
		body, err := os.ReadFile(s.at(t.path))
		if err != nil {
			s.violated("a user cannot read %s: %v", t.path, err)
			return
		}
		if t.do == "rename" {
			s.remove(t.path)
		}
		s.write(t.to, string(body))
	case "remove":
		s.remove(t.path)
	case "touch":
		if s.there(t.path) && s.files[t.path] != nil {
			now := time.Now()
			os.Chtimes(s.at(t.path), now, now)
			s.files[t.path].since = now
		}
	case "edit result":
		s.editResult(t.n)
	case "stranger":
		s.stranger(strings.TrimSuffix(t.path, filepath.Ext(t.path)) + "." + t.to)
	case "retry", "cancel":
		s.byHand(t.do, t.n)
	case "kill":
		if s.in != nil {
			s.in.crash("at rest")
		}
	case "kill soon":
		if s.in != nil {
			s.in.killAt(t.n, t.path)
		}
	case "copy queue":
		s.copyQueue()
	case "lose queue":
		s.loseQueue(t.to)
	case "stop":
		s.stopped()
		s.restart = time.Now().Add(t.d)
	case "no token":
		s.box.SetToken("another-token")
		time.AfterFunc(t.d, func() { s.box.SetToken(goodToken) })
	case "no credits":
		s.box.SetCredits(new(0))
		time.AfterFunc(t.d, func() { s.box.SetCredits(nil) })
	case "folder gone":
		s.unmount(t.path, t.d)
	case "outage":
		s.mu.Lock()
		s.outages = append(s.outages, outage{t.path, t.to, time.Now().Add(t.d)})
		s.mu.Unlock()
	case "reload":
		s.reload(t.to)
	case "profile":
		s.profile(t.path, t.to)
	case "tidy":
		s.tidy()
	case "foreign":
		s.uploadForeign(t.n)
	default:
		s.violated("a step that nobody knows: %v", t)
	}
}

func (s *simulation) at(path string) string { return filepath.Join(s.world, filepath.FromSlash(path)) }

func (s *simulation) there(path string) bool {
	info, err := os.Lstat(s.at(path))
	return err == nil && info.Mode().IsRegular()
}

func (s *simulation) folderGone(path string) bool {
	root, _, _ := strings.Cut(path, "/")
	return !s.gone[root].IsZero()
}

// content is what the n-th scan holds.
func (s *simulation) content(n int, kind string) string {
	body := ""
	switch kind {
	case "empty":
	case "junk":
		body = fmt.Sprintf("this is no picture, but number %d", n)
	case "book":
		body = book(n)
	default:
		body = picture(fmt.Sprintf("%s %d %s", kind, n, strings.Repeat("ink ", n%5*60)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := digestOf(body)
	if s.settled[d] == nil {
		s.settled[d] = &content{n: n, kind: kind, from: map[string]time.Time{}}
	}
	return body
}

// picture is a whole GIF of one pixel that says something.
func picture(text string) string {
	var b strings.Builder
	b.WriteString("GIF89a\x01\x00\x01\x00\x00\x00\x00\x21\xfe") // and a comment
	for part := range slices.Chunk([]byte(text), 255) {
		b.WriteByte(byte(len(part)))
		b.Write(part)
	}
	b.WriteString("\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x4c\x01\x00\x3b")
	return b.String()
}

// write has a user put a file there, at once.
func (s *simulation) write(path, body string) {
	if s.folderGone(path) {
		return
	}
	s.leave(path)
	if err := os.MkdirAll(filepath.Dir(s.at(path)), 0o755); err != nil {
		s.violated("a user cannot make a folder: %v", err)
	}
	if err := os.WriteFile(s.at(path), []byte(body), 0o644); err != nil {
		s.violated("a user cannot write: %v", err)
	}
	s.wrote(path, body, true)
}

// wrote notes what lies at a path now.
func (s *simulation) wrote(path, body string, whole bool) {
	now := time.Now()
	if err := os.Chtimes(s.at(path), now, now); err != nil {
		s.violated("a user cannot set a time: %v", err)
	}
	d := digestOf(body)
	s.mu.Lock()
	c := s.settled[d]
	if c == nil { // the half of something
		c = &content{kind: "half", from: map[string]time.Time{}}
		s.settled[d] = c
	}
	c.from[path] = now
	s.mu.Unlock()
	for _, e := range s.earlier[path] {
		s.restless[e] = s.restless[e] || e != d // its results may give way to those of this one
	}
	s.files[path] = &file{digest: d, since: now, whole: whole}
	if whole {
		s.drops = append(s.drops, &drop{path: path, digest: d, at: now})
		s.figures.scans++
	}
}

// leave notes that a user is about to take away what lies at a path.
func (s *simulation) leave(path string) {
	now := time.Now()
	f := s.files[path]
	if f == nil {
		return
	}
	delete(s.files, path)
	s.mu.Lock()
	c := s.settled[f.digest]
	c.hadSettled(now)
	delete(c.from, path)
	s.mu.Unlock()
	if !s.there(path) {
		return // moved away by the daemon: it is still wanted
	}
	s.earlier[path] = append(s.earlier[path], f.digest)
	s.taken[f.digest] = true
	kept := s.kept(path, f.digest)
	for _, d := range s.drops {
		switch {
		case d.path != path || !d.given.IsZero() || d.digest != f.digest:
		case kept:
			d.copied = true
		default:
			d.given = now
		}
	}
}

// kept reports whether there is a copy of a scan, which is sent whatever becomes of
// the file.
func (s *simulation) kept(path, digest string) bool {
	q := s.queue()
	if q == nil {
		return false // it may be, but nobody can say so
	}
	for j, err := range q.All(queue.Filter{}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return false
		}
		if j.Path == s.at(path) && j.Content.String() == digest {
			return j.Spooled
		}
	}
	return false
}

func (s *simulation) remove(path string) {
	if !s.there(path) {
		return
	}
	s.leave(path)
	if err := os.Remove(s.at(path)); err != nil {
		s.violated("a user cannot remove %s: %v", path, err)
	}
}

// writeInPieces has a scanner write a file with pauses that are too short for
// it to settle.
func (s *simulation) writeInPieces(path, body string, pause time.Duration) {
	if s.folderGone(path) {
		return
	}
	const pieces = 4
	s.leave(path)
	for i := range pieces {
		part := body[:len(body)*(i+1)/pieces]
		if s.folderGone(path) || i > 0 && !s.there(path) {
			return // somebody was in the way
		}
		if i > 0 {
			s.leave(path)
		}
		if err := os.MkdirAll(filepath.Dir(s.at(path)), 0o755); err != nil {
			s.violated("a scanner cannot make a folder: %v", err)
		}
		if err := os.WriteFile(s.at(path), []byte(part), 0o644); err != nil {
			s.violated("a scanner cannot write: %v", err)
		}
		s.wrote(path, part, i == pieces-1)
		if i < pieces-1 {
			s.pass(time.Now().Add(pause))
		}
	}
}

// results lists the files beside scans that are no scans, below the world.
func (s *simulation) results() []string {
	var paths []string
	for _, root := range []string{"a", "b", "c"} {
		filepath.WalkDir(s.at(root), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && isResult(d.Name()) {
				rel, _ := filepath.Rel(s.world, path)
				paths = append(paths, filepath.ToSlash(rel))
			}
			return nil
		})
	}
	return paths
}

func isResult(name string) bool {
	switch filepath.Ext(name) {
	case ".txt", ".json", ".docx":
		return true
	}
	return false
}

// editResult has a user correct a result, which must never be lost.
func (s *simulation) editResult(n int) {
	paths := s.results()
	if len(paths) == 0 {
		return
	}
	path := paths[n%len(paths)]
	text := fmt.Sprintf("corrected by hand, %d", n)
	if err := os.WriteFile(s.at(path), []byte(text), 0o644); err != nil {
		s.violated("a user cannot correct %s: %v", path, err)
		return
	}
	s.edited[path] = text
	s.story.tell("    it is %s", path)
	if s.queue() == nil {
		path = "" // nobody can say whose it is
	}
	s.spoilt(path)
}

// spoilt notes whose results a user has changed; "" stands for anybody's.
func (s *simulation) spoilt(path string) {
	for d := range s.settled {
		if path == "" {
			s.restless[d] = true
		}
	}
	if path == "" {
		return
	}
	for j, err := range s.queue().All(queue.Filter{}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return
		}
		for _, r := range j.Results {
			if r.Path == s.at(path) {
				s.restless[j.Content.String()] = true
			}
		}
	}
}

// stranger has a user put a file of theirs where a result might go.
func (s *simulation) stranger(path string) {
	if s.folderGone(path) || s.there(path) {
		return
	}
	if err := os.MkdirAll(filepath.Dir(s.at(path)), 0o755); err != nil {
		s.violated("a user cannot make a folder: %v", err)
	}
	text := "a shopping list"
	if err := os.WriteFile(s.at(path), []byte(text), 0o644); err != nil {
		s.violated("a user cannot write: %v", err)
	}
	s.edited[path] = text
	s.spoilt("") // the name may have been reserved by anybody
}

// byHand has a person retry, or cancel, a job.
func (s *simulation) byHand(what string, n int) {
	q := s.queue()
	if q == nil {
		return
	}
	var jobs []queue.Job
	for j, err := range q.All(queue.Filter{}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return
		}
		if what == "cancel" || j.State == queue.Failed || j.State == queue.Rejected || j.State == queue.Cancelled {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return
	}
	j := jobs[n%len(jobs)]
	d := j.Content.String()
	var err error
	if what == "cancel" {
		s.handled[d] = true
		_, err = q.Cancel(j.ID)
	} else if _, err = q.Retry(j.ID, false); err == nil {
		s.asked[d]++
	}
	s.story.tell("    job %d, %s: %v", j.ID, j.State, err)
	synctest.Wait()
}

// tidy has a person take away what is done, results and all.
func (s *simulation) tidy() {
	q := s.queue()
	if q == nil {
		return
	}
	jobs := map[string]queue.Job{}
	for j, err := range q.All(queue.Filter{States: []queue.State{queue.Done}}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return
		}
		jobs[j.Path+j.Content.String()] = j
	}
	kept := s.drops[:0]
	for _, d := range s.drops {
		j, done := jobs[s.at(d.path)+d.digest]
		if !done || !d.given.IsZero() {
			kept = append(kept, d)
			continue
		}
		s.checkOriginal(d, []queue.Job{j})
		s.checkDone(d, j)
		s.figures.done++
		s.leave(d.path)
		os.Remove(j.Original())
		for _, r := range j.Results {
			os.Remove(r.Path)
		}
	}
	s.drops = kept
}

// unmount takes a folder away for a while.
func (s *simulation) unmount(root string, d time.Duration) {
	if s.folderGone(root) {
		return
	}
	if err := os.Rename(s.at(root), s.at(root)+" away"); err != nil {
		s.violated("a folder cannot be taken away: %v", err)
		return
	}
	s.gone[root] = time.Now().Add(d)
}

// mount brings folders back whose time has come.
func (s *simulation) mount(all bool) {
	now := time.Now()
	for root, until := range s.gone {
		if !all && now.Before(until) {
			continue
		}
		if err := os.Rename(s.at(root)+" away", s.at(root)); err != nil {
			s.violated("a folder cannot be brought back: %v", err)
		}
		delete(s.gone, root)
		s.back[root] = now
	}
}

// profile has a user say, in the folder itself, what becomes of the scans in it.
func (s *simulation) profile(dir, text string) {
	if s.folderGone(dir) {
		return
	}
	path := filepath.Join(s.at(dir), config.ProfileName)
	err := os.Remove(path)
	if text != "" {
		if err = os.MkdirAll(s.at(dir), 0o755); err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.violated("a user cannot write a profile: %v", err)
	}
	s.profiles[dir] = profile{text, time.Now()}
}

// uploadForeign has somebody else use the same account.
func (s *simulation) uploadForeign(n int) {
	s.mu.Lock()
	s.foreign = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.foreign = false
	}()
	client, err := hwocr.New(hwocr.Config{
		URL: s.config.API.URL, Transport: s.network, Token: func() (string, error) { return goodToken, nil },
	})
	if err != nil {
		s.violated("somebody else cannot use the service: %v", err)
		return
	}
	for i := range n {
		body := picture(fmt.Sprintf("not ours %d %d", time.Now().UnixNano(), i))
		_, _ = client.Upload(context.Background(), hwocr.Upload{
			Name: fmt.Sprintf("theirs %d.gif", i), Action: "transcribe", Body: strings.NewReader(body), Size: int64(len(body)),
			Content: sha256.Sum256([]byte(body)),
		})
	}
}
