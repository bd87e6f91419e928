package hwocr

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const (
	maxResult    = 256 << 20 // bytes of a result
	maxUnpacked  = 1 << 30   // bytes that a docx or xlsx unpacks to
	maxDirectory = 4 << 20   // bytes of the directory of a docx or xlsx, all of which is held
	maxStatus    = 64 << 10  // bytes of a JSON object that comes in place of a result
	maxToken     = 8 << 20   // bytes of a string in JSON, which is held
	maxDepth     = 1000      // of nested JSON
)

// File is what a result is written to: an *os.File, mostly. It is read again to see
// whether the result is whole.
type File interface {
	io.Writer
	io.ReaderAt
}

// formats lists the content types under which each format is accepted, beside those
// that say nothing.
var formats = map[string][]string{
	"txt":  {"text/plain", "text/markdown", "application/txt"},
	"csv":  {"text/csv", "text/plain", "text/comma-separated-values", "application/csv", "application/vnd.ms-excel"},
	"json": {"text/plain"},
	"docx": {
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
		"application/msword", "application/zip", "application/x-zip-compressed", "application/x-zip",
	},
	"xlsx": {
		"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		"application/vnd.ms-excel", "application/zip", "application/x-zip-compressed", "application/x-zip",
	},
}

// saysNothing lists the types of a body that is just a file.
var saysNothing = []string{
	"", "application/octet-stream", "binary/octet-stream", "application/download",
	"application/force-download", "application/x-download",
}

// Download collects a result in one of the formats txt, csv, json, docx and xlsx, and
// returns its length. It fails with [ErrPending] while there is none.
//
// What came counts as the result only if it is one: as long as announced and no more
// than 256 MB, under a fitting content type, JSON that is one whole value, DOCX and
// XLSX that unpack without a fault. Of a txt and a csv no more than that can be told:
// an empty one is returned as such, and the caller asks the document's status whether
// to believe it.
//
// The file must be empty; after an error it holds rubbish. An error in writing it is
// an [*Error] like any other, and wraps what the file returned.
func (c *Client) Download(ctx context.Context, id, format string, into File) (int64, error) {
	const op = "download"
	types, ok := formats[format]
	if !ok {
		return 0, &Error{Op: op, Err: errors.New("the format is not one of txt, csv, json, docx, xlsx")}
	}
	resp, err := c.askFor(ctx, op, http.MethodGet, id, "."+format)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusAccepted:
		return 0, wrong(op, resp, ErrPending)
	default:
		return 0, failure(op, resp)
	}

	typ := mediaType(resp.Header)
	limit := int64(maxResult)
	suspect := false // it can only be a status in place of the result
	switch {
	case slices.Contains(types, typ), slices.Contains(saysNothing, typ):
	case isJSON(typ) && format == "json":
	case isJSON(typ):
		suspect, limit = true, maxStatus
	case isHTML(typ):
		return 0, wrong(op, resp, errHTML)
	default:
		return 0, wrong(op, resp, fmt.Errorf("the answer is %s, not %s", printable(typ, 100), format))
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return 0, wrong(op, resp, fmt.Errorf("the answer is encoded as %s, which was not asked for", printable(enc, 100)))
	}
	if resp.ContentLength > limit && !suspect {
		return 0, wrong(op, resp, fmt.Errorf("the result is larger than %d MB", limit>>20))
	}
	n, err := copyBody(into, resp.Body, limit+1)
	switch {
	case err != nil:
		return 0, wrong(op, resp, err)
	case n > limit && suspect:
		return 0, wrong(op, resp, fmt.Errorf("the answer is JSON, not %s", format))
	case n > limit:
		return 0, wrong(op, resp, fmt.Errorf("the result is larger than %d MB", limit>>20))
	case resp.ContentLength >= 0 && n != resp.ContentLength:
		return 0, wrong(op, resp, fmt.Errorf("%d of %d bytes came", n, resp.ContentLength))
	}
	resp.Body.Close() // looking at what came has all the time it needs

	s, err := check(ctx, into, n, format)
	switch {
	case err == nil && suspect:
		err = fmt.Errorf("the answer is JSON, not %s", format)
	case err == nil:
		return n, nil
	}
	e := wrong(op, resp, err)
	e.Message = oneLine(without(sentToken(resp), s.message), 300)
	return 0, e
}

// copyBody copies at most limit bytes.
func copyBody(dst io.Writer, src io.Reader, limit int64) (int64, error) {
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	// Hide ReadFrom, by which a file would bring a buffer of its own.
	return io.CopyBuffer(struct{ io.Writer }{dst}, io.LimitReader(src, limit), buf[:])
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// check returns nil if the n bytes of f are a whole result. If they are a status in
// place of one, it returns that too.
func check(ctx context.Context, f io.ReaderAt, n int64, format string) (summary, error) {
	head := make([]byte, min(n, 512))
	if _, err := f.ReadAt(head, 0); err != nil && !(err == io.EOF && n == int64(len(head))) {
		return summary{}, fmt.Errorf("reading the result: %w", err)
	}
	if startsAsHTML(head) {
		return summary{}, errHTML
	}
	if format == "json" {
		s, err := summarize(ctx, io.NewSectionReader(f, 0, n))
		if err != nil {
			return summary{}, err
		}
		return s, s.judge()
	}
	if n <= maxStatus && bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) {
		// A text may begin like this too: only what is nothing but a status counts.
		if s, err := summarize(ctx, io.NewSectionReader(f, 0, n)); err == nil && s.id && s.status != "" && !s.content {
			return s, s.judge()
		}
	}
	if format == "docx" || format == "xlsx" {
		return summary{}, checkZip(ctx, f, n, maxUnpacked)
	}
	return summary{}, nil
}

// checkZip unpacks every entry to nowhere, which compares its checksum, and gives up
// after most bytes. What it reads is bounded too: entries may be without number, and
// many of them may be made of the same bytes, and unpack to none.
func checkZip(ctx context.Context, f io.ReaderAt, n, most int64) error {
	r := &budget{ctx, f, maxDirectory}
	z, err := zip.NewReader(r, n)
	if err != nil {
		return fmt.Errorf("the result is not a whole ZIP: %w", err)
	}
	if len(z.File) == 0 {
		return errors.New("the result is an empty ZIP")
	}
	r.left = 2*n + maxDirectory // each byte once, the heads of entries again
	left := most
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			return fmt.Errorf("the result is a damaged ZIP: %w", err)
		}
		read, err := copyBody(io.Discard, r, left+1)
		r.Close()
		if err != nil {
			return fmt.Errorf("the result is a damaged ZIP: %w", err)
		}
		if left -= read; left < 0 {
			return fmt.Errorf("the result unpacks to more than %d bytes", most)
		}
	}
	return nil
}

// A budget is a reader that fails once so many bytes have been read, or its context
// has ended.
type budget struct {
	ctx  context.Context
	r    io.ReaderAt
	left int64
}

// ReadAt implements [io.ReaderAt].
func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errors.New("it has more entries than any document")
	}
	return b.r.ReadAt(p, off)
}

// A summary tells what kind of JSON a value is, without holding it.
type summary struct {
	object  bool   // it is an object,
	id      bool   // that names a document,
	status  string // and this status, in lower case,
	message string // explains itself,
	content bool   // has members that do not just describe the document,
	full    bool   // one of them a list or an object that is not empty
}

// describing are the members of a result that are no result.
var describing = []string{
	"id", "document_id", "status", "action", "error", "message", "errors", "file_name", "original_file_name",
	"filename", "name", "page_count", "thumbnails", "created_at", "updated_at", "automatically_deleted_at",
}

// judge returns nil if what was summarized is a result, and else what it is.
func (s summary) judge() error {
	switch s.status {
	case "":
		if s.object && !s.content && (s.id || s.message != "") {
			return errors.New("the answer is JSON without a result")
		}
		return nil // a shape of its own, as of tables: it is kept as it came
	case "failed":
		return errors.New("the answer is a status, not the result: failed")
	case "processed":
		if !s.content {
			return errors.New("the answer is a status, not the result: processed")
		}
		return nil
	case "new", "queued", "processing":
		if s.id || !s.content {
			return ErrPending // whatever is there is not all
		}
		return nil
	}
	if !s.full {
		return ErrPending // a word that is not known means not yet
	}
	return nil
}

// summarize reads one JSON value and the end of r behind it. It holds no more of it
// than its longest string, which is bounded.
func summarize(ctx context.Context, r io.Reader) (summary, error) {
	var s summary
	dec := json.NewDecoder(&tokens{r: r})
	dec.UseNumber() // any number is fine
	var (
		depth int
		key   string // the member of the outermost object whose value comes next
		named bool
	)
	for count := 0; ; count++ {
		if count%1024 == 0 && ctx.Err() != nil {
			return summary{}, ctx.Err()
		}
		tok, err := dec.Token()
		if err == io.EOF && depth == 0 && count > 0 {
			return s, nil
		}
		if err != nil {
			return summary{}, brokenJSON(err)
		}
		delim, _ := tok.(json.Delim)
		closing := delim == '}' || delim == ']'
		switch {
		case depth == 0 && count > 0:
			return summary{}, errors.New("the result is more than one JSON value")
		case depth == 0:
			s.object = delim == '{'
		case depth == 1 && s.object && !named && !closing:
			key, named = tok.(string)
		case depth == 1 && s.object && !closing:
			s.member(key, tok)
			named = false
		case depth == 2 && s.object && !closing && !slices.Contains(describing, key):
			s.full = true
		}
		switch {
		case closing:
			depth--
		case delim != 0:
			depth++
		}
		if depth > maxDepth {
			return summary{}, fmt.Errorf("the result is JSON nested more than %d deep", maxDepth)
		}
	}
}

// tokens passes on JSON whose tokens, and the blanks between them, are of a bearable
// length: a decoder holds each of them as a whole.
type tokens struct {
	r               io.Reader
	length          int // since the last token began
	inside, escaped bool
}

var errToken = fmt.Errorf("the result is JSON with a value of more than %d MB", maxToken>>20)

// Read implements [io.Reader].
func (t *tokens) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	for _, c := range p[:n] {
		t.length++
		switch {
		case t.escaped:
			t.escaped = false
		case t.inside && c == '\\':
			t.escaped = true
		case c == '"':
			t.inside = !t.inside
			t.length = 0
		case !t.inside && (c == ',' || c == ':' || c == '[' || c == ']' || c == '{' || c == '}'):
			t.length = 0
		}
		if t.length > maxToken {
			return 0, errToken
		}
	}
	return n, err
}

// member takes note of a member of the outermost object, and how its value begins.
func (s *summary) member(key string, value json.Token) {
	str, _ := value.(string)
	switch key {
	case "id", "document_id":
		s.id = s.id || value != nil
	case "status":
		s.status = strings.ToLower(strings.TrimSpace(str))
	case "error":
		s.message = str
	case "message":
		if s.message == "" {
			s.message = str
		}
	}
	if value != nil && !slices.Contains(describing, key) {
		s.content = true
	}
}

// brokenJSON keeps what a decoder says of the place, and not what it quotes.
func brokenJSON(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the result is broken JSON, at byte %d", e.Offset)
	}
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the result is JSON that was cut off")
	}
	if errors.Is(err, errToken) {
		return err
	}
	return fmt.Errorf("reading the result: %w", err)
}
