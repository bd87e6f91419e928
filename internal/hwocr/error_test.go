package hwocr

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestErrorMessage(t *testing.T) {
	long := strings.Repeat("é", 400)
	tests := []struct {
		name, typ, body string
		message         string
		fields          []string
	}{
		{"message", jsonType, `{"message":"Unauthenticated."}`, "Unauthenticated.", nil},
		{"problem", "application/problem+json", `{"message":"no"}`, "no", nil},
		{"error", jsonType, `{"error":"Insufficient page credits"}`, "Insufficient page credits", nil},
		{"error object", jsonType, `{"error":{"code":7,"message":"no"}}`, "no", nil},
		{"message before error", jsonType, `{"error":"b","message":"a"}`, "a", nil},
		{"empty message", jsonType, `{"error":"b","message":" "}`, "b", nil},
		{"fields", jsonType, `{"message":"The given data was invalid.","errors":{"file":["too big"],"action":["unknown"]}}`,
			"The given data was invalid.", []string{"action", "file"}},
		{"fields only", jsonType, `{"errors":{"file":["too big"],"action":"unknown"}}`, "unknown", []string{"action", "file"}},
		{"list of errors", jsonType, `{"errors":["first","second"]}`, "first", nil},
		{"list of objects", jsonType, `{"errors":[{"message":"first"}]}`, "first", nil},
		{"errors of no sense", jsonType, `{"errors":{"file":[[]],"\u001b[1m":null}}`, "Unprocessable Entity", []string{"file"}},
		{"no type", "", `{"message":"no"}`, "no", nil},
		{"nothing", jsonType, ``, "Unprocessable Entity", nil},
		{"number", jsonType, `17`, "Unprocessable Entity", nil},
		{"HTML", "text/html", `<html>{"message":"no"}`, "Unprocessable Entity", nil},
		{"text", "text/plain", `{"message":"no"}`, "Unprocessable Entity", nil},
		{"too much", jsonType, `{"message":"` + strings.Repeat("x", maxError) + `"}`, "Unprocessable Entity", nil},
		{"long", jsonType, `{"message":"` + long + `"}`, long[:600], nil},
		{"steering", jsonType, `{"message":"\u001b[31mred\u001b[0m \u001b]0;title\u0007two\r\nlines\u0000\u202e \u009b2Jend"}`, "red two lines end", nil},
		{"token", jsonType, `{"message":"token ` + token + ` is bad"}`, "token [token] is bad", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client(t, "", always(422, tt.body, typeKey, tt.typ, "Retry-After", "12")).Status(t.Context(), "abc")
			want := &Error{Op: "status", Status: 422, Message: tt.message, Fields: tt.fields, RetryAfter: 12 * time.Second}
			if d := cmp.Diff(want, wantError(t, err)); d != "" {
				t.Error(d)
			}
		})
	}
	_, err := client(t, "", always(599, "")).Status(t.Context(), "abc")
	if got := err.Error(); got != "status: unknown status (HTTP 599)" {
		t.Errorf("got %q", got)
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("connection refused")
	for _, tt := range []struct {
		err  Error
		want string
	}{
		{Error{Op: "upload", Status: 403, Message: "Insufficient page credits"}, "upload: Insufficient page credits (HTTP 403)"},
		{Error{Op: "upload", Err: cause}, "upload: connection refused"},
		{Error{Op: "list", Status: 200, Err: cause}, "list: connection refused (HTTP 200)"},
		{Error{Op: "download", Status: 200, Err: cause, Message: "too dark"}, "download: connection refused: too dark (HTTP 200)"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if e := (&Error{Err: cause}); !errors.Is(e, cause) {
		t.Error("the cause is hidden")
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		value string
		want  time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"17", 17 * time.Second},
		{" 17 ", 17 * time.Second},
		{"-17", 0},
		{"3600", time.Hour},
		{"3601", time.Hour},
		{"99999999999999999999999", time.Hour},
		{"-99999999999999999999999", 0},
		{"1.5", 0},
		{"soon", 0},
		{"Mon, 23 Nov 2026 22:00:40 GMT", 40 * time.Second},
		{"Monday, 23-Nov-26 22:00:40 GMT", 40 * time.Second},
		{"Mon, 23 Nov 2026 21:59:00 GMT", 0},
		{"Mon, 23 Nov 2099 21:59:00 GMT", time.Hour},
		{"2026-11-23T22:00:40Z", 0},
	} {
		if got := ParseRetryAfter(tt.value, now); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.value, got, tt.want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, v := range []string{"", "17", "-1", "1e9", "Mon, 23 Nov 2026 22:00:40 GMT", "9223372036854775807"} {
		f.Add(v, int64(0))
	}
	f.Fuzz(func(t *testing.T, value string, now int64) {
		if d := ParseRetryAfter(value, time.Unix(now, 0)); d < 0 || d > time.Hour {
			t.Errorf("%q: got %v", value, d)
		}
		if d := parseReset(value, time.Unix(now, 0)); d < 0 || d > time.Hour {
			t.Errorf("reset %q: got %v", value, d)
		}
	})
}

func FuzzExplanation(f *testing.F) {
	f.Add([]byte(`{"message":"a","error":{"message":"b"},"errors":{"file":["c"]}}`))
	f.Add([]byte(`{"errors":[{"message":"\u001b]0;x"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		message, fields := explanation(body)
		for _, s := range append(fields, oneLine(message, 300)) {
			if utf8.RuneCountInString(s) > 300 || !utf8.ValidString(s) ||
				strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("got %q", s)
			}
		}
	})
}
