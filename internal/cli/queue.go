package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

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
again only with --pay-again.`, (*queue.Queue).Retry, "pay-again", "send scans again that are done, and pay for them again"),
		a.queueEach("cancel", "Stop jobs",
			`Stop jobs at their next safe point. One that was sent is found and deleted at
the service first.`, func(q *queue.Queue, id uint64, _ bool) (queue.Job, error) { return q.Cancel(id) }, "", ""),
		a.queueEach("forget", "Remove the story of jobs that are at their end",
			`Remove jobs that are at their end from the list. What was paid for stays known:
the same content is not sent again by itself.`, func(q *queue.Queue, id uint64, _ bool) (queue.Job, error) { return q.Forget(id) }, "", ""),
		a.queueRelease(), a.queueCheck(), a.queueCompact())
	return c
}

// withQueue opens the configured queue for f.
func (a *app) withQueue(f func(*queue.Queue) error) (err error) {
	conf, err := a.load()
	if err != nil {
		return err
	}
	q, err := a.openQueue(conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	return f(q)
}

// A jobView is a job as --json shows it. Its keys are a contract.
type jobView struct {
	ID       uint64       `json:"id"`
	State    queue.State  `json:"state"`
	Scan     string       `json:"scan"`
	Moved    string       `json:"moved,omitempty"`
	Folder   string       `json:"folder"`
	Action   string       `json:"action"`
	Size     int64        `json:"size"`
	Content  string       `json:"content,omitempty"`
	SameAs   uint64       `json:"same_as,omitempty"`
	Document string       `json:"document,omitempty"`
	Mark     string       `json:"mark,omitempty"`
	Pages    int          `json:"pages,omitempty"`
	Results  []resultView `json:"results"`
	Attempts int          `json:"attempts"`
	Error    string       `json:"error,omitempty"`
	Due      time.Time    `json:"due,omitzero"`
	Added    time.Time    `json:"added"`
	Sent     time.Time    `json:"sent,omitzero"`
	Uploaded time.Time    `json:"uploaded,omitzero"`
	Finished time.Time    `json:"finished,omitzero"`

	Story []queue.Event `json:"story,omitempty"` // show only
}

type resultView struct {
	Format  string `json:"format"`
	Path    string `json:"path,omitempty"`
	Content string `json:"content,omitempty"`
	Refused string `json:"refused,omitempty"`
}

func viewOf(j queue.Job) jobView {
	v := jobView{
		ID: j.ID, State: j.State, Scan: j.Path, Moved: j.Moved, Folder: j.Folder, Action: j.Options.Action,
		Size: j.Size, SameAs: j.Twin, Document: j.Document, Mark: j.Mark, Pages: j.Pages,
		Results: []resultView{}, Attempts: j.Attempts, Error: j.Error,
		Due: j.Due, Added: j.Added, Sent: j.Sent, Uploaded: j.Uploaded, Finished: j.Finished,
	}
	if !j.Content.IsZero() {
		v.Content = j.Content.String()
	}
	for _, r := range j.Results {
		view := resultView{Format: r.Format, Path: r.Path, Refused: r.Refused}
		if !r.Content.IsZero() {
			view.Content = r.Content.String()
		}
		v.Results = append(v.Results, view)
	}
	return v
}

func (a *app) queueList() *cobra.Command {
	var (
		states []string
		folder string
		limit  int
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "list",
		Short: "List jobs, the newest first",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.withQueue(func(q *queue.Queue) error {
				f := queue.Filter{Folder: folder}
				var err error
				if f.States, err = parseStates(states); err != nil {
					return err
				}
				if folder != "" {
					abs, err := filepath.Abs(folder)
					if err != nil {
						return err
					}
					f.Folder = abs
				}
				for _, h := range q.Holds() {
					fmt.Fprintf(a.Err, "scandrop: held: %s: %s\n", clean(h.Key()), clean(h.Reason))
				}
				list := a.listText
				if asJSON {
					list = a.listJSON
				}
				return list(q, f, limit)
			})
		},
	}
	c.Flags().StringSliceVar(&states, "state", nil, "only jobs in this `STATE`; may be given several times")
	c.Flags().StringVar(&folder, "folder", "", "only jobs of this hot `FOLDER`")
	c.Flags().IntVar(&limit, "limit", 0, "at most `N` jobs (default all)")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	completeStates(c)
	return c
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

// some calls f for the first limit jobs of the filter; 0 is all of them.
func some(q *queue.Queue, f queue.Filter, limit int, each func(queue.Job) error) error {
	n := 0
	for j, err := range q.All(f) {
		if err != nil {
			return err
		}
		if limit > 0 && n == limit {
			return nil
		}
		n++
		if err := each(j); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) listText(q *queue.Queue, f queue.Filter, limit int) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	n := 0
	err := some(q, f, limit, func(j queue.Job) error {
		if n++; n == 1 {
			fmt.Fprintln(w, "JOB\tSTATE\tSCAN\tNOTE")
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", j.ID, j.State, column(j.Path), column(note(j)))
		return nil
	})
	if n == 0 && err == nil {
		fmt.Fprintln(a.Err, "scandrop: no jobs")
	}
	return errors.Join(err, w.Flush())
}

// column makes text safe for one column of a table.
func column(s string) string { return strings.ReplaceAll(clean(s), "\t", " ") }

// note is what there is to say of a job besides its state.
func note(j queue.Job) string {
	switch {
	case j.Error != "":
		return j.Error
	case j.State == queue.Done && j.Moved != "":
		return "moved to " + j.Moved
	case !j.State.Final() && j.Twin != 0:
		return fmt.Sprintf("the same content as job %d", j.Twin)
	case !j.State.Final() && time.Until(j.Due) > time.Second:
		return "next step " + moment(j.Due)
	}
	return ""
}

// listJSON writes an array job by job: a million of them are never in memory.
func (a *app) listJSON(q *queue.Queue, f queue.Filter, limit int) error {
	n := 0
	err := some(q, f, limit, func(j queue.Job) error {
		text, err := json.Marshal(viewOf(j))
		if err != nil {
			return err
		}
		lead := ",\n "
		if n == 0 {
			lead = "[\n "
		}
		n++
		_, err = fmt.Fprintf(plainJSON{a.Out}, "%s%s", lead, text)
		return err
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if n == 0 {
		end = "[]\n"
	}
	_, err = io.WriteString(a.Out, end)
	return err
}

func (a *app) queueShow() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "show JOB|FILE",
		Short: "Tell the story of one job",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.withQueue(func(q *queue.Queue) error {
				j, err := find(q, args[0])
				if err != nil {
					return err
				}
				story, err := q.Story(j.ID)
				if err != nil {
					return err
				}
				v := viewOf(j)
				v.Story = story
				if asJSON {
					e := json.NewEncoder(plainJSON{a.Out})
					e.SetIndent("", "  ")
					return e.Encode(v)
				}
				return a.show(v)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

// find finds a job by its number or by the path of its scan.
func find(q *queue.Queue, name string) (queue.Job, error) {
	if id, err := strconv.ParseUint(name, 10, 64); err == nil {
		j, err := q.Get(id)
		return j, notThere(err)
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return queue.Job{}, err
	}
	j, err := q.ByPath(path)
	return j, notThere(err)
}

// notThere adds the way out to an error that names a job that is not there.
func notThere(err error) error {
	if errors.Is(err, queue.ErrNoJob) {
		return &statusError{ExitFailed, err, `"scandrop queue list" shows the jobs there are`}
	}
	return err
}

func (a *app) show(v jobView) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, column(value))
		}
	}
	row("job", strconv.FormatUint(v.ID, 10))
	row("state", string(v.State))
	row("scan", v.Scan)
	row("moved to", v.Moved)
	row("action", v.Action)
	row("bytes", strconv.FormatInt(v.Size, 10))
	row("content", v.Content)
	if v.SameAs != 0 {
		row("same as", fmt.Sprintf("job %d", v.SameAs))
	}
	row("document", v.Document)
	for _, r := range v.Results {
		if r.Refused != "" {
			row(r.Format, "not made: "+r.Refused)
		} else {
			row(r.Format, r.Path)
		}
	}
	row("error", v.Error)
	switch {
	case v.Due.IsZero():
	case time.Until(v.Due) > 0:
		row("next step", moment(v.Due))
	default:
		row("next step", "as soon as nothing holds it")
	}
	for _, e := range v.Story {
		line := e.What
		if string(e.State) != e.What {
			line += ", " + string(e.State)
		}
		if e.Note != "" {
			line += ": " + e.Note
		}
		row(moment(e.At), line)
	}
	return w.Flush()
}

// queueEach is a command that does one thing to each of some jobs.
func (a *app) queueEach(name, short, long string, do func(*queue.Queue, uint64, bool) (queue.Job, error), flag, flagUsage string) *cobra.Command {
	var (
		states []string
		yes    bool
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
			return a.withQueue(func(q *queue.Queue) error {
				ids, err := a.choose(q, args, states)
				if err != nil {
					return err
				}
				failed := 0
				for _, id := range ids {
					j, err := do(q, id, yes)
					if refused, ok := errors.AsType[*queue.RefusedError](err); ok {
						failed++
						fmt.Fprintf(a.Err, "scandrop: %s\n", clean(refused.Error()))
						if flag != "" && j.State == queue.Done && !yes {
							fmt.Fprintf(a.Err, "hint: --%s, to %s\n", flag, flagUsage)
						}
						continue
					}
					if err != nil {
						return notThere(err)
					}
					fmt.Fprintf(a.Err, "scandrop: %s: job %d is %s: %s\n", name, j.ID, stateOr(j, name), clean(j.Path))
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
	completeStates(c)
	return c
}

func stateOr(j queue.Job, name string) string {
	switch {
	case name == "forget":
		return "forgotten"
	case j.Cancel:
		return "to be cancelled at its next safe point"
	}
	return string(j.State)
}

// choose lists the jobs that a person named.
func (a *app) choose(q *queue.Queue, names, states []string) ([]uint64, error) {
	var ids []uint64
	for _, name := range names {
		j, err := find(q, name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, j.ID)
	}
	if len(states) == 0 {
		return ids, nil
	}
	var f queue.Filter
	var err error
	if f.States, err = parseStates(states); err != nil {
		return nil, err
	}
	err = some(q, f, 0, func(j queue.Job) error {
		ids = append(ids, j.ID)
		return nil
	})
	return ids, err
}

func (a *app) queueRelease() *cobra.Command {
	return &cobra.Command{
		Use:   "release [HOLD...]",
		Short: "Lift holds",
		Long: `Lift the holds with these names, as "queue list" shows them, or all of them.
Trouble that is not over holds again at the next attempt. "rebuilt" is lifted by
its own name only: what the service has may be paid for again then.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, keys []string) error {
			return a.withQueue(func(q *queue.Queue) error {
				if len(keys) == 0 {
					keys = []string{"all"}
				}
				total := 0
				for _, key := range keys {
					n, err := q.Release(key)
					if err != nil {
						return err
					}
					if n == 0 && key != "all" {
						return &statusError{ExitFailed, fmt.Errorf("nothing is held under the name %q", key), `"scandrop queue list" shows what is held`}
					}
					total += n
				}
				fmt.Fprintf(a.Err, "scandrop: %d released\n", total)
				for _, h := range q.Holds() { // "all" does not lift what may cost money
					fmt.Fprintf(a.Err, "scandrop: still held: %s: %s\n", clean(h.Key()), clean(h.Reason))
				}
				return nil
			})
		},
	}
}
