package hwocr

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// scan returns an upload of the given content.
func scan(content string) Upload {
	return Upload{
		Name:        "letter.sdAB12-k7f3q2m4x5n6p7r2.pdf",
		ContentType: "application/pdf",
		Action:      "transcribe",
		Body:        strings.NewReader(content),
		Size:        int64(len(content)),
		Content:     sha256.Sum256([]byte(content)),
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// desk is a service that takes uploads and remembers them.
type desk struct {
	*httptest.Server
	uploads atomic.Int32 // that came whole
	broken  chan error   // what became of the others
	parts   chan []string
}

func newDesk(t *testing.T, h2 bool) *desk {
	d := &desk{broken: make(chan error, 10), parts: make(chan []string, 10)}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(d.take))
	d.EnableHTTP2 = h2
	if h2 {
		d.StartTLS()
	} else {
		d.Start()
	}
	t.Cleanup(d.Close)
	return d
}

func (d *desk) take(w http.ResponseWriter, r *http.Request) {
	_, params, _ := mime.ParseMediaType(r.Header.Get(typeKey))
	mr := multipart.NewReader(r.Body, params["boundary"])
	var parts []string
	for {
		p, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			d.broken <- err
			return
		}
		b, err := io.ReadAll(p)
		if err != nil {
			d.broken <- err
			return
		}
		_, disposition, _ := mime.ParseMediaType(p.Header.Get("Content-Disposition"))
		parts = append(parts, fmt.Sprintf("%s %s %s %s", p.FormName(), disposition["filename"], p.Header.Get(typeKey), b))
	}
	if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil {
		d.broken <- fmt.Errorf("%d bytes behind the last boundary, %v", n, err)
		return
	}
	d.uploads.Add(1)
	d.parts <- append(parts, r.Proto, fmt.Sprint(r.ContentLength > 0, r.TransferEncoding))
	w.Header().Set(typeKey, jsonType)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprint(w, `{"id":"abc123","status":"queued"}`)
}

func (d *desk) client(t *testing.T) *Client {
	tr := d.Client().Transport.(*http.Transport).Clone()
	t.Cleanup(tr.CloseIdleConnections)
	return client(t, d.URL, tr)
}

func TestUpload(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		d := newDesk(t, h2)
		u := scan("%PDF-1.7 one page")
		u.Action, u.ExtractorID, u.PromptID, u.DeleteAfter = "extractor", "Ab12Cd34Ef", "Pr0mpt", 7*24*time.Hour
		begun := 0
		u.Begin = func() error { begun++; return nil }
		doc, err := d.client(t).Upload(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Document{ID: "abc123", Status: "queued"}); doc != want {
			t.Errorf("got %+v", doc)
		}
		if begun != 1 {
			t.Errorf("begun %d times", begun)
		}
		proto := "HTTP/1.1"
		if h2 {
			proto = "HTTP/2.0"
		}
		want := []string{
			"action   extractor",
			"extractor_id   Ab12Cd34Ef",
			"prompt_id   Pr0mpt",
			"delete_after   604800",
			"file letter.sdAB12-k7f3q2m4x5n6p7r2.pdf application/pdf %PDF-1.7 one page",
			proto, "true []",
		}
		if diff := cmp.Diff(want, <-d.parts); diff != "" {
			t.Error(diff)
		}
	}
}

func TestUploadDefaults(t *testing.T) {
	d := newDesk(t, false)
	u := scan("")
	u.ContentType, u.DeleteAfter = "", 1500*time.Millisecond
	if _, err := d.client(t).Upload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"action   transcribe", "delete_after   2",
		"file " + u.Name + " application/octet-stream ", "HTTP/1.1", "true []",
	}
	if diff := cmp.Diff(want, <-d.parts); diff != "" {
		t.Error(diff)
	}
}

// The service must never see the end of an upload whose file is not the announced one.
func TestUploadWithheld(t *testing.T) {
	const content = "a scan of one page"
	disk := &os.PathError{Op: "read", Path: "letter.pdf", Err: errors.New("input/output error")}
	tests := []struct {
		name   string
		change func(*Upload)
		want   error
	}{
		{"shorter", func(u *Upload) { u.Body = strings.NewReader(content[1:]) }, ErrChanged},
		{"empty", func(u *Upload) { u.Body = strings.NewReader("") }, ErrChanged},
		{"longer", func(u *Upload) { u.Body = strings.NewReader(content + "!") }, ErrChanged},
		{"other", func(u *Upload) { u.Body = strings.NewReader(strings.ToUpper(content)) }, ErrChanged},
		{"shorter, error at the end", func(u *Upload) { u.Body = iotest.DataErrReader(strings.NewReader(content[1:])) }, ErrChanged},
		{"unreadable", func(u *Upload) { u.Body = brokenReader{disk} }, disk},
		{"unreadable in the middle", func(u *Upload) {
			u.Body = io.MultiReader(strings.NewReader(content[:5]), brokenReader{disk})
		}, disk},
		{"unreadable at the end", func(u *Upload) {
			u.Body = io.MultiReader(strings.NewReader(content), brokenReader{disk})
		}, disk},
	}
	for _, h2 := range []bool{false, true} {
		d := newDesk(t, h2)
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, " h2=", h2), func(t *testing.T) {
				u := scan(content)
				tt.change(&u)
				_, err := d.client(t).Upload(t.Context(), u)
				if e := wantError(t, err); !errors.Is(err, tt.want) || e.Sent || e.Status != 0 || e.Op != "upload" {
					t.Errorf("got %#v", e)
				}
				if err := <-d.broken; err == nil || d.uploads.Load() != 0 {
					t.Errorf("the service took it: %v", err)
				}
			})
		}
	}
	c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, r.Body)
		return nil, errors.New("broken pipe") // a transport that sees the effect only
	}))
	u := scan(content)
	u.Body = strings.NewReader("")
	if _, err := c.Upload(t.Context(), u); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	for _, r := range []io.Reader{
		iotest.OneByteReader(strings.NewReader(content)),
		iotest.DataErrReader(strings.NewReader(content)),
	} {
		d, u := newDesk(t, false), scan(content)
		u.Body = r
		if _, err := d.client(t).Upload(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
}

// An upload that is not to begin leaves nothing on the wire, not even its head.
func TestUploadNotBegun(t *testing.T) {
	full := errors.New("the queue's disk is full")
	c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("a request went out")
		return nil, errors.New("broken pipe")
	}))
	u := scan("x")
	u.Begin = func() error { return full }
	_, err := c.Upload(t.Context(), u)
	if e := wantError(t, err); !errors.Is(err, full) || e.Sent || e.Status != 0 {
		t.Errorf("got %#v", e)
	}
}

func TestUploadRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Upload)
	}{
		{"no body", func(u *Upload) { u.Body = nil }},
		{"no name", func(u *Upload) { u.Name = "" }},
		{"no action", func(u *Upload) { u.Action = "" }},
		{"size", func(u *Upload) { u.Size = -1 }},
		{"delete after", func(u *Upload) { u.DeleteAfter = -time.Second }},
		{"content type", func(u *Upload) { u.ContentType = "image" + "\r\nX: y" }},
	}
	for _, tt := range tests {
		u := scan("x")
		u.Begin = func() error { t.Error("begun"); return nil }
		tt.change(&u)
		_, err := client(t, "", always(201, `{"id":1}`)).Upload(t.Context(), u)
		if e := wantError(t, err); e.Sent || e.Status != 0 {
			t.Errorf("%s: got %#v", tt.name, e)
		}
	}
}

func TestUploadAnswers(t *testing.T) {
	tests := []struct {
		name      string
		status    int
		typ, body string
		id        string // "" = an *Error
	}{
		{"id", 201, jsonType, `{"id":"abc"}`, "abc"},
		{"document_id", 201, jsonType, `{"document_id":"abc"}`, "abc"},
		{"both", 201, jsonType, `{"id":12,"document_id":"abc"}`, "abc"},
		{"number", 201, "application/json; charset=utf-8", `{"id":123456789012345678}`, "123456789012345678"},
		{"no type", 201, "", `{"id":"abc"}`, "abc"},
		{"200", 200, jsonType, `{"id":"abc"}`, "abc"},
		{"no id", 201, jsonType, `{"status":"queued"}`, ""},
		{"null id", 201, jsonType, `{"id":null}`, ""},
		{"id of another type", 201, jsonType, `{"id":["abc"]}`, ""},
		{"unfit id", 201, jsonType, `{"id":"../users/me"}`, ""},
		{"empty", 201, jsonType, ``, ""},
		{"list", 201, jsonType, `["abc"]`, ""},
		{"cut off", 201, jsonType, `{"id":"ab`, ""},
		{"HTML", 201, "text/html", htmlPage, ""},
		{"HTML with 200", 200, "text/html", htmlPage, ""},
		{"text", 201, "text/plain", `{"id":"abc"}`, ""},
		{"202", 202, jsonType, `{"id":"abc"}`, ""},
		{"204", 204, "", "", ""},
		{"403", 403, jsonType, `{"error":"Insufficient page credits"}`, ""},
		{"422", 422, jsonType, `{"message":"The file is invalid.","errors":{"file":["bad"]}}`, ""},
		{"502", 502, "text/html", "<html>Bad gateway</html>", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := client(t, "", always(tt.status, tt.body, typeKey, tt.typ)).Upload(t.Context(), scan("x"))
			if tt.id != "" {
				if err != nil || doc.ID != tt.id {
					t.Errorf("got %+v, %v", doc, err)
				}
				return
			}
			if e := wantError(t, err); e.Status != tt.status || !e.Sent || doc != (Document{}) {
				t.Errorf("got %#v", e)
			}
		})
	}
}

// An answer whose body breaks off is not the same as none.
func TestUploadAnswerCutOff(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", "100")
		w.Header().Set(typeKey, jsonType)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"abc"}`)
	}))
	defer srv.Close()
	_, err := client(t, srv.URL, nil).Upload(t.Context(), scan("x"))
	if e := wantError(t, err); e.Status != 201 || !e.Sent || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %#v", e)
	}
}

func TestUploadAnsweredEarly(t *testing.T) {
	for _, status := range []int{201, 401} {
		c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
			_, _ = r.Body.Read(make([]byte, 10))
			return answer(status, `{"id":"abc","message":"no"}`, typeKey, jsonType), nil
		}))
		_, err := c.Upload(t.Context(), scan("x"))
		if e := wantError(t, err); e.Status != status || e.Sent {
			t.Errorf("got %#v", e)
		}
	}
}

// No answer: whether the scan may have arrived is what matters.
func TestUploadUnanswered(t *testing.T) {
	lost := errors.New("connection reset")
	for _, tt := range []struct {
		name string
		left int64 // bytes not taken when the connection dies
		sent bool
	}{
		{"within the file", 500, false},
		{"within the last boundary", 1, false},
		{"after the end", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
				if _, err := io.CopyN(io.Discard, r.Body, r.ContentLength-tt.left); err != nil {
					t.Error(err)
				}
				return nil, lost
			}))
			_, err := c.Upload(t.Context(), scan(strings.Repeat("x", 1000)))
			if e := wantError(t, err); !errors.Is(err, lost) || e.Sent != tt.sent || e.Status != 0 {
				t.Errorf("got %#v", e)
			}
		})
	}
}

// Once Upload has returned, nothing of the upload happens any more: neither a read of
// the file nor, above all, its end.
func TestUploadIsOverWhenItReturns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reading := make(chan struct{})
	goOn := make(chan struct{})
	late := make(chan error)
	c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
		go func() {
			_, err := io.Copy(io.Discard, r.Body)
			late <- err
		}()
		<-r.Context().Done()
		close(goOn)
		return nil, r.Context().Err()
	}))
	u := scan("x")
	var over atomic.Bool
	begun := sync.OnceFunc(func() { close(reading) }) // nothing was read: it may be asked again
	u.Body = readerFunc(func([]byte) (int, error) {
		begun()
		<-goOn
		if over.Load() {
			t.Error("still reading after Upload has returned")
		}
		return 0, nil
	})
	go func() { <-reading; cancel() }()
	_, err := c.Upload(ctx, u)
	over.Store(true)
	if e := wantError(t, err); e.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("got %#v", e)
	}
	if err := <-late; !errors.Is(err, errSealed) {
		t.Errorf("the rest was given out: %v", err)
	}
}

// A server may close a kept connection just when we send on it. http.Transport repeats
// such requests where it can; an upload it must not.
func TestUploadOnADeadConnectionIsSentOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var posts atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					if req.Method == http.MethodPost {
						posts.Add(1)
						return // taken, and never answered
					}
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	c := client(t, "http://"+l.Addr().String(), nil)
	for range 5 {
		if _, err := c.Status(t.Context(), "abc"); err != nil { // warms a connection
			t.Fatal(err)
		}
		before := posts.Load()
		begun := 0
		u := scan("x")
		u.Begin = func() error { begun++; return nil }
		_, err := c.Upload(t.Context(), u)
		if e := wantError(t, err); !e.Sent || e.Status != 0 {
			t.Errorf("got %#v", e)
		}
		if n := posts.Load() - before; n != 1 || begun != 1 {
			t.Errorf("the upload arrived %d times, was begun %d times", n, begun)
		}
	}
}

func TestUploadNobodyThere(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	u := scan("x")
	_, err := client(t, srv.URL, nil).Upload(t.Context(), u)
	if e := wantError(t, err); e.Sent || e.Status != 0 || e.Err == nil {
		t.Errorf("got %#v", e)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestUploadIsStreamed(t *testing.T) {
	const size = 20 << 20
	h := sha256.New()
	_, _ = io.CopyN(h, zeros{}, size)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set(typeKey, jsonType)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"abc"}`)
	}))
	defer srv.Close()
	c := client(t, srv.URL, nil)
	if _, err := c.Upload(t.Context(), scan("warm")); err != nil {
		t.Error(err)
	}
	u := scan("")
	u.Body, u.Size, u.Content = io.LimitReader(zeros{}, size), size, [32]byte(h.Sum(nil))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := c.Upload(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
		t.Errorf("20 MB took %d bytes of memory", n)
	}
}

func TestQuoteName(t *testing.T) {
	tests := []struct{ name, want string }{
		{"letter.pdf", "letter.pdf"},
		{"Brief an Müller 手紙.pdf", "Brief an Müller 手紙.pdf"},
		{`a "b" \c.pdf`, "a %22b%22 %5Cc.pdf"},
		{"a\r\nX-Evil: 1\x00\x1b\t.pdf", "a%0D%0AX-Evil: 1%00%1B%09.pdf"},
		{"br\xfccke.pdf", "br_cke.pdf"},
	}
	for _, tt := range tests {
		if got := quoteName(tt.name); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Whatever a file is called, the form is read back with the same fields.
func FuzzUploadName(f *testing.F) {
	for _, name := range []string{"letter.pdf", `"; name="action`, "\r\n\r\n--x", `\`, "\xff", "a\x00b", "手紙"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		u := scan("content")
		u.Name = name
		b, err := newUploadBody(u)
		if err != nil {
			if name != "" {
				t.Fatal(err)
			}
			return
		}
		all, err := io.ReadAll(b)
		if err != nil || int64(len(all)) != b.length {
			t.Fatalf("%d bytes of %d, %v", len(all), b.length, err)
		}
		_, params, err := mime.ParseMediaType(b.contentType)
		if err != nil {
			t.Fatal(err)
		}
		form, err := multipart.NewReader(bytes.NewReader(all), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(form.Value) != 1 || len(form.File) != 1 || len(form.File["file"]) != 1 || form.File["file"][0].Size != 7 {
			t.Errorf("got %v", form)
		}
	})
}
