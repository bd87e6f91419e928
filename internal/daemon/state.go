package daemon

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"scandrop/internal/atomicfile"
	"scandrop/internal/config"
	"scandrop/queue"
)

// A StateError says why the state folder, or what lies in it, cannot be used.
// Config is set where another configuration is the way out.
type StateError struct {
	Path   string
	Err    error
	Hint   string
	Config bool
}

func (e *StateError) Error() string { return fmt.Sprintf("state: %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *StateError) Unwrap() error { return e.Err }

// The files of the state folder.
const (
	queueFile        = "queue.db"
	installationFile = "installation.json"
)

// OpenQueue opens the queue of a configuration, and makes the state folder if
// there is none. longest bounds the time between two attempts, where somebody waits
// for the end; 0 is the usual.
// The error is a [StateError], or wraps [queue.ErrInUse].
func OpenQueue(c *config.Config, longest time.Duration) (*queue.Queue, error) {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, stateError(c.State, err)
	}
	path := filepath.Join(c.State, queueFile)
	if err := foreign(path); err != nil {
		return nil, stateError(path, err)
	}
	installation, err := loadInstallation(filepath.Join(c.State, installationFile))
	if err != nil {
		return nil, stateError(c.State, err)
	}
	folders := map[string]int{}
	for _, f := range c.Folders {
		folders[f.Path] = f.Priority
	}
	q, err := queue.Open(queue.Config{
		Path: path, Installation: installation,
		Doubt: c.API.Doubt, LongestDelay: longest, Folders: folders,
	})
	if errors.Is(err, queue.ErrInUse) {
		return nil, err
	}
	if err != nil {
		return nil, stateError(path, err)
	}
	return q, nil
}

// foreign refuses a queue file that is not ours before anything is written
// beside it.
func foreign(path string) error {
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), installationFile)); err == nil {
		return nil
	}
	q, err := queue.Open(queue.Config{Path: path})
	if errors.Is(err, queue.ErrInUse) || err == nil && q.Close() == nil {
		return nil
	}
	return err
}

func stateError(path string, err error) error {
	e := &StateError{Path: path, Err: err, Hint: "see that this folder's disk is well and has room, then start again; nothing was changed"}
	switch {
	case errors.Is(err, queue.ErrForeign):
		e.Hint, e.Config = "another program's file is in the way: name another folder under `state`, or move the file away; it was not changed", true
	case errors.Is(err, queue.ErrNewer):
		e.Hint = "install the newer scandrop again; the file was not changed"
	case errors.Is(err, queue.ErrDamaged):
		e.Hint = "keep a copy of the file, then move it away; scans that were done would be found again, so ignore them first with `existing: ignore`"
	case errors.Is(err, fs.ErrPermission), readOnly(err), errors.Is(err, fs.ErrExist), notFolder(err):
		e.Hint, e.Config = "name a folder under `state` in which this user may write", true
	}
	return e
}

// An installation is what makes our marks ours; see [queue.Installation].
type installation struct {
	Name string `json:"name"`
	Key  []byte `json:"key"`
}

var installationName = regexp.MustCompile(`^[A-Z2-7]{4}$`)

// loadInstallation reads the installation's name and key, and makes them the
// first time. The file is a secret: who has the key can tell which marks are
// of which content.
func loadInstallation(path string) (queue.Installation, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := installation{Name: rand.Text()[:4], Key: make([]byte, 32)}
		rand.Read(fresh.Key)
		if text, err = json.Marshal(fresh); err != nil {
			return queue.Installation{}, err
		}
		err = atomicfile.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return queue.Installation{}, err
	}
	var i installation
	if err := json.Unmarshal(text, &i); err != nil || len(i.Key) < 16 || !installationName.MatchString(i.Name) {
		return queue.Installation{}, fmt.Errorf("%s is not what scandrop wrote: restore it, or remove it (uploads that were never answered then cannot be found by their mark)", path)
	}
	return queue.Installation(i), nil
}
