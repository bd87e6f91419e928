package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/webhook"
)

// still is a listener to which nobody comes.
type still struct {
	closed chan struct{}
	once   sync.Once
}

func (l *still) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l *still) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*still) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8378} }

// listenStill is an [Options.Listen] without a network.
func listenStill(string) (net.Listener, error) {
	return &still{closed: make(chan struct{})}, nil
}

// An address that is not there yet, or taken, stops nothing, and is listened on
// when it can be.
func TestWebhookListensLater(t *testing.T) {
	dir := t.TempDir()
	c, err := config.Parse(filepath.Join(dir, "c.yaml"), []byte("state: state\nfolders: [{path: scans}]\nwebhook: {listen: '127.0.0.1:8378'}\n"), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tries := 0
		d := &daemon{Options: Options{
			Config: c, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Listen: func(address string) (net.Listener, error) {
				if tries++; tries < 4 {
					return nil, errors.New("address already in use")
				}
				return listenStill(address)
			},
		}}
		d.webhook = webhook.New(webhook.Config{Path: "/x", Hint: func(string) error { return nil }})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l, err := d.listenWebhook()
			d.serveWebhook(ctx, l, err)
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		stop()
		<-ended
		if n := strings.Count(log.String(), "cannot listen"); tries != 4 || n != 1 || !strings.Contains(log.String(), "webhook listens") {
			t.Errorf("after %d tries the log says:\n%s", tries, &log)
		}
	})
}

// The log does not tell the path that is the secret of the calls.
func TestWebhookPathIsNotLogged(t *testing.T) {
	for name, secret := range map[string]string{"unsigned": "", "signed": "hook-secret"} {
		var log bytes.Buffer
		c := &config.Config{State: t.TempDir(), Webhook: config.Webhook{Listen: "127.0.0.1:8378", SecretFile: secret, Path: "/tulips"}}
		d := &daemon{Options: Options{Config: c, Log: slog.New(slog.NewTextHandler(&log, nil)), Listen: listenStill}}
		if _, err := d.listenWebhook(); err != nil {
			t.Fatal(err)
		}
		if told := strings.Contains(log.String(), "tulips"); told != (secret != "") || !strings.Contains(log.String(), "127.0.0.1:8378") {
			t.Errorf("%s: %s", name, &log)
		}
	}
}

// The path that nobody is to guess stays the same; what is not one is replaced.
func TestWebhookPath(t *testing.T) {
	dir := t.TempDir()
	c := &config.Config{State: filepath.Join(dir, "state"), Webhook: config.Webhook{Listen: "127.0.0.1:8378"}}
	first, err := WebhookURL(c)
	if err != nil || len(first) < len("http://127.0.0.1:8378/")+50 {
		t.Fatalf("%q, %v", first, err)
	}
	if again, err := WebhookURL(c); err != nil || again != first {
		t.Errorf("%q, then %q, %v", first, again, err)
	}
	other := *c
	other.State = filepath.Join(dir, "other")
	if url, err := WebhookURL(&other); err != nil || url == first {
		t.Errorf("another state folder has the same path %q, %v", url, err)
	}
	if url, err := WebhookURL(&config.Config{State: filepath.Join(dir, "none")}); url != "" || err != nil {
		t.Errorf("without a webhook: %q, %v", url, err)
	}
}
