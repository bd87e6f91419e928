package notice

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os/exec"
	"strings"
	"testing"
	"time"
)

var example = Notice{
	ID: "1-1", Host: "desk", Title: "scandrop on desk: 1 scan failed", Counts: map[Kind]int{Failed: 1},
	Events: []Event{{Kind: Failed, At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Job: 17, Scan: "/scans/Müller\r\nBcc: x@example.org.pdf", State: "failed", Text: "upside down"}},
}

func secretIs(s string) Secret { return func() (string, error) { return s, nil } }

func TestWebhook(t *testing.T) {
	var body []byte
	var signature string
	status := 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		signature = r.Header.Get("X-Signature")
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	defer server.Close()
	w := Webhook{URL: server.URL + "/hook-secret-place", Secret: secretIs("s3cret")}
	if err := w.Send(t.Context(), example); err != nil {
		t.Fatal(err)
	}
	var got Notice
	if err := json.Unmarshal(body, &got); err != nil || got.Events[0].Job != 17 || got.Title != example.Title {
		t.Errorf("%s: %v", body, err)
	}
	if _, err := exec.LookPath("openssl"); err == nil { // not by our own code
		cmd := exec.Command("openssl", "dgst", "-sha256", "-hmac", "s3cret", "-r")
		cmd.Stdin = strings.NewReader(string(body))
		out, err := cmd.Output()
		if want, _, _ := strings.Cut(string(out), " "); err != nil || signature != "sha256="+want {
			t.Errorf("the signature is %s, not %s (%v)", signature, want, err)
		}
	}
	for _, status = range []int{302, 400, 500} {
		if err := w.Send(t.Context(), example); err == nil {
			t.Errorf("%d is taken for success", status)
		}
	}
	server.Close()
	if err := w.Send(t.Context(), example); err == nil || strings.Contains(err.Error(), "secret-place") {
		t.Errorf("nobody there: %v", err)
	}
	unsigned := w
	unsigned.Secret = func() (string, error) { return "", errors.New("the secret is gone") }
	if err := unsigned.Send(t.Context(), example); err == nil {
		t.Error("without its secret it is sent all the same")
	}
}

// mailServer takes one mail. With TLS it offers STARTTLS.
func mailServer(t *testing.T, certificate *tls.Certificate) (address string, got func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() {
		defer l.Close()
		conn, err := l.Accept()
		if err != nil {
			done <- err.Error()
			return
		}
		defer func() { conn.Close() }()
		var all strings.Builder
		r := bufio.NewReader(conn)
		say := func(s string) { fmt.Fprintf(conn, "%s\r\n", s) }
		say("220 mail.test")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				break
			}
			all.WriteString(line)
			switch word := strings.ToUpper(strings.TrimSpace(line)); {
			case strings.HasPrefix(word, "EHLO"):
				if _, secure := conn.(*tls.Conn); certificate != nil && !secure {
					say("250-mail.test\r\n250 STARTTLS")
				} else {
					say("250-mail.test\r\n250 AUTH PLAIN")
				}
			case word == "STARTTLS":
				say("220 go")
				conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*certificate}})
				r = bufio.NewReader(conn)
			case strings.HasPrefix(word, "AUTH"):
				say("235 ok")
			case word == "DATA":
				say("354 go")
				for {
					line, err := r.ReadString('\n')
					all.WriteString(line)
					if err != nil || line == ".\r\n" {
						break
					}
				}
				say("250 ok")
			case word == "QUIT":
				say("221 bye")
			default:
				say("250 ok")
			}
		}
		done <- all.String()
	}()
	return l.Addr().String(), func() string { return <-done }
}

func TestEmail(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	address, got := mailServer(t, &web.TLS.Certificates[0])
	at := func(address string) func(context.Context, string, string) (net.Conn, error) {
		return func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	// Not of this machine, by its name: one that the certificate is for.
	e := Email{Server: "example.com:25", dial: at(address), From: "scandrop@example.org", To: []string{"a@example.org", "b@example.org"}, User: "u", Password: secretIs("pw"), Roots: roots}
	if err := e.Send(t.Context(), example); err != nil {
		t.Fatal(err)
	}
	talk := got()
	_, data, _ := strings.Cut(talk, "DATA\r\n")
	m, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %s", err, talk)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	text, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
	if subject != example.Title || m.Header.Get("Bcc") != "" || !strings.Contains(string(text), "Müller") || strings.Count(talk, "RCPT TO") != 2 || !strings.Contains(talk, "STARTTLS") {
		t.Errorf("%s", talk)
	}

	// Whose certificate is not known gets nothing.
	address, got = mailServer(t, &web.TLS.Certificates[0])
	stranger := e
	stranger.dial, stranger.Roots = at(address), nil
	if err := stranger.Send(t.Context(), example); err == nil {
		t.Error("sent to a stranger")
	}
	if talk := got(); strings.Contains(talk, "MAIL FROM") || strings.Contains(talk, "AUTH") {
		t.Errorf("%s", talk)
	}

	// This machine's server has made its certificate itself.
	address, got = mailServer(t, &web.TLS.Certificates[0])
	own := e
	own.Server, own.dial, own.Roots = address, nil, nil
	if err := own.Send(t.Context(), example); err != nil {
		t.Error(err)
	}
	if talk := got(); !strings.Contains(talk, "STARTTLS") || !strings.Contains(talk, "MAIL FROM") {
		t.Errorf("%s", talk)
	}
}

func TestCommand(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	t.Setenv("SCANDROP_TOKEN", "secret-token")
	out := t.TempDir() + "/out"
	c := Command{Args: []string{"sh", "-c", `cat >"$0"; echo "$SCANDROP_NOTICE|$SCANDROP_TOKEN" >>"$0"`, out}}
	if err := c.Send(t.Context(), example); err != nil {
		t.Fatal(err)
	}
	text, err := exec.Command("cat", out).Output()
	if err != nil || !strings.Contains(string(text), `"job":17`) || !strings.Contains(string(text), "1 scan failed|\n") {
		t.Errorf("%s, %v", text, err)
	}
	if err := (Command{Args: []string{"sh", "-c", "echo no printer >&2; exit 3"}}).Send(t.Context(), example); err == nil || !strings.Contains(err.Error(), "no printer") {
		t.Errorf("a command that fails: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Command{Args: []string{"sleep", "1000"}}).Send(ctx, example); err == nil {
		t.Error("a command that does not end is waited for")
	}
}
