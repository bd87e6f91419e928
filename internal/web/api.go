package web

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"scandrop/internal/control"
	"scandrop/queue"
)

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil { // no type of ours can fail
		status, text = http.StatusInternalServerError, []byte(`{"code":"failed","error":"the answer could not be written"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	w.Write(append(text, '\n'))
}

// failed says why by the error.
func (s *Server) failed(w http.ResponseWriter, r *http.Request, err error) {
	refused, isRefused := errors.AsType[*queue.RefusedError](err)
	bad, isBad := errors.AsType[*badRequest](err)
	missing, isMissing := errors.AsType[*noFile](err)
	unknown, isUnknown := errors.AsType[*notAScan](err)
	name, isName := errors.AsType[*NameError](err)
	_, isLong := errors.AsType[*http.MaxBytesError](err)
	switch {
	case errors.Is(err, queue.ErrNoJob):
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNoJob, Message: err.Error(),
			Hint: `"scandrop queue list" shows the jobs there are`})
	case isRefused:
		s.problem(w, r, http.StatusConflict, &control.Problem{Code: control.CodeRefused, Message: refused.Error()})
	case isBad:
		s.problem(w, r, http.StatusBadRequest, &control.Problem{Code: control.CodeBad, Message: bad.what, Hint: bad.hint})
	case isName:
		s.problem(w, r, http.StatusBadRequest, &control.Problem{Code: control.CodeBad, Message: name.Error(),
			Hint: "a name has at most 200 bytes, does not begin with a dot, and leads to no other folder"})
	case isMissing:
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNoFile, Message: missing.Error()})
	case isUnknown:
		s.problem(w, r, http.StatusUnsupportedMediaType, &control.Problem{Code: control.CodeType, Message: unknown.Error(),
			Hint: "PDF, JPG, PNG, TIFF, HEIC and GIF are taken"})
	case isLong, errors.Is(err, errTooBig):
		s.problem(w, r, http.StatusRequestEntityTooLarge, &control.Problem{Code: control.CodeTooBig, Message: errTooBig.Error(),
			Hint: fmt.Sprintf("at most %s are taken", size(s.MaxScan))})
	default:
		s.Log.Error("a request to the page failed", "method", r.Method, "error", err)
		s.problem(w, r, http.StatusInternalServerError, &control.Problem{Code: control.CodeFailed, Message: err.Error()})
	}
}

type badRequest struct{ what, hint string }

func (e *badRequest) Error() string { return e.what }

// status is what the daemon knows of itself.
func (s *Server) status() (control.Status, error) {
	st := s.About()
	st.Now = time.Now().Round(0)
	counts, err := s.Queue.Counts()
	if err != nil {
		return st, err
	}
	st.Holds = []control.Hold{}
	for _, h := range s.Queue.Holds() {
		st.Holds = append(st.Holds, control.ViewHold(h))
	}
	today, err := s.Queue.Today()
	if err != nil {
		return st, err
	}
	st.Today = control.Today{Done: today.Done, Failed: today.Failed, Rejected: today.Rejected, Pages: today.Pages}
	st.Jobs = control.Counts{}
	configured := map[string]bool{}
	for i := range st.Folders {
		f := &st.Folders[i]
		f.Jobs = control.Counts(counts[f.Path])
		configured[f.Path] = true
		for _, h := range st.Holds {
			if h.Folder == f.Path {
				f.Held = append(f.Held, h.Name)
			}
		}
	}
	for _, states := range counts {
		for state, n := range states {
			st.Jobs[state] += n
		}
	}
	st.Reasons = s.readiness.reasons(s.Queue)
	st.Ready = len(st.Reasons) == 0
	return st, nil
}

func (s *Server) apiStatus(w http.ResponseWriter, r *http.Request) {
	st, err := s.status()
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, st)
}

// filter reads which jobs are asked for.
func filter(r *http.Request, usual int) (queue.Filter, error) {
	v := r.URL.Query()
	f := queue.Filter{Folder: v.Get("folder"), Text: v.Get("q"), Limit: usual}
	for _, words := range v["state"] {
		for word := range strings.SplitSeq(words, ",") {
			if word == "" {
				continue
			}
			if !slices.Contains(queue.States, queue.State(word)) {
				return f, &badRequest{fmt.Sprintf("there is no state %q", word), fmt.Sprintf("the states are %v", queue.States)}
			}
			f.States = append(f.States, queue.State(word))
		}
	}
	var err error
	if after := v.Get("after"); after != "" {
		if f.After, err = strconv.ParseUint(after, 10, 64); err != nil {
			return f, &badRequest{"after is the number that the page before gave as next", ""}
		}
	}
	if limit := v.Get("limit"); limit != "" {
		if f.Limit, err = strconv.Atoi(limit); err != nil || f.Limit < 1 || f.Limit > 1000 {
			return f, &badRequest{"limit is a number from 1 to 1000", ""}
		}
	}
	return f, nil
}

// list is one page of jobs.
func (s *Server) list(f queue.Filter) (control.Page, error) {
	page, err := s.Queue.List(f)
	if err != nil {
		return control.Page{}, err
	}
	holds := s.Queue.Holds()
	p := control.Page{Jobs: make([]control.Job, len(page.Jobs)), Next: page.Next}
	for i, j := range page.Jobs {
		p.Jobs[i] = control.View(j, holds)
	}
	return p, nil
}

func (s *Server) apiJobs(w http.ResponseWriter, r *http.Request) {
	f, err := filter(r, 100)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	page, err := s.list(f)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, page)
}

// job reads the job that the address names.
func (s *Server) job(r *http.Request) (queue.Job, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if err != nil {
		return queue.Job{}, &badRequest{"a job is named by its number", ""}
	}
	return s.Queue.Get(id)
}

// told is a job with its story.
func (s *Server) told(j queue.Job) (control.Job, error) {
	v := control.View(j, s.Queue.Holds())
	story, err := s.Queue.Story(j.ID)
	v.Story = story
	return v, err
}

func (s *Server) apiJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r)
	s.tell(w, r, j, err)
}

func (s *Server) apiJobByPath(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Query().Get("path")
	if path == "" {
		s.failed(w, r, &badRequest{"name the scan by ?path=", ""})
		return
	}
	j, err := s.Queue.ByPath(path)
	s.tell(w, r, j, err)
}

func (s *Server) tell(w http.ResponseWriter, r *http.Request, j queue.Job, err error) {
	var v control.Job
	if err == nil {
		v, err = s.told(j)
	}
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, v)
}

// act does with the job what a person asks for.
func (s *Server) act(r *http.Request) (j queue.Job, err error) {
	if j, err = s.job(r); err != nil {
		return j, err
	}
	switch action := r.PathValue("action"); action {
	case "retry":
		pay := false
		if v := r.FormValue("pay_again"); v != "" {
			if pay, err = strconv.ParseBool(v); err != nil {
				return j, &badRequest{"pay_again is true or false", ""}
			}
		}
		j, err = s.Queue.Retry(j.ID, pay)
	case "cancel":
		j, err = s.Queue.Cancel(j.ID)
	case "forget":
		j, err = s.Queue.Forget(j.ID)
	default:
		return j, &badRequest{fmt.Sprintf("a job cannot be asked to %q", action), "it can be asked to retry, cancel or forget"}
	}
	if err == nil {
		s.Log.Info("by hand", "what", r.PathValue("action"), "job", j.ID, "state", j.State)
		s.Moved(j)
	}
	return j, err
}

func (s *Server) apiAct(w http.ResponseWriter, r *http.Request) {
	j, err := s.act(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, control.View(j, s.Queue.Holds()))
}

func (s *Server) release(r *http.Request) (int, error) {
	name := r.FormValue("hold")
	if name == "" {
		return 0, &badRequest{"name the hold by hold=NAME, or hold=all", ""}
	}
	n, err := s.Queue.Release(name)
	if err == nil && n > 0 {
		s.Log.Info("by hand", "what", "release", "hold", name)
	}
	return n, err
}

func (s *Server) apiRelease(w http.ResponseWriter, r *http.Request) {
	n, err := s.release(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	answer(w, http.StatusOK, control.Released{Released: n})
}

//go:embed openapi.json
var description []byte

// openAPI serves the description of this API.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(description)
}

// healthz says that the process answers, and proves to a client that knows the
// token that it is the one; see [control.Proof].
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if nonce := r.Header.Get(control.NonceHeader); nonce != "" && len(nonce) <= 64 {
		w.Header().Set(control.ProofHeader, control.Proof(s.Token, s.host, nonce))
	}
	plain(w, http.StatusOK, "ok")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// readyz says whether work gets done. Why not is told to those only who may
// know the names of folders.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	reasons := s.readiness.reasons(s.Queue)
	switch {
	case len(reasons) == 0:
		plain(w, http.StatusOK, "ready")
	case s.allowed(r):
		plain(w, http.StatusServiceUnavailable, "not ready\n"+strings.Join(reasons, "\n"))
	default:
		plain(w, http.StatusServiceUnavailable, "not ready")
	}
}

// readiness remembers for a moment whether the queue can be written: each try is
// a write to the disk, and anybody may ask.
type readiness struct {
	mu    sync.Mutex
	tried time.Time
	err   error
}

const readyFor = 10 * time.Second

func (r *readiness) reasons(q *queue.Queue) []string {
	r.mu.Lock()
	if now := time.Now(); r.tried.IsZero() || now.Sub(r.tried) >= readyFor {
		r.tried, r.err = now, q.Keep("ready", nil)
	}
	err := r.err
	r.mu.Unlock()
	var reasons []string
	if err != nil {
		reasons = append(reasons, fmt.Sprintf("the queue cannot be written: %v", err))
	}
	for _, h := range q.Holds() {
		reasons = append(reasons, fmt.Sprintf("held: %s: %s", h.Key(), h.Reason))
	}
	return reasons
}
