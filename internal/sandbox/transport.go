package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RoundTripper returns a transport that serves every request itself, whatever
// its host, without a socket. Bodies are streamed in both directions, and to
// the client it looks like HTTP/1.1 over a connection of its own:
//
//   - A request body that fails, or is shorter than its Content-Length, is an
//     unexpected EOF for the sandbox and an error for the client.
//   - A connection that the script kills, and an answer that is shorter than
//     its Content-Length, is [io.ErrUnexpectedEOF] for the client.
//   - The request's context ends the exchange at any point.
//
// Nothing of it waits for the outside, so that time passes in a
// testing/synctest bubble; its goroutines end with the exchange, which is over
// when the response's body was read to its end or closed.
func (s *Sandbox) RoundTripper() http.RoundTripper { return memory{s} }

// memory serves requests by calling a handler.
type memory struct{ handler http.Handler }

// exchange is one request and its response.
type exchange struct {
	in     *io.PipeWriter // the request's body; nil if there is none
	out    *io.PipeWriter // the response's body
	answer chan *http.Response
	failed chan error
	hangUp context.CancelFunc // ends the handler's context
}

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	// As on a wire, the client's deadline and values do not reach the server.
	serving, hangUp := context.WithCancel(context.Background())
	server := serverRequest(serving, req)
	outReader, outWriter := io.Pipe()
	x := &exchange{
		out:    outWriter,
		answer: make(chan *http.Response, 1),
		failed: make(chan error, 1),
		hangUp: hangUp,
	}
	if req.Body != nil && req.Body != http.NoBody {
		var inReader *io.PipeReader
		inReader, x.in = io.Pipe()
		server.Body = inReader
		go x.sendBody(req)
	}
	forget := context.AfterFunc(ctx, func() { x.fail(context.Cause(ctx)) })
	go func() {
		defer forget()
		x.serve(m.handler, server, req, outReader)
	}()

	select {
	case err := <-x.failed:
		return nil, err
	case resp := <-x.answer:
		select {
		case err := <-x.failed: // the client's own failure came first
			resp.Body.Close()
			return nil, err
		default:
			return resp, nil
		}
	}
}

// serverRequest is req as a server sees it.
func serverRequest(ctx context.Context, req *http.Request) *http.Request {
	r := req.Clone(ctx)
	u := *req.URL
	u.Scheme, u.Host, u.User, u.Fragment = "", "", nil, ""
	r.URL, r.RequestURI = &u, req.URL.RequestURI()
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.RemoteAddr = "memory"
	r.GetBody, r.Close, r.Response = nil, false, nil
	r.Body = http.NoBody
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		r.ContentLength = 0
	case req.ContentLength <= 0: // as http.Request has it: unknown
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	default:
		r.Header.Set("Content-Length", strconv.FormatInt(req.ContentLength, 10))
	}
	return r
}

// fail breaks off an exchange whose client has no answer yet, or needs none.
func (x *exchange) fail(err error) {
	select {
	case x.failed <- err:
	default: // an earlier failure
	}
	x.breakOff(err)
}

// breakOff is the end of the connection before the end of the exchange.
func (x *exchange) breakOff(err error) {
	if x.in != nil {
		x.in.CloseWithError(io.ErrUnexpectedEOF)
	}
	x.out.CloseWithError(err)
	x.hangUp()
}

// sendBody streams the request's body to the handler.
func (x *exchange) sendBody(req *http.Request) {
	defer req.Body.Close()
	body := &bodyReader{r: req.Body}
	length := req.ContentLength
	if length <= 0 {
		if _, err := io.Copy(x.in, body); err == nil {
			x.in.Close()
		}
	} else {
		sent, err := io.CopyN(x.in, body, length)
		if err == nil {
			x.in.Close() // the handler has all that was announced
			more, _ := io.Copy(io.Discard, body)
			sent += more
		}
		if (err == nil || err == io.EOF) && body.err == nil && sent != length {
			body.err = fmt.Errorf("http: ContentLength=%d with Body length %d", length, sent)
		}
	}
	// Else it was the handler that no longer reads; its answer counts.
	if body.err != nil {
		x.fail(body.err)
	}
}

// serve runs the handler and ends the exchange.
func (x *exchange) serve(h http.Handler, server, req *http.Request, out *io.PipeReader) {
	w := &writer{exchange: x, req: req, reader: out, header: http.Header{}, length: -1}
	finished := false
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p) // a mistake in the handler, not in the client
		}
		switch {
		case finished:
		case w.wrote:
			x.breakOff(io.ErrUnexpectedEOF)
		default:
			x.fail(io.ErrUnexpectedEOF)
		}
		server.Body.Close() // sendBody need not wait any longer
		x.hangUp()
	}()
	h.ServeHTTP(w, server)
	w.finish()
	finished = true
}

// writer is the handler's side of the response.
type writer struct {
	*exchange
	req     *http.Request
	reader  *io.PipeReader
	header  http.Header
	wrote   bool  // the head
	length  int64 // Content-Length; -1 = not announced
	written int64
}

func (w *writer) Header() http.Header { return w.header }

// Flush does nothing: what was written is with the client.
func (w *writer) Flush() { w.WriteHeader(http.StatusOK) }

func (w *writer) WriteHeader(status int) {
	if w.wrote {
		return
	}
	w.wrote = true
	header := maps.Clone(w.header)
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
		w.length = n
	}
	resp := &http.Response{
		Status:     strconv.Itoa(status) + " " + http.StatusText(status),
		StatusCode: status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        header,
		Body:          &responseBody{PipeReader: w.reader, x: w.exchange},
		ContentLength: w.length,
		Request:       w.req,
	}
	if w.bodyless(status) {
		resp.Body = http.NoBody
		if w.req.Method != http.MethodHead {
			resp.ContentLength, w.length = 0, 0
		}
	} else if w.length < 0 {
		resp.TransferEncoding = []string{"chunked"}
	}
	w.answer <- resp
}

func (w *writer) bodyless(status int) bool {
	return w.req.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.req.Method == http.MethodHead {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.written+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	n, err := w.out.Write(p)
	w.written += int64(n)
	return n, err
}

// finish ends the response when the handler has returned.
func (w *writer) finish() {
	if !w.wrote {
		w.header.Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	}
	if w.req.Method != http.MethodHead && w.written < w.length {
		w.out.CloseWithError(io.ErrUnexpectedEOF)
		return
	}
	w.out.Close()
}

// responseBody is the client's side of the response.
type responseBody struct {
	*io.PipeReader
	x     *exchange
	close sync.Once
}

// errClosed is what reads return after Close.
var errClosed = errors.New("http: read on closed response body")

// Close ends the exchange: what the handler still writes goes nowhere.
func (b *responseBody) Close() error {
	b.close.Do(func() {
		b.PipeReader.Close()
		b.x.breakOff(errClosed)
	})
	return nil
}
