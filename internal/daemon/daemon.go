// Package daemon wires the parts together and runs them: the watcher notices,
// the queue decides, the uploader acts. It is the only place that starts
// anything long-lived, and the only one that translates the configuration into
// what the parts want to know.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/internal/mount"
	"scandrop/internal/notice"
	"scandrop/internal/pages"
	"scandrop/internal/result"
	"scandrop/internal/web"
	"scandrop/internal/webhook"
	"scandrop/queue"
	"scandrop/uploader"
	"scandrop/watcher"
)

// onceDelay bounds the time between two attempts where somebody waits for the
// end.
const onceDelay = 30 * time.Second

// Options say what to run and how.
type Options struct {
	Config *config.Config
	// Once takes what is there, sees it through and ends.
	Once bool
	// Version is told to the service as part of the User-Agent.
	Version string
	// Transport carries the requests; nil is the network.
	Transport http.RoundTripper
	// Listen listens on an address; nil is the network.
	Listen func(address string) (net.Listener, error)
	// Verify reads a queue file whole before it is opened; see [Opening].
	Verify func(path string) error
	// Pages looks into scans. Its zero value does so in this process.
	Pages pages.Tool
	// Largest is the size in bytes of the largest scan that is sent whole where it
	// can be divided. Defaults to 20,000,000, which is what the service says.
	Largest int64
	// Moved is told of every job that is added or moves on. It is called
	// concurrently and must not block. It may be nil.
	Moved func(queue.Job)
	// Reload brings configurations that take the place of the one in force. One
	// that cannot is refused, which the log tells. nil brings none.
	Reload <-chan *config.Config
	// Alive is called once the daemon has begun, and then every AliveEvery for as
	// long as it is well, with what is held. It may be nil.
	Alive      func([]queue.Hold)
	AliveEvery time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// A Summary says how a run that was to end by itself ended.
type Summary struct {
	Held             []queue.Hold
	Done             int // scans that were finished in this run
	Failed, Rejected int // scans that came to nothing in this run
	Unfinished       int // scans that wait for a person, for something to be over, or that never stopped changing
}

// Run runs the daemon until ctx is done, or, with Once, until there is nothing
// left to do. It stops in two strokes: nothing new is begun, then, after a
// grace, what still goes on is broken off. It returns nil when it was told to
// stop; else its error is that of [OpenQueue], or says which part failed.
func Run(ctx context.Context, o Options) (Summary, error) {
	d, err := begin(o)
	if err != nil {
		return Summary{}, err
	}
	defer d.queue.Close()
	err = d.run(ctx)
	switch {
	case errors.Is(err, queue.ErrUncertain):
		return Summary{}, stateError(d.state.path(queueFile), err)
	case err != nil:
		return Summary{}, err
	}
	return d.summary()
}

// begin opens the queue and builds the parts. Nothing runs yet; whoever ends the
// daemon closes its queue.
func begin(o Options) (*daemon, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Moved == nil {
		o.Moved = func(queue.Job) {}
	}
	if o.Listen == nil {
		o.Listen = listen
	}
	var longest time.Duration
	if o.Once {
		longest = onceDelay
	}
	s := state{dir: o.Config.State, Opening: Opening{Longest: longest, Verify: o.Verify, Restore: true, Log: o.Log}}
	q, err := OpenQueue(o.Config, s.Opening)
	if err != nil {
		return nil, err
	}
	if q, err = s.tidy(o.Config, q); err != nil {
		return nil, stateError(s.path(queueFile), err)
	}
	d := &daemon{Options: o, state: s, queue: q, began: time.Now(), introduced: make(chan struct{}, 1)}
	if err := d.prepare(); err != nil {
		q.Close()
		return nil, err
	}
	return d, nil
}

type daemon struct {
	Options
	state        state
	queue        *queue.Queue
	pace         *hwocr.Pace
	line         line
	given        given
	settler      settler
	introduced   chan struct{}                   // holds one value while a folder is in no snapshot
	watcher      atomic.Pointer[watcher.Watcher] // for config; replaced by watch
	config       atomic.Pointer[config.Config]   // the one in force; Options has the first
	uploader     *uploader.Uploader
	files        files
	parts        parts
	failureNotes *failureNotes
	webhook      *webhook.Hook            // nil: none
	notices      *notice.Notifier         // nil: none
	troubles     sync.Map                 // by hot folder, what tryFolder found
	stopped      atomic.Bool              // nothing is said of a folder any more that hung until then
	restart      atomic.Pointer[[]string] // keys that take effect at the next start
	began        time.Time
	changed      atomic.Int64 // scans that went back to the watcher
	meter        web.Meter
	page         *page // nil for none
	left         int   // scans that never stopped changing, of a run once
	done         atomic.Int64
}

// grace is how long what is on the wire may go on after we were told to stop.
const grace = 10 * time.Second

// What the queue keeps for the parts.
const (
	keptPace  = "pace"
	keptPause = "pause:" // and the folder: how long its scanner pauses within a file
)

// prepare builds the parts. Nothing runs yet.
func (d *daemon) prepare() error {
	api, err := d.client()
	if err != nil {
		return err
	}
	if d.Largest <= 0 {
		d.Largest = maxWhole
	}
	d.parts = parts{d.Config.State, d.Options.Pages, d.Largest}
	d.tidyParts()
	d.line.Store(api)
	d.config.Store(d.Config)
	d.files = newFiles(d.Config.State, d.Config.Folders)
	d.files.answers = func(folder string) { d.looked(folder, false, nil) } // maybe long before the next look at it
	if d.failureNotes, err = newFailureNotes(d.queue, d.files, d.Log); err != nil {
		return err
	}
	if err := d.queue.Reconsider(); err != nil {
		return err
	}
	d.uploader = uploader.New(uploader.Config{
		Queue: d.queue, API: &d.line, Files: d.files, Workers: d.Config.Workers, Grace: grace, Log: d.Log,
		Parts: d.parts, Largest: d.Largest,
		Moved: func(j queue.Job) {
			switch j.State {
			case "":
				d.changed.Add(1)
			case queue.Done:
				d.done.Add(1)
			}
			d.moved(j)
		},
	})
	d.settler = settler{configure: d.configure, log: d.Log, out: map[string]bool{}}
	if err := d.settle(d.Config); err != nil {
		return err
	}
	unknown, found, err := d.files.spool.tidy(d.queue)
	if err != nil {
		d.Log.Warn("copies of scans that no job needs could not be removed", "folder", d.files.spool.dir, "error", err)
	}
	if unknown > 0 {
		d.Log.Warn("the queue was restored and does not know of these copies of scans: those that are not in a hot folder any more can be dropped there again", "folder", d.files.spool.dir, "scans", unknown)
	}
	if found > 0 {
		d.Log.Warn("after the queue was restored nobody knows whose these copies of scans are: drop them into a hot folder again, or remove them", "folder", d.files.spool.found(), "scans", found)
	}
	w, err := d.newWatcher(d.Config)
	if err != nil {
		return err
	}
	d.watcher.Store(w)
	if err := d.prepareNotices(); err != nil {
		return err
	}
	return d.prepareWebhook()
}

// newWatcher returns a watcher for the folders of a configuration.
func (d *daemon) newWatcher(c *config.Config) (*watcher.Watcher, error) {
	in := newIntake(c, d.files, d.Pages)
	folders := d.folders(c)
	for i := range folders {
		folders[i].Examine = func(ctx context.Context, scan *os.File, file *watcher.File) error {
			return d.examine(ctx, in, scan, file)
		}
	}
	return watcher.New(watcher.Config{
		Folders: folders,
		MaxSize: maxScan,
		Known:   d.queue.Seen, Forgotten: d.queue.Forgotten,
		Found: func(_ context.Context, files []watcher.File) error {
			return d.add(in, files)
		},
		Ignored: func(ctx context.Context, files []watcher.File) error {
			return d.ignore(ctx, in, files)
		},
		Looked: func(folder string, scanned bool, err error) {
			d.looked(folder, scanned, err)
			if scanned && d.files.stamps.changed(folder) {
				d.reconfigure(in, folder)
			}
		},
		Silent: mount.Silent,
		Paused: func(folder string, pause time.Duration) {
			if err := d.queue.Keep(keptPause+folder, []byte(pause.String())); err != nil {
				d.Log.Error("the queue could not be written", "error", err)
			}
		},
		Log: d.Log,
	})
}

// client is the API under the configuration's token and the one pace, which
// goes on where the last process left it.
func (d *daemon) client() (*hwocr.Client, error) {
	c := d.Config.API
	d.pace = hwocr.NewPace(c.Rate, c.Burst)
	kept, err := d.queue.Kept(keptPace)
	if err != nil {
		return nil, err
	}
	var state hwocr.PaceState
	if json.Unmarshal(kept, &state) == nil && state.Rate > 0 {
		d.pace.Restore(state)
	}
	return newClient(d.Config, d.pace, d.Transport, d.Version, d.meter.Asked, &d.given, d.Log)
}

// NewClient returns a client for the configuration's service. pace and
// transport may be nil: no limit, and the network.
func NewClient(c *config.Config, pace *hwocr.Pace, transport http.RoundTripper, version string, log *slog.Logger) (*hwocr.Client, error) {
	return newClient(c, pace, transport, version, nil, new(given), log)
}

func newClient(c *config.Config, pace *hwocr.Pace, transport http.RoundTripper, version string, asked func(string, int), last *given, log *slog.Logger) (*hwocr.Client, error) {
	if transport == nil {
		t, err := hwocr.NewTransport(hwocr.TransportConfig{Proxy: c.API.Proxy.Reveal(), CAFile: c.API.CAFile})
		if err != nil {
			return nil, err
		}
		transport = t
	}
	source := c.TokenSource()
	return hwocr.New(hwocr.Config{
		URL:     c.API.URL,
		Timeout: c.API.Timeout,
		Token: func() (string, error) {
			s, err := source.Token()
			last.Store(&s)
			if err != nil {
				return "", fmt.Errorf("%w: %w", uploader.ErrToken, err)
			}
			return s.Reveal(), nil
		},
		Pace:      pace,
		Transport: transport,
		UserAgent: "scandrop/" + version,
		Asked:     asked,
		Log:       log,
	})
}

// folders are the hot folders, with what the queue remembers of them.
func (d *daemon) folders(c *config.Config) []watcher.Folder {
	folders := foldersOf(c)
	for i, f := range c.Folders {
		folders[i].Ignore = f.Existing == "ignore" && !d.queue.Introduced(f.Path)
		if kept, err := d.queue.Kept(keptPause + f.Path); err == nil && len(kept) > 0 {
			folders[i].Pause, _ = time.ParseDuration(string(kept)) // without it the pause is learned anew
		}
	}
	return folders
}

// foldersOf translates the hot folders. Of nested ones the innermost owns; what
// we write to is never watched.
func foldersOf(c *config.Config) []watcher.Folder {
	ours := []string{c.State}
	for _, f := range c.Folders {
		ours = append(ours, f.Path)
		for _, dir := range []string{f.Originals.Done, f.Originals.Failed} {
			if dir != config.Stay {
				ours = append(ours, dir)
			}
		}
	}
	var folders []watcher.Folder
	for _, f := range c.Folders {
		w := watcher.Folder{
			Path: f.Path, Recursive: f.Recursive, Include: f.Include, Exclude: f.Exclude,
			Rescan: f.Rescan, Poll: f.Watch == "poll", Events: f.Watch == "events", CutOff: f.Incomplete == "upload",
		}
		if f.Quiet != nil {
			w.Quiet = max(*f.Quiet, 1) // 0 is an answer here, and none to the watcher
		}
		for _, path := range ours {
			if rel, err := filepath.Rel(f.Path, path); err == nil && rel != "." && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
				w.Skip = append(w.Skip, path)
			}
		}
		folders = append(folders, w)
	}
	return folders
}

func optionsOf(f config.Folder) queue.Options {
	o := queue.Options{
		Action: f.Action, ExtractorID: f.ExtractorID, PromptID: f.PromptID, Formats: f.Formats,
		DeleteRemote: f.DeleteRemote, DeleteAfter: f.DeleteAfter, Notes: f.FailureNotes,
	}
	if f.Originals.Done != config.Stay {
		o.MoveDone = f.Originals.Done
	}
	if f.Originals.Failed != config.Stay {
		o.MoveFailed = f.Originals.Failed
	}
	return o
}

// scansOf translates files; of each, w says what is wanted.
func scansOf(files []watcher.File, w []wanted) []queue.Scan {
	scans := make([]queue.Scan, len(files))
	for i, f := range files {
		scans[i] = queue.Scan{
			Folder: f.Folder, Path: f.Path, Size: f.Size, ModTime: f.ModTime,
			Content: f.Content, Ext: f.Ext, Pages: f.Pages, Spooled: f.Spooled, Reject: f.Reject,
		}
		if w != nil {
			scans[i].Options, scans[i].Profile = optionsOf(w[i].folder), w[i].hold
		}
	}
	return scans
}

// moved tells everybody who wants to know that a job was added or moved on.
func (d *daemon) moved(j queue.Job) {
	if (j.Spooled || j.Size > d.Largest) && d.over(j) {
		d.clear(j)
	}
	d.failureNotes.moved(j)
	if j.State == queue.Done {
		d.meter.Done(j)
	}
	if d.page != nil {
		d.page.Moved(j)
	}
	d.noteEnd(j)
	d.Moved(j)
}

// over reports whether nothing is to be done for the job any more: it is done, it was
// forgotten, or its scan has changed.
func (d *daemon) over(j queue.Job) bool {
	if j.State == queue.Done {
		return true
	}
	_, err := d.queue.Get(j.ID)
	return errors.Is(err, queue.ErrNoJob)
}

// clear removes what the state folder keeps of the job's scan.
func (d *daemon) clear(j queue.Job) {
	if j.Spooled {
		d.unspool(j)
	}
	if j.Size <= d.Largest {
		return
	}
	if err := d.parts.Clear(j); err != nil { // the next start removes them
		d.Log.Warn("the parts of a scan could not be removed", "job", j.ID, "scan", j.Path, "error", err)
	}
}

// tidyParts removes what is left of the parts of scans that need them no more, where
// jobs may have gone of which nobody tells.
func (d *daemon) tidyParts() {
	if err := d.parts.tidy(d.queue); err != nil { // the next start removes them
		d.Log.Warn("the parts of scans could not all be removed", "error", err)
	}
}

// unspool removes the copy of a job's scan, unless a job needs it.
func (d *daemon) unspool(j queue.Job) {
	if err := d.files.spool.remove(d.queue, j); err != nil { // the next start removes it
		d.Log.Warn("the copy of a scan could not be removed", "job", j.ID, "error", err)
	}
}

// examine is [intake.examine], and says so in the queue where the state folder
// cannot take copies of scans.
func (d *daemon) examine(ctx context.Context, in *intake, scan *os.File, file *watcher.File) error {
	err := in.examine(ctx, scan, file)
	if errors.Is(err, uploader.ErrState) {
		hold := queue.Hold{Cause: queue.Disk, Reason: fmt.Sprintf("scans cannot be copied: see that the state folder's disk is well and has room (%v)", err)}
		if !d.held(hold.Key()) {
			err = errors.Join(err, d.queue.Hold(hold))
		}
	}
	return err
}

// present reports whether files with the names of all results of a scan lie
// beside it.
func present(s queue.Scan) bool {
	has := func(format string) bool {
		const usual = 2 // names that a result has unless many scans share theirs
		n := 0
		for name := range result.Names(filepath.Base(s.Path), format) {
			info, err := os.Lstat(filepath.Join(filepath.Dir(s.Path), name))
			if err == nil && info.Mode().IsRegular() {
				return true
			}
			if n++; n == usual {
				break
			}
		}
		return false
	}
	return !slices.ContainsFunc(s.Options.Formats, func(format string) bool { return !has(format) })
}

// add puts settled scans into the queue.
func (d *daemon) add(in *intake, files []watcher.File) error {
	slices.SortStableFunc(files, func(a, b watcher.File) int { return a.ModTime.Compare(b.ModTime) }) // the oldest goes first
	resolve, all := in.profiles(), make([]wanted, len(files))
	for i, f := range files {
		var err error
		if all[i], err = resolve.of(f.Folder, f.Path); err != nil {
			return err
		}
	}
	scans := scansOf(files, all)
	if d.queue.Rebuilding() {
		for i, s := range scans {
			scans[i].Present = present(s)
		}
	}
	added, err := d.queue.Add(scans...)
	if err != nil {
		return err
	}
	for i, a := range added {
		log := d.Log.With("job", a.Job.ID, "scan", a.Job.Path, "state", a.Job.State)
		switch {
		case a.Known:
			log.Debug("scan known")
			if scans[i].Spooled { // another time, as after a restore: it was copied to be compared
				d.unspool(queue.Job{ID: a.Job.ID, Content: scans[i].Content, Ext: scans[i].Ext})
			}
			continue
		case a.Job.State == queue.Rejected:
			log.Warn("job rejected", "error", a.Job.Error)
		case a.Job.HeldBy == queue.Profile:
			log.Warn("job held", "cause", a.Job.HeldBy, "error", a.Job.Error)
		case a.Job.State == queue.Processing:
			log.Info("the service has this scan already, under our mark", "document", a.Job.Document)
		case a.Job.Twin != 0:
			log.Info("job queued, its content is known", "same_as", a.Job.Twin)
		default:
			log.Info("job queued", "bytes", a.Job.Size, "pages", pagesText(a.Job.Counted))
		}
		if a.Replaced != 0 {
			log.Info("job replaces one that was not sent yet", "replaced", a.Replaced)
			d.tidyParts() // it may have been divided
		}
		d.moved(a.Job)
	}
	return nil
}

// pagesText says how many pages nobody could count.
func pagesText(n int) string {
	if n == 0 {
		return "unknown"
	}
	return strconv.Itoa(n)
}

// looked turns what a scan of a folder showed into a hold or its release.
func (d *daemon) looked(folder string, scanned bool, err error) {
	hold := queue.Hold{Cause: queue.Missing, Folder: folder}
	if err != nil {
		hold.Reason = err.Error()
		if hint := privacyHint(err); hint != "" {
			hold.Reason += "; " + hint
		}
		if d.held(hold.Key()) {
			return
		}
		d.Log.Error("folder held", "folder", folder, "error", err)
		if err := d.queue.Hold(hold); err != nil {
			d.Log.Error("the queue could not be written", "error", err)
		}
		return
	}
	if d.held(hold.Key()) {
		if _, err := d.queue.Release(hold.Key()); err != nil {
			d.Log.Error("the queue could not be written", "error", err)
			return
		}
		d.Log.Info("folder is back", "folder", folder)
	}
	if _, trouble := d.troubles.Load(folder); trouble {
		go d.tryFolder(folder)
	}
	if !scanned {
		return
	}
	d.failureNotes.looked(folder)
	if err := d.queue.Looked(folder); err != nil {
		d.Log.Error("the queue could not be written", "error", err)
	}
	d.introduce(folder)
}

// introduce takes note that the folder has been looked through, and has that kept in a
// snapshot, too: without it, what comes later could not be told from what lay there.
func (d *daemon) introduce(folder string) {
	if d.queue.Introduced(folder) {
		return
	}
	if err := d.queue.Introduce(folder); err != nil {
		d.Log.Error("the queue could not be written", "error", err)
		return
	}
	select {
	case d.introduced <- struct{}{}:
	default: // the next snapshot has it
	}
}

// reconfigure gives the jobs of the folder that wait what is wanted now that a
// profile has changed.
func (d *daemon) reconfigure(in *intake, folder string) {
	if err := d.apply(in, folder); err != nil {
		d.Log.Error("the queue could not be written", "error", err)
	}
	d.Log.Info("the profile of a folder changed", "folder", folder)
}

func (d *daemon) held(key string) bool {
	for _, h := range d.queue.Holds() {
		if h.Key() == key {
			return true
		}
	}
	return false
}

// run starts the parts and waits for them.
func (d *daemon) run(ctx context.Context) error {
	d.Log.Info("scandrop started", "version", d.Version, "folders", len(d.Config.Folders), "state_folder", d.Config.State)
	d.page = d.openPage()
	d.usable(d.Config)
	endJournal := d.keepJournal(ctx)
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		if d.Once {
			defer stop()
			return d.once(ctx)
		}
		return part("watcher", d.watch(ctx))
	})
	g.Go(func() error {
		defer stop() // without it nothing happens to what the watcher finds
		return part("uploader", d.uploader.Run(ctx))
	})
	g.Go(func() error {
		d.keepSnapshots(ctx)
		return nil
	})
	g.Go(func() error { return d.keepPace(ctx) })
	endNotes := d.failureNotes.keep()
	g.Go(func() error {
		d.beat(ctx)
		return nil
	})
	g.Go(func() error {
		d.watchToken(ctx)
		return nil
	})
	if d.page != nil {
		g.Go(func() error {
			d.page.serve(ctx, d)
			return nil
		})
	}
	if d.webhook != nil {
		l, err := d.listenWebhook() // before the work, all of which may be done at once
		g.Go(func() error {
			d.serveWebhook(ctx, l, err)
			return nil
		})
	}
	if d.notices != nil && !d.Once {
		g.Go(func() error {
			d.notices.Run(ctx)
			return nil
		})
	}
	err := d.wait(ctx, g)
	d.stopped.Store(true)
	if d.notices != nil && d.Once {
		d.tellTheRest(ctx)
	}
	endNotes()
	endJournal() // after the others: what they ended is in it, too
	if e := d.keep(); errors.Is(e, queue.ErrUncertain) {
		err = errors.Join(err, e)
	} else if e != nil { // a full disk, say: the pace alone is no failure
		d.Log.Warn("the pace could not be kept", "error", e)
	}
	d.Log.Info("scandrop stopped")
	return err
}

// keepPace keeps the pace whenever it has changed so much that a process that
// is killed now should have: the next one would run into the same refusals.
func (d *daemon) keepPace(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.pace.Changed():
			if err := d.keep(); err != nil { // a full disk, say; the next change tries again
				d.Log.Error("the queue could not be written", "error", err)
			}
		}
	}
}

func (d *daemon) keep() error {
	state, err := json.Marshal(d.pace.State())
	if err != nil {
		return err
	}
	return d.queue.Keep(keptPace, state)
}

// patience is how long the parts may take to stop: the uploader's grace, and a
// little.
const patience = grace + 5*time.Second

// wait waits for the parts. One that hangs in the system, as in a call to a
// share whose server is gone, must not keep the process from ending.
func (d *daemon) wait(ctx context.Context, g *errgroup.Group) error {
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		return fmt.Errorf("not everything stopped within %v: does one of the folders hang?", patience)
	}
}

func part(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// once takes what is there and sees it through. Scans that changed in our
// hands are looked at again, a few times at most: somebody may never stop.
func (d *daemon) once(ctx context.Context) (err error) {
	ignores := slices.ContainsFunc(d.Config.Folders, func(f config.Folder) bool { return f.Existing == "ignore" && !d.queue.Introduced(f.Path) })
	if ignores && d.queue.Rebuilding() { // what the service has is known then; see ignore
		if err := d.queue.Drained(ctx); err != nil {
			return ended(ctx, err)
		}
	}
	for range 5 {
		before := d.changed.Load()
		d.left, err = d.watcher.Load().Once(ctx)
		switch {
		case errors.Is(err, errUnread): // it is held, and says so
			d.left++
		case err != nil:
			return ended(ctx, part("watcher", err))
		}
		if err := d.queue.Drained(ctx); err != nil {
			return ended(ctx, err)
		}
		changed := int(d.changed.Load() - before)
		if changed == 0 {
			return nil
		}
		d.left = max(d.left, changed)
	}
	return nil
}

// ended drops an error that only says that we were told to stop.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// summary says what is left held, and counts what became of the scans of a run
// that has ended by itself.
func (d *daemon) summary() (Summary, error) {
	// A folder that was taken out on purpose makes no run of the others fail.
	held := slices.DeleteFunc(d.queue.Holds(), func(h queue.Hold) bool { return h.Cause == queue.Removed })
	s := Summary{Held: held, Done: int(d.done.Load()), Unfinished: d.left}
	if !d.Once {
		return s, nil
	}
	counts, err := d.queue.Counts()
	if err != nil {
		return s, err
	}
	for _, f := range d.Config.Folders {
		for state, n := range counts[f.Path] {
			if !state.Final() {
				s.Unfinished += n
			}
		}
	}
	for state, n := range map[queue.State]*int{queue.Failed: &s.Failed, queue.Rejected: &s.Rejected} {
		for j, err := range d.queue.All(queue.Filter{States: []queue.State{state}}) {
			if err != nil {
				return s, err
			}
			if !j.Finished.Before(d.began) {
				*n++
			}
		}
	}
	return s, nil
}
