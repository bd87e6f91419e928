package web

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
	"scandrop/queue"
)

//go:embed static
var embedded embed.FS

// perPage is how many scans the page lists at once.
const perPage = 50

// A group is one choice of states.
type group struct{ Value, Label string }

var groups = func() []group {
	g := []group{
		{"uploading,doubtful,processing,written", "under way"},
		{"failed,rejected", "need you: failed or rejected"},
	}
	for _, s := range queue.States {
		g = append(g, group{string(s), string(s)})
	}
	return g
}()

// did is what the page says after a person has asked for something. The address
// names it by a word: what it says cannot be made up by a link.
var did = map[string]string{
	"retry":   "It is tried again.",
	"cancel":  "It is stopped, at once or at its next safe point.",
	"forget":  "Its story is forgotten. What was paid for stays known.",
	"release": "Released. Trouble that is not over holds again at the next attempt.",
	"drop":    "Dropped. It is queued once it has settled.",
}

type homeData struct {
	Status              control.Status
	List                listData
	Groups              []group
	State, Folder, Text string
	Said                string
}

type listData struct {
	Page          control.Page
	First         bool // new scans belong at its head
	Filtered      bool
	Most          int
	Newest, Older h.Address
}

// homePage is the list of scans, and what is told of all.
func (s *Server) homePage(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r, perPage)
	var st control.Status
	d := homeData{Groups: groups}
	if err == nil {
		st, err = s.status()
	}
	if err == nil {
		d.List.Page, err = s.find(f)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	v := r.URL.Query()
	d.Status, d.State, d.Folder, d.Text, d.Said = st, strings.Join(v["state"], ","), f.Folder, f.Text, did[v.Get("did")]
	d.List.Filtered = len(f.States) > 0 || f.Folder != "" || f.Text != ""
	d.List.First, d.List.Most = !d.List.Filtered && f.After == 0, f.Limit
	query := control.Filter{States: f.States, Folder: f.Folder, Text: f.Text}
	if f.After != 0 {
		d.List.Newest = listOf(query.Values())
	}
	if d.List.Page.Next != 0 {
		query.After = d.List.Page.Next
		d.List.Older = listOf(query.Values())
	}
	show(w, http.StatusOK, homeView(d))
}

// find is list for a person: a search for a rare word goes on until the page is
// full, for half a second at most.
func (s *Server) find(f queue.Filter) (control.Page, error) {
	until := time.Now().Add(500 * time.Millisecond)
	var all control.Page
	for {
		page, err := s.list(f)
		if err != nil {
			return all, err
		}
		all.Jobs, all.Next = append(all.Jobs, page.Jobs...), page.Next
		f.Limit -= len(page.Jobs)
		if f.After = page.Next; page.Next == 0 || f.Limit <= 0 || time.Now().After(until) {
			return all, nil
		}
	}
}

// show sends a page, which is rendered whole before.
func show(w http.ResponseWriter, status int, page h.Node) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, h.Document(page))
}

type problemData struct {
	Title, Message, Hint string
	Password             bool
}

// problem says why a request is not fulfilled: to a browser as a page.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, p *control.Problem) {
	if strings.HasPrefix(r.URL.Path, "/api/") || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		answer(w, status, p)
		return
	}
	d := problemData{Title: http.StatusText(status), Message: p.Message + ".", Hint: p.Hint}
	if p.Code != control.CodeNoFile { // begins with the name of the file
		d.Message = upper(d.Message)
	}
	switch p.Code {
	case control.CodeSession:
		d.Title, d.Password = "Who are you?", s.Password != ""
	case control.CodeNoJob:
		d.Title = "There is no such scan"
	case control.CodeRefused:
		d.Title = "That cannot be done now"
	}
	show(w, status, problemView(d))
}

// upper begins the sentence with a capital letter.
func upper(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if first == utf8.RuneError {
		return s
	}
	return string(unicode.ToUpper(first)) + s[n:]
}

// A told is a line of a story in plain words.
type told struct {
	At   time.Time
	Text string
	Bad  bool
}

type jobData struct {
	Job     control.Job
	Now     time.Time
	Later   bool // the next step has a time
	GoesOn  bool // there is a next step
	Pages   int
	Sides   []side
	Story   []told
	Results []resultData
	Version string
	Said    string
}

type resultData struct {
	control.Result
	Link h.Address
}

// jobPage is the whole story of one scan, with the scan and its text side by
// side.
func (s *Server) jobPage(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r)
	var v control.Job
	if err == nil {
		v, err = s.told(j)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	now := time.Now()
	d := jobData{Job: v, Now: now, Later: v.Due.After(now.Add(time.Second)), GoesOn: v.Next != "" && !v.Due.IsZero(), Version: s.About().Version, Said: did[r.URL.Query().Get("did")]}
	for _, e := range v.Story {
		text, bad := control.Say(e)
		d.Story = append(d.Story, told{e.At, text, bad})
	}
	for _, res := range v.Results {
		var link h.Address
		if res.Path != "" {
			link = resultAddress(j, res.Format)
		}
		d.Results = append(d.Results, resultData{res, link})
	}
	d.Sides = s.sides(j)
	for _, side := range d.Sides {
		if side.Scan != nil {
			d.Pages = max(d.Pages, side.Scan.Number)
		}
	}
	show(w, http.StatusOK, jobView(d))
}

// actPage does what a form of the page asks for, and shows where that led.
func (s *Server) actPage(w http.ResponseWriter, r *http.Request) {
	j, err := s.act(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	action := r.PathValue("action")
	to := fmt.Sprintf("/jobs/%d?did=%s", j.ID, action)
	if _, err := s.Queue.Get(j.ID); err != nil { // forgotten, or dropped for the watcher to find again
		to = "/?did=" + action
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (s *Server) releasePage(w http.ResponseWriter, r *http.Request) {
	if _, err := s.release(r); err != nil {
		s.failed(w, r, err)
		return
	}
	http.Redirect(w, r, "/?did=release", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(s.cookie()); err == nil {
		s.sessions.end(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: s.cookie(), Path: "/", MaxAge: -1})
	s.problem(w, r, http.StatusUnauthorized, &control.Problem{Code: control.CodeSession,
		Message: "this session has ended", Hint: `"scandrop open" opens another one`})
}

// password begins a session for who knows the password.
func (s *Server) enterPassword(w http.ResponseWriter, r *http.Request) {
	if s.Password == "" || !s.guesses.allow() || !same(r.PostFormValue("password"), s.Password) {
		s.problem(w, r, http.StatusUnauthorized, &control.Problem{Code: control.CodeSession,
			Message: "that is not the password, or too many were tried in the last minute"})
		return
	}
	s.enter(w, r, s.sessions.start())
}

// static serves what belongs to the pages.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := embedded.ReadFile("static/" + name)
	if err != nil {
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNotFound, Message: "there is nothing at this address"})
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	switch path.Ext(name) { // whatever the system's tables say
	case ".css":
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
	case ".js":
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	case ".svg":
		w.Header().Set("Content-Type", "image/svg+xml")
	}
	w.Write(data)
}

// accepted are the extensions of scans.
var accepted = []string{".pdf", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".gif"}

// drop puts a scan into a folder.
func (s *Server) drop(folder, name string, scan io.Reader) (string, error) {
	known := slices.ContainsFunc(s.About().Folders, func(f control.Folder) bool { return f.Path == folder })
	switch {
	case !known:
		return "", &badRequest{"that is no hot folder", "GET /api/v1/status lists them"}
	case !slices.Contains(accepted, strings.ToLower(filepath.Ext(name))):
		return "", &notAScan{name}
	}
	limited := &io.LimitedReader{R: scan, N: s.MaxScan + 1}
	path, err := s.Files.Drop(folder, name, tooBig{limited})
	switch {
	case err == nil:
		s.Log.Info("by hand", "what", "drop", "scan", path)
	case errors.Is(err, io.ErrUnexpectedEOF): // whose connection ended is no trouble of ours
		err = &badRequest{"the scan is cut off", "send it again"}
	}
	return path, err
}

// errTooBig means that a scan is larger than scandrop takes.
var errTooBig = errors.New("the scan is larger than scandrop takes")

// A NameError means that a scan cannot be dropped under that name; see
// [Files.Drop].
type NameError struct{ Name string }

func (e *NameError) Error() string { return fmt.Sprintf("%q is not the name of a file", e.Name) }

// tooBig fails at the first byte too many.
type tooBig struct{ l *io.LimitedReader }

func (t tooBig) Read(p []byte) (int, error) {
	n, err := t.l.Read(p)
	if t.l.N <= 0 {
		return 0, errTooBig
	}
	return n, err
}

type notAScan struct{ name string }

func (e *notAScan) Error() string { return fmt.Sprintf("%q has not the name of a scan", e.name) }

// apiDrop takes one scan as the body.
func (s *Server) apiDrop(w http.ResponseWriter, r *http.Request) {
	s.patient(w)
	v := r.URL.Query()
	path, err := s.drop(v.Get("folder"), v.Get("name"), r.Body)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusCreated, control.Dropped{Scan: path})
}

// dropPage takes the scans of a form.
func (s *Server) dropPage(w http.ResponseWriter, r *http.Request) {
	s.patient(w)
	form, err := r.MultipartReader()
	if err != nil {
		s.failed(w, r, &badRequest{"this is not what the page's form sends", ""})
		return
	}
	folder := ""
	for { // the form names the folder before the files
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			s.failed(w, r, &badRequest{"the form is cut off, or larger than is taken at once", ""})
			return
		case part.FormName() == "folder":
			text, _ := io.ReadAll(io.LimitReader(part, 4096)) // what is cut off is no hot folder
			folder = string(text)
		case part.FileName() != "":
			if _, err := s.drop(folder, part.FileName(), part); err != nil {
				s.failed(w, r, err)
				return
			}
		}
	}
	http.Redirect(w, r, "/?did=drop", http.StatusSeeOther)
}

// patient gives a request that brings a scan the time that takes.
func (s *Server) patient(w http.ResponseWriter) {
	c := http.NewResponseController(w)
	c.SetReadDeadline(time.Now().Add(fileTime))
	c.SetWriteDeadline(time.Now().Add(fileTime))
}

func resultAddress(j queue.Job, format string) h.Address {
	return jobAddress(j.ID, "results", format)
}
