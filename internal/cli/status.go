package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

const startHint = `start it with "scandrop service start", or in the foreground with "scandrop run"`

// watchEvery is between two looks of status --watch.
const watchEvery = time.Second

func (a *app) status() *cobra.Command {
	watch, alive, asJSON := false, false, false
	c := &cobra.Command{
		Use:   "status",
		Short: "Say what the daemon is doing",
		Long: `Say what waits, what runs, what is held and why, and how the folders are. Exit
status 5 means that something is held; 4 that no daemon answers: then it shows what
the queue file says, if that can be opened.

With --watch it goes on until Ctrl-C: on a terminal it redraws in place, elsewhere
it writes a line whenever something has changed, with --json an object a line.

With --alive it ends with 0 as long as the daemon answers, whatever is held: for
what starts those again that do not.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			client, err := control.Dial(c.Context(), conf.State)
			if errors.Is(err, control.ErrNoDaemon) {
				return a.statusOfFile(c.Context(), conf, asJSON)
			}
			if err != nil {
				return err
			}
			defer client.Close()
			if watch {
				return a.watch(c.Context(), client, asJSON)
			}
			s, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			err = a.sayStatus(conf, client.URL(), s, asJSON)
			if held, ok := errors.AsType[*statusError](err); ok && alive && held.Status == ExitHeld {
				return nil
			}
			return err
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "go on until Ctrl-C")
	c.Flags().BoolVar(&alive, "alive", false, "end with 0 as long as the daemon answers")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

// statusOfFile shows what the queue file says, and that no daemon answers.
func (a *app) statusOfFile(ctx context.Context, conf *config.Config, asJSON bool) error {
	nobody := &statusError{ExitBusy, control.ErrNoDaemon, startHint}
	if !exists(conf) {
		return nobody
	}
	d, end, err := a.desk(ctx, conf, toLook)
	if err != nil {
		return err
	}
	defer func() { _ = end() }()
	s, err := d.Status(ctx)
	if err != nil {
		return err
	}
	if err := a.sayStatus(conf, "", s, asJSON); err != nil && len(s.Holds) == 0 {
		return err
	}
	if _, started := d.(file); !started {
		return nil // it has begun to answer
	}
	return nobody
}

// sayStatus prints a status. url is where the daemon answers, "" if none does.
func (a *app) sayStatus(conf *config.Config, url string, s control.Status, asJSON bool) error {
	if asJSON {
		if err := a.writeJSON(s); err != nil {
			return err
		}
	} else if err := a.statusText(conf, url, s); err != nil {
		return err
	}
	if len(s.Holds) > 0 {
		return &statusError{Status: ExitHeld}
	}
	return nil
}

func (a *app) statusText(conf *config.Config, url string, s control.Status) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, column(fmt.Sprintf(format, args...)))
	}
	if url != "" {
		row("daemon", "scandrop %s at %s, up for %s", s.Version, url, roughly(time.Since(s.Started)))
	}
	row("state", "%s", s.State)
	row("jobs", "%s", jobsText(s.Jobs))
	if t := s.Today; t != (control.Today{}) {
		row("today", "%d done (%s), %d failed, %d rejected", t.Done, countOf(t.Pages, "page"), t.Failed, t.Rejected)
	}
	for _, h := range s.Holds {
		row("held", "%s", holdText(h))
	}
	for _, reason := range s.Reasons {
		if !strings.HasPrefix(reason, "held: ") && url != "" {
			row("trouble", "%s", reason)
		}
	}
	for _, f := range s.Folders {
		row("folder", "%s", folderText(f))
	}
	for _, l := range s.Limits {
		if l.Most > 0 {
			row("limit", "%s: %d of %d used%s", l.Name, l.Used, l.Most, inFolder(l.Folder))
		}
	}
	if url != "" {
		row("pace", "%s", paceText(s.Pace))
	}
	if len(s.Restart) > 0 {
		row("restart", "for these keys, which were changed since: %s", strings.Join(s.Restart, ", "))
	}
	if hook, err := daemon.WebhookURL(conf); err == nil && hook != "" {
		row("webhook", "%s", hook)
	}
	return w.Flush()
}

// jobsText counts jobs in the order in which they live through the states.
func jobsText(c control.Counts) string {
	var parts []string
	for _, s := range queue.States {
		if n := c[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func holdText(h control.Hold) string {
	text := fmt.Sprintf("%s since %s: %s", h.Name, moment(h.Since), h.Reason)
	if h.Next.After(time.Now()) {
		text += fmt.Sprintf(" (next try at %s)", moment(h.Next))
	}
	if h.Cause == queue.Token {
		text += `; once another is put in, "scandrop queue release" has it tried at once`
	}
	return text
}

func folderText(f control.Folder) string {
	parts := []string{f.Path + ": " + jobsText(f.Jobs)}
	if f.Mode != "" {
		parts = append(parts, "noticed by "+f.Mode)
	}
	if !f.Last.IsZero() {
		parts = append(parts, "last scan "+moment(f.Last))
	}
	if f.Missed > 0 {
		parts = append(parts, countOf(int(f.Missed), "scan")+" of which no event told")
	}
	if f.Settle > 0 {
		parts = append(parts, fmt.Sprintf("%d still changing", f.Settle))
	}
	if f.Error != "" {
		parts = append(parts, f.Error)
	}
	return strings.Join(parts, "; ")
}

func paceText(p control.Pace) string {
	text := fmt.Sprintf("%s requests a second, %s at most", plain(p.Rate), plain(p.Limit))
	if p.Quota > 0 {
		text += fmt.Sprintf("; the service takes %d in %s", p.Quota, p.Window)
	}
	if p.NotBefore.After(time.Now()) {
		text += "; the service asks to wait until " + moment(p.NotBefore)
	}
	return text
}

// plain prints a rate without an exponent, to a hundredth.
func plain(rate float64) string {
	return strconv.FormatFloat(math.Round(rate*100)/100, 'f', -1, 64)
}

func inFolder(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// roughly is a time as a person says it.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// watch shows the status again and again, until ctx is done or the daemon
// answers no more.
func (a *app) watch(ctx context.Context, d desk, asJSON bool) error {
	draw, end := a.watchLines(asJSON)
	if terminal(a.Out) && !asJSON {
		draw, end = watchScreen(a.Out)
	}
	defer end()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s, err := d.Status(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, control.ErrNoDaemon):
			return &statusError{ExitBusy, errors.New("the daemon answers no more"), startHint}
		case err != nil:
			return err
		}
		if err := draw(s); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watchLines writes a line whenever something has changed.
func (a *app) watchLines(asJSON bool) (draw func(control.Status) error, end func()) {
	last := ""
	return func(s control.Status) error {
		line := summary(s)
		if line == last {
			return nil
		}
		last = line
		if !asJSON {
			_, err := fmt.Fprintf(a.Out, "%s  %s\n", s.Now.Local().Format(time.TimeOnly), clean(line))
			return err
		}
		return json.NewEncoder(plainJSON{a.Out}).Encode(s)
	}, func() {}
}

// summary is a status on one line.
func summary(s control.Status) string {
	line := jobsText(s.Jobs)
	for _, h := range s.Holds {
		line += "; held: " + h.Name + ": " + h.Reason
	}
	return line
}

// shownHolds is for how many holds there is room on the screen.
const shownHolds = 3

// watchScreen redraws in place: a bar of the scans that have come to their end
// since the watch began, and what else there is to see, line by line.
func watchScreen(w io.Writer) (draw func(control.Status) error, end func()) {
	var (
		now    atomic.Pointer[control.Status]
		bars   *mpb.Progress
		bar    *mpb.Bar
		lines  []*mpb.Bar
		before int // jobs at their end when the watch began
	)
	line := func(text func(control.Status) string) {
		lines = append(lines, bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string {
			return clean(text(*now.Load()))
		}))))
	}
	draw = func(s control.Status) error {
		open := s.Jobs.Open()
		total := 0
		for _, n := range s.Jobs {
			total += n
		}
		now.Store(&s)
		if bars == nil {
			before = total - open
			bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(78), mpb.WithRefreshRate(watchEvery/4))
			line(func(s control.Status) string {
				return fmt.Sprintf("scandrop %s, up for %s, %s", s.Version, roughly(time.Since(s.Started)), s.Now.Local().Format(time.TimeOnly))
			})
			bar = bars.AddBar(0,
				mpb.PrependDecorators(decor.Name("scans "), decor.CountersNoUnit("%d of %d")))
			line(func(s control.Status) string { return "jobs: " + jobsText(s.Jobs) })
			line(func(s control.Status) string { return "pace: " + paceText(s.Pace) })
			for i := range s.Folders {
				line(func(s control.Status) string {
					if i >= len(s.Folders) {
						return ""
					}
					return folderText(s.Folders[i])
				})
			}
			for i := range shownHolds {
				line(func(s control.Status) string {
					switch more := len(s.Holds) - i; {
					case more <= 0:
						return ""
					case i == shownHolds-1 && more > 1:
						return fmt.Sprintf("and %d more are held", more)
					}
					return "HELD " + holdText(s.Holds[i])
				})
			}
		}
		ended := max(total-open-before, 0) // forgotten jobs are not counted any more
		bar.SetTotal(int64(ended+open), false)
		bar.SetCurrent(int64(ended))
		return nil
	}
	return draw, func() {
		if bars == nil {
			return
		}
		bar.Abort(false)
		for _, l := range lines {
			l.Abort(false)
		}
		bars.Wait()
	}
}
