package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// broken reports whether err is that of a connection that died.
func broken(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// A wire must look the same to both sides, whether it is memory or TCP.
func TestTransportIsLikeAWire(t *testing.T) {
	content := func(n int) func() io.Reader {
		return func() io.Reader { return strings.NewReader(strings.Repeat("x", n)) }
	}
	failing := func() io.Reader {
		return io.MultiReader(strings.NewReader("0123456789"), errorReader{errors.New("the disk broke")})
	}
	for name, tt := range map[string]struct {
		method string
		body   func() io.Reader // nil = none
		length int64            // as http.Request has it
		handle func(w http.ResponseWriter, body string, err error)

		handlerSees string // the body's length and error; "" = not looked at
		clientSees  string // the status, body's length, and errors; …; "error" = of Do
	}{
		"no body": {
			method: "GET", handlerSees: "0 <nil>", clientSees: "200 length 0, read 0 <nil>",
		},
		"a body of known length": {
			method: "POST", body: content(100_000), length: 100_000,
			handlerSees: "100000 <nil>", clientSees: "200 length 0, read 0 <nil>",
		},
		"a body of unknown length": {
			method: "POST", body: content(100_000), length: -1,
			handlerSees: "100000 <nil>", clientSees: "200 length 0, read 0 <nil>",
		},
		"a body that is too short": {
			method: "POST", body: content(10), length: 20,
			handlerSees: "10 unexpected EOF", clientSees: "error",
		},
		"a body that fails": {
			method: "POST", body: failing, length: 20,
			handlerSees: "10 unexpected EOF", clientSees: "error",
		},
		"a chunked body that fails": {
			method: "POST", body: failing, length: -1,
			handlerSees: "10 unexpected EOF", clientSees: "error",
		},
		"an answer": {
			method: "GET",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				w.Header().Set("Content-Length", "5")
				w.WriteHeader(http.StatusAccepted)
				io.WriteString(w, "hello")
			},
			clientSees: "202 length 5, read 5 <nil>",
		},
		"an answer in pieces": {
			method: "GET",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				io.WriteString(w, "hel")
				w.(http.Flusher).Flush()
				io.WriteString(w, "lo")
			},
			clientSees: "200 length -1, read 5 <nil>",
		},
		"an answer to HEAD": {
			method: "HEAD",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				w.Header().Set("Content-Length", "5")
				io.WriteString(w, "hello")
			},
			clientSees: "200 length 5, read 0 <nil>",
		},
		"an answer without content": {
			method: "DELETE", handle: func(w http.ResponseWriter, _ string, _ error) { w.WriteHeader(http.StatusNoContent) },
			clientSees: "204 length 0, read 0 <nil>",
		},
		"an answer that is too short": {
			method: "GET",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				w.Header().Set("Content-Length", "9")
				io.WriteString(w, "hello")
			},
			clientSees: "200 length 9, read 5 broken",
		},
		"an answer that is too long": {
			method: "GET",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				w.Header().Set("Content-Length", "3")
				io.WriteString(w, "hel")
				if _, err := io.WriteString(w, "lo"); !errors.Is(err, http.ErrContentLength) {
					panic("a longer body than was announced was written")
				}
			},
			clientSees: "200 length 3, read 3 <nil>",
		},
		"an answer cut off": {
			method: "GET",
			handle: func(w http.ResponseWriter, _ string, _ error) {
				io.WriteString(w, "hello")
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			},
			clientSees: "200 length -1, read 5 broken",
		},
		"no answer": {
			method: "POST", body: content(10), length: 10,
			handle:     func(http.ResponseWriter, string, error) { panic(http.ErrAbortHandler) },
			clientSees: "broken",
		},
	} {
		handler := func(saw chan<- string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				saw <- fmt.Sprintf("%d %v", len(body), err)
				if r.URL.Path != "/path" || r.URL.RawQuery != "q=1" || r.Host != "sandbox.invalid" || r.Header.Get("X-Test") != "1" {
					t.Errorf("the handler got %s %s for %s with %v", r.Method, r.URL, r.Host, r.Header)
				}
				if tt.handle != nil {
					tt.handle(w, string(body), err)
				}
			})
		}
		try := func(t *testing.T, transport http.RoundTripper, host string, saw <-chan string) {
			var body io.Reader
			if tt.body != nil {
				body = struct{ io.Reader }{tt.body()} // of no known length
			}
			req, err := http.NewRequestWithContext(t.Context(), tt.method, host+"/path?q=1", body)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "sandbox.invalid"
			req.Header.Set("X-Test", "1")
			req.ContentLength = tt.length
			got := "error"
			resp, err := transport.RoundTrip(req)
			switch {
			case err == nil:
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				end := fmt.Sprint(err)
				if broken(err) {
					end = "broken"
				}
				got = fmt.Sprintf("%d length %d, read %d %s", resp.StatusCode, resp.ContentLength, len(body), end)
			case broken(err) && tt.clientSees == "broken":
				got = "broken"
			}
			if got != tt.clientSees {
				t.Errorf("the client saw %q (%v), want %q", got, err, tt.clientSees)
			}
			if got := <-saw; tt.handlerSees != "" && got != tt.handlerSees {
				t.Errorf("the handler saw %q, want %q", got, tt.handlerSees)
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Run("memory", func(t *testing.T) {
				saw := make(chan string, 1)
				try(t, memory{handler(saw)}, "https://elsewhere.invalid", saw)
			})
			t.Run("TCP", func(t *testing.T) {
				saw := make(chan string, 1)
				server := httptest.NewServer(handler(saw))
				defer server.Close()
				transport := &http.Transport{}
				defer transport.CloseIdleConnections()
				try(t, transport, server.URL, saw)
			})
		})
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// inMemory serves one request in memory inside a bubble, which also checks
// that no goroutine is left when test returns.
func inMemory(t *testing.T, handle http.HandlerFunc, test func(t *testing.T, client *http.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &http.Client{Transport: memory{handle}})
	})
}

func TestTransportStreamsRequests(t *testing.T) {
	got := make([]byte, 5)
	var at time.Time
	inMemory(t, func(w http.ResponseWriter, r *http.Request) {
		io.ReadFull(r.Body, got)
		at = time.Now()
		io.Copy(io.Discard, r.Body)
	}, func(t *testing.T, client *http.Client) {
		body, pipe := io.Pipe()
		start := time.Now()
		go func() {
			io.WriteString(pipe, "first")
			time.Sleep(time.Minute)
			pipe.Close()
		}()
		resp, err := client.Post("http://sandbox.invalid", "", body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if string(got) != "first" || at.Sub(start) != 0 || time.Since(start) != time.Minute {
			t.Errorf("the handler read %q after %v of %v", got, at.Sub(start), time.Since(start))
		}
	})
}

func TestTransportObeysContext(t *testing.T) {
	var hungUp atomic.Bool
	slow := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hel")
		if !wait(r.Context(), time.Hour) {
			hungUp.Store(true)
			return
		}
		io.WriteString(w, "lo")
	}
	silent := func(w http.ResponseWriter, r *http.Request) { hungUp.Store(!wait(r.Context(), time.Hour)) }

	get := func(t *testing.T, client *http.Client, ctx context.Context) (string, error) {
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://sandbox.invalid", nil)
		resp, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	for name, tt := range map[string]struct {
		handle http.HandlerFunc
		body   string
	}{"before the answer": {silent, ""}, "within the answer": {slow, "hel"}} {
		t.Run(name, func(t *testing.T) {
			inMemory(t, tt.handle, func(t *testing.T, client *http.Client) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				hungUp.Store(false)
				body, err := get(t, client, ctx)
				if body != tt.body || !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
					t.Errorf("got %q, %v after %v", body, err, time.Since(start))
				}
				if synctest.Wait(); !hungUp.Load() {
					t.Error("the handler was not told")
				}
				client.Timeout = time.Second
				if body, err := get(t, client, t.Context()); body != tt.body || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with a client's time-out got %q, %v", body, err)
				}
				if _, err := get(t, client, ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("with a context that was over: %v", err)
				}
			})
		})
	}
	t.Run("closed early", func(t *testing.T) {
		inMemory(t, slow, func(t *testing.T, client *http.Client) {
			hungUp.Store(false)
			resp, err := client.Get("http://sandbox.invalid")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if synctest.Wait(); !hungUp.Load() {
				t.Error("the handler was not told")
			}
			if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
				t.Error("a closed body was read")
			}
		})
	})
}

func TestTransportEarlyAnswer(t *testing.T) {
	for _, status := range []int{http.StatusRequestEntityTooLarge, http.StatusNoContent} {
		inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
		}, func(t *testing.T, client *http.Client) {
			body := &closeRecorder{Reader: bytes.NewReader(make([]byte, 1<<20))}
			req, _ := http.NewRequest("POST", "http://sandbox.invalid", body)
			req.ContentLength = 1 << 20
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
				t.Errorf("%d: the body is %q, %v", status, rest, err)
			}
			// Not closed: the exchange is over all the same.
			if synctest.Wait(); resp.StatusCode != status || !body.closed.Load() {
				t.Errorf("got %s, want %d; request body closed: %t", strconv.Quote(resp.Status), status, body.closed.Load())
			}
		})
	}
}

type closeRecorder struct {
	io.Reader
	closed atomic.Bool
}

func (r *closeRecorder) Close() error {
	r.closed.Store(true)
	return nil
}
