//go:build unix

package daemon

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
	"scandrop/uploader"
)

// A book is a TIFF of some pages, of which two can be sent at a time. Each page says
// which it is.
const (
	leaf        = 700 // bytes of a page's picture
	largestPart = 2000
	mostLeaves  = 6
)

func leaves(n int) int { return 2 + n%(mostLeaves-1) }

// pages is how many pages the content has.
func (c *content) pages() int {
	if c != nil && c.kind == "book" {
		return leaves(c.n)
	}
	return 1
}

// documents is how many it is sent as.
func (c *content) documents() int { return (c.pages() + 1) / 2 }

func book(n int) string {
	var b []byte
	put := func(size int, v int) {
		var w [4]byte
		binary.LittleEndian.PutUint32(w[:], uint32(v))
		b = append(b, w[:size]...)
	}
	b = append(b, "II*\x00"...)
	put(4, 8)
	for page := range leaves(n) {
		text := fmt.Sprintf("book %d page %d of %d;", n, page+1, leaves(n))
		fields := [][3]int{ // tag, type, value
			{256, 4, 8 * leaf}, {257, 4, 1}, {258, 3, 1}, {259, 3, 1}, {262, 3, 1},
			{273, 4, len(b) + 2 + 8*12 + 4}, {278, 4, 1}, {279, 4, leaf},
		}
		put(2, len(fields))
		for _, f := range fields {
			put(2, f[0])
			put(2, f[1])
			put(4, 1)
			put(4, f[2])
		}
		if page == leaves(n)-1 {
			put(4, 0)
		} else {
			put(4, len(b)+4+leaf)
		}
		b = append(b, text+strings.Repeat(".", leaf-len(text))...)
	}
	return string(b)
}

var onPage = regexp.MustCompile(`book (\d+) page (\d+) of \d+;`)

// readBook reads a book, or a part of one.
func (s *simulation) readBook(scan sandbox.Scan) (r sandbox.Reading, err error) {
	content, err := io.ReadAll(scan.Content)
	if err != nil {
		return r, err
	}
	whole := ""
	for _, m := range onPage.FindAllSubmatch(content, -1) {
		n, _ := strconv.Atoi(string(m[1]))
		page, _ := strconv.Atoi(string(m[2]))
		whole = digestOf(book(n))
		r.Pages = append(r.Pages, readOf(page, leaves(n), whole))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.settled[scan.Digest]; c == nil { // it is not sent whole
		s.parts[scan.Digest] = whole
	}
	return r, nil
}

// gatedParts is the uploader's way to divide scans, with places to be killed at
// around everything that it does.
type gatedParts struct {
	gated
	parts uploader.Parts
}

func (g gatedParts) Divide(ctx context.Context, j queue.Job, scan io.Reader) ([]queue.Part, error) {
	if err := g.enter("divide"); err != nil {
		return nil, err
	}
	defer g.leave("divided")
	return g.parts.Divide(ctx, j, scan)
}

func (g gatedParts) Open(j queue.Job) (io.ReadCloser, error) {
	if err := g.enter("open part"); err != nil {
		return nil, err
	}
	defer g.leave("part opened")
	return g.parts.Open(j)
}

func (g gatedParts) Has(j queue.Job, n int, format string) (bool, error) {
	if err := g.enter("has part"); err != nil {
		return false, err
	}
	defer g.leave("has part seen")
	return g.parts.Has(j, n, format)
}

func (g gatedParts) Write(j queue.Job, n int, format string, fill func(hwocr.File) error) error {
	if err := g.enter("write part"); err != nil {
		return err
	}
	defer g.leave("part written")
	return g.parts.Write(j, n, format, func(into hwocr.File) error {
		g.in.gate.RUnlock()
		g.in.point("part staged")
		err := fill(tapped{into, g.in})
		g.in.point("part filled")
		g.in.gate.RLock()
		if g.in.dead {
			return errKilled
		}
		return err
	})
}

func (g gatedParts) Join(j queue.Job, format string, into io.Writer) error {
	g.in.point("join")
	defer g.in.point("joined")
	return g.parts.Join(j, format, into)
}

func (g gatedParts) Clear(j queue.Job) error {
	if err := g.enter("clear parts"); err != nil {
		return err
	}
	defer g.leave("parts cleared")
	return g.parts.Clear(j)
}

// TestSimulationForgotten: of a scan that is not to be sent any more nothing stays in
// the state folder, whether it was changed, replaced or forgotten.
func TestSimulationForgotten(t *testing.T) {
	busy := step{do: "outage", path: "upload", to: "429", d: time.Hour}
	for _, tt := range []struct {
		name   string
		before step // nothing was sent before its time is over
		do     func(t *testing.T, s *simulation)
	}{
		{"replaced", busy, func(_ *testing.T, s *simulation) {
			s.take(step{do: "drop book", path: "a/book.tif", n: 2})
		}},
		{"removed", busy, func(_ *testing.T, s *simulation) { s.take(step{do: "remove", path: "a/book.tif"}) }},
		{"forgotten", busy, func(t *testing.T, s *simulation) {
			for _, path := range []string{"a/book.tif", "c/letter.gif"} {
				j, err := s.queue().ByPath(s.at(path))
				if err == nil {
					_, err = s.queue().Cancel(j.ID)
				}
				s.pass(time.Now().Add(2 * time.Minute)) // until nobody has it
				if err == nil {
					j, err = s.queue().Forget(j.ID)
				}
				if err != nil {
					t.Error(err)
				}
				s.in.daemon.moved(j) // as the page does
				s.take(step{do: "remove", path: path})
			}
		}},
		{"changed as it is divided", step{do: "no token", d: time.Hour}, func(t *testing.T, s *simulation) {
			if book(1) == book(6) || len(book(1)) != len(book(6)) {
				t.Error("the change shows before the scan is read")
			}
			s.take(step{do: "drop book", path: "a/book.tif", n: 6})
			s.box.SetToken(goodToken)
			s.queue().ProbeNow("token")
			s.pass(time.Now().Add(time.Second))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stepByStep(t, plan{
				seed: 1, rescan: time.Minute, formats: "[txt]", workers: 1,
				work: func(sandbox.Document) time.Duration { return time.Second },
			}, func(t *testing.T, s *simulation, began time.Time) {
				s.take(tt.before)
				s.take(step{do: "drop", path: "c/letter.gif", n: 1}) // finds that out
				s.pass(began.Add(90 * time.Second))
				s.take(step{do: "drop book", path: "a/book.tif", n: 1})
				s.pass(began.Add(150 * time.Second))
				if entries, _ := os.ReadDir(filepath.Join(s.state, partsFolder)); len(entries) != 1 && tt.before == busy {
					t.Errorf("%d scans are divided, want one", len(entries))
				}
				tt.do(t, s)
				s.pass(began.Add(10 * time.Minute))
				s.finish()
				s.checkEnd()
				for _, broken := range s.end().broken {
					t.Error(broken)
				}
			})
		})
	}
}

// TestSimulationCopies: what was copied is sent, whatever becomes of the file: others of
// its name come while none can be sent, and it is taken away.
func TestSimulationCopies(t *testing.T) {
	stepByStep(t, plan{
		seed: 1, rescan: time.Minute, formats: "[txt]", workers: 2,
		work: func(sandbox.Document) time.Duration { return time.Second },
	}, func(t *testing.T, s *simulation, began time.Time) {
		s.outages = []outage{{"upload", "429", began.Add(time.Hour)}}
		const scans = 6
		for n := range scans {
			kind := "drop"
			if n%2 > 0 {
				kind = "drop book"
			}
			s.take(step{do: kind, path: "c/letter.tif", n: 1 + n})
			s.pass(time.Now().Add(2 * time.Minute))
			if n == scans/2 {
				s.take(step{do: "kill"})
				s.pass(time.Now().Add(time.Minute))
			}
		}
		s.take(step{do: "remove", path: "c/letter.tif"})
		s.finish()
		s.checkEnd()
		f := s.end()
		if f.done != scans {
			t.Errorf("%d of %d scans are done", f.done, scans)
		}
		for _, broken := range f.broken {
			t.Error(broken)
		}
	})
}
