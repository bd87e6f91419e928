package control

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// leave writes what a daemon leaves in its state folder.
func leave(t *testing.T, url, token string) (state string) {
	t.Helper()
	state = t.TempDir()
	for name, text := range map[string]string{AddressFile: `{"url":"` + url + `","pid":1}`, TokenFile: token + "\n"} {
		if err := os.WriteFile(filepath.Join(state, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// Another program at the daemon's address is never told the token.
func TestDialTellsNoStranger(t *testing.T) {
	for name, proof := range map[string]func(host, nonce string) string{
		"says nothing":               func(string, string) string { return "" },
		"knows another token":        func(host, nonce string) string { return Proof("other", host, nonce) },
		"asked one at another place": func(_, nonce string) string { return Proof("secret", "127.0.0.1:1", nonce) },
		"has an old answer":          func(host, _ string) string { return Proof("secret", host, "old") },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Errorf("one that %s was told the token", name)
			}
			w.Header().Set(ProofHeader, proof(r.Host, r.Header.Get(NonceHeader)))
		}))
		if _, err := Dial(t.Context(), leave(t, s.URL, "secret")); !errors.Is(err, ErrNoDaemon) {
			t.Errorf("one that %s: %v", name, err)
		}
		s.Close()
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ProofHeader, Proof("secret", r.Host, r.Header.Get(NonceHeader)))
	}))
	defer s.Close()
	c, err := Dial(t.Context(), leave(t, s.URL, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A program that takes the port of a daemon that has ended is not told the token by
// clients that had met that daemon.
func TestEachConnectionIsProved(t *testing.T) {
	for scheme, serve := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		var stranger atomic.Bool
		s := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if stranger.Load() {
				if r.Header.Get("Authorization") != "" {
					t.Errorf("%s: a stranger was told the token", scheme)
				}
				return
			}
			if nonce := r.Header.Get(NonceHeader); nonce != "" {
				w.Header().Set(ProofHeader, Proof("secret", r.Host, nonce))
			}
			w.Write([]byte(`{"version":"1"}`))
		}))
		c, err := Dial(t.Context(), leave(t, s.URL, "secret"))
		if err != nil {
			t.Fatal(err)
		}
		if st, err := c.Status(t.Context()); err != nil || st.Version != "1" {
			t.Errorf("%s: %+v, %v", scheme, st, err)
		}
		stranger.Store(true)
		c.Close() // its connections are lost, as over a restart
		_, err = c.Status(t.Context())
		if _, ok := errors.AsType[*strangerError](err); !ok || !errors.Is(err, ErrNoDaemon) {
			t.Errorf("%s: a stranger: %v", scheme, err)
		}
		s.Close()
	}
}

func TestFind(t *testing.T) {
	if _, _, err := Find(t.TempDir()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("an empty folder: %v", err)
	}
	state := leave(t, "http://127.0.0.1:1", "secret")
	if a, token, err := Find(state); err != nil || a.URL != "http://127.0.0.1:1" || token != "secret" {
		t.Errorf("%+v %q %v", a, token, err)
	}
	if err := os.Remove(filepath.Join(state, TokenFile)); err != nil {
		t.Fatal(err)
	}
	_, _, err := Find(state)
	if e, ok := errors.AsType[*TokenError](err); !ok || e.Hint() == "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a token: %v", err)
	}
	if err := os.WriteFile(filepath.Join(state, AddressFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Find(state); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("a damaged address: %v", err)
	}
}
