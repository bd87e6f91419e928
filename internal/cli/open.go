package cli

import (
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
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
user's browser; where there is none, and with --print, only print it. A browser that
cannot read the user's cache folder (some are shut in) is given the printed link by
hand. Whoever has the link sees the scans: it is made from the token in the state folder, which only
scandrop's user may read.`,
		Args: none,
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
			cache, err := os.UserCacheDir()
			if err == nil {
				err = startBrowser(cache, link.URL)
			}
			if err != nil {
				fmt.Fprintf(a.Err, "scandrop: no browser could be opened: %v\nhint: open the link above in one\n", err)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&show, "print", false, "print the link, and open nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object; opens nothing")
	return c
}

// startBrowser opens the link in this user's browser. It is not told the link, but a
// file that leads there: what a process is started with is seen by every user of
// the machine.
func startBrowser(cache, link string) error {
	path, err := writeLead(cache, link)
	if err != nil {
		return err
	}
	name, args := browser(path)
	return exec.Command(name, args...).Start()
}

// writeLead writes a page that leads to the link, which this user alone can read,
// into scandrop's folder of the cache. The next one takes its place.
func writeLead(cache, link string) (path string, err error) {
	dir := filepath.Join(cache, "scandrop")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it may have been there
		return "", err
	}
	path = filepath.Join(dir, "open.html")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	// made anew: one that lies there would keep its mode
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = fmt.Fprintf(f, "<!doctype html><meta charset=\"utf-8\"><title>scandrop</title><meta http-equiv=\"refresh\" content=\"0; url=%[1]s\"><a href=\"%[1]s\">scandrop</a>\n", html.EscapeString(link))
	return path, errors.Join(err, f.Close())
}
