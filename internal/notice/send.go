package notice

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/smtp"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A Secret gives a secret, read anew each time; "" if there is none.
type Secret func() (string, error)

// A Webhook posts the notice as JSON. With a secret it is signed, in the header
// X-Signature: "sha256=" and the HMAC-SHA256 of the body in hexadecimal.
type Webhook struct {
	URL    string
	Secret Secret
	Client *http.Client // nil: one that follows no redirect
}

// Send implements [Sender].
func (w Webhook) Send(ctx context.Context, n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	secret, err := w.Secret()
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if secret != "" {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		header.Set("X-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	return post(ctx, w.Client, http.MethodPost, w.URL, header, body)
}

// post sends a body, follows no redirect, and takes a 2xx for success. Its errors
// hold nothing of the URL, which may be a secret.
func post(ctx context.Context, client *http.Client, method, to string, header http.Header, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("its URL cannot be used")
	}
	req.Header = header
	req.Header.Set("User-Agent", "scandrop")
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	resp, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("it is answered with %s", resp.Status)
	}
	return nil
}

// An Email sends the notice through a mail server, over TLS from the start on
// port 465, else by STARTTLS, without which nothing is sent but to this machine.
// This machine's server need not show a certificate that is known, either.
type Email struct {
	Server   string // host:port
	From     string
	To       []string
	User     string // "" for no login
	Password Secret
	Roots    *x509.CertPool // nil: the system's

	dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests; nil: [net.Dialer]
}

// Send implements [Sender].
func (e Email) Send(ctx context.Context, n Notice) error {
	password, err := e.Password()
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(e.Server)
	if err != nil {
		return err
	}
	dial := e.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	raw, err := dial(ctx, "tcp", e.Server)
	if err != nil {
		return err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	// A server of this machine makes its own certificate as a rule, and the way to it
	// leads past nobody. Without TLS it may take no login.
	secure := &tls.Config{ServerName: host, RootCAs: e.Roots, InsecureSkipVerify: loopback(host)}
	conn := raw
	if port == "465" {
		conn = tls.Client(conn, secure)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return err
	}
	defer c.Close()
	if name, err := os.Hostname(); err == nil && !strings.ContainsAny(name, "\r\n ") {
		if err := c.Hello(name); err != nil {
			return err
		}
	}
	if offered, _ := c.Extension("STARTTLS"); offered && port != "465" {
		if err := c.StartTLS(secure); err != nil {
			return err
		}
	}
	if _, safe := c.TLSConnectionState(); !safe && !loopback(host) {
		return errors.New("the mail server offers no TLS, and nothing is sent readable for everyone on the way")
	}
	if e.User != "" {
		if err := c.Auth(smtp.PlainAuth("", e.User, password, host)); err != nil {
			return scrub(err, password, e.User)
		}
	}
	if err := c.Mail(e.From); err != nil {
		return err
	}
	for _, to := range e.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(e.message(n)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	c.Quit() // it has been taken
	return nil
}

// message is the notice as a mail.
func (e Email) message(n Notice) []byte {
	var b bytes.Buffer
	_, domain, _ := strings.Cut(e.From, "@")
	fmt.Fprintf(&b, "From: scandrop <%s>\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <scandrop-%s@%s>\r\n",
		e.From, strings.Join(e.To, ", "), mime.QEncoding.Encode("utf-8", oneLine(n.Title)), time.Now().Format(time.RFC1123Z), n.ID, domain)
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n")
	w := quotedprintable.NewWriter(&b)
	io.WriteString(w, strings.ReplaceAll(n.Text(), "\n", "\r\n"))
	_ = w.Close() // into memory
	return b.Bytes()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A Command runs a program with the notice as JSON on its standard input, and its
// title in SCANDROP_NOTICE. It does not get scandrop's token.
type Command struct{ Args []string }

// Send implements [Sender].
func (c Command) Send(ctx context.Context, n Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Stdin = bytes.NewReader(append(body, '\n'))
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.EqualFold(name, "SCANDROP_TOKEN") && !strings.EqualFold(name, "CREDENTIALS_DIRECTORY") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "SCANDROP_NOTICE="+oneLine(n.Title))
	said := &tail{}
	cmd.Stderr = said
	cmd.WaitDelay = 2 * time.Second // for what it leaves behind
	if err := cmd.Run(); err != nil {
		if said.text != "" {
			return fmt.Errorf("%w: %s", err, oneLine(said.text))
		}
		return err
	}
	return nil
}

// tail keeps the beginning of what is written.
type tail struct{ text string }

func (t *tail) Write(p []byte) (int, error) {
	const most = 200
	if room := most - len(t.text); room > 0 {
		t.text += string(p[:min(len(p), room)])
	}
	return len(p), nil
}

// scrubURL takes all parts of a URL out of an error that may be secret.
func scrubURL(err error, secret string) error {
	if err == nil {
		return nil
	}
	parts := []string{secret}
	if u, bad := url.Parse(secret); bad == nil {
		parts = append(parts, u.Host, u.Path, u.RawQuery, u.Opaque)
		parts = append(parts, strings.FieldsFunc(u.Path+"/"+u.RawQuery+"/"+u.Host, func(r rune) bool { return strings.ContainsRune("/&=:@?.,-", r) })...)
		if u.User != nil {
			password, _ := u.User.Password()
			parts = append(parts, u.User.Username(), password)
		}
	}
	return scrub(err, parts...)
}

// scrub takes secrets out of an error.
func scrub(err error, secrets ...string) error {
	text := err.Error()
	for _, s := range secrets {
		const short = 3 // shorter ones are no secrets, but parts of words
		if len(s) <= short {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			text = strings.ReplaceAll(text, form, "…")
		}
	}
	return errors.New(oneLine(text))
}

// oneLine makes text fit for a header and for a line of the log.
func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)), " ")
}
