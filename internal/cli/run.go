package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/internal/service"
	"scandrop/queue"
)

func (a *app) run() *cobra.Command {
	once := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Watch the folders in the foreground",
		Long: `Watch the folders of the configuration until told to stop. The first Ctrl-C or
SIGTERM lets what is on the wire come to its end, a second one ends at once;
either way nothing is lost. SIGHUP has the configuration read again: one with a
mistake is refused, and what is on the wire stays there; not from a terminal.

With --once: take what is there, see it through, and end, with status 5 if
anything is left held, else 3 if scans of this run failed or were rejected,
else 0.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			manager := service.Started(os.Getenv)
			err := service.Run(c.Context(), func(ctx context.Context) error {
				err := a.runDaemon(ctx, once, manager)
				if err != nil && service.Managed() {
					tellSystem(err) // nobody reads what is printed
				}
				return err
			}, func(err error) int {
				status, _ := verdictOn(err)
				return status
			})
			if err != nil && !once {
				_ = manager.Failing(err.Error()) // it sees that we end, at least
			}
			return err
		},
	}
	c.Flags().BoolVar(&once, "once", false, "take what is there, see it through, and end")
	return c
}

// collectAt is by how many hundredths the memory in use may grow before it is collected:
// it is so little that the usual 100 has it collected a hundred times a second.
const collectAt = 300

// runDaemon runs the daemon of the configuration.
func (a *app) runDaemon(ctx context.Context, once bool, manager *service.Manager) error {
	conf, err := a.loadUsable()
	if err != nil {
		return err
	}
	log, closeLog, err := a.logger(conf.Log)
	if err != nil {
		return err
	}
	if err := a.greet(ctx, conf, log); err != nil {
		return errors.Join(err, closeLog())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	o := daemon.Options{Config: conf, Once: once, Version: buildVersion(), Verify: verifyApart, Pages: pagesTool(), Log: log}
	if !once {
		o.Reload = a.reloads(ctx, log)
	}
	if manager != nil {
		// A panic, and the watchdog's SIGABRT, would end the process with status 2,
		// as a mistake in the configuration does, and it would not be started again.
		debug.SetTraceback("crash")
		o.AliveEvery = manager.Every()
		o.Alive = func(holds []queue.Hold) {
			if err := manager.Well(inShort(holds)); err != nil {
				log.Error("the service manager could not be told", "error", err)
			}
		}
	}
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
	if errors.Is(err, queue.ErrInUse) {
		err = runsAlready(ctx, conf, err)
	}
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

// runsAlready says that the queue of the configuration is taken, and by whom. The
// error is one of opening it.
func runsAlready(ctx context.Context, conf *config.Config, err error) error {
	client, e := control.Dial(ctx, conf.State)
	if e != nil {
		return &statusError{ExitBusy, fmt.Errorf("scandrop runs already over the state folder %s: %w", conf.State, err),
			`"scandrop status" shows what it is doing; for a second one name another folder as state in its configuration`}
	}
	defer client.Close()
	return &statusError{ExitBusy, fmt.Errorf("scandrop runs already over the state folder %s; its page is %s", conf.State, client.URL()),
		`"scandrop status" shows what it is doing, "scandrop open" its page; for a second one name another folder as state in its configuration`}
}

// tellSystem tells the system's log why a service ends.
func tellSystem(err error) {
	w, tell, e := service.OpenLog()
	if e != nil {
		return
	}
	defer w.Close()
	_, hint := verdictOn(err)
	text := clean(err.Error())
	if hint != "" {
		text += "; hint: " + hint
	}
	fmt.Fprintln(w, "scandrop ends:", text)
	tell(2, text)
}

// loadUsable is load, and sees that the secrets which a daemon needs are there.
func (a *app) loadUsable() (*config.Config, error) {
	conf, err := a.load()
	if err != nil {
		return nil, err
	}
	if err := conf.CheckToken(); err != nil {
		return nil, err
	}
	if _, err := conf.WebhookSecret(); conf.Webhook.Listen != "" && err != nil {
		return nil, err
	}
	return conf, nil
}

// reloads reads the configuration at every SIGHUP, and brings those that are
// fine. On a terminal it is the hangup that it always was.
func (a *app) reloads(ctx context.Context, log *slog.Logger) <-chan *config.Config {
	if in, ok := a.In.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return nil
	}
	hangups, configs := make(chan os.Signal, 1), make(chan *config.Config)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hangups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
			}
			conf, err := a.loadUsable()
			if err != nil {
				log.Error("the new configuration is refused, the old one goes on", "error", err)
				continue
			}
			select {
			case configs <- conf:
			case <-ctx.Done():
				return
			}
		}
	}()
	return configs
}

// inShort says what is held, "" if nothing is.
func inShort(holds []queue.Hold) string {
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = h.Key() + ": " + h.Reason
	}
	return strings.Join(parts, "; ")
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
		fmt.Fprintf(a.Err, "hint: %s\n", clean(a.hint(`"scandrop queue list --state failed,rejected" says why, "scandrop queue retry JOB" tries again`)))
		return &statusError{Status: ExitLeft}
	}
	return nil
}
