//go:build unix

package daemon

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/sandbox"
	"scandrop/internal/webhook"
	"scandrop/queue"
)

const hookSecret = "the secret of the hook"

// A hooks is the wire on which the service tells the daemon that results are
// there, with all that can go wrong on it: calls that are lost, late, repeated or
// forged, and some that come before there is anything to tell of.
type hooks struct {
	s       *simulation
	perfect bool // nothing goes wrong
	silent  bool // nothing comes through

	mu   sync.Mutex // guards what follows
	luck *rand.Rand
	told int // calls that were taken
}

// RoundTrip carries a call of the sandbox's.
func (h *hooks) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	signature := req.Header.Get("X-Signature")
	h.mu.Lock()
	n := h.luck.IntN(10)
	late := time.Duration(h.luck.Int64N(int64(20 * time.Minute)))
	h.mu.Unlock()
	if h.perfect {
		n = 9
	}
	switch {
	case h.silent || n == 0: // lost
	case n == 1:
		h.later(late, body, signature)
	case n == 2:
		for range 20 {
			h.deliver(body, signature)
		}
		h.later(late, body, signature)
	case n == 3:
		h.deliver(body, "sha256="+hex.EncodeToString(webhook.Sign("another", body)))
		h.deliver(body, "")
		h.later(late, body, signature)
	default:
		h.deliver(body, signature)
	}
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
}

// made tells, or not, of a document that the service has just accepted: its
// upload is not answered yet, and there may be no result.
func (h *hooks) made(document string) {
	if h.perfect || h.silent || h.s.plan.hooks == "" {
		return
	}
	h.mu.Lock()
	n := h.luck.IntN(4)
	h.mu.Unlock()
	if n == 0 {
		body := fmt.Appendf(nil, `{"id":%q,"status":"processing"}`, document)
		h.later(0, body, "sha256="+hex.EncodeToString(webhook.Sign(hookSecret, body)))
	}
}

func (h *hooks) later(d time.Duration, body []byte, signature string) {
	h.s.running.Go(func() {
		time.Sleep(d)
		h.deliver(body, signature)
	})
}

// deliver brings a call to the daemon that runs, if one does.
func (h *hooks) deliver(body []byte, signature string) {
	in := h.s.current.Load()
	if in == nil || !in.alive() || in.daemon.webhook == nil {
		return
	}
	path, err := webhookPath(in.daemon.Config)
	if err != nil {
		h.s.violated("the webhook's path: %v", err)
		return
	}
	req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	good := true
	if signature != "" {
		req.Header.Set("X-Signature", signature)
	}
	if h.s.plan.hooks == "signed" {
		mac, _ := hex.DecodeString(signature[min(len(signature), len("sha256=")):])
		good = hmac.Equal(mac, webhook.Sign(hookSecret, body))
	}
	w := httptest.NewRecorder()
	in.daemon.webhook.ServeHTTP(w, req)
	switch {
	case !good && w.Code != http.StatusUnauthorized:
		h.s.violated("P8: a forged call was answered with %d", w.Code)
	case good && w.Code == http.StatusNoContent:
		h.mu.Lock()
		h.told++
		h.mu.Unlock()
	case good && w.Code != http.StatusServiceUnavailable: // it was told to stop
		h.s.violated("P8: a good call was answered with %d", w.Code)
	}
}

// hookConfig is what the plan's configuration says of the webhook.
func (p plan) hookConfig(dir string) string {
	switch p.hooks {
	case "signed":
		return fmt.Sprintf("webhook: {listen: '127.0.0.1:8378', secret_file: %s}\n", filepath.Join(dir, "hook-secret"))
	case "path":
		return "webhook: {listen: '127.0.0.1:8378'}\n"
	}
	return ""
}

// TestSimulationWebhook: with the webhook a scan is collected at once, and the
// service is not asked in vain; when it falls silent, or comes back, all goes on.
func TestSimulationWebhook(t *testing.T) {
	dir, err := tempDir()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		const work, batch = 45 * time.Second, 20
		s := newSimulation(dir, plan{
			seed: 1, rescan: time.Minute, formats: "[txt]", workers: 4, hooks: "signed",
			work: func(sandbox.Document) time.Duration { return work },
		})
		s.hooks.perfect = true
		if err := s.prepare(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.restart = began
		s.pass(began)
		dropped := 0
		// drop has so many scans done one after the other, and returns the longest that a
		// result waited to be collected, and the requests a scan.
		drop := func(n int) (longest time.Duration, requests float64) {
			t.Helper()
			before := 0
			for _, n := range s.box.Stats().Requests {
				before += n
			}
			for range n {
				dropped++
				s.take(step{do: "drop", path: fmt.Sprintf("a/scan%d.gif", dropped), n: dropped})
				s.pass(time.Now().Add(7 * time.Minute))
				j, err := s.queue().ByPath(s.at(fmt.Sprintf("a/scan%d.gif", dropped)))
				if err != nil || j.State != queue.Done {
					t.Fatalf("scan %d is %s (%v)\n%s", dropped, j.State, err, s.story.text.String())
				}
				longest = max(longest, j.Collected.Sub(j.Uploaded)-work)
			}
			after := 0
			for _, n := range s.box.Stats().Requests {
				after += n
			}
			return longest, float64(after-before) / float64(n)
		}
		drop(1) // the first announcement shows that there are any
		waited, asked := drop(batch)
		if waited > time.Second || asked > 3 {
			t.Errorf("announced, a result waits for %v, with %.2f requests a scan", waited, asked)
		}
		s.hooks.silent = true
		drop(1) // who finds it learns that they have ceased
		silent, often := drop(batch)
		if silent > 20*time.Second {
			t.Errorf("not announced, a result waits for %v", silent)
		}
		s.hooks.silent = false
		drop(1)
		back, few := drop(batch)
		if back > time.Second || few > 3 {
			t.Errorf("announced again, a result waits for %v, with %.2f requests a scan", back, few)
		}
		t.Logf("announced: collected within %v, %.2f requests a scan; silent: %v, %.2f; back: %v, %.2f", waited, asked, silent, often, back, few)
		for _, broken := range s.end().broken {
			t.Error(broken)
		}
	})
}
