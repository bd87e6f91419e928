package sandbox

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// caller is a plain client of the API.
type caller struct {
	transport http.RoundTripper
	base      string
	token     string
	accept    string
}

// inProcess calls s without a socket.
func inProcess(s *Sandbox) caller {
	return caller{s.RoundTripper(), "https://sandbox.invalid/api/v2", "a|token", "application/json"}
}

// overTCP calls s over a loopback socket.
func overTCP(t *testing.T, s *Sandbox) caller {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	// One connection a call: net/http repeats a GET whose old connection died.
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{transport, server.URL + "/api/v2", "a|token", "application/json"}
}

// reply is an answer as a client sees it. With err, the rest is what came
// before it.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// json returns the value at a path of keys and indices, or nil.
func (r reply) json(path ...any) any {
	var v any
	if json.Unmarshal(r.body, &v) != nil {
		return nil
	}
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func (r reply) id() string {
	id, _ := r.json("id").(string)
	return id
}

func (c caller) do(t *testing.T, method, path, contentType string, body []byte) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	req.Header.Set("Accept", c.accept)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode, header: resp.Header}
	r.body, r.err = io.ReadAll(resp.Body)
	return r
}

func (c caller) get(t *testing.T, path string) reply {
	t.Helper()
	return c.do(t, "GET", path, "", nil)
}

// fields are those of an upload, in the order in which they are sent. The one
// named file is the scan, which follows them.
type fields [][2]string

func encode(f fields, name string, content []byte) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range f {
		w.WriteField(field[0], field[1])
	}
	if content != nil {
		part, _ := w.CreateFormFile("file", name)
		part.Write(content)
	}
	w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func (c caller) uploadWith(t *testing.T, f fields, name string, content []byte) reply {
	t.Helper()
	contentType, body := encode(f, name, content)
	return c.do(t, "POST", "/documents", contentType, body)
}

var transcribe = fields{{"action", "transcribe"}}

func (c caller) upload(t *testing.T) reply {
	t.Helper()
	return c.uploadWith(t, transcribe, "letter.png", samplePNG(1))
}

// mustUpload uploads a scan and returns its id.
func (c caller) mustUpload(t *testing.T, f fields, name string, content []byte) string {
	t.Helper()
	r := c.uploadWith(t, f, name, content)
	if r.err != nil || r.status != http.StatusCreated || r.id() == "" {
		t.Fatalf("upload of %s: %d %s %v", name, r.status, r.body, r.err)
	}
	return r.id()
}

func work(d time.Duration) func(Document) time.Duration {
	return func(Document) time.Duration { return d }
}

func TestUploadIsValidated(t *testing.T) {
	const part = "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n"
	png := samplePNG(1)
	large := func(n int) []byte { return append(slices.Clone(png), make([]byte, n-len(png))...) }
	webp := []byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00")
	for name, tt := range map[string]struct {
		fields  fields
		name    string
		content []byte
		status  int
		field   string // which errors blames
	}{
		"PNG":                    {transcribe, "a.png", png, 201, ""},
		"the name does not tell": {transcribe, "a.txt", samplePDF(1), 201, ""},
		"all fields": {fields{{"action", "extractor"}, {"extractor_id", "Ab3Cd4Ef5G"}, {"prompt_id", "p1"},
			{"delete_after", "300"}, {"other", "thing"}}, "a.gif", sampleGIF(1), 201, ""},
		"HEIC":                     {transcribe, "a.heic", sampleHEIC(), 201, ""},
		"no file":                  {transcribe, "", nil, 400, "file"},
		"no action":                {nil, "a.png", png, 400, "action"},
		"bad action":               {fields{{"action", "read"}}, "a.png", png, 422, "action"},
		"extractor without id":     {fields{{"action", "extractor"}}, "a.png", png, 422, "extractor_id"},
		"unknown extractor":        {fields{{"action", "extractor"}, {"extractor_id", "nobody"}}, "a.png", png, 422, "extractor_id"},
		"unknown prompt":           {fields{{"action", "transcribe"}, {"prompt_id", "nobody"}}, "a.png", png, 422, "prompt_id"},
		"delete_after too short":   {fields{{"action", "transcribe"}, {"delete_after", "299"}}, "a.png", png, 422, "delete_after"},
		"delete_after too long":    {fields{{"action", "transcribe"}, {"delete_after", "1209601"}}, "a.png", png, 422, "delete_after"},
		"delete_after no number":   {fields{{"action", "transcribe"}, {"delete_after", "1h"}}, "a.png", png, 422, "delete_after"},
		"empty":                    {transcribe, "a.png", []byte{}, 422, "file"},
		"damaged image":            {transcribe, "a.png", png[:20], 422, "file"},
		"damaged PDF":              {transcribe, "a.pdf", []byte("%PDF-1.4\n1 0 obj\n"), 422, "file"},
		"text in a PDF's name":     {transcribe, "a.pdf", []byte("Dear Edmund,\n"), 415, ""},
		"another type":             {transcribe, "a.png", webp, 415, ""},
		"exactly 20 MiB":           {transcribe, "a.png", large(20 << 20), 201, ""},
		"a byte above 20 MiB":      {transcribe, "a.png", large(20<<20 + 1), 413, ""},
		"TIFF, and in memory only": {transcribe, "a.tif", sampleTIFF(binary.LittleEndian, true, 0), 201, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Extractors: []string{"Ab3Cd4Ef5G"}, Prompts: []string{"p1"}})
			r := inProcess(s).uploadWith(t, tt.fields, tt.name, tt.content)
			if r.err != nil || r.status != tt.status {
				t.Fatalf("got %d %s %v, want %d", r.status, r.body, r.err, tt.status)
			}
			if tt.field != "" && r.json("errors", tt.field, 0) == nil {
				t.Errorf("%s does not blame %s", r.body, tt.field)
			}
			made := 0
			if tt.status == 201 {
				made = 1
			} else if message, _ := r.json("message").(string); message == "" {
				t.Errorf("%s has no message", r.body)
			}
			if got := s.Stats(); got.Uploads != made || len(s.Documents()) != made {
				t.Errorf("%d documents were made, want %d", got.Uploads, made)
			}
		})
	}

	for name, tt := range map[string]struct {
		contentType, body string
	}{
		"no multipart":         {"application/json", `{}`},
		"no boundary":          {"multipart/form-data", ""},
		"no closing boundary":  {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\ntranscribe\r\n--b\r\n" + part + string(png) + "\r\n--b\r\n"},
		"part without end":     {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\ntranscribe\r\n--b\r\n" + part + string(png)},
		"boundary, not closed": {"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\ntranscribe\r\n--b\r\n" + part + string(png) + "\r\n--b"},
		"half a boundary":      {"multipart/form-data; boundary=bbb", "--bbb\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\ntranscribe\r\n--bbb\r\n" + part + string(png) + "\r\n--bb"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{})
			r := inProcess(s).do(t, "POST", "/documents", tt.contentType, []byte(tt.body))
			if r.status != http.StatusBadRequest || s.Stats().Uploads != 0 {
				t.Errorf("got %d %v and %d documents, want 400 and none", r.status, r.err, s.Stats().Uploads)
			}
		})
	}
}

// What did not come whole must not become a document, wherever it was cut.
func TestCutUploadMakesNothing(t *testing.T) {
	contentType, body := encode(transcribe, "a.png", samplePNG(1))
	for _, missing := range []int{1, 2, 3, 10, len(body) / 2, len(body) - 1} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{})
			c := inProcess(s)
			req, _ := http.NewRequest("POST", c.base+"/documents", bytes.NewReader(body[:len(body)-missing]))
			req.ContentLength = int64(len(body))
			req.Header.Set("Authorization", "Bearer t")
			req.Header.Set("Content-Type", contentType)
			if resp, err := c.transport.RoundTrip(req); err == nil {
				resp.Body.Close()
				t.Errorf("with %d bytes missing: answered %s", missing, resp.Status)
			}
			synctest.Wait()
			if stats := s.Stats(); stats.Uploads != 0 || stats.Requests[Call{"upload", 0}] != 1 {
				t.Errorf("with %d bytes missing: %+v, want no document and no answer", missing, stats)
			}
		})
	}
}

func TestRoutesAndTokens(t *testing.T) {
	s := New(Options{Token: "a|token"})
	id := inProcess(s).mustUpload(t, transcribe, "a.png", samplePNG(1))
	for _, tt := range []struct {
		method, url, token, accept string
		status                     int
		want                       string
	}{
		{"GET", "/api/v2/documents", "a|token", "application/json", 200, id},
		{"GET", "/v2/documents", "a|token", "application/json", 200, id},
		{"GET", "/api/v3/documents", "a|token", "application/json", 200, id},
		{"GET", "/v3/documents/" + id, "a|token", "application/json", 200, `"file_name":"a.png"`},
		{"GET", "/v3/documents/" + id, "a|token", "application/json", 200, `"results":[{`},
		{"GET", "/v2/documents/" + id, "a|token", "application/json", 200, `"status":"processed"`},
		{"GET", "/v2/documents/" + id + ".txt", "a|token", "*/*", 200, "Page: 1 of 1"},
		{"GET", "/v2/documents/" + id + ".txt", "other", "application/json", 401, "Unauthenticated."},
		{"GET", "/v2/documents", "", "application/json", 401, "Unauthenticated."},
		{"GET", "/v2/documents", "other", "text/plain", 200, "<h1>Log in</h1>"},
		{"GET", "/v3/users/me", "a|token", "application/json", 200, `"balance":1000000`},
		{"GET", "/v2/users/me", "a|token", "application/json", 404, "could not be found"},
		{"GET", "/v2/documents/nobody", "a|token", "application/json", 404, "Document not found."},
		{"GET", "/v2/documents/nobody.txt", "a|token", "application/json", 404, "Document not found."},
		{"DELETE", "/v2/documents/nobody", "a|token", "application/json", 404, "Document not found."},
		{"GET", "/v2/documents/", "a|token", "application/json", 404, "could not be found"},
		{"GET", "/v2/documents/a/b", "a|token", "application/json", 404, "could not be found"},
		{"GET", "/v4/documents", "a|token", "application/json", 404, "could not be found"},
		{"GET", "/", "a|token", "application/json", 404, "could not be found"},
		{"PUT", "/v2/documents", "a|token", "application/json", 405, "GET, HEAD, POST"},
		{"POST", "/v2/documents/" + id, "a|token", "application/json", 405, "DELETE, GET, HEAD"},
		{"DELETE", "/v2/documents/" + id + ".txt", "a|token", "application/json", 405, "GET, HEAD"},
		{"GET", "/v2/documents/" + id + ".csv", "a|token", "application/json", 400, "does not go with"},
		{"GET", "/v2/documents/" + id + ".exe", "a|token", "application/json", 400, "does not go with"},
		{"GET", "/v2/documents?per_page=0", "a|token", "application/json", 422, `"per_page":[`},
		{"GET", "/v2/documents?per_page=201", "a|token", "application/json", 422, `"per_page":[`},
		{"GET", "/v2/documents?per_page=x", "a|token", "application/json", 422, `"per_page":[`},
		{"GET", "/v2/documents?page=0", "a|token", "application/json", 422, `"page":[`},
	} {
		c := caller{s.RoundTripper(), "https://sandbox.invalid", tt.token, tt.accept}
		r := c.do(t, tt.method, tt.url, "", nil)
		if r.err != nil || r.status != tt.status || !strings.Contains(string(r.body), tt.want) {
			t.Errorf("%s %s with %q: got %d %s %v, want %d with %s", tt.method, tt.url, tt.token, r.status, r.body, r.err, tt.status, tt.want)
		}
		if html := strings.HasPrefix(tt.want, "<"); html != strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s %s: Content-Type %s", tt.method, tt.url, r.header.Get("Content-Type"))
		}
	}
	s.SetToken("new")
	c := inProcess(s)
	if r := c.get(t, "/documents/"+id); r.status != 401 {
		t.Errorf("with a token that was replaced: %d", r.status)
	}
	if c.token = "new"; c.get(t, "/documents/"+id).status != 200 {
		t.Error("the account's documents are gone with its old token")
	}
}

func TestAccounts(t *testing.T) {
	s := New(Options{})
	mine, other := inProcess(s), inProcess(s)
	other.token = "other"
	id := mine.mustUpload(t, transcribe, "a.png", samplePNG(1))
	for _, path := range []string{"/documents/" + id, "/documents/" + id + ".txt"} {
		if r := other.get(t, path); r.status != 403 {
			t.Errorf("%s of another account: %d", path, r.status)
		}
	}
	if r := other.do(t, "DELETE", "/documents/"+id, "", nil); r.status != 403 {
		t.Errorf("DELETE for another account: %d", r.status)
	}
	if total := other.get(t, "/documents").json("total"); total != 0.0 {
		t.Errorf("the list shows %v documents of another account", total)
	}
	if total := mine.get(t, "/documents").json("total"); total != 1.0 {
		t.Errorf("the list shows %v documents of 1", total)
	}
}

func TestLifeOfADocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Work: work(10 * time.Second)})
		c := inProcess(s)
		id := c.mustUpload(t, fields{{"action", "transcribe"}, {"delete_after", "300"}}, "letter.png", samplePNG(1))
		for _, tt := range []struct {
			after    time.Duration
			status   string
			download int
		}{
			{0, "queued", 202}, {3 * time.Second, "processing", 202}, {6 * time.Second, "processing", 202},
			{time.Second, "processed", 200}, {289 * time.Second, "processed", 200},
		} {
			time.Sleep(tt.after)
			if r := c.get(t, "/documents/"+id); r.status != 200 || r.json("status") != tt.status {
				t.Errorf("got %d %s, want %s", r.status, r.body, tt.status)
			}
			if r := c.get(t, "/documents/"+id+".txt"); r.status != tt.download {
				t.Errorf("while %s, a download is answered %d", tt.status, r.status)
			}
			if docs := s.Documents(); len(docs) != 1 || docs[0].Status != tt.status {
				t.Errorf("Documents says %v, want %s", docs, tt.status)
			}
		}
		time.Sleep(time.Second) // delete_after has passed
		if n := len(s.Documents()); n != 0 {
			t.Errorf("%d documents are left", n)
		}
		if r := c.get(t, "/documents/"+id); r.status != 404 {
			t.Errorf("an expired document: %d", r.status)
		}

		id = c.mustUpload(t, transcribe, "letter.png", samplePNG(1))
		if n := s.Stats().Billed; n != 2 {
			t.Errorf("the same scan again: %d pages billed, want 2", n)
		}
		if r := c.do(t, "DELETE", "/documents/"+id, "", nil); r.status != 204 || len(r.body) > 0 {
			t.Errorf("DELETE: %d %s", r.status, r.body)
		}
		if r := c.do(t, "DELETE", "/documents/"+id, "", nil); r.status != 404 {
			t.Errorf("a second DELETE: %d", r.status)
		}
		c.mustUpload(t, transcribe, "letter.png", samplePNG(1))
		if time.Sleep(defaultDeleteAfter - 1); len(s.Documents()) != 1 {
			t.Error("gone before the default of delete_after")
		}
		if time.Sleep(time.Nanosecond); len(s.Documents()) != 0 {
			t.Error("the default of delete_after is not honoured")
		}
	})
}

func TestCredits(t *testing.T) {
	s := New(Options{Credits: new(6)})
	c := inProcess(s)
	v3 := c
	v3.base = "https://sandbox.invalid/v3"
	balance := func(want float64) {
		t.Helper()
		if got := v3.get(t, "/users/me").json("balance"); got != want {
			t.Errorf("balance is %v, want %v", got, want)
		}
	}
	five := c.mustUpload(t, transcribe, "a.pdf", samplePDF(5))
	balance(1)
	if r := c.uploadWith(t, transcribe, "b.tif", sampleTIFF(binary.BigEndian, false, 0, 0)); r.status != 403 || string(r.body) != `{"error":"Insufficient page credits"}` {
		t.Errorf("two pages for one credit: %d %s", r.status, r.body)
	}
	c.mustUpload(t, transcribe, "c.png", samplePNG(1))
	balance(0)
	s.SetTrouble(parse(t, "status: fail"))
	if r := c.get(t, "/documents/"+five); r.json("status") != "failed" || r.json("error") != defaultFailure {
		t.Errorf("a document that fails: %s", r.body)
	}
	if r := c.get(t, "/documents/"+five+".txt"); r.status != 400 {
		t.Errorf("the result of a failed document: %d", r.status)
	}
	balance(5)
	c.do(t, "DELETE", "/documents/"+five, "", nil)
	balance(5)
	s.SetCredits(nil)
	c.mustUpload(t, transcribe, "d.pdf", samplePDF(9))
	want := Stats{Uploads: 3, Billed: 15, Refunded: 5, Deletes: 1}
	got := s.Stats()
	if got.Requests = nil; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Names: strings.ToUpper, Zone: time.FixedZone("", 3600)})
		c := inProcess(s)
		var ids []string
		for i := range 5 {
			ids = append(ids, c.mustUpload(t, transcribe, fmt.Sprintf("letter.%d.png", i), samplePNG(i)))
			time.Sleep(time.Minute)
		}
		var got []string
		for page := range 4 {
			r := c.get(t, fmt.Sprintf("/documents?per_page=2&page=%d", page+1))
			rows, _ := r.json("data").([]any)
			for i := range rows {
				got = append(got, r.json("data", i, "document_id").(string))
			}
			if r.json("total") != 5.0 || r.json("last_page") != 3.0 || r.json("per_page") != 2.0 || r.json("current_page") != float64(page+1) {
				t.Errorf("page %d: %s", page+1, r.body)
			}
			next, _ := r.json("next_page_url").(string)
			if page < 2 != strings.HasPrefix(next, "https://app.sandbox.invalid/") {
				t.Errorf("page %d: next_page_url is %q", page+1, next)
			}
		}
		slices.Reverse(ids)
		if !slices.Equal(got, ids) {
			t.Errorf("got %v, want the newest first: %v", got, ids)
		}
		r := c.get(t, "/documents")
		if r.json("per_page") != 50.0 || r.json("data", 4, "original_file_name") != "LETTER.0.PNG" {
			t.Errorf("got %s", r.body)
		}
		// Each row mixes shapes, and each field has each shape somewhere.
		shapes := map[string]bool{}
		for i := range 5 {
			for _, key := range []string{"created_at", "updated_at", "automatically_deleted_at"} {
				text, _ := r.json("data", i, key).(string)
				shape := ""
				for _, layout := range []string{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000000Z", time.DateTime} {
					if at, err := time.Parse(layout, text); err == nil && at.Format(layout) == text {
						shape = layout
					}
				}
				shapes[key+shape] = true
			}
		}
		if len(shapes) != 9 {
			t.Errorf("not all shapes in all fields: %v", slices.Sorted(maps.Keys(shapes)))
		}
		// The bubble's time begins at midnight, UTC.
		if created := r.json("data", 3, "created_at"); created != "2000-01-01 01:01:00" {
			t.Errorf("the second document's created_at is %v, not in the zone of the options", created)
		}
	})
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Rate: 0.5, Burst: 2})
		c := inProcess(s)
		for i, want := range []int{200, 200, 429, 429} {
			r := c.get(t, "/documents")
			if r.status != want {
				t.Errorf("request %d: %d, want %d", i, r.status, want)
			}
			if want == 429 && r.header.Get("Retry-After") != "2" {
				t.Errorf("Retry-After is %q, want 2", r.header.Get("Retry-After"))
			}
		}
		if time.Sleep(2 * time.Second); c.get(t, "/documents").status != 200 {
			t.Error("429 although Retry-After was obeyed")
		}
	})
}

// Each line is a second: what is answered, and what it tells of the limits.
func TestAnnounce(t *testing.T) {
	tests := []struct {
		name    string
		options Options
		want    string
	}{
		{"window, wait", Options{Quota: 2, Window: 4 * time.Second}, "200,,,, 200,,,, 429,2,,, 429,1,,, 200,,,,"},
		{"window, left", Options{Quota: 2, Window: 4 * time.Second, Announce: AnnounceLeft},
			"200,,2,1, 200,,2,0, 429,2,2,0,4 429,1,2,0,4 200,,2,1,"},
		{"window, all", Options{Quota: 2, Window: 4 * time.Second, Announce: AnnounceAll},
			"200,,2,1,4 200,,2,0,4 429,2,2,0,4 429,1,2,0,4 200,,2,1,8"},
		{"window, nothing", Options{Quota: 2, Window: 4 * time.Second, Announce: AnnounceNothing},
			"200,,,, 200,,,, 429,,,, 429,,,, 200,,,,"},
		{"bucket, left", Options{Rate: 0.5, Burst: 2, Announce: AnnounceLeft},
			"200,,2,1, 200,,2,0, 200,,2,0, 429,1,2,0,4 200,,2,0,"},
		{"bucket, all", Options{Rate: 0.5, Burst: 2, Announce: AnnounceAll},
			"200,,2,1,2 200,,2,0,4 200,,2,0,6 429,1,2,0,4 200,,2,0,8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now().Unix()
				c := inProcess(New(tt.options))
				var got []string
				for range 5 {
					r := c.get(t, "/documents")
					reset := r.header.Get("X-RateLimit-Reset")
					if n, err := strconv.ParseInt(reset, 10, 64); err == nil {
						reset = strconv.FormatInt(n-began, 10)
					}
					got = append(got, fmt.Sprintf("%d,%s,%s,%s,%s", r.status, r.header.Get("Retry-After"),
						r.header.Get("X-RateLimit-Limit"), r.header.Get("X-RateLimit-Remaining"), reset))
					time.Sleep(time.Second)
				}
				if got := strings.Join(got, " "); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
			})
		})
	}
}

func TestLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Quota: 1, Window: time.Minute})
		c := inProcess(s)
		next := func(want int) {
			t.Helper()
			if got := c.get(t, "/documents").status; got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
		next(200)
		next(429)
		s.SetQuota(2, time.Minute)
		next(200)
		next(429)
		s.SetRate(1, 1)
		next(200)
		next(429)
		s.SetRate(0, 0)
		next(429) // the window goes on
		s.SetQuota(0, 0)
		next(200)
	})
}

func TestOnCall(t *testing.T) {
	var got []string
	s := New(Options{OnCall: func(n int, op string, when Moment) {
		got = append(got, fmt.Sprintf("%d %s %d", n, op, when))
	}})
	c := inProcess(s)
	c.upload(t)
	s.SetTrouble(parse(t, "list: drop"))
	c.get(t, "/documents")
	want := []string{"1 upload 0", "1 upload 1", "1 upload 2", "2 list 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Nothing that is secret or that was read may reach the log.
func TestLogTellsNoSecrets(t *testing.T) {
	var log bytes.Buffer
	s := New(Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c := inProcess(s)
	id := c.mustUpload(t, transcribe, "private.png", samplePNG(1))
	c.get(t, "/documents/"+id+".txt")
	c.token = ""
	c.get(t, "/documents")
	if !strings.Contains(log.String(), "op=download status=200 document="+id) {
		t.Errorf("the log does not tell of the calls: %s", &log)
	}
	for _, secret := range []string{"a|token", "private", "does not read"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

func TestConcurrentUploads(t *testing.T) {
	s := New(Options{Credits: new(50)})
	c := inProcess(s)
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			r := c.uploadWith(t, transcribe, "a.png", samplePNG(i))
			c.get(t, "/documents/"+r.id())
			c.get(t, "/documents")
			s.Documents()
		})
	}
	wg.Wait()
	stats := s.Stats()
	if stats.Uploads != 50 || stats.Requests[Call{"upload", 201}] != 50 || stats.Requests[Call{"upload", 403}] != 10 {
		t.Errorf("got %+v, want 50 uploads for 50 credits", stats)
	}
}

// Every action of a script must be seen by a plain client, over any wire.
func TestTrouble(t *testing.T) {
	// The calls of one scenario are an upload, then status, txt, list and
	// delete of what it made.
	for script, want := range map[string]struct {
		op      string
		status  int    // 0 = no answer
		broken  bool   // the answer, or its body, breaks off
		body    string // a part of it
		uploads int    // documents made
		left    int    // and still there at the end
	}{
		"any 99: 500":                       {op: "delete", status: 204, uploads: 1},
		"upload 1: 500":                     {op: "upload", status: 500, body: `{"message":"Internal Server Error"}`},
		"upload 1: 503 html":                {op: "upload", status: 503, body: "<h1>503 Service Unavailable</h1>"},
		"upload 1: 403":                     {op: "upload", status: 403, body: `{"error":"Insufficient page credits"}`},
		"upload 1: 422":                     {op: "upload", status: 422, body: `"errors":{"file":`},
		"upload 1: 422 field extractor_id":  {op: "upload", status: 422, body: `"errors":{"extractor_id":`},
		"upload 1: 202":                     {op: "upload", status: 202, body: `{"message":"Accepted"}`},
		"upload 1: made 502 html":           {op: "upload", status: 502, body: "<h1>502 Bad Gateway</h1>", uploads: 1, left: 1},
		"upload 1: made 201":                {op: "upload", status: 201, body: `{"message":"Created"}`, uploads: 1, left: 1},
		"upload 1: lost":                    {op: "upload", broken: true, uploads: 1, left: 1},
		"upload 1: drop":                    {op: "upload", broken: true},
		"upload 1: drop 10":                 {op: "upload", broken: true},
		"upload 1: redirect":                {op: "upload", status: 302, body: "Redirecting"},
		"upload 1: cut 0":                   {op: "upload", status: 201, broken: true, uploads: 1, left: 1},
		"upload 1: cut 9":                   {op: "upload", status: 201, broken: true, body: `{"id":"`, uploads: 1, left: 1},
		"upload 1: cut 999":                 {op: "upload", status: 201, broken: true, body: `"status":"queued"`, uploads: 1, left: 1},
		"upload 1: short":                   {op: "upload", status: 201, body: `{"id":"`, uploads: 1, left: 1},
		"upload 1: long":                    {op: "upload", status: 201, broken: true, body: `"queued"}`, uploads: 1},
		"upload 1: garbage":                 {op: "upload", status: 200, body: "\xff\xfe", uploads: 1, left: 1},
		"upload 1: empty":                   {op: "upload", status: 201, uploads: 1, left: 1},
		"upload 1: twin":                    {op: "upload", status: 201, body: `"queued"`, uploads: 2, left: 1},
		"upload 1: vanish":                  {op: "status", status: 404, uploads: 1},
		"upload 1: stay":                    {op: "status", status: 200, body: `"processing"`, uploads: 1},
		`upload 1: fail "blank page"`:       {op: "status", status: 200, body: `"error":"blank page"`, uploads: 1},
		"status 1: fail":                    {op: "download", status: 400, body: "no results", uploads: 1},
		"status 1: 202":                     {op: "status", status: 202, uploads: 1},
		"status 1: stay":                    {op: "download", status: 202, body: `"processing"`, uploads: 1},
		"status 1: vanish":                  {op: "status", status: 404, uploads: 1},
		"status 1: 401 for 1h":              {op: "status", status: 401, body: "Unauthenticated.", uploads: 1},
		"status 1: garbage":                 {op: "status", status: 200, body: "\x00\x01", uploads: 1},
		"status 1: 429 retry-after 7":       {op: "status", status: 429, uploads: 1},
		"download 1: cut 20":                {op: "download", status: 200, broken: true, body: "=== **Page: 1 of 1**", uploads: 1},
		"download 1: long":                  {op: "download", status: 200, broken: true, uploads: 1},
		"download 1: 200":                   {op: "download", status: 200, body: `{"message":"OK"}`, uploads: 1},
		"download 1: lost":                  {op: "download", broken: true, uploads: 1},
		"download 1: vanish":                {op: "download", status: 404, uploads: 1},
		"download 1: fail":                  {op: "download", status: 400, uploads: 1},
		"list 1: lag 1h":                    {op: "list", status: 200, body: `"total":0`, uploads: 1},
		"list 1: rename":                    {op: "list", status: 200, body: `"letter-sdab12-k7.png"`, uploads: 1},
		"list 1: nonames":                   {op: "list", status: 200, body: `"original_file_name":null`, uploads: 1},
		"list 1: 500\nlist: nonames":        {op: "list", status: 500, uploads: 1},
		"delete 1: made 500":                {op: "delete", status: 500, uploads: 1},
		"delete 1: 500":                     {op: "delete", status: 500, uploads: 1, left: 1},
		"delete 1: lost":                    {op: "delete", broken: true, uploads: 1},
		"delete 1: cut 5":                   {op: "delete", broken: true, uploads: 1},
		"delete 1: vanish":                  {op: "delete", status: 404, uploads: 1},
		"delete 1: garbage":                 {op: "delete", status: 200, body: "garbage", uploads: 1},
		"delete 1: 204":                     {op: "delete", status: 204, uploads: 1, left: 1},
		"any 3: 503\ndownload 1: slow 10ms": {op: "download", status: 503, uploads: 1},
	} {
		t.Run(script, func(t *testing.T) {
			for wire, connect := range map[string]func(*testing.T, *Sandbox) caller{
				"memory": func(_ *testing.T, s *Sandbox) caller { return inProcess(s) },
				"TCP":    overTCP,
			} {
				s := New(Options{Trouble: parse(t, script)})
				c := connect(t, s)
				replies := map[string]reply{"upload": c.uploadWith(t, transcribe, "letter.sdAB12-k7f3q2m4x5n6p7r2.png", samplePNG(1))}
				if id := replies["upload"].id(); id != "" {
					replies["status"] = c.get(t, "/documents/"+id)
					replies["download"] = c.get(t, "/documents/"+id+".txt")
					replies["list"] = c.get(t, "/documents")
					replies["delete"] = c.do(t, "DELETE", "/documents/"+id, "", nil)
				}
				got := replies[want.op]
				if got.status != want.status || (got.err != nil) != want.broken || !strings.Contains(string(got.body), want.body) {
					t.Errorf("%s: %s answered %d %q %v, want %d with %q, broken: %t",
						wire, want.op, got.status, got.body, got.err, want.status, want.body, want.broken)
				}
				if want.broken && !broken(got.err) {
					t.Errorf("%s: %v does not look like a connection that died", wire, got.err)
				}
				seen := want.status
				if want.broken {
					seen = 0
				}
				stats := s.Stats()
				if stats.Uploads != want.uploads || len(s.Documents()) != want.left || stats.Requests[Call{want.op, seen}] != 1 {
					t.Errorf("%s: %d documents left, want %d; %+v", wire, len(s.Documents()), want.left, stats)
				}
			}
		})
	}
}

func TestTroubleHeaders(t *testing.T) {
	for script, want := range map[string]string{
		"any: 429 retry-after 7":      "7",
		"any: made 503 retry-after 0": "0",
		"any: 429 retry-after absurd": "99999999999",
		"any: 429":                    "",
	} {
		r := inProcess(New(Options{Trouble: parse(t, script)})).get(t, "/documents")
		if got := r.header.Get("Retry-After"); got != want {
			t.Errorf("%s: Retry-After is %q, want %q", script, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := inProcess(New(Options{Trouble: parse(t, "any: 429 retry-after date")})).get(t, "/documents")
		if at, err := http.ParseTime(r.header.Get("Retry-After")); err != nil || time.Until(at) != 2*time.Second {
			t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
		}
	})
	r := inProcess(New(Options{Trouble: parse(t, "any: redirect")})).get(t, "/documents")
	if got := r.header.Get("Location"); got != "https://login.sandbox.invalid/login" {
		t.Errorf("Location is %q", got)
	}
}

func TestTroubleTakesTime(t *testing.T) {
	for script, want := range map[string]time.Duration{
		"":                                     0,
		"any: slow 7s":                         7 * time.Second,
		"status: drip 1s":                      time.Duration(len(`{"message":"OK"}`)) * time.Second,
		"any: slow 1s\nstatus: 500\nany: lost": time.Second,
	} {
		t.Run(cmp.Or(script, "none"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const latency = 100 * time.Millisecond
				s := New(Options{Latency: latency, Trouble: parse(t, script+"\nstatus: 200")})
				start := time.Now()
				inProcess(s).get(t, "/documents/nobody")
				if got := time.Since(start); got != latency+want {
					t.Errorf("took %v, want %v", got, latency+want)
				}
			})
		})
	}
	t.Run("the work is done first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Trouble: parse(t, "upload: slow 1h")})
			c := inProcess(s)
			contentType, body := encode(transcribe, "a.png", samplePNG(1))
			req, _ := http.NewRequest("POST", c.base+"/documents", bytes.NewReader(body))
			req.Header.Set("Authorization", "Bearer t")
			req.Header.Set("Content-Type", contentType)
			client := &http.Client{Transport: c.transport, Timeout: time.Minute}
			if _, err := client.Do(req); err == nil {
				t.Error("answered within the client's time-out")
			}
			if n := len(s.Documents()); n != 1 {
				t.Errorf("%d documents, want one that its owner does not know", n)
			}
		})
	})
	t.Run("stay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Work: work(time.Second), Trouble: parse(t, "upload 1: stay 10s\nupload 2: fail")})
			c := inProcess(s)
			late := c.mustUpload(t, transcribe, "a.png", samplePNG(1))
			fails := c.mustUpload(t, transcribe, "a.png", samplePNG(2))
			if r := c.get(t, "/documents/"+fails); r.json("status") != "queued" || s.Stats().Refunded != 0 {
				t.Errorf("a document fails before its work is done: %s", r.body)
			}
			time.Sleep(10 * time.Second)
			if r := c.get(t, "/documents/"+fails); r.json("status") != "failed" || s.Stats().Refunded != 1 {
				t.Errorf("a document that was to fail: %s", r.body)
			}
			if r := c.get(t, "/documents/"+late); r.json("status") != "processing" {
				t.Errorf("a document that was to stay: %s", r.body)
			}
			time.Sleep(time.Second)
			if r := c.get(t, "/documents/"+late); r.json("status") != "processed" {
				t.Errorf("a document that stayed: %s", r.body)
			}
		})
	})
	t.Run("lag", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := inProcess(New(Options{Trouble: parse(t, "list: lag 20s")}))
			c.upload(t)
			for _, want := range []float64{0, 1} {
				if got := c.get(t, "/documents").json("total"); got != want {
					t.Errorf("the list shows %v documents, want %v", got, want)
				}
				time.Sleep(20 * time.Second)
			}
		})
	})
}

// A small request that breaks before the engine or pages are known must not
// leave a temporary file, and neither must a large one.
func TestNoTemporaryFileIsLeft(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	c := inProcess(New(Options{}))
	content := append(samplePNG(1), make([]byte, 1<<20)...)
	c.mustUpload(t, transcribe, "a.png", content)
	c.uploadWith(t, fields{{"action", "nothing"}}, "a.png", content)
	if left := entries(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
