// Package webhook takes the calls by which the service tells that a result is
// there.
//
// A call is believed so far only that somebody looks sooner: the one thing that is
// taken from it is the id of a document. With a secret nothing is taken from a
// call that was not signed with it; without one the path is the secret. What a
// call costs is bounded, whoever makes it, and however often: connections are few,
// no body is read beyond [MaxBody] or for longer than some seconds, and none at all
// for another path, another method or without a signature.
//
// That calls come is not promised: they may be late, come twice, or never.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// MaxBody is the longest body that is read, in bytes: the text of some
	// hundred pages. The result of a longer one is found by asking for it.
	MaxBody = 1 << 20

	connections = 64 // that are open at once; each costs what it has sent, MaxBody at most
	longestID   = 256

	headerTime = 5 * time.Second
	callTime   = 15 * time.Second
	idleTime   = 30 * time.Second
	endTime    = 3 * time.Second // for calls that are under way when we are told to stop

	sayAgain = time.Minute // how often the log tells of calls that are refused
)

// Config says what a Hook takes. Path and Hint must be given.
type Config struct {
	// Path is that of the hook's URL, and begins with a slash.
	Path string
	// Secret returns what calls must be signed with. It is asked at each call
	// that bears a signature, so that a new one needs no restart. nil means that
	// the path is the secret.
	Secret func() (string, error)
	// Hint is given the id of a document whose result is there, as the call
	// tells; it may be nobody's. It is called concurrently. After an error the
	// call is answered so that the service may try again.
	Hint func(document string) error
	// Log is told of calls that are refused, once a minute at most, without
	// anything that came with them. nil discards it.
	Log *slog.Logger
}

// A Hook is the handler of the one route. It may be used concurrently.
type Hook struct {
	config  Config
	refused atomic.Int64 // since the log was told
	told    atomic.Int64 // when, in Unix seconds
}

// New returns a Hook.
func New(c Config) *Hook {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Hook{config: c}
}

// ServeHTTP implements [http.Handler]. A call that is well is answered with 204,
// whether anybody knows its document or not.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, why := h.call(w, r)
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Connection", "close") // what is left of its body is not read
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	http.Error(w, http.StatusText(status), status)
	h.complain(status, why)
}

// call takes one call. Its steps go from what costs nothing to what costs most.
func (h *Hook) call(w http.ResponseWriter, r *http.Request) (status int, why string) {
	if !same(r.URL.Path, h.config.Path) {
		return http.StatusNotFound, "another path"
	}
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "not a POST"
	}
	signature, signed := signatureOf(r.Header)
	if h.config.Secret != nil && !signed {
		return http.StatusUnauthorized, "no signature"
	}
	if r.ContentLength > MaxBody {
		return http.StatusRequestEntityTooLarge, "its body is too long"
	}
	secret := ""
	if h.config.Secret != nil {
		var err error
		if secret, err = h.config.Secret(); err != nil || secret == "" {
			return http.StatusServiceUnavailable, "the secret that calls are signed with cannot be read"
		}
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody)); err != nil {
		if _, long := errors.AsType[*http.MaxBytesError](err); long {
			return http.StatusRequestEntityTooLarge, "its body is too long"
		}
		return http.StatusBadRequest, "its body did not come"
	}
	if h.config.Secret != nil && !hmac.Equal(signature, Sign(secret, body.Bytes())) {
		return http.StatusUnauthorized, "its signature is wrong"
	}
	document, ok := documentOf(body.Bytes())
	if !ok {
		return http.StatusBadRequest, "it names no document"
	}
	if err := h.config.Hint(document); err != nil {
		return http.StatusServiceUnavailable, "it could not be heeded: " + err.Error()
	}
	return http.StatusNoContent, ""
}

// complain logs that calls are refused, and what the last was refused for.
func (h *Hook) complain(status int, why string) {
	n := h.refused.Add(1)
	now, last := time.Now().Unix(), h.told.Load()
	if now-last >= int64(sayAgain.Seconds()) && h.told.CompareAndSwap(last, now) {
		h.refused.Add(-n)
		h.config.Log.Warn("webhook: call refused", "status", status, "reason", why, "refused", n)
	}
}

// same compares in constant time.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// Sign returns the HMAC-SHA256 of a body.
func Sign(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

const signatureScheme = "sha256="

// signatureOf reads the one X-Signature of a call, "sha256=HEX".
func signatureOf(header http.Header) (mac []byte, ok bool) {
	values := header.Values("X-Signature")
	if len(values) != 1 {
		return nil, false
	}
	text, ok := strings.CutPrefix(values[0], signatureScheme)
	if !ok || len(text) != hex.EncodedLen(sha256.Size) {
		return nil, false
	}
	mac, err := hex.DecodeString(text)
	return mac, err == nil
}

// documentOf finds the id in the result object that a call brings.
func documentOf(body []byte) (id string, ok bool) {
	var result struct {
		ID         string `json:"id"`
		DocumentID string `json:"document_id"`
	}
	if json.Unmarshal(body, &result) != nil {
		return "", false
	}
	if id = result.ID; id == "" {
		id = result.DocumentID
	}
	return id, id != "" && len(id) <= longestID
}

// Serve takes calls from the listener until ctx is done, and returns nil then. It
// closes the listener.
func (h *Hook) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       callTime,
		WriteTimeout:      callTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // of strangers' connections
		Protocols:         new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	served := make(chan error, 1)
	go func() { served <- s.Serve(newBounded(l, connections)) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	if s.Shutdown(end) != nil {
		s.Close()
	}
	if err := <-served; err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// bounded accepts so many connections at once. Who comes when there are more
// waits to be accepted, and costs nothing meanwhile.
type bounded struct {
	net.Listener
	slots chan struct{}
	done  context.Context
	close context.CancelFunc
}

func newBounded(l net.Listener, most int) *bounded {
	b := &bounded{Listener: l, slots: make(chan struct{}, most)}
	b.done, b.close = context.WithCancel(context.Background())
	return b
}

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.done.Done():
		return nil, net.ErrClosed
	}
	conn, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &boundedConn{Conn: conn, slots: b.slots}, nil
}

// Close implements [net.Listener].
func (b *bounded) Close() error {
	b.close()
	return b.Listener.Close()
}

type boundedConn struct {
	net.Conn
	slots  chan struct{}
	closed atomic.Bool
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		defer func() { <-c.slots }()
	}
	return c.Conn.Close()
}
