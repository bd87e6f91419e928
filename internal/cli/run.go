package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"scandrop/internal/daemon"
	"scandrop/internal/service"
)

func (a *app) run() *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch the folders in the foreground",
		Long: `Watch the folders of the configuration until told to stop. The first Ctrl-C or
SIGTERM lets what is on the wire come to its end, a second one ends at once;
either way nothing is lost.

With --once: take what is there, see it through, and end, with status 5 if
anything is left held, else 3 if scans of this run failed or were rejected,
else 0.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return service.Run(c.Context(), func(ctx context.Context) error {
				return a.runDaemon(ctx, once)
			})
		},
	}
	c.Flags().BoolVar(&once, "once", false, "take what is there, see it through, and end")
	return c
}

// runDaemon runs the daemon of the configuration.
func (a *app) runDaemon(ctx context.Context, once bool) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if err := conf.CheckToken(); err != nil {
		return err
	}
	if _, err := conf.WebhookSecret(); conf.Webhook.Listen != "" && err != nil {
		return err
	}
	log, closeLog, err := a.logger(conf.Log)
	if err != nil {
		return err
	}
	o := daemon.Options{Config: conf, Once: once, Version: buildVersion(), Verify: verifyApart, Pages: pagesTool(), Log: log}
	var bar *progress
	if once && terminal(a.Err) {
		bar = newProgress(a.Err)
		o.Moved = bar.moved
		if conf.Log.File == "" {
			o.Log = bar.logger(conf.Log) // lines above the bar, not through it
		}
	}
	s, err := daemon.Run(ctx, o)
	bar.stop()
	if err := errors.Join(err, closeLog()); err != nil {
		return err
	}
	switch {
	case !once:
		return nil
	case ctx.Err() != nil:
		return &statusError{ExitFailed, errors.New("interrupted before everything was seen through"), "run it again: it goes on where it stopped"}
	}
	return a.end(s)
}

// end says how a run ended, and with which status.
func (a *app) end(s daemon.Summary) error {
	fmt.Fprintf(a.Err, "scandrop: %d done, %d failed, %d rejected in this run\n", s.Done, s.Failed, s.Rejected)
	for _, h := range s.Held {
		fmt.Fprintf(a.Err, "scandrop: held: %s: %s\n", clean(h.Key()), clean(h.Reason))
	}
	if s.Unfinished > 0 {
		fmt.Fprintf(a.Err, "scandrop: %d left unfinished\n", s.Unfinished)
	}
	switch {
	case len(s.Held) > 0, s.Unfinished > 0:
		fmt.Fprintln(a.Err, "hint: when the trouble is over, run again: it goes on by itself")
		return &statusError{Status: ExitHeld}
	case s.Failed+s.Rejected > 0:
		fmt.Fprintln(a.Err, `hint: "scandrop queue list --state failed,rejected" says why, "scandrop queue retry JOB" tries again (with the same --config)`)
		return &statusError{Status: ExitLeft}
	}
	return nil
}
