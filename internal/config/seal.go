package config

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// sealed begins the text of a token's file that is encrypted for the machine, in
// base64. A token is not taken for one that begins so.
const sealed = "dpapi:"

// errNoSeal means that the system does not encrypt files for a machine.
var errNoSeal = errors.New("only the Windows machine that encrypted it can read it")

// SealToken encrypts the file named token beside the configuration for this machine
// where the system can, if that is where the token comes from. It returns whether
// the file was changed. Who may read it is not changed: on Windows it then inherits
// that from its folder.
func (c *Config) SealToken() (path string, changed bool, err error) {
	i := len(c.token.files) - 1
	if i < 0 || c.token.files[i].key != "token" {
		return "", false, nil
	}
	path = c.token.files[i].path
	text, err := readToken(path)
	if err != nil || strings.HasPrefix(text, sealed) {
		return path, false, err
	}
	data, err := seal([]byte(strings.TrimSpace(text)))
	if errors.Is(err, errNoSeal) {
		return path, false, nil
	}
	if err != nil {
		return path, false, &os.PathError{Op: "encrypt", Path: path, Err: err}
	}
	// Beside it and renamed: a crash must not cost the token.
	f, err := os.CreateTemp(filepath.Dir(path), ".token-*")
	if err != nil {
		return path, false, err
	}
	_, err = f.WriteString(sealed + base64.StdEncoding.EncodeToString(data) + "\r\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return path, false, errors.Join(err, os.Remove(f.Name()))
	}
	return path, true, nil
}

// opened returns the text of a token's file, decrypted if it is encrypted.
func opened(text string) (string, error) {
	code, is := strings.CutPrefix(strings.TrimSpace(text), sealed)
	if !is {
		return text, nil
	}
	data, err := base64.StdEncoding.DecodeString(code)
	if err == nil {
		data, err = unseal(data)
	}
	return string(data), err
}
