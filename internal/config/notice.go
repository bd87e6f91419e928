package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Notice is one way of telling people of trouble: a webhook, an e-mail, a command or a chat service, one of them.
type Notice struct {
	// Webhook posts JSON to a URL.
	Webhook NoticeWebhook `yaml:"webhook"`

	// Email sends a mail.
	Email NoticeEmail `yaml:"email"`

	// Command is a program and its arguments; it gets the notice as JSON on its standard input.
	Command []string `yaml:"command"`

	// ChatFile is the file that holds the URL of a chat service, as the library shoutrrr writes it. It is a secret.
	ChatFile string `yaml:"chat_file"`

	// Events are those that are told of: "failed", "held", "free". Defaults to all of them.
	Events []string `yaml:"events"`

	// Every is between two notices, 1 minute at least: what happens meanwhile is one notice. Defaults to 15 minutes.
	Every time.Duration `yaml:"every"`

	// Silent is how long nothing has to arrive until that is told; 0, the default, is never.
	Silent time.Duration `yaml:"silent"`

	// Digest is the time of day, such as "07:30", at which what was done is told; "", the default, is never.
	Digest string `yaml:"digest"`
}

// NoticeWebhook is a URL that is posted to, and the file with the secret that signs it, or "".
type NoticeWebhook struct {
	URL        string `yaml:"url"`
	SecretFile string `yaml:"secret_file"`
}

// NoticeEmail says how a mail is sent.
type NoticeEmail struct {
	To   []string `yaml:"to"`
	From string   `yaml:"from"`

	// Server is the mail server's host and port. On 465 TLS comes first, else STARTTLS is demanded.
	Server string `yaml:"server"`

	// User logs in with the password in PasswordFile; "" for no login.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

// noticeEvents are what Events may hold.
var noticeEvents = []string{"failed", "held", "free"}

// preset makes n the way of which an item of the list says only what is different.
func (n *Notice) preset() { *n = Notice{Every: 15 * time.Minute} }

// Name tells the way from others, without a secret.
func (n Notice) Name() string {
	switch {
	case n.Webhook.URL != "":
		if u, err := url.Parse(n.Webhook.URL); err == nil {
			return "webhook to " + u.Host
		}
	case len(n.Email.To) > 0:
		return "email to " + n.Email.To[0]
	case len(n.Command) > 0:
		return "command " + n.Command[0]
	case n.ChatFile != "":
		return "chat of " + n.ChatFile
	}
	return "notice"
}

// DigestAt is when the digest is sent, since midnight; negative if never.
func (n Notice) DigestAt() time.Duration {
	t, err := time.Parse("15:04", n.Digest)
	if err != nil {
		return -1
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

// Secret returns the secret of the way, read anew each time; empty if it has none. The error is a [Problem].
func (n Notice) Secret() (Secret, error) {
	switch {
	case n.Webhook.SecretFile != "":
		return secretFile("notices[].webhook.secret_file", n.Webhook.SecretFile, "write the secret into it that signs the posts")
	case n.Email.PasswordFile != "":
		return secretFile("notices[].email.password_file", n.Email.PasswordFile, "write the password of the mail server into it")
	case n.ChatFile != "":
		return secretFile("notices[].chat_file", n.ChatFile, "write the URL of the chat service into it, such as slack://…")
	}
	return Secret{}, nil
}

// secretPath is the file that holds the secret, "" if there is none, and the name of its key.
func (n Notice) secretPath() (key, path string) {
	switch {
	case n.Webhook.SecretFile != "":
		return "webhook.secret_file", n.Webhook.SecretFile
	case n.Email.PasswordFile != "":
		return "email.password_file", n.Email.PasswordFile
	}
	return "chat_file", n.ChatFile
}

func (k checker) notices() {
	for i := range k.c.Notices {
		k.notice(fmt.Sprintf("notices[%d]", i), &k.c.Notices[i])
	}
}

// clock is a time of day.
var clock = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

func (k checker) notice(key string, n *Notice) {
	at := func(name string) string { return key + "." + name }
	ways := 0
	for _, has := range []bool{k.has(at("webhook")), k.has(at("email")), k.has(at("command")), k.has(at("chat_file"))} {
		if has {
			ways++
		}
	}
	if ways != 1 {
		k.mistake(key, fmt.Sprintf("names %d ways, not one", ways), "give each item one of webhook, email, command, chat_file")
		return
	}
	if k.has(at("webhook")) {
		if u, err := url.Parse(n.Webhook.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" {
			k.mistake(at("webhook.url"), "must be an http or https address", "write it like https://example.org/hook")
		} else if u.Scheme == "http" && !loopback(u.Hostname()) {
			k.mistake(at("webhook.url"), "is plain http to another machine, and names of scans would be readable for everyone on the way", "write https")
		}
		k.file(at("webhook.secret_file"), &n.Webhook.SecretFile)
	}
	if k.has(at("email")) {
		k.email(at("email"), &n.Email)
	}
	if k.has(at("command")) && (len(n.Command) == 0 || n.Command[0] == "") {
		k.mistake(at("command"), "is empty", "write it like [/usr/local/bin/tell, --urgent]")
	}
	if k.has(at("chat_file")) {
		if strings.Contains(n.ChatFile, "://") {
			k.mistake(at("chat_file"), "must be the path of a file, not the URL itself", "write the URL into a file that only scandrop's user may read, and the path here")
		} else if n.ChatFile == "" {
			k.mistake(at("chat_file"), "is empty", "name the file that holds the URL")
		} else {
			k.file(at("chat_file"), &n.ChatFile)
		}
	}
	for i, e := range n.Events {
		if item := fmt.Sprintf("%s[%d]", at("events"), i); !k.unread[item] && !slices.Contains(noticeEvents, e) {
			k.mistakeAt(k.line(item), at("events"), fmt.Sprintf("%q is none of %s", e, strings.Join(noticeEvents, ", ")), didYouMean(e, noticeEvents))
		}
	}
	if !k.has(at("events")) {
		n.Events = slices.Clone(noticeEvents)
	}
	if n.Every < time.Minute {
		k.mistake(at("every"), "must be a minute at least", "15m is the default")
	}
	if n.Silent < 0 {
		k.mistake(at("silent"), "must not be negative", "write it like 72h; 0s is never")
	}
	if n.Digest != "" && !clock.MatchString(n.Digest) {
		k.mistake(at("digest"), fmt.Sprintf("%q is not a time of day", n.Digest), `write it like "07:30", in quotes`)
	}
}

func (k checker) email(key string, e *NoticeEmail) {
	address := func(key, a string) {
		if parsed, err := mail.ParseAddress(a); err != nil || parsed.Address != a {
			k.mistake(key, fmt.Sprintf("%q is not a mail address", a), "write it like office@example.org")
		}
	}
	if len(e.To) == 0 {
		k.mistake(key+".to", "is missing", "name those who get the mail: [office@example.org]")
	}
	for _, to := range e.To {
		address(key+".to", to)
	}
	address(key+".from", e.From)
	if host, port, err := net.SplitHostPort(e.Server); err != nil || host == "" || port == "" || !goodPort(port) {
		k.mistake(key+".server", fmt.Sprintf("%q is not a host with a port", e.Server), "write it like mail.example.org:587, or :465 for TLS from the start")
	}
	k.file(key+".password_file", &e.PasswordFile)
	if (e.User == "") != (e.PasswordFile == "") {
		k.mistake(key, "needs both user and password_file", "set both, or none")
	}
}
