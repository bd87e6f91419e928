package sandbox

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}

var reading = Reading{
	Pages:  []string{"Dear Edmund,\n\tthe <clock> & \"the\" ladder\n", "Ever yours,\nAdelaide – \x01"},
	Tables: [][][]string{{{"Date", "£"}, {"1 June", "2 < 3"}}, {{"alone"}}},
	Fields: []Field{
		{Key: "name", Name: "Name", Type: "text", Value: "Tobias, Crake"},
		{Key: "age", Name: "Age", Type: "number", Value: "64", Page: 1},
		{Key: "age", Name: "Age", Type: "number", Value: "65", Page: 2},
	},
}

// fixed reads the same in every scan.
type fixed struct {
	reading Reading
	err     error
}

func (f fixed) Read(context.Context, Scan) (Reading, error) { return f.reading, f.err }

func TestResults(t *testing.T) {
	c := inProcess(New(Options{Engine: fixed{reading: reading}}))
	ids := map[string]string{}
	for action := range formats {
		ids[action] = c.mustUpload(t, fields{{"action", action}, {"extractor_id", "x"}}, "Brief ä.pdf", samplePDF(2))
	}
	for _, tt := range []struct{ action, format, contentType, want string }{
		{"transcribe", "txt", "text/plain; charset=utf-8",
			"=== **Page: 1 of 2**\n\nDear Edmund,\n\tthe <clock> & \"the\" ladder\n\n=== **Page: 2 of 2**\n\nEver yours,\nAdelaide – \x01\n"},
		{"transcribe", "json", "application/json", `"results":[{"page_number":1,"transcript":"Dear Edmund,\n\tthe \u003cclock\u003e`},
		{"transcribe", "json", "application/json", `"thumbnails":["https://`},
		{"tables", "json", "application/json", `"results":[{"rows":[["Date","£"],["1 June","2 \u003c 3"]],"table_number":1}`},
		{"extractor", "json", "application/json", `"extractions":[[{"key":"name","name":"Name","type":"text","value":"Tobias, Crake"},{"key":"age"`},
		{"extractor", "json", "application/json", `"page_number":2`},
		{"extractor", "csv", "text/csv; charset=utf-8", "Name,Age\n\"Tobias, Crake\",64\n,65\n"},
		{"transcribe", "docx", contentTypes["docx"], "PK\x03\x04"},
		{"tables", "xlsx", contentTypes["xlsx"], "PK\x03\x04"},
		{"extractor", "xlsx", contentTypes["xlsx"], "PK\x03\x04"},
	} {
		r := c.get(t, "/documents/"+ids[tt.action]+"."+tt.format)
		if r.status != 200 || r.header.Get("Content-Type") != tt.contentType || !strings.Contains(string(r.body), tt.want) {
			t.Errorf("%s of %s: %d %s\n%s\nwant %s", tt.format, tt.action, r.status, r.header.Get("Content-Type"), r.body, tt.want)
		}
		if !strings.HasPrefix(r.header.Get("Content-Disposition"), "attachment; filename") {
			t.Errorf("%s of %s: Content-Disposition %q", tt.format, tt.action, r.header.Get("Content-Disposition"))
		}
	}
	c.base = "https://sandbox.invalid/v3"
	r := c.get(t, "/documents/"+ids["extractor"]+".json")
	if r.json("results", 1) != nil || r.json("results", 0, "extractions", 1, 0, "value") != "65" {
		t.Errorf("v3 should have all sets in one result: %s", r.body)
	}
}

// packageText returns the text of each part of an OOXML file and fails unless
// they are well-formed and all named parts are there.
func packageText(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	text := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var all strings.Builder
		for dec := xml.NewDecoder(r); ; {
			token, err := dec.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if data, ok := token.(xml.CharData); ok {
				all.WriteString(strings.TrimSuffix(string(data), "\n") + "|")
			}
		}
		text[f.Name] = all.String()
		r.Close()
	}
	return text
}

func TestOOXML(t *testing.T) {
	document := docx(reading.Pages)
	if got, want := packageText(t, document)["word/document.xml"], "|Dear Edmund,|the <clock> & \"the\" ladder|Ever yours,|Adelaide – \uFFFD|"; got != want {
		t.Errorf("the document says %q, want %q", got, want)
	}
	book := xlsx(reading.Tables)
	text := packageText(t, book)
	if got, want := text["xl/worksheets/sheet1.xml"], "|Date|£|1 June|2 < 3|"; got != want {
		t.Errorf("the first sheet says %q, want %q", got, want)
	}
	if _, ok := text["xl/worksheets/sheet2.xml"]; !ok {
		t.Error("the second table has no sheet")
	}
	if !bytes.Equal(book, xlsx(reading.Tables)) || !bytes.Equal(document, docx(reading.Pages)) {
		t.Error("the same content makes other bytes")
	}
	packageText(t, xlsx(nil))
	packageText(t, docx(nil))
	for n, want := range map[int]string{0: "A", 25: "Z", 26: "AA", 27: "AB", 701: "ZZ", 702: "AAA"} {
		if got := column(n); got != want {
			t.Errorf("column %d is %s, want %s", n, got, want)
		}
	}
}

func TestLibreOfficeReadsResults(t *testing.T) {
	soffice, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("soffice is not in PATH")
	}
	for name, tt := range map[string]struct {
		content    []byte
		into, want string
	}{
		"a.docx": {docx(reading.Pages), "txt:Text", `the <clock> & "the" ladder`},
		"b.xlsx": {xlsx(reading.Tables), "csv", "1 June,2 < 3"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), soffice, "-env:UserInstallation=file://"+filepath.ToSlash(dir)+"/profile",
			"--headless", "--convert-to", tt.into, "--outdir", dir, file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		kind, _, _ := strings.Cut(tt.into, ":")
		got, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + "." + kind)
		if err != nil || !strings.Contains(string(got), tt.want) {
			t.Errorf("%s became %q, %v", name, got, err)
		}
	}
}

func TestEngines(t *testing.T) {
	png, pdf := samplePNG(1), samplePDF(3)
	known, err := KnownScans(fstest.MapFS{
		"letter.PNG":      {Data: png},
		"letter.PNG.json": {Data: []byte(`{"pages":["Dear Edmund"]}`)},
		"other.json":      {Data: []byte(`not of a scan`)},
		"unknown.png":     {Data: samplePNG(2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Engine: Chain{known, Plain{}}})
	c := inProcess(s)
	text := func(action, format string, content []byte) string {
		id := c.mustUpload(t, fields{{"action", action}, {"extractor_id", "x"}}, "a.png", content)
		return string(c.get(t, "/documents/"+id+"."+format).body)
	}
	if got := text("transcribe", "txt", png); !strings.Contains(got, "Dear Edmund") {
		t.Errorf("a known scan reads %q", got)
	}
	for _, format := range []string{"json", "csv"} {
		if got := text("extractor", format, png); !strings.Contains(got, "Dear Edmund") {
			t.Errorf("a known scan without fields extracts as %q", got)
		}
	}
	if got := text("tables", "json", png); !strings.Contains(got, "Dear Edmund") {
		t.Errorf("a known scan without tables gives %q", got)
	}
	want := "The sandbox does not read: this is page 3 of 3 of scan " + sum(pdf)[:8] + "."
	for _, of := range [][2]string{{"transcribe", "txt"}, {"extractor", "csv"}} {
		if got := text(of[0], of[1], pdf); !strings.Contains(got, want) {
			t.Errorf("an unknown scan reads %q, want %q", got, want)
		}
	}

	c = inProcess(New(Options{Engine: fixed{err: errors.New("too dark")}}))
	id := c.mustUpload(t, transcribe, "a.png", png)
	if r := c.get(t, "/documents/"+id); r.json("status") != "failed" || r.json("error") != "too dark" {
		t.Errorf("an engine's error becomes %s", r.body)
	}
	if _, err := (Chain{known}).Read(t.Context(), Scan{}); !errors.Is(err, ErrUnread) {
		t.Errorf("a chain that nobody answers: %v", err)
	}
}

func TestKnownScansMistakes(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"the scan of a.png.json": {"a.png.json": {Data: []byte(`{}`)}},
		"a.png.json: json":       {"a.png": {}, "a.png.json": {Data: []byte(`{"page":["x"]}`)}},
		"unexpected EOF":         {"a.png": {}, "a.png.json": {Data: []byte(`{`)}},
	} {
		if _, err := KnownScans(fsys); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want an error about %s", err, name)
		}
	}
}

func TestTesseract(t *testing.T) {
	scan := Scan{Type: typePNG, Content: io.NewSectionReader(bytes.NewReader(nil), 0, 0)}
	for name, engine := range map[string]Tesseract{
		"no program":           {Program: filepath.Join(t.TempDir(), "tesseract")},
		"a program that fails": {Program: "go"}, // every run of these tests has it
	} {
		if _, err := engine.Read(t.Context(), scan); !errors.Is(err, ErrUnread) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	scan.Type = typePDF
	if _, err := (Tesseract{}).Read(t.Context(), scan); !errors.Is(err, ErrUnread) {
		t.Errorf("a PDF: got %v", err)
	}
}

func TestTesseractReads(t *testing.T) {
	if _, err := exec.LookPath("tesseract"); err != nil {
		t.Skip("tesseract is not in PATH")
	}
	content := samplePNG(1)
	scan := Scan{Type: typePNG, Content: io.NewSectionReader(bytes.NewReader(content), 0, int64(len(content)))}
	r, err := Tesseract{}.Read(t.Context(), scan)
	if errors.Is(err, ErrUnread) {
		t.Skip("tesseract has no language installed, or refuses the sample")
	}
	if err != nil || len(r.Pages) != 1 {
		t.Errorf("got %q, %v, want one page", r.Pages, err)
	}
}

// hooks receives webhooks.
type hooks chan *http.Request

func (h hooks) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	select {
	case h <- r:
		return httptest.NewRecorder().Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		received := make(hooks, 10)
		s := New(Options{
			Work: work(time.Minute), WebhookURL: "https://hook.invalid/account", WebhookSecret: "secret",
			HookClient: &http.Client{Transport: received},
			Trouble:    parse(t, "upload 2: fail\nupload 3: stay 1h\nupload 5: stay 2h"),
		})
		c := inProcess(s)
		v3 := c
		v3.base = "https://sandbox.invalid/v3"
		start := time.Now()
		first := c.mustUpload(t, transcribe, "a.png", samplePNG(1))
		c.mustUpload(t, transcribe, "fails.png", samplePNG(2))
		late := c.mustUpload(t, transcribe, "late.png", samplePNG(3))
		deleted := c.mustUpload(t, transcribe, "deleted.png", samplePNG(4))
		c.do(t, "DELETE", "/documents/"+deleted, "", nil)

		c.mustUpload(t, fields{{"action", "transcribe"}, {"delete_after", "300"}}, "expires.png", samplePNG(8))

		hook := <-received
		body, _ := io.ReadAll(hook.Body)
		if time.Since(start) != time.Minute || hook.URL.String() != "https://hook.invalid/account" || hook.Method != "POST" {
			t.Errorf("%s %s after %v", hook.Method, hook.URL, time.Since(start))
		}
		if got := hook.Header.Get("X-Signature"); got != sign("secret", body) {
			t.Errorf("X-Signature is %q", got)
		}
		var result, download map[string]any
		json.Unmarshal(body, &result)
		json.Unmarshal(c.get(t, "/documents/"+first+".json").body, &download)
		if result["id"] != first || result["results"] == nil || len(result) != len(download) {
			t.Errorf("the webhook says %v, the download %v", result, download)
		}

		if hook = <-received; time.Since(start) != time.Minute+time.Hour {
			t.Errorf("the second webhook came after %v", time.Since(start))
		}
		if json.NewDecoder(hook.Body).Decode(&result); result["id"] != late {
			t.Errorf("the second webhook is of %v", result["id"])
		}

		v3.mustUpload(t, fields{{"action", "transcribe"}, {"webhook_url", "https://hook.invalid/own"}}, "a.png", samplePNG(5))
		c.mustUpload(t, fields{{"action", "transcribe"}, {"webhook_url", "https://hook.invalid/own"}}, "a.png", samplePNG(6))
		s.SetWebhook("", "secret")
		if hook = <-received; hook.URL.Path != "/own" {
			t.Errorf("an upload's own webhook went to %s", hook.URL)
		}
		time.Sleep(time.Hour)
		s.SetWebhook("https://hook.invalid/new", "new")
		c.mustUpload(t, transcribe, "never.png", samplePNG(7))
		s.Close()
		time.Sleep(time.Hour)
		if len(received) != 0 {
			t.Errorf("%d webhooks too many, the first to %s", len(received), (<-received).URL)
		}
	})
}

func TestSign(t *testing.T) {
	// printf %s '{}' | openssl dgst -sha256 -hmac key
	const want = "sha256=a777724d943eb48dc69bca8a4a6d57a04db3f9ec7e1de4e581e860265bdf3032"
	if got := sign("key", []byte("{}")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCloseEndsWebhooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{WebhookURL: "https://hook.invalid", HookClient: &http.Client{Transport: make(hooks)}}) // nobody receives
		inProcess(s).upload(t)
		synctest.Wait()
		if err := s.Close(); err != nil { // deadlocks if it waits for a webhook that nobody takes
			t.Error(err)
		}
	})
}
