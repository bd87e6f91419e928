package cli

import (
	"encoding/json"
	"errors"
	"fmt"
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
	c.AddCommand(a.remoteList(), a.remoteDelete())
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
}

func (a *app) remoteList() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List the documents on the service, the newest first",
		Args:  cobra.NoArgs,
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
			for d, err := range api.Documents(c.Context(), 200) {
				if err != nil {
					return explainService(err)
				}
				views = append(views, documentView{d.ID, d.Name, d.Status, d.Action, d.Pages, d.Created, d.Expires})
			}
			if asJSON {
				e := json.NewEncoder(plainJSON{a.Out})
				e.SetIndent("", " ")
				return e.Encode(views)
			}
			w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
			if len(views) > 0 {
				fmt.Fprintln(w, "DOCUMENT\tSTATUS\tPAGES\tCREATED\tNAME")
			}
			for _, v := range views {
				pages, created := "", ""
				if v.Pages > 0 {
					pages = strconv.Itoa(v.Pages)
				}
				if !v.Created.IsZero() {
					created = moment(v.Created)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", column(v.ID), column(v.Status), pages, created, column(v.Name))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return c
}

func (a *app) remoteDelete() *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "delete DOCUMENT...",
		Short: "Delete documents on the service",
		Long: `Delete documents, with their results, on the service. One that a job of the queue
still needs is refused, unless --force is given: its result would have to be
paid for again.`,
		Args: cobra.MinimumNArgs(1),
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
	q, err := a.openQueue(conf)
	if err != nil {
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
