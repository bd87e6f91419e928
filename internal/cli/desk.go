package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

// A desk is where a person asks about jobs and decides about them: the daemon, or,
// where none answers, the queue file. *control.Client is one.
type desk interface {
	Status(context.Context) (control.Status, error)
	All(context.Context, control.Filter) iter.Seq2[control.Job, error]
	Job(ctx context.Context, id uint64) (control.Job, error)
	ByPath(ctx context.Context, path string) (control.Job, error)
	Retry(ctx context.Context, id uint64, pay bool) (control.Job, error)
	Cancel(ctx context.Context, id uint64) (control.Job, error)
	Forget(ctx context.Context, id uint64) (control.Job, error)
	Release(ctx context.Context, name string) (int, error)
}

// What a desk is wanted for.
const (
	toLook   = false // the queue file stays as it is, bit by bit
	toDecide = true
)

// withDesk finds the desk of the configuration for f.
func (a *app) withDesk(ctx context.Context, decide bool, f func(desk) error) (err error) {
	conf, err := a.load()
	if err != nil {
		return err
	}
	d, end, err := a.desk(ctx, conf, decide)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	return f(d)
}

// desk asks the daemon, and opens the file only when none answers: to decide about
// jobs, or, to look, for reading only. A daemon that has just begun holds the file
// before it answers.
func (a *app) desk(ctx context.Context, conf *config.Config, decide bool) (d desk, end func() error, err error) {
	open := a.look
	if decide {
		open = a.openQueue
	}
	for try := 0; ; try++ {
		client, err := control.Dial(ctx, conf.State)
		if err == nil {
			return client, func() error { client.Close(); return nil }, nil
		}
		if !errors.Is(err, control.ErrNoDaemon) {
			return nil, nil, err
		}
		q, err := open(conf)
		if err == nil && q == nil {
			return nothing{file{nil, conf}}, func() error { return nil }, nil
		}
		if err == nil {
			return file{q, conf}, q.Close, nil
		}
		if !errors.Is(err, queue.ErrInUse) {
			return nil, nil, err
		}
		if try > 0 {
			return nil, nil, unreachable(conf)
		}
	}
}

// unreachable says that another process, most likely a daemon, has the queue and does
// not answer.
func unreachable(conf *config.Config) error {
	e := &statusError{ExitBusy, fmt.Errorf("%w, which does not answer", queue.ErrInUse),
		"wait if it has just been started, or is a \"run --once\", which serves no page; else its log says why it serves none, or stop it first"}
	if conf.Status.Listen == "" {
		e.Err = fmt.Errorf("%w, and status.listen is off, so that it cannot be asked", queue.ErrInUse)
		e.Hint = "set status.listen in the configuration, or stop the daemon first"
	}
	return e
}

// A file is the queue file as a desk.
type file struct {
	queue *queue.Queue
	conf  *config.Config
}

// blank is a status without jobs.
func (f file) blank() control.Status {
	return control.Status{
		Now: time.Now().Round(0), State: f.conf.State, Service: f.conf.API.URL,
		Jobs: control.Counts{}, Holds: []control.Hold{}, Folders: []control.Folder{}, Pace: control.Pace{Limit: f.conf.API.Rate},
		Reasons: []string{control.ErrNoDaemon.Error()},
	}
}

func (f file) Status(context.Context) (control.Status, error) {
	s := f.blank()
	counts, err := f.queue.Counts()
	if err != nil {
		return s, err
	}
	for _, states := range counts {
		for state, n := range states {
			s.Jobs[state] += n
		}
	}
	for _, h := range f.queue.Holds() {
		s.Holds = append(s.Holds, control.ViewHold(h))
	}
	for _, c := range f.conf.Folders {
		folder := control.Folder{Path: c.Path, Action: c.Action, Formats: c.Formats, Jobs: control.Counts(counts[c.Path])}
		for _, h := range s.Holds {
			if h.Folder == c.Path {
				folder.Held = append(folder.Held, h.Name)
			}
		}
		s.Folders = append(s.Folders, folder)
	}
	today, err := f.queue.Today()
	if err != nil {
		return s, err
	}
	s.Today = control.Today{Done: today.Done, Failed: today.Failed, Rejected: today.Rejected, Pages: today.Pages}
	if info, err := os.Stat(daemon.QueuePath(f.conf)); err == nil {
		s.Bytes = info.Size()
	}
	return s, nil
}

func (f file) All(_ context.Context, filter control.Filter) iter.Seq2[control.Job, error] {
	holds := f.queue.Holds()
	return func(yield func(control.Job, error) bool) {
		all := f.queue.All(queue.Filter{States: filter.States, Folder: filter.Folder, Text: filter.Text, After: filter.After, Limit: filter.Limit})
		for j, err := range all {
			if !yield(control.View(j, holds), err) {
				return
			}
		}
	}
}

func (f file) Job(_ context.Context, id uint64) (control.Job, error) {
	j, err := f.queue.Get(id)
	return f.story(j, err)
}

func (f file) ByPath(_ context.Context, path string) (control.Job, error) {
	j, err := f.queue.ByPath(path)
	return f.story(j, err)
}

func (f file) story(j queue.Job, err error) (control.Job, error) {
	if err != nil {
		return control.Job{}, err
	}
	v := control.View(j, f.queue.Holds())
	v.Story, err = f.queue.Story(j.ID)
	return v, err
}

func (f file) view(j queue.Job, err error) (control.Job, error) {
	return control.View(j, f.queue.Holds()), err
}

func (f file) Retry(_ context.Context, id uint64, pay bool) (control.Job, error) {
	return f.view(f.queue.Retry(id, pay))
}

func (f file) Cancel(_ context.Context, id uint64) (control.Job, error) {
	return f.view(f.queue.Cancel(id))
}

func (f file) Forget(_ context.Context, id uint64) (control.Job, error) {
	return f.view(f.queue.Forget(id))
}

func (f file) Release(_ context.Context, name string) (int, error) { return f.queue.Release(name) }

// nothing is the desk where there is no queue file yet, and none is made, as
// somebody only wants to look.
type nothing struct{ file }

func (n nothing) Status(context.Context) (control.Status, error) { return n.blank(), nil }

func (nothing) All(context.Context, control.Filter) iter.Seq2[control.Job, error] {
	return func(func(control.Job, error) bool) {}
}

func (nothing) Job(_ context.Context, id uint64) (control.Job, error) {
	return control.Job{}, fmt.Errorf("job %d: %w", id, queue.ErrNoJob)
}

func (nothing) ByPath(_ context.Context, path string) (control.Job, error) {
	return control.Job{}, fmt.Errorf("%s: %w", path, queue.ErrNoJob)
}

// refused reports whether what was asked of a job does not fit its state.
func refused(err error) bool {
	_, byQueue := errors.AsType[*queue.RefusedError](err)
	return byQueue || control.IsRefused(err)
}

// find finds a job, with its story, by its number or by the path of its scan. A
// file whose name is a number is found by ./17.
func find(ctx context.Context, d desk, name string) (control.Job, error) {
	if id, err := strconv.ParseUint(name, 10, 64); err == nil {
		j, err := d.Job(ctx, id)
		return j, notThere(err)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return control.Job{}, err
	}
	j, err := d.ByPath(ctx, path)
	return j, notThere(err)
}

// notThere adds the way out to an error that names a job that is not there.
func notThere(err error) error {
	if errors.Is(err, queue.ErrNoJob) {
		return &statusError{ExitFailed, err, `"scandrop queue list" shows the jobs there are`}
	}
	return err
}

// has finds the job that has the path, which was named so, as one of its results, or
// whose original was moved there, and says which it is.
func (a *app) has(ctx context.Context, d desk, name, path string) (control.Job, bool) {
	j, found := owning(ctx, d, path)
	switch {
	case found && j.Moved == path:
		fmt.Fprintf(a.Err, "scandrop: %s is the original of %s, moved\n", clean(name), clean(j.Scan))
	case found:
		fmt.Fprintf(a.Err, "scandrop: %s was made from %s\n", clean(name), clean(j.Scan))
	}
	return j, found
}

// owning finds the newest job that has a file at the path, besides its scan's own.
func owning(ctx context.Context, d desk, path string) (control.Job, bool) {
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	stem = strings.TrimSuffix(stem, filepath.Ext(stem)) // letter.pdf.txt
	if i := strings.LastIndex(stem, " ("); i > 0 {      // letter (2).pdf
		stem = stem[:i]
	}
	const most = 5000
	n := 0
	for j, err := range d.All(ctx, control.Filter{Text: stem}) {
		if n++; err != nil || n > most {
			break
		}
		mine := slices.ContainsFunc(j.Results, func(r control.Result) bool { return r.Path == path })
		if mine || j.Moved == path {
			if full, err := d.Job(ctx, j.ID); err == nil {
				j = full
			}
			return j, true
		}
	}
	return control.Job{}, false
}

// exists reports whether there is a queue file, so that looking makes none.
func exists(conf *config.Config) bool {
	_, err := os.Stat(daemon.QueuePath(conf))
	return !errors.Is(err, fs.ErrNotExist)
}
