package watcher

import (
	"errors"
	"path/filepath"
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

	mu      sync.Mutex
	paths   map[string]fsnotify.Op // what happened, all of it
	stale   map[string]struct{}    // folders in which something was touched, no more
	touched map[string]struct{}    // what that was, or the first of it
	lost    bool                   // events were lost: only a scan tells
}

func newHints() *hints {
	return &hints{
		ready: make(chan struct{}, 1), paths: make(map[string]fsnotify.Op),
		stale: make(map[string]struct{}), touched: make(map[string]struct{}),
	}
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

// touch says that the rights or the time of what lies at path changed. Nobody is woken:
// the next scan is soon enough.
func (h *hints) touch(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stale[filepath.Dir(path)] = struct{}{}
	if len(h.touched) < maxHints {
		h.touched[path] = struct{}{}
	}
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
func (h *hints) take() (paths map[string]fsnotify.Op, stale, touched map[string]struct{}, lost bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	paths, stale, touched, lost = h.paths, h.stale, h.touched, h.lost
	h.paths, h.stale, h.touched, h.lost = make(map[string]fsnotify.Op), make(map[string]struct{}), make(map[string]struct{}), false
	return paths, stale, touched, lost
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
			switch f := owner(folders, e.Name); {
			case f == nil:
			case e.Op == fsnotify.Chmod: // indexers and virus scanners do nothing else
				f.hints.touch(e.Name)
			default:
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
