//go:build unix

package daemon

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"scandrop/internal/config"
	"scandrop/queue"
)

// check holds the world against what scandrop promises at any moment:
//
//	P1  a scan that has settled is in the queue within one rescan
//	P3  no content is paid for twice, unless a person asked
//	P4  the service accepts nothing but what a file held when it had settled
//	    (see documentsMade)
//	P5  results are whole, and those that a person changed stay as they are
//	P8  calls of the webhook that are forged are refused, the others taken
//	    (see hooks)
//	P9  no folder costs more pages a day than it may
//	P10 a scan is made into what its folder asked for when it was noticed
//
// and, once all trouble is over, see [simulation.checkEnd]:
//
//	P2  every scan is done, or has a reason that the plan explains
//	P6  no document is left at the service, but those that delete themselves
//	    for a reason that the plan explains
//
// Everybody else waits.
func (s *simulation) check() {
	s.checkNoticed()
	s.checkPaid()
	s.checkSpent()
	s.checkProfiles()
	s.checkResults()
}

// queue is that of the incarnation that runs; nil if none does.
func (s *simulation) queue() *queue.Queue {
	if s.in == nil || !s.in.alive() {
		return nil
	}
	return s.in.daemon.queue
}

// checkNoticed checks P1.
func (s *simulation) checkNoticed() {
	q := s.queue()
	if q == nil {
		return
	}
	now := time.Now()
	for path, f := range s.files {
		root, _, _ := strings.Cut(path, "/")
		ref := f.since
		for _, t := range []time.Time{s.since, s.back[root], s.profiled(s.at(path))} {
			if t.After(ref) {
				ref = t
			}
		}
		slack := 10 * time.Second // of a scan, and of a pause after an error
		if !f.whole {
			slack += 10 * time.Minute // its end may yet come
		}
		if s.folderGone(path) || s.unclear(s.at(path)) || now.Sub(ref) <= s.plan.rescan+quiet+slack {
			continue
		}
		info, err := os.Lstat(s.at(path))
		if err != nil {
			continue // moved by the daemon; P2 tells where it must be
		}
		known, err := q.Seen(s.at(path), info.Size(), info.ModTime())
		if err != nil || !known {
			s.violated("P1: %s (%.8s) has lain there since %v and is not in the queue (%v)", path, f.digest, f.since.Sub(s.story.began), err)
		}
	}
}

// note notes whose a mark is. A job of the same content that is not sent bears it, too.
func (s *simulation) note(mark string, j queue.Job) {
	s.digests[mark] = j.Content.String()
	if j.Twin == 0 && !j.Sent.IsZero() {
		s.roots[mark] = j.Folder
	}
}

// checkPaid checks P3.
func (s *simulation) checkPaid() {
	if q := s.queue(); q != nil {
		for j, err := range q.All(queue.Filter{}) {
			if err != nil {
				s.violated("the queue cannot be read: %v", err)
				break
			}
			s.note(j.Mark, j)
			for _, part := range j.Parts {
				s.note(part.Mark, j)
			}
		}
	}
	s.mu.Lock()
	paid := map[string]int{}
	var twice []string
	for mark, docs := range s.billed {
		n := len(docs) - s.faulted[mark]["upload twin"]
		if n > 1 {
			twice = append(twice, mark)
		}
		paid[s.digests[mark]] += n
	}
	s.mu.Unlock()
	if s.plan.lags { // nobody can know; it is counted
		s.figures.lagged = len(twice)
		return
	}
	for _, mark := range twice {
		s.violated("P3: what bears the mark %s (%.8s) was paid for twice", mark, s.digests[mark])
	}
	for d, n := range paid {
		if most := (1 + s.asked[d]) * s.settled[d].documents(); d != "" && n > most {
			s.violated("P3: %.8s was paid for %d times, at most %d were asked for", d, n, most)
		}
	}
}

// checkSpent checks P9. Documents that the service made twice of one upload, and those of
// a list that lags, cannot be foreseen.
func (s *simulation) checkSpent() {
	if s.plan.daily == 0 || s.plan.lags || !s.lost.IsZero() { // what was lost with the queue cannot be counted
		return
	}
	s.mu.Lock()
	pages := map[string]int{}
	for mark, days := range s.spent {
		if s.roots[mark] != s.at("a") || s.faulted[mark]["upload twin"] > 0 || s.settled[s.digests[mark]].pages() > s.plan.daily {
			continue // the last was retried by hand, which says that it is to be sent all the same
		}
		for day, n := range days {
			pages[day] += n
		}
	}
	s.mu.Unlock()
	for day, n := range pages {
		if n > s.plan.daily {
			s.violated("P9: %d pages of folder a were paid for on %s, at most %d may be", n, day, s.plan.daily)
		}
	}
}

// A profile is what a folder's .scandrop.yaml says, and since when.
type profile struct {
	text  string // "" if there is none
	since time.Time
}

// formats of a scan that is noticed below the profile; nil if it is held.
func (p profile) formats() []string {
	switch p.text {
	case "formats: [json]":
		return []string{"json"}
	case "formats: [txt, json]":
		return []string{"txt", "json"}
	case "formats: [":
		return nil
	}
	return []string{"txt"}
}

// profiled is when the profiles of a scan last changed.
func (s *simulation) profiled(path string) (at time.Time) {
	for dir, p := range s.profiles {
		if strings.HasPrefix(path, s.at(dir)+"/") && p.since.After(at) {
			at = p.since
		}
	}
	return at
}

// unclear reports whether a profile that cannot be understood holds a scan.
func (s *simulation) unclear(path string) bool {
	for dir, p := range s.profiles {
		if strings.HasPrefix(path, s.at(dir)+"/") && p.formats() == nil {
			return true
		}
	}
	return false
}

// checkProfiles checks P10 for folder c. A profile that has just changed may not have
// been seen.
func (s *simulation) checkProfiles() {
	q := s.queue()
	if q == nil {
		return
	}
	for j, err := range q.All(queue.Filter{Folder: s.at("c")}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return
		}
		p := s.profiles["c"]
		if below := s.profiles["c/sub"]; below.text != "" && filepath.Dir(j.Path) == s.at("c/sub") {
			p.text = below.text
		}
		held := s.unclear(j.Path)
		switch formats := p.formats(); {
		case !j.Added.After(s.profiled(j.Path).Add(quiet)) || j.Twin != 0:
		case held && j.Anyway: // a person wants it sent
		case held && (j.State == queue.Queued || j.State == queue.Cancelled || j.State == queue.Rejected):
		case held:
			s.violated("P10: job %d is %s though its folder's profile cannot be understood", j.ID, j.State)
		case !slices.Equal(j.Options.Formats, formats):
			s.violated("P10: job %d is to be made into %v, its folder wants %v", j.ID, j.Options.Formats, formats)
		}
	}
}

var readBy = regexp.MustCompile(`The sandbox does not read: this is page (\d+) of (\d+) of scan ([0-9a-f]{8})\.`)

// readOf is what is read on a page of a scan.
func readOf(page, pages int, digest string) string {
	return fmt.Sprintf("The sandbox does not read: this is page %d of %d of scan %.8s.", page, pages, digest)
}

// scanRead returns the scan whose pages a result holds, each once and in order; ""
// if it does not.
func scanRead(text string) (digest string) {
	all := readBy.FindAllStringSubmatch(text, -1)
	for i, m := range all {
		if m[0] != readOf(i+1, len(all), all[0][3]) {
			return ""
		}
		digest = m[3]
	}
	return digest
}

// plainText is the txt of a scan.
func plainText(pages int, digest string) string {
	var all []string
	for n := range pages {
		all = append(all, fmt.Sprintf("=== **Page: %d of %d**\n\n%s\n", n+1, pages, readOf(n+1, pages, digest)))
	}
	return strings.Join(all, "\n")
}

// textOf returns what a result says; an error if it is not whole.
func textOf(path string) (text string, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	switch filepath.Ext(path) {
	case ".txt":
		text = string(content)
		if d := scanRead(text); d == "" || text != plainText(len(readBy.FindAllString(text, -1)), d) {
			return "", fmt.Errorf("%q is not a whole text", text)
		}
	case ".json":
		text = string(content)
		if !json.Valid(content) || scanRead(text) == "" {
			return "", fmt.Errorf("%q is not whole", text)
		}
	case ".docx":
		z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return "", err
		}
		f, err := z.Open("word/document.xml")
		if err != nil {
			return "", err
		}
		all, err := io.ReadAll(f)
		if err != nil {
			return "", err
		}
		text = string(all)
	}
	return text, nil
}

// checkResults checks P5.
func (s *simulation) checkResults() {
	for path, want := range s.edited {
		if s.folderGone(path) {
			continue
		}
		if got, err := os.ReadFile(s.at(path)); err != nil || string(got) != want {
			s.violated("P5: what a person wrote into %s is %q now (%v)", path, got, err)
		}
	}
	for _, path := range s.results() {
		if _, edited := s.edited[path]; edited {
			continue
		}
		if _, err := textOf(s.at(path)); err != nil {
			s.violated("P5: %s is not whole: %v", path, err)
		}
	}
}

// finish ends all trouble and lets time pass until nothing is left to do.
func (s *simulation) finish() {
	s.story.tell("--- all trouble is over")
	s.mu.Lock()
	s.level, s.outages = 0, nil
	s.mu.Unlock()
	s.box.SetToken(goodToken)
	s.box.SetCredits(nil)
	s.mount(true)
	for dir, p := range s.profiles {
		if p.formats() == nil {
			s.profile(dir, "")
		}
	}
	if s.in != nil {
		s.in.killAt(0, "")
	}
	scanned := s.plan.rescan + quiet + time.Minute
	wait, began := scanned, time.Now()
	var idle time.Time // since when
	for ; ; wait = min(2*wait, 20*time.Minute) {
		s.pass(time.Now().Add(wait))
		s.settleDoubts()
		now := time.Now()
		switch work := s.atWork(); {
		case work == "" && !idle.IsZero() && now.Sub(idle) >= scanned:
			s.check()
			s.wait()
			return
		case work == "" && idle.IsZero():
			idle = now
			wait = scanned / 2
		case work != "" && now.Sub(began) > s.patience():
			s.violated("P2: after %v without trouble it is still at work: %s", now.Sub(began), work)
			return
		case work != "":
			idle = time.Time{}
		}
	}
}

// wait has so much time pass that the service's list is read once more, and what
// belongs to nobody is deleted. A queue that was restored takes its time.
func (s *simulation) wait() {
	if s.plan.patient {
		s.pass(time.Now().Add(31 * time.Hour))
		s.check()
	}
}

// settleDoubts has a person retry the scans of which the service has twice said, without
// an id, that it took them, and did not.
func (s *simulation) settleDoubts() {
	q := s.queue()
	if q == nil {
		return
	}
	for j, err := range q.All(queue.Filter{States: []queue.State{queue.Doubtful}}) {
		if err != nil || !j.Due.IsZero() || !strings.Contains(j.Error, "has twice said") {
			continue // what cannot be read is told by others
		}
		s.mu.Lock()
		f := s.faulted[j.Sends().Mark]
		said := f["upload empty"] + f["upload garbage"] + f["upload short"]
		s.mu.Unlock()
		if said < 2 {
			continue
		}
		s.asked[j.Content.String()]++
		_, err := q.Retry(j.ID, false)
		s.story.tell("    job %d is retried, as a person is asked to: %v", j.ID, err)
	}
}

// patience is how long what is left to do may take when all trouble is over.
func (s *simulation) patience() time.Duration {
	const day = 24 * time.Hour
	if s.plan.daily == 0 {
		return 3 * day
	}
	return 3*day + day*time.Duration(len(s.drops))
}

// atWork says what is left to do before the service deletes what it still has.
func (s *simulation) atWork() string {
	q := s.queue()
	if q == nil {
		return "it does not run"
	}
	var b strings.Builder
	for j, err := range q.All(queue.Filter{}) {
		if err != nil || !j.State.Final() || !j.Due.IsZero() && time.Until(j.Due) < time.Hour {
			fmt.Fprintf(&b, "job %d (%s) is %s, due in %v: %s, %v; ", j.ID, j.Path, j.State, time.Until(j.Due), j.Error, err)
		}
	}
	for _, h := range q.Holds() {
		fmt.Fprintf(&b, "held: %s, %s; ", h.Key(), h.Reason)
	}
	return b.String()
}

// checkEnd checks what must be true when all trouble is over and nothing is
// left to do.
func (s *simulation) checkEnd() {
	q := s.queue()
	if q == nil {
		s.violated("P2: in the end it does not run")
		return
	}
	jobs := map[string][]queue.Job{} // by path and content, newest first
	temps := map[string]bool{}       // keys of temporaries that a kill may have left, and that nothing came after
	byMark := map[string]queue.Job{}
	for j, err := range q.All(queue.Filter{}) {
		if err != nil {
			s.violated("the queue cannot be read: %v", err)
			return
		}
		key := j.Path + "\x00" + j.Content.String()
		jobs[key] = append(jobs[key], j)
		temps[stageKey(j)] = j.State != queue.Done
		byMark[j.Mark] = j
		for _, part := range j.Parts {
			byMark[part.Mark] = j
		}
	}
	for _, d := range s.drops {
		if !d.given.IsZero() {
			continue
		}
		js := jobs[s.at(d.path)+"\x00"+d.digest]
		if len(js) == 0 && d.copied && s.copyKept(d.digest) {
			continue // the queue that was lost knew of it; a person is told
		}
		if len(js) == 0 {
			s.violated("P2: %s (%.8s), dropped after %v, is not in the queue", d.path, d.digest, d.at.Sub(s.story.began))
			continue
		}
		if !d.copied {
			s.checkOriginal(d, js)
		}
		if js[0].State == queue.Done {
			s.figures.done++
			s.checkDone(d, js[0])
			continue
		}
		s.figures.failures++
		if why := s.excuse(js[0]); why == "" {
			s.violated("P2: %s (%.8s) is %s without a reason in the plan: %s (%v)", d.path, d.digest, js[0].State, js[0].Error, s.faulted[js[0].Mark])
		}
	}
	s.checkLeft(byMark, temps)
	s.checkState(q)
}

// copyKept reports whether the copy of a scan is kept although the queue was lost.
func (s *simulation) copyKept(digest string) bool {
	if s.lost.IsZero() {
		return false
	}
	copies, _ := filepath.Glob(filepath.Join(s.state, "spool", digest+".*"))
	found, _ := filepath.Glob(filepath.Join(s.state, "found", digest+".*"))
	return len(copies)+len(found) > 0
}

// checkState checks that nothing is kept in the state folder of scans that are done.
func (s *simulation) checkState(q *queue.Queue) {
	copies, err := os.ReadDir(filepath.Join(s.state, "spool"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.violated("the copies of scans cannot be read: %v", err)
	}
	for _, e := range copies {
		var content queue.Digest
		name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		if err := content.UnmarshalText([]byte(name)); err != nil {
			s.violated("P6: %s is left among the copies of scans", e.Name())
			continue
		}
		if needed, err := q.Spooled(content); err != nil || !needed && s.lost.IsZero() {
			s.violated("P6: a copy of %.8s is kept although no job needs it (%v)", name, err)
		}
	}
	folders, err := os.ReadDir(filepath.Join(s.state, partsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.violated("the parts of scans cannot be read: %v", err)
	}
	for _, e := range folders {
		number, _, _ := strings.Cut(e.Name(), "-")
		id, _ := strconv.ParseUint(number, 10, 64)
		if j, err := q.Get(id); err != nil || j.State == queue.Done {
			s.violated("P6: the parts %s are kept although job %d is %s (%v)", e.Name(), id, j.State, err)
		}
	}
}

// checkOriginal checks that a scan is where it was left, or where the daemon
// says that it has moved it, perhaps for another job of the same file.
func (s *simulation) checkOriginal(d *drop, js []queue.Job) {
	for _, j := range js {
		for _, path := range []string{j.Path, j.Moved} {
			if content, err := os.ReadFile(path); err == nil && digestOf(string(content)) == d.digest {
				return
			}
		}
	}
	s.violated("P2: the original %s (%.8s) is neither there nor at %q", d.path, d.digest, js[0].Moved)
}

// checkDone checks the results of a scan that is done.
func (s *simulation) checkDone(d *drop, j queue.Job) {
	for _, format := range j.Options.Formats {
		r, _ := j.Result(format)
		rel, err := filepath.Rel(s.world, r.Path)
		if _, edited := s.edited[filepath.ToSlash(rel)]; err == nil && edited {
			continue
		}
		text, err := textOf(r.Path)
		if err != nil || !strings.HasPrefix(d.digest, scanRead(text)) || len(readBy.FindAllString(text, -1)) != s.settled[d.digest].pages() {
			s.violated("P2: %s (%.8s) is done, but its %s, %s, says %q (%v)", d.path, d.digest, format, r.Path, text, err)
		}
	}
}

// excuse is why the plan explains that a scan is not done; "" if it does not.
func (s *simulation) excuse(j queue.Job) string {
	d := j.Content.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.settled[d]
	if c == nil || c.kind != "scan" && c.kind != "book" {
		return "it is no scan"
	}
	if s.handled[d] {
		return "cancelled by hand"
	}
	if j.State == queue.Rejected && !s.lost.IsZero() && strings.Contains(j.Error, "lie beside it already") {
		return "its end was lost with the queue"
	}
	if j.State == queue.Rejected && !s.lost.IsZero() && strings.HasPrefix(j.Error, "the same content") {
		return "so was the end of the other"
	}
	if j.State == queue.Rejected && s.plan.daily > 0 && c.pages() > s.plan.daily {
		return "it has more pages than a day may cost"
	}
	if j.State == queue.Rejected && strings.Contains(j.Error, "paid for") && s.taken[d] {
		return "an upload that may yet turn up had been given up, as its file was gone"
	}
	if j.State == queue.Rejected && strings.HasPrefix(j.Error, "the same content") && s.restless[d] {
		return "its results were replaced or edited"
	}
	if j.State == queue.Rejected && strings.Contains(j.Error, "but not made as") && (s.plan.formats != "[txt]" || s.reloaded || len(s.profiles) > 0) {
		return "the other folder wants fewer formats"
	}
	wanted := map[queue.State][]string{
		queue.Rejected: {"upload 413", "upload 415", "upload 422 field file", "fail "}, // a status that could not be read may hide the failure
		queue.Failed:   {"fail ", "stay", "vanish", "status 404"},
	}[j.State]
	tries := s.figures.crashes
	for mark, faults := range s.faulted {
		if s.digests[mark] != d {
			continue
		}
		for what, n := range faults {
			tries += n
			for _, w := range wanted {
				if strings.Contains(what, w) {
					return what
				}
			}
			if j.State == queue.Rejected && strings.HasPrefix(j.Error, "the same content") {
				for _, w := range []string{"fail ", "stay", "vanish", "status 404", "upload 413", "upload 415", "upload 422 field file"} {
					if strings.Contains(what, w) {
						return what
					}
				}
			}
		}
	}
	if tries >= 9 {
		return "its attempts were used up"
	}
	return ""
}

// checkLeft checks P6, and that nothing of ours is left beside the scans.
func (s *simulation) checkLeft(byMark map[string]queue.Job, temps map[string]bool) {
	for _, doc := range s.box.Documents() {
		mark := markOf(doc.Name)
		if mark == "" {
			continue
		}
		s.mu.Lock()
		f := s.faulted[mark]
		excused := f["upload twin"] + f["delete 404"] + f["delete made 404"] + f["status 404"] // the daemon was told that it is gone, which a limit may make untrue
		s.mu.Unlock()
		j, known := byMark[mark]
		switch {
		case excused > 0 && !s.plan.patient, s.plan.lags:
		case known && j.State == queue.Failed: // a retry could still have it
		default:
			s.violated("P6: document %s is left of job %d, which is %s; it deletes itself at %v", doc.Name, j.ID, j.State, doc.Expires)
		}
	}
	for _, root := range []string{"a", "b", "c", "done"} {
		filepath.WalkDir(s.at(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasPrefix(d.Name(), ".") || d.Name() == config.ProfileName {
				return nil
			}
			key, _, _ := strings.Cut(strings.TrimPrefix(d.Name(), ".scandrop-"), "-")
			if !temps[key] && s.lost.IsZero() { // nobody knows any more whose it was

				s.violated("P5: %s was left behind", path)
			}
			return nil
		})
	}
}
