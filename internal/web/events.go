package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
	"scandrop/queue"
)

// What viewers are told, at most every beat, and what has no event of its own at
// least every pulse, while anybody looks.
const (
	beat     = 500 * time.Millisecond
	pulse    = 5 * time.Second
	mostRows = 100 // moved jobs that are told one by one; of more the page is read again
	viewers  = 100
)

// A hub tells all viewers of what moves. A change is rendered once for all of
// them, and only if there are any, so that they cost the queue next to nothing.
type hub struct {
	mu       sync.Mutex
	viewers  map[chan []byte]bool
	moved    map[uint64]bool // since the last beat
	overflow bool
	changed  chan struct{} // something moved, or somebody came
}

func newHub() *hub {
	return &hub{viewers: map[chan []byte]bool{}, moved: map[uint64]bool{}, changed: make(chan struct{}, 1)}
}

// Moved is told of every job that is added or moves on. It never blocks, and
// may be called concurrently.
func (s *Server) Moved(j queue.Job) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) == 0 {
		return
	}
	if h.moved[j.ID] = true; len(h.moved) > mostRows {
		clear(h.moved)
		h.overflow = true
	}
	h.wake()
}

// wake has the hub look; the caller holds h.mu.
func (h *hub) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *hub) enter() (chan []byte, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.viewers) >= viewers {
		return nil, false
	}
	c := make(chan []byte, 4)
	h.viewers[c] = true
	h.wake()
	return c, true
}

func (h *hub) leave(c chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers[c] {
		delete(h.viewers, c)
		close(c)
	}
}

// take returns what moved since it was last asked.
func (h *hub) take() (moved map[uint64]bool, overflow, watched bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	moved, overflow = h.moved, h.overflow
	h.moved, h.overflow = map[uint64]bool{}, false
	return moved, overflow, len(h.viewers) > 0
}

// tell sends a message to all viewers. One that does not read, goes: its browser
// comes again and is told anew.
func (h *hub) tell(message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.viewers {
		select {
		case c <- message:
		default:
			delete(h.viewers, c)
			close(c)
		}
	}
}

// An event is what a viewer's script is told.
type event struct {
	Summary string            `json:"summary,omitempty"` // HTML
	Folders string            `json:"folders,omitempty"` // HTML
	Rows    map[string]string `json:"rows,omitempty"`    // HTML by job
	Reload  bool              `json:"reload,omitempty"`
}

// watch tells viewers of what moves until ctx is done.
func (s *Server) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hub.changed:
		}
		moved, overflow, watched := s.hub.take()
		for watched { // for as long as anybody looks
			s.tellViewers(moved, overflow)
			if !rest(ctx, beat) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-s.hub.changed:
			case <-time.After(pulse):
			}
			moved, overflow, watched = s.hub.take()
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Server) tellViewers(moved map[uint64]bool, overflow bool) {
	st, err := s.status()
	if err != nil {
		return // the next beat tries again
	}
	e := event{Summary: h.Render(summary(st)), Folders: h.Render(folders(st.Folders)), Reload: overflow}
	if !overflow && len(moved) > 0 {
		e.Rows = map[string]string{}
		holds := s.Queue.Holds()
		for id := range moved {
			j, err := s.Queue.Get(id) // what we were told may be older than this
			if err != nil {           // dropped, or forgotten
				e.Reload = true
				continue
			}
			e.Rows[fmt.Sprint(id)] = h.Render(row(control.View(j, holds)))
		}
	}
	if text, err := json.Marshal(e); err == nil {
		s.hub.tell(text)
	}
}

// events is the stream that the page's script listens to (server-sent events).
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	c, ok := s.hub.enter()
	if !ok {
		s.problem(w, r, http.StatusServiceUnavailable, &control.Problem{Code: control.CodeFailed, Message: "too many pages are open"})
		return
	}
	defer s.hub.leave(c)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	out.SetReadDeadline(time.Time{}) // else the stream would end with the time for a request
	write := func(text string) bool {
		out.SetWriteDeadline(time.Now().Add(answerTime))
		if _, err := fmt.Fprint(w, text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if !write("retry: 2000\n\n") {
		return
	}
	session := time.NewTicker(time.Minute)
	defer session.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-session.C:
			if !s.allowed(r) || !write(": still here\n\n") {
				return
			}
		case message, ok := <-c:
			if !ok || !write("data: "+string(message)+"\n\n") {
				return
			}
		}
	}
}
