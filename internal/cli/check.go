package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// A finding is one line of check. Its keys are a contract.
type finding struct {
	What    string `json:"what"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
	status  int
}

func (a *app) check() *cobra.Command {
	asJSON, syntax, fix := false, false, false
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong, and how to mend it",
		Long: `Check the configuration, the token, the state folder, every hot folder, and
whether the service answers. Nothing is uploaded. Exit status 2 means that the
configuration, or what it names, cannot be used; 1 that something else is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if syntax {
				_, err := a.load()
				return err
			}
			conf, err := a.load()
			if err != nil {
				return err
			}
			if fix {
				a.mend(conf)
			}
			findings := a.findings(c.Context(), conf)
			if asJSON {
				e := json.NewEncoder(plainJSON{a.Out})
				e.SetIndent("", "  ")
				if err := e.Encode(findings); err != nil {
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
				if f.OK {
					fmt.Fprintf(a.Out, "ok    %s\n", clean(f.What))
					continue
				}
				fmt.Fprintf(a.Out, "WRONG %s: %s\n", clean(f.What), clean(f.Problem))
				if f.Hint != "" {
					fmt.Fprintf(a.Out, "      hint: %s\n", clean(f.Hint))
				}
			}
			if status != ExitFine {
				return &statusError{Status: status}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&syntax, "syntax", false, "read the configuration, and look at nothing else")
	c.Flags().BoolVar(&fix, "fix", false, "mend first what can be mended without harm: make folders that are missing, keep the token from others")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

func (a *app) findings(ctx context.Context, conf *config.Config) []finding {
	findings := []finding{{What: "configuration " + conf.Path, OK: true}}
	add := func(what string, status int, hint string, err error) {
		f := finding{What: what, OK: err == nil, status: status, Hint: hint}
		if err != nil {
			f.Problem = err.Error()
		} else {
			f.Hint = ""
		}
		findings = append(findings, f)
	}

	backlogs, _ := daemon.Backlogs(ctx, conf, pagesTool(), backlogTime) // before the queue is ours; what is wrong with it comes next
	for _, b := range backlogs {
		add("first look: "+b.String(), 0, "", nil)
	}
	q, err := a.openQueue(conf)
	state := &daemon.StateError{}
	switch {
	case errors.Is(err, queue.ErrInUse):
		add("state "+conf.State+" (a daemon has the queue)", 0, "", nil)
	case errors.As(err, &state):
		status := ExitFailed
		if state.Config {
			status = ExitUsage
		}
		add("state "+conf.State, status, state.Hint, state.Err)
	default:
		add("state "+conf.State, ExitFailed, "", err)
	}
	if q != nil {
		defer q.Close()
		for _, h := range q.Holds() {
			// Whether the folder can be used says nothing of these.
			own := h.Cause == queue.Removed || h.Cause == queue.Limit || h.Cause == queue.Profile
			if _, err := checkFolder(h.Folder); h.Folder != "" && !own && err == nil {
				add("hold "+h.Key()+" (over: the next run lifts it)", 0, "", nil)
				continue
			}
			add("hold "+h.Key(), ExitFailed, `"scandrop queue release" lifts it; what is not over holds again`, errors.New(h.Reason))
		}
	}
	if conf.Status.Listen != "" {
		add("page "+conf.Status.Listen, ExitFailed, `scans are read without it; choose another address for status.listen, or "" for no page`, daemon.CheckPage(conf))
	}
	for _, f := range conf.Folders {
		hint, err := checkFolder(f.Path)
		add("folder "+f.Path, ExitUsage, hint, err)
	}
	if what, hint, err := daemon.CheckEvents(conf); what != "" {
		add(what, ExitFailed, hint, err)
	}

	mistake := func(what string, err error) {
		hint := ""
		if p, ok := errors.AsType[config.Problem](err); ok {
			hint, p.Hint = p.Hint, ""
			err = p
		}
		add(what, ExitUsage, hint, err)
	}
	if conf.Webhook.Listen != "" {
		url, err := daemon.WebhookURL(conf)
		if err == nil {
			_, err = conf.WebhookSecret()
		}
		mistake("webhook "+url, err)
	}
	for _, n := range conf.Notices {
		_, err := n.Secret()
		if len(n.Command) > 0 {
			_, err = exec.LookPath(n.Command[0])
		}
		mistake("notice by "+n.Name(), err)
	}
	err = conf.CheckToken()
	mistake("token", err)
	if err == nil {
		what, hint, err := a.checkService(ctx, conf, q)
		add(what, ExitFailed, hint, err)
	}
	return findings
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

// checkFolder tries what the daemon will do in a hot folder.
func checkFolder(path string) (hint string, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "make it, mount it, or correct folders[].path", errors.New("it does not exist")
	case err != nil:
		return "let this user read it", err
	case !info.IsDir():
		return "name a folder under folders[].path", errors.New("it is not a folder")
	}
	if _, err := os.ReadDir(path); err != nil {
		return "let this user read it", err
	}
	f, err := os.CreateTemp(path, ".scandrop-check-*")
	if err != nil {
		return "let this user write in it: results are written next to the scans", err
	}
	return "", errors.Join(f.Close(), os.Remove(f.Name()))
}

// checkService lists a few documents: that takes the token, and shows whether
// the names of our uploads come back.
func (a *app) checkService(ctx context.Context, conf *config.Config, q *queue.Queue) (what, hint string, err error) {
	what = "service " + conf.API.URL
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	api, err := daemon.NewClient(conf, nil, nil, buildVersion(), nil)
	if err != nil {
		return what, "", err
	}
	n := 0
	for d, err := range api.Documents(ctx, 50) {
		if err != nil {
			explained, _ := errors.AsType[*statusError](explainService(err))
			if explained != nil {
				hint = explained.Hint
			}
			return what, hint, err
		}
		if namesLost(q, d) {
			return what, "an upload that is never answered will wait for you; tell the service's support",
				fmt.Errorf("its list does not give file names back (document %s)", d.ID)
		}
		if n++; n == 50 {
			break
		}
	}
	return what, "", nil
}

// namesLost reports whether the document is one of ours and has lost our mark.
func namesLost(q *queue.Queue, d hwocr.Document) bool {
	if q == nil {
		return false
	}
	j, err := q.ByDocument(d.ID)
	ours, _ := q.Installation().Find(filepath.Base(d.Name))
	return err == nil && j.Mark != "" && !j.Bears(ours)
}
