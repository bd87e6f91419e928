// Package cli is scandrop's command line.
//
// Data alone goes to standard output, everything else to standard error; an
// error names the thing and, on a line that begins with "hint: ", the way out.
// The exit statuses are a contract: see the Exit constants.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/internal/service"
	"scandrop/queue"
)

// Exit statuses.
const (
	ExitFine   = 0
	ExitFailed = 1 // it did not work
	ExitUsage  = 2 // usage or configuration
	ExitLeft   = 3 // run --once left scans of this run failed or rejected
	ExitBusy   = 4 // the queue is in use by a daemon that cannot be asked, or no daemon answers
	ExitHeld   = 5 // something is held
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// An app is what all commands share.
type app struct {
	Streams
	samples fs.FS
	config  string // --config
	wrong   error  // what is no command, where the help of it was asked for
}

// Main runs the command that args name and returns the exit status. samples
// holds the scans of the demo, each with its transcript beside it.
func Main(args []string, s Streams, samples fs.FS) int {
	a := &app{Streams: s, samples: samples}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.wrong
	}
	if err == nil {
		return ExitFine
	}
	return a.explain(err)
}

// Commands returns the tree of commands, for what is written about them: the
// manual pages and the completions of the shells.
func Commands() *cobra.Command {
	root := (&app{}).root()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // packages bring what it prints
			root.RemoveCommand(c)
		}
	}
	return root
}

// A statusError is an error with an exit status and perhaps a hint of its own.
// A nil Err prints nothing.
type statusError struct {
	Status int
	Err    error
	Hint   string
}

func (e *statusError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit status %d", e.Status)
	}
	return e.Err.Error()
}

func (e *statusError) Unwrap() error { return e.Err }

func usage(hint, format string, args ...any) error {
	return &statusError{ExitUsage, fmt.Errorf(format, args...), hint}
}

// explain prints the error with its way out and returns the exit status.
func (a *app) explain(err error) int {
	status, hint := verdictOn(err)
	var (
		own      *statusError
		mistakes config.Errors
		mistake  config.Problem
	)
	switch {
	case errors.As(err, &own):
		if own.Err == nil {
			return status
		}
	case errors.As(err, &mistakes):
		for _, p := range mistakes {
			a.problem("", p)
		}
		return status
	case errors.As(err, &mistake):
		a.problem("", mistake)
		return status
	}
	fmt.Fprintf(a.Err, "scandrop: %s\n", clean(err.Error()))
	if hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", clean(a.hint(hint)))
	}
	return status
}

// quoted are the commands that a way out names, all of which take --config.
var quoted = regexp.MustCompile(`"scandrop [^"]*"`)

// hint is a way out whose commands can be copied: they are about the configuration that
// this one was about.
func (a *app) hint(text string) string {
	return quoted.ReplaceAllStringFunc(text, func(command string) string {
		return strings.TrimSuffix(command, `"`) + a.about() + `"`
	})
}

// about is the flag by which another command is about the same configuration, "" if it
// needs none.
func (a *app) about() string {
	switch {
	case a.config == "", a.config == config.DefaultPath(config.Process()):
		return ""
	case strings.Contains(a.config, " "):
		return " --config '" + a.config + "'"
	}
	return " --config " + a.config
}

// verdictOn returns the exit status that an error stands for, and the way out.
func verdictOn(err error) (status int, hint string) {
	var (
		own     *statusError
		state   *daemon.StateError
		problem *control.Problem
		locked  *control.TokenError
	)
	switch {
	case errors.As(err, &own):
		return own.Status, own.Hint
	case errors.As(err, new(config.Errors)), errors.As(err, new(config.Problem)):
		return ExitUsage, ""
	case errors.As(err, &problem):
		return ExitFailed, problem.Hint
	case errors.As(err, &locked):
		return ExitBusy, locked.Hint()
	case errors.Is(err, control.ErrNoDaemon):
		return ExitBusy, startHint
	case errors.Is(err, queue.ErrInUse):
		return ExitBusy, `a daemon has the queue, and this command needs it stopped: "scandrop service stop", or Ctrl-C where it runs`
	case errors.As(err, &state):
		if state.Config {
			return ExitUsage, state.Hint
		}
		return ExitFailed, state.Hint
	}
	return ExitFailed, ""
}

// problem prints a problem of the configuration and its way out.
func (a *app) problem(kind string, p config.Problem) {
	hint := p.Hint
	p.Hint = ""
	fmt.Fprintf(a.Err, "scandrop: %s%s\n", kind, clean(p.Error()))
	if hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", clean(a.hint(hint)))
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "scandrop",
		Short: "Drop a scan, get its text",
		Long: `scandrop watches folders for scans, has the Handwriting OCR API read them, and
writes what it reads next to the originals.

Nothing is lost, nothing is paid for twice, nothing is left behind at the
service, and you can see it. Try "scandrop demo": it needs no account.

Exit status: 0 fine, 1 failed, 2 usage or configuration, 3 "run --once" left
scans failed or rejected, 4 a daemon has the queue and cannot be asked, or none
answers, 5 something is held.`,
		Version:       buildVersion(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          none,
		RunE: func(c *cobra.Command, _ []string) error {
			return c.Help()
		},
	}
	cobra.MousetrapHelpText = `scandrop is a command line program, and a service.

Open a terminal, and type: scandrop demo
`
	root.PersistentFlags().StringVar(&a.config, "config", "", "the configuration `FILE` (default the platform's own place)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("see "+c.CommandPath()+" --help", "%w", err)
	})
	root.AddCommand(a.demo(), a.init(), a.check(), a.plan(), a.run(), a.status(), a.why(), a.open(),
		a.queue(), a.remote(), a.journal(), a.service(), a.sandbox(), a.version(), a.pages(), a.tryOut())
	root.InitDefaultCompletionCmd()
	strictArgs(root)
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		if c.HasSubCommands() {
			a.wrong = c.ValidateArgs(c.Flags().Args()) // else the help would be another command's
		}
		if a.wrong == nil {
			help(c, args)
		}
	})
	return root
}

// none takes no arguments; where there are commands the first would be one.
func none(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasSubCommands():
		return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
	}
	return fmt.Errorf("%q takes no arguments, and %q is one", c.CommandPath(), args[0])
}

// strictArgs makes wrong arguments a mistake of usage, and an unknown
// subcommand one, too, where cobra would print help and be content.
func strictArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = none
	}
	c.SuggestionsMinimumDistance = 2
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			return nil
		}
		hint := "see " + c.CommandPath() + " --help"
		if c.HasSubCommands() && len(args) > 0 {
			if meant := c.SuggestionsFor(args[0]); len(meant) > 0 {
				hint = fmt.Sprintf(`did you mean "%s %s"?`, c.CommandPath(), meant[0])
			}
		}
		return usage(hint, "%w", err)
	}
	if c.RunE == nil && c.HasSubCommands() {
		c.RunE = func(c *cobra.Command, _ []string) error {
			return usage("see "+c.CommandPath()+" --help", "%s needs a command of its own", c.CommandPath())
		}
	}
	for _, sub := range c.Commands() {
		strictArgs(sub)
	}
}

// configPath is the configuration file that is meant.
func (a *app) configPath() string {
	if a.config != "" {
		return a.config
	}
	return config.DefaultPath(config.Process())
}

// load reads the configuration and prints its warnings.
func (a *app) load() (*config.Config, error) {
	c, err := config.Load(a.configPath(), config.Process())
	if err != nil {
		return nil, err
	}
	for _, w := range c.Warnings {
		a.problem("warning: ", w)
	}
	return c, nil
}

// logger logs as the configuration says; close ends it.
func (a *app) logger(c config.Log) (log *slog.Logger, close func() error, err error) {
	out, close := a.Err, func() error { return nil }
	alert := func(int, string) {}
	if c.File == "" && service.Managed() {
		w, tell, err := service.OpenLog()
		if err != nil {
			return nil, nil, err
		}
		out, close, alert = w, w.Close, tell
	}
	if c.File != "" {
		f, err := os.OpenFile(c.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, &statusError{ExitUsage, fmt.Errorf("log.file: %w", err), "name a file that this user may write"}
		}
		out, close = f, f.Close
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, nil, usage("", "log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(alerting{slog.NewJSONHandler(plainJSON{out}, options), alert}), close, nil
	}
	return slog.New(alerting{slog.NewTextHandler(out, options), alert}), close, nil
}

// alerting tells the system's log, too, of warnings (1) and errors (2).
type alerting struct {
	slog.Handler
	tell func(level int, text string)
}

// Handle implements [slog.Handler].
func (h alerting) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		text := r.Message
		r.Attrs(func(at slog.Attr) bool {
			text += "\n" + at.String()
			return true
		})
		level := 1
		if r.Level >= slog.LevelError {
			level = 2
		}
		h.tell(level, clean(text))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h alerting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return alerting{h.Handler.WithAttrs(attrs), h.tell}
}

// WithGroup implements [slog.Handler].
func (h alerting) WithGroup(name string) slog.Handler {
	return alerting{h.Handler.WithGroup(name), h.tell}
}

// terminal reports whether w is a terminal that can redraw a line.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// clean makes text from outside safe to print: a file's name or a service's
// message must not move the cursor, end the line or turn it around.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || harmless(r) {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// harmless reports whether a terminal shows the character and does nothing else.
func harmless(r rune) bool { return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r) }

// plainJSON passes JSON on with every character escaped that a terminal may
// obey: encoding/json leaves those above ASCII as they are. Each call of Write
// must bring whole characters.
type plainJSON struct{ w io.Writer }

// Write implements [io.Writer].
func (p plainJSON) Write(text []byte) (int, error) {
	safe := make([]byte, 0, len(text))
	for s := text; len(s) > 0; {
		r, n := utf8.DecodeRune(s)
		switch {
		case r == '\n' || harmless(r) && (r != utf8.RuneError || n > 1):
			safe = append(safe, s[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			safe = fmt.Appendf(safe, `\u%04x\u%04x`, high, low)
		default:
			safe = fmt.Appendf(safe, `\u%04x`, r)
		}
		s = s[n:]
	}
	if _, err := p.w.Write(safe); err != nil {
		return 0, err
	}
	return len(text), nil
}

// moment prints a time as a person reads it: the clock today, else the date.
func moment(t time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) == time.Now().Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2006-01-02 15:04")
}
