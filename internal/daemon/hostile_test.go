package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

const hostileToken = "s3cr3t-t0k3n"

// A wire carries HTTP between a client and a server inside a bubble.
type wire struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error   { w.once.Do(func() { close(w.done) }); return nil }
func (w *wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire"} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case w.conns <- server:
		return client, nil
	case <-w.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve returns a transport to the handler, with all that a real one does.
func serve(t *testing.T, handler http.Handler) *http.Transport {
	w := &wire{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Serve(w) }()
	transport, err := hwocr.NewTransport(hwocr.TransportConfig{})
	if err != nil {
		t.Fatal(err)
	}
	transport.DialContext, transport.Proxy = w.dial, nil
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		<-ended
	})
	return transport
}

// An operation of the API, by its request.
func operation(r *http.Request) string {
	switch {
	case r.Method == http.MethodPost:
		return "upload"
	case r.Method == http.MethodDelete:
		return "delete"
	case strings.HasSuffix(r.URL.Path, "/documents"):
		return "list"
	case path.Ext(r.URL.Path) != "":
		return "download"
	}
	return "status"
}

// answers are what a service answers, by operation; what is missing is
// answered as documented.
type answers map[string]http.HandlerFunc

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := operation(r)
	if op == "upload" {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	if f := a[op]; f != nil {
		f(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch op {
	case "upload":
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"id":"doc1","status":"queued"}`)
	case "status":
		fmt.Fprint(w, `{"id":"doc1","status":"processed"}`)
	case "list":
		fmt.Fprint(w, `{"data":[],"last_page":1,"total":0}`)
	case "delete":
		w.WriteHeader(http.StatusNoContent)
	case "download":
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "text")
	}
}

// says answers with a status and a body; header is a list of names and values.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// pours answers without end.
func pours(status int, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		chunk := bytes.Repeat([]byte(" "), 64<<10)
		for range 10 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
}

// drips answers with a byte a minute.
func drips(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		for {
			if _, err := w.Write([]byte(" ")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-time.After(time.Minute):
			case <-r.Context().Done():
				return
			}
		}
	}
}

// hangs up without an answer.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// A yard is a hot folder among things that are not to be touched.
type yard struct {
	*testing.T
	dir, hot string
	log      bytes.Buffer
}

func newYard(t *testing.T) *yard {
	y := &yard{T: t, dir: t.TempDir()}
	y.hot = filepath.Join(y.dir, "scans")
	y.put("scans/letter.gif", scanOf("letter"))
	y.put("scans/notes.md", "mine")
	y.put("outside/secret.txt", "mine")
	y.put("outside/letter.gif", scanOf("not dropped"))
	y.put("c.yaml", fmt.Sprintf(`
api: {url: "http://127.0.0.1:1/api/v2", token: %s, rate: 1000, burst: 1000}
state: state
folders:
- path: scans
  quiet: 1s
`, hostileToken))
	return y
}

// scanOf is a GIF without a picture that says something of its own.
func scanOf(text string) string {
	return "GIF89a\x01\x00\x01\x00\x00\x00\x00!\xfe" + string(rune(len(text))) + text + "\x00;"
}

func (y *yard) at(name string) string { return filepath.Join(y.dir, filepath.FromSlash(name)) }

func (y *yard) put(name, content string) {
	y.Helper()
	if err := os.MkdirAll(filepath.Dir(y.at(name)), 0o755); err != nil {
		y.Fatal(err)
	}
	if err := os.WriteFile(y.at(name), []byte(content), 0o600); err != nil {
		y.Fatal(err)
	}
}

// run runs the daemon once, to its end.
func (y *yard) run(handler http.Handler, moved func(queue.Job)) Summary {
	y.Helper()
	c, err := config.Load(y.at("c.yaml"), config.Environment{})
	if err != nil {
		y.Fatal(err)
	}
	s, err := Run(y.Context(), Options{
		Config: c, Once: true, Version: "test", Transport: serve(y.T, handler), Moved: moved,
		Log: slog.New(slog.NewTextHandler(&y.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		y.Fatal(err)
	}
	return s
}

// files lists what is there beside the state and the configuration, with what
// it holds.
func (y *yard) files() map[string]string {
	y.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(y.dir, func(at string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(y.dir, at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != y.dir: // likewise
			return nil
		case err != nil:
			return err
		case rel == "state":
			return filepath.SkipDir
		case e.IsDir(), rel == "c.yaml":
		case !e.Type().IsRegular():
			files[filepath.ToSlash(rel)] = "->"
		default:
			content, err := os.ReadFile(at)
			if errors.Is(err, fs.ErrNotExist) { // a temporary file that has gone meanwhile
				return nil
			}
			files[filepath.ToSlash(rel)] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		y.Fatal(err)
	}
	return files
}

// wantFiles compares what is there now with what was there before, and with
// what was to be added, by name.
func (y *yard) wantFiles(before map[string]string, added ...string) {
	y.Helper()
	now := y.files()
	for name, content := range before {
		if got, ok := now[name]; !ok || got != content {
			y.Errorf("%q was changed, or is gone", name)
		}
	}
	for name := range now {
		if _, was := before[name]; !was && !slices.Contains(added, name) {
			y.Errorf("%q was added", name)
		}
	}
	for _, name := range added {
		if _, ok := now[name]; !ok {
			y.Errorf("%q is missing", name)
		}
	}
}

// jobs returns all jobs, and looks at every word that is kept of them: one
// plain line each, of bearable length, without the token.
func (y *yard) jobs() []queue.Job {
	y.Helper()
	c, err := config.Load(y.at("c.yaml"), config.Environment{})
	if err != nil {
		y.Fatal(err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		y.Fatal(err)
	}
	defer q.Close()
	var jobs []queue.Job
	for j, err := range q.All(queue.Filter{}) {
		if err != nil {
			y.Fatal(err)
		}
		jobs = append(jobs, j)
		y.wantPlain(j.Error)
		story, err := q.Story(j.ID)
		if err != nil {
			y.Fatal(err)
		}
		for _, e := range story {
			y.wantPlain(e.Note)
		}
		record, err := json.Marshal(j)
		if err != nil || len(record) > 64<<10 {
			y.Errorf("a record of %d bytes, %v", len(record), err)
		}
	}
	for _, h := range q.Holds() {
		y.wantPlain(h.Reason)
	}
	for line := range strings.Lines(y.log.String()) {
		y.wantPlain(strings.TrimSuffix(line, "\n"))
	}
	return jobs
}

func (y *yard) wantPlain(s string) {
	y.Helper()
	if len(s) > 9000 || strings.Contains(s, hostileToken) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		y.Errorf("%.300q is not one plain, short line without the token", s)
	}
}

// Whatever the service answers, the scan ends in a state that says why, or is
// held, and nothing else is touched.
func TestHostileService(t *testing.T) {
	t.Parallel()
	wild := "\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m\\u202egpj\\r\\nlevel=ERROR forged" + strings.Repeat("x", 1<<20)
	id := func(id string) http.HandlerFunc { return says(201, `{"id":"`+id+`","status":"queued"}`) }
	paths := `attachment; filename="../../outside/secret.txt"; filename*=UTF-8''..%2F..%2Foutside%2Fsecret.txt`
	text := says(200, "text", "Content-Type", "text/plain", "Content-Disposition", paths)

	tests := map[string]struct {
		answers answers
		state   queue.State
		held    queue.Cause
	}{
		"paths in headers":     {answers{"download": text}, queue.Done, ""},
		"id with slashes":      {answers{"upload": id("../../users/me")}, queue.Doubtful, queue.Doubt},
		"id with a query":      {answers{"upload": id("doc1?x=y#z")}, queue.Done, ""},
		"id of 10 kB":          {answers{"upload": id(strings.Repeat("x", 10<<10))}, queue.Doubtful, queue.Doubt},
		"id with a line end":   {answers{"upload": id(`a\nb`)}, queue.Doubtful, queue.Doubt},
		"id with a zero":       {answers{"upload": id(`a\u0000b`)}, queue.Doubtful, queue.Doubt},
		"id that is empty":     {answers{"upload": id("")}, queue.Doubtful, queue.Doubt},
		"id that is a number":  {answers{"upload": says(201, `{"id":-12.5e3}`)}, queue.Done, ""},
		"wild refusal":         {answers{"upload": says(422, `{"message":"`+wild+`","errors":{"file":["`+wild+`"]}}`)}, queue.Rejected, ""},
		"wild field":           {answers{"upload": says(422, `{"errors":{"`+wild+`":["no"]}}`)}, queue.Rejected, ""},
		"wild reason":          {answers{"upload": says(403, `{"error":"`+wild+`"}`)}, queue.Queued, queue.Credits},
		"echo of the token":    {answers{"upload": says(415, `{"error":"Bearer `+hostileToken+`"}`)}, queue.Rejected, ""},
		"wild failure":         {answers{"download": says(500, ""), "status": says(200, `{"status":"failed","error":"`+wild+hostileToken+`"}`)}, queue.Failed, ""},
		"echo in a failure":    {answers{"download": says(500, ""), "status": says(200, `{"status":"failed","error":"`+hostileToken+`"}`)}, queue.Failed, ""},
		"redirect elsewhere":   {answers{"upload": says(307, "", "Location", "http://elsewhere.invalid/")}, queue.Queued, queue.Address},
		"redirect for ever":    {answers{"download": says(302, "", "Location", "/api/v2/documents/doc1.txt")}, queue.Processing, queue.Address},
		"headers of 1 MB":      {answers{"download": says(200, "text", "X-Big", strings.Repeat("x", 1<<20))}, queue.Processing, queue.Unreachable},
		"upload answer pours":  {answers{"upload": pours(201, "application/json")}, queue.Doubtful, queue.Doubt},
		"refusal pours":        {answers{"upload": pours(400, "application/json")}, queue.Rejected, ""},
		"result announced big": {answers{"download": says(200, "text", "Content-Type", "text/plain", "Content-Length", "10737418240")}, queue.Failed, ""},
		"list pours":           {answers{"upload": hangsUp, "list": pours(200, "application/json")}, queue.Doubtful, queue.Doubt},
		"list repeats":         {answers{"upload": hangsUp, "list": says(200, `{"data":[{"id":"a","file_name":"x"}],"last_page":1e8}`)}, queue.Doubtful, queue.Doubt},
		"list nests":           {answers{"upload": hangsUp, "list": says(200, strings.Repeat("[", 1<<20))}, queue.Doubtful, queue.Doubt},
		"answer drips":         {answers{"upload": drips("application/json")}, queue.Doubtful, queue.Doubt},
		"result drips":         {answers{"download": drips("text/plain")}, queue.Failed, ""},
		"delete drips":         {answers{"delete": drips("text/plain")}, queue.Failed, ""},
		"never deleted":        {answers{"delete": says(500, wild)}, queue.Failed, ""},
		"wait for a century":   {answers{"upload": says(429, "", "Retry-After", "3153600000")}, queue.Queued, queue.Unreachable},
		"wait until for ever":  {answers{"upload": says(429, "", "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "99999999999999")}, queue.Queued, queue.Unreachable},
		"pages below zero":     {answers{"upload": says(201, `{"id":"doc1","page_count":-9999999999}`)}, queue.Done, ""},
		"html for a result":    {answers{"download": says(200, "<!DOCTYPE html><script>alert(1)</script>", "Content-Type", "text/plain")}, queue.Failed, ""},
		"switches protocols":   {answers{"download": says(101, "", "Upgrade", "evil", "Connection", "Upgrade")}, queue.Failed, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				y := newYard(t)
				before := y.files()
				s := y.run(tt.answers, nil)
				jobs := y.jobs()
				if len(jobs) != 1 || jobs[0].State != tt.state || jobs[0].Pages < 0 {
					t.Fatalf("jobs: %+v", jobs)
				}
				if jobs[0].State != queue.Done && jobs[0].Error == "" && len(s.Held) == 0 {
					t.Error("nothing says why")
				}
				var held queue.Cause
				if len(s.Held) > 0 {
					held = s.Held[0].Cause
				}
				if held != tt.held {
					t.Errorf("held: %v, want %q", s.Held, tt.held)
				}
				var added []string
				if tt.state == queue.Done || tt.answers["delete"] != nil {
					added = []string{"scans/letter.txt"}
				}
				y.wantFiles(before, added...)
			})
		})
	}
}
