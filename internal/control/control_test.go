package control

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"scandrop/queue"
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

// What is said to be waited for is what the queue waits for.
func TestNextNamesTheHoldThatStops(t *testing.T) {
	profile := queue.Hold{Cause: queue.Profile, Folder: "/scans", Dir: "/scans/forms"}
	credits := queue.Hold{Cause: queue.Credits, Size: 1000, Pages: 5}
	for name, c := range map[string]struct {
		job  queue.Job
		hold queue.Hold
		held bool
	}{
		"held by its folder's profile": {queue.Job{Path: "/scans/forms/a.pdf", HeldBy: queue.Profile}, profile, true},
		"beside that folder":           {queue.Job{Path: "/scans/a.pdf"}, profile, false},
		"held by another profile":      {queue.Job{Path: "/scans/other/a.pdf", HeldBy: queue.Profile}, profile, false},
		"of few pages":                 {queue.Job{Path: "/scans/a.pdf", Size: 2000, Counted: 4}, credits, false},
		"of many pages":                {queue.Job{Path: "/scans/a.pdf", Size: 500, Counted: 5}, credits, true},
		"of pages that nobody counted": {queue.Job{Path: "/scans/a.pdf", Size: 2000}, credits, true},
		"of another folder":            {queue.Job{Path: "/scans/a.pdf"}, queue.Hold{Cause: queue.Missing, Folder: "/other"}, false},
	} {
		c.job.State, c.job.Folder = queue.Queued, "/scans"
		next := View(c.job, []queue.Hold{c.hold}).Next
		if held := next == "waits until the hold "+c.hold.Key()+" is over"; held != c.held {
			t.Errorf("a scan %s: %s", name, next)
		}
	}
}

// No story says a bare word of the program's.
// A scan in parts says which it is at.
func TestParts(t *testing.T) {
	j := queue.Job{State: queue.Processing, Document: "d", Pages: 30, Parts: []queue.Part{{From: 1, To: 10, Collected: true}, {From: 11, To: 20}, {From: 21, To: 30}}}
	if v := View(j, nil); v.Part != 2 || v.Parts != 3 || !strings.HasSuffix(v.Next, " (part 2 of 3)") {
		t.Errorf("at the second: %d of %d, next %q", v.Part, v.Parts, v.Next)
	}
	j.State, j.Parts[1].Collected, j.Parts[2].Collected = queue.Done, true, true
	if v := View(j, nil); v.Part != 0 || v.Parts != 3 || strings.Contains(v.Next, "part") {
		t.Errorf("in the end: %d of %d, next %q", v.Part, v.Parts, v.Next)
	}
}

func TestSay(t *testing.T) {
	for _, what := range []string{"noticed", "sending", "uploaded", "unanswered", "not found", "announced", "divided", "part collected",
		"part lost", "damaged", "collected", "deleted", "adopted", "results present", "replayed", "retry", "reject", "fail", "gone", "held", "changed",
		"crashed", "cancel", "again"} {
		if text, _ := Say(queue.Event{What: what}); strings.HasPrefix(text, what) {
			t.Errorf("%s is told as %q", what, text)
		}
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
