package notice

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/discord"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/googlechat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/lark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/matrix"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/mattermost"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/rocketchat"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/signal"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/slack"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/teams"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/telegram"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/wecom"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/chat/zulip"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/opsgenie"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/incident/pagerduty"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/bark"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/gotify"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ifttt"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/join"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/ntfy"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushbullet"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/push/pushover"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/specialized/generic"
	"github.com/nicholas-fedor/shoutrrr/pkg/services/specialized/notifiarr"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// A Chat sends the notice to a chat service, by a URL of shoutrrr's, such as
// slack://, teams://, matrix:// or ntfy://, which is a secret.
type Chat struct{ URL Secret }

// Send implements [Sender].
func (c Chat) Send(ctx context.Context, n Notice) error {
	secret, err := c.URL()
	if err != nil {
		return err
	}
	send, err := sender(secret)
	if err != nil {
		return scrubURL(err, secret)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- send(ctx, oneLine(n.Title), n.Title+"\n"+n.Text()) }() // the library cannot be told to stop
	select {
	case err := <-sent:
		return scrubURL(err, secret)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sender returns what sends a title and a text to the place that the URL names. Like
// shoutrrr's own router, whose URLs these are, it takes scheme+https: for an address
// in the form of the service itself.
func sender(secret string) (func(ctx context.Context, title, text string) error, error) {
	u, err := url.Parse(secret)
	if err != nil {
		return nil, errors.New("its URL cannot be read")
	}
	scheme, _, custom := strings.Cut(u.Scheme, "+")
	if scheme == generic.Scheme {
		return func(ctx context.Context, title, text string) error { return postAnywhere(ctx, u, custom, title, text) }, nil
	}
	made := services[scheme]
	if made == nil {
		return nil, errors.New("its URL is of no known service; docs/notices.md names them")
	}
	s := made()
	if custom {
		other, ok := s.(types.CustomURLService)
		if !ok {
			return nil, errors.New("its URL is not in the form of this service")
		}
		if u, err = other.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	if err := s.Initialize(u, nil); err != nil {
		return nil, err
	}
	return func(_ context.Context, title, text string) error {
		return s.Send(text, &types.Params{types.TitleKey: title})
	}, nil
}

// services are those of shoutrrr's router but three, which execute templates of
// text/template, so that the linker would keep every exported method of the whole
// program: smtp and logger, as there are [Email] and the log, and generic, for which
// [postAnywhere] stands.
var services = map[string]func() types.Service{
	"bark":       func() types.Service { return &bark.Service{} },
	"discord":    func() types.Service { return &discord.Service{} },
	"googlechat": func() types.Service { return &googlechat.Service{} },
	"gotify":     func() types.Service { return &gotify.Service{} },
	"hangouts":   func() types.Service { return &googlechat.Service{} },
	"ifttt":      func() types.Service { return &ifttt.Service{} },
	"join":       func() types.Service { return &join.Service{} },
	"lark":       func() types.Service { return &lark.Service{} },
	"matrix":     func() types.Service { return &matrix.Service{} },
	"mattermost": func() types.Service { return &mattermost.Service{} },
	"notifiarr":  func() types.Service { return &notifiarr.Service{} },
	"ntfy":       func() types.Service { return &ntfy.Service{} },
	"opsgenie":   func() types.Service { return &opsgenie.Service{} },
	"pagerduty":  func() types.Service { return &pagerduty.Service{} },
	"pushbullet": func() types.Service { return &pushbullet.Service{} },
	"pushover":   func() types.Service { return &pushover.Service{} },
	"rocketchat": func() types.Service { return &rocketchat.Service{} },
	"signal":     func() types.Service { return &signal.Service{} },
	"slack":      func() types.Service { return &slack.Service{} },
	"teams":      func() types.Service { return &teams.Service{} },
	"telegram":   func() types.Service { return &telegram.Service{} },
	"wecom":      func() types.Service { return &wecom.Service{} },
	"zulip":      func() types.Service { return &zulip.Service{} },
}

// postAnywhere posts to a URL of shoutrrr's generic service: the text as it is, or,
// with template=json, JSON under the keys that the URL names. Values of @NAME are
// headers, of $NAME more keys.
func postAnywhere(ctx context.Context, u *url.URL, custom bool, title, text string) error {
	var (
		config *generic.Config
		err    error
	)
	if custom { // generic+https://
		place := *u
		place.Scheme = strings.TrimPrefix(place.Scheme, generic.Scheme+"+")
		config, _, err = generic.ConfigFromWebhookURL(place)
	} else {
		config, _ = generic.DefaultConfig()
		err = config.SetURL(u)
	}
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"text/plain"}}
	body := []byte(text)
	more := map[string]string{config.TitleKey: title, config.MessageKey: text}
	switch strings.ToLower(config.Template) {
	case "":
	case "json":
		header.Set("Content-Type", config.ContentType)
	default:
		return errors.New("its URL names a template; there is none but json")
	}
	for name, values := range u.Query() {
		switch {
		case len(name) < 2: // what the library leaves alone
		case strings.HasPrefix(name, "@"):
			header.Set(humps.ReplaceAllString(name[1:], "$1-$2"), values[0])
		case strings.HasPrefix(name, "$"):
			more[name[1:]] = values[0]
		}
	}
	if config.Template != "" {
		if body, err = json.Marshal(more); err != nil {
			return err
		}
	}
	return post(ctx, nil, config.RequestMethod, config.WebhookURL().String(), header, body)
}

// humps are where a name such as contentType has its dashes as a header.
var humps = regexp.MustCompile("([a-z0-9])([A-Z])")
