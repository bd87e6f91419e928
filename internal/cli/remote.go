package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

func (a *app) remote() *cobra.Command {
	c := &cobra.Command{
		Use:   "remote",
		Short: "Look at the documents on the service",
	}
	c.AddCommand(a.remoteList(), a.remoteDelete(), a.remotePurge())
	return c
}

// client is a client for a command; it has no pace to keep.
func (a *app) client(conf *config.Config) (*hwocr.Client, error) {
	if err := conf.CheckToken(); err != nil {
		return nil, err
	}
	return daemon.NewClient(conf, nil, nil, buildVersion(), nil)
}

// service explains an error of the service.
func explainService(err error) error {
	e, ok := errors.AsType[*hwocr.Error](err)
	if !ok {
		return err
	}
	hint := ""
	switch {
	case e.Status == 401:
		hint = "the service refuses the token: put in a valid one"
	case e.Status == 404 && e.Op != "list":
		hint = `"scandrop remote list" shows the documents there are`
	case e.Status == 404, e.Status >= 300 && e.Status < 400:
		hint = "there is no API at this address: check api.url"
	case e.Status == 0:
		hint = "check api.url, api.proxy and the network"
	}
	return &statusError{ExitFailed, err, hint}
}

type documentView struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Status  string    `json:"status"`
	Action  string    `json:"action,omitempty"`
	Pages   int       `json:"pages,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Owner   owner     `json:"owner"`
	Job     uint64    `json:"job,omitempty"` // that has it
}

// An owner says whose a document is, by the mark in its name. The words are a
// contract.
type owner string

const (
	ours     owner = "ours"                 // this installation's
	others   owner = "another installation" // some other scandrop's
	stranger owner = "not scandrop's"       // it bears no mark
)

// words say whose the document is, and which job has it, if the queue could be
// asked.
func (v documentView) words(asked bool) string {
	switch {
	case v.Job != 0:
		return fmt.Sprintf("ours, job %d", v.Job)
	case v.Owner == ours && asked:
		return "ours, no job"
	}
	return string(v.Owner)
}

// ownerOf tells whose a document is.
func ownerOf(d hwocr.Document, us queue.Installation) (whose owner, mark string) {
	mark, marked := us.Find(d.Name)
	switch {
	case mark != "":
		return ours, mark
	case marked:
		return others, ""
	}
	return stranger, ""
}

func (a *app) remoteList() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List the documents on the service, the newest first",
		Long: `List the documents on the service, the newest first, and whose they are: ours,
and which job has them; another installation's of scandrop; or not scandrop's.
While a daemon has the queue, the jobs cannot be told.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			api, err := a.client(conf)
			if err != nil {
				return err
			}
			views := []documentView{}
			us, _ := daemon.Installation(conf)
			for d, err := range api.Documents(c.Context(), 200) {
				if err != nil {
					return explainService(err)
				}
				whose, _ := ownerOf(d, us)
				views = append(views, documentView{d.ID, d.Name, d.Status, d.Action, d.Pages, d.Created, d.Expires, whose, 0})
			}
			asked := a.addJobs(conf, views)
			if asJSON {
				e := json.NewEncoder(plainJSON{a.Out})
				e.SetIndent("", " ")
				return e.Encode(views)
			}
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			if len(views) == 0 {
				fmt.Fprintln(a.Err, "scandrop: no documents")
			} else {
				fmt.Fprintln(w, "DOCUMENT\tSTATUS\tPAGES\tCREATED\tOWNER\tNAME")
			}
			for _, v := range views {
				pages, created := "", ""
				if v.Pages > 0 {
					pages = strconv.Itoa(v.Pages)
				}
				if !v.Created.IsZero() {
					created = moment(v.Created)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", column(v.ID), column(v.Status), pages, created, v.words(asked), column(v.Name))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

// addJobs adds which jobs have the documents, and reports whether the queue
// could be asked. If it cannot, that is said, and is no error.
func (a *app) addJobs(conf *config.Config, views []documentView) bool {
	if !slices.ContainsFunc(views, func(v documentView) bool { return v.Owner == ours }) {
		return false
	}
	q, err := a.look(conf)
	if q == nil && err == nil {
		return true // there are no jobs
	}
	if err != nil {
		fmt.Fprintf(a.Err, "scandrop: which jobs have them is not known: %s\n", clean(err.Error()))
		return false
	}
	defer q.Close()
	for i, v := range views {
		j, err := q.ByDocument(v.ID)
		switch {
		case err == nil:
			views[i].Job = j.ID
		case !errors.Is(err, queue.ErrNoJob):
			fmt.Fprintf(a.Err, "scandrop: which jobs have them is not known: %s\n", clean(err.Error()))
			return false
		}
	}
	return true
}

func (a *app) remoteDelete() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "delete DOCUMENT...",
		Short: "Delete documents on the service",
		Long: `Delete documents, with their results, on the service. One that a job of the queue
still needs is refused, unless --force is given: its result would have to be
paid for again.`,
		Args: some(`a document, by the id that "scandrop remote list" shows`),
		RunE: func(c *cobra.Command, ids []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			api, err := a.client(conf)
			if err != nil {
				return err
			}
			if !force {
				if err := a.unneeded(conf, ids); err != nil {
					return err
				}
			}
			for _, id := range ids {
				if err := api.Delete(c.Context(), id); err != nil {
					return explainService(err)
				}
				fmt.Fprintf(a.Err, "scandrop: deleted document %s\n", clean(id))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "even if a job still needs them")
	return c
}

// unneeded refuses documents whose results are not here yet.
func (a *app) unneeded(conf *config.Config, ids []string) error {
	q, err := a.look(conf)
	if q == nil || err != nil {
		return err
	}
	defer q.Close()
	for _, id := range ids {
		j, err := q.ByDocument(id)
		if errors.Is(err, queue.ErrNoJob) {
			continue
		}
		if err != nil {
			return err
		}
		if j.State == queue.Processing || j.State == queue.Failed {
			return &statusError{ExitFailed, fmt.Errorf("document %s is needed by job %d, whose result is not here yet", id, j.ID),
				"cancel the job, or add --force"}
		}
	}
	return nil
}
