package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/service"
)

func (a *app) service() *cobra.Command {
	c := &cobra.Command{
		Use:   "service",
		Short: "Install and control scandrop as a service of the system",
	}
	user := false
	c.PersistentFlags().BoolVar(&user, "user", false, "a service of this user instead of the system's")
	c.AddCommand(a.serviceInstall(&user), a.serviceStatus(&user))
	for _, v := range []struct {
		name, short, done string
		do                func(service.Config) error
	}{
		{"uninstall", "Stop and remove the service; configuration, state and scans stay", "uninstalled; configuration, state and scans are where they were", service.Config.Uninstall},
		{"start", "Start the service, and wait until it is ready", "started", service.Config.Start},
		{"stop", "Stop the service, and wait until it has ended", "stopped", service.Config.Stop},
		{"restart", "Stop and start the service", "restarted", service.Config.Restart},
	} {
		c.AddCommand(&cobra.Command{
			Use: v.name, Short: v.short, Args: none,
			RunE: func(*cobra.Command, []string) error {
				s, err := a.serviceConfig(user)
				if err != nil {
					return err
				}
				if err := v.do(s); err != nil {
					return a.explainManager(s, err)
				}
				fmt.Fprintf(a.Err, "scandrop: %s\n", v.done)
				return nil
			},
		})
	}
	return c
}

func (a *app) serviceInstall(user *bool) *cobra.Command {
	account, passwordFile, missing := "", "", false
	c := &cobra.Command{
		Use:   "install",
		Short: "Install the service; the configuration is checked first",
		Long: `Install scandrop as a service that starts with the system. The configuration is
checked first, and the service is given leave to read and write in its folders.
Install again after folders were added, or to repair: nothing is lost by that.
It is not started: "scandrop service start" does that.`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.serviceConfig(*user)
			if err != nil {
				return err
			}
			if missing {
				switch _, err := s.Status(); {
				case err == nil:
					fmt.Fprintln(a.Err, "scandrop: it is installed already")
					return nil
				case !errors.Is(err, service.ErrNotInstalled):
					return a.explainManager(s, err)
				}
			}
			s.Account = account
			if passwordFile != "" {
				text, err := os.ReadFile(passwordFile)
				if err != nil {
					return &statusError{ExitUsage, err, "name a file that you may read"}
				}
				s.Password = strings.TrimRight(string(text), "\r\n")
			}
			return a.installService(s)
		},
	}
	c.Flags().StringVar(&account, "account", "", "`NAME` of the account that the service runs as (default one of its own)")
	c.Flags().BoolVar(&missing, "if-missing", false, "do nothing where the service is installed already")
	c.Flags().StringVar(&passwordFile, "password-file", "", "`FILE` with the account's password, where the system wants it (Windows)")
	return c
}

// installService installs the service, and says what there is then and what to
// do next.
func (a *app) installService(s service.Config) error {
	conf, err := a.load()
	if err != nil {
		return err
	}
	if err := conf.CheckToken(); err != nil {
		return err
	}
	s.Folders, s.Log, s.State, s.Token = used(conf), conf.Log.File, conf.State, tokenBeside(conf)
	path, encrypted, err := conf.SealToken() // before who may read it is set
	if err != nil {
		return &statusError{ExitFailed, err, "try it as an administrator"}
	}
	notes, err := s.Install()
	if err != nil {
		return a.explainManager(s, err)
	}
	fmt.Fprintf(a.Err, "scandrop: installed\n")
	if encrypted {
		notes = append(notes, "the token in "+path+" was encrypted for this machine; a new one is written over it as it is")
	}
	for _, note := range notes {
		fmt.Fprintf(a.Err, "scandrop: %s\n", clean(note))
	}
	fmt.Fprintf(a.Err, "configuration: %s\nstate:         %s\nlog:           %s\n", clean(conf.Path), clean(conf.State), clean(logOf(conf, s)))
	next, flag := "start", ""
	if s.User {
		flag = " --user"
	}
	if status, err := s.Status(); err == nil && status.PID != 0 {
		next = "restart"
	}
	fmt.Fprintf(a.Err, "next:          scandrop service %s%s\n", next, flag)
	return nil
}

// logOf says where the service logs to.
func logOf(conf *config.Config, s service.Config) string {
	if conf.Log.File != "" {
		return conf.Log.File
	}
	return s.Logs()
}

// used lists the folders that the service reads and writes, besides those that it
// has anyway.
func used(conf *config.Config) []string {
	var folders []string
	for _, f := range conf.Folders {
		folders = append(folders, f.Path)
		for _, dir := range []string{f.Originals.Done, f.Originals.Failed} {
			if dir != config.Stay {
				folders = append(folders, dir)
			}
		}
	}
	if conf.State != config.MachineState(config.Process()) {
		folders = append(folders, conf.State)
	}
	return folders
}

// tokenBeside is the file named token beside the configuration, if that is where
// the token comes from: then root alone need be able to read it.
func tokenBeside(conf *config.Config) string {
	path := filepath.Join(filepath.Dir(conf.Path), "token")
	if _, err := os.Stat(path); err != nil || conf.API.TokenFile != "" || !conf.API.Token.IsZero() {
		return ""
	}
	return path
}

func (a *app) serviceStatus(user *bool) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how the service is",
		Long: `Say how the service is: running, held, starting, stopping, restarting, failed or
stopped, and why. Exit status 0 means that it runs, 5 that something is held,
1 that it does not run.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.serviceConfig(*user)
			if err != nil {
				return err
			}
			status, err := s.Status()
			if err != nil {
				return a.explainManager(s, err)
			}
			if status.State == service.Running || status.State == service.Held {
				a.heldNow(c.Context(), &status)
			}
			if asJSON {
				e := json.NewEncoder(plainJSON{a.Out})
				e.SetIndent("", "  ")
				if err := e.Encode(status); err != nil {
					return err
				}
			} else {
				text := status.State
				if status.Reason != "" {
					text += ": " + status.Reason
				}
				fmt.Fprintln(a.Out, clean(text))
				if status.Restarts > 0 {
					fmt.Fprintf(a.Err, "scandrop: started again %d times after failures\n", status.Restarts)
				}
			}
			switch status.State {
			case service.Running:
				return nil
			case service.Held:
				fmt.Fprintf(a.Err, "hint: %s\n", clean(a.hint(`when the trouble is over it goes on by itself; "scandrop check" tells more`)))
				return &statusError{Status: ExitHeld}
			case service.Restarting, service.Failed:
				fmt.Fprintf(a.Err, "hint: %s; the log: %s\n", clean(a.hint(`"scandrop check" says what is wrong`)), clean(s.Logs()))
			}
			return &statusError{Status: ExitFailed}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

// heldNow asks the daemon itself what is held, if it can be asked.
func (a *app) heldNow(ctx context.Context, s *service.Status) {
	conf, err := config.Load(a.configPath(), config.Process())
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := control.Dial(ctx, conf.State)
	if err != nil {
		return
	}
	defer client.Close()
	status, err := client.Status(ctx)
	if err != nil {
		return
	}
	if s.State, s.Reason = service.Running, ""; len(status.Holds) == 0 {
		return
	}
	var reasons []string
	for _, h := range status.Holds {
		reasons = append(reasons, h.Name+": "+h.Reason)
	}
	s.State, s.Reason = service.Held, strings.Join(reasons, "; ")
}

func (a *app) serviceConfig(user bool) (service.Config, error) {
	path := a.config
	if path == "" {
		env := config.Process()
		env.Machine = !user
		path = config.DefaultPath(env)
	}
	abs, err := filepath.Abs(path)
	a.config = abs
	return service.Config{File: abs, User: user}, err
}

func (a *app) explainManager(s service.Config, err error) error {
	hint := ""
	mapped := (*service.MappedError)(nil)
	switch {
	case errors.As(err, &mapped):
		return &statusError{ExitUsage, err, mapped.Hint()}
	case errors.Is(err, service.ErrNotInstalled):
		hint = `"scandrop service install" installs it`
		if !s.User {
			hint += "; one of a single user is found with --user"
		}
	case errors.Is(err, service.ErrNoManager):
		hint = `"scandrop run" runs in the foreground; let what starts your programs start that`
	case errors.Is(err, service.ErrNoUserService):
		hint = "leave --user away, as an administrator"
	case errors.Is(err, fs.ErrPermission), !s.User && os.Geteuid() > 0:
		hint = "services of the system are controlled by an administrator; try it as one (sudo), or with --user"
	default:
		hint = "the log may say more: " + s.Logs()
	}
	return &statusError{ExitFailed, err, hint}
}
