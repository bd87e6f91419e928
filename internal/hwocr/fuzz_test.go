package hwocr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"archive/zip"
)

// Whatever comes over the wire, every operation ends with an answer or an *Error, in
// plain words, without the token, and with an id that can be asked for again. Whatever
// it says of how many requests are let through, nobody waits for longer than an hour,
// and what is kept of it for after a restart is within its bounds.
func FuzzAnswer(f *testing.F) {
	f.Add(201, "application/json", "", "60", "59", "", `{"id":"abc","status":"queued","page_count":"3"}`)
	f.Add(200, "application/json; charset=utf-8", "17", "1", "0", "0", `{"data":[{"document_id":"a","created_at":"2025-03-05 19:47:44"}],"last_page":2,"total":9}`)
	f.Add(200, "text/plain", "", "2147483647", "0", "86400", "text")
	f.Add(429, "text/html", "Mon, 23 Nov 2026 22:00:40 GMT", "60", "0", "99999999999", htmlPage)
	f.Add(422, "application/problem+json", "-1", "-1", "none", "x", `{"errors":{"file":["`+token+`"]}}`)
	f.Add(101, "a/b; c=\"", "", "3", "7", "946684820", "\x00")
	f.Add(200, "application/zip", "", "", "0", "", zipped(f, zip.Deflate, "a", "b"))
	f.Add(429, "", "30", "5", "0", "3", "")
	f.Fuzz(func(t *testing.T, status int, kind, retry, limit, left, reset, body string) {
		if status < 100 || status > 999 {
			t.Skip("no such status")
		}
		synctest.Test(t, func(t *testing.T) {
			const rate, longest = 8, time.Hour + time.Minute // a rest, and the slowest rate
			pace := NewPace(rate, 2)
			last, pages := time.Now(), 0
			c, err := New(Config{
				URL: "http://api.test/api/v2", Token: func() (string, error) { return token, nil }, Pace: pace,
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					if r.Body != nil {
						_, _ = io.Copy(io.Discard, r.Body)
						r.Body.Close()
					}
					if waited := time.Since(last); waited > longest {
						t.Errorf("waited for %v", waited)
					}
					last = time.Now()
					if pages++; pages > 10 {
						return nil, errors.New("enough")
					}
					return answer(status, body, typeKey, kind, "Retry-After", retry,
						"X-RateLimit-Limit", limit, "X-RateLimit-Remaining", left, "X-RateLimit-Reset", reset), nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			look := func(d Document, err error) {
				if s := pace.State(); !(s.Rate > 0 && s.Rate <= rate) || time.Until(s.NotBefore) > time.Hour || s.Quota < 0 || s.Window < 0 || s.Window > time.Hour {
					t.Errorf("the pace is %+v", s)
				}
				if err == nil {
					if d.Pages < 0 || d.Status != oneLine(d.Status, 100) || d.Error != oneLine(d.Error, 300) || strings.Contains(d.Error+d.Name+d.Status, token) {
						t.Errorf("got %+v", d)
					}
					return
				}
				e := wantError(t, err)
				if err.Error() != oneLine(err.Error(), 2000) || e.RetryAfter < 0 || e.RetryAfter > time.Hour {
					t.Errorf("got %q, wait %v", err, e.RetryAfter)
				}
			}
			ctx := context.Background()
			d, err := c.Upload(ctx, scan("content"))
			if look(d, err); err == nil && checkID(d.ID) != nil {
				t.Errorf("the id is %q", d.ID)
			}
			look(c.Status(ctx, "abc"))
			look(Document{}, c.Delete(ctx, "abc"))
			_, err = c.Balance(ctx)
			look(Document{}, err)
			for d, err := range c.Documents(ctx, 200) {
				if look(d, err); err == nil && checkID(d.ID) != nil {
					t.Errorf("the id is %q", d.ID)
				}
			}
			for format := range formats {
				_, err := c.Download(ctx, "abc", format, &memoryFile{})
				look(Document{}, err)
			}
		})
	})
}

// memoryFile is a file in memory.
type memoryFile struct{ b []byte }

func (m *memoryFile) Write(p []byte) (int, error) { m.b = append(m.b, p...); return len(p), nil }
func (m *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// A ZIP is looked at within its budget, whatever it claims.
func FuzzCheckZip(f *testing.F) {
	f.Add([]byte(zipped(f, zip.Deflate, "word/document.xml", "<a/>")))
	f.Add([]byte(zipped(f, zip.Store, "../x", "text")))
	var z zipFile
	at := z.body("a", zip.Store, []byte("text"))
	z.entry("a", zip.Store, at, 4, 4)
	z.entry("b", zip.Store, at, 4, 0xffffffff)
	f.Add(z.end())
	f.Fuzz(func(t *testing.T, file []byte) {
		r := &counted{ReaderAt: bytes.NewReader(file)}
		_ = checkZip(context.Background(), r, int64(len(file)), 1<<20)
		if r.read > 2*int64(len(file))+2*maxDirectory {
			t.Errorf("%d bytes of %d were read", r.read, len(file))
		}
	})
}

// A time is read or is missing, in UTC; a pace is restored within its bounds.
func FuzzTimes(f *testing.F) {
	for _, s := range []string{"2024-03-15T14:30:00Z", "2025-02-19T19:47:44.000000Z", "2025-03-05 19:47:44", "0000-00-00 00:00:00", "99999-01-01T00:00:00Z"} {
		f.Add(s, 1.0, int64(0))
	}
	f.Fuzz(func(t *testing.T, text string, rate float64, at int64) {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var s stamp
		if err := s.UnmarshalJSON(quoted); err != nil || time.Time(s).Location() != time.UTC {
			t.Errorf("%q: %v, %v", text, time.Time(s), err)
		}
		var state PaceState
		if json.Unmarshal([]byte(text), &state) != nil {
			state = PaceState{Rate: rate, NotBefore: time.Unix(at, 0)}
		}
		p := NewPace(2, 2)
		p.Restore(state)
		now := p.State()
		if !(now.Rate > 0 && now.Rate <= 2) || time.Until(now.NotBefore) > time.Hour {
			t.Errorf("%+v became %+v", state, now)
		}
	})
}

// A content type is one bare word, whatever a header holds.
func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"text/html; charset=utf-8", "TEXT/HTML;;", "a/b; c=\"\n", "", ";", "application/problem+json"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		typ := mediaType(http.Header{typeKey: {value}})
		if strings.Contains(typ, ";") || typ != strings.TrimSpace(typ) || isHTML(typ) && isJSON(typ) {
			t.Errorf("%q: got %q", value, typ)
		}
	})
}
