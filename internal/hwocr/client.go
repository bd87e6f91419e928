package hwocr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds on what is read into memory.
const (
	maxAnswer = 16 << 20 // a JSON answer: a page of the list, or a document with its results
	maxError  = 64 << 10 // the body of an answer that was not asked for
)

// Config says how to reach the service. URL and Token are required.
type Config struct {
	// URL is the base of the API, path included, such as
	// https://www.handwritingocr.com/api/v2.
	URL string

	// Token is asked before every request, so that a token that was replaced is
	// taken up. It must be safe for concurrent use.
	Token func() (string, error)

	// Timeout is how long a request may make no progress: no byte sent, none
	// received. No request takes longer than 15 times as long. Defaults to 2m.
	Timeout time.Duration

	// Pace decides when a request may go out; clients that share an account
	// share one. Nil means at once.
	Pace *Pace

	// Transport carries the requests; nil stands for that of [NewTransport]. One
	// that repeats requests by itself must not be used.
	Transport http.RoundTripper

	// UserAgent defaults to "scandrop".
	UserAgent string

	// Asked is told of each request that went out: of which operation, and the
	// status of its answer, 0 if there was none. It is called concurrently and
	// must not block. It may be nil.
	Asked func(op string, status int)

	// Log receives a debug record for each request: what was asked, the status,
	// how long it took, how many bytes of body went either way. Nil discards it.
	Log *slog.Logger
}

// A Client talks to the service. It is safe for concurrent use and starts nothing
// that outlives a call, except connections that its transport keeps for a while.
type Client struct {
	base      string // without a trailing slash
	transport *transport
}

// New returns a client, or an error that names what is wrong with c.
func New(c Config) (*Client, error) {
	base, err := parseURL(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	switch {
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, errors.New("url: want https://host/path")
	case base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, errors.New("url: a user, a query or a fragment has no place in it")
	case c.Token == nil:
		return nil, errors.New("token: none given")
	case c.Timeout < 0:
		return nil, fmt.Errorf("timeout: %v is negative", c.Timeout)
	}
	t := &transport{
		scheme:  base.Scheme,
		host:    base.Host,
		token:   c.Token,
		timeout: c.Timeout,
		pace:    c.Pace,
		next:    c.Transport,
		agent:   c.UserAgent,
		asked:   c.Asked,
		log:     c.Log,
	}
	if t.timeout == 0 {
		t.timeout = 2 * time.Minute
	}
	if t.agent == "" {
		t.agent = "scandrop"
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.next == nil {
		if t.next, err = NewTransport(TransportConfig{}); err != nil {
			return nil, err
		}
	}
	return &Client{base: strings.TrimRight(base.String(), "/"), transport: t}, nil
}

// Status asks how the document is getting on. Statuses that the service documents are
// new, queued, processing, processed and failed; any other word is passed on, and an
// answer that names none leaves Status empty.
func (c *Client) Status(ctx context.Context, id string) (Document, error) {
	const op = "status"
	resp, err := c.askFor(ctx, op, http.MethodGet, id, "")
	if err != nil {
		return Document{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return Document{}, failure(op, resp)
	}
	body, err := readAnswer(resp)
	if err != nil {
		return Document{}, wrong(op, resp, err)
	}
	doc := Document{}
	if typ := mediaType(resp.Header); isJSON(typ) || typ == "" && looksLikeJSON(body) {
		if doc, err = parseDocument(body); err != nil {
			return Document{}, wrong(op, resp, err)
		}
	}
	doc.ID = id
	return doc, nil
}

// Delete removes the document and its results from the service. A document that is
// not there is an [*Error] with status 404.
func (c *Client) Delete(ctx context.Context, id string) error {
	const op = "delete"
	resp, err := c.askFor(ctx, op, http.MethodDelete, id, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusNoContent:
		return nil
	case http.StatusOK, http.StatusAccepted: // not documented: it must at least be whole
		body, err := readAnswer(resp)
		if err == nil && len(bytes.TrimSpace(body)) > 0 && !json.Valid(body) {
			err = errors.New("the answer is not JSON")
		}
		if err != nil {
			return wrong(op, resp, err)
		}
		return nil
	}
	return failure(op, resp)
}

// Balance returns how many pages the account may still have read. Only version 3 of
// the API tells: a client of version 2 asks that of the same host where its own does
// not know. Others answer with an [*Error], most likely of status 404.
func (c *Client) Balance(ctx context.Context) (int, error) {
	n, err := c.balance(ctx, c.base)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound {
		if base, found := strings.CutSuffix(c.base, "/v2"); found {
			return c.balance(ctx, base+"/v3")
		}
	}
	return n, err
}

func (c *Client) balance(ctx context.Context, base string) (int, error) {
	const op = "balance"
	resp, err := c.askAt(ctx, op, http.MethodGet, base+"/users/me")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, failure(op, resp)
	}
	body, err := readJSON(resp)
	if err != nil {
		return 0, wrong(op, resp, err)
	}
	balance, err := parseBalance(body) // the rest of the body holds the token: never quote it
	if err != nil {
		return 0, wrong(op, resp, err)
	}
	return balance, nil
}

// askFor sends a request about one document; suffix is empty or the extension of a
// format.
func (c *Client) askFor(ctx context.Context, op, method, id, suffix string) (*http.Response, error) {
	if err := checkID(id); err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	return c.ask(ctx, op, method, "/documents/"+url.PathEscape(id)+suffix)
}

// ask sends a request without a body. The caller closes the body of the answer.
func (c *Client) ask(ctx context.Context, op, method, path string) (*http.Response, error) {
	return c.askAt(ctx, op, method, c.base+path)
}

func (c *Client) askAt(ctx context.Context, op, method, url string) (*http.Response, error) {
	req, err := c.request(ctx, op, method, url)
	if err != nil {
		return nil, err
	}
	return c.send(op, req)
}

func (c *Client) request(ctx context.Context, op, method, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(context.WithValue(ctx, opKey{}, op), method, url, nil)
	if err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	return req, nil
}

// send goes to the transport directly, past http.Client, whose business is to follow
// redirects.
func (c *Client) send(op string, req *http.Request) (*http.Response, error) {
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	return resp, nil
}

// readAnswer reads an answer that may be anything, or nothing, but a page for people:
// with that, a service says that the request never reached its API.
func readAnswer(resp *http.Response) ([]byte, error) {
	if isHTML(mediaType(resp.Header)) {
		return nil, errHTML
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	body = discreet(resp, body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("the answer is larger than %d MB", maxAnswer>>20)
	case startsAsHTML(body):
		return nil, errHTML
	}
	return body, nil
}

// readJSON reads an answer that must be JSON. A missing content type is forgiven.
func readJSON(resp *http.Response) ([]byte, error) {
	typ := mediaType(resp.Header)
	if typ != "" && !isJSON(typ) && !isHTML(typ) {
		return nil, fmt.Errorf("the answer is %s, not JSON", printable(typ, 100))
	}
	return readAnswer(resp)
}

// parseURL is url.Parse without the URL in its errors, which may hold a password.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return nil, e.Err
	}
	return u, err
}

// checkID refuses what must not become part of a URL. Ids come from the service, by
// way of the caller's memory: this guards against both.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("the document id is empty")
	case len(id) > 200:
		return errors.New("the document id is longer than 200 bytes")
	case id == ".", strings.Contains(id, ".."), strings.ContainsAny(id, `/\`),
		!utf8.ValidString(id), strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("the document id holds what has no place in an id")
	}
	return nil
}
