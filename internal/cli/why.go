package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"scandrop/internal/control"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

// one takes one argument. what says what that names.
func one(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return fmt.Errorf("name %s", what)
		case 1:
			return nil
		}
		return fmt.Errorf("%d names are given; name %s", len(args), what)
	}
}

// some takes one argument at least. what says what each names.
func some(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name %s", what)
		}
		return nil
	}
}

// An unknown is what why --json says of a file that no job is of.
type unknown struct {
	Scan   string `json:"scan"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

func (a *app) why() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "why FILE|JOB",
		Short: "Tell the story of one scan, and what comes next",
		Long: `Tell what became of a scan, from when it was noticed, and what happens next and
when. It may be named by its file, also where that was moved to, by one of its
results, or by its job's number. Of a file that scandrop does not know it says why;
the exit status is 1 then.`,
		Args: one("a scan, by its file or its job's number, for example: scandrop why letter.pdf"),
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			d, end, err := a.desk(c.Context(), conf, toLook)
			if err != nil {
				return err
			}
			defer func() { _ = end() }()
			j, err := find(c.Context(), d, args[0])
			path, abs := filepath.Abs(args[0])
			if errors.Is(err, queue.ErrNoJob) && abs == nil && !number(args[0]) {
				var has bool
				if j, has = a.has(c.Context(), d, args[0], path); has {
					err = nil
				} else {
					reason, hint := daemon.Overlooked(conf, path)
					if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
						hint = meant(c.Context(), d, path)
					}
					if asJSON {
						if err := a.writeJSON(unknown{path, reason, a.hint(hint)}); err != nil {
							return err
						}
						return &statusError{Status: ExitFailed}
					}
					return &statusError{ExitFailed, fmt.Errorf("%s: %s", args[0], reason), hint}
				}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(j)
			}
			a.tellStory(j)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object, like that of queue show")
	c.ValidArgsFunction = a.completeJobs
	return c
}

// meant is the way out for who names a file that no job is of, and that is not there:
// the newest job of a scan with that name in another folder, if there is one.
func meant(ctx context.Context, d desk, path string) string {
	const most = 5000
	n := 0
	for j, err := range d.All(ctx, control.Filter{Text: filepath.Base(path)}) {
		if n++; err != nil || n > most {
			break
		}
		if filepath.Base(j.Scan) == filepath.Base(path) {
			return fmt.Sprintf("did you mean %s (job %d)?", j.Scan, j.ID)
		}
	}
	return `name it with its folder, or by its job's number; "scandrop queue list --search NAME" finds scans that were moved`
}

// number reports whether a name is a job's number.
func number(name string) bool {
	return name != "" && strings.Trim(name, "0123456789") == ""
}

// meanings says in plain words what the states are.
var meanings = map[queue.State]string{
	queue.Queued:     "waits to be sent",
	queue.Uploading:  "is on the wire",
	queue.Doubtful:   "was sent and not answered; it is looked for before anything is sent again",
	queue.Processing: "is with the service, which is reading it",
	queue.Written:    "is read; its copy at the service is still to be deleted",
	queue.Done:       "is finished; the same content is not sent again",
	queue.Rejected:   "cannot be read as it is",
	queue.Failed:     "came to nothing",
	queue.Cancelled:  "was cancelled by hand",
}

// tellStory tells what became of a job as one would tell it.
func (a *app) tellStory(j control.Job) {
	say := func(format string, args ...any) { fmt.Fprintf(a.Out, "%s\n", clean(fmt.Sprintf(format, args...))) }
	say("%s (job %d) %s.", j.Scan, j.ID, meanings[j.State])
	if j.Error != "" {
		say("  because: %s", j.Error)
	}
	for _, r := range j.Results {
		switch {
		case r.Refused != "":
			say("  %s: not made: %s", r.Format, r.Refused)
		case r.Path != "":
			say("  %s: %s", r.Format, r.Path)
		}
	}
	if j.SameAs != 0 && j.State == queue.Done && j.Sent.IsZero() {
		say("  it has the same content as job %d: its results were copied, nothing was sent or paid", j.SameAs)
	}
	if j.Moved != "" {
		say("  the original is now %s", j.Moved)
	}
	for _, e := range j.Story {
		say("  %s  %s", moment(e.At), tell(e))
	}
	if next := nextStep(j); next != "" {
		say("next: %s.", next)
	}
	for _, can := range j.Can {
		if can == control.Retry && j.State.Final() && !j.Hopeless() {
			say("to try again: scandrop queue retry %d%s", j.ID, a.about())
		}
	}
}
