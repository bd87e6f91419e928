package config

import (
	"errors"
	"io/fs"
	"strings"
)

// signedPath is the path of the hook's URL where calls are signed and none is configured.
const signedPath = "/webhook"

// shortestPath is how long a path must be that nobody is to guess.
const shortestPath = 16

// WebhookSecret returns the secret that calls of the webhook are signed with, read anew each time; empty if none is
// configured. The error is a [Problem] that names the way out, and never the secret.
func (c *Config) WebhookSecret() (Secret, error) {
	path := c.Webhook.SecretFile
	if path == "" {
		return Secret{}, nil
	}
	return secretFile("webhook.secret_file", path, "write the secret into it that the service shows for its webhook")
}

// secretFile returns what the file at path holds, without the space around it. key is the key that names it.
func secretFile(key, path, hint string) (Secret, error) {
	text, err := readToken(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Secret{}, Problem{Key: key, err: err, Text: path + " does not exist", Hint: hint}
	case err != nil:
		return Secret{}, Problem{Key: key, err: err, Text: path + " cannot be read: " + reason(err),
			Hint: "make it a file that scandrop's user may read"}
	}
	if text = strings.TrimSpace(text); text == "" {
		return Secret{}, Problem{Key: key, Text: path + " is empty", Hint: hint}
	}
	return NewSecret(text), nil
}

// webhook checks and completes the webhook. Without a secret and a path, the path is left to the daemon, which makes one.
func (k checker) webhook(w *Webhook) {
	k.address("webhook.listen", w.Listen)
	if w.Listen != "" && w.Listen == k.c.Status.Listen && !strings.HasSuffix(w.Listen, ":0") {
		k.mistake("webhook.listen", "is the address of status.listen too", "choose another port")
	}
	if w.Path != "" && (!strings.HasPrefix(w.Path, "/") || strings.ContainsAny(w.Path, "?# ")) {
		k.mistake("webhook.path", "must begin with /, and hold no space, ? or #", "write it like /webhook")
	}
	k.file("webhook.secret_file", &w.SecretFile)
	switch {
	case w.Listen == "":
	case w.SecretFile != "" && w.Path == "":
		w.Path = signedPath
	case w.SecretFile == "" && w.Path != "" && len(w.Path) < shortestPath:
		k.warn("webhook.path", "is easily guessed, and without webhook.secret_file whoever knows it can have results asked for", "remove the key: a long random path is made and shown; or set secret_file")
	}
}
