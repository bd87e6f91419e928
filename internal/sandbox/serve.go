package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDrain is how much of a request's body is read only to be polite: an
// answer that comes while the client still sends is often lost.
const maxDrain = 64 << 20

// answer is a response that is not yet sent.
type answer struct {
	status   int
	header   http.Header
	body     []byte
	document string // for the log
}

// object is a JSON object.
type object map[string]any

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null") // only what JSON cannot say: nothing here
	}
	return b
}

func jsonAnswer(status int, v any) answer {
	return file(status, "application/json", marshal(v))
}

func file(status int, contentType string, body []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {contentType}}, body: body}
}

func message(status int, text string) answer {
	return jsonAnswer(status, object{"message": text})
}

// invalid blames one field of the request.
func invalid(status int, field, text string) answer {
	return jsonAnswer(status, object{"message": text, "errors": map[string][]string{field: {text}}})
}

func page(status int, title string) answer {
	return file(status, "text/html; charset=utf-8",
		fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%[1]s</h1></body></html>\n", title))
}

var (
	unauthenticated = message(http.StatusUnauthorized, "Unauthenticated.")
	noCredits       = jsonAnswer(http.StatusForbidden, object{"error": "Insufficient page credits"})
	notFound        = message(http.StatusNotFound, "Document not found.")
	notYours        = message(http.StatusForbidden, "This document belongs to another account.")
)

// request is a call of the API.
type request struct {
	*http.Request
	op      string
	version int
	id      string      // of the document that the path names
	format  string      // of the result that is asked for
	account string      // whose token it carries
	limits  http.Header // what its answer tells of the limits
	fault   fault
}

// route finds out what r asks for, or answers at once.
func route(r *http.Request) (request, *answer) {
	path := r.URL.Path
	c := request{Request: r}
	unknown := message(http.StatusNotFound, "The route "+strings.TrimPrefix(path, "/")+" could not be found.")

	path = strings.TrimPrefix(path, "/api")
	switch {
	case strings.HasPrefix(path, "/v2/"):
		c.version = 2
	case strings.HasPrefix(path, "/v3/"):
		c.version = 3
	default:
		return c, &unknown
	}
	path = path[len("/v2"):]

	methods := map[string]string{}
	name, isDocument := strings.CutPrefix(path, "/documents/")
	switch {
	case path == "/documents":
		methods["GET"], methods["POST"] = opList, opUpload
	case path == "/users/me" && c.version == 3:
		methods["GET"] = opBalance
	case isDocument && name != "" && !strings.Contains(name, "/"):
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			c.id, c.format = name[:i], name[i+1:]
			methods["GET"] = opDownload
		} else {
			c.id = name
			methods["GET"], methods["DELETE"] = opStatus, opDelete
		}
	default:
		return c, &unknown
	}
	if get := methods["GET"]; get != "" {
		methods["HEAD"] = get
	}
	if c.op = methods[r.Method]; c.op != "" {
		return c, nil
	}
	allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
	a := message(http.StatusMethodNotAllowed, fmt.Sprintf(
		"The %s method is not supported for this route. Supported methods: %s.", r.Method, allowed))
	a.header.Set("Allow", allowed)
	return c, &a
}

// ServeHTTP answers one call of the API. Where the connection is to die it
// panics with [http.ErrAbortHandler], as net/http wants it.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, refusal := route(r)
	if refusal != nil {
		_ = drain(r)
		s.send(w, c, *refusal)
		return
	}
	n := s.begin(&c)
	s.onCall(n, c.op, Before)
	a, err := s.answer(c)
	if err != nil {
		s.abort(c, a)
	}
	s.onCall(n, c.op, Made)
	s.send(w, c, a)
	s.onCall(n, c.op, After)
}

// begin counts the call and finds out what goes wrong with it.
func (s *Sandbox) begin(c *request) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	c.limits = http.Header{}
	c.fault = s.trouble.strike(c.op, time.Now())
	return s.calls
}

func (s *Sandbox) onCall(n int, op string, when Moment) {
	if s.opts.OnCall != nil {
		s.opts.OnCall(n, op, when)
	}
}

// drain reads what is left of the request. An error means that it never came
// whole.
func drain(r *http.Request) error {
	_, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxDrain))
	return err
}

// errBroken means that the connection dies, by the client's fault or by ours.
var errBroken = errors.New("the connection broke")

// answer does the work of the call, or what the script has in its place.
func (s *Sandbox) answer(c request) (answer, error) {
	switch act := c.fault[slotAnswer]; act.verb {
	case "drop":
		if act.count < 0 {
			_ = drain(c.Request)
		} else {
			_, _ = io.CopyN(io.Discard, c.Body, int64(act.count))
		}
		return answer{}, errBroken
	case "redirect":
		a := page(http.StatusFound, "Redirecting to the login page")
		a.header.Set("Location", "https://login.sandbox.invalid/login")
		return a, drain(c.Request)
	case verbAnswer:
		return scripted(act, c.op), drain(c.Request)
	}
	if a := s.admit(&c); a != nil {
		return *a, drain(c.Request)
	}
	if c.op == opUpload {
		return s.upload(c)
	}
	if err := drain(c.Request); err != nil {
		return answer{}, err
	}
	switch c.op {
	case opList:
		return s.list(c), nil
	case opBalance:
		return s.balance(c), nil
	default:
		return s.document(c), nil
	}
}

// scripted is the answer that a script asks for.
func scripted(act action, op string) answer {
	a := message(act.code, cmp.Or(http.StatusText(act.code), "An answer of the sandbox's script."))
	switch {
	case act.html:
		a = page(act.code, fmt.Sprintf("%d %s", act.code, http.StatusText(act.code)))
	case act.code == http.StatusNoContent || act.code == http.StatusNotModified:
		a = answer{status: act.code, header: http.Header{}}
	case act.code == http.StatusUnauthorized:
		a = unauthenticated
	case act.code == http.StatusForbidden && op == opUpload:
		a = noCredits
	case act.code == http.StatusUnprocessableEntity, act.field != "":
		field := cmp.Or(act.field, "file")
		a = invalid(act.code, field, "The "+strings.ReplaceAll(field, "_", " ")+" field is invalid.")
	}
	a.header = maps.Clone(a.header)
	if retry := act.retryHeader(time.Now()); retry != "" {
		a.header.Set("Retry-After", retry)
	}
	return a
}

// admit checks pace and token, and answers if the call goes no further.
func (s *Sandbox) admit(c *request) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.take(time.Now(), s.opts.Announce, c.limits) > 0 {
		return new(message(http.StatusTooManyRequests, "Too Many Attempts."))
	}
	token, ok := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" || s.token != "" && token != s.token {
		if !strings.Contains(c.Header.Get("Accept"), "json") {
			return new(page(http.StatusOK, "Log in"))
		}
		return &unauthenticated
	}
	if s.token == "" {
		c.account = token
	}
	return nil
}

// document answers the calls that name a document.
func (s *Sandbox) document(c request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	d := s.find(c.id, now)
	if d == nil {
		return notFound
	}
	if d.account != c.account && s.token == "" {
		return notYours
	}
	if s.afflict(d, c.fault[slotDocument], now); s.byID[d.ID] == nil {
		return notFound
	}
	var a answer
	switch c.op {
	case opStatus:
		a = jsonAnswer(http.StatusOK, s.single(d, now, c.version))
	case opDownload:
		a = s.download(d, now, c)
	case opDelete:
		s.remove(d, now)
		s.stats.Deletes++
		a = answer{status: http.StatusNoContent, header: http.Header{}}
	}
	a.document = d.ID
	return a
}

// afflict does to d what the script says of documents. The caller holds s.mu.
func (s *Sandbox) afflict(d *document, act action, now time.Time) {
	switch act.verb {
	case "fail":
		s.fail(d, cmp.Or(act.text, defaultFailure), now)
	case "stay":
		s.stay(d, act.delay, now)
	case "vanish":
		s.remove(d, now)
	}
}

const defaultFailure = "The document could not be processed."

func (s *Sandbox) balance(c request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refund(time.Now())
	left := 1_000_000
	if s.credits != nil {
		left = *s.credits
	}
	return jsonAnswer(http.StatusOK, object{
		"id": 1, "name": "Sandbox", "email": "sandbox@sandbox.invalid", "balance": left,
		"token": strings.TrimPrefix(c.Header.Get("Authorization"), "Bearer "),
	})
}

// number reads a parameter of the query, which must be from 1 to most.
func number(q url.Values, name string, absent, most int) (int, *answer) {
	if !q.Has(name) {
		return absent, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	switch {
	case err != nil:
		return 0, new(invalid(http.StatusUnprocessableEntity, name, fmt.Sprintf("The %s field must be an integer.", name)))
	case n < 1 || n > most:
		return 0, new(invalid(http.StatusUnprocessableEntity, name, fmt.Sprintf("The %s field must be between 1 and %d.", name, most)))
	}
	return n, nil
}

func (s *Sandbox) list(c request) answer {
	q := c.URL.Query()
	perPage, wrong := number(q, "per_page", 50, 200)
	if wrong != nil {
		return *wrong
	}
	pageNumber, wrong := number(q, "page", 1, math.MaxInt32)
	if wrong != nil {
		return *wrong
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var shown []*document // newest first
	for _, d := range slices.Backward(s.living(now)) {
		late := now.Sub(d.Created) < c.fault[slotLag].delay
		if !late && (d.account == c.account || s.token != "") {
			shown = append(shown, d)
		}
	}
	total := len(shown)
	first := min((pageNumber-1)*perPage, total)
	rows := []object{} // never null
	for _, d := range shown[first:min(first+perPage, total)] {
		row := s.row(d, now)
		switch c.fault[slotNames].verb {
		case "rename":
			row["original_file_name"] = slug(d.Name)
		case "nonames":
			row["original_file_name"] = nil
		}
		rows = append(rows, row)
	}

	last := max(1, (total+perPage-1)/perPage)
	// Another host than the one that was asked, as the live service does it:
	// nobody should follow these.
	link := func(n int) any {
		if n < 1 || n > last {
			return nil
		}
		return fmt.Sprintf("https://app.sandbox.invalid%s?page=%d", c.URL.Path, n)
	}
	list := object{
		"current_page": pageNumber, "data": rows, "from": nil, "to": nil,
		"first_page_url": link(1), "last_page": last, "last_page_url": link(last),
		"next_page_url": link(pageNumber + 1), "prev_page_url": link(pageNumber - 1),
		"path": "https://app.sandbox.invalid" + c.URL.Path, "per_page": perPage, "total": total,
	}
	if len(rows) > 0 {
		list["from"], list["to"] = first+1, first+len(rows)
	}
	return jsonAnswer(http.StatusOK, list)
}

// slug is a file name as a service might keep it: lower case, letters and
// digits alone, short.
func slug(name string) string {
	name, ext := splitExt(name)
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return name[:min(len(name), 16)] + ext
}

func splitExt(name string) (base, ext string) {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		return name[:i], name[i:]
	}
	return name, ""
}

// abort ends the connection without an answer.
func (s *Sandbox) abort(c request, a answer) {
	s.record(c, 0, a.document)
	panic(http.ErrAbortHandler)
}

// send delivers the answer, or what the script makes of it.
func (s *Sandbox) send(w http.ResponseWriter, c request, a answer) {
	if !wait(c.Context(), s.opts.Latency+c.fault[slotSlow].delay) {
		s.abort(c, a)
	}
	whole := true
	act := c.fault[slotAnswer]
	switch act.verb {
	case "made":
		document := a.document
		a = scripted(act, c.op)
		a.document = document
	case "lost":
		s.abort(c, a)
	case "garbage":
		a.status = http.StatusOK
		a.body = []byte("\x00\x01{\"id\": garbage \xff\xfe <<<\n")
	case "empty":
		a.body = nil
	}
	length := len(a.body)
	switch act.verb {
	case "cut":
		a.body, whole = a.body[:max(0, min(act.count, length-1))], false
	case "short":
		length /= 2
		a.body = a.body[:length]
	case "long":
		length, whole = 2*length+1, false
	}

	h := w.Header()
	maps.Copy(h, c.limits)
	maps.Copy(h, a.header)
	h.Set("Cache-Control", "no-cache, private")
	bodyless := a.status == http.StatusNoContent || a.status == http.StatusNotModified
	if bodyless && !whole {
		s.abort(c, a)
	}
	if bodyless {
		h.Del("Content-Type")
		a.body = nil
	} else {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	if whole {
		s.record(c, a.status, a.document)
	} else {
		s.record(c, 0, a.document)
	}
	w.WriteHeader(a.status)
	out := http.NewResponseController(w)
	_ = out.Flush() // what the client is to see it sees now, drop by drop
	piece := len(a.body)
	drip := c.fault[slotDrip].delay
	if drip > 0 {
		piece = 1
	}
	for body := a.body; len(body) > 0; body = body[piece:] {
		if _, err := w.Write(body[:piece]); err != nil {
			return // the client is gone; net/http knows
		}
		_ = out.Flush()
		if !wait(c.Context(), drip) {
			return
		}
	}
	// Where that was not whole, the connection now ends: see net/http.
}

// wait lets d pass. It returns false if the client went away meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// record counts and logs an answer before it is sent, so that whoever has
// seen the answer sees the count.
func (s *Sandbox) record(c request, status int, document string) {
	if c.op == "" {
		return // not a call of the API
	}
	s.mu.Lock()
	s.stats.Requests[Call{c.op, status}]++
	if c.op == opDownload && status == http.StatusOK {
		s.stats.Downloads++
	}
	s.mu.Unlock()
	s.log.Info("call answered", "op", c.op, "status", status, "document", document)
}
