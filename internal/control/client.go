package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"scandrop/queue"
)

// A Client asks a running daemon. It may be used concurrently.
type Client struct {
	url   string
	token string
	http  *http.Client
}

// Dial finds the daemon of a state folder, and makes sure that it is the one
// whose token lies there. Its errors are those of [Find]; it also wraps
// [ErrNoDaemon] where nobody, or another program, answers at the address.
func Dial(ctx context.Context, state string) (*Client, error) {
	a, token, err := Find(state)
	if err != nil {
		return nil, err
	}
	c := New(a.URL, token)
	if err := c.meet(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDaemon, err)
	}
	return c, nil
}

// New returns a client for a daemon at that address. It has the daemon prove over
// each connection that it knows the token before the token is sent over that: when a
// daemon has ended, another program may have its port.
func New(address, token string) *Client {
	c := &Client{url: address, token: token}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return c.dial(ctx, network, addr, nil)
			},
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				// The proof says who it is: its certificate is made for the names
				// that others use.
				return c.dial(ctx, network, addr, &tls.Config{InsecureSkipVerify: true})
			},
			ResponseHeaderTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// dial makes a connection to the daemon, over TLS if secure is not nil, over which
// it has proved that it knows the token.
func (c *Client) dial(ctx context.Context, network, addr string, secure *tls.Config) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		conn = tls.Client(conn, secure)
	}
	if err := c.prove(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// A strangerError means that another program has the daemon's address.
type strangerError struct{ url string }

func (e *strangerError) Error() string {
	return fmt.Sprintf("what answers at %s is not the daemon of this state folder", e.url)
}

// prove has who answers prove that it knows the token, with a request of its own.
func (c *Client) prove(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodGet, c.url+"/healthz", nil)
	if err != nil {
		return err
	}
	nonce := rand.Text()
	req.Header.Set(NonceHeader, nonce)
	if err := req.Write(conn); err != nil {
		return err
	}
	const longest = 64 << 10 // of its headers and its body
	in := bufio.NewReader(io.LimitReader(conn, longest))
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if !hmac.Equal([]byte(resp.Header.Get(ProofHeader)), []byte(Proof(c.token, req.URL.Host, nonce))) {
		return &strangerError{c.url}
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.Close || in.Buffered() > 0 { // it ends, or says more than it was asked
		return fmt.Errorf("the daemon at %s takes no more requests", c.url)
	}
	return conn.SetDeadline(time.Time{})
}

// URL is the address of the daemon.
func (c *Client) URL() string { return c.url }

// meet makes sure that the daemon is there, and keeps a connection that it has
// proved itself over.
func (c *Client) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if stranger, ok := errors.AsType[*strangerError](err); ok {
		return stranger
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection is kept
	return errors.Join(err, resp.Body.Close())
}

// do makes one request and decodes the answer into out, which may be nil. An
// answer that is not 2xx is a [Problem].
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoDaemon, err)
	}
	defer resp.Body.Close()
	const longest = 64 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, longest))
	if err != nil {
		return fmt.Errorf("%w: its answer is cut off: %w", ErrNoDaemon, err)
	}
	if resp.StatusCode/100 != 2 {
		p := &Problem{Code: CodeFailed, Message: "the daemon answers " + resp.Status}
		if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/json" {
			if err := json.Unmarshal(text, p); err != nil {
				return err
			}
		}
		return p.typed()
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// typed wraps the problem so that [errors.Is] finds what the queue's own methods
// return.
func (p *Problem) typed() error {
	if p.Code == CodeNoJob {
		return &noJob{p}
	}
	return p
}

type noJob struct{ *Problem }

func (e *noJob) Unwrap() []error { return []error{e.Problem, queue.ErrNoJob} }

// IsRefused reports whether the daemon refused what was asked of a job because of
// the job's state, as [queue.RefusedError] says of an open queue.
func IsRefused(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code == CodeRefused
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/api/v1/status", nil, nil, &s)
	return s, err
}

// A Filter chooses jobs. The zero Filter chooses all.
type Filter struct {
	States []queue.State // any of them; none means all
	Folder string        // "" means all
	Text   string        // what the path of the scan holds, in any case; "" for all
	After  uint64        // the cursor: Next of the page before; 0 for the first
	Limit  int           // how many; defaults to 100, at most 1000
}

// Values is the filter as the query of an address.
func (f Filter) Values() url.Values {
	v := url.Values{}
	for _, s := range f.States {
		v.Add("state", string(s))
	}
	if f.Folder != "" {
		v.Set("folder", f.Folder)
	}
	if f.Text != "" {
		v.Set("q", f.Text)
	}
	if f.After != 0 {
		v.Set("after", strconv.FormatUint(f.After, 10))
	}
	if f.Limit != 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	return v
}

// List returns one page of jobs, newest first.
func (c *Client) List(ctx context.Context, f Filter) (Page, error) {
	var p Page
	err := c.do(ctx, http.MethodGet, "/api/v1/jobs", f.Values(), nil, &p)
	return p, err
}

// All goes through the jobs of a filter, newest first. After an error it ends.
func (c *Client) All(ctx context.Context, f Filter) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for {
			p, err := c.List(ctx, f)
			if err != nil {
				yield(Job{}, err)
				return
			}
			for _, j := range p.Jobs {
				if !yield(j, nil) {
					return
				}
			}
			if f.After = p.Next; f.After == 0 {
				return
			}
		}
	}
}

// Job returns a job with its story. The error wraps [queue.ErrNoJob] if there is
// none.
func (c *Client) Job(ctx context.Context, id uint64) (Job, error) {
	var j Job
	err := c.do(ctx, http.MethodGet, fmt.Sprintf("/api/v1/jobs/%d", id), nil, nil, &j)
	return j, err
}

// ByPath returns the newest job of the scan at an absolute path, with its story.
// The error wraps [queue.ErrNoJob] if there is none.
func (c *Client) ByPath(ctx context.Context, path string) (Job, error) {
	var j Job
	err := c.do(ctx, http.MethodGet, "/api/v1/job", url.Values{"path": {path}}, nil, &j)
	return j, err
}

// Retry gives a job another try. One that is done is sent again only with pay;
// see [IsRefused].
func (c *Client) Retry(ctx context.Context, id uint64, pay bool) (Job, error) {
	var v url.Values
	if pay {
		v = url.Values{"pay_again": {"true"}}
	}
	return c.act(ctx, id, "retry", v)
}

// Cancel stops a job at its next safe point.
func (c *Client) Cancel(ctx context.Context, id uint64) (Job, error) {
	return c.act(ctx, id, "cancel", nil)
}

// Forget removes the story of a job that is at its end.
func (c *Client) Forget(ctx context.Context, id uint64) (Job, error) {
	return c.act(ctx, id, "forget", nil)
}

func (c *Client) act(ctx context.Context, id uint64, what string, v url.Values) (Job, error) {
	var j Job
	err := c.do(ctx, http.MethodPost, fmt.Sprintf("/api/v1/jobs/%d/%s", id, what), v, nil, &j)
	return j, err
}

// Released is how many holds were lifted.
type Released struct {
	Released int `json:"released"`
}

// Release lifts the hold of that name, or all but "rebuilt" if the name is
// "all", and says how many there were.
func (c *Client) Release(ctx context.Context, name string) (int, error) {
	var r Released
	err := c.do(ctx, http.MethodPost, "/api/v1/release", url.Values{"hold": {name}}, nil, &r)
	return r.Released, err
}

// A Link opens the page, once, until it expires.
type Link struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// Link makes a link that opens the page.
func (c *Client) Link(ctx context.Context) (Link, error) {
	var l Link
	err := c.do(ctx, http.MethodPost, "/api/v1/links", nil, nil, &l)
	return l, err
}

// Close lets go of connections that are not used. The client may be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }
