package control

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The files of the state folder by which a client finds the daemon.
const (
	// TokenFile holds the token, one line. Who may read it may do with the queue
	// what the page can do. It is made once and kept.
	TokenFile = "status.token"
	// AddressFile says where the running daemon listens. It is removed when the
	// daemon ends; one that is left over from a crash leads nowhere.
	AddressFile = "status.address"
)

// An Address is where a daemon listens.
type Address struct {
	URL string `json:"url"` // such as http://127.0.0.1:8377
	PID int    `json:"pid"`
}

// ErrNoDaemon means that no daemon answers.
var ErrNoDaemon = errors.New("no daemon answers")

// A TokenError means that a daemon may run and that this user cannot read its
// token.
type TokenError struct {
	Path string
	Err  error
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("the daemon's token cannot be read: %v", e.Err)
}

// Unwrap returns the cause.
func (e *TokenError) Unwrap() error { return e.Err }

// Hint is the way out.
func (e *TokenError) Hint() string {
	return "ask whoever runs scandrop on this machine: only the user that it runs as, and the administrator, may read " + e.Path
}

// Find reads where the daemon of a state folder listens, and its token. The
// error wraps [ErrNoDaemon] if none has left its address, or is a [TokenError].
func Find(state string) (Address, string, error) {
	var a Address
	text, err := os.ReadFile(filepath.Join(state, AddressFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, "", ErrNoDaemon
	case errors.Is(err, fs.ErrPermission):
		return a, "", &TokenError{filepath.Join(state, TokenFile), err}
	case err != nil:
		return a, "", err
	}
	if err := json.Unmarshal(text, &a); err != nil || a.URL == "" {
		return a, "", fmt.Errorf("%w: %s is damaged", ErrNoDaemon, AddressFile)
	}
	path := filepath.Join(state, TokenFile)
	token, err := os.ReadFile(path)
	if err != nil {
		return a, "", &TokenError{path, err}
	}
	return a, strings.TrimSpace(string(token)), nil
}

// The headers by which a daemon shows that it is the one whose token lies in the
// state folder, before it is told that token: another program may have taken its
// port since.
const (
	NonceHeader = "Scandrop-Nonce"
	ProofHeader = "Scandrop-Proof"
)

// Proof is what a daemon that listens at the address answers to a nonce.
func Proof(token, host, nonce string) string {
	h := hmac.New(sha256.New, []byte(token))
	fmt.Fprintf(h, "scandrop\x00%s\x00%s", host, nonce)
	return hex.EncodeToString(h.Sum(nil))
}
