package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

// A finding is one line of check. Its keys are a contract. A warning is ok, and
// says all the same what may become a problem.
type finding struct {
	What    string `json:"what"`
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"`
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
	status  int
}

func (a *app) check() *cobra.Command {
	asJSON, syntax, fix := false, false, false
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong, and how to mend it",
		Long: `Check the configuration, the state folder, what is held, every hot folder, as the
account of the installed service where there is one, the token, whether the
service answers, what the account's balance is, the clock, the room on the disks,
and the addresses that are listened on. Nothing is uploaded. Exit status 2 means
that the configuration, or what it names, cannot be used; 1 that something else is
wrong. A warning is no error.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if syntax {
				_, err := a.load()
				return err
			}
			conf, err := config.Load(a.configPath(), config.Process())
			if mistakes := (config.Errors)(nil); asJSON && errors.As(err, &mistakes) {
				return a.report(mistaken(mistakes), true)
			}
			if err != nil {
				return err
			}
			if fix {
				a.mend(conf)
				if conf, err = config.Load(conf.Path, config.Process()); err != nil {
					return err
				}
			}
			return a.report((&checkup{app: a, conf: conf}).all(c.Context()), asJSON)
		},
	}
	c.Flags().BoolVar(&syntax, "syntax", false, "read the configuration, and look at nothing else")
	c.Flags().BoolVar(&fix, "fix", false, "mend first what can be mended without harm: make folders that are missing, keep the token from others")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

// report prints the findings, and says by its error how bad they are.
func (a *app) report(findings []finding, asJSON bool) error {
	for i := range findings {
		findings[i].Hint = a.hint(findings[i].Hint)
	}
	if asJSON {
		if err := a.writeJSON(findings); err != nil {
			return err
		}
	}
	status := ExitFine
	for _, f := range findings {
		if !f.OK && (status == ExitFine || f.status == ExitUsage) {
			status = f.status
		}
		if asJSON {
			continue
		}
		switch {
		case f.Warning:
			fmt.Fprintf(a.Out, "warn  %s: %s\n", clean(f.What), clean(f.Problem))
		case f.OK:
			fmt.Fprintf(a.Out, "ok    %s\n", clean(f.What))
		default:
			fmt.Fprintf(a.Out, "WRONG %s: %s\n", clean(f.What), clean(f.Problem))
		}
		if f.Hint != "" {
			fmt.Fprintf(a.Out, "      hint: %s\n", clean(f.Hint))
		}
	}
	if status != ExitFine {
		return &statusError{Status: status}
	}
	return nil
}

// mistaken are the findings where the configuration cannot be read.
func mistaken(mistakes config.Errors) (all []finding) {
	for _, p := range mistakes {
		all = append(all, finding{What: "configuration " + p.File, Problem: withoutHint(p), Hint: p.Hint, status: ExitUsage})
	}
	return all
}

// withoutHint is the problem without its way out, which is said apart.
func withoutHint(p config.Problem) string {
	p.Hint = ""
	return p.Error()
}

// A checkup gathers findings.
type checkup struct {
	*app
	conf     *config.Config
	findings []finding
	status   *control.Status // the daemon's; nil if none answers
	running  bool            // a daemon runs, whether it answers or not
	worker   worker
}

// add adds a finding: fine where err is nil, else with the status that it ends
// check with, and the way out.
func (c *checkup) add(what string, status int, hint string, err error) {
	f := finding{What: what, OK: err == nil}
	if err != nil {
		f.Problem, f.Hint, f.status = err.Error(), hint, status
	}
	c.findings = append(c.findings, f)
}

func (c *checkup) fine(what string) { c.add(what, 0, "", nil) }

func (c *checkup) warn(what, problem, hint string) {
	c.findings = append(c.findings, finding{What: what, OK: true, Warning: true, Problem: problem, Hint: hint})
}

// mistake adds a finding about what the configuration names.
func (c *checkup) mistake(what string, err error) {
	hint := ""
	if p, ok := errors.AsType[config.Problem](err); ok {
		hint, p.Hint = p.Hint, ""
		err = p
	}
	c.add(what, ExitUsage, hint, err)
}

// all looks at everything, what others build on first.
func (c *checkup) all(ctx context.Context) []finding {
	c.fine("configuration " + c.conf.Path)
	for _, w := range c.conf.Warnings {
		c.warn("configuration "+c.conf.Path, withoutHint(w), w.Hint)
	}
	c.version(ctx)
	c.service()
	backlogs, _ := daemon.Backlogs(ctx, c.conf, pagesTool(), backlogTime) // what is wrong with the queue comes next
	for _, b := range backlogs {
		c.fine("first look: " + b.String())
	}
	ask := c.askService(ctx)
	c.queue(ask.documents)
	c.folders()
	if what, hint, err := daemon.CheckEvents(c.conf); what != "" {
		c.add(what, ExitFailed, hint, err)
	}
	c.listeners()
	for _, n := range c.conf.Notices {
		_, err := n.Secret()
		if len(n.Command) > 0 {
			_, err = exec.LookPath(n.Command[0])
		}
		c.mistake("notice by "+n.Name(), err)
	}
	c.answers(ask)
	return c.findings
}

// version says which scandrop this is, and whether the daemon is the same.
func (c *checkup) version(ctx context.Context) {
	what := "version " + buildVersion()
	if info, ok := debug.ReadBuildInfo(); ok {
		what += " (" + info.GoVersion + ")"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, c.conf.State)
	if err == nil {
		defer client.Close()
		if s, err := client.Status(ctx); err == nil {
			c.status, c.running = &s, true
		}
	}
	if c.status != nil && c.status.Version != buildVersion() {
		c.warn(what, "the daemon that runs is "+c.status.Version, `"scandrop service restart" has it run this one`)
		return
	}
	c.fine(what)
}

// queue looks at the state folder, and at what the queue holds, for reading only.
func (c *checkup) queue(documents []document) {
	what := "state " + c.conf.State
	try, isNew := daemon.TryState(c.conf)
	if c.status != nil {
		c.fine(what + " (the daemon that runs has it)")
		for _, h := range c.status.Holds {
			c.hold(h.Name, h.Reason)
		}
		for _, f := range c.status.Folders {
			if f.Error != "" && len(f.Held) == 0 {
				c.add("folder "+f.Path+" (as the daemon sees it)", ExitFailed, "see that it is there, and that the daemon may use it", errors.New(f.Error))
			}
		}
		return
	}
	q, err := daemon.Look(c.conf, verifyApart)
	state := &daemon.StateError{}
	switch {
	case errors.Is(err, queue.ErrInUse):
		c.running = true
		c.fine(what + " (a daemon has the queue)")
		return
	case errors.Is(err, fs.ErrPermission) && c.worker.others():
		c.warn(what, "it is for the service's account "+c.worker.account+" alone", "an administrator's check tells more")
		return
	case errors.As(err, &state):
		status := ExitFailed
		if state.Config {
			status = ExitUsage
		}
		c.add(what, status, state.Hint, state.Err)
		return
	}
	if isNew && c.worker.makesState(c.conf) {
		c.fine(what + " (made at the first start)")
	} else {
		c.place(what, "name a folder under `state` in which scandrop may write", isNew, c.worker.try(try))
	}
	if q == nil {
		return
	}
	defer q.Close()
	if q.Behind() > 0 {
		c.fine("queue (an older version's: the next run brings it up to date, and keeps a copy)")
	}
	for _, h := range q.Holds() {
		// A folder that can be used disproves these, and no other.
		disproved := h.Cause == queue.Missing || h.Cause == queue.Room
		if disproved && c.worker.try(daemon.Try{Path: h.Folder, Write: true}).Problem == "" {
			c.fine("hold " + h.Key() + " (over: the next run lifts it)")
			continue
		}
		c.hold(h.Key(), h.Reason)
	}
	_, known := daemon.Installation(c.conf) // else no mark can be told
	for _, d := range documents {
		if known && namesLost(q, d) {
			c.add("names at the service", ExitFailed, "an upload that is never answered will wait for you; tell the service's support",
				fmt.Errorf("its list does not give file names back (document %s)", d.ID))
			break
		}
	}
}

func (c *checkup) hold(name, reason string) {
	c.add("hold "+name, ExitFailed, `"scandrop queue release" lifts it; what is not over holds again`, errors.New(reason))
}

// folders tries, as who does the work, what the daemon does in every folder.
func (c *checkup) folders() {
	for _, f := range c.conf.Folders {
		t := c.worker.try(daemon.Try{Path: f.Path, Write: true})
		what := "folder " + f.Path
		if t.Kind != "" && t.Problem == "" {
			what += fmt.Sprintf(" (%s: looked at every %v)", t.Kind, f.Rescan)
			if f.Watch == "events" {
				c.warn(what, "events are asked for, and a "+t.Kind+" sends none of what others change", "leave folders[].watch away, or set it to poll")
			}
		}
		if t.Absent {
			t.Hint = "make it, mount it, or correct folders[].path"
			if parentThere(f.Path) {
				t.Hint += `; "scandrop check --fix" makes it`
			}
		}
		c.place(what, "", false, t)
		for _, dir := range []string{f.Originals.Done, f.Originals.Failed} {
			if dir == config.Stay {
				continue
			}
			t := c.worker.try(daemon.Try{Path: dir, Write: true})
			if t.Absent { // made when it is wanted
				t = c.worker.try(daemon.Try{Path: filepath.Dir(dir), Write: true})
			}
			c.place("folder "+dir+" (for originals)", "correct folders[].originals", t.Path != dir, t)
		}
	}
	if c.conf.Log.File != "" {
		t := c.worker.try(daemon.Try{Path: c.conf.Log.File, File: true, Write: true})
		if t.Absent {
			t = c.worker.try(daemon.Try{Path: filepath.Dir(c.conf.Log.File), Write: true})
		}
		c.place("log "+c.conf.Log.File, "correct log.file", t.Path != c.conf.Log.File, t)
	}
}

func parentThere(path string) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err == nil && info.IsDir()
}

// place adds what came of trying a place; above says that it was that above it.
func (c *checkup) place(what, hint string, above bool, t daemon.Trial) {
	problem := t.Problem
	if above && problem != "" {
		problem = fmt.Sprintf("it cannot be made in %s: %s", t.Path, problem)
	}
	if problem != "" && c.worker.asked() {
		problem = c.worker.account + ", the service's account: " + problem
		if !t.Absent {
			t.Hint = `"scandrop service install" gives that account leave; else let it read and write there`
		}
	}
	text, short := t.Scarce()
	switch {
	case problem != "" && c.worker.others():
		c.warn(what, problem, "that was tried as you, and the service runs as "+c.worker.account+": an administrator's check tries it as that account")
	case problem != "":
		c.add(what, ExitUsage, cmp.Or(t.Hint, hint), errors.New(problem))
	case short:
		c.add(what, ExitFailed, "free some of it: until then nothing is sent", errors.New(text))
	case text != "":
		c.warn(what, text, "free some of it before it is full: then nothing is sent any more")
	default:
		c.fine(what)
	}
}

// listeners tries the addresses that the daemon listens on.
func (c *checkup) listeners() {
	if c.conf.Status.Listen != "" {
		c.add("page "+c.conf.Status.Listen, ExitFailed, `scans are read without it; choose another address for status.listen, or "" for no page`, daemon.CheckPage(c.conf))
	}
	if c.conf.Webhook.Listen != "" {
		url, err := daemon.WebhookURL(c.conf)
		if err == nil {
			_, err = c.conf.WebhookSecret()
		}
		if err == nil && !c.running { // else the address is taken by the daemon itself
			if err := daemon.CheckListen(c.conf.Webhook.Listen); err != nil {
				c.add("webhook "+url, ExitFailed, "results are collected without it; choose another address for webhook.listen", err)
				return
			}
		}
		c.mistake("webhook "+url, err)
	}
}

// mend does what harms nobody, and says so: it makes hot folders whose parent is
// there, as a missing parent may be a disk that is not mounted, and keeps others
// from reading the token.
func (a *app) mend(conf *config.Config) {
	mended := func(what string, err error) {
		if err != nil {
			fmt.Fprintf(a.Err, "scandrop: cannot be mended: %s\n", clean(err.Error()))
			return
		}
		fmt.Fprintf(a.Err, "scandrop: mended: %s\n", clean(what))
	}
	for _, f := range conf.Folders {
		if _, err := os.Stat(f.Path); errors.Is(err, fs.ErrNotExist) {
			mended("made the folder "+f.Path, os.Mkdir(f.Path, 0o777))
		}
	}
	for _, path := range conf.Exposed() {
		mended(path+" is for its owner alone", os.Chmod(path, 0o600))
	}
}

// tryOut is the hidden command by which check tries places as another account: it
// reads what to try, and writes what came of it.
func (a *app) tryOut() *cobra.Command {
	return &cobra.Command{
		Use:    "try",
		Short:  "Try what the standard input names",
		Hidden: true,
		Args:   none,
		RunE: func(*cobra.Command, []string) error {
			var t daemon.Try
			if err := json.NewDecoder(a.In).Decode(&t); err != nil {
				return usage("", "%w", err)
			}
			return json.NewEncoder(a.Out).Encode(t.Do())
		},
	}
}
