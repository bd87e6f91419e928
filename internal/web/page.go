package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"scandrop/internal/control"
	"scandrop/queue"
)

//go:embed page static
var embedded embed.FS

// perPage is how many scans the page lists at once.
const perPage = 50

// templates are all pages. They are parsed once for each server: no request can
// change them.
func templates() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"moment":  moment,
		"bytes":   size,
		"rate":    func(p control.Pace) string { return fmt.Sprintf("%.3g requests a second", p.Rate) },
		"trouble": func(c control.Counts) int { return c[queue.Failed] + c[queue.Rejected] },
		"since":   since,
		"outcome": outcome,
	}).ParseFS(embedded, "page/*.html"))
}

// moment is a time as a person reads it: the clock today, else with its day.
func moment(t time.Time) string {
	t = t.Local()
	now := time.Now()
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format("15:04:05")
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006 15:04")
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// since is when the job came to where it is, as far as its record says.
func since(j control.Job) time.Time {
	for _, t := range []time.Time{j.Finished, j.Uploaded, j.Sent} {
		if !t.IsZero() && (t != j.Finished || j.State.Final()) {
			return t
		}
	}
	return j.Added
}

// outcome is what became of a job that nothing is left to do for.
func outcome(j control.Job) string {
	var names []string
	for _, r := range j.Results {
		if r.Path != "" {
			names = append(names, filepath.Base(r.Path))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "→ " + strings.Join(names, ", ")
}

// A summary is what the head of the page shows.
type summary struct{ control.Status }

// Waiting, Running and Trouble are numbers of jobs.
func (s summary) Waiting() int { return s.Jobs[queue.Queued] }

// Running counts the jobs that are under way.
func (s summary) Running() int { return s.Jobs.Open() - s.Jobs[queue.Queued] }

// Trouble counts the jobs that wait for a person.
func (s summary) Trouble() int { return s.Jobs[queue.Failed] + s.Jobs[queue.Rejected] }

// Settling counts the files that have not stopped changing.
func (s summary) Settling() int {
	n := 0
	for _, f := range s.Folders {
		n += f.Settle
	}
	return n
}

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
	Status summary
	listData
	Groups              []group
	State, Folder, Text string
	Said                string
}

type listData struct {
	Page          control.Page
	First         bool // new scans belong at its head
	Filtered      bool
	Most          int
	Newest, Older string
}

// home is the page.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r, perPage)
	var st control.Status
	d := homeData{Groups: groups}
	if err == nil {
		st, err = s.status()
	}
	if err == nil {
		d.Page, err = s.find(f)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	v := r.URL.Query()
	d.Status, d.State, d.Folder, d.Text, d.Said = summary{st}, strings.Join(v["state"], ","), f.Folder, f.Text, did[v.Get("did")]
	d.Filtered = len(f.States) > 0 || f.Folder != "" || f.Text != ""
	d.First, d.Most = !d.Filtered && f.After == 0, f.Limit
	query := control.Filter{States: f.States, Folder: f.Folder, Text: f.Text}
	if f.After != 0 {
		d.Newest = "/?" + query.Values().Encode()
	}
	if d.Page.Next != 0 {
		query.After = d.Page.Next
		d.Older = "/?" + query.Values().Encode()
	}
	s.show(w, http.StatusOK, "home", d)
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

// show renders a page whole before anything is sent.
func (s *Server) show(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, data); err != nil {
		s.Log.Error("a page cannot be shown", "page", name, "error", err)
		plain(w, http.StatusInternalServerError, "this page cannot be shown; the log says why")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// part renders a piece of a page; "" if that fails.
func (s *Server) part(name string, data any) string {
	var b strings.Builder
	if err := s.templates.ExecuteTemplate(&b, name, data); err != nil {
		s.Log.Error("a page cannot be shown", "page", name, "error", err)
		return ""
	}
	return b.String()
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
	s.show(w, status, "problem", d)
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
	Link string
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
		link := ""
		if res.Path != "" {
			link = resultLink(j, res.Format)
		}
		d.Results = append(d.Results, resultData{res, link})
	}
	d.Sides = s.sides(j)
	for _, side := range d.Sides {
		if side.Scan != nil {
			d.Pages = max(d.Pages, side.Scan.Number)
		}
	}
	s.show(w, http.StatusOK, "job", d)
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
	var data []byte
	err := fs.ErrNotExist
	if fs.ValidPath(name) && !strings.Contains(name, "/") { // the pages' templates lie beside
		data, err = fs.ReadFile(embedded, path.Join("static", name))
	}
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
	if err == nil {
		s.Log.Info("by hand", "what", "drop", "scan", path)
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

func resultLink(j queue.Job, format string) string {
	return "/jobs/" + strconv.FormatUint(j.ID, 10) + "/results/" + url.PathEscape(format)
}
