package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/service"
)

// A worker is who does the work that check tries: the installed service's account,
// or, where there is none or only root could be it, who asks.
type worker struct {
	installed bool
	account   string // "" is who asks
	become    bool   // we can be it
	bound     func(path string) bool
}

// others reports whether it is somebody else, whom we cannot be.
func (w worker) others() bool { return w.account != "" && !w.become }

// asked reports whether somebody else tried it for us.
func (w worker) asked() bool { return w.account != "" && w.become }

// makesState reports whether the service manager makes the state folder, whoever
// may write where it will be.
func (w worker) makesState(c *config.Config) bool {
	return w.installed && w.account != "" && c.State == config.MachineState(config.Process())
}

// service finds the service that runs with this configuration, and who it runs as.
func (c *checkup) service() {
	var (
		found service.Installation
		s     service.Config
	)
	for _, user := range []bool{false, true} {
		s = service.Config{File: c.conf.Path, User: user, Folders: used(c.conf), Log: c.conf.Log.File, Token: tokenBeside(c.conf)}
		var err error
		if found, err = s.Installed(); err == nil {
			c.worker.installed = true
			break
		}
	}
	if !c.worker.installed {
		return
	}
	what := "installed service"
	if s.User {
		what = "installed service of this user"
	}
	if found.Account != "" {
		probe := exec.Command(os.Args[0])
		if other, err := service.As(found.Account, probe); err != nil || other {
			c.worker.account, c.worker.become, c.worker.bound = found.Account, err == nil && os.Geteuid() == 0, found.Bound
		}
		what += ", which runs as " + found.Account
	}
	install, restart := "scandrop service install", "scandrop service restart"
	if s.User {
		install, restart = install+" --user", restart+" --user"
	}
	if len(found.Lacks) > 0 {
		c.add(what, ExitFailed, fmt.Sprintf("%q, then %q", install, restart),
			fmt.Errorf("it was installed before these were in the configuration, and has no leave for them: %s", strings.Join(found.Lacks, ", ")))
		return
	}
	status, err := s.Status()
	switch {
	case err != nil:
		c.warn(what, "how it is could not be told: "+err.Error(), "")
	case status.State == service.Failed, status.State == service.Restarting:
		c.add(what, ExitFailed, "what is wrong stands below, or in the log: "+s.Logs(), fmt.Errorf("it is %s: %s", status.State, status.Reason))
	default:
		c.fine(fmt.Sprintf("%s (%s)", what, status.State))
	}
}

// try tries something as the worker.
func (w worker) try(t daemon.Try) daemon.Trial {
	if !w.asked() {
		return t.Do()
	}
	done := make(chan daemon.Trial, 1)
	go func() {
		trial, err := w.tryAs(t)
		if err != nil {
			trial = daemon.Trial{Path: t.Path, Free: -1, Problem: "it could not be tried: " + err.Error()}
		}
		done <- trial
	}()
	select {
	case trial := <-done:
		return trial
	case <-time.After(tryAsPatience + 5*time.Second): // a share whose server is gone: nothing can end what waits for it
		return daemon.Trial{Path: t.Path, Free: -1, Problem: "it does not answer",
			Hint: "see that the server it lies on, and the way to it, work; or mount it anew"}
	}
}

// tryAsPatience is how long a process of another account may take to try something.
const tryAsPatience = 20 * time.Second

// tryAs has a process of the account try it. What the service manager shows that
// account wherever it lies is handed to the process open.
func (w worker) tryAs(t daemon.Try) (trial daemon.Trial, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), tryAsPatience)
	defer cancel()
	program := "/proc/self/exe" // also where that account may not look into our folder
	if _, err := os.Stat(program); err != nil {
		if program, err = os.Executable(); err != nil {
			return trial, err
		}
	}
	child := exec.CommandContext(ctx, program, "try")
	child.Args[0] = os.Args[0]
	child.Dir = "/"
	child.WaitDelay = time.Second
	if _, err := service.As(w.account, child); err != nil {
		return trial, err
	}
	if w.bound != nil && w.bound(t.Path) {
		f, err := os.Open(t.Path)
		if err != nil {
			return t.Do(), nil // as it is for us, who may do more
		}
		defer f.Close()
		child.ExtraFiles = []*os.File{f}
		t.Via = "/proc/self/fd/3/."
	}
	request, err := json.Marshal(t)
	if err != nil {
		return trial, err
	}
	var out, said bytes.Buffer
	child.Stdin, child.Stdout, child.Stderr = bytes.NewReader(request), &out, &said
	if err := child.Run(); err != nil {
		return trial, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	if json.Unmarshal(out.Bytes(), &trial) != nil {
		return trial, errors.New("the process that tried it said nothing")
	}
	return trial, nil
}
