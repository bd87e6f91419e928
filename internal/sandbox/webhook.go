package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"time"
)

// webhook is where results are announced. Without a URL they are not.
type webhook struct{ url, secret string }

// sign returns the X-Signature header of a webhook with this body.
func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// scheduleHook sends d's webhook when d is processed. The caller holds s.mu.
func (s *Sandbox) scheduleHook(d *document, now time.Time) {
	d.stopHook()
	if s.closed || d.stays || d.failure != "" || d.hookURL == "" && s.webhook.url == "" {
		return
	}
	d.timer = time.AfterFunc(d.done.Sub(now), func() { s.fireHook(d) })
}

// fireHook runs on the timer's goroutine.
func (s *Sandbox) fireHook(d *document) {
	s.mu.Lock()
	now := time.Now()
	doc, reading, serial := d.at(now), d.reading, d.serial
	to := webhook{cmp.Or(d.hookURL, s.webhook.url), s.webhook.secret}
	if s.closed || to.url == "" || doc.Status != "processed" || s.find(d.ID, now) != d {
		s.mu.Unlock()
		return
	}
	s.hooks.Add(1)
	s.mu.Unlock()
	defer s.hooks.Done()

	body := marshal(s.result(doc, reading, serial, 2))
	if err := s.post(s.ctx, to, body); err != nil {
		s.log.Warn("webhook not delivered", "document", doc.ID, "error", err)
		return
	}
	s.log.Info("webhook delivered", "document", doc.ID)
}

func (s *Sandbox) post(ctx context.Context, to webhook, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Signature", sign(to.secret, body))
	resp, err := s.hook.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return err
}
