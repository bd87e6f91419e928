package cli

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/service"
)

func (a *app) service() *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Install and control scandrop as a service of the system",
	}
	user := false
	c.PersistentFlags().BoolVar(&user, "user", false, "a service of this user instead of the system's")
	for _, v := range []struct{ name, short, done string }{
		{"install", "Install the service; the configuration is checked first", `installed; "scandrop service start" starts it`},
		{"uninstall", "Remove the service; configuration, state and scans stay", "uninstalled"},
		{"start", "Start the service", "started"},
		{"stop", "Stop the service", "stopped"},
		{"restart", "Stop and start the service", "restarted"},
	} {
		c.AddCommand(&cobra.Command{
			Use: v.name, Short: v.short, Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error {
				s, err := a.serviceConfig(user)
				if err != nil {
					return err
				}
				if v.name == "install" {
					conf, err := a.load()
					if err != nil {
						return err
					}
					if err := conf.CheckToken(); err != nil {
						return err
					}
				}
				if err := s.Control(v.name); err != nil {
					return explainManager(err)
				}
				fmt.Fprintf(a.Err, "scandrop: %s\n", v.done)
				return nil
			},
		})
	}
	c.AddCommand(&cobra.Command{
		Use: "status", Short: "Say whether the service runs", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.serviceConfig(user)
			if err != nil {
				return err
			}
			status, err := s.Status()
			if err != nil {
				return explainManager(err)
			}
			fmt.Fprintln(a.Out, status)
			return nil
		},
	})
	return c
}

func (a *app) serviceConfig(user bool) (service.Config, error) {
	path := a.config
	if path == "" {
		path = config.DefaultPath(config.Process())
	}
	abs, err := filepath.Abs(path)
	return service.Config{File: abs, User: user}, err
}

func explainManager(err error) error {
	hint := "services of the system are controlled by an administrator; try it as one, or with --user"
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		hint = `"scandrop service install" installs it`
	case errors.Is(err, service.ErrNoManager):
		hint = `"scandrop run" runs in the foreground; let what starts your programs start that`
	}
	return &statusError{ExitFailed, err, hint}
}
