package hwocr

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newFile returns an empty file to download into.
func newFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "result"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// zipped returns a ZIP of one entry.
func zipped(t testing.TB, method uint16, name, content string) string {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	if name != "" {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func TestDownload(t *testing.T) {
	const (
		docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
		xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	)
	office := zipped(t, zip.Deflate, "[Content_Types].xml", "<Types/>")
	stored := zipped(t, zip.Store, "word/document.xml", "some text of the letter")
	damaged := strings.Replace(stored, "letter", "LETTER", 1)
	result := `{"id":"abc","status":"processed","results":[{"page_number":1,"transcript":"Dear Sir"}]}`
	tests := []struct {
		name, format, typ, body string
		cause                   error  // or
		fails                   string // a part of the error
	}{
		{name: "txt", format: "txt", typ: "text/plain; charset=UTF-8", body: "Dear Sir"},
		{name: "txt as a file", format: "txt", typ: "application/octet-stream", body: "Dear Sir"},
		{name: "txt without a type", format: "txt", body: "Dear Sir"},
		{name: "empty txt", format: "txt", typ: "text/plain"},
		{name: "txt that begins with a brace", format: "txt", typ: "text/plain", body: "{a list} of things"},
		{name: "txt that is JSON", format: "txt", typ: "text/plain", body: `{"id":1,"status":"x","text":"a page of a manual"}`},
		{name: "txt as HTML", format: "txt", typ: "text/html", body: "Dear Sir", cause: errHTML},
		{name: "HTML as txt", format: "txt", typ: "text/plain", body: "\ufeff\n <HTML lang=en>", cause: errHTML},
		{name: "HTML without a type", format: "txt", body: htmlPage, cause: errHTML},
		{name: "txt as PDF", format: "txt", typ: "application/pdf", body: "Dear Sir", fails: "application/pdf"},
		{name: "txt as XML", format: "txt", typ: "application/xml", body: "<Error/>", fails: "application/xml"},
		{name: "txt not done", format: "txt", typ: jsonType, body: `{"id":"abc","status":"processing"}`, cause: ErrPending},
		{name: "txt not done, unknown word", format: "txt", typ: jsonType, body: `{"document_id":7,"status":"dreaming","results":null}`, cause: ErrPending},
		{name: "txt not done, untyped", format: "txt", typ: "text/plain", body: ` {"id":"abc","status":"queued"}`, cause: ErrPending},
		{name: "txt failed", format: "txt", typ: jsonType, body: `{"id":"abc","status":"failed","error":"too dark"}`, fails: "failed: too dark"},
		{name: "txt processed, says JSON", format: "txt", typ: jsonType, body: `{"id":"abc","status":"processed"}`, fails: "processed"},
		{name: "JSON for txt", format: "txt", typ: jsonType, body: result, fails: "JSON, not txt"},
		{name: "much JSON for txt", format: "txt", typ: jsonType, body: "[" + strings.Repeat("1,", maxStatus) + "1]", fails: "JSON, not txt"},

		{name: "csv", format: "csv", typ: "text/csv", body: "a,b\n1,2\n"},
		{name: "csv by Excel", format: "csv", typ: "application/vnd.ms-excel", body: "a,b\n"},

		{name: "json", format: "json", typ: jsonType, body: result},
		{name: "json as a file", format: "json", typ: "application/octet-stream", body: result},
		{name: "json of another shape", format: "json", typ: jsonType, body: `{"id":"abc","status":"processed","tables":[[1,2]]}`},
		{name: "json list", format: "json", typ: jsonType, body: ` [[["a", 1e400, null, true]]] `},
		{name: "json of a blank page", format: "json", typ: jsonType, body: `{"id":"abc","status":"processed","results":[]}`},
		{name: "json without a status", format: "json", typ: jsonType, body: `{"rows":[{"status":"new"}]}`},
		{name: "json with an unknown word", format: "json", typ: jsonType, body: `{"status":"success","tables":[{}]}`},
		{name: "json of a form with a status", format: "json", typ: jsonType, body: `{"status":"new","fields":[1]}`},
		{name: "json not done", format: "json", typ: jsonType, body: `{"id":"abc","status":"processing"}`, cause: ErrPending},
		{name: "json not done, results", format: "json", typ: jsonType, body: `{"results":[{"page_number":1}],"id":"abc","status":"Processing"}`, cause: ErrPending},
		{name: "json not done, unknown word", format: "json", typ: jsonType, body: `{"id":"abc","status":"dreaming","progress":4,"results":[]}`, cause: ErrPending},
		{name: "json failed", format: "json", typ: jsonType, body: `{"id":"abc","status":"failed","error":"too\ndark","results":[]}`, fails: "failed: too dark"},
		{name: "json processed, no result", format: "json", typ: jsonType, body: `{"id":"abc","status":"processed"}`, fails: "processed"},
		{name: "json processed, null", format: "json", typ: jsonType, body: `{"id":"abc","status":"processed","results":null}`, fails: "processed"},
		{name: "json message", format: "json", typ: jsonType, body: `{"message":"Unauthenticated."}`, fails: "without a result: Unauthenticated."},
		{name: "json cut off", format: "json", typ: jsonType, body: result[:60], fails: "cut off"},
		{name: "json empty", format: "json", typ: jsonType, fails: "cut off"},
		{name: "json twice", format: "json", typ: jsonType, body: result + result, fails: "more than one"},
		{name: "json and garbage", format: "json", typ: jsonType, body: result + "]", fails: "broken JSON"},
		{name: "json, a comma too many", format: "json", typ: jsonType, body: `{"a":[1,]}`, fails: "broken JSON"},
		{name: "json too deep", format: "json", typ: jsonType, body: strings.Repeat("[", 2000), fails: "deep"},
		{name: "HTML for json", format: "json", typ: jsonType, body: htmlPage, cause: errHTML},

		{name: "docx", format: "docx", typ: docx, body: office},
		{name: "docx as ZIP", format: "docx", typ: "application/zip", body: stored},
		{name: "xlsx", format: "xlsx", typ: xlsx, body: office},
		{name: "xlsx for docx", format: "docx", typ: xlsx, body: office, fails: "not docx"},
		{name: "docx cut off", format: "docx", typ: docx, body: office[:len(office)-10], fails: "not a whole ZIP"},
		{name: "docx damaged", format: "docx", typ: docx, body: damaged, fails: "damaged"},
		{name: "docx without entries", format: "docx", typ: docx, body: zipped(t, 0, "", ""), fails: "empty ZIP"},
		{name: "docx empty", format: "docx", typ: docx, fails: "not a whole ZIP"},
		{name: "docx not done", format: "docx", typ: "application/octet-stream", body: `{"id":"abc","status":"new"}`, cause: ErrPending},
		{name: "docx as text", format: "docx", typ: "text/plain", body: office, fails: "not docx"},
		{name: "pdf", format: "pdf", fails: "format"},
		{name: "no format", format: "", fails: "format"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFile(t)
			n, err := client(t, "", always(200, tt.body, typeKey, tt.typ)).Download(t.Context(), "abc", tt.format, f)
			if tt.cause != nil || tt.fails != "" {
				e := wantError(t, err)
				if n != 0 || e.Op != "download" || e.Status != 200 && tt.typ != "" ||
					tt.cause != nil && !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got %d, %#v", n, e)
				}
				if tt.cause != ErrPending && errors.Is(err, ErrPending) {
					t.Error("it is pending")
				}
				if strings.Contains(err.Error(), "Dear Sir") || strings.Contains(err.Error(), "\n") {
					t.Errorf("the error quotes the result: %v", err)
				}
				return
			}
			got, _ := os.ReadFile(f.Name())
			if err != nil || n != int64(len(tt.body)) || string(got) != tt.body {
				t.Errorf("got %d, %v, %q", n, err, got)
			}
		})
	}
}

func TestDownloadStatus(t *testing.T) {
	for _, tt := range []struct {
		status  int
		body    string
		message string
	}{
		{202, "", ""},
		{202, `{"id":"abc","status":"processing"}`, ""},
		{204, "", "No Content"},
		{206, "x", "Partial Content"},
		{302, "", "Found"},
		{400, `{"error":"Unsupported format"}`, "Unsupported format"},
		{404, `{"message":"gone"}`, "gone"},
		{500, "", "Internal Server Error"},
	} {
		c := client(t, "", always(tt.status, tt.body, typeKey, jsonType, "Retry-After", "7"))
		n, err := c.Download(t.Context(), "abc", "txt", newFile(t))
		if e := wantError(t, err); n != 0 || e.Status != tt.status || e.Message != tt.message ||
			e.RetryAfter.Seconds() != 7 || errors.Is(err, ErrPending) != (tt.status == 202) {
			t.Errorf("%d: got %#v", tt.status, e)
		}
	}
}

func TestDownloadLength(t *testing.T) {
	c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
		resp := answer(200, "Dear", typeKey, "text/plain")
		resp.ContentLength = 8
		return resp, nil
	}))
	_, err := c.Download(t.Context(), "abc", "txt", newFile(t))
	if e := wantError(t, err); e.Status != 200 || !strings.Contains(err.Error(), "4 of 8") {
		t.Errorf("got %#v", e)
	}

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(typeKey, "text/plain")
		if strings.HasSuffix(r.URL.Path, "whole.txt") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, "Dear Sir")
			_ = z.Close()
			return
		}
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "Dear Sir")
	}))
	defer srv.Close()
	c = client(t, srv.URL, nil)
	_, err = c.Download(t.Context(), "abc", "txt", newFile(t))
	if e := wantError(t, err); e.Status != 200 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %#v", e)
	}
	if n, err := c.Download(t.Context(), "whole", "txt", newFile(t)); n != 8 || err != nil {
		t.Errorf("compressed: got %d, %v", n, err)
	}
	c = client(t, "", always(200, "...", typeKey, "text/plain", "Content-Encoding", "br"))
	if _, err = c.Download(t.Context(), "abc", "txt", newFile(t)); wantError(t, err).Status != 200 {
		t.Errorf("got %v", err)
	}
}

// nowhere is a file that keeps nothing and can be read all the same.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error)           { return len(p), nil }
func (nowhere) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestDownloadTooLarge(t *testing.T) {
	c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
		resp := answer(200, "", typeKey, "text/plain")
		resp.Body, resp.ContentLength = io.NopCloser(zeros{}), -1
		return resp, nil
	}))
	_, err := c.Download(t.Context(), "abc", "txt", nowhere{})
	if e := wantError(t, err); e.Status != 200 || !strings.Contains(err.Error(), "larger than 256 MB") {
		t.Errorf("got %#v", e)
	}
}

type fullDisk struct{ nowhere }

var errDiskFull = errors.New("no space left on device")

func (fullDisk) Write([]byte) (int, error) { return 0, errDiskFull }

func TestDownloadDiskFull(t *testing.T) {
	_, err := client(t, "", always(200, "Dear Sir", typeKey, "text/plain")).Download(t.Context(), "abc", "txt", fullDisk{})
	if wantError(t, err); !errors.Is(err, errDiskFull) {
		t.Errorf("got %v", err)
	}
}

// A ZIP that unpacks to more than any result must be given up, not waited for.
func TestCheckZipBomb(t *testing.T) {
	const most = 1 << 20
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	w, err := z.Create("bomb")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, most+1); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(buf.Bytes())
	if err := checkZip(t.Context(), r, r.Size(), most); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
	if err := checkZip(t.Context(), r, r.Size(), most+1); err != nil {
		t.Error(err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkZip(stopped, r, r.Size(), most); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := summarize(stopped, strings.NewReader("1")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Whatever comes, looking at it ends without a panic, and JSON is what json.Valid says.
func FuzzCheck(f *testing.F) {
	f.Add("json", `{"id":"abc","status":"processed","results":[{"a":[1,2,{"b":null}]}]}`)
	f.Add("json", `{"a":[1,]} {}`)
	f.Add("txt", `{"id":1,"status":"new"}`)
	f.Add("docx", zipped(f, zip.Deflate, "[Content_Types].xml", "<Types/>"))
	f.Fuzz(func(t *testing.T, format, body string) {
		if strings.Count(body, "[")+strings.Count(body, "{") > maxDepth {
			t.Skip("may be too deep")
		}
		_, err := check(t.Context(), strings.NewReader(body), int64(len(body)), format)
		if format == "json" && err == nil && !json.Valid([]byte(body)) {
			t.Errorf("%q was taken for JSON", body)
		}
		if sum, err := summarize(t.Context(), strings.NewReader(body)); (err == nil) != json.Valid([]byte(body)) {
			t.Errorf("%q: got %+v, %v", body, sum, err)
		}
	})
}
