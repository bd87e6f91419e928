//go:build unix

package daemon

import (
	"errors"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"unicode"

	"scandrop/queue"
)

// A trap is a service that does something to the files at a request, and keeps
// what it was sent.
type trap struct {
	answers
	at    string // operation
	do    func()
	sent  []string // contents
	names []string // under which they were sent
}

func (p *trap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := operation(r)
	if op == "upload" {
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		form := multipart.NewReader(r.Body, params["boundary"])
		for {
			part, err := form.NextRawPart()
			if err != nil {
				break
			}
			if part.FormName() == "file" {
				content, _ := io.ReadAll(part)
				p.sent, p.names = append(p.sent, string(content)), append(p.names, part.FileName())
			}
		}
	}
	if op == p.at && p.do != nil {
		p.do()
		p.do = nil
	}
	p.answers.ServeHTTP(w, r)
}

// scanQueued has the first job of a yard.
var scanQueued sync.Map

// temp is the name of the scan's temporary file, once it is queued.
func (y *yard) temp() string {
	queued, _ := scanQueued.Load(y)
	j, _ := queued.(queue.Job)
	return "scans/.scandrop-" + stageKey(j) + "-txt.tmp"
}

// Whatever is put in the place of scans, results and folders while we work,
// nothing outside the hot folder is read or changed.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	const before, queued = "before", "queued"
	must := func(y *yard, errs ...error) {
		y.Helper()
		for _, err := range errs {
			if err != nil {
				y.Error(err)
			}
		}
	}
	link := func(y *yard, to, name string) {
		y.Helper()
		must(y, os.RemoveAll(y.at(name)), os.Symlink(y.at(to), y.at(name)))
	}
	swapHot := func(y *yard) { must(y, os.Rename(y.hot, y.hot+".real"), os.Symlink(y.at("outside"), y.hot)) }
	done := []queue.State{queue.Done}

	tests := map[string]struct {
		when   string // before, queued, or at a request
		do     func(*yard)
		states []queue.State
		held   queue.Cause
		result string // "" for none
	}{
		"link in place of the scan, before it is sent": {queued, func(y *yard) { link(y, "outside/letter.gif", "scans/letter.gif") }, nil, "", ""},
		"pipe in place of the scan, before it is sent": {queued, func(y *yard) {
			must(y, os.Remove(y.at("scans/letter.gif")), syscall.Mkfifo(y.at("scans/letter.gif"), 0o600))
		}, nil, "", ""},
		"folder in place of the scan, before it is sent": {queued, func(y *yard) {
			must(y, os.Remove(y.at("scans/letter.gif")), os.Mkdir(y.at("scans/letter.gif"), 0o700))
		}, nil, "", ""},
		"link in place of the scan, before its result":       {"download", func(y *yard) { link(y, "outside/secret.txt", "scans/letter.gif") }, done, "", "letter.txt"},
		"link in place of the hot folder, before":            {before, func(y *yard) { must(y, os.Rename(y.hot, y.hot+".real"), os.Symlink(y.hot+".real", y.hot)) }, done, "", "letter.txt"},
		"link in place of the hot folder, before it is sent": {queued, swapHot, []queue.State{queue.Queued}, queue.Missing, ""},
		"link in place of the hot folder, before the result": {"status", swapHot, []queue.State{queue.Processing}, queue.Missing, ""},
		"result is a link to a file":                         {before, func(y *yard) { link(y, "outside/secret.txt", "scans/letter.txt") }, done, "", "letter.gif.txt"},
		"result is a link to nothing":                        {before, func(y *yard) { link(y, "outside/new.txt", "scans/letter.txt") }, done, "", "letter.gif.txt"},
		"result becomes a link":                              {"download", func(y *yard) { link(y, "outside/secret.txt", "scans/letter.txt") }, done, "", "letter.gif.txt"},
		"result is a folder":                                 {before, func(y *yard) { must(y, os.Mkdir(y.at("scans/letter.txt"), 0o700)) }, done, "", "letter.gif.txt"},
		"result is a pipe":                                   {before, func(y *yard) { must(y, syscall.Mkfifo(y.at("scans/letter.txt"), 0o600)) }, done, "", "letter.gif.txt"},
		"temporary file is a link":                           {"upload", func(y *yard) { link(y, "outside/secret.txt", y.temp()) }, done, "", "letter.txt"},
		"temporary file becomes a link":                      {"download", func(y *yard) { link(y, "outside/secret.txt", y.temp()) }, []queue.State{queue.Done, queue.Failed}, "", "letter.txt"},
		"temporary file is a folder":                         {"upload", func(y *yard) { y.put(y.temp()+"/x", "mine") }, []queue.State{queue.Failed}, "", ""},
		"further scans that are no files": {before, func(y *yard) {
			link(y, "outside/letter.gif", "scans/link.gif")
			link(y, "outside", "scans/linked")
			must(y, syscall.Mkfifo(y.at("scans/pipe.gif"), 0o600), os.Mkdir(y.at("scans/folder.gif"), 0o700))
			if l, err := net.Listen("unix", y.at("scans/s.gif")); err == nil { // the path may be too long for one
				l.(*net.UnixListener).SetUnlinkOnClose(false)
				l.Close()
			}
		}, done, "", "letter.txt"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What is laid when the scan is queued can come too late, when a
			// worker has it already: then once more.
			late := true
			attempt := func(t *testing.T) {
				y := newYard(t)
				p := &trap{at: tt.when}
				var kept map[string]string // once the trap has been laid
				lay := func() {
					tt.do(y)
					kept = y.files()
				}
				p.do = lay
				if tt.when == before {
					lay()
				}
				var first sync.Once
				moved := func(j queue.Job) {
					first.Do(func() {
						scanQueued.Store(y, j)
						if tt.when == queued {
							lay()
						}
					})
				}
				if tt.when == "status" {
					p.answers = answers{"download": says(202, "")}
				}
				if tt.when == "status" { // the status is asked after the third look
					first := p.do
					p.do = func() { first(); delete(p.answers, "download") }
				}
				s := y.run(p, moved)
				if kept == nil {
					t.Fatal("the trap was never laid")
				}
				if late = tt.when == queued && len(p.sent) > 0; late {
					return
				}
				var states []queue.State
				for _, j := range y.jobs() {
					states = append(states, j.State)
				}
				if len(tt.states) == 0 && len(states) > 0 || len(tt.states) > 0 && (len(states) != 1 || !strings.Contains(listOf(tt.states), string(states[0]))) {
					t.Errorf("states %v, want %v", states, tt.states)
				}
				if len(s.Held) > 0 != (tt.held != "") || len(s.Held) > 0 && s.Held[0].Cause != tt.held {
					t.Errorf("held: %v, want %q", s.Held, tt.held)
				}
				for _, content := range p.sent {
					if content != scanOf("letter") {
						t.Errorf("%q was sent", content)
					}
				}
				delete(kept, y.temp()) // its name is ours: a link there goes
				now := y.files()
				for name, content := range kept {
					if got, ok := now[name]; strings.HasPrefix(name, "outside/") && (!ok || got != content) {
						t.Errorf("%q was changed, or is gone", name)
					} else if !ok && !strings.HasPrefix(name, "scans/.scandrop") {
						t.Errorf("%q is gone", name)
					}
				}
				for name := range now {
					if _, was := kept[name]; !was && (tt.result == "" || filepath.Base(name) != tt.result) {
						t.Errorf("%q was added", name)
					}
				}
				if len(states) == 1 && states[0] == queue.Done {
					if got, _ := os.ReadFile(filepath.Join(y.hot, tt.result)); string(got) != "text" {
						t.Errorf("%s holds %q", tt.result, got)
					}
				}
			}
			for tries := 0; late && tries < 50; tries++ {
				synctest.Test(t, attempt)
			}
			if late {
				t.Error("the trap was always laid too late")
			}
		})
	}
}

func listOf(states []queue.State) string {
	var b strings.Builder
	for _, s := range states {
		b.WriteString(string(s) + " ")
	}
	return b.String()
}

// A folder below the hot folder that becomes a link leads nowhere.
func TestHostileSubfolder(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"queued", "download"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t)
				if err := os.Remove(y.at("scans/letter.gif")); err != nil {
					t.Fatal(err)
				}
				y.put("scans/sub/letter.gif", scanOf("letter"))
				var kept map[string]string
				swap := func() {
					if err := os.Rename(y.at("scans/sub"), y.at("scans/.sub")); err != nil {
						t.Error(err)
					}
					err := os.Symlink("../outside", y.at("scans/sub"))
					for errors.Is(err, fs.ErrExist) { // the daemon made the folder again
						if err = os.RemoveAll(y.at("scans/sub")); err == nil {
							err = os.Symlink("../outside", y.at("scans/sub"))
						}
					}
					if err != nil {
						t.Error(err)
					}
					kept = y.files()
				}
				p := &trap{at: when, do: swap}
				var moved func(queue.Job)
				if when == "queued" {
					var once sync.Once
					moved = func(queue.Job) { once.Do(swap) }
				}
				y.run(p, moved)
				if kept == nil {
					t.Fatal("the trap was never laid")
				}
				for _, j := range y.jobs() {
					if j.State != queue.Failed || j.Error == "" {
						t.Errorf("%+v", j)
					}
				}
				for _, content := range p.sent {
					if content != scanOf("letter") {
						t.Errorf("%q was sent", content)
					}
				}
				now := y.files()
				for name := range now {
					if _, was := kept[name]; !was && !temporary(name) {
						t.Errorf("%q was added", name)
					}
				}
				for name, content := range kept {
					if now[name] != content && !temporary(name) { // one went with its folder while it was open
						t.Errorf("%q was changed, or is gone", name)
					}
				}
			})
		})
	}
}

// Names that steer terminals, end lines, or are too long, or mean something
// elsewhere, are just names.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		names := []string{
			"two\nlines.gif", "level=ERROR msg=\"forged\"\r.gif", "\x1b[2J\x1b]0;owned\x07.gif", "\u009b31m.gif", "\u202egpj.gif",
			"not\xffutf8.gif", "-rf.gif", "--config=x.gif", "trailing .gif", "trailing..gif", "trailing.gif.", "...gif",
			"CON.gif", "nul.GIF", "COM1.gif", "lpt\u00b9.gif", "aux .gif", "a:b.gif", `back\slash.gif`, "100%s%n.gif", "$(id).gif", "`id`.gif",
			strings.Repeat("x", 251) + ".gif", strings.Repeat("\u00fc", 125) + ".gif", "<script>.gif", "\"; filename=\"x.gif", ".scandrop-9-txt.gif", "x.scandrop-1-txt.tmp",
		}
		wanted := map[string]bool{}
		for i, name := range names {
			f, err := os.Create(filepath.Join(y.hot, name))
			if err != nil {
				continue // this system has no such names
			}
			_, _ = f.WriteString(scanOf(string(rune('A' + i))))
			f.Close()
			wanted[filepath.Join(y.hot, name)] = strings.EqualFold(filepath.Ext(name), ".gif") && !strings.HasPrefix(name, ".")
		}
		before := y.files()
		id := 0
		p := &trap{}
		p.answers = answers{"upload": func(w http.ResponseWriter, r *http.Request) {
			id++
			says(201, `{"id":"d`+strings.Repeat("1", id)+`"}`)(w, r)
		}}
		y.run(serial(p), nil)
		taken := map[string]bool{}
		for _, j := range y.jobs() {
			taken[j.Path] = true
			if r, _ := j.Result("txt"); j.State != queue.Done || filepath.Dir(r.Path) != y.hot {
				t.Errorf("%q is %s: %q (%s)", j.Path, j.State, r.Path, j.Error)
			} else if got, err := os.ReadFile(r.Path); err != nil || string(got) != "text" {
				t.Errorf("%q: %q holds %q, %v", j.Path, r.Path, got, err)
			}
		}
		for path, want := range wanted {
			if taken[path] != want {
				t.Errorf("%q: taken %t, want %t", path, taken[path], want)
			}
		}
		for _, name := range p.names {
			if len(name) > 200 || strings.ContainsAny(name, `/\:*?"<>|;%`) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("sent under the name %q", name)
			}
		}
		for name, content := range before {
			if y.files()[name] != content {
				t.Errorf("%q was changed", name)
			}
		}
	})
}

// serial lets one request in at a time.
func serial(h http.Handler) http.Handler {
	turn := make(chan struct{}, 1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		defer func() { <-turn }()
		h.ServeHTTP(w, r)
	})
}

// Folders that are deeper than a path may be long hold up nothing else.
func TestHostileDepth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		root, err := os.OpenRoot(y.hot)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		deep := ""
		for range 100 {
			deep = filepath.Join(deep, strings.Repeat("d", 50))
			if err := root.Mkdir(deep, 0o700); err != nil {
				t.Fatal(err)
			}
			if f, err := root.Create(filepath.Join(deep, "letter.gif")); err != nil {
				t.Fatal(err)
			} else {
				_, _ = f.WriteString(scanOf("letter")) // the same content: it is sent once
				f.Close()
			}
		}
		p := &trap{}
		y.run(serial(p), nil)
		n := 0
		for _, j := range y.jobs() {
			if n++; j.State != queue.Done {
				t.Errorf("%q is %s: %s", j.Path, j.State, j.Error)
			}
		}
		if n < 50 || len(p.sent) != 1 || !strings.Contains(y.log.String(), "cannot be read") {
			t.Errorf("%d jobs, %d uploads", n, len(p.sent))
		}
	})
}

func temporary(name string) bool {
	return strings.HasPrefix(filepath.Base(name), ".scandrop-") && strings.HasSuffix(name, ".tmp")
}
