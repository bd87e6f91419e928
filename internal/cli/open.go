package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/control"
)

func (a *app) open() *cobra.Command {
	show, asJSON := false, false
	c := &cobra.Command{
		Use:   "open",
		Short: "Open the page of the running daemon",
		Long: `Make a link that opens the page once, within a short time, and open it in this
user's browser; where there is none, and with --print, only print it. Whoever has
the link sees the scans: it is made from the token in the state folder, which only
scandrop's user may read.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			client, err := control.Dial(c.Context(), conf.State)
			if errors.Is(err, control.ErrNoDaemon) {
				hint := startHint
				if conf.Status.Listen == "" {
					hint = "set status.listen in the configuration, and start the daemon anew"
				}
				return &statusError{ExitBusy, err, hint}
			}
			if err != nil {
				return err
			}
			defer client.Close()
			link, err := client.Link(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.writeJSON(link)
			}
			fmt.Fprintln(a.Out, clean(link.URL))
			if show || !terminal(a.Out) || !hasScreen() {
				fmt.Fprintf(a.Err, "scandrop: it opens the page once, until %s\n", link.Expires.Local().Format(time.TimeOnly))
				return nil
			}
			name, args := browser(link.URL)
			if err := exec.Command(name, args...).Start(); err != nil {
				fmt.Fprintf(a.Err, "scandrop: no browser could be opened: %v\nhint: open the link above in one\n", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&show, "print", false, "print the link, and open nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object; opens nothing")
	return c
}
