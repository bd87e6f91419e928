package hwocr

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// TransportConfig says how connections are made. The zero value suits most machines.
type TransportConfig struct {
	// Proxy is the URL of a proxy: http, https or socks5. Empty stands for what
	// HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.
	Proxy string

	// CAFile names a PEM file with certificates that are trusted beside those of
	// the system.
	CAFile string
}

// NewTransport returns a transport for [Config.Transport], or an error that names what
// is wrong with c. Whoever stops using it calls CloseIdleConnections.
func NewTransport(c TransportConfig) (*http.Transport, error) {
	proxy := http.ProxyFromEnvironment
	if c.Proxy != "" {
		u, err := parseURL(c.Proxy)
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		switch u.Scheme {
		case "http", "https", "socks5", "socks5h":
		default:
			return nil, errors.New("proxy: want http://host:port, https://host:port or socks5://host:port")
		}
		if u.Host == "" {
			return nil, errors.New("proxy: names no host")
		}
		proxy = http.ProxyURL(u)
	}
	roots, err := rootCAs(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: 30 * time.Second,
		ForceAttemptHTTP2:   true,
		// More than there may be requests at once: 33, with 16 workers.
		MaxIdleConns:           48,
		MaxIdleConnsPerHost:    48,
		MaxResponseHeaderBytes: 64 << 10,
		// Shorter than servers keep idle connections. An upload on one that the
		// server has just given up is lost after it was sent, and would have to be
		// looked up.
		IdleConnTimeout: 30 * time.Second,
		// A connection that died in silence must not hold up all that share it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}, nil
}

// rootCAs returns nil, the system's own, for no file.
func rootCAs(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return roots, nil
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	conn, err := d.DialContext(ctx, network, addr)
	if tcp, ok := conn.(*net.TCPConn); ok {
		// The system would buffer megabytes. On a slow line that takes minutes to
		// drain after the last byte was handed over, and looks like no progress. A
		// system that does not let us choose is no reason not to connect.
		_ = tcp.SetWriteBuffer(256 << 10)
	}
	return conn, err
}

// opKey finds the operation in a request's context, for the log.
type opKey struct{}

// transport is what every request passes on its way out: it waits for its turn, is
// given the token, is watched for progress and logged, and tells the pace what the
// service thinks of it.
type transport struct {
	scheme, host string // where the token may go
	token        func() (string, error)
	timeout      time.Duration
	pace         *Pace
	agent        string
	asked        func(op string, status int) // may be nil
	log          *slog.Logger
	next         http.RoundTripper
}

// RoundTrip implements [http.RoundTripper]. The answer must be closed.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	turn, token, err := t.admit(req)
	if err != nil {
		t.pace.Done(turn, Answer{})
		if req.Body != nil {
			req.Body.Close() // as the interface demands
		}
		return nil, err
	}
	x := t.exchange(req)
	out := req.Clone(x.ctx)
	out.Header.Set("Authorization", "Bearer "+token)
	out.Header.Set("Accept", "application/json")
	out.Header.Set("User-Agent", t.agent)
	if req.Body != nil {
		out.Body = &requestBody{req.Body, x}
	}
	resp, err := t.next.RoundTrip(out)
	if err != nil {
		t.pace.Done(turn, Answer{})
		err = x.explain(err)
		x.finish(0)
		if text := err.Error(); strings.Contains(text, token) { // a server that echoes requests
			err = &discreetError{without(token, text), err}
		}
		return nil, err
	}
	t.heed(resp, turn)
	if resp.StatusCode == http.StatusSwitchingProtocols && resp.Body != nil {
		resp.Body.Close() // it is the connection, whose silence no context ends
		resp.Body = nil
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	resp.Request = out
	resp.Body = &responseBody{resp.Body, x, resp.StatusCode}
	return resp, nil
}

// admit waits until the request may go out, and returns its turn and the token to send
// with it.
func (t *transport) admit(req *http.Request) (turn Turn, token string, err error) {
	if req.URL.Scheme != t.scheme || req.URL.Host != t.host {
		return turn, "", fmt.Errorf("the token is not for %s", req.URL.Host)
	}
	wait := t.pace.Wait
	if req.Method == http.MethodPost {
		wait = t.pace.WaitLast // it begins what others bring to an end
	}
	if turn, err = wait(req.Context()); err != nil {
		return turn, "", fmt.Errorf("waiting to send: %w", err)
	}
	token, err = t.token()
	switch {
	case err != nil:
		return turn, "", fmt.Errorf("token: %w", err)
	case token == "":
		return turn, "", errors.New("token: it is empty")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return turn, "", errors.New("token: it holds characters that no token has, such as blanks or line ends")
	}
	if begin, _ := req.Context().Value(beginKey{}).(func() error); begin != nil {
		if err := begin(); err != nil {
			return turn, "", err
		}
	}
	return turn, token, nil
}

// heed passes on what an answer says about the pace.
func (t *transport) heed(resp *http.Response, turn Turn) {
	now := serverTime(resp.Header)
	a := Answer{Status: resp.StatusCode, After: ParseRetryAfter(resp.Header.Get("Retry-After"), now)}
	if left, err := count(resp.Header.Get("X-RateLimit-Remaining")); err == nil {
		a.Left = left
		a.Reset = parseReset(resp.Header.Get("X-RateLimit-Reset"), now)
		if limit, err := count(resp.Header.Get("X-RateLimit-Limit")); err == nil {
			a.Limit = limit
		}
		if left == 0 {
			t.pace.hold(a.Reset)
		}
	}
	if a.After == 0 {
		a.After = a.Reset
	}
	t.pace.Done(turn, a)
}

// count reads a number of requests.
func count(value string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
	return int(n), err
}

// parseReset reads X-RateLimit-Reset, which some servers fill with the seconds to wait
// and some with the Unix time to wait for.
func parseReset(value string, now time.Time) time.Duration {
	const years = 1e8 // seconds: nobody waits as long, and every date is later
	unix, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil || unix < years {
		return ParseRetryAfter(value, now)
	}
	return min(max(time.Unix(unix, 0).Sub(now), 0), maxRetryAfter)
}

// stall is the cause of a request that was given up for lack of progress. It is no
// context error: nobody asked for the end of the work.
type stall string

func (s stall) Error() string { return string(s) }

// discreetError is an error whose own text holds the token.
type discreetError struct {
	text string
	err  error
}

func (e *discreetError) Error() string { return e.text }
func (e *discreetError) Unwrap() error { return e.err }

// exchange is one request and its answer, watched: when no byte moves for the time-out
// its context ends.
type exchange struct {
	transport      *transport
	caller, ctx    context.Context
	cancel         func()
	timer          *time.Timer
	op, method     string
	start          time.Time
	sent, received atomic.Int64
	once           sync.Once
}

func (t *transport) exchange(req *http.Request) *exchange {
	most := 15 * t.timeout
	ctx, stop := context.WithTimeoutCause(req.Context(), most, stall(fmt.Sprintf("not done after %v", most)))
	ctx, cancel := context.WithCancelCause(ctx)
	x := &exchange{
		transport: t,
		caller:    req.Context(),
		ctx:       ctx,
		cancel:    func() { cancel(nil); stop() },
		method:    req.Method,
		start:     time.Now(),
	}
	x.op, _ = ctx.Value(opKey{}).(string)
	x.timer = time.AfterFunc(t.timeout, func() { cancel(stall(fmt.Sprintf("no progress for %v", t.timeout))) })
	return x
}

// progress is called when bytes have moved. It may come once more after finish, which
// is harmless: the context has ended by then.
func (x *exchange) progress() { x.timer.Reset(x.transport.timeout) }

// explain returns the reason behind err, which the ways of a transport may hide.
func (x *exchange) explain(err error) error {
	if s, ok := errors.AsType[stall](context.Cause(x.ctx)); ok {
		return s
	}
	if stopped := x.caller.Err(); stopped != nil && !errors.Is(err, stopped) {
		return fmt.Errorf("%w: %w", stopped, err)
	}
	return err
}

// finish releases what watching took, and logs the request. Status 0 means that there
// was no answer. Errors stay out of the log: that of a file names it.
func (x *exchange) finish(status int) {
	x.once.Do(func() {
		x.timer.Stop()
		x.cancel()
		if x.transport.asked != nil {
			x.transport.asked(x.op, status)
		}
		x.transport.log.Debug("request",
			"op", x.op,
			"method", x.method,
			"status", status,
			"duration", time.Since(x.start),
			"sent", x.sent.Load(),
			"received", x.received.Load())
	})
}

type requestBody struct {
	io.ReadCloser
	x *exchange
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.x.progress() // what was read before has gone out
	n, err := b.ReadCloser.Read(p)
	b.x.sent.Add(int64(n))
	return n, err
}

type responseBody struct {
	io.ReadCloser
	x      *exchange
	status int
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.x.progress()
		b.x.received.Add(int64(n))
	}
	if err != nil && err != io.EOF {
		err = b.x.explain(err)
	}
	return n, err
}

func (b *responseBody) Close() error {
	err := b.ReadCloser.Close()
	b.x.finish(b.status)
	return err
}
