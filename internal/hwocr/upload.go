package hwocr

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An Upload is a scan and what is to be done with it. Name, Action and Body are
// required.
type Upload struct {
	// Name is the file name that the service is told. It comes back in the list of
	// documents, so the caller's mark is part of it.
	Name string

	ContentType string // of the scan, such as image/jpeg; defaults to application/octet-stream
	Action      string // transcribe, tables or extractor
	ExtractorID string // goes with the action extractor
	PromptID    string // optional

	// DeleteAfter is when the service deletes scan and results by itself, in whole
	// seconds, rounded up. 0 leaves it to the account's setting.
	DeleteAfter time.Duration

	// Body must give exactly Size bytes whose SHA-256 is Content; else the upload
	// is broken off before its end, and fails with ErrChanged. It is read as it is
	// sent, and not after Upload has returned.
	Body    io.Reader
	Size    int64
	Content [sha256.Size]byte

	// Begin, if not nil, is called once, after the wait for the pace and before a byte
	// of the request is on the wire. Its error ends the upload, unsent.
	Begin func() error
}

// Upload sends a scan and returns the document that the service made of it. It is not
// idempotent: what is sent twice is billed twice. Where it fails, [Error.Sent] tells
// whether the service may have accepted the scan all the same; with status 200 or 201
// it must be taken to have done so.
func (c *Client) Upload(ctx context.Context, u Upload) (Document, error) {
	const op = "upload"
	body, err := newUploadBody(u)
	if err != nil {
		return Document{}, &Error{Op: op, Err: err}
	}
	doc, err := c.upload(context.WithValue(ctx, beginKey{}, u.Begin), op, body)
	sent, cause := body.finish()
	if e, ok := errors.AsType[*Error](err); ok {
		e.Sent = sent
		if e.Status == 0 && cause != nil { // which the transport wraps, or takes for its own
			e.Err = cause
		}
	}
	return doc, err
}

func (c *Client) upload(ctx context.Context, op string, body *uploadBody) (Document, error) {
	req, err := c.request(ctx, op, http.MethodPost, c.base+"/documents")
	if err != nil {
		return Document{}, err
	}
	// Without GetBody nothing below can send the request again.
	req.Body = body
	req.ContentLength = body.length
	req.Header.Set("Content-Type", body.contentType)
	resp, err := c.send(op, req)
	if err != nil {
		return Document{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return Document{}, failure(op, resp)
	}
	if body.state.Load() != complete { // whatever the service made, it is not this scan
		return Document{}, wrong(op, resp, errors.New("the answer came before the whole scan was sent"))
	}
	answer, err := readJSON(resp)
	if err != nil {
		return Document{}, wrong(op, resp, err)
	}
	doc, err := parseDocument(answer)
	if err == nil {
		err = checkID(doc.ID)
	}
	if err != nil {
		return Document{}, wrong(op, resp, err)
	}
	return doc, nil
}

// beginKey is the context's key of [Upload.Begin], which the transport calls.
type beginKey struct{}

// uploadBody is the body of an upload: a head with all the text fields, the file, and
// the closing boundary, which is withheld from a file that is not the one announced.
type uploadBody struct {
	contentType string
	length      int64
	state       atomic.Int32

	mu    sync.Mutex // held while Read runs, so that finish can wait for its end
	head  []byte     // what is left of it
	tail  []byte     // likewise
	file  io.Reader
	left  int64 // bytes of the file
	hash  hash.Hash
	want  [sha256.Size]byte
	whole bool  // the file was read and is the right one
	err   error // why the rest is withheld
}

// States of an uploadBody. Whoever leaves open first, wins: either the closing boundary
// is handed over, or it never will be.
const (
	open int32 = iota
	complete
	sealed
)

var errSealed = errors.New("the upload has ended")

func newUploadBody(u Upload) (*uploadBody, error) {
	switch {
	case u.Body == nil:
		return nil, errors.New("there is no body")
	case u.Name == "":
		return nil, errors.New("the scan has no name")
	case u.Action == "":
		return nil, errors.New("the action is missing")
	case u.Size < 0:
		return nil, fmt.Errorf("the size %d is negative", u.Size)
	case u.DeleteAfter < 0:
		return nil, fmt.Errorf("the time to delete after, %v, is negative", u.DeleteAfter)
	}
	typ := u.ContentType
	if typ == "" {
		typ = "application/octet-stream"
	}
	if _, _, err := mime.ParseMediaType(typ); err != nil || strings.ContainsAny(typ, "\r\n") {
		return nil, errors.New("the content type of the scan is not one")
	}

	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	field := func(name, value string) {
		if value != "" {
			_ = w.WriteField(name, value) // a buffer takes everything
		}
	}
	field("action", u.Action)
	field("extractor_id", u.ExtractorID)
	field("prompt_id", u.PromptID)
	if u.DeleteAfter > 0 {
		field("delete_after", strconv.FormatInt(int64((u.DeleteAfter+time.Second-1)/time.Second), 10))
	}
	_, _ = w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="` + quoteName(u.Name) + `"`},
		"Content-Type":        {typ},
	})
	head := buf.Len()
	_ = w.Close()
	b := &uploadBody{
		contentType: w.FormDataContentType(),
		length:      int64(buf.Len()) + u.Size,
		head:        buf.Bytes()[:head],
		tail:        buf.Bytes()[head:],
		file:        u.Body,
		left:        u.Size,
		hash:        sha256.New(),
		want:        u.Content,
	}
	return b, nil
}

// quoteName makes name fit between the quotes of a Content-Disposition as browsers do:
// UTF-8 as it is, quotes and line ends percent-encoded. So are backslash and the other
// control characters, which servers read in different ways.
func quoteName(name string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(name, "_") {
		if r < ' ' || r == '"' || r == '\\' || r == 0x7f {
			fmt.Fprintf(&b, "%%%02X", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Read implements [io.Reader] for the transport.
func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	if err != nil && err != io.EOF && err != errSealed {
		b.err = err
	}
	return n, err
}

func (b *uploadBody) read(p []byte) (int, error) {
	switch b.state.Load() {
	case complete:
		return 0, io.EOF
	case sealed:
		return 0, errSealed
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case len(b.head) > 0:
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	case b.left > 0:
		n, err := b.file.Read(p[:min(int64(len(p)), b.left)])
		b.hash.Write(p[:n])
		b.left -= int64(n)
		switch {
		case err == io.EOF && b.left > 0:
			err = ErrChanged
		case err == io.EOF:
			err = nil
		}
		return n, err
	case !b.whole:
		if err := b.check(); err != nil {
			return 0, err
		}
		b.whole = true
	}
	n := copy(p, b.tail)
	if n == len(b.tail) && !b.state.CompareAndSwap(open, complete) {
		return 0, errSealed
	}
	b.tail = b.tail[n:]
	return n, nil
}

// check returns nil if the file ends here and is the one announced.
func (b *uploadBody) check() error {
	n, err := io.ReadFull(b.file, make([]byte, 1))
	switch {
	case n > 0, err == io.EOF && [sha256.Size]byte(b.hash.Sum(nil)) != b.want:
		return ErrChanged
	case err == io.EOF:
		return nil
	}
	return err
}

// Close implements [io.Closer] for the transport, which closes what it will not read
// any further. The file is the caller's.
func (b *uploadBody) Close() error {
	b.state.CompareAndSwap(open, sealed)
	return nil
}

// finish makes sure that nothing more is handed over, waits until nothing more is
// read, and returns whether the closing boundary was handed over and, if the upload was
// broken off on this side, why.
func (b *uploadBody) finish() (bool, error) {
	b.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Load() == complete, b.err
}
