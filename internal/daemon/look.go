package daemon

import (
	"errors"
	"io/fs"

	"scandrop/internal/config"
	"scandrop/queue"
)

// Look opens the queue of a configuration for reading only, and changes nothing:
// it makes no folder, restores nothing, and brings no older file up to date. A file
// that is not bit by bit what it was when it was closed is verified first, by
// verify; see [Opening]. The queue is nil if there is none yet. The error is that
// of [OpenQueue].
func Look(c *config.Config, verify func(path string) error) (*queue.Queue, error) {
	if verify == nil {
		verify = verifyHere
	}
	s := state{dir: c.State, Opening: Opening{Verify: verify}}
	begun, err := s.begun()
	if err != nil {
		return nil, stateError(c.State, err)
	}
	if err := s.sound(begun); errors.Is(err, queue.ErrInUse) {
		return nil, err
	} else if err != nil {
		return nil, stateError(s.path(queueFile), err)
	}
	return peek(c)
}

// peek is Look without a look at the whole file.
func peek(c *config.Config) (*queue.Queue, error) {
	who, _ := Installation(c)
	q, err := queue.Peek(queue.Config{Path: QueuePath(c), Installation: who, Folders: priorities(c), Limits: limits(c)})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, queue.ErrInUse):
		return nil, err
	case err != nil:
		return nil, stateError(QueuePath(c), err)
	}
	return q, nil
}
