package watcher

import (
	"container/heap"
	"crypto/sha256"
	"io/fs"
	"time"
)

// A candidate is a file that is not known and may still be changing.
type candidate struct {
	path  string
	size  int64
	mod   time.Time
	first time.Time // when it was first seen, of whatever size and time
	since time.Time // when it was first seen of this size and time
	due   time.Time // when to look at it again

	made, written bool // what events said of it
	unannounced   bool // no event has, though they were asked for

	paused  time.Duration // its longest pause, after which it grew
	reading time.Duration // how long it took to read it, lately

	failing time.Time         // since when it cannot be read; zero if it can, or was not tried
	told    bool              // that it does not settle was logged
	file    *File             // set once it has settled and was read
	head    [sha256.Size]byte // digest of its first bytes, when file is set

	index int // in the heap
}

// settling holds the candidates of a folder. Looking is up to its user: it says when
// to look, and starts anew for a file that does not look as before.
type settling struct {
	byPath map[string]*candidate
	byDue  dueHeap
}

func newSettling() *settling {
	return &settling{byPath: make(map[string]*candidate)}
}

// has reports whether the file at path is a candidate that still looks like this.
func (s *settling) has(path string, info fs.FileInfo) bool {
	c := s.byPath[path]
	return c != nil && same(info, c.size, c.mod)
}

// see tells how the file at path looks now. If it looks new, it is to be looked at
// again when it has been still for the given time. The candidate is returned.
func (s *settling) see(path string, info fs.FileInfo, still time.Duration) *candidate {
	c := s.byPath[path]
	if c != nil && same(info, c.size, c.mod) {
		return c
	}
	now := time.Now()
	if c == nil {
		c = &candidate{path: path, first: now}
	}
	c.size, c.mod, c.since = info.Size(), info.ModTime(), now
	c.failing, c.file = time.Time{}, nil
	s.put(c, now.Add(still))
	return c
}

// stir says that c was written to, though it looks as before.
func (s *settling) stir(c *candidate, still time.Duration) {
	now := time.Now()
	c.since, c.failing, c.file = now, time.Time{}, nil
	s.put(c, now.Add(still))
}

// next returns when to look at a candidate, and false if there is none.
func (s *settling) next() (due time.Time, ok bool) {
	if len(s.byDue) == 0 {
		return time.Time{}, false
	}
	return s.byDue[0].due, true
}

// dueNow returns the candidate that has been due for longest; nil if none is. It stays
// due until it is put off, seen with a new look, or dropped.
func (s *settling) dueNow() *candidate {
	if len(s.byDue) == 0 || s.byDue[0].due.After(time.Now()) {
		return nil
	}
	return s.byDue[0]
}

// put adds c, or puts it off if it is there.
func (s *settling) put(c *candidate, due time.Time) {
	c.due = due
	if s.byPath[c.path] == c {
		heap.Fix(&s.byDue, c.index)
		return
	}
	s.byPath[c.path] = c
	heap.Push(&s.byDue, c)
}

// drop forgets the file at path, if it is a candidate.
func (s *settling) drop(path string) {
	if c := s.byPath[path]; c != nil {
		heap.Remove(&s.byDue, c.index)
		delete(s.byPath, path)
	}
}

// dueHeap is a [heap.Interface], the earliest first. Files seen at the same moment
// come in the order of their names: scanners number pages.
type dueHeap []*candidate

func (h dueHeap) Len() int { return len(h) }

func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].path < h[j].path
	}
	return h[i].due.Before(h[j].due)
}

func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *dueHeap) Push(x any) {
	c := x.(*candidate)
	c.index = len(*h)
	*h = append(*h, c)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return c
}
