package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxToken bounds a token, in bytes.
const maxToken = 4096

// TokenSource is where the token comes from. It may be used by any number of goroutines.
type TokenSource struct {
	key    string      // what a person would have to mend: "SCANDROP_TOKEN", "api.token", …
	secret Secret      // the token itself, or
	files  []tokenFile // where it may lie, the first that exists wins
}

// credential is the key of the file that systemd hands over, and guards.
const credential = "systemd credential"

// tokenFile is a file that may hold the token.
type tokenFile struct{ key, path string }

// CheckToken tells whether there is a token that could be sent. The error is a [Problem].
func (c *Config) CheckToken() error {
	_, err := c.token.Token()
	return err
}

// TokenSource returns where the token comes from.
func (c *Config) TokenSource() TokenSource { return c.token }

// tokenSource settles where the token of c comes from. The paths in c are absolute.
func tokenSource(c *Config, env Environment) TokenSource {
	if t := env.get("SCANDROP_TOKEN"); strings.TrimSpace(t) != "" {
		return TokenSource{key: "SCANDROP_TOKEN", secret: NewSecret(t)}
	}
	if !c.API.Token.IsZero() {
		return TokenSource{key: "api.token", secret: c.API.Token}
	}
	if c.API.TokenFile != "" {
		return TokenSource{files: []tokenFile{{"api.token_file", c.API.TokenFile}}}
	}
	var s TokenSource
	if dir := env.get("CREDENTIALS_DIRECTORY"); dir != "" {
		s.files = append(s.files, tokenFile{credential, filepath.Join(dir, "token")})
	}
	s.files = append(s.files, tokenFile{"token", filepath.Join(filepath.Dir(c.Path), "token")})
	return s
}

// Token returns the token. A file is read anew each time, so that a new token is used as soon as it is there. The error is
// a [Problem] that names the source and the way out, and never the token; a file's absence is an [fs.ErrNotExist].
func (s TokenSource) Token() (Secret, error) {
	if len(s.files) == 0 {
		return asToken(s.key, "", s.secret.Reveal())
	}
	for i, f := range s.files {
		text, err := readToken(f.path)
		switch {
		case err == nil:
			plain, err := opened(text)
			if err != nil {
				return Secret{}, Problem{Key: f.key, err: err,
					Text: "the token in " + f.path + " was encrypted on another machine, or is damaged: " + reason(err),
					Hint: "write the token itself into it; \"scandrop service install\" encrypts it again"}
			}
			return asToken(f.key, f.path, plain)
		case !errors.Is(err, fs.ErrNotExist):
			return Secret{}, Problem{Key: f.key, err: err,
				Text: "the token cannot be read from " + f.path + ": " + reason(err),
				Hint: "make it a file that scandrop's user may read"}
		case i == len(s.files)-1 && f.key == "api.token_file":
			return Secret{}, Problem{Key: f.key, err: err,
				Text: f.path + " does not exist",
				Hint: "write the token into it, or set the environment variable SCANDROP_TOKEN"}
		}
	}
	return Secret{}, Problem{Key: "api", err: fs.ErrNotExist,
		Text: "there is no token",
		Hint: "write it into " + s.files[len(s.files)-1].path + ", name another file with api.token_file, or set the environment variable SCANDROP_TOKEN"}
}

// errNotAFile means that a path is not that of an ordinary file: opening a pipe would wait for ever.
var errNotAFile = errors.New("not an ordinary file")

// readToken returns the text of the file at path.
func readToken(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errNotAFile
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// UTF-16, which Windows shells write, takes two bytes a letter; a bit more leaves room for spaces around it.
	data, err := io.ReadAll(io.LimitReader(f, 4*maxToken))
	if err != nil {
		return "", err
	}
	return string(toUTF8(data)), nil
}

// asToken returns text without the space around it as a token, if it can be one. The text is the value of key, or lies in
// the file at path.
func asToken(key, path, text string) (Secret, error) {
	text = strings.TrimSpace(text)
	trouble := tokenTrouble(text)
	if trouble == "" {
		return NewSecret(text), nil
	}
	if path != "" {
		trouble = path + ": " + trouble
	}
	return Secret{}, Problem{Key: key, Text: trouble, Hint: tokenHint}
}

const tokenHint = "give the token as the service shows it, and nothing else"

// tokenTrouble returns why token cannot be one, or "". Apart from what a header cannot carry, tokens are opaque.
func tokenTrouble(token string) string {
	switch {
	case token == "":
		return "the token is empty"
	case len(token) > maxToken:
		return fmt.Sprintf("the token is longer than %d bytes", maxToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "the token holds a space, a line break or another character that no token has"
	}
	return ""
}

// tokenLike tells whether what should be the path of a file looks like the token itself, which must not be shown.
func tokenLike(path string) bool {
	return strings.Contains(path, "|") || len(path) >= 32 && !strings.ContainsAny(path, `./\`)
}

// exposed warns of secrets of c that lie in files which others may read.
func exposed(c *Config) (warnings []Problem) {
	c.eachExposed(func(key, what, path string, mode fs.FileMode) {
		warnings = append(warnings, Problem{Key: key,
			Text: fmt.Sprintf("others may read the %s in %s (mode %#o)", what, path, mode),
			Hint: "chmod 600 " + path})
	})
	return warnings
}

// Exposed lists the files with a secret which others may read, as far as modes tell.
func (c *Config) Exposed() (paths []string) {
	c.eachExposed(func(_, _, path string, _ fs.FileMode) { paths = append(paths, path) })
	return paths
}

func (c *Config) eachExposed(f func(key, what, path string, mode fs.FileMode)) {
	try := func(key, what, path string) {
		// A missing file is reported where the secret is needed.
		if info, err := os.Stat(path); err == nil && othersMayRead(info) {
			f(key, what, path, info.Mode().Perm())
		}
	}
	if !c.API.Token.IsZero() {
		try("api.token", "token", c.Path)
	}
	for _, file := range c.token.files {
		if file.key != credential {
			try(file.key, "token", file.path)
		}
	}
	for i, n := range c.Notices {
		if key, path := n.secretPath(); path != "" {
			try(fmt.Sprintf("notices[%d].%s", i, key), "secret", path)
		}
	}
	if c.Webhook.SecretFile != "" {
		try("webhook.secret_file", "secret", c.Webhook.SecretFile)
	}
}
