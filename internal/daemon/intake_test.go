package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// locked is the PDF with a password.
func locked(t *testing.T, pdf string) string {
	t.Helper()
	api.DisableConfigDir()
	var b bytes.Buffer
	if err := api.Encrypt(strings.NewReader(pdf), &b, model.NewAESConfiguration("secret", "other", 256)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pdfOf is a PDF of so many empty pages that says something of its own.
func pdfOf(text string, pages int) string {
	var b strings.Builder
	var at []int
	object := func(s string) {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", len(at), s)
	}
	fmt.Fprintf(&b, "%%PDF-1.4\n%% %s\n", text)
	object("<< /Type /Catalog /Pages 2 0 R >>")
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", i+3)
	}
	object(fmt.Sprintf("<< /Type /Pages /Kids [ %s] /Count %d >>", kids, pages))
	for range pages {
		object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 99 99] >>")
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, start)
	return b.String()
}

// A house is a hot folder, a service, and what runs between them, in a bubble.
type house struct {
	*testing.T
	yard *yard
	box  *sandbox.Sandbox
	log  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// newHouse has one hot folder, of which keys says more, and top more of the rest.
func newHouse(t *testing.T, keys, top string) *house {
	h := &house{T: t, yard: &yard{T: t, dir: t.TempDir()}, box: sandbox.New(sandbox.Options{})}
	h.yard.hot = filepath.Join(h.yard.dir, "scans")
	if err := os.Mkdir(h.yard.hot, 0o755); err != nil {
		t.Fatal(err)
	}
	h.configure(keys, top)
	t.Cleanup(func() { h.box.Close() })
	return h
}

func (h *house) configure(keys, top string) {
	h.yard.put("c.yaml", fmt.Sprintf(`
api: {url: "http://127.0.0.1:1/api/v2", token: t, rate: 1000, burst: 1000}
state: state
status: {listen: ""}
%s
folders:
- path: scans
  watch: poll
  quiet: 1s
  rescan: 10s
%s
`, top, keys))
}

func (h *house) options(once bool) Options {
	h.Helper()
	c, err := config.Load(h.yard.at("c.yaml"), config.Environment{})
	if err != nil {
		h.Fatal(err)
	}
	return Options{Config: c, Once: once, Version: "test", Transport: h.box.RoundTripper(), Log: slog.New(slog.NewTextHandler(&h.log, nil))}
}

// once runs the daemon to its end.
func (h *house) once() Summary {
	h.Helper()
	s, err := Run(h.Context(), h.options(true))
	if err != nil {
		h.Fatal(err)
	}
	return s
}

// start starts the daemon; the function that it returns ends it.
func (h *house) start() (stop func()) {
	h.Helper()
	ctx, cancel := context.WithCancel(h.Context())
	ended := make(chan error, 1)
	o := h.options(false)
	go func() {
		_, err := Run(ctx, o)
		ended <- err
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			h.Error(err)
		}
	}
}

func (h *house) read(name string) string {
	h.Helper()
	text, err := os.ReadFile(h.yard.at(name))
	if err != nil {
		h.Fatal(err)
	}
	return string(text)
}

func (h *house) wantGone(names ...string) {
	h.Helper()
	for _, name := range names {
		if _, err := os.Lstat(h.yard.at(name)); err == nil {
			h.Errorf("%s is there", name)
		}
	}
}

// states lists the jobs' states by the names of their scans, oldest first.
func (h *house) states() map[string][]queue.Job {
	h.Helper()
	q, err := OpenQueue(h.options(true).Config, Opening{})
	if err != nil {
		h.Fatal(err)
	}
	defer q.Close()
	jobs := map[string][]queue.Job{}
	for j, err := range q.All(queue.Filter{}) {
		if err != nil {
			h.Fatal(err)
		}
		rel, _ := filepath.Rel(h.yard.dir, j.Path)
		name := filepath.ToSlash(rel)
		jobs[name] = append([]queue.Job{j}, jobs[name]...)
	}
	return jobs
}

func (h *house) wantJob(name string, state queue.State, words ...string) queue.Job {
	h.Helper()
	all := h.states()[name]
	if len(all) == 0 {
		h.Fatalf("there is no job of %s", name)
	}
	j := all[len(all)-1]
	if j.State != state {
		h.Errorf("%s is %s (%s), want %s", name, j.State, j.Error, state)
	}
	for _, w := range words {
		if !strings.Contains(j.Error, w) {
			h.Errorf("%s: %q does not say %q", name, j.Error, w)
		}
	}
	return j
}

// uploads lists what arrived, by digest.
func (h *house) uploads() int { return h.box.Stats().Uploads }

// Pages are counted before anything is sent, and what would be paid in vain is
// rejected.
func TestIntakeLooksFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  limits: {pages_per_scan: 5, pages_per_day: 8}", "workers: 1")
		h.yard.put("scans/a.pdf", pdfOf("a", 5))
		h.yard.put("scans/big.pdf", pdfOf("big", 6))
		h.yard.put("scans/b.pdf", pdfOf("b", 3))
		h.yard.put("scans/c.gif", scanOf("c"))
		h.yard.put("scans/locked.pdf", locked(t, pdfOf("locked", 1)))
		s := h.once()
		h.wantJob("scans/big.pdf", queue.Rejected, "6 pages", "pages_per_scan", "allows 5")
		h.wantJob("scans/locked.pdf", queue.Rejected, "encrypted")
		if j := h.wantJob("scans/a.pdf", queue.Done); j.Counted != 5 {
			t.Errorf("%d pages were counted, want 5", j.Counted)
		}
		h.wantJob("scans/b.pdf", queue.Done)
		h.wantJob("scans/c.gif", queue.Queued)
		if len(s.Held) != 1 || s.Held[0].Key() != "limit:"+h.yard.hot || s.Unfinished != 1 || h.uploads() != 2 {
			t.Errorf("%+v, %d uploads", s, h.uploads())
		}

		// The next day it goes on by itself.
		stop := h.start()
		time.Sleep(25 * time.Hour)
		stop()
		h.wantJob("scans/c.gif", queue.Done)
		if s := h.once(); len(s.Held) > 0 {
			t.Errorf("held is %v", s.Held)
		}
	})
}

// A name that comes back while its scan waits, while it is on the wire, and
// after it is done.
func TestNamesThatComeBack(t *testing.T) {
	for _, spool := range []bool{false, true} {
		t.Run(fmt.Sprint("spool ", spool), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, fmt.Sprintf("  spool: %v", spool), "")
				zero := 0
				h.box.SetCredits(&zero)
				stop := h.start()
				defer func() { stop() }()
				var contents []string
				for i := range 3 { // while nothing can be sent
					contents = append(contents, scanOf(fmt.Sprint("page ", i)))
					h.yard.put("scans/SCN_0001.gif", contents[i])
					time.Sleep(30 * time.Second)
				}
				h.box.SetCredits(nil)
				time.Sleep(2 * time.Hour)
				contents = append(contents, scanOf("page 3"))
				h.yard.put("scans/SCN_0001.gif", contents[3]) // after it is done
				time.Sleep(time.Minute)
				stop()
				stop = func() {}

				jobs := h.states()["scans/SCN_0001.gif"]
				want := []string{contents[2], contents[3]}
				if spool {
					want = contents
				}
				var got []string
				for _, j := range jobs {
					if j.State != queue.Done {
						t.Errorf("job %d is %s: %s", j.ID, j.State, j.Error)
					}
					i := slices.IndexFunc(contents, func(c string) bool { return j.Content == sha256.Sum256([]byte(c)) })
					got = append(got, contents[i])
				}
				if !slices.Equal(got, want) || h.uploads() != len(want) {
					t.Errorf("done are %q with %d uploads, want %q", got, h.uploads(), want)
				}
				if spool {
					for _, name := range []string{"scans/SCN_0001.txt", "scans/SCN_0001.gif.txt", "scans/SCN_0001.gif (2).txt", "scans/SCN_0001.gif (3).txt"} {
						h.read(name)
					}
					left, err := os.ReadDir(h.yard.at("state/spool"))
					if err != nil || len(left) > 0 {
						t.Errorf("all is done, and the spool holds %v, %v", left, err)
					}
				} else if log := h.log.String(); strings.Count(log, "job replaces one that was not sent yet")+strings.Count(log, "scan changed before it was sent, the new one will be taken") != 2 {
					t.Errorf("the log does not say that the first two were replaced:\n%s", log)
				}
			})
		})
	}
}

// What is sent from the spool does not depend on what becomes of the file.
func TestSpoolWhileOnTheWire(t *testing.T) {
	for _, spool := range []bool{false, true} {
		t.Run(fmt.Sprint("spool ", spool), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, fmt.Sprintf("  spool: %v", spool), "")
				first, second := scanOf("first"), scanOf("other")
				h.yard.put("scans/a.gif", first)
				o := h.options(true)
				var once sync.Once
				o.Moved = func(j queue.Job) {
					if j.State == queue.Uploading { // recorded, and nothing of it is on the wire
						once.Do(func() {
							if err := os.WriteFile(h.yard.at("scans/a.gif"), []byte(second), 0o600); err != nil {
								t.Error(err)
							}
						})
					}
				}
				if _, err := Run(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				h.once()
				want := map[bool]int{false: 1, true: 2}[spool]
				if h.uploads() != want {
					t.Errorf("%d uploads were accepted, want %d", h.uploads(), want)
				}
				h.wantJob("scans/a.gif", queue.Done)
				if got := len(h.states()["scans/a.gif"]); got != want {
					t.Errorf("%d jobs, want %d", got, want)
				}
			})
		})
	}
}

// A crash at any moment leaves no copy behind for ever, and loses none.
func TestSpoolIsTidied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  spool: true", "")
		zero := 0
		h.box.SetCredits(&zero)
		h.yard.put("scans/a.gif", scanOf("a"))
		h.once()
		h.yard.put("state/spool/"+strings.Repeat("ab", 32)+".gif", "of no job")
		h.yard.put("state/spool/"+spoolTemp+"1", "half")
		if err := os.Remove(h.yard.at("scans/a.gif")); err != nil {
			t.Fatal(err)
		}
		h.box.SetCredits(nil)
		h.once()
		h.wantJob("scans/a.gif", queue.Done) // the only copy was ours
		if left, err := os.ReadDir(h.yard.at("state/spool")); err != nil || len(left) > 0 {
			t.Errorf("the spool holds %v, %v", left, err)
		}
	})
}

// A scan that is done and whose time alone changes leaves no copy behind while the
// daemon runs; of one that waits the copy stays.
func TestSpoolOfTouchedScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  spool: true", "")
		h.yard.put("scans/a.gif", scanOf("a"))
		stop := h.start()
		defer stop()
		touch := func(name string) {
			time.Sleep(time.Minute)
			if err := os.Chtimes(h.yard.at(name), time.Time{}, time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		copies := func(want int) {
			t.Helper()
			if left, err := os.ReadDir(h.yard.at("state/spool")); err != nil || len(left) != want {
				t.Errorf("the spool holds %v, %v; want %d copies", left, err, want)
			}
		}
		touch("scans/a.gif")
		copies(0)
		zero := 0
		h.box.SetCredits(&zero)
		h.yard.put("scans/b.gif", scanOf("b"))
		touch("scans/b.gif")
		copies(1)
	})
}

// A profile changes what is wanted of the scans below it; one that cannot be
// understood holds them alone.
func TestProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "", "")
		h.yard.put("scans/.scandrop.yaml", "formats: [txt, docx]\n")
		h.yard.put("scans/forms/.scandrop.yaml", "action: tables\nprompt_id: p1\n")
		h.yard.put("scans/forms/2024/.scandrop.yaml", "formats: [json]\n")
		h.yard.put("scans/bad/.scandrop.yaml", "originals: {done: /etc}\nacton: tables\n")
		for _, name := range []string{"a", "forms/b", "forms/2024/c", "bad/d", "bad/deeper/e"} {
			h.yard.put("scans/"+name+".gif", scanOf(name))
		}
		stop := h.start()
		defer func() { stop() }()
		time.Sleep(time.Minute)
		for _, name := range []string{"a.txt", "a.docx", "forms/b.xlsx", "forms/2024/c.json"} {
			h.read("scans/" + name)
		}
		h.wantGone("scans/forms/b.txt", "scans/forms/2024/c.xlsx", "scans/bad/d.txt", "scans/bad/deeper/e.txt")
		stop()
		h.wantJob("scans/bad/d.gif", queue.Queued, ".scandrop.yaml:1: originals", ".scandrop.yaml:2: acton", "did you mean \"action\"")
		if s := h.once(); len(s.Held) != 1 || s.Held[0].Key() != "profile:"+h.yard.at("scans/bad") || s.Unfinished != 2 || h.uploads() != 3 {
			t.Errorf("%+v, %d uploads", s, h.uploads())
		}

		stop = h.start()
		time.Sleep(time.Minute)
		h.yard.put("scans/bad/.scandrop.yaml", "formats: [json]\n")
		time.Sleep(2 * time.Minute)
		h.read("scans/bad/d.json")
		h.read("scans/bad/deeper/e.json")
		stop()
		stop = func() {}
		if s := h.once(); len(s.Held) > 0 || s.Unfinished > 0 {
			t.Errorf("it is mended: %+v", s)
		}
	})
}

// A profile that changes reaches the scans that wait, also those of an earlier run.
func TestProfileReachesWaitingScans(t *testing.T) {
	for _, restarts := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d restarts", restarts), func(t *testing.T) { profileReachesWaitingScans(t, restarts) })
	}
}

func profileReachesWaitingScans(t *testing.T, restarts int) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "", "")
		zero := 0
		h.box.SetCredits(&zero)
		h.yard.put("scans/x/a.gif", scanOf("a"))
		h.yard.put("scans/b.gif", scanOf("b"))
		stop := h.start()
		time.Sleep(time.Minute)
		for range restarts {
			stop()
			stop = h.start()
			time.Sleep(time.Minute)
		}
		h.yard.put("scans/x/.scandrop.yaml", "action: tables\n")
		time.Sleep(time.Minute)
		h.box.SetCredits(nil)
		time.Sleep(2 * time.Hour)
		stop()
		h.read("scans/x/a.xlsx")
		h.read("scans/b.txt")
		h.wantGone("scans/x/a.txt", "scans/b.xlsx")
		h.once() // and a restart drops nobody's profile
		if h.uploads() != 2 {
			t.Errorf("%d uploads", h.uploads())
		}
	})
}

// What a profile was when the waiting jobs were told of it is not forgotten for who reads
// it later: that it has changed since can still be told.
func TestStamps(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", config.ProfileName)
	s := &stamps{of: map[string]stamp{}}
	s.note(path)
	if s.changed(dir) {
		t.Error("it has changed before anything happened")
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("formats: [json]"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.note(path) // by who looks into a new scan
	if !s.changed(dir) || s.changed(filepath.Join(dir, "other")) {
		t.Error("it has not changed here, or elsewhere")
	}
	s.forget(dir)
	s.note(path)
	if s.changed(dir) {
		t.Error("it has changed since the jobs were told")
	}
}

// Notes lie beside scans that failed, as long as that is so.
func TestFailureNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  failure_notes: true", "")
		h.yard.put("scans/a.gif", "")
		h.yard.put("scans/b.gif", "")
		h.yard.put("scans/c.gif", "")
		h.yard.put("scans/d.gif", "")
		h.yard.put("scans/d.gif.scandrop.txt", "a stranger's")
		h.yard.put("scans/e.gif", "")
		h.yard.put("scans/good.gif", scanOf("good"))
		h.once()
		note := h.read("scans/a.gif.scandrop.txt")
		j := h.wantJob("scans/a.gif", queue.Rejected)
		for _, w := range []string{"a.gif was rejected", "it is empty", fmt.Sprint("scandrop queue retry ", j.ID)} {
			if !strings.Contains(note, w) {
				t.Errorf("the note %q does not say %q", note, w)
			}
		}
		h.wantGone("scans/good.gif.scandrop.txt")

		h.yard.put("scans/a.gif", scanOf("a now")) // replaced by a good one
		if err := os.Remove(h.yard.at("scans/b.gif")); err != nil {
			t.Fatal(err)
		}
		h.yard.put("scans/e.gif.scandrop.txt", "edited")
		h.once()
		h.wantGone("scans/a.gif.scandrop.txt", "scans/b.gif.scandrop.txt")
		h.read("scans/a.txt")
		h.read("scans/c.gif.scandrop.txt")
		if got := h.read("scans/d.gif.scandrop.txt"); got != "a stranger's" {
			t.Errorf("a stranger's file says %q", got)
		}
		if got := h.read("scans/e.gif.scandrop.txt"); got != "edited" {
			t.Errorf("an edited note says %q", got)
		}

		// By hand, while nothing runs.
		q, err := OpenQueue(h.options(true).Config, Opening{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Forget(h.wantJobIn(q, "scans/c.gif").ID); err != nil {
			t.Fatal(err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		h.once()
		h.wantGone("scans/c.gif.scandrop.txt")
	})
}

// A note that cannot be written is written later, by this process or the next.
func TestFailureNotesAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  failure_notes: true", "")
		const note = "scans/a.gif.scandrop.txt"
		sum := sha256.Sum256([]byte("a.gif.scandrop.txt"))
		inTheWay := fmt.Sprintf("scans/.scandrop-note-%x.tmp", sum[:8]) // where it is written before it has its name
		h.yard.put(inTheWay+"/x", "")
		h.yard.put("scans/a.gif", "")
		stop := h.start()
		time.Sleep(time.Minute)
		h.wantGone(note)
		if err := os.RemoveAll(h.yard.at(inTheWay)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.read(note)
		stop()

		if err := os.Remove(h.yard.at(note)); err != nil { // as if it had been killed before it wrote it
			t.Fatal(err)
		}
		h.once()
		h.read(note)
	})
}

func (h *house) wantJobIn(q *queue.Queue, name string) queue.Job {
	h.Helper()
	j, err := q.ByPath(h.yard.at(name))
	if err != nil {
		h.Fatal(err)
	}
	return j
}

// Notes follow their scans into the folder of those that failed.
func TestFailureNotesOfMovedOriginals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "  failure_notes: true\n  originals: {failed: failed}", "")
		h.yard.put("scans/a.gif", "")
		h.once()
		h.read("failed/a.gif")
		h.read("failed/a.gif.scandrop.txt")
		h.wantGone("scans/a.gif", "scans/a.gif.scandrop.txt")
	})
}
