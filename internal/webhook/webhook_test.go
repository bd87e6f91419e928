package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hints notes what a hook is told.
type hints struct {
	mu   sync.Mutex
	list []string
	err  error
}

func (h *hints) hint(document string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	h.list = append(h.list, document)
	return nil
}

func (h *hints) take() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := strings.Join(h.list, " ")
	h.list = nil
	return all
}

func secretIs(secret string) func() (string, error) {
	return func() (string, error) { return secret, nil }
}

// The body and its signature under "It's a Secret to Everybody" are made by
// openssl dgst -sha256 -hmac, not by us.
const (
	knownSecret = "It's a Secret to Everybody"
	knownBody   = "Hello, World!"
	knownMAC    = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
)

func TestSign(t *testing.T) {
	if got := fmt.Sprintf("%x", Sign(knownSecret, []byte(knownBody))); got != knownMAC {
		t.Errorf("the HMAC is %s", got)
	}
}

func TestCalls(t *testing.T) {
	const secret, result = "secret", `{"id":"abc123","status":"processed","results":[{"transcript":"text"}]}`
	good := fmt.Sprintf("sha256=%x", Sign(secret, []byte(result)))
	var (
		heard  hints
		log    bytes.Buffer
		config = Config{Path: "/hook", Hint: heard.hint, Log: slog.New(slog.NewTextHandler(&log, nil))}
		signed = config
	)
	signed.Secret = secretIs(secret)
	unread := signed
	unread.Secret = func() (string, error) { return "", errors.New("gone") }
	for _, tt := range []struct {
		name                          string
		config                        Config
		method, path, body, signature string
		more                          string // a second signature
		status                        int
		hint                          string
	}{
		{name: "good", config: signed, body: result, signature: good, status: 204, hint: "abc123"},
		{name: "older field", config: config, body: `{"document_id":"abc123"}`, status: 204, hint: "abc123"},
		{name: "without a secret", config: config, body: result, status: 204, hint: "abc123"},
		{name: "no signature", config: signed, body: result, status: 401},
		{name: "another's signature", config: signed, body: result, signature: fmt.Sprintf("sha256=%x", Sign("Secret", []byte(result))), status: 401},
		{name: "another body", config: signed, body: result + " ", signature: good, status: 401},
		{name: "cut off", config: signed, body: result, signature: good[:len(good)-2], status: 401},
		{name: "no scheme", config: signed, body: result, signature: good[len("sha256="):], status: 401},
		{name: "another scheme", config: signed, body: result, signature: "sha1=" + good[len("sha256="):], status: 401},
		{name: "not hexadecimal", config: signed, body: result, signature: "sha256=" + strings.Repeat("x", 64), status: 401},
		{name: "two signatures", config: signed, body: result, signature: good, more: good, status: 401},
		{name: "signed, without an id", config: signed, body: "{}", signature: fmt.Sprintf("sha256=%x", Sign(secret, []byte("{}"))), status: 400},
		{name: "no JSON", config: config, body: "id=abc123", status: 400},
		{name: "a list", config: config, body: "[" + result + "]", status: 400},
		{name: "empty", config: config, status: 400},
		{name: "a long id", config: config, body: `{"id":"` + strings.Repeat("x", longestID+1) + `"}`, status: 400},
		{name: "deep", config: config, body: `{"id":"abc123","x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}", status: 400},
		{name: "another path", config: signed, path: "/hook/", body: result, signature: good, status: 404},
		{name: "the root", config: signed, path: "/", body: result, signature: good, status: 404},
		{name: "GET", config: signed, method: "GET", signature: good, status: 405},
		{name: "the secret cannot be read", config: unread, body: result, signature: good, status: 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.method == "" {
				tt.method = "POST"
			}
			if tt.path == "" {
				tt.path = "/hook"
			}
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			for _, s := range []string{tt.signature, tt.more} {
				if s != "" {
					r.Header.Add("X-Signature", s)
				}
			}
			w := httptest.NewRecorder()
			New(tt.config).ServeHTTP(w, r)
			if got := heard.take(); w.Code != tt.status || got != tt.hint {
				t.Errorf("answered with %d, told of %q; want %d, %q", w.Code, got, tt.status, tt.hint)
			}
			if tt.hint == "" && strings.Contains(log.String(), "abc123") || strings.Contains(log.String(), "transcript") {
				t.Errorf("the log has what came with the call: %s", &log)
			}
		})
	}

	heard.err = errors.New("the disk is full")
	r := httptest.NewRequest("POST", "/hook", strings.NewReader(result))
	w := httptest.NewRecorder()
	if New(config).ServeHTTP(w, r); w.Code != 503 {
		t.Errorf("a call that could not be heeded is answered with %d", w.Code)
	}
}

// endless is a body that never ends; it counts what was read of it.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

// Bodies that are too long are not read, or no further than they may be.
func TestLongBodies(t *testing.T) {
	var heard hints
	h := New(Config{Path: "/hook", Hint: heard.hint, Secret: secretIs("secret")})
	for _, tt := range []struct {
		name     string
		says     int64
		signed   bool
		status   int
		mostRead int64
	}{
		{"100 MB, and says so", 100 << 20, true, 413, 0},
		{"100 MB, without a signature", 100 << 20, false, 401, 0},
		{"no end, without a signature", -1, false, 401, 0},
		{"no end", -1, true, 413, 2 * MaxBody},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := new(endless)
			r := httptest.NewRequest("POST", "/hook", body)
			r.ContentLength = tt.says
			if tt.signed {
				r.Header.Set("X-Signature", "sha256="+strings.Repeat("00", 32))
			}
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != tt.status || body.read.Load() > tt.mostRead {
				t.Errorf("answered with %d after %d bytes", w.Code, body.read.Load())
			}
		})
	}
	if got := heard.take(); got != "" {
		t.Errorf("told of %s", got)
	}
}

// The log tells of a flood once.
func TestFloodIsToldOnce(t *testing.T) {
	var log bytes.Buffer
	h := New(Config{Path: "/hook", Hint: new(hints).hint, Secret: secretIs("secret"), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 10_000 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/hook", strings.NewReader("{}")))
	}
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 2 { // a minute may begin in between
		t.Errorf("the log has %d lines", n)
	}
}

// serve serves a hook on a loopback port until the test ends.
func serve(t *testing.T, c Config) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- New(c).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			c.Close()
			t.Error("it still listens")
		}
	})
	return l.Addr().String()
}

// An independent sender: curl carries, and openssl signs. Neither is ours.
func TestIndependentSender(t *testing.T) {
	for _, tool := range []string{"curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	const secret, body = "correct horse battery staple", `{"id":"DOC-1","status":"processed"}`
	var heard hints
	url := "http://" + serve(t, Config{Path: "/hook", Hint: heard.hint, Secret: secretIs(secret)}) + "/hook"
	sign := func(secret string) string {
		cmd := exec.Command("openssl", "dgst", "-sha256", "-hmac", secret, "-r")
		cmd.Stdin = strings.NewReader(body)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		mac, _, _ := strings.Cut(string(out), " ")
		return "X-Signature: sha256=" + mac
	}
	for _, tt := range []struct {
		name, want, hint string
		args             []string
	}{
		{"good", "204", "DOC-1", []string{"-H", sign(secret)}},
		{"good, in pieces", "204", "DOC-1", []string{"-H", sign(secret), "-H", "Transfer-Encoding: chunked"}},
		{"again", "204", "DOC-1", []string{"-H", sign(secret)}},
		{"bad", "401", "", []string{"-H", sign("guessed")}},
		{"missing", "401", "", nil},
	} {
		args := append([]string{"-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json", "--data-binary", body}, tt.args...)
		out, err := exec.Command("curl", append(args, url)...).CombinedOutput()
		if got := heard.take(); err != nil || string(out) != tt.want || got != tt.hint {
			t.Errorf("%s: answered with %s, told of %q (%v); want %s, %q", tt.name, out, got, err, tt.want, tt.hint)
		}
	}
}

// pipes is a listener without a network, so that time can be virtual.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// Connections that say nothing, or say it slowly, end, and keep nobody from calling for good.
func TestSilentConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard hints
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- New(Config{Path: "/hook", Hint: heard.hint}).Serve(ctx, l) }()
		began := time.Now()
		for i := range 4 * connections {
			c := l.dial() // waits for its turn
			defer c.Close()
			if i%2 == 0 {
				go func() {
					fmt.Fprintf(c, "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n")
					for time.Since(began) < time.Hour {
						if _, err := c.Write([]byte("x")); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				go io.Copy(io.Discard, c)
			}
		}
		c := l.dial()
		go io.WriteString(c, "POST /hook HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"+`{"id":"d"}`)
		answer, err := io.ReadAll(c)
		if got := heard.take(); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 204") || got != "d" {
			t.Errorf("answered with %q, told of %q (%v)", answer, got, err)
		}
		if waited := time.Since(began); waited > 5*callTime {
			t.Errorf("it waited for %v", waited)
		}
		time.Sleep(time.Hour)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func FuzzDocument(f *testing.F) {
	for _, body := range []string{`{"id":"a"}`, `{"document_id":"a"}`, `{"id":1}`, `[]`, `{"id":"\u0000"}`, `{`, ""} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if id, ok := documentOf(body); ok != (id != "" && len(id) <= longestID) && ok {
			t.Errorf("%q is a document", id)
		}
	})
}
