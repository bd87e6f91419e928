package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"scandrop/queue"
)

// A reply is what a service answers, or does instead.
type reply struct {
	status int
	kind   string      // content type; defaults to JSON
	body   string      //
	header http.Header // further ones
	cut    bool        // the connection dies after the body, which is not all
	dead   bool        // the connection dies without an answer
	silent bool        // nothing comes any more
	err    error       // the transport gives up with it
}

var errCutOff = fmt.Errorf("read: connection reset: %w", io.ErrUnexpectedEOF)

// to answers a request. Of an upload that is not whole it reads no more than
// the beginning.
func (r reply) to(req *http.Request, whole bool) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
		var err error
		if whole {
			_, err = io.Copy(io.Discard, req.Body)
		} else {
			_, err = io.CopyN(io.Discard, req.Body, 100)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case r.dead:
		return nil, errCutOff
	case r.silent:
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	header := http.Header{"Content-Type": {r.kind}}
	if r.kind == "" {
		header.Set("Content-Type", "application/json")
	}
	maps.Copy(header, r.header)
	body := io.Reader(strings.NewReader(r.body))
	if r.cut {
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{
		StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1,
		Header: header, ContentLength: -1, Body: io.NopCloser(body), Request: req,
	}, nil
}

// broken is the end of a connection that died.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errCutOff }

// A service answers requests, each by what it asks for.
type service func(op string, req *http.Request) (*http.Response, error)

func (s service) RoundTrip(req *http.Request) (*http.Response, error) { return s(opOf(req), req) }

func opOf(req *http.Request) string {
	switch {
	case req.Method == http.MethodPost:
		return opUpload
	case req.Method == http.MethodDelete:
		return opDelete
	case strings.HasSuffix(req.URL.Path, "/documents"):
		return opList
	case path.Ext(req.URL.Path) != "":
		return opDownload
	}
	return opStatus
}

const (
	opUnsent = "upload, dead before its closing boundary"

	document = "doc1"
	theText  = "what the scan says"
	html     = "<!DOCTYPE html><html><body>Please log in</body></html>"
)

// documented is the answer as documented, for each of the columns.
var documented = map[string]reply{
	opUpload:   {status: 201, body: `{"id":"doc1","status":"queued"}`},
	opUnsent:   {status: 201, body: `{"id":"doc1","status":"queued"}`},
	opStatus:   {status: 200, body: `{"id":"doc1","status":"processing"}`},
	opDownload: {status: 200, kind: "text/plain", body: theText},
	opList:     {status: 200, body: `{"data":[{"document_id":"doc1","status":"queued","original_file_name":"MARK.gif"}],"last_page":1,"total":1}`},
	opDelete:   {status: 204},
}

// answers is the table "What an answer means" of docs/design.md, row by row.
// An upload that is not sent when its answer comes has a column of its own: it
// cannot have been accepted, so that what else would be unanswered is a retry.
// Only an answer that claims success all the same is looked into.
var answers = []struct {
	name                                           string
	reply                                          func(column string) reply
	upload, unsent, status, download, list, delete string
}{
	{"as documented", func(c string) reply { return documented[c] },
		"uploaded", "unanswered", "pending", "result", "uploaded", "deleted"},
	{"another success as documented", func(c string) reply {
		return map[string]reply{
			opUpload:   {status: 200, body: `{"document_id":"doc1"}`},
			opUnsent:   {status: 200, body: `{"document_id":"doc1"}`},
			opStatus:   {status: 200},
			opDownload: {status: 200, kind: "application/octet-stream", body: theText},
			opList:     {status: 200, body: `[]`},
			opDelete:   {status: 200, body: `{"message":"deleted"}`},
		}[c]
	}, "uploaded", "unanswered", "pending", "result", "not found", "deleted"},
	{"a success without what makes it one", func(c string) reply {
		return map[string]reply{
			opUpload:   {status: 201, body: `{"status":"queued"}`},
			opUnsent:   {status: 201, body: `{"status":"queued"}`},
			opStatus:   {status: 200, body: `{"id":`},
			opDownload: {status: 200, kind: "image/png", body: "PNG"},
			opList:     {status: 200, body: `{"message":"hello"}`},
			opDelete:   {status: 200, kind: "text/html", body: html},
		}[c]
	}, "unanswered", "unanswered", "retry", "retry", "retry", "retry"},
	{"an id that cannot be one", always(reply{status: 201, body: `{"id":"../../users/me"}`}),
		"unanswered", "unanswered", "retry", "retry", "retry", "retry"},
	{"wrong content type", always(reply{status: 200, kind: "text/html; charset=utf-8", body: html}),
		"unanswered", "unanswered", "retry", "retry", "retry", "retry"},
	{"HTML under another name", always(reply{status: 200, kind: "application/json", body: html}),
		"unanswered", "unanswered", "retry", "retry", "retry", "retry"},
	{"cut off", func(c string) reply {
		r := documented[c]
		r.status, r.body, r.cut = max(r.status, 200), r.body[:len(r.body)/2], true
		if c == opDelete {
			r.status = 200
		}
		return r
	}, "unanswered", "unanswered", "retry", "retry", "retry", "retry"},
	{"202", always(reply{status: 202, body: `{"id":"doc1","status":"processing"}`}),
		"unanswered", "unanswered", "pending", "pending", "retry", "deleted"},
	{"202 without a body", always(reply{status: 202}),
		"unanswered", "unanswered", "pending", "pending", "retry", "deleted"},
	{"301", always(elsewhere(301)), "hold address", "hold address", "hold address", "hold address", "hold address", "hold address"},
	{"302", always(elsewhere(302)), "hold address", "hold address", "hold address", "hold address", "hold address", "hold address"},
	{"308", always(elsewhere(308)), "hold address", "hold address", "hold address", "hold address", "hold address", "hold address"},
	{"400", always(says(400)), "reject", "reject", "retry", "reject", "retry", "retry"},
	{"401", always(says(401)), "hold token", "hold token", "hold token", "hold token", "hold token", "hold token"},
	{"403", always(says(403)), "hold credits", "hold credits", "retry", "retry", "hold token", "retry"},
	{"404", always(says(404)), "hold address", "hold address", "gone", "gone", "hold address", "deleted"},
	{"408", always(says(408)), "retry", "retry", "retry", "retry", "retry", "retry"},
	{"413", always(says(413)), "reject", "reject", "retry", "retry", "retry", "retry"},
	{"415", always(says(415)), "reject", "reject", "retry", "retry", "retry", "retry"},
	{"422", always(says(422)), "reject", "reject", "retry", "reject", "retry", "retry"},
	{"425", always(says(425)), "retry", "retry", "retry", "retry", "retry", "retry"},
	{"429", always(says(429)), "retry", "retry", "retry", "retry", "retry", "retry"},
	{"500", always(says(500)), "unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"502", always(says(502)), "unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"503", always(says(503)), "unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"504", always(reply{status: 504, kind: "text/html", body: html}),
		"unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"none", always(reply{dead: true}), "unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"none in time", always(reply{silent: true}), "unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"none, by a time-out of the transport's", always(reply{err: context.DeadlineExceeded}),
		"unanswered", "retry", "retry", "retry", "retry", "retry"},
	{"status failed", func(c string) reply {
		if c == opStatus {
			return reply{status: 200, body: `{"id":"doc1","status":"failed","error":"it is blank"}`}
		}
		return reply{}
	}, "", "", "failed", "", "", ""},
}

func always(r reply) func(string) reply { return func(string) reply { return r } }

func says(status int) reply {
	return reply{status: status, body: `{"message":"the service says ` + strconv.Itoa(status) + `"}`}
}

func elsewhere(status int) reply {
	return reply{status: status, kind: "text/html", body: html, header: http.Header{"Location": {"https://login.invalid/"}}}
}

// fate is where a job is after one step.
type fate struct {
	State    queue.State
	Attempts int
	HeldBy   queue.Cause
	Document string
	Trash    []string
	Holds    []string
	Result   string
}

// fateOf translates a cell of the table.
func fateOf(column, word string) fate {
	f := map[string]fate{
		opUpload:   {State: queue.Queued},
		opUnsent:   {State: queue.Queued},
		opStatus:   {State: queue.Processing, Document: document},
		opDownload: {State: queue.Processing, Document: document},
		opList:     {State: queue.Doubtful},
		opDelete:   {State: queue.Written, Document: document},
	}[column]
	word, cause, _ := strings.Cut(word, " ")
	switch word {
	case "uploaded":
		f.State, f.Document = queue.Processing, document
	case "unanswered":
		f.State = queue.Doubtful
	case "retry":
		if column != opList { // a list that fails is no attempt to send
			f.Attempts = 1
		}
	case "reject":
		f.State, f.Document = queue.Rejected, ""
		if column == opDownload {
			f.Trash = []string{document}
		}
	case "hold":
		f.HeldBy, f.Holds = queue.Cause(cause), []string{cause}
	case "pending", "not":
	case "result":
		f.State, f.Result = queue.Written, theText
	case "gone":
		f.State, f.Document = queue.Failed, ""
	case "failed":
		f.State, f.Document, f.Trash = queue.Failed, "", []string{document}
	case "deleted":
		f.State, f.Document = queue.Done, ""
	default:
		panic("the table has no word " + strconv.Quote(word))
	}
	return f
}

func (b *bench) fate(id uint64) fate {
	j := b.job(id)
	return fate{j.State, j.Attempts, j.HeldBy, j.Document, j.Trash, b.holds(), b.read("letter.txt")}
}

// processing brings a new job to where the service works on it, after so many
// looks.
func (b *bench) processing(o queue.Options, looks int) queue.Job {
	b.t.Helper()
	b.drop("letter.gif", scan("letter"), o)
	task := b.claim(queue.Upload)
	task.Job = b.reports(task, queue.Sending{})
	j := b.reports(task, queue.Uploaded{Document: document})
	for range looks {
		j = b.reports(b.claim(queue.Collect), queue.Pending{})
	}
	return j
}

func TestAnswers(t *testing.T) {
	for _, row := range answers {
		cells := map[string]string{
			opUpload: row.upload, opUnsent: row.unsent, opStatus: row.status,
			opDownload: row.download, opList: row.list, opDelete: row.delete,
		}
		for _, column := range slices.Sorted(maps.Keys(cells)) {
			if cells[column] == "" {
				continue
			}
			t.Run(row.name+"/"+column, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testAnswer(t, column, row.reply(column), cells[column]) })
			})
		}
	}
}

func testAnswer(t *testing.T, column string, r reply, word string) {
	requests := map[string]int{}
	b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
		requests[op]++
		switch {
		case op == column, op == opUpload && column == opUnsent:
		case op == opDownload: // only now and then the status is asked, and then it is what counts
			return reply{status: 202}.to(req, true)
		case op == opStatus && r.status != 404: // what is gone is gone for both
			return reply{status: 200, body: `{"id":"doc1","status":"processed"}`}.to(req, true)
		}
		return r.to(req, column != opUnsent)
	})})

	var task queue.Task
	switch column {
	case opUpload, opUnsent:
		b.drop("letter.gif", scan("letter"), transcribe)
		task = b.claim(queue.Upload)
	case opStatus:
		b.processing(transcribe, 2)
		task = b.claim(queue.Collect)
	case opDownload:
		b.processing(transcribe, 0)
		task = b.claim(queue.Collect)
	case opList:
		b.drop("letter.gif", scan("letter"), transcribe)
		task = b.claim(queue.Upload)
		task.Job = b.reports(task, queue.Sending{})
		r.body = strings.ReplaceAll(r.body, "MARK", "letter."+strings.ToUpper(task.Job.Mark))
		b.reports(task, queue.Unanswered{Err: errors.New("no answer")})
		task = b.claim(queue.LookUp)
	case opDelete:
		b.processing(transcribe, 0)
		b.reports(b.claim(queue.Collect), queue.Collected{})
		task = b.claim(queue.Delete)
	}
	b.take(t.Context(), task)

	if diff := cmp.Diff(fateOf(column, word), b.fate(task.Job.ID)); diff != "" {
		t.Errorf("%s: -want +got\n%s", word, diff)
	}
	asked := requests[column]
	if column == opUnsent {
		asked = requests[opUpload]
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once: %v", asked, requests)
	}
}

// Stopping looks like a time-out; only the context tells them apart.
func TestStopped(t *testing.T) {
	for _, test := range []struct {
		column string
		want   fate
	}{
		{opUpload, fate{State: queue.Doubtful}},
		{opUnsent, fate{State: queue.Queued}},
		{opDownload, fate{State: queue.Processing, Document: document}},
		{opDelete, fate{State: queue.Written, Document: document}},
	} {
		t.Run(test.column, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					return reply{silent: true}.to(req, test.column != opUnsent)
				})})
				step := queue.Upload
				switch test.column {
				case opUpload, opUnsent:
					b.drop("letter.gif", scan("letter"), transcribe)
				case opDownload:
					b.processing(transcribe, 0)
					step = queue.Collect
				case opDelete:
					b.processing(transcribe, 0)
					b.reports(b.claim(queue.Collect), queue.Collected{})
					step = queue.Delete
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				task := b.claim(step)
				b.take(ctx, task)
				if diff := cmp.Diff(test.want, b.fate(task.Job.ID)); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}

// What a refused upload blames decides whether the file or its folder is at
// fault.
func TestFields(t *testing.T) {
	for _, status := range []int{400, 422} {
		for fields, want := range map[string]string{
			"":                     "rejected",
			"file":                 "rejected",
			"somethingelse":        "rejected",
			"action":               "held",
			"extractor_id":         "held",
			"prompt_id":            "held",
			"delete_after":         "held",
			"file and action":      "held",
			"prompt_id and action": "held",
		} {
			t.Run(fmt.Sprintf("%d/%s", status, fields), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := says(status)
					if fields != "" {
						blamed := strings.ReplaceAll(fields, " and ", `":["is wrong"],"`)
						r.body = `{"message":"no","errors":{"` + blamed + `":["is wrong"]}}`
					}
					b := newBench(t, setup{transport: service(func(_ string, req *http.Request) (*http.Response, error) {
						return r.to(req, true)
					})})
					id := b.drop("letter.gif", scan("letter"), transcribe).ID
					b.step(queue.Upload)
					if want == "rejected" {
						b.wantState(id, queue.Rejected, 0)
						b.wantHolds()
						return
					}
					b.wantState(id, queue.Queued, 0)
					b.wantHolds("refused:DIR")
				})
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":            2 * time.Second,
		"7":           7 * time.Second,
		"3600":        time.Hour,
		"86400":       time.Hour,
		"99999999999": time.Hour,
		"-5":          2 * time.Second,
		"soon":        2 * time.Second,
	} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprintf("%d/%s", status, value), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := says(status)
					r.header = http.Header{"Retry-After": {value}}
					b := newBench(t, setup{transport: service(func(_ string, req *http.Request) (*http.Response, error) {
						return r.to(req, status != 503) // one that was sent would be looked for at once
					})})
					b.drop("letter.gif", scan("letter"), transcribe)
					j := b.step(queue.Upload)
					b.wantState(j.ID, queue.Queued, 1)
					wait := time.Until(j.Due)
					if wait > want || wait < want*4/5 {
						t.Errorf("it is tried again after %v, want %v", wait, want)
					}
				})
			})
		}
	}
}

// TestAttempts follows what is tried again to its end. The document may still
// have its result, so it is not given up.
func TestAttempts(t *testing.T) {
	for _, test := range []struct {
		op       string
		step     queue.Step
		requests int
		says     string
	}{
		{opDownload, queue.Collect, 10, "not ours"},
		{opDelete, queue.Delete, 30, "could not be deleted"},
	} {
		t.Run(test.op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := map[string]int{}
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					requests[op]++
					return says(403).to(req, true)
				})})
				j := b.processing(transcribe, 0)
				if test.op == opDelete {
					b.reports(b.claim(queue.Collect), queue.Collected{})
				}
				for range test.requests {
					j = b.step(test.step)
				}
				if j.State != queue.Failed || j.Document != document || !strings.Contains(j.Error, test.says) {
					t.Errorf("it is %s (%s), with the document %q", j.State, j.Error, j.Document)
				}
				if requests[test.op] != test.requests {
					t.Errorf("requests: %v", requests)
				}
			})
		})
	}
}

// TestSilence leaves the network away for days. That is no scan's fault, as
// one that cannot be read is.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		name  string
		files func(*disk) Files
		want  queue.State
	}{
		{"no network", func(d *disk) Files { return d }, queue.Queued},
		{"a scan that cannot be read", func(d *disk) Files { return unreadable{d} }, queue.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var back atomic.Bool
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					if back.Load() || test.want == queue.Failed {
						return documented[op].to(req, true)
					}
					return reply{dead: true}.to(req, false)
				})})
				b.Files = test.files(b.disk)
				j := b.drop("letter.gif", scan("letter"), transcribe)
				stop := b.run()
				defer stop()
				time.Sleep(3 * 24 * time.Hour)
				synctest.Wait()
				if j = b.job(j.ID); j.State != test.want {
					t.Errorf("after three days it is %s: %s", j.State, j.Error)
				}
				if test.want == queue.Queued {
					back.Store(true)
					b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
				}
			})
		})
	}
}

// An unreadable disk has scans that break off in the middle.
type unreadable struct{ *disk }

func (u unreadable) Open(j queue.Job) (io.ReadCloser, int64, error) {
	f, size, err := u.disk.Open(j)
	if err != nil {
		return nil, 0, err
	}
	bad := &fs.PathError{Op: "read", Path: j.Path, Err: errors.New("input/output error")}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(f, 5), iotest.ErrReader(bad)), f}, size, nil
}

// A download counts only if it is what was asked.
func TestDownloads(t *testing.T) {
	const processing, processed, failed = `{"id":"doc1","status":"processing"}`, `{"id":"doc1","status":"processed"}`, `{"id":"doc1","status":"failed","error":"it is blank"}`
	text := func(s string) reply { return reply{status: 200, kind: "text/plain", body: s} }
	ok := func(s string) reply { return reply{status: 200, body: s} }
	var (
		pending = fate{State: queue.Processing, Document: document}
		retry   = fate{State: queue.Processing, Document: document, Attempts: 1}
		written = fate{State: queue.Written, Document: document}
		fails   = fate{State: queue.Failed, Trash: []string{document}}
		gone    = fate{State: queue.Failed}
		hold    = func(c queue.Cause) fate {
			return fate{State: queue.Processing, Document: document, HeldBy: c, Holds: []string{string(c)}}
		}
	)
	for _, test := range []struct {
		name             string
		download, status reply
		want             fate
		asked            bool // the status
	}{
		{"a status in place of a text", text(processing), ok(processing), pending, false},
		{"a status as JSON in place of a text", ok(processing), ok(processing), pending, false},
		{"a status that says failed", text(failed), ok(failed), fails, true},
		{"a status that says processed", text(processed), ok(processed), retry, true},
		{"an empty text, processed", text(""), ok(processed), written, true},
		{"an empty text, processing", text(""), ok(processing), pending, true},
		{"an empty text, status unknown", text(""), ok(""), pending, true},
		{"an empty text, failed", text(""), ok(failed), fails, true},
		{"an empty text, status gone", text(""), says(404), gone, true},
		{"an empty text, status refused", text(""), says(401), hold(queue.Token), true},
		{"an empty text, status down", text(""), says(503), retry, true},
		{"400, failed", says(400), ok(failed), fails, true},
		{"404, failed", says(404), ok(failed), fails, true},
		{"500, failed", says(500), ok(failed), fails, true},
		{"422, failed", says(422), ok(failed), fails, true},
		{"HTML, failed", reply{status: 200, kind: "text/html", body: html}, ok(failed), fails, true},
		{"400, processing", says(400), ok(processing), pending, true},
		{"404, processing", says(404), ok(processing), pending, true},
		{"500, processing", says(500), ok(processing), pending, true},
		{"404, processed", says(404), ok(processed), retry, true},
		{"500, processed", says(500), ok(processed), retry, true},
		{"400, gone", says(400), says(404), gone, true},
		{"500, gone", says(500), says(404), gone, true},
		{"500, status down too", says(500), says(502), retry, true},
		{"400, status down", says(400), reply{dead: true}, retry, true},
		{"500, status refused", says(500), says(401), hold(queue.Token), true},
		{"500, status elsewhere", says(500), elsewhere(302), hold(queue.Address), true},
		{"503 asks for no status", says(503), says(404), retry, false},
		{"403 asks for no status", says(403), says(404), retry, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := false
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					if op == opStatus {
						asked = true
						return test.status.to(req, true)
					}
					return test.download.to(req, true)
				})})
				j := b.processing(transcribe, 0)
				b.step(queue.Collect)
				if diff := cmp.Diff(test.want, b.fate(j.ID)); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				if asked != test.asked {
					t.Errorf("the status was asked: %v", asked)
				}
			})
		})
	}
}

// Every third look that finds nothing asks for the status.
func TestEveryThirdLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		looks := 0
		b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
			if op == opStatus {
				asked = append(asked, looks)
				return reply{status: 200, body: `{"status":"a new word"}`}.to(req, true)
			}
			looks++
			return reply{status: 202}.to(req, true)
		})})
		j := b.processing(transcribe, 0)
		for range 10 {
			b.step(queue.Collect)
		}
		b.wantState(j.ID, queue.Processing, 0)
		if want := []int{3, 6, 9}; !slices.Equal(asked, want) {
			t.Errorf("the status was asked after the looks %v, want %v", asked, want)
		}
	})
}

// A format that the service does not make is left out, and the others go on.
func TestFormats(t *testing.T) {
	for _, test := range []struct {
		name    string
		refused []string
		want    queue.State
	}{
		{"none refused", nil, queue.Written},
		{"the first refused", []string{"txt"}, queue.Written},
		{"the last refused", []string{"csv"}, queue.Written},
		{"all refused", []string{"txt", "json", "csv"}, queue.Rejected},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := map[string]int{}
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					format := strings.TrimPrefix(path.Ext(req.URL.Path), ".")
					requests[format]++
					switch {
					case op == opStatus:
						return reply{status: 200, body: `{"status":"processed"}`}.to(req, true)
					case slices.Contains(test.refused, format):
						return says(400).to(req, true)
					case format == "json" && requests[format] == 1:
						return says(503).to(req, true) // and is asked for again, with what is left
					case format == "json":
						return reply{status: 200, body: `{"results":[1]}`}.to(req, true)
					}
					return reply{status: 200, kind: "text/plain", body: format}.to(req, true)
				})})
				o := transcribe
				o.Formats = []string{"txt", "json", "csv"}
				j := b.processing(o, 0)
				for j.State == queue.Processing {
					j = b.step(queue.Collect)
				}
				if j.State != test.want {
					t.Fatalf("it is %s: %s", j.State, j.Error)
				}
				for _, format := range o.Formats {
					r, _ := j.Result(format)
					if no := slices.Contains(test.refused, format); no != (r.Refused != "") || no != (b.read("letter."+format) == "") {
						t.Errorf("%s: %+v, on disk: %q", format, r, b.read("letter."+format))
					}
				}
				if requests["txt"] != 1 { // refused or written, it is not asked for again
					t.Errorf("requests: %v", requests)
				}
			})
		})
	}
}
