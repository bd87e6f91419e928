package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

// A planView is a plan as --json shows it. Its keys are a contract.
type planView struct {
	Scans   []plannedView `json:"scans"`
	Folders []totalView   `json:"folders"`
	Total   totalView     `json:"total"`
	Held    []heldView    `json:"held"`
	Balance *int          `json:"balance"`                   // in pages; null if it is not known
	Unknown string        `json:"balance_unknown,omitempty"` // why not
}

type plannedView struct {
	Scan   string `json:"scan"`
	Folder string `json:"folder"`
	Size   int64  `json:"size"`
	Pages  *int   `json:"pages"` // null if nobody could count them
	What   string `json:"what"`  // send, copy, reject, hold, ignore, wait
	Why    string `json:"why,omitempty"`
}

type totalView struct {
	Folder        string `json:"folder,omitempty"`
	Scans         int    `json:"scans"`         // that would be sent
	Pages         int    `json:"pages"`         // of those whose pages are known
	Unknown       int    `json:"unknown_pages"` // scans whose pages are not
	LeftToday     *int   `json:"left_today"`    // pages that the limits let through; null without a limit
	LeftThisMonth *int   `json:"left_this_month"`
}

type heldView struct {
	Key    string `json:"key"`
	Reason string `json:"reason"`
}

func (a *app) plan() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "plan",
		Short: "Say what would be sent, and what it would cost",
		Long: `Look at every hot folder, count the pages of the scans in it, and say what would
become of each if "scandrop run" started now. Nothing is sent, and nothing
is changed. Stop the daemon first: it would be sending meanwhile.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			p, err := daemon.MakePlan(c.Context(), conf, pagesTool())
			if err != nil {
				return err
			}
			v := planOf(p)
			if n, err := a.balance(c.Context(), conf); err == nil {
				v.Balance = &n
			} else {
				v.Unknown = unknownBalance(err)
			}
			if asJSON {
				e := json.NewEncoder(plainJSON{a.Out})
				e.SetIndent("", "  ")
				err = e.Encode(v)
			} else {
				a.printPlan(v)
			}
			if err == nil && p.Missing != nil {
				missing := errors.New("not every folder could be looked at")
				if !slices.ContainsFunc(p.Held, func(h queue.Hold) bool { return h.Reason == p.Missing.Error() }) { // else it is said already
					missing = fmt.Errorf("%w: %w", missing, p.Missing)
				}
				return &statusError{ExitFailed, missing, ""}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

func planOf(p daemon.Plan) planView {
	v := planView{Scans: []plannedView{}, Folders: []totalView{}, Held: []heldView{}}
	for _, s := range p.Scans {
		one := plannedView{Scan: s.Path, Folder: s.Folder, Size: s.Size, What: s.What, Why: s.Why}
		if s.Pages > 0 {
			one.Pages = &s.Pages
		}
		v.Scans = append(v.Scans, one)
	}
	v.Total.LeftToday, v.Total.LeftThisMonth = p.Left.Today, p.Left.ThisMonth
	for _, f := range p.Folders {
		v.Folders = append(v.Folders, totalView{f.Path, f.Scans, f.Pages, f.Unknown, f.Left.Today, f.Left.ThisMonth})
		v.Total.Scans += f.Scans
		v.Total.Pages += f.Pages
		v.Total.Unknown += f.Unknown
	}
	for _, h := range p.Held {
		v.Held = append(v.Held, heldView{h.Key(), h.Reason})
	}
	return v
}

// balance is what the account has left.
func (a *app) balance(ctx context.Context, conf *config.Config) (int, error) {
	if err := conf.CheckToken(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	api, err := daemon.NewClient(conf, nil, nil, buildVersion(), nil)
	if err != nil {
		return 0, err
	}
	return api.Balance(ctx)
}

// unknownBalance says why the balance is not known.
func unknownBalance(err error) string {
	if e, ok := errors.AsType[*hwocr.Error](err); ok && e.Status == http.StatusNotFound {
		return "the service does not tell"
	}
	if p, ok := errors.AsType[config.Problem](err); ok {
		return withoutHint(p)
	}
	return err.Error()
}

func (a *app) printPlan(v planView) {
	for _, s := range v.Scans {
		pages := "? pages"
		if s.Pages != nil {
			pages = countOf(*s.Pages, "page")
		}
		fmt.Fprintf(a.Out, "%-6s  %10s  %s", s.What, pages, clean(s.Scan))
		if s.Why != "" {
			fmt.Fprintf(a.Out, "  (%s)", clean(s.Why))
		}
		fmt.Fprintln(a.Out)
	}
	line := func(name string, t totalView) {
		fmt.Fprintf(a.Out, "%s: %s to send, %s", name, countOf(t.Scans, "scan"), countOf(t.Pages, "page"))
		if t.Unknown > 0 {
			fmt.Fprintf(a.Out, " and %s of unknown pages", countOf(t.Unknown, "scan"))
		}
		if t.LeftToday != nil {
			fmt.Fprintf(a.Out, "; the limit lets %s through today", countOf(*t.LeftToday, "page"))
		}
		if t.LeftThisMonth != nil {
			fmt.Fprintf(a.Out, "; the limit lets %s through this month", countOf(*t.LeftThisMonth, "page"))
		}
		fmt.Fprintln(a.Out)
	}
	for _, f := range v.Folders {
		line(clean(f.Folder), f)
	}
	line("total", v.Total)
	if v.Balance != nil {
		fmt.Fprintf(a.Out, "balance: %s\n", countOf(*v.Balance, "page"))
	} else {
		fmt.Fprintf(a.Out, "balance: not known: %s\n", clean(v.Unknown))
	}
	for _, h := range v.Held {
		fmt.Fprintf(a.Out, "held: %s: %s\n", clean(h.Key), clean(h.Reason))
	}
}

// countOf is a number and its word, as in "1 page".
func countOf(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// backlogTime bounds the count of pages before a first run.
const backlogTime = 20 * time.Second

// greet says, before anything is paid, how much lies in the folders that are seen
// for the first time; on a terminal it asks whether all of that is meant.
func (a *app) greet(ctx context.Context, conf *config.Config, log *slog.Logger) error {
	backlogs, err := daemon.Backlogs(ctx, conf, pagesTool(), backlogTime)
	if err != nil || len(backlogs) == 0 {
		return nil // whoever opens the queue to run says what is wrong
	}
	if !terminal(a.In) || !terminal(a.Err) {
		for _, b := range backlogs {
			log.Warn("many scans lie in a folder that is seen for the first time", "folder", b.Folder, "scans", b.Scans, "what", b.String())
		}
		return nil
	}
	for _, b := range backlogs {
		fmt.Fprintf(a.Err, "scandrop: %s\n", clean(b.String()))
	}
	fmt.Fprint(a.Err, "Send them all? [y/N] ")
	answer := make(chan string, 1)
	go func() {
		var line string
		fmt.Fscanln(a.In, &line)
		answer <- line
	}()
	select {
	case line := <-answer:
		if line == "y" || line == "Y" || line == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return &statusError{ExitFailed, errors.New("nothing was sent"), `set existing: ignore for the folder, move scans away, or answer y; "scandrop plan" lists them`}
}
