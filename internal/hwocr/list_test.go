package hwocr

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// list asks for all documents of a service that answers with pages in turn, and with
// the last again and again; it returns their ids and how many pages were asked for.
func list(t *testing.T, perPage int, pages ...string) (ids string, asked int, err error) {
	t.Helper()
	c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
		asked++
		if got := r.URL.Query().Get("page"); got != fmt.Sprint(asked) {
			t.Errorf("asked for page %s, want %d", got, asked)
		}
		return answer(200, pages[min(asked, len(pages))-1], typeKey, jsonType), nil
	}))
	for d, e := range c.Documents(t.Context(), perPage) {
		if e != nil {
			return ids, asked, e
		}
		ids += d.ID
	}
	return ids, asked, nil
}

func TestDocuments(t *testing.T) {
	tests := []struct {
		name  string
		pages []string
		ids   string
		asked int
		err   error // errAny stands for any
	}{
		{"paginator", []string{
			`{"current_page":1,"data":[{"document_id":"a"},{"document_id":"b"}],"last_page":2,"next_page_url":"http://evil.test/","per_page":2,"total":3}`,
			`{"current_page":2,"data":[{"document_id":"c"}],"last_page":"2","next_page_url":null,"per_page":2,"total":"3"}`,
		}, "abc", 2, nil},
		{"empty account", []string{`{"data":[],"last_page":1,"total":0}`}, "", 1, nil},
		{"empty page before the last", []string{`{"data":[],"last_page":9}`}, "", 1, nil},
		{"bare list", []string{`[{"id":1},{"id":2}]`, `[{"id":3}]`, `[]`}, "123", 3, nil},
		{"documents", []string{`{"documents":[{"id":"a"}]}`, `{"documents":[]}`}, "a", 2, nil},
		{"server without pages", []string{`[{"id":"a"},{"id":"b"}]`}, "ab", 2, nil},
		{"server with fewer rows a page than asked for", []string{`[{"id":"a"}]`, `[{"id":"b"}]`, `[]`}, "ab", 3, nil},
		{"rows without id", []string{`{"data":[{"status":"new"},null,7,"x",[1],{"id":"a/b"},{"id":"a"}],"last_page":1}`}, "a", 1, nil},
		{"upload meanwhile", []string{
			`{"data":[{"id":"a"},{"id":"b"}],"last_page":2,"total":4}`,
			`{"data":[{"id":"b"},{"id":"c"}],"last_page":3,"total":5}`,
			`{"data":[{"id":"d"}],"last_page":3,"total":5}`,
		}, "abcd", 3, nil},
		{"delete meanwhile", []string{
			`{"data":[{"id":"a"},{"id":"b"}],"last_page":2,"total":4}`,
			`{"data":[{"id":"d"}],"last_page":2,"total":3}`,
		}, "ab", 2, ErrShifted},
		{"error body", []string{`{"message":"no"}`}, "", 1, errAny},
		{"data is no list", []string{`{"data":{"id":"a"}}`}, "", 1, errAny},
		{"null", []string{`null`}, "", 1, errAny},
		{"empty body", []string{``}, "", 1, errAny},
		{"cut off", []string{`{"data":[{"id":"a"}`}, "", 1, errAny},
		{"HTML", []string{htmlPage}, "", 1, errHTML},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ids, asked, err := list(t, 2, tt.pages...)
			if ids != tt.ids || asked != tt.asked {
				t.Errorf("got %q after %d pages", ids, asked)
			}
			switch {
			case tt.err == nil:
				if err != nil {
					t.Error(err)
				}
			default:
				if e := wantError(t, err); e.Op != "list" || e.Status != 200 || tt.err != errAny && !errors.Is(err, tt.err) {
					t.Errorf("got %#v", e)
				}
			}
		})
	}
}

var errAny = errors.New("any error")

func TestDocumentsRefused(t *testing.T) {
	for _, status := range []int{204, 302, 401, 422, 503} {
		for d, err := range client(t, "", always(status, `{"data":[{"id":"a"}]}`, typeKey, jsonType)).Documents(t.Context(), 50) {
			if wantError(t, err).Status != status || d != (Document{}) {
				t.Errorf("%d: got %v, %v", status, d, err)
			}
		}
	}
}

func TestDocumentsStops(t *testing.T) {
	asked := 0
	c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
		asked++
		return answer(200, fmt.Sprintf(`[{"id":%d},{"id":%d}]`, 2*asked, 2*asked+1)), nil
	}))
	for range c.Documents(t.Context(), 1000) {
		break
	}
	if asked != 1 {
		t.Errorf("asked %d times for one document", asked)
	}
	asked = 0
	var err error
	for _, err = range c.Documents(t.Context(), 2) {
	}
	if wantError(t, err); asked != maxPages {
		t.Errorf("asked for %d pages of an endless list, %v", asked, err)
	}
}

func TestParsePage(t *testing.T) {
	p, err := parsePage([]byte(`{"data":[{"document_id":"abc","id":5,"status":"processed","created_at":"2025-02-19T19:47:44.250000Z",
		"updated_at":"2025-03-05 19:47:44","automatically_deleted_at":"2025-03-05T21:47:44+02:00","page_count":"12",
		"original_file_name":"letter.sdAB12-k7f3.pdf","file_name":"other","action":"tables"},
		{"id":"x","file_name":"  two  blanks\u202egpj.exe\u0000","created_at":"yesterday"},{"id":"y","filename":"f"},{"id":"z","name":"n"}],"total":4}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Document{
		{ID: "abc", Status: "processed", Action: "tables", Name: "letter.sdAB12-k7f3.pdf", Pages: 12,
			Created: time.Date(2025, 2, 19, 19, 47, 44, 250e6, time.UTC),
			Updated: time.Date(2025, 3, 5, 19, 47, 44, 0, time.UTC),
			Expires: time.Date(2025, 3, 5, 19, 47, 44, 0, time.UTC)},
		{ID: "x", Name: "  two  blanksgpj.exe"},
		{ID: "y", Name: "f"},
		{ID: "z", Name: "n"},
	}
	if d := cmp.Diff(want, p.documents); d != "" {
		t.Error(d)
	}
	if p.rows != 4 || p.last != 0 || !p.total.known || p.total.value != 4 {
		t.Errorf("got %+v", p)
	}
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`{"data":[{"document_id":"abc","created_at":"2025-03-05 19:47:44","page_count":"1"}],"last_page":1,"total":1}`))
	f.Add([]byte(`{"documents":[{"id":1e5,"name":"\ud800"}]}`))
	f.Add([]byte(`[{"id":-1},null,[]]`))
	f.Add([]byte("[]\v")) // a blank, and none of JSON's
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePage(body)
		if err == nil && !json.Valid(body) {
			t.Errorf("%q was taken for JSON", body)
		}
		if len(p.documents) > p.rows || p.last < 0 {
			t.Errorf("got %+v", p)
		}
		for _, d := range p.documents {
			if err := checkID(d.ID); err != nil {
				t.Error(err)
			}
			if d.Pages < 0 || d.Error != oneLine(d.Error, 300) || d.Name != printable(d.Name, 1000) {
				t.Errorf("got %+v", d)
			}
		}
		_, _ = parseDocument(body)
		_, _ = parseBalance(body)
	})
}
