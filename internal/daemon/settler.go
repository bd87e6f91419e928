package daemon

import (
	"errors"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"scandrop/internal/config"
	"scandrop/queue"
)

// A settler gives the jobs that wait in the hot folders what a configuration wants of
// them. A folder that hangs in the system is told when it answers, of the configuration
// that is wanted by then: the others do not wait for it.
type settler struct {
	configure func(c *config.Config, folder string) error
	log       *slog.Logger

	mu     sync.Mutex
	wanted *config.Config  // the one that was settled last
	out    map[string]bool // folders that are being told
}

// settle tells all folders at once, and waits for those that answer in time.
func (s *settler) settle(c *config.Config) error {
	s.mu.Lock()
	s.wanted = c
	var folders []string
	for _, f := range c.Folders {
		if s.out[f.Path] { // whoever tells it goes on until it was told of c
			s.left(f.Path)
			continue
		}
		s.out[f.Path] = true
		folders = append(folders, f.Path)
	}
	s.mu.Unlock()
	var g errgroup.Group
	for _, folder := range folders {
		g.Go(func() error {
			var err error
			late := func() {
				if err != nil && !errors.Is(err, queue.ErrClosed) { // that it answers after the end is no fault
					s.log.Error("the queue could not be written", "error", err)
				}
			}
			if !inTime(func() { err = s.tell(folder) }, late) {
				s.left(folder)
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

func (s *settler) left(folder string) {
	s.log.Warn("a folder does not answer, and is left to itself until it does", "folder", folder)
}

// tell tells a folder of the configuration that is wanted. Another may be by the time
// that it has answered: what it was told last is what it was to be told.
func (s *settler) tell(folder string) error {
	for {
		s.mu.Lock()
		c := s.wanted
		s.mu.Unlock()
		err := s.configure(c, folder)
		s.mu.Lock()
		if s.wanted == c {
			delete(s.out, folder)
			s.mu.Unlock()
			return err
		}
		s.mu.Unlock()
	}
}
