package hwocr

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const token = "7|s3cr3t-t0k3n"

// roundTrip is a service without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer makes a response; header is a list of names and values.
func answer(status int, body string, header ...string) *http.Response {
	resp := &http.Response{
		StatusCode:    status,
		Header:        http.Header{},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return resp
}

const (
	typeKey  = "Content-Type"
	jsonType = "application/json"
	htmlPage = "<!DOCTYPE html><title>Log in</title>"
)

// always answers every request alike, having read what came with it.
func always(status int, body string, header ...string) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			defer r.Body.Close()
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
		}
		return answer(status, body, header...), nil
	})
}

// client returns a client of next, or of the server at url.
func client(t *testing.T, url string, next http.RoundTripper, change ...func(*Config)) *Client {
	t.Helper()
	if next == nil {
		tr, err := NewTransport(TransportConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tr.CloseIdleConnections)
		next = tr
	}
	if url == "" {
		url = "http://api.test/api/v2"
	}
	c := Config{URL: url, Token: func() (string, error) { return token, nil }, Transport: next}
	for _, f := range change {
		f(&c)
	}
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// wantError returns err as an *Error after looking for the token in it.
func wantError(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got error %v, want an *Error", err)
	}
	if strings.Contains(e.Error(), token) {
		t.Errorf("the error holds the token: %v", e)
	}
	return e
}

func TestNewRefuses(t *testing.T) {
	ok := func() (string, error) { return token, nil }
	tests := []struct {
		name string
		c    Config
		want string
	}{
		{"no URL", Config{Token: ok}, "url:"},
		{"no scheme", Config{URL: "api.test/v2", Token: ok}, "url:"},
		{"other scheme", Config{URL: "ftp://api.test/v2", Token: ok}, "url:"},
		{"no host", Config{URL: "https:///v2", Token: ok}, "url:"},
		{"password", Config{URL: "https://u:hunter2@api.test/v2", Token: ok}, "url:"},
		{"broken with password", Config{URL: "https://u:hunter2@api.te st/v2\x7f", Token: ok}, "url:"},
		{"query", Config{URL: "https://api.test/v2?x=1", Token: ok}, "url:"},
		{"no token", Config{URL: "https://api.test/v2"}, "token:"},
		{"negative timeout", Config{URL: "https://api.test/v2", Token: ok, Timeout: -1}, "timeout:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.c)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want an error that begins with %q and holds no password", err, tt.want)
			}
		})
	}
}

func TestNewTransport(t *testing.T) {
	dir := t.TempDir()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(typeKey, jsonType)
		fmt.Fprintf(w, `{"status":%q}`, r.Proto)
	}))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of refused handshakes
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	good := filepath.Join(dir, "good.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(good, block, 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		c    TransportConfig
		want string
	}{
		{TransportConfig{}, ""},
		{TransportConfig{Proxy: "http://u:hunter2@proxy.test:3128"}, ""},
		{TransportConfig{Proxy: "socks5://proxy.test:1080"}, ""},
		{TransportConfig{Proxy: "proxy.test:3128"}, "proxy:"},
		{TransportConfig{Proxy: "http://"}, "proxy:"},
		{TransportConfig{Proxy: "http://u:hunter2@pro xy"}, "proxy:"},
		{TransportConfig{CAFile: good}, ""},
		{TransportConfig{CAFile: empty}, "ca_file:"},
		{TransportConfig{CAFile: filepath.Join(dir, "none.pem")}, "ca_file:"},
	}
	for _, tt := range tests {
		_, err := NewTransport(tt.c)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%+v: got %v, want %q", tt.c, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error holds the password: %v", err)
		}
	}

	tr, err := NewTransport(TransportConfig{CAFile: good})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.CloseIdleConnections()
	if d, err := client(t, srv.URL, tr).Status(t.Context(), "abc"); err != nil || d.Status != "http/2.0" {
		t.Errorf("with its certificate in ca_file: %v, %v", d, err)
	}
	if _, err := client(t, srv.URL, nil).Status(t.Context(), "abc"); wantError(t, err).Status != 0 {
		t.Errorf("with an unknown certificate: %v", err)
	}
}

func TestRequests(t *testing.T) {
	type request struct{ Method, URL, Auth, Accept, Agent string }
	var got []request
	next := roundTrip(func(r *http.Request) (*http.Response, error) {
		got = append(got, request{
			r.Method, r.URL.String(),
			r.Header.Get("Authorization"), r.Header.Get("Accept"), r.Header.Get("User-Agent"),
		})
		return answer(404, ""), nil
	})
	c := client(t, "https://api.test/api/v3/", next, func(c *Config) { c.UserAgent = "scandrop/1.2" })
	ctx := t.Context()
	_, _ = c.Status(ctx, "a b%2F?#")
	_, _ = c.Download(ctx, "12", "txt", nil)
	_ = c.Delete(ctx, "ü")
	_, _ = c.Balance(ctx)
	for range c.Documents(ctx, 0) {
	}
	auth := "Bearer " + token
	want := []request{
		{"GET", "https://api.test/api/v3/documents/a%20b%252F%3F%23", auth, jsonType, "scandrop/1.2"},
		{"GET", "https://api.test/api/v3/documents/12.txt", auth, jsonType, "scandrop/1.2"},
		{"DELETE", "https://api.test/api/v3/documents/%C3%BC", auth, jsonType, "scandrop/1.2"},
		{"GET", "https://api.test/api/v3/users/me", auth, jsonType, "scandrop/1.2"},
		{"GET", "https://api.test/api/v3/documents?per_page=200&page=1", auth, jsonType, "scandrop/1.2"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestUnfitIDsAreNeverSent(t *testing.T) {
	next := roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked for %s", r.URL)
		return answer(200, ""), nil
	})
	c := client(t, "", next)
	for _, id := range []string{"", ".", "..", "a/b", `a\b`, "a..b", "a\nb", "a\x00", "\xff", "\u202e", strings.Repeat("x", 201)} {
		_, err := c.Status(t.Context(), id)
		if e := wantError(t, err); e.Status != 0 || e.Op != "status" {
			t.Errorf("%q: got %v", id, err)
		}
		if wantError(t, c.Delete(t.Context(), id)).Op != "delete" {
			t.Errorf("%q: deleted", id)
		}
	}
}

func TestStatus(t *testing.T) {
	tests := []struct {
		name, typ, body string
		status          int
		want            Document
		fails           bool
	}{
		{name: "documented", status: 200, typ: jsonType,
			body: `{"id":"abc","status":"processed","action":"transcribe","created_at":"2024-03-15T14:30:00Z","updated_at":"2025-03-05 19:47:44"}`,
			want: Document{ID: "abc", Status: "processed", Action: "transcribe",
				Created: time.Date(2024, 3, 15, 14, 30, 0, 0, time.UTC), Updated: time.Date(2025, 3, 5, 19, 47, 44, 0, time.UTC)}},
		{name: "v3", status: 200, typ: "application/json; charset=utf-8",
			body: `{"id":7,"status":"failed","error":"too\u001b[31m dark\n","file_name":"a.pdf","page_count":"3","results":[{"transcript":"x"}]}`,
			want: Document{ID: "abc", Status: "failed", Error: "too dark", Name: "a.pdf", Pages: 3}},
		{name: "another word", status: 202, typ: jsonType, body: `{"status":"dreaming"}`, want: Document{ID: "abc", Status: "dreaming"}},
		{name: "202 without a body", status: 202, want: Document{ID: "abc"}},
		{name: "200 without a body", status: 200, want: Document{ID: "abc"}},
		{name: "200 without a body as JSON", status: 200, typ: jsonType, want: Document{ID: "abc"}},
		{name: "202 in plain text", status: 202, typ: "text/plain", body: "processing", want: Document{ID: "abc"}},
		{name: "untyped JSON", status: 200, body: ` {"status":"queued"}`, want: Document{ID: "abc", Status: "queued"}},
		{name: "null", status: 200, typ: jsonType, body: `null`, want: Document{ID: "abc"}},
		{name: "members of other types", status: 200, typ: jsonType,
			body: `{"status":["x"],"error":{"a":1},"page_count":"many","created_at":"soon"}`, want: Document{ID: "abc"}},
		{name: "HTML", status: 200, typ: "text/html; charset=utf-8", body: htmlPage, fails: true},
		{name: "HTML said to be JSON", status: 200, typ: jsonType, body: htmlPage, fails: true},
		{name: "HTML without a type", status: 202, body: htmlPage, fails: true},
		{name: "cut off", status: 200, typ: jsonType, body: `{"status":"proc`, fails: true},
		{name: "empty 204", status: 204, fails: true},
		{name: "101", status: 101, fails: true},
		{name: "redirect", status: 302, fails: true},
		{name: "500", status: 500, typ: jsonType, body: `{"message":"x"}`, fails: true},
		{name: "too large", status: 200, typ: jsonType, body: strings.Repeat(" ", maxAnswer+1), fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client(t, "", always(tt.status, tt.body, typeKey, tt.typ)).Status(t.Context(), "abc")
			if tt.fails {
				if e := wantError(t, err); e.Status != tt.status || e.Op != "status" {
					t.Errorf("got %#v", e)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDelete(t *testing.T) {
	tests := []struct {
		status    int
		typ, body string
		ok        bool
	}{
		{204, "", "", true},
		{200, jsonType, `{}`, true},
		{202, "", "", true},
		{200, "text/html", htmlPage, false},
		{200, jsonType, `{"id": [[[`, false},
		{301, "", "", false},
		{404, jsonType, `{"message":"x"}`, false},
	}
	for _, tt := range tests {
		err := client(t, "", always(tt.status, tt.body, typeKey, tt.typ)).Delete(t.Context(), "abc")
		if tt.ok {
			if err != nil {
				t.Errorf("%d: %v", tt.status, err)
			}
		} else if wantError(t, err).Status != tt.status {
			t.Errorf("%d: got %v", tt.status, err)
		}
	}
}

func TestBalance(t *testing.T) {
	tests := []struct {
		status    int
		typ, body string
		want      int
		ok        bool
	}{
		{200, jsonType, `{"id":1,"balance":11020,"token":"` + token + `"}`, 11020, true},
		{200, jsonType, `{"balance":"0"}`, 0, true},
		{200, jsonType, `{"balance":null,"token":"` + token + `"}`, 0, false},
		{200, jsonType, `{"balance":1,"token":"` + token, 0, false},
		{200, "text/plain", `{"balance":1}`, 0, false},
		{200, "text/html", htmlPage, 0, false},
		{404, jsonType, `{"message":"not found: ` + token + `"}`, 0, false},
	}
	for _, tt := range tests {
		got, err := client(t, "", always(tt.status, tt.body, typeKey, tt.typ)).Balance(t.Context())
		if tt.ok && (err != nil || got != tt.want) || !tt.ok && wantError(t, err).Status != tt.status {
			t.Errorf("%s: got %d, %v", tt.body, got, err)
		}
	}
}

// Version 2 does not tell the balance; version 3 of the same host may.
func TestBalanceOfVersion3(t *testing.T) {
	for path, want := range map[string]int{"/api/v3/users/me": 7, "/api/v2/users/me": 7, "/other": 0} {
		got, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != path {
				return always(404, "", typeKey, jsonType).RoundTrip(r)
			}
			return always(200, `{"balance":7}`, typeKey, jsonType).RoundTrip(r)
		})).Balance(t.Context())
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
}

// A redirect must neither be followed nor carry the token on, whatever its target.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var strayed atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	defer other.Close()
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		status := http.StatusTemporaryRedirect
		if r.Method == http.MethodDelete {
			status = http.StatusMovedPermanently
		}
		http.Redirect(w, r, other.URL+r.URL.Path, status)
	}))
	defer srv.Close()
	c := client(t, srv.URL, nil)
	_, err := c.Upload(t.Context(), scan("letter"))
	if e := wantError(t, err); e.Status != 307 || !e.Sent {
		t.Errorf("upload: got %#v", e)
	}
	_, err = c.Status(t.Context(), "abc")
	if wantError(t, err).Status != 307 {
		t.Errorf("status: got %v", err)
	}
	if err := c.Delete(t.Context(), "abc"); wantError(t, err).Status != 301 {
		t.Errorf("delete: got %v", err)
	}
	if strayed.Load() != 0 || asked.Load() != 3 {
		t.Errorf("%d requests, %d of them to another host", asked.Load(), strayed.Load())
	}
}

func TestTokenStaysHome(t *testing.T) {
	c := client(t, "https://api.test/v2", roundTrip(func(r *http.Request) (*http.Response, error) {
		t.Errorf("sent to %s", r.URL)
		return answer(200, ""), nil
	}))
	for _, url := range []string{"https://evil.test/v2", "http://api.test/v2", "https://api.test:8443/v2"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.transport.RoundTrip(req); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
}

func TestToken(t *testing.T) {
	broken := errors.New("token file is unreadable")
	tests := []struct {
		name  string
		token func() (string, error)
		want  error
	}{
		{"unreadable", func() (string, error) { return "", broken }, broken},
		{"empty", func() (string, error) { return "", nil }, nil},
		{"line end", func() (string, error) { return token + "\n", nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("a request went out")
				return answer(200, ""), nil
			}), func(c *Config) { c.Token = tt.token })
			u := scan("letter")
			u.Begin = func() error { t.Error("begun"); return nil }
			_, err := c.Upload(t.Context(), u)
			if e := wantError(t, err); e.Status != 0 || e.Sent || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %#v", e)
			}
		})
	}

	var n int
	var seen []string
	c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
		seen = append(seen, r.Header.Get("Authorization"))
		return answer(204, ""), nil
	}), func(c *Config) { c.Token = func() (string, error) { n++; return fmt.Sprint("t", n), nil } })
	for range 2 {
		if err := c.Delete(t.Context(), "abc"); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"Bearer t1", "Bearer t2"}, seen); d != "" {
		t.Error(d)
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := client(t, "", always(201, `{"id":"abc","token":"`+token+`"}`, typeKey, jsonType), func(c *Config) { c.Log = log })
	u := scan("Dear Sir, the text of the letter")
	u.Name = "private.pdf"
	if _, err := c.Upload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	c = client(t, "", always(401, `{"message":"bad `+token+`"}`, typeKey, jsonType), func(c *Config) { c.Log = log })
	if _, err := c.Balance(t.Context()); wantError(t, err).Status != 401 {
		t.Error(err)
	}
	u = scan("x")
	u.Body = io.MultiReader(strings.NewReader("x"), brokenReader{errors.New("read private.pdf: input/output error")})
	if _, err := c.Upload(t.Context(), u); err == nil {
		t.Error("no error")
	}
	got := out.String()
	for _, want := range []string{"op=upload method=POST status=201", "op=balance method=GET status=401", "status=0", "received=37"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	for _, secret := range []string{token, "private", "Dear", "bad", "abc"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q is in\n%s", secret, got)
		}
	}
	if n := strings.Count(got, "\n"); n != 3 {
		t.Errorf("%d records for 3 requests:\n%s", n, got)
	}
}

func TestCancelled(t *testing.T) {
	stopping := errors.New("stopping")
	hang := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, context.Cause(r.Context()) // as http.Transport does
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stopping) })
		_, err := client(t, "", hang).Status(ctx, "abc")
		if e := wantError(t, err); !errors.Is(err, context.Canceled) || !errors.Is(err, stopping) || e.Status != 0 {
			t.Errorf("got %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client(t, "", hang).Status(ctx, "abc")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// drip gives a byte a minute.
type drip struct {
	ctx  context.Context
	left int
}

func (d *drip) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	d.left--
	select {
	case <-time.After(time.Minute):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (d *drip) Close() error { return nil }

func TestNoProgress(t *testing.T) {
	notContext := func(t *testing.T, err error, want string) {
		t.Helper()
		wantError(t, err)
		if !strings.Contains(err.Error(), want) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %q and no context error", err, want)
		}
	}
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			_, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			})).Status(t.Context(), "abc")
			notContext(t, err, "no progress for 2m0s")
			if took := time.Since(start); took != 2*time.Minute {
				t.Errorf("took %v", took)
			}
		})
	})
	t.Run("silence within the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				resp := answer(200, "", typeKey, jsonType)
				resp.Body = &drip{r.Context(), 100}
				return resp, nil
			}), func(c *Config) { c.Timeout = 50 * time.Second }).Status(t.Context(), "abc")
			notContext(t, err, "no progress for 50s")
			if wantError(t, err).Status != 200 {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("slow is fine", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				resp := answer(200, "", typeKey, jsonType)
				resp.Body = &drip{r.Context(), 25}
				return resp, nil
			})).Status(t.Context(), "abc")
			if err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("for ever is not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				resp := answer(200, "", typeKey, jsonType)
				resp.Body = &drip{r.Context(), 1000}
				return resp, nil
			})).Status(t.Context(), "abc")
			notContext(t, err, "not done after 30m0s")
		})
	})
	t.Run("slow upload", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			u := scan("0123456789")
			_, err := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				buf := make([]byte, 100)
				for {
					if _, err := r.Body.Read(buf); err == io.EOF {
						return answer(201, `{"id":"abc"}`, typeKey, jsonType), nil
					} else if err != nil {
						return nil, err
					}
					select {
					case <-time.After(time.Minute): // a line of 100 bytes a minute
					case <-r.Context().Done():
						return nil, r.Context().Err()
					}
				}
			})).Upload(t.Context(), u)
			if err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("waiting for the pace does not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := NewPace(1, 1)
			refuse(t, p, 50*time.Minute)
			_, err := client(t, "", always(200, ""), func(c *Config) { c.Pace = p }).Status(t.Context(), "abc")
			if err != nil {
				t.Error(err)
			}
		})
	})
}

func TestPaceIsTold(t *testing.T) {
	const date = "Sat, 01 Jan 2028 00:00:00 GMT"
	tests := []struct {
		name   string
		status int
		header []string
		pause  time.Duration
		rate   float64
	}{
		{"fine", 200, nil, 0, 8},
		{"429", 429, []string{"Retry-After", "2"}, 2 * time.Second, 0.5},
		{"429 for longer", 429, []string{"Retry-After", "30"}, 30 * time.Second, 8},
		{"429 with a date", 429, []string{"Retry-After", "Sat, 01 Jan 2028 00:00:40 GMT", "Date", date}, 40 * time.Second, 8},
		{"429 with a date that is past", 429, []string{"Retry-After", "Fri, 31 Dec 2027 00:00:00 GMT", "Date", date}, time.Second, 1},
		{"429 without a word", 429, nil, time.Second, 1},
		{"429 for a year", 429, []string{"Retry-After", "31536000"}, time.Hour, 8},
		{"429 until the end of time", 429, []string{"Retry-After", "99999999999999999999"}, time.Hour, 8},
		{"429 for less than nothing", 429, []string{"Retry-After", "-5"}, time.Second, 1},
		{"429 with a Reset alone", 429, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684820"}, 20 * time.Second, 8},
		{"408", 408, nil, time.Second, 1},
		{"408 for longer", 408, []string{"Retry-After", "8"}, 8 * time.Second, 0.125},
		{"425", 425, nil, time.Second, 1},
		{"500", 500, []string{"Retry-After", "30"}, 0, 8},
		{"spent", 200, []string{"X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "20"}, 20 * time.Second, 8},
		{"spent, Unix time", 200, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "946684825"}, 25 * time.Second, 8},
		{"spent for a day", 404, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "86400"}, time.Hour, 8},
		{"spent, no reset", 200, []string{"X-RateLimit-Limit", "60", "X-RateLimit-Remaining", "0"}, 0, 8},
		{"not spent", 200, []string{"X-RateLimit-Remaining", "1", "X-RateLimit-Reset", "20"}, 0, 8},
		{"nonsense", 200, []string{"X-RateLimit-Limit", "-1", "X-RateLimit-Remaining", "none", "X-RateLimit-Reset", "soon"}, 0, 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // starts at Unix time 946684800
				p := NewPace(8, 1)
				_, err := client(t, "", always(tt.status, "", tt.header...), func(c *Config) { c.Pace = p }).Status(t.Context(), "abc")
				if tt.status >= 400 && wantError(t, err).Status != tt.status {
					t.Error(err)
				}
				wantPause(t, p, tt.pause)
				wantRate(t, p, tt.rate)
			})
		})
	}
}

func TestPaceCreepsBackWithAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(8, 1)
		refuse(t, p, 0)
		for _, tt := range []struct {
			status int
			want   float64
		}{{500, 1}, {404, 1}, {202, 2.5937424601}} { // 1.1 to the tenth
			c := client(t, "", always(tt.status, ""), func(c *Config) { c.Pace = p })
			for range 10 {
				_, _ = c.Status(t.Context(), "abc")
			}
			wantRate(t, p, tt.want)
		}
	})
}

// A request that never goes out, and one that nobody answers, give their turns back.
func TestPaceTurnsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPace(1, 1)
		p.quota.limit, p.quota.open, p.quota.told, p.quota.used = 1, true, true, 1 // one at a time
		trouble := []func(*Config){
			func(c *Config) { c.Token = func() (string, error) { return "", nil } },
			func(c *Config) {
				c.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
			},
		}
		for _, t1 := range trouble {
			c := client(t, "", always(200, ""), t1, func(c *Config) { c.Pace = p })
			if _, err := c.Status(t.Context(), "abc"); err == nil {
				t.Error("no error")
			}
			start := time.Now()
			p.Done(turn(t, p), Answer{})
			if waited := time.Since(start); waited > time.Second {
				t.Errorf("the next waited for %v", waited)
			}
		}
	})
}
