package watcher

import (
	"errors"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A notifier sends events about the folders that it was told of, not about those
// below them. It is an [fsnotify.Watcher], except in tests.
type notifier interface {
	Add(dir string) error
	Remove(dir string) error
}

// maxHints is how many paths hints remembers; beyond it a scan is cheaper.
const maxHints = 10_000

// hints gathers what events say until the folder's own goroutine has time for it,
// because who reads events must never wait. It may be used by several goroutines.
type hints struct {
	ready chan struct{} // holds one value while there is something to take

	mu    sync.Mutex
	paths map[string]fsnotify.Op // what happened, all of it
	lost  bool                   // events were lost: only a scan tells
}

func newHints() *hints {
	return &hints{ready: make(chan struct{}, 1), paths: make(map[string]fsnotify.Op)}
}

func (h *hints) add(path string, op fsnotify.Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.paths) >= maxHints {
		h.lost = true
	}
	if !h.lost {
		h.paths[path] |= op
	}
	h.wake()
}

// lose says that events were lost.
func (h *hints) lose() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = true
	h.wake()
}

func (h *hints) wake() {
	select {
	case h.ready <- struct{}{}:
	default:
	}
}

// take returns what was gathered since it was last called.
func (h *hints) take() (paths map[string]fsnotify.Op, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	paths, lost = h.paths, h.lost
	h.paths, h.lost = make(map[string]fsnotify.Op), false
	return paths, lost
}

// dispatch passes events on to the folder that they are about, until done is closed.
// It never waits for a folder.
func (w *Watcher) dispatch(done <-chan struct{}, folders []*folder, events <-chan fsnotify.Event, errs <-chan error) {
	lose := func(err error) {
		// Which folders it concerns is not said, and on Windows the watch may be
		// dead without another word.
		w.log.Warn("folder events lost, scanning", keyError, err)
		for _, f := range folders {
			f.hints.lose()
		}
	}
	for {
		select {
		case <-done:
			return
		case e, ok := <-events:
			if !ok {
				lose(errors.New("the system sends no more events"))
				events = nil
				continue
			}
			if e.Op == fsnotify.Chmod { // indexers and virus scanners do nothing else
				continue
			}
			if f := owner(folders, e.Name); f != nil {
				f.hints.add(e.Name, e.Op)
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			lose(err)
		}
	}
}

// owner returns the innermost of folders that path is, or lies in; nil if there is
// none.
func owner(folders []*folder, path string) *folder {
	var in *folder
	for _, f := range folders {
		if (path == f.Path || below(f.Path, path)) && (in == nil || len(f.Path) > len(in.Path)) {
			in = f
		}
	}
	return in
}
