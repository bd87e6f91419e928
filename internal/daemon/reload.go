package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// A line to the service is the client that the configuration in force asks for.
// A call goes on with the one that it began with.
type line struct{ atomic.Pointer[hwocr.Client] }

func (l *line) Upload(ctx context.Context, u hwocr.Upload) (hwocr.Document, error) {
	return l.Load().Upload(ctx, u)
}

func (l *line) Status(ctx context.Context, id string) (hwocr.Document, error) {
	return l.Load().Status(ctx, id)
}

func (l *line) Download(ctx context.Context, id, format string, into hwocr.File) (int64, error) {
	return l.Load().Download(ctx, id, format, into)
}

func (l *line) Documents(ctx context.Context, perPage int) iter.Seq2[hwocr.Document, error] {
	return l.Load().Documents(ctx, perPage)
}

func (l *line) Page(ctx context.Context, perPage, n int) ([]hwocr.Document, bool, error) {
	return l.Load().Page(ctx, perPage, n)
}

func (l *line) Delete(ctx context.Context, id string) error { return l.Load().Delete(ctx, id) }

// watch runs the watcher until ctx is done; whenever another configuration
// comes, one for its folders takes its place. The uploader notices nothing: what
// is on the wire stays there.
func (d *daemon) watch(ctx context.Context) error {
	for {
		turn, stop := context.WithCancel(ctx)
		ended, watcher := make(chan error, 1), d.watcher.Load()
		go func() { ended <- watcher.Run(turn) }()
		err, again := d.changes(ended)
		stop()
		if !again {
			return err
		}
		// Not while it may still hand over what it found under the old
		// configuration; but a folder that hangs in the system must not keep the
		// others waiting.
		select {
		case err := <-ended:
			if err != nil {
				return err
			}
		case <-time.After(patience):
			d.Log.Warn("a folder hangs, and is left to itself")
		}
	}
}

// changes waits until the watcher has ended, with what it returned, or until a
// configuration has taken effect.
func (d *daemon) changes(ended <-chan error) (err error, again bool) {
	for {
		select {
		case err := <-ended:
			return err, false
		case c := <-d.Reload:
			if err := d.reload(c); err != nil {
				d.Log.Error("the new configuration is refused, the old one goes on", "error", err)
				continue
			}
			d.Log.Info("configuration reloaded", "folders", len(c.Folders))
			return nil, true
		}
	}
}

// reload makes c the configuration in force, but for what only a restart can
// change, which is logged. If it fails before anything was changed, that is all.
func (d *daemon) reload(c *config.Config) error {
	old := d.config.Load()
	if c.State != old.State {
		return fmt.Errorf("state: the queue is in %s while scandrop runs; restart it to go on in %s", old.State, c.State)
	}
	api, err := newClient(c, d.pace, d.Transport, d.Version, d.meter.Asked, &d.given, d.Log)
	if err != nil {
		return err
	}
	w, err := d.newWatcher(c)
	if err != nil {
		return err
	}
	if err := d.settle(c); err != nil {
		return errors.Join(err, d.settle(old))
	}
	keys := fixed(d.Config, c) // what the process began with still holds
	d.restart.Store(&keys)
	if len(keys) > 0 {
		d.Log.Warn("these keys take effect at the next start", "keys", strings.Join(keys, " "))
	}
	d.pace.Limit(c.API.Rate, c.API.Burst)
	d.uploader.SetWorkers(c.Workers)
	d.line.Store(api)
	d.watcher.Store(w)
	d.config.Store(c)
	d.usable(c)
	return nil
}

// settle tells the queue of the folders of a configuration.
func (d *daemon) settle(c *config.Config) error {
	if err := d.queue.SetFolders(priorities(c), limits(c)); err != nil {
		return err
	}
	return d.settler.settle(c)
}

// configure gives the jobs that wait in a folder what a configuration wants of them.
func (d *daemon) configure(c *config.Config, path string) error {
	in := newIntake(c, d.files, d.Pages)
	if _, known := in.folders[path]; !known {
		return nil
	}
	return d.apply(in, path)
}

// apply gives the jobs that wait in a folder what is wanted of them now. Those that a
// profile held are noticed anew.
func (d *daemon) apply(in *intake, folder string) error {
	in.files.stamps.forget(folder)
	usual, of := in.options(folder)
	err := d.queue.Configure(folder, usual, of)
	for _, h := range d.queue.Holds() {
		if h.Cause == queue.Profile && h.Folder == folder {
			_, e := d.queue.Release(h.Key())
			err = errors.Join(err, e)
		}
	}
	d.tidyParts() // what has become other work was dropped, and may have been divided
	return err
}

// hangTime is how long a folder may take where others wait for it: a share whose
// server is gone may never answer.
const hangTime = 5 * time.Second

// inTime calls f and reports whether it came to its end in time. If not it is left
// to itself, and late, which may be nil, is called when it has; f must not change
// what the caller reads then.
func inTime(f, late func()) bool {
	done, abandoned := make(chan struct{}), make(chan struct{})
	go func() {
		f()
		select {
		case done <- struct{}{}:
		case <-abandoned:
			if late != nil {
				late()
			}
		}
	}()
	patience := time.NewTimer(hangTime)
	defer patience.Stop()
	select {
	case <-done:
		return true
	case <-patience.C:
		close(abandoned)
		return false
	}
}

// answering asks all folders at once, by a call of ask for each, and returns those that
// answered in time.
func answering(folders []config.Folder, ask func(path string)) []config.Folder {
	answered := make([]bool, len(folders))
	var all sync.WaitGroup
	for i, f := range folders {
		all.Go(func() { answered[i] = inTime(func() { ask(f.Path) }, nil) })
	}
	all.Wait()
	var those []config.Folder
	for i, f := range folders {
		if answered[i] {
			those = append(those, f)
		}
	}
	return those
}

func stat(path string) { _, _ = os.Stat(path) }

// usable tells of hot folders that are there and cannot be used: such as are full, may
// not be written, or do not answer. It does not wait for them.
func (d *daemon) usable(c *config.Config) {
	for _, f := range c.Folders {
		go d.tryFolder(f.Path)
	}
	d.troubles.Range(func(path, _ any) bool {
		if !d.configured(path) {
			d.troubles.Delete(path)
		}
		return true
	})
}

// configured reports whether there is such a hot folder in the configuration in force.
func (d *daemon) configured(path any) bool {
	return slices.ContainsFunc(d.config.Load().Folders, func(f config.Folder) bool { return f.Path == path })
}

// tryFolder takes note of how a folder is, and tells of what is wrong with it. What
// is missing the watcher tells.
func (d *daemon) tryFolder(path string) {
	trial := Try{Path: path, Write: true, Untouched: true}.Do()
	trouble := trial.Problem
	if trial.Hint != "" {
		trouble += "; " + trial.Hint
	}
	if text, short := trial.Scarce(); short {
		trouble = text + "; free some of it: until then nothing of it is sent"
	}
	if trouble == "" || trial.Absent || d.stopped.Load() {
		d.troubles.Delete(path)
		return
	}
	_, known := d.troubles.Swap(path, trouble)
	if !d.configured(path) { // a reload has taken it out meanwhile
		d.troubles.Delete(path)
		return
	}
	if !known {
		d.Log.Warn("a folder cannot be used as it is", "folder", path, "error", trouble)
	}
}

func priorities(c *config.Config) map[string]int {
	folders := map[string]int{}
	for _, f := range c.Folders {
		folders[f.Path] = f.Priority
	}
	return folders
}

// limits are those of the folders, and of all together under "".
func limits(c *config.Config) map[string]queue.Limits {
	all := map[string]queue.Limits{"": {PerDay: c.Limits.PagesPerDay, PerMonth: c.Limits.PagesPerMonth}}
	for _, f := range c.Folders {
		all[f.Path] = queue.Limits{PerScan: f.Limits.PagesPerScan, PerDay: f.Limits.PagesPerDay, PerMonth: f.Limits.PagesPerMonth}
	}
	maps.DeleteFunc(all, func(_ string, l queue.Limits) bool { return l == queue.Limits{} })
	return all
}

// fixed lists the keys that differ and that a running daemon cannot change.
func fixed(a, b *config.Config) (keys []string) {
	differs := func(key string, x, y any) {
		if !reflect.DeepEqual(x, y) {
			keys = append(keys, key)
		}
	}
	differs("api.doubt", a.API.Doubt, b.API.Doubt)
	differs("status", a.Status, b.Status)
	differs("webhook", a.Webhook, b.Webhook)
	differs("notices", a.Notices, b.Notices)
	differs("log", a.Log, b.Log)
	return keys
}

// beat tells whoever looks after the process that it is well, as long as it is:
// while the queue can be read and is not locked up, which is what every part
// waits for. A hot folder that hangs, as on a share whose server is gone, is no
// reason to end the others' work.
func (d *daemon) beat(ctx context.Context) {
	if d.Alive == nil {
		return
	}
	ticks := time.NewTicker(d.AliveEvery)
	defer ticks.Stop()
	for {
		if _, err := d.queue.Kept(keptPace); err == nil {
			d.Alive(d.queue.Holds())
		} else {
			d.Log.Error("the queue could not be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
