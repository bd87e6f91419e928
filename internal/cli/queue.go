package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/control"
	"scandrop/queue"
)

func (a *app) queue() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look at the jobs and decide about them",
	}
	c.AddCommand(a.queueList(), a.queueShow(),
		a.queueEach("retry", "Try jobs again that failed, were rejected or cancelled",
			`Give jobs another try, with all their attempts. One whose document still lives
with the service goes on collecting; only where there is none is the scan sent,
which is paid for again if it was paid for before. A scan that is done is sent
again only with --pay-again.`, desk.Retry, "pay-again", "send scans again that are done, and pay for them again"),
		a.queueEach("cancel", "Stop jobs",
			`Stop jobs at their next safe point. One that was sent is found and deleted at
the service first.`, func(d desk, ctx context.Context, id uint64, _ bool) (control.Job, error) { return d.Cancel(ctx, id) }, "", ""),
		a.queueEach("forget", "Remove the story of jobs that are at their end",
			`Remove jobs that are at their end from the list. What was paid for stays known:
the same content is not sent again by itself. Their results stay where they are,
and are taken for somebody else's: nothing is written over them.`, func(d desk, ctx context.Context, id uint64, _ bool) (control.Job, error) { return d.Forget(ctx, id) }, "", ""),
		a.queueRelease(), a.queueCheck(), a.queueCompact())
	return c
}

func (a *app) queueList() *cobra.Command {
	var (
		states       []string
		folder, text string
		since        string
		limit        int
		asJSON       bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the newest first",
		Args:  none,
		RunE: func(c *cobra.Command, _ []string) error {
			f := control.Filter{Text: text}
			var err error
			if f.States, err = parseStates(states); err != nil {
				return err
			}
			if folder != "" {
				if f.Folder, err = filepath.Abs(folder); err != nil {
					return err
				}
			}
			within, err := span(since)
			if err != nil {
				return usage("for example: --since 24h, or --since 7d", "--since: %w", err)
			}
			if limit > 0 {
				f.Limit = min(limit, 1000)
			}
			return a.withDesk(c.Context(), toLook, func(d desk) error {
				s, err := d.Status(c.Context())
				if err != nil {
					return err
				}
				a.sayHeld(s.Holds)
				a.sayElsewhere(f.Folder, s.Folders)
				jobs := first(d.All(c.Context(), f), limit, within)
				if asJSON {
					return a.listJSON(jobs)
				}
				return a.listText(jobs)
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only jobs in this `STATE`; may be given several times")
	c.Flags().StringVar(&folder, "folder", "", "only jobs of this hot `FOLDER`")
	c.Flags().StringVar(&text, "search", "", "only jobs whose scan's path holds this `TEXT`, in upper or lower case")
	c.Flags().StringVar(&since, "since", "", "only jobs that were added within this `TIME`, such as 24h or 7d")
	c.Flags().IntVar(&limit, "limit", 0, "at most `N` jobs (default all)")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	completeStates(c)
	c.RegisterFlagCompletionFunc("folder", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	})
	return c
}

// sayHeld says on standard error what is held.
func (a *app) sayHeld(holds []control.Hold) {
	for _, h := range holds {
		fmt.Fprintf(a.Err, "scandrop: held: %s: %s\n", clean(h.Name), clean(h.Reason))
	}
}

// sayElsewhere says on standard error that a folder is none of the hot ones: one that
// was mistyped looks like an empty one.
func (a *app) sayElsewhere(folder string, hot []control.Folder) {
	var paths []string
	for _, f := range hot {
		paths = append(paths, f.Path)
	}
	if folder != "" && len(paths) > 0 && !slices.Contains(paths, folder) {
		fmt.Fprintf(a.Err, "scandrop: %s is no hot folder; the hot folders are %s\n", clean(folder), clean(strings.Join(paths, ", ")))
	}
}

// span reads a time like 24h or 7d; "" is 0.
func span(text string) (d time.Duration, err error) {
	const day = 24 * time.Hour
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * day
	} else {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time", text)
	}
	return d, nil
}

func parseStates(words []string) ([]queue.State, error) {
	var states []queue.State
	for _, w := range words {
		if !slices.Contains(queue.States, queue.State(w)) {
			return nil, usage(fmt.Sprintf("the states are %s", strings.Trim(fmt.Sprint(queue.States), "[]")), "there is no state %q", w)
		}
		states = append(states, queue.State(w))
	}
	return states, nil
}

func completeStates(c *cobra.Command) {
	words := make([]string, len(queue.States))
	for i, s := range queue.States {
		words[i] = string(s)
	}
	c.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// first is the first limit of the jobs, 0 for all, that were added within since,
// 0 for ever.
func first(jobs iter.Seq2[control.Job, error], limit int, since time.Duration) iter.Seq2[control.Job, error] {
	return func(yield func(control.Job, error) bool) {
		n := 0
		for j, err := range jobs {
			if err == nil && since > 0 && time.Since(j.Added) > since {
				return // the newest come first
			}
			if !yield(j, err) || err != nil {
				return
			}
			if n++; n == limit {
				return
			}
		}
	}
}

func (a *app) listText(jobs iter.Seq2[control.Job, error]) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	n := 0
	for j, err := range jobs {
		if err != nil {
			return errors.Join(err, w.Flush())
		}
		if n++; n == 1 {
			fmt.Fprintln(w, "JOB\tSTATE\tSCAN\tNOTE")
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", j.ID, j.State, column(j.Scan), column(note(j)))
	}
	if n == 0 {
		fmt.Fprintln(a.Err, "scandrop: no jobs")
	}
	return w.Flush()
}

// column makes text safe for one column of a table.
func column(s string) string { return strings.ReplaceAll(clean(s), "\t", " ") }

// note is what there is to say of a job besides its state.
func note(j control.Job) string {
	switch {
	case j.Error != "":
		return j.Error
	case j.State == queue.Done && j.Moved != "":
		return "moved to " + j.Moved
	case !j.State.Final() && j.SameAs != 0:
		return fmt.Sprintf("the same content as job %d", j.SameAs)
	case !j.State.Final() && time.Until(j.Due) > time.Second:
		return "next step " + moment(j.Due)
	}
	return ""
}

// listJSON writes an array job by job: a million of them are never in memory.
func (a *app) listJSON(jobs iter.Seq2[control.Job, error]) error {
	lead := "[\n "
	for j, err := range jobs {
		if err != nil {
			return err
		}
		text, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(plainJSON{a.Out}, "%s%s", lead, text); err != nil {
			return err
		}
		lead = ",\n "
	}
	end := "\n]\n"
	if strings.HasPrefix(lead, "[") {
		end = "[]\n"
	}
	_, err := io.WriteString(a.Out, end)
	return err
}

// writeJSON writes one value, with nothing in it that steers a terminal.
func (a *app) writeJSON(v any) error {
	e := json.NewEncoder(plainJSON{a.Out})
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) queueShow() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "show JOB|FILE",
		Short: "Tell all that is known of one job",
		Args:  one("a job, by its number or its scan's file, for example: scandrop queue show 17"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDesk(c.Context(), toLook, func(d desk) error {
				j, err := find(c.Context(), d, args[0])
				if path, abs := filepath.Abs(args[0]); errors.Is(err, queue.ErrNoJob) && abs == nil && !number(args[0]) {
					var has bool
					if j, has = a.has(c.Context(), d, args[0], path); !has {
						return &statusError{ExitFailed, fmt.Errorf("%s: %w", args[0], queue.ErrNoJob), meant(c.Context(), d, path)}
					}
					err = nil
				}
				if err != nil {
					return err
				}
				if asJSON {
					return a.writeJSON(j)
				}
				return a.show(j)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	c.ValidArgsFunction = a.completeJobs
	return c
}

func (a *app) show(j control.Job) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, column(value))
		}
	}
	row("job", strconv.FormatUint(j.ID, 10))
	row("state", string(j.State))
	row("scan", j.Scan)
	row("moved to", j.Moved)
	row("action", j.Action)
	row("bytes", strconv.FormatInt(j.Size, 10))
	if j.Pages > 0 {
		row("pages", strconv.Itoa(j.Pages))
	}
	switch {
	case j.Part > 0:
		row("part", fmt.Sprintf("%d of %d", j.Part, j.Parts))
	case j.Parts > 0:
		row("parts", strconv.Itoa(j.Parts))
	}
	row("content", j.Content)
	if j.SameAs != 0 {
		row("same as", fmt.Sprintf("job %d", j.SameAs))
	}
	row("document", j.Document)
	for _, r := range j.Results {
		if r.Refused != "" {
			row(r.Format, "not made: "+r.Refused)
		} else {
			row(r.Format, r.Path)
		}
	}
	row("error", j.Error)
	row("next", nextStep(j))
	for _, e := range j.Story {
		row(moment(e.At), tell(e))
	}
	return w.Flush()
}

// nextStep says what happens next, and when.
func nextStep(j control.Job) string {
	switch {
	case j.Next == "" || j.Due.IsZero() || strings.HasPrefix(j.Next, "waits until "): // nobody knows when that is
		return j.Next
	case time.Until(j.Due) > 0:
		return fmt.Sprintf("%s, %s", moment(j.Due), j.Next)
	}
	return j.Next + ", as soon as possible"
}

// tell tells an event of a story, in the page's words.
func tell(e queue.Event) string {
	text, _ := control.Say(e)
	return text
}

// An outcome is what became of one job by hand, as --json shows it.
type outcome struct {
	Job     uint64       `json:"job"`
	OK      bool         `json:"ok"`
	Refused string       `json:"refused,omitempty"` // why it was not done
	Now     *control.Job `json:"now,omitempty"`     // the job as it is now
}

// queueEach is a command that does one thing to each of some jobs.
func (a *app) queueEach(name, short, long string, do func(desk, context.Context, uint64, bool) (control.Job, error), flag, flagUsage string) *cobra.Command {
	var (
		states      []string
		yes, asJSON bool
	)
	c := &cobra.Command{
		Use:   name + " JOB|FILE...",
		Short: short,
		Long:  long + "\n\nJobs are named by their number, by the path of their scan, or by --state.",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && len(states) == 0 {
				return usage(`for example: scandrop queue `+name+` 17`, "name the jobs to %s", name)
			}
			ctx := c.Context()
			return a.withDesk(ctx, toDecide, func(d desk) error {
				ids, err := a.choose(ctx, d, args, states)
				if err != nil {
					return err
				}
				if len(ids) == 0 {
					fmt.Fprintf(a.Err, "scandrop: no jobs to %s: none is %s\n", name, strings.Join(states, " or "))
				}
				failed, hint, outcomes := 0, "", []outcome{}
				for _, id := range ids {
					j, err := do(d, ctx, id, yes)
					if refused(err) {
						failed++
						outcomes = append(outcomes, outcome{Job: id, Refused: err.Error()})
						fmt.Fprintf(a.Err, "scandrop: %s\n", clean(err.Error()))
						if flag != "" && !yes {
							if j, err := d.Job(ctx, id); err == nil && j.State == queue.Done {
								hint = fmt.Sprintf("--%s, to %s", flag, flagUsage)
							}
						}
						continue
					}
					if err != nil {
						return notThere(err)
					}
					outcomes = append(outcomes, outcome{Job: id, OK: true, Now: &j})
					fmt.Fprintf(a.Err, "scandrop: %s: job %d is %s: %s\n", name, id, stateOr(j, name), clean(j.Scan))
					if name == "forget" && len(j.Results) > 0 {
						hint = "the results stay where they are, and are taken for somebody else's: what is read from the same scan again goes beside them, as letter.pdf.txt beside letter.txt"
					}
				}
				if hint != "" { // once, not for each job
					fmt.Fprintf(a.Err, "hint: %s\n", hint)
				}
				if asJSON {
					if err := a.writeJSON(outcomes); err != nil {
						return err
					}
				}
				if failed > 0 {
					return &statusError{Status: ExitFailed}
				}
				return nil
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "all jobs in this `STATE`; may be given several times")
	if flag != "" {
		c.Flags().BoolVar(&yes, flag, false, flagUsage)
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	completeStates(c)
	c.ValidArgsFunction = a.completeJobs
	return c
}

func stateOr(j control.Job, name string) string {
	switch {
	case name == "forget":
		return "forgotten"
	case j.Cancel:
		return "to be cancelled at its next safe point"
	}
	return string(j.State)
}

// choose lists the jobs that a person named.
func (a *app) choose(ctx context.Context, d desk, names, states []string) ([]uint64, error) {
	var ids []uint64
	for _, name := range names {
		j, err := find(ctx, d, name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, j.ID)
	}
	if len(states) == 0 {
		return ids, nil
	}
	var f control.Filter
	var err error
	if f.States, err = parseStates(states); err != nil {
		return nil, err
	}
	for j, err := range d.All(ctx, f) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, j.ID)
	}
	return ids, nil
}

// released is what release --json says.
type released struct {
	Released int            `json:"released"` // how many
	Holds    []control.Hold `json:"holds"`    // that still stand
}

func (a *app) queueRelease() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "release [HOLD...]",
		Short: "Lift holds",
		Long: `Lift the holds with these names, as "queue list" shows them, or all of them.
Trouble that is not over holds again at the next attempt. "rebuilt" is lifted by
its own name only: what the service has may be paid for again then.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, keys []string) error {
			ctx := c.Context()
			return a.withDesk(ctx, toDecide, func(d desk) error {
				if len(keys) == 0 {
					keys = []string{"all"}
				}
				total := 0
				for _, key := range keys {
					n, err := d.Release(ctx, key)
					if err != nil {
						return err
					}
					if n == 0 && key != "all" {
						return &statusError{ExitFailed, fmt.Errorf("nothing is held under the name %q", key), `"scandrop status" shows what is held`}
					}
					total += n
				}
				fmt.Fprintf(a.Err, "scandrop: %d released\n", total)
				s, err := d.Status(ctx)
				if err != nil {
					return err
				}
				for _, h := range s.Holds { // "all" does not lift what may cost money
					fmt.Fprintf(a.Err, "scandrop: still held: %s: %s\n", clean(h.Name), clean(h.Reason))
				}
				if asJSON {
					return a.writeJSON(released{total, s.Holds})
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	c.ValidArgsFunction = a.completeHolds
	return c
}
