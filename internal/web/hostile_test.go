package web

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"scandrop/internal/control"
	"scandrop/queue"
)

var slow = flag.Int("slow", 2000, "slow connections that are opened")

// Thousands of connections that say nothing, or never come to the end of what
// they say, keep nobody from being answered.
func TestSlowConnections(t *testing.T) {
	s := newSite(t)
	s.add("letter.pdf", "x")
	n := *slow
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	begun := make(chan struct{}, n)
	const at = 200 // at a time: this process has to open both ends
	room := make(chan struct{}, at)
	go func() {
		for i := range n {
			room <- struct{}{}
			all.Go(func() {
				conn, err := net.Dial("tcp", s.host)
				<-room
				begun <- struct{}{}
				if err != nil {
					return
				}
				defer conn.Close()
				end := context.AfterFunc(ctx, func() { conn.Close() })
				defer end()
				switch i % 4 {
				case 0: // nothing
				case 1:
					fmt.Fprintf(conn, "G")
				case 2:
					fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nX: ", s.host)
				case 3:
					fmt.Fprintf(conn, "POST /login HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\npass", s.host)
				}
				io.Copy(io.Discard, conn) // until the server has had enough
			})
		}
	}()
	// Meanwhile, with all of them coming in.
	api := s.api()
	for range n {
		<-begun
	}
	for range 20 {
		if page, err := api.List(t.Context(), control.Filter{}); err != nil || len(page.Jobs) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		api.Close() // a new connection each time
	}
}

// Who says nothing for longest goes first; who is having something answered stays.
func TestCrowd(t *testing.T) {
	c := &crowd{most: 3, conns: map[net.Conn]*guest{}}
	open := func() (server, client net.Conn) {
		server, client = net.Pipe()
		t.Cleanup(func() { server.Close(); client.Close() })
		c.changed(server, http.StateNew)
		return server, client
	}
	gone := func(client net.Conn) bool {
		client.SetReadDeadline(time.Now().Add(-1))
		_, err := client.Read(make([]byte, 1))
		return err == io.EOF
	}
	busy, first := open()
	c.serve(busy, 1)
	_, second := open()
	_, third := open()
	if gone(first) || gone(second) || gone(third) {
		t.Error("one had to go although there was room")
	}
	_, fourth := open()
	if gone(first) || !gone(second) || gone(third) || gone(fourth) {
		t.Error("not the oldest that says nothing went")
	}
	c.serve(busy, -1)
	open()
	if !gone(first) || gone(third) {
		t.Error("one that has been answered stays for ever")
	}
	c.changed(busy, http.StateClosed)
	if len(c.conns) != 3 {
		t.Errorf("%d are remembered", len(c.conns))
	}
}

func TestLargeRequests(t *testing.T) {
	s := newSite(t, func(c *Config) { c.MaxScan = 1 << 20; c.Password = "correct horse battery" })
	c := s.client()
	send := func(path string, body io.Reader, change func(*http.Request)) int {
		t.Helper()
		req, err := http.NewRequest("POST", s.URL()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := c.Do(req)
		if err != nil {
			return 0 // the connection was closed in our face, which is an answer, too
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	form := func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }
	if status := send("/login", io.MultiReader(strings.NewReader("password="), zeros(100<<20)), form); status != http.StatusUnauthorized && status != 0 {
		t.Errorf("a form of 100 MB: %d", status)
	}
	drop := "/api/v1/scans?folder=" + s.dir + "&name=a.pdf"
	if status := send(drop, zeros(1<<20+1), bearer); status != http.StatusRequestEntityTooLarge {
		t.Errorf("a scan that is too large: %d", status)
	}
	if status := send(drop, zeros(1<<20), bearer); status != http.StatusCreated {
		t.Errorf("a scan that is just not too large: %d", status)
	}
	if status := send(drop, zeros(1<<20), func(*http.Request) {}); status != http.StatusUnauthorized && status != 0 {
		t.Errorf("a scan of somebody else's: %d", status)
	}
	if status := send("/api/v1/release?hold=all", strings.NewReader(""), func(r *http.Request) { bearer(r); r.Header.Set("X", strings.Repeat("x", 1<<20)) }); status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("a header of 1 MB: %d", status)
	}
}

func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestPasswords(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Password = "correct horse battery" })
	try := func(password string) bool {
		c := s.client()
		resp, err := c.PostForm(s.URL()+"/login", map[string][]string{"password": {password}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		status, _, _ := s.ask(c, "GET", "/api/v1/status", nil)
		return status == http.StatusOK
	}
	if !try("correct horse battery") {
		t.Error("the password opens nothing")
	}
	for range guessesAMinute {
		if try("correct horse") || try("") {
			t.Fatal("another password opens the page")
		}
	}
	if try("correct horse battery") {
		t.Error("the guesses have no end")
	}
	if none := newSite(t); none.Password == "" {
		resp, err := none.client().PostForm(none.URL()+"/login", map[string][]string{"password": {""}})
		if err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a password: %v, %v", resp, err)
		}
		resp.Body.Close()
	}
}

// What a scan, an error or a folder is called reaches HTML as text only.
func TestNamesAreNoMarkup(t *testing.T) {
	s := newSite(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'.pdf`
	j := s.add(strings.ReplaceAll(evil, "/", "_"), "%PDF")
	if err := s.queue.Hold(queue.Hold{Cause: queue.Token, Reason: evil}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", fmt.Sprintf("/jobs/%d", j.ID), "/?q=" + strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E", " ", "%20", "'", "%27").Replace(evil), "/jobs/" + strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E", " ", "%20", "/", "%2F", "'", "%27").Replace(evil), "/?did=%3Cscript%3E"} {
		_, body, header := s.ask(s.client(), "GET", path, func(r *http.Request) { bearer(r); r.Header.Set("Accept", "text/html") })
		if strings.Contains(body, "<script>") || strings.Contains(body, "<img src=x") {
			t.Errorf("%s:\n%s", path, body)
		}
		if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %s", path, policy)
		}
	}
}

// A file is served as what its job says it is, and never as a page.
func TestFiles(t *testing.T) {
	s := newSite(t)
	j := s.add("letter.pdf", "<script>alert(1)</script>")
	if err := os.WriteFile(filepath.Join(s.dir, "secret.txt"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.client()
	at := func(path string) string { return fmt.Sprintf("/jobs/%d/%s", j.ID, path) }
	status, body, header := s.ask(c, "GET", at("scan"), bearer)
	if status != 200 || body != "<script>alert(1)</script>" || header.Get("Content-Type") != "application/pdf" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d %q %v", status, body, header)
	}
	for _, path := range []string{at("results/txt"), at("results/..%2f..%2fsecret.txt"), at("results/secret.txt"), at("preview/1"), at("scan/../../../secret.txt"), "/static/..%2fweb.go", "/static/..%2fpage%2fhome.html", "/static/.", "/static/../page/home.html"} {
		if status, body, _ := s.ask(c, "GET", path, bearer); status != http.StatusNotFound || strings.Contains(body, "secret") && !strings.Contains(path, "secret") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if err := os.Remove(j.Path); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := s.ask(c, "GET", at("scan"), bearer); status != http.StatusNotFound || !strings.Contains(body, control.CodeNoFile) {
		t.Errorf("%d %s", status, body)
	}
}

// A message that begins with a file's name leaves that as it is, whatever letter it
// begins with; every other is a sentence.
func TestProblemsAreSentences(t *testing.T) {
	s := newSite(t)
	j := s.add("ärger.pdf", "x")
	if err := os.Remove(j.Path); err != nil {
		t.Fatal(err)
	}
	page := func(r *http.Request) { bearer(r); r.Header.Set("Accept", "text/html") }
	if _, body, _ := s.ask(s.client(), "GET", fmt.Sprintf("/jobs/%d/scan", j.ID), page); !strings.Contains(body, "ärger.pdf is not there any more.") {
		t.Error(body)
	}
	for text, want := range map[string]string{"": "", "öffne": "Öffne", "this": "This", "\xff": "\xff"} {
		if got := upper(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// The page says how much the service is asked, and what it wished.
func TestPace(t *testing.T) {
	until := time.Now().Add(time.Hour)
	s := newSite(t, func(c *Config) {
		about := c.About
		c.About = func() control.Status {
			st := about()
			st.Pace = control.Pace{Requests: 1234, Refused: 5, Quota: 60, Window: "1m0s", NotBefore: until}
			return st
		}
	})
	_, body, _ := s.ask(s.client(), "GET", "/", bearer)
	for _, want := range []string{"1234 requests since the start", "5 of them refused", "the service takes 60 in 1m0s", "asks to wait until", ">" + moment(until) + "<"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q:\n%s", want, body)
		}
	}
}

func TestDispositionIsOneHeader(t *testing.T) {
	got := disposition("inline", "a\r\nX: y\"ü.pdf")
	if want := `inline; filename="a__X__y___.pdf"; filename*=UTF-8''a%0D%0AX%3A%20y%22%C3%BC.pdf`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDropsThatAreNone(t *testing.T) {
	s := newSite(t)
	for query, want := range map[string]int{
		"folder=" + s.dir + "&name=a.exe":               http.StatusUnsupportedMediaType,
		"folder=" + filepath.Dir(s.dir) + "&name=a.pdf": http.StatusBadRequest,
		"folder=" + s.dir + "/../&name=a.pdf":           http.StatusBadRequest,
		"folder=" + s.dir + "&name=../a.pdf":            http.StatusBadRequest,
		"name=a.pdf":                                    http.StatusBadRequest,
		"folder=" + s.dir:                               http.StatusUnsupportedMediaType,
	} {
		req, _ := http.NewRequest("POST", s.URL()+"/api/v1/scans?"+query, bytes.NewReader([]byte("x")))
		bearer(req)
		resp, err := s.client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", query, resp.StatusCode, want)
		}
	}
	if entries, _ := os.ReadDir(s.dir); len(entries) > 0 {
		t.Errorf("there is now %v", entries)
	}
}

// Whoever looks is told of what moves.
func TestEvents(t *testing.T) {
	s := newSite(t)
	j := s.add("letter.pdf", "x")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.URL()+"/events", nil)
	bearer(req)
	resp, err := s.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("%s", got)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		buffer := make([]byte, 1<<20)
		for {
			n, err := resp.Body.Read(buffer)
			if n > 0 {
				lines <- string(buffer[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	<-lines // it has begun
	if _, err := s.queue.Cancel(j.ID); err != nil {
		t.Fatal(err)
	}
	s.Moved(j) // an older picture of it
	for text := range lines {
		if strings.Contains(text, fmt.Sprintf("job-%d", j.ID)) {
			if !strings.Contains(text, "cancelled") {
				t.Errorf("told of an older state: %s", text)
			}
			break
		}
	}
	stop()
	for range lines {
	}
}
