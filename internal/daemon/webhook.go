package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"scandrop/internal/atomicfile"
	"scandrop/internal/config"
	"scandrop/internal/webhook"
	"scandrop/queue"
)

// webhookFile holds the path that was made for a webhook without a secret.
const webhookFile = "webhook.path"

// listenRetry is how long to wait before an address that could not be listened
// on is tried again.
const listenRetry = time.Minute

// WebhookURL is where the configuration's webhook listens, "" if it has none. Its
// path is a secret where calls are not signed; the first time it is made, and kept
// in the state folder.
func WebhookURL(c *config.Config) (string, error) {
	if c.Webhook.Listen == "" {
		return "", nil
	}
	path, err := webhookPath(c)
	if err != nil {
		return "", err
	}
	return "http://" + c.Webhook.Listen + path, nil
}

var madePath = regexp.MustCompile(`^/[A-Z2-7]{26,64}$`)

func webhookPath(c *config.Config) (string, error) {
	if c.Webhook.Path != "" {
		return c.Webhook.Path, nil
	}
	file := filepath.Join(c.State, webhookFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", stateError(file, err)
	}
	if path := strings.TrimSpace(string(text)); madePath.MatchString(path) {
		return path, nil
	}
	path := "/" + rand.Text() + rand.Text()
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return "", stateError(c.State, err)
	}
	if err := atomicfile.WriteFile(file, []byte(path+"\n"), 0o600); err != nil {
		return "", stateError(file, err)
	}
	return path, nil
}

// prepareWebhook builds the webhook, if there is to be one.
func (d *daemon) prepareWebhook() error {
	if d.Config.Webhook.Listen == "" {
		return nil
	}
	path, err := webhookPath(d.Config)
	if err != nil {
		return err
	}
	w := webhook.Config{Path: path, Hint: d.hint, Log: d.Log}
	if d.Config.Webhook.SecretFile != "" {
		w.Secret = func() (string, error) {
			s, err := d.Config.WebhookSecret()
			return s.Reveal(), err
		}
	}
	d.webhook = webhook.New(w)
	return nil
}

// hint passes on what a call tells. What nobody waits for is no error: whoever
// calls is not to learn which documents are ours.
func (d *daemon) hint(document string) error {
	j, woken, err := d.queue.Hint(document)
	switch {
	case errors.Is(err, queue.ErrNoJob):
		d.Log.Debug("webhook: nobody waits for this document", "document", document)
		return nil
	case err != nil:
		return err
	case woken:
		d.Log.Info("job announced", "job", j.ID, "scan", j.Path, "document", document)
		d.moved(j)
	}
	return nil
}

// listenWebhook listens, and says where. A path that is the secret of the calls is
// not for the log, which others read: "scandrop status" and "check" show it.
func (d *daemon) listenWebhook() (net.Listener, error) {
	l, err := d.Listen(d.Config.Webhook.Listen)
	if err != nil {
		return nil, err
	}
	if d.Config.Webhook.SecretFile == "" {
		d.Log.Info("webhook listens", "address", l.Addr().String(), "signed", false)
		return l, nil
	}
	path, _ := webhookPath(d.Config)
	d.Log.Info("webhook listens", "url", "http://"+l.Addr().String()+path, "signed", true)
	return l, nil
}

// serveWebhook takes calls until ctx is done, from what listenWebhook returned. An address that cannot be listened
// on, because another program has it or because it is not there yet, stops
// nothing: results are asked for, as without a webhook.
func (d *daemon) serveWebhook(ctx context.Context, l net.Listener, err error) {
	for said := false; ; {
		if err == nil {
			said = false
			if err = d.webhook.Serve(ctx, l); err == nil {
				return
			}
		}
		if !said {
			said = true
			d.Log.Error("the webhook cannot listen; results are asked for until it can", "address", d.Config.Webhook.Listen, "error", err,
				"hint", "choose another webhook.listen, or see who has this one")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenRetry):
		}
		l, err = d.listenWebhook()
	}
}

// listen is [net.Listen] on TCP.
func listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }
