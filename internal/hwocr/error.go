package hwocr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What an [*Error] may wrap.
var (
	// ErrPending comes from [Client.Download]: the result is not there yet.
	ErrPending = errors.New("the result is not ready yet")

	// ErrChanged comes from [Client.Upload]: the file is not the one that was
	// announced. The upload was broken off before the service could accept it.
	ErrChanged = errors.New("the file changed while it was being sent")

	// ErrShifted comes from [Client.Documents]: documents were deleted between two
	// pages, so that rows may have been skipped. What was listed is right, but
	// nothing follows from what was not.
	ErrShifted = errors.New("the list changed while it was being read: read it again")

	errHTML = errors.New("the answer is an HTML page: check the URL of the API and the token")
)

// An Error is what came instead of the answer that was asked for.
type Error struct {
	// Op is what was asked: upload, status, download, list, delete or balance.
	Op string

	// Status is the HTTP status of the answer; 0 means that there was none. It is
	// 2xx where the answer claimed success and its content did not bear that out.
	Status int

	// Message is the service's explanation, or the name of the status: one line of
	// at most 300 characters, without control characters.
	Message string

	// Fields names, sorted, the fields that a 400 or 422 complains about.
	Fields []string

	// RetryAfter is how long the service asks to be left alone, at most an hour;
	// 0 if it does not say.
	RetryAfter time.Duration

	// Sent tells of an upload that the whole request was handed to the connection.
	// As long as it was not, the service cannot have accepted the scan.
	Sent bool

	// Err is the cause; nil where status and message say it all. It is the
	// context's error where the context ended the request.
	Err error
}

// Error returns one line that reads from the operation to the cause. The cause, which
// may quote a certificate or a broken answer, is cut after 1000 characters.
func (e *Error) Error() string {
	cause := ""
	if e.Err != nil {
		cause = oneLine(e.Err.Error(), 1000)
	}
	switch {
	case e.Status == 0 && e.Err != nil:
		return e.Op + ": " + cause
	case e.Err != nil && e.Message != "":
		return fmt.Sprintf("%s: %s: %s (HTTP %d)", e.Op, cause, e.Message, e.Status)
	case e.Err != nil:
		return fmt.Sprintf("%s: %s (HTTP %d)", e.Op, cause, e.Status)
	}
	return fmt.Sprintf("%s: %s (HTTP %d)", e.Op, e.Message, e.Status)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failure makes an Error of an answer whose status was not asked for.
func failure(op string, resp *http.Response) *Error {
	e := wrong(op, resp, nil)
	if typ := mediaType(resp.Header); typ == "" || isJSON(typ) {
		// What cannot be read to its end explains nothing: the status must do.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
		e.Message, e.Fields = explanation(discreet(resp, body))
	}
	e.Message = oneLine(e.Message, 300)
	if e.Message == "" {
		e.Message = http.StatusText(resp.StatusCode)
	}
	if e.Message == "" {
		e.Message = "unknown status"
	}
	return e
}

// wrong makes an Error of an answer that claimed to be the one asked for.
func wrong(op string, resp *http.Response, cause error) *Error {
	return &Error{
		Op:         op,
		Status:     resp.StatusCode,
		RetryAfter: ParseRetryAfter(resp.Header.Get("Retry-After"), serverTime(resp.Header)),
		Err:        cause,
	}
}

// without takes the token out of what a server sent: one that echoes requests must not
// carry it into a log. What is too short to be a token is left alone.
func without(token, s string) string {
	if len(token) < 8 {
		return s
	}
	return strings.ReplaceAll(s, token, "[token]")
}

// discreet takes the token that was sent out of the body of an answer.
func discreet(resp *http.Response, body []byte) []byte {
	if token := sentToken(resp); bytes.Contains(body, []byte(token)) {
		return []byte(without(token, string(body)))
	}
	return body
}

func sentToken(resp *http.Response) string {
	if resp.Request == nil {
		return ""
	}
	return strings.TrimPrefix(resp.Request.Header.Get("Authorization"), "Bearer ")
}

// explanation finds the message and the fields complained about in the body of an
// error. Any body may come; of those that it does not know it makes nothing.
func explanation(body []byte) (message string, fields []string) {
	var b struct {
		Message text            `json:"message"`
		Error   json.RawMessage `json:"error"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &b) != nil {
		return "", nil
	}
	var byField map[string]json.RawMessage
	first := firstText(b.Errors)
	if json.Unmarshal(b.Errors, &byField) == nil {
		for _, name := range slices.Sorted(maps.Keys(byField)) {
			if len(fields) == 20 { // no form has more
				break
			}
			if first == "" {
				first = firstText(byField[name])
			}
			if name = oneLine(name, 100); name != "" {
				fields = append(fields, name)
			}
		}
	}
	for _, m := range []string{string(b.Message), firstText(b.Error), first} {
		if strings.TrimSpace(m) != "" {
			return m, fields
		}
	}
	return "", fields
}

// firstText returns raw if it is a string, the first string if it is a list, the
// member "message" if it is an object; else nothing.
func firstText(raw json.RawMessage) string {
	var one struct{ Message string }
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
		raw = list[0]
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	}
	if json.Unmarshal(raw, &one) == nil {
		return one.Message
	}
	return ""
}

// maxRetryAfter bounds every wait that the service asks for: a slip in a header must
// not stop a daemon for a week.
const maxRetryAfter = time.Hour

// ParseRetryAfter returns how long a Retry-After header asks to wait, between 0 and an
// hour. The header holds seconds or an HTTP date, which is compared with now, best the
// server's own; anything else counts as 0.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) { // beyond the range it is the largest or the least
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(date.Sub(now), 0), maxRetryAfter)
}

// serverTime returns when an answer was made by the server's clock, so that dates in
// it can be understood although ours is wrong; without that, the time of our clock.
func serverTime(h http.Header) time.Time {
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}

// mediaType returns the bare, lower-case type of an answer, "" if it names none.
func mediaType(h http.Header) string {
	value := h.Get("Content-Type")
	typ, _, err := mime.ParseMediaType(value)
	if err != nil { // parameters that cannot be read do not matter
		typ, _, _ = strings.Cut(value, ";")
	}
	return strings.ToLower(strings.TrimSpace(typ))
}

func isJSON(typ string) bool {
	return typ == "application/json" || typ == "text/json" || strings.HasSuffix(typ, "+json")
}

func isHTML(typ string) bool { return typ == "text/html" || typ == "application/xhtml+xml" }

// escapes are the sequences by which a terminal is steered.
var escapes = regexp.MustCompile(`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]` + // colours, movements
	`|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?` + // titles, links
	`|\x1b[ -/]*[0-~]`)

// printable returns at most limit characters of s, without what steers a terminal or
// hides in a line; white space of any kind becomes a blank.
func printable(s string, limit int) string {
	// Nothing needs more bytes than this; it also spares cleaning megabytes.
	s = s[:min(len(s), 16*limit)]
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, ""), "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	count := 0
	for i := range s {
		if count++; count > limit {
			return s[:i]
		}
	}
	return s
}

// oneLine is printable with every run of blanks reduced to one.
func oneLine(s string, limit int) string {
	return strings.Join(strings.Fields(printable(s, limit)), " ")
}
