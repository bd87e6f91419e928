package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/queue"
)

// openQueue opens the configured queue for a command: it repairs nothing.
func (a *app) openQueue(conf *config.Config) (*queue.Queue, error) {
	return daemon.OpenQueue(conf, daemon.Opening{Verify: verifyApart})
}

// look opens the configured queue for reading only, nil if there is none, and says
// where it is of an older version: whoever looks brings nothing up to date.
func (a *app) look(conf *config.Config) (*queue.Queue, error) {
	q, err := daemon.Look(conf, verifyApart)
	if q != nil && q.Behind() > 0 {
		fmt.Fprintf(a.Err, "scandrop: the queue file is an older version's; the next \"scandrop run\" brings it up to date, and keeps a copy\n")
	}
	return q, err
}

// A verdict is what queue check --json says. Its keys are a contract.
type verdict struct {
	File  string `json:"file"`
	Jobs  int    `json:"jobs"`
	Fault string `json:"fault,omitempty"` // damaged, foreign, newer, in_use or other
	Error string `json:"error,omitempty"`
}

// faults are the words for what a queue file may be instead of sound.
var faults = map[string]error{
	"damaged": queue.ErrDamaged, "foreign": queue.ErrForeign, "newer": queue.ErrNewer, "in_use": queue.ErrInUse,
}

func verdictOf(path string) verdict {
	v := verdict{File: path}
	var err error
	if v.Jobs, err = queue.Verify(path); err != nil {
		v.Fault, v.Error = "other", err.Error()
		for word, is := range faults {
			if errors.Is(err, is) {
				v.Fault = word
			}
		}
	}
	return v
}

// A verdictError is a verdict as an error; it is one of queue's own.
type verdictError struct{ verdict }

func (e *verdictError) Error() string { return e.verdict.Error }

func (e *verdictError) Unwrap() error { return faults[e.Fault] }

// verifyApart has a process of its own verify the file: one that is damaged can
// end the process that reads it. If none can be started this one does it.
func verifyApart(path string) error {
	const patience = 10 * time.Minute
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		_, err := queue.Verify(path)
		return err
	}
	var out, said bytes.Buffer
	child := exec.CommandContext(ctx, self, "queue", "check", "--json", "--file", path)
	child.Env = append(os.Environ(), "GOTRACEBACK=none") // the first line says enough
	child.Stdout, child.Stderr = &out, &said
	err = child.Start()
	if err != nil {
		_, err := queue.Verify(path)
		return err
	}
	err = child.Wait()
	var v verdict
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s could not be verified within %v", path, patience)
	case json.Unmarshal(out.Bytes(), &v) != nil || v.File != path:
		if !brokeOnFile(said.String()) {
			return fmt.Errorf("%s could not be verified: the process that reads it ended with %v", path, err)
		}
		return fmt.Errorf("%s: %w: reading it ended with %v", path, queue.ErrDamaged, err)
	case v.Fault != "":
		return &verdictError{v}
	}
	return nil
}

// brokeOnFile reports whether a process ended over what it read, by what it said
// last. One that was killed, or had no memory, says nothing about the file, which
// must not be put aside for that.
func brokeOnFile(said string) bool {
	for _, end := range []string{"unexpected fault address", "stack overflow", "panic: "} {
		if strings.Contains(said, end) {
			return true
		}
	}
	return false
}

func (a *app) queueCheck() *cobra.Command {
	file, asJSON := "", false
	c := &cobra.Command{
		Use:   "check",
		Short: "Verify the queue file",
		Long: `Read the whole queue file, every page and every record, and hold each index
against them. Nothing is changed. "scandrop run" does the same after a crash, and
restores the newest snapshot where the file is damaged.`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				conf, err := a.load()
				if err != nil {
					return err
				}
				file = daemon.QueuePath(conf)
			}
			file, err := filepath.Abs(file)
			if err != nil {
				return err
			}
			v := verdictOf(file)
			if asJSON {
				if err := json.NewEncoder(a.Out).Encode(v); err != nil {
					return err
				}
			}
			switch {
			case v.Fault != "":
				status := ExitFailed
				switch v.Fault {
				case "in_use":
					status = ExitBusy
				case "foreign":
					status = ExitUsage
				}
				return &statusError{status, &verdictError{v}, checkHints[v.Fault]}
			case !asJSON:
				fmt.Fprintf(a.Out, "%s is sound; jobs: %d\n", clean(v.File), v.Jobs)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "file", "", "another `FILE` than the configured one, such as a snapshot")
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

var checkHints = map[string]string{
	"damaged": `"scandrop run" puts it aside and restores the newest snapshot; nothing is paid again`,
	"foreign": "name the state folder under `state`, or the file with --file",
	"newer":   "install the newer scandrop again",
	"in_use":  "a daemon has the queue; stop it first",
}

func (a *app) queueCompact() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Rewrite the queue file without the free room in it",
		Long: `Rewrite the queue file without the free room in it. "scandrop run" does so by
itself where most of the file is free.`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			before, after, err := daemon.Compact(conf, daemon.Opening{Verify: verifyApart})
			if err != nil {
				return err
			}
			fmt.Fprintf(a.Err, "scandrop: %d bytes, were %d\n", after, before)
			return nil
		},
	}
}
