// Package web shows what the daemon knows and takes what a person decides: a page
// for people, a JSON API for programs (internal/web/openapi.json), health and metrics.
//
// Everything but health and metrics, which name no file, needs a session or the
// token of the state folder, for reading, too: a scan is confidential even from
// other users of the machine. A request that names another host than this
// machine's, or that comes from a page of another origin, is refused. Headers,
// bodies and connections are bounded in size, number and time, and nothing that
// a client does keeps the daemon from its work.
//
// It reads the queue and changes it only through its admin calls.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"scandrop/internal/control"
	"scandrop/queue"
)

// Files is where scans and results are. Every path is one that the job has
// recorded; implementations open nothing outside the hot folders and the folders
// that originals are moved to. Errors wrap [io/fs.ErrNotExist] where a file is
// not there.
type Files interface {
	// Scan opens the original.
	Scan(queue.Job) (io.ReadSeekCloser, error)
	// Result opens one of the job's results.
	Result(j queue.Job, path string) (io.ReadSeekCloser, error)
	// Drop puts a new scan into a hot folder, whole or not at all, under a name
	// that is free there, and returns its path. The error is a [NameError] if the
	// name is none.
	Drop(folder, name string, scan io.Reader) (string, error)
}

// A Config says what a Server shows. All fields but Meter, Log, Certificate
// and Password must be set.
type Config struct {
	Queue *queue.Queue
	Files Files
	// About tells what the queue does not know: version, start, state folder,
	// service, folders, pace, limits, size. It is called often and must be quick.
	About func() control.Status
	// Meter has what /metrics tells of requests and of time.
	Meter *Meter
	// Token is what lies in the state folder.
	Token string
	// Password opens the page for those who cannot read the token; "" for none.
	Password string
	// Certificate turns on TLS.
	Certificate *tls.Certificate
	// MaxScan is the size of the largest scan that may be dropped, in bytes.
	MaxScan int64
	Log     *slog.Logger
}

// A Server serves the page. Make it with [New]. It may be used concurrently.
type Server struct {
	Config
	host     string // host and port by which clients of this machine reach us
	loopback bool
	sessions *sessions
	handler  http.Handler

	hub       *hub
	previews  chan struct{} // one for each that is being made
	guesses   guesses
	readiness readiness
}

// New returns a server for a listener, which it does not use before
// [Server.Serve].
func New(c Config, l net.Addr) *Server {
	if c.Meter == nil {
		c.Meter = new(Meter)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	const previews = 2
	s := &Server{Config: c, sessions: newSessions(), hub: newHub(), previews: make(chan struct{}, previews)}
	s.host, s.loopback = reach(l)
	s.handler = s.routes()
	return s
}

// reach is the host and port by which this machine reaches a listener, and
// whether only this machine does.
func reach(l net.Addr) (host string, loopback bool) {
	a, err := netip.ParseAddrPort(l.String())
	if err != nil {
		return l.String(), false
	}
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		return netip.AddrPortFrom(ip, a.Port()).String(), false
	}
	return netip.AddrPortFrom(ip, a.Port()).String(), ip.IsLoopback()
}

// URL is the address by which this machine reaches the server.
func (s *Server) URL() string {
	if s.Certificate != nil {
		return "https://" + s.host
	}
	return "http://" + s.host
}

// Bounds of what a client may do.
const (
	headerTime  = 5 * time.Second  // for the whole header
	requestTime = 15 * time.Second // for header and body, but for scans that are dropped
	answerTime  = 30 * time.Second // for an answer, but for files and events
	idleTime    = time.Minute
	headerSize  = 16 << 10
	bodySize    = 64 << 10 // of a request that brings no scan
	fileTime    = 15 * time.Minute
	connections = 256
)

// Serve serves the listener until ctx is done, and closes it. It returns nil
// when it was told to stop.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	crowd := &crowd{most: connections, conns: map[net.Conn]*guest{}}
	server := &http.Server{
		Handler:           crowd.busy(s.handler),
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerSize,
		ConnState:         crowd.changed,
		ConnContext:       crowd.context,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true) // one connection, one request: easy to bound
	if s.Certificate != nil {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.Certificate}}
		l = tls.NewListener(l, server.TLSConfig)
	}
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(watching)
	}()
	defer func() {
		stop()
		<-watched
	}()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if server.Shutdown(grace) != nil {
		server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// A crowd bounds the connections. Where there are too many, the oldest one that
// is not having a request answered goes: whoever opens ten thousand and says
// nothing on them keeps nobody else out.
type crowd struct {
	most int

	mu    sync.Mutex
	conns map[net.Conn]*guest
	next  uint64
}

type guest struct {
	number uint64 // in the order of arrival
	served int    // requests that are being answered
}

type crowdKey struct{}

func (c *crowd) context(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, crowdKey{}, conn)
}

func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.next++
		c.conns[conn] = &guest{number: c.next}
		if len(c.conns) > c.most {
			c.evict()
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.conns, conn)
	}
}

// evict closes the oldest connection that waits for its client; the caller
// holds c.mu.
func (c *crowd) evict() {
	var (
		oldest net.Conn
		first  uint64
	)
	for conn, g := range c.conns {
		if g.served == 0 && (oldest == nil || g.number < first) {
			oldest, first = conn, g.number
		}
	}
	if oldest != nil {
		delete(c.conns, oldest)
		oldest.Close()
	}
}

func (c *crowd) busy(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(crowdKey{}).(net.Conn)
		c.serve(conn, 1)
		defer c.serve(conn, -1)
		h.ServeHTTP(w, r)
	})
}

func (c *crowd) serve(conn net.Conn, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.conns[conn]; g != nil {
		g.served += n
	}
}

// hostAllowed reports whether the Host header names this machine. A page whose
// name was pointed at our address (DNS rebinding) sends its own name.
func (s *Server) hostAllowed(header string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback() || !s.loopback // no name can be pointed at a number
	}
	return s.Certificate != nil && s.Certificate.Leaf != nil && s.Certificate.Leaf.VerifyHostname(host) == nil
}

// routes is everything that is served. Each pattern is in internal/web/openapi.json or
// among the pages; a test compares.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.table() {
		body := int64(bodySize)
		if r.who == drops {
			body = 20 * s.MaxScan
		}
		h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Body = http.MaxBytesReader(w, q.Body, body)
			r.serve(w, q)
		}))
		if r.who != anybody {
			h = s.session(h)
		}
		mux.Handle(r.pattern, h)
	}
	mux.Handle("/", s.session(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNotFound, Message: "there is nothing at this address",
			Hint: "/api/v1/openapi.json lists what programs can ask for"})
	})))
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusForbidden, &control.Problem{Code: control.CodeOrigin, Message: "a page of another origin may not ask for this"})
	}))
	inner := origin.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !s.hostAllowed(r.Host) {
			s.problem(w, r, http.StatusMisdirectedRequest, &control.Problem{Code: control.CodeHost,
				Message: fmt.Sprintf("this is scandrop at %s, and not what your request names", s.host),
				Hint:    "ask for it by its address, or by a name that its certificate is for"})
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// policy lets a page use what comes from here and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; object-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// A route is one thing that is served.
type route struct {
	pattern string
	who     who
	serve   http.HandlerFunc
}

// who may ask for something.
type who int

const (
	known   who = iota // who has a session, or the token
	anybody            // of this machine, or whoever else reaches the listener
	drops              // like known, and may bring scans
)

func (s *Server) table() []route {
	return []route{
		{"GET /healthz", anybody, s.healthz},
		{"GET /readyz", anybody, s.readyz},
		{"GET /metrics", anybody, s.metrics},

		{"GET /static/{name}", anybody, s.static},
		{"GET /login", anybody, s.login},
		{"POST /login", anybody, s.enterPassword},
		{"POST /logout", known, s.logout},

		{"GET /{$}", known, s.homePage},
		{"GET /events", known, s.events},
		{"POST /drop", drops, s.dropPage},
		{"POST /release", known, s.releasePage},
		{"GET /jobs/{id}", known, s.jobPage},
		{"POST /jobs/{id}/{action}", known, s.actPage},
		{"GET /jobs/{id}/scan", known, s.scan},
		{"GET /jobs/{id}/preview/{page}", known, s.preview},
		{"GET /jobs/{id}/results/{format}", known, s.result},

		{"GET /api/v1/status", known, s.apiStatus},
		{"GET /api/v1/jobs", known, s.apiJobs},
		{"GET /api/v1/jobs/{id}", known, s.apiJob},
		{"GET /api/v1/jobs/{id}/scan", known, s.scan},
		{"GET /api/v1/jobs/{id}/results/{format}", known, s.result},
		{"GET /api/v1/job", known, s.apiJobByPath},
		{"POST /api/v1/jobs/{id}/{action}", known, s.apiAct},
		{"POST /api/v1/release", known, s.apiRelease},
		{"POST /api/v1/scans", drops, s.apiDrop},
		{"POST /api/v1/links", known, s.apiLink},
		{"GET /api/v1/openapi.json", known, s.openAPI},
	}
}
