package daemon

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"scandrop/internal/atomicfile"
	"scandrop/internal/config"
	"scandrop/internal/mount"
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

func (e *StateError) Error() string {
	if strings.Contains(e.Err.Error(), e.Path) {
		return fmt.Sprintf("state: %v", e.Err)
	}
	return fmt.Sprintf("state: %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *StateError) Unwrap() error { return e.Err }

// The files of the state folder.
const (
	queueFile        = "queue.db"
	installationFile = "installation.json"
	openingsFile     = "queue.openings"
	lockFile         = "queue.lock"
)

// QueuePath is where the queue of a configuration lies.
func QueuePath(c *config.Config) string { return filepath.Join(c.State, queueFile) }

// Opening says how a queue is opened.
type Opening struct {
	// Longest bounds the time between two attempts, where somebody waits for
	// the end; 0 is the usual.
	Longest time.Duration
	// Verify reads a queue file whole; see [queue.Verify], whose errors it
	// returns. As a damaged file can end the process that reads it, it should
	// use another one. nil reads the file in this one.
	Verify func(path string) error
	// Restore puts a damaged or lost queue file right; else that is an error.
	Restore bool
	// Log is told what was restored. It may be nil.
	Log *slog.Logger
}

// OpenQueue opens the queue of a configuration, and makes the state folder if
// there is none. A file that is not bit by bit what it was when it was closed is
// verified first.
//
// The error is a [StateError], or wraps [queue.ErrInUse].
func OpenQueue(c *config.Config, o Opening) (*queue.Queue, error) {
	if o.Verify == nil {
		o.Verify = verifyHere
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, stateError(c.State, err)
	}
	if kind := mount.Network(c.State); kind != "" {
		return nil, stateError(c.State, &networkError{kind})
	}
	// From the first look at the file until it is open, or replaced: two that
	// restore it at once would both have a queue.
	unlock, err := lockState(filepath.Join(c.State, lockFile))
	if err != nil {
		if errors.Is(err, queue.ErrInUse) {
			return nil, err
		}
		return nil, stateError(c.State, err)
	}
	defer unlock()
	s := state{dir: c.State, Opening: o}
	begun, err := s.begun()
	if err != nil {
		return nil, stateError(c.State, err)
	}
	path := s.path(queueFile)
	if err := s.sound(begun); err != nil {
		if errors.Is(err, queue.ErrInUse) {
			return nil, err
		}
		if !begun || !o.Restore || !errors.Is(err, queue.ErrDamaged) {
			return nil, stateError(path, err)
		}
		if err := s.restore(c, err); err != nil {
			return nil, stateError(path, err)
		}
	}
	q, err := s.open(c, path)
	if errors.Is(err, queue.ErrInUse) {
		return nil, err
	}
	if err == nil {
		if err = s.countOpening(q); err != nil {
			q.Close()
		}
	}
	if err != nil {
		return nil, stateError(path, err)
	}
	return q, nil
}

// countOpening counts, in the queue file and beside it, how often it was opened:
// a file that counts fewer is an older copy, which somebody has put back. What
// it does not know of is looked for before anything is sent.
func (s state) countOpening(q *queue.Queue) error {
	number := func(text []byte) uint64 {
		n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // what is damaged counts for nothing
		return n
	}
	kept, err := q.Kept(keptOpenings)
	if err != nil {
		return err
	}
	beside, err := os.ReadFile(s.path(openingsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n := number(kept)
	if newer := number(beside); newer > n {
		s.Log.Warn("the queue file is an older copy; the service's list is read before anything is sent", "file", s.path(queueFile))
		if err := rebuild(q); err != nil {
			return err
		}
		n = newer
	}
	text := fmt.Append(nil, n+1)
	if err := q.Keep(keptOpenings, text); err != nil {
		return err
	}
	// After it, so that a crash between the two makes no older copy of the file;
	// a full disk must not keep the queue from being opened.
	if err := atomicfile.WriteFile(s.path(openingsFile), append(text, '\n'), 0o600); err != nil {
		s.Log.Warn("an older copy of the queue file would not be recognised", "error", err)
	}
	return nil
}

const keptOpenings = "openings"

// A state is the state folder.
type state struct {
	dir string
	Opening
}

func (s state) path(name string) string { return filepath.Join(s.dir, name) }

// begun reports whether scandrop has worked with this state folder before, so
// that there was a queue.
func (s state) begun() (bool, error) {
	_, err := os.Stat(s.path(installationFile))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if _, err := os.Stat(s.path("journal.jsonl")); err == nil {
		return true, nil
	}
	snapshots, err := s.snapshots()
	return len(snapshots) > 0, err
}

// sound says why the queue file cannot be used; nil if it can, or if it is to
// be made. A file that is not there, or empty, where there was one is damaged.
func (s state) sound(begun bool) error {
	path := s.path(queueFile)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if begun {
			return fmt.Errorf("%w: it is not there any more", queue.ErrDamaged)
		}
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Size() == 0:
		return fmt.Errorf("%w: it is empty", queue.ErrDamaged)
	case queue.Intact(path):
		return nil
	}
	err = s.Verify(path)
	if begun && errors.Is(err, queue.ErrForeign) { // it lies where our own was
		return fmt.Errorf("%w: %w", queue.ErrDamaged, err)
	}
	return err
}

// open opens the queue at path, and sees that the installation is kept in it,
// too: without its key the documents at the service could not be told from
// others.
func (s state) open(c *config.Config, path string) (*queue.Queue, error) {
	who, err := s.installation(path)
	if err != nil {
		return nil, err
	}
	q, err := queue.Open(queue.Config{
		Path: path, Installation: who,
		Doubt: c.API.Doubt, LongestDelay: s.Longest, Folders: priorities(c), Limits: limits(c),
	})
	if err != nil {
		return nil, err
	}
	kept, err := q.Kept(keptInstallation)
	if err == nil && kept == nil {
		kept, err = json.Marshal(installation(who))
		if err == nil {
			err = q.Keep(keptInstallation, kept)
		}
	}
	if was, ok := parseInstallation(kept); ok && err == nil && (was.Name != who.Name || !bytes.Equal(was.Key, who.Key)) {
		err = &installationError{s.path(installationFile)} // with another key no document of ours would be known
	}
	if err != nil {
		q.Close()
		return nil, err
	}
	return q, nil
}

const keptInstallation = "installation"

// verifyHere verifies in this process.
func verifyHere(path string) error {
	_, err := queue.Verify(path)
	return err
}

func stateError(path string, err error) error {
	e := &StateError{Path: path, Err: err, Hint: "see that this folder's disk is well and has room, then start again; nothing was changed"}
	switch {
	case errors.Is(err, queue.ErrUncertain):
		e.Hint = "see that this folder's disk is well, then start again: what is in doubt is looked up at the service, and nothing is paid again"
	case errors.Is(err, queue.ErrDamaged):
		e.Hint = `"scandrop run" puts it aside and restores the newest snapshot; nothing is paid again`
	case errors.Is(err, queue.ErrForeign):
		e.Hint, e.Config = "another program's file is in the way: name another folder under `state`, or move the file away; it was not changed", true
	case errors.Is(err, queue.ErrNewer):
		e.Hint = "install the newer scandrop again. To stay with this one, move the file away and put the copy that the upgrade kept (queue-versionN.db beside it) in its place: what happened since is rebuilt. Nothing was changed"
	case errors.As(err, new(*installationError)):
		e.Hint = "remove it, so that it is written anew from the copy in the queue file, or restore it from a backup; without either, uploads that were never answered cannot be found by their mark"
	case errors.As(err, new(*networkError)):
		e.Hint, e.Config = "name a folder on a disk of this machine under `state`: a network may lose what was written", true
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

// installation reads the installation's name and key, and makes them the first
// time. The file is a secret: who has the key can tell which marks are of which
// content. If it is gone or damaged it is written anew from the queue at path,
// which keeps a copy.
func (s state) installation(path string) (queue.Installation, error) {
	file := s.path(installationFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return queue.Installation{}, err
	}
	if i, ok := parseInstallation(text); ok {
		return i, nil
	}
	copied, e := s.keptInstallation(path)
	switch {
	case e != nil:
		return queue.Installation{}, e
	case copied != nil:
		s.Log.Warn("the installation's name and key were lost, and are restored from the queue", "file", file)
		text = copied
	case err == nil:
		return queue.Installation{}, &installationError{file}
	default:
		fresh := installation{Name: rand.Text()[:4], Key: make([]byte, 32)}
		rand.Read(fresh.Key)
		if text, err = json.Marshal(fresh); err != nil {
			return queue.Installation{}, err
		}
	}
	if err := atomicfile.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return queue.Installation{}, err
	}
	i, _ := parseInstallation(text)
	return i, nil
}

// Installation reads what makes the marks of a configuration's documents, and
// changes nothing. It reports whether there is such a thing: without it no
// document is ours.
func Installation(c *config.Config) (queue.Installation, bool) {
	text, err := os.ReadFile(filepath.Join(c.State, installationFile))
	if err != nil {
		return queue.Installation{}, false
	}
	return parseInstallation(text)
}

// keptInstallation is the copy in the queue file, nil if there is none.
func (s state) keptInstallation(path string) (text []byte, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	q, err := queue.Open(queue.Config{Path: path})
	if err != nil {
		return nil, err
	}
	text, err = q.Kept(keptInstallation)
	if _, ok := parseInstallation(text); !ok {
		text = nil
	}
	return text, errors.Join(err, q.Close())
}

func parseInstallation(text []byte) (queue.Installation, bool) {
	var i installation
	err := json.Unmarshal(text, &i)
	return queue.Installation(i), err == nil && len(i.Key) >= 16 && installationName.MatchString(i.Name)
}

// An installationError means that the installation's file is not what was
// written and that there is no copy.
type installationError struct{ path string }

func (e *installationError) Error() string {
	return fmt.Sprintf("%s is not what scandrop wrote", filepath.Base(e.path))
}

// A networkError names the kind of file system that a queue cannot lie on.
type networkError struct{ kind string }

func (e *networkError) Error() string {
	return fmt.Sprintf("it lies on a network file system (%s)", e.kind)
}
