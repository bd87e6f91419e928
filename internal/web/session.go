package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"

	"scandrop/internal/control"
)

// Bounds of sessions and of the links that begin them.
const (
	linkLife    = 5 * time.Minute
	sessionLife = 12 * time.Hour // after its last use
	mostOf      = 1000           // links, and sessions, at a time; then the oldest goes
)

// sessions are the sessions and the links that have not been used. They are in
// memory only: a restart ends all.
type sessions struct {
	mu    sync.Mutex
	links map[digest]time.Time // until when
	known map[digest]time.Time
}

type digest [sha256.Size]byte

func newSessions() *sessions {
	return &sessions{links: map[digest]time.Time{}, known: map[digest]time.Time{}}
}

// add makes a secret that is good until then, and forgets what is over.
func add(m map[digest]time.Time, now, until time.Time) string {
	var oldest digest
	for d, t := range m {
		if t.Before(now) {
			delete(m, d)
		} else if o, ok := m[oldest]; !ok || t.Before(o) {
			oldest = d
		}
	}
	if len(m) >= mostOf {
		delete(m, oldest)
	}
	secret := rand.Text()
	m[sha256.Sum256([]byte(secret))] = until
	return secret
}

// link makes a code that begins one session.
func (s *sessions) link() (code string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	expires = now.Add(linkLife)
	return add(s.links, now, expires), expires
}

// use begins the session of a link, which is then used up.
func (s *sessions) use(code string) (session string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := sha256.Sum256([]byte(code))
	until, known := s.links[d]
	delete(s.links, d)
	if !known || until.Before(time.Now()) {
		return "", false
	}
	return s.begin(), true
}

// start begins a session.
func (s *sessions) start() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin()
}

// begin makes a session; the caller holds s.mu.
func (s *sessions) begin() string {
	now := time.Now()
	return add(s.known, now, now.Add(sessionLife))
}

// good reports whether a session goes on, and makes it go on longer.
func (s *sessions) good(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := sha256.Sum256([]byte(session))
	now := time.Now()
	until, known := s.known[d]
	if !known || until.Before(now) {
		return false
	}
	s.known[d] = now.Add(sessionLife)
	return true
}

func (s *sessions) end(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, sha256.Sum256([]byte(session)))
}

// cookie is the session's cookie. Cookies do not know ports: its name tells two
// daemons of a machine apart.
func (s *Server) cookie() string {
	return "scandrop-" + s.host[strings.LastIndexByte(s.host, ':')+1:]
}

// allowed reports whether the request may be answered: by the token, or by a
// session.
func (s *Server) allowed(r *http.Request) bool {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return s.Token != "" && same(strings.TrimSpace(token), s.Token)
	}
	c, err := r.Cookie(s.cookie())
	return err == nil && s.sessions.good(c.Value)
}

// same compares secrets in a time that tells nothing of either.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// guesses bounds how often passwords are tried, by all together.
type guesses struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

const guessesAMinute = 10

func (g *guesses) allow() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.since) >= time.Minute {
		g.since, g.n = now, 0
	}
	g.n++
	return g.n <= guessesAMinute
}

// session lets only those through who may.
func (s *Server) session(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.allowed(r) {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="scandrop"`)
		s.problem(w, r, http.StatusUnauthorized, &control.Problem{Code: control.CodeSession,
			Message: "this needs a session: a scan is confidential even from other users of this machine",
			Hint:    `"scandrop open" (with the same --config) opens one; programs send the token of ` + control.TokenFile + ` in the state folder: Authorization: Bearer TOKEN`})
	})
}

// login uses up a link and begins its session.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	session, ok := s.sessions.use(r.URL.Query().Get("code"))
	if !ok {
		s.problem(w, r, http.StatusUnauthorized, &control.Problem{Code: control.CodeSession,
			Message: "this link was used, or is too old", Hint: `"scandrop open" makes a new one`})
		return
	}
	s.enter(w, r, session)
}

func (s *Server) enter(w http.ResponseWriter, r *http.Request, session string) {
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Value: session, Path: "/", HttpOnly: true,
		Secure: s.Certificate != nil, SameSite: http.SameSiteLaxMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) apiLink(w http.ResponseWriter, _ *http.Request) {
	code, expires := s.sessions.link()
	answer(w, http.StatusOK, control.Link{URL: s.URL() + "/login?code=" + code, Expires: expires.Round(0)})
}
