package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scandrop/internal/hwocr"
	"scandrop/queue"
)

func (a *app) remotePurge() *cobra.Command {
	orphans, yes := false, false
	c := &cobra.Command{
		Use:   "purge --orphans",
		Short: "Delete the documents of this installation that no job needs",
		Long: `List, and then delete, the documents on the service that bear a mark of this
installation and that no job has or may still want. Those of other installations,
those that are not scandrop's, and those that were left there on purpose stay.

The daemon does this by itself, once a day; stop it before this command. On a
terminal it asks before it deletes; elsewhere it needs --yes.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if !orphans {
				return usage("scandrop remote purge --orphans", "say what to purge")
			}
			return a.purgeOrphans(c.Context(), yes)
		},
	}
	c.Flags().BoolVar(&orphans, "orphans", false, "documents of this installation that no job needs")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func (a *app) purgeOrphans(ctx context.Context, yes bool) (err error) {
	conf, err := a.load()
	if err != nil {
		return err
	}
	api, err := a.client(conf)
	if err != nil {
		return err
	}
	q, err := a.openQueue(conf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()

	found, err := findOrphans(ctx, api, q)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		fmt.Fprintln(a.Err, "scandrop: no orphans")
		return nil
	}
	if err := a.listOrphans(found); err != nil {
		return err
	}
	keeps, err := q.KeepsCopies()
	if err != nil {
		return err
	}
	if keeps {
		fmt.Fprintln(a.Err, "scandrop: warning: there is a folder with delete_remote: false; see that none of these is a copy that is wanted")
	}
	if !yes {
		if !asks(a.In) {
			return usage("add --yes to delete them", "%d orphans, and nobody to ask", len(found))
		}
		if !a.confirm(fmt.Sprintf("Delete these %d documents, with their results?", len(found))) {
			return &statusError{ExitFailed, errors.New("nothing was deleted"), ""}
		}
	}
	for i, d := range found {
		if err := api.Delete(ctx, d.ID); err != nil && !isGone(err) {
			if i > 0 {
				fmt.Fprintf(a.Err, "scandrop: %d of %d deleted\n", i, len(found))
			}
			return explainService(err)
		}
	}
	fmt.Fprintf(a.Err, "scandrop: %d deleted\n", len(found))
	return nil
}

// isGone reports whether a document could not be deleted because it is not there
// any more.
func isGone(err error) bool {
	e, ok := errors.AsType[*hwocr.Error](err)
	return ok && (e.Status == 404 || e.Status == 410)
}

// findOrphans lists the documents of the queue's installation that no job needs.
func findOrphans(ctx context.Context, api *hwocr.Client, q *queue.Queue) ([]hwocr.Document, error) {
	var marked []queue.Stray
	byID := map[string]hwocr.Document{}
	for d, err := range api.Documents(ctx, 200) {
		if err != nil {
			return nil, explainService(err)
		}
		if whose, mark := ownerOf(d, q.Installation()); whose == ours && byID[d.ID].ID == "" {
			marked = append(marked, queue.Stray{Document: d.ID, Mark: mark})
			byID[d.ID] = d
		}
	}
	orphans, err := q.Orphans(marked)
	if errors.Is(err, queue.ErrRebuilding) {
		return nil, &statusError{ExitFailed, err, "run the daemon: it finds the scans again, and deletes what belongs to none after a day"}
	}
	if err != nil {
		return nil, err
	}
	found := make([]hwocr.Document, len(orphans))
	for i, s := range orphans {
		found[i] = byID[s.Document]
	}
	return found, nil
}

func (a *app) listOrphans(found []hwocr.Document) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DOCUMENT\tSTATUS\tCREATED\tNAME")
	for _, d := range found {
		created := ""
		if !d.Created.IsZero() {
			created = moment(d.Created)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", column(d.ID), column(d.Status), created, column(d.Name))
	}
	return w.Flush()
}

// asks reports whether there is somebody at r who can be asked.
func asks(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks a question; only a clear yes is one.
func (a *app) confirm(question string) bool {
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	line, _ := bufio.NewReader(a.In).ReadString('\n') // without an answer it is no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}
