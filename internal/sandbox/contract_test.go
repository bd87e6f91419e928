package sandbox_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/sandbox"
)

// TestContract holds the sandbox, and on request the live service, to what is
// documented of the API. The live run uploads one page, which costs a credit,
// and deletes it.
func TestContract(t *testing.T) {
	t.Run("sandbox", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := sandbox.New(sandbox.Options{
				Token: "a|token",
				Work:  func(sandbox.Document) time.Duration { return 20 * time.Second },
			})
			defer s.Close()
			contract(t, client{s.RoundTripper(), "https://sandbox.invalid/api/v2", "a|token", 0})
		})
	})
	t.Run("live", func(t *testing.T) {
		token := os.Getenv("SCANDROP_LIVE_TOKEN")
		if token == "" {
			t.Skip("SCANDROP_LIVE_TOKEN is not set")
		}
		base := cmp.Or(os.Getenv("SCANDROP_LIVE_URL"), "https://www.handwritingocr.com/api/v2")
		contract(t, client{http.DefaultTransport, strings.TrimSuffix(base, "/"), token, time.Second})
	})
}

// client is the least that speaks the API. It makes no request sooner than
// pace after the one before.
type client struct {
	transport http.RoundTripper
	base      string
	token     string
	pace      time.Duration
}

type answer struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any // nil if it is not an object
}

func (c client) do(ctx context.Context, t *testing.T, method, path, contentType string, body []byte) answer {
	t.Helper()
	pause(ctx, c.pace)
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	_ = json.Unmarshal(a.body, &a.json)
	return a
}

func (c client) get(t *testing.T, path string) answer {
	t.Helper()
	return c.do(t.Context(), t, "GET", path, "", nil)
}

func (c client) upload(t *testing.T, fields map[string]string, name string, content []byte) answer {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for key, value := range fields {
		w.WriteField(key, value)
	}
	if content != nil {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		part.Write(content)
	}
	w.Close()
	return c.do(t.Context(), t, "POST", "/documents", w.FormDataContentType(), b.Bytes())
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// strokes is a small page with a few lines on it.
func strokes() []byte {
	page := image.NewGray(image.Rect(0, 0, 200, 120))
	for i := range page.Pix {
		page.Pix[i] = 255
	}
	for x := 20; x < 180; x++ {
		page.SetGray(x, 30+x%20, color.Gray{})
		page.SetGray(x, 80-x%15, color.Gray{})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, page)
	return b.Bytes()
}

func contract(t *testing.T, c client) {
	expect := func(what string, a answer, statuses ...int) {
		t.Helper()
		if !slices.Contains(statuses, a.status) {
			t.Errorf("%s: got %d %.200s, want %v", what, a.status, a.body, statuses)
		}
	}
	// blames checks the body of a 422, as Laravel has it.
	blames := func(what string, a answer, field string) {
		t.Helper()
		errors, _ := a.json["errors"].(map[string]any)
		list, _ := errors[field].([]any)
		if message, _ := a.json["message"].(string); message == "" || len(list) == 0 {
			t.Errorf("%s: %.200s does not blame %s", what, a.body, field)
		}
	}

	// What is refused costs nothing.
	stranger := c
	stranger.token = "nobody's"
	a := stranger.get(t, "/documents")
	expect("a wrong token", a, 401)
	if message, _ := a.json["message"].(string); message == "" {
		t.Errorf("a wrong token: %.200s has no message", a.body)
	}
	for _, n := range []int{0, 201} {
		what := fmt.Sprintf("per_page=%d", n)
		a := c.get(t, "/documents?"+what)
		expect(what, a, 422)
		blames(what, a, "per_page")
	}
	expect("the largest per_page", c.get(t, "/documents?per_page=200"), 200)
	scan := strokes()
	expect("an upload without a file", c.upload(t, map[string]string{"action": "transcribe"}, "", nil), 400)
	expect("an upload without an action", c.upload(t, nil, "a.png", scan), 400)
	a = c.upload(t, map[string]string{"action": "sing"}, "a.png", scan)
	expect("an unknown action", a, 422)
	blames("an unknown action", a, "action")
	a = c.upload(t, map[string]string{"action": "transcribe", "delete_after": "299"}, "a.png", scan)
	expect("too short a delete_after", a, 422)
	blames("too short a delete_after", a, "delete_after")
	expect("an extractor without its id", c.upload(t, map[string]string{"action": "extractor"}, "a.png", scan), 400, 422)
	expect("a text", c.upload(t, map[string]string{"action": "transcribe"}, "a.txt", []byte("not a scan\n")), 415)
	const nobody = "/documents/doesnotexist"
	expect("the status of an unknown document", c.get(t, nobody), 404)
	expect("the result of an unknown document", c.get(t, nobody+".txt"), 404)
	expect("deleting an unknown document", c.do(t.Context(), t, "DELETE", nobody, "", nil), 404)

	// One page goes the whole way.
	const name = "contract.sdtest-0123456789abcdef.png"
	a = c.upload(t, map[string]string{"action": "transcribe", "delete_after": "300"}, name, scan)
	expect("an upload", a, 201)
	id, _ := a.json["id"].(string)
	if id == "" {
		t.Fatalf("an upload: %.200s has no id", a.body)
	}
	document := "/documents/" + id
	deleted := false
	defer func() {
		if !deleted { // also where the test failed
			c.do(context.WithoutCancel(t.Context()), t, "DELETE", document, "", nil)
		}
	}()

	status := ""
	for range 12 {
		a = c.get(t, document)
		expect("a status", a, 200, 202)
		if status, _ = a.json["status"].(string); status == "processed" || status == "failed" {
			break
		}
		if !slices.Contains([]string{"new", "queued", "processing"}, status) {
			t.Errorf("a status: %q is not documented", status)
		}
		expect("a result that is not there yet", c.get(t, document+".txt"), 200, 202)
		pause(t.Context(), 10*time.Second)
	}
	if status != "processed" || a.json["id"] != id || a.json["action"] != "transcribe" {
		t.Fatalf("after two minutes: %.200s", a.body)
	}

	a = c.get(t, document+".txt")
	expect("the text", a, 200)
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("the text: Content-Type %q", kind)
	}
	a = c.get(t, document+".json")
	expect("the JSON", a, 200)
	if results, _ := a.json["results"].([]any); len(results) != 1 || a.json["id"] != id {
		t.Errorf("the JSON: %.200s", a.body)
	} else if page, _ := results[0].(map[string]any); page["page_number"] != 1.0 || page["transcript"] == nil {
		t.Errorf("the JSON: page %v", page)
	}
	a = c.get(t, document+".docx")
	expect("the document", a, 200)
	if !bytes.HasPrefix(a.body, []byte("PK\x03\x04")) {
		t.Errorf("the document is no ZIP: %.20q", a.body)
	}
	expect("a format that is not the action's", c.get(t, document+".csv"), 400)

	a = c.get(t, "/documents?per_page=1&page=1")
	expect("the list", a, 200)
	rows, _ := a.json["data"].([]any)
	if len(rows) != 1 || a.json["per_page"] != 1.0 || a.json["current_page"] != 1.0 {
		t.Fatalf("the list: %.200s", a.body)
	}
	if row, _ := rows[0].(map[string]any); row["document_id"] != id || row["original_file_name"] != name || row["page_count"] != 1.0 {
		t.Errorf("the newest of the list is %v, want %s with its name", row, id)
	}

	expect("deleting it", c.do(t.Context(), t, "DELETE", document, "", nil), 204)
	deleted = true
	expect("its status after that", c.get(t, document), 404)
	expect("its result after that", c.get(t, document+".txt"), 404)
	expect("deleting it again", c.do(t.Context(), t, "DELETE", document, "", nil), 404)
}
