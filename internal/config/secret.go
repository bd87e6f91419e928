package config

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands wherever a secret would be shown.
const redacted = "[redacted]"

// Secret is a text that nobody gets to see by accident: no verb of fmt, no handler of slog, no encoder of JSON, XML or
// YAML shows it, also where it lies deep in another value. The zero value is the empty secret, which shows as nothing.
// Only [Secret.Reveal] gives it away.
type Secret struct {
	// A pointer, because fmt reads unexported fields of a surrounding struct without asking their methods, and does not
	// follow pointers below the top.
	text *string
}

// NewSecret returns text as a secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text itself.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Equal tells whether s and t hide the same text.
func (s Secret) Equal(t Secret) bool { return s.Reveal() == t.Reveal() }

// IsZero tells whether s is the empty secret.
func (s Secret) IsZero() bool { return s.text == nil }

// String returns a placeholder.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString returns a placeholder.
func (s Secret) GoString() string { return fmt.Sprintf("config.NewSecret(%q)", s.String()) }

// Format writes a placeholder, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue returns a placeholder.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns a placeholder; the encoders of JSON, XML and YAML ask it too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
