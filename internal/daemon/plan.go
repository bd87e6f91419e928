package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"scandrop/internal/config"
	"scandrop/internal/pages"
	"scandrop/queue"
	"scandrop/watcher"
)

// What would become of a scan.
const (
	WouldSend   = "send"   // sent, and paid for
	WouldCopy   = "copy"   // has the results of the same content, which is or will be paid for
	WouldReject = "reject" // never sent
	WouldHold   = "hold"   // waits until something is mended
	WouldIgnore = "ignore" // lay in its folder before, and is not wanted
	WouldWait   = "wait"   // not whole yet, or cannot be read
)

// A Planned is one scan of a [Plan].
type Planned struct {
	Folder string
	Path   string
	Size   int64
	Pages  int    // 0 if nobody could count them
	What   string // one of the Would constants
	Why    string // "" for what is simply sent
}

// A Plan is what a run that starts now would do.
type Plan struct {
	Scans   []Planned     // in the order of the folders
	Held    []queue.Hold  // what stands in the way now
	Folders []FolderTotal // in the order of the configuration
	Left    Left          // of all folders together
	Missing error         // why some folders could not be looked at; nil if all were
}

// A FolderTotal sums up what would be sent of a folder.
type FolderTotal struct {
	Path    string
	Scans   int // that would be sent
	Pages   int // of those among them whose pages are known
	Unknown int // how many pages nobody could count, in scans
	Left    Left
}

// Left is how many pages limits let through, as far as there are limits: nil is
// no limit.
type Left struct{ Today, ThisMonth *int }

// MakePlan looks at every hot folder and foresees what would become of the scans
// in them and of those that wait. It sends nothing and changes nothing. The error
// is that of [OpenQueue].
func MakePlan(ctx context.Context, c *config.Config, tool pages.Tool) (Plan, error) {
	q, err := peek(c)
	if err != nil {
		return Plan{}, err
	}
	if q != nil {
		defer q.Close()
	}
	p := planner{config: c, queue: q, in: newIntake(c, newFiles(c.State, c.Folders), tool), seen: map[queue.Digest]string{}}
	if q != nil {
		p.Held = slices.DeleteFunc(q.Holds(), func(h queue.Hold) bool { return h.Cause == queue.Limit || h.Cause == queue.Profile }) // foreseen anew
		if err := p.waiting(); err != nil {
			return Plan{}, err
		}
	}
	w, err := surveyor(c, c.Folders, q, p.in.inspectOnly)
	if err != nil {
		return Plan{}, err
	}
	p.profiles = p.in.profiles()
	p.Missing = w.Survey(ctx, func(s watcher.Sighting) error { return p.look(ctx, s) })
	if err := ctx.Err(); err != nil {
		return Plan{}, err
	}
	return p.Plan, p.total()
}

// surveyor is a watcher that only looks, into some of the hot folders.
func surveyor(c *config.Config, some []config.Folder, q *queue.Queue, examine func(context.Context, *os.File, *watcher.File) error) (*watcher.Watcher, error) {
	folders := slices.DeleteFunc(foldersOf(c), func(f watcher.Folder) bool {
		return !slices.ContainsFunc(some, func(s config.Folder) bool { return s.Path == f.Path })
	})
	for i := range folders {
		folders[i].Examine = examine
	}
	return watcher.New(watcher.Config{
		Folders: folders, MaxSize: maxScan, // as the daemon takes it: what is too big is divided, and paid
		Known: func(path string, size int64, mod time.Time) (bool, error) {
			if q == nil {
				return false, nil
			}
			return q.Seen(path, size, mod)
		},
		Found: func(context.Context, []watcher.File) error { return errors.New("a survey hands nothing over") },
	})
}

type planner struct {
	Plan
	config   *config.Config
	queue    *queue.Queue // nil: there is none yet
	in       *intake
	profiles profiles
	seen     map[queue.Digest]string // identities that would be sent, and the first scan's path
}

// waiting are the scans that are in the queue and were not sent yet.
func (p *planner) waiting() error {
	for j, err := range p.queue.All(queue.Filter{States: []queue.State{queue.Queued}}) {
		if err != nil {
			return err
		}
		s := Planned{Folder: j.Folder, Path: j.Path, Size: j.Size, Pages: j.Counted, What: WouldSend, Why: "it waits in the queue"}
		switch {
		case j.HeldBy == queue.Profile:
			continue // it is noticed anew
		case j.Twin != 0:
			s.What, s.Why = WouldCopy, fmt.Sprintf("the same content as job %d", j.Twin)
		default:
			if why := p.queue.TooMany(j); why != "" {
				s.What, s.Why = WouldReject, why
			}
			p.seen[j.Identity] = j.Path
		}
		p.Scans = append(p.Scans, s)
	}
	slices.Reverse(p.Scans) // the oldest first
	return nil
}

// look foresees what would become of a file that is not known.
func (p *planner) look(ctx context.Context, at watcher.Sighting) error {
	s := Planned{Folder: at.Folder, Path: at.Path, Size: at.Size}
	add := func(what, why string) error {
		s.What, s.Why = what, why
		p.Scans = append(p.Scans, s)
		return nil
	}
	for _, f := range p.config.Folders {
		if f.Path == at.Folder && f.Existing == "ignore" && (p.queue == nil || !p.queue.Introduced(f.Path)) {
			return add(WouldIgnore, "it was there before (existing: ignore)")
		}
	}
	file, err := at.Read(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err != nil {
		return add(WouldWait, err.Error())
	}
	s.Pages = file.Pages
	w, err := p.profiles.of(at.Folder, at.Path)
	if err != nil {
		return add(WouldHold, err.Error())
	}
	scan := scansOf([]watcher.File{file}, []wanted{w})[0]
	switch {
	case scan.Reject != "":
		return add(WouldReject, scan.Reject)
	case scan.Profile != nil:
		return add(WouldHold, scan.Profile.Reason)
	}
	identity := queue.Identity(scan.Content, scan.Options)
	if first, again := p.seen[identity]; again {
		return add(WouldCopy, fmt.Sprintf("the same content as %q", first))
	}
	if p.queue == nil {
		p.seen[identity] = at.Path
		if why := queue.TooMany(limits(p.config), queue.Job{Folder: at.Folder, Counted: file.Pages}); why != "" {
			return add(WouldReject, why)
		}
		return add(WouldSend, "")
	}
	foreseen, err := p.queue.Foresee(scan)
	switch j := foreseen.Job; {
	case err != nil:
		return err
	case foreseen.Known:
		return nil
	case j.State == queue.Rejected:
		return add(WouldReject, j.Error)
	case j.Twin != 0:
		return add(WouldCopy, fmt.Sprintf("the same content as job %d", j.Twin))
	}
	p.seen[identity] = at.Path
	return add(WouldSend, "")
}

// total sums up.
func (p *planner) total() error {
	for _, f := range p.config.Folders {
		t := FolderTotal{Path: f.Path}
		for _, s := range p.Scans {
			if s.Folder != f.Path || s.What != WouldSend {
				continue
			}
			t.Scans++
			t.Pages += s.Pages
			if s.Pages == 0 {
				t.Unknown++
			}
		}
		var err error
		if t.Left, err = p.left(f.Path); err != nil {
			return err
		}
		p.Folders = append(p.Folders, t)
	}
	var err error
	p.Left, err = p.left("")
	return err
}

// left is what the limits of a folder, or of all, let through now.
func (p *planner) left(folder string) (l Left, err error) {
	most := limits(p.config)[folder]
	day, month := 0, 0
	if p.queue != nil {
		if day, month, err = p.queue.Spent(folder); err != nil {
			return l, err
		}
	}
	if most.PerDay > 0 {
		n := max(most.PerDay-day, 0)
		l.Today = &n
	}
	if most.PerMonth > 0 {
		n := max(most.PerMonth-month, 0)
		l.ThisMonth = &n
	}
	return l, nil
}

// A Backlog is what lies in a hot folder that scandrop sees for the first time,
// and would all be sent.
type Backlog struct {
	Folder  string
	Scans   int
	Pages   int // of those that were counted
	Counted int // scans whose pages were counted in the time that there was
}

// manyScans is how many scans a folder may hold at first without a word.
const manyScans = 200

// Backlogs finds the folders that are seen for the first time, hold more than 200
// scans, and do not ignore them. It counts their pages for as long as within says.
// It sends nothing and changes nothing; folders that cannot be looked at are left
// out. The error is that of [OpenQueue].
func Backlogs(ctx context.Context, c *config.Config, tool pages.Tool, within time.Duration) ([]Backlog, error) {
	q, err := peek(c)
	if err != nil {
		return nil, err
	}
	var folders []config.Folder
	for _, f := range c.Folders {
		if f.Existing != "ignore" && (q == nil || !q.Introduced(f.Path)) {
			folders = append(folders, f)
		}
	}
	if q != nil { // whoever runs wants it, and a folder may hang
		if err := q.Close(); err != nil {
			return nil, err
		}
	}
	folders = answering(folders, stat)
	if len(folders) == 0 {
		return nil, nil
	}
	found := make(chan []Backlog, 1)
	var failed error
	counting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	go func() {
		all, err := backlogs(ctx, counting, c, folders, tool)
		failed = err
		found <- all
	}()
	select {
	case all := <-found:
		return all, failed
	case <-time.After(within + hangTime):
		return nil, nil
	}
}

// backlogs counts what lies in some of the hot folders, and its pages until counting
// is done.
func backlogs(ctx, counting context.Context, c *config.Config, folders []config.Folder, tool pages.Tool) ([]Backlog, error) {
	in := newIntake(c, newFiles(c.State, folders), tool)
	w, err := surveyor(c, folders, nil, in.inspectOnly)
	if err != nil {
		return nil, err
	}
	found := map[string][]watcher.Sighting{}
	_ = w.Survey(ctx, func(s watcher.Sighting) error { // who runs says which folders are missing
		found[s.Folder] = append(found[s.Folder], s)
		return nil
	})
	var all []Backlog
	for _, f := range folders {
		b := Backlog{Folder: f.Path, Scans: len(found[f.Path])}
		if b.Scans <= manyScans {
			continue
		}
		b.count(counting, found[f.Path])
		all = append(all, b)
	}
	return all, nil
}

// count reads scans and adds their pages, until counting is done. A PDF is read by a
// process of its own, most of whose time is its start: some are read at once.
func (b *Backlog) count(counting context.Context, scans []watcher.Sighting) {
	var mu sync.Mutex
	var readers errgroup.Group
	readers.SetLimit(min(runtime.GOMAXPROCS(0), 4))
	for _, s := range scans {
		if counting.Err() != nil {
			break
		}
		readers.Go(func() error {
			file, err := s.Read(counting)
			if err != nil || file.Pages == 0 {
				return nil // it is told later what is wrong with it
			}
			mu.Lock()
			defer mu.Unlock()
			b.Pages += file.Pages
			b.Counted++
			return nil
		})
	}
	_ = readers.Wait() // they return no errors
}

// String says how many scans and pages that is, and what can be done about it.
func (b Backlog) String() string {
	pages := fmt.Sprintf("%d pages", b.Pages)
	if b.Counted < b.Scans {
		pages = fmt.Sprintf("at least %d pages, of the %d that could be counted so far", b.Pages, b.Counted)
	}
	return fmt.Sprintf("%s holds %d scans already, %s: all of them will be sent and paid for; with existing: ignore only what is dropped from then on is",
		b.Folder, b.Scans, pages)
}
