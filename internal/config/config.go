// Package config reads scandrop's configuration file.
//
// The file is YAML and strict: an unknown key, a key given twice, a value of the wrong kind or out of its range are
// mistakes, and all of them are reported at once, each with its file, line and key; see [Errors]. A configuration that
// [Load] or [Parse] returns is complete and consistent: every default is filled in, and every path is absolute.
// Relative paths count from the folder of the file; a leading ~/ stands for the home folder in a user's own
// configuration, and no variable is ever expanded.
//
// What is not promised: that folders and files exist, that they may be used, or that there is a token. Those change
// while scandrop runs; whoever uses them finds out, and [Config.CheckToken] asks for the token alone.
//
// # Token
//
// The token comes from the first of these that is set; api.token and api.token_file together are a mistake:
//
//  1. the environment variable SCANDROP_TOKEN,
//  2. api.token or api.token_file,
//  3. the systemd credential "token" ($CREDENTIALS_DIRECTORY/token),
//  4. the file "token" in the folder of the configuration file.
//
// # State
//
// The state folder is the key state, else $STATE_DIRECTORY (systemd), else the platform's own place: that of the machine
// for the machine's configuration file and for a process that runs as root or elevated, that of the user otherwise.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// least is the smallest configuration that works, on one line, for hints.
const least = "the least that a configuration needs is: folders: [{path: FOLDER}]"

// maxSize bounds a configuration file, in bytes. It only guards against naming a scan by mistake.
const maxSize = 1 << 20

// Config is a whole configuration. It is not changed after it was read, and may be used by any number of goroutines.
type Config struct {
	// API says how the service is reached.
	API API `yaml:"api"`

	// State is the folder that holds the queue and the installation's keys.
	State string `yaml:"state"`

	// Workers is how many steps of each kind, uploads, collections and deletions, are taken at the same time, 1 to 256.
	// Defaults to 4.
	Workers int `yaml:"workers"`

	// Folders are the hot folders: one at least, no path twice.
	Folders []Folder `yaml:"folders"`

	// Limits bounds what all folders together may spend.
	Limits Limits `yaml:"limits"`

	// Status is the page for people, JSON for programs, metrics and health.
	Status Status `yaml:"status"`

	// Webhook is the listener that the service calls.
	Webhook Webhook `yaml:"webhook"`

	// Notices are the ways in which people are told of trouble.
	Notices []Notice `yaml:"notices"`

	// Log says what is logged, how and where.
	Log Log `yaml:"log"`

	// Path is the file that the configuration was read from, absolute.
	Path string `yaml:"-"`

	// Warnings are harmless oddities: worth a look, no reason to stop.
	Warnings []Problem `yaml:"-"`

	token TokenSource
}

// API says how the service is reached.
type API struct {
	// URL is the base address, path included, without a slash at its end. Plain http is accepted for this machine only.
	URL string `yaml:"url"`

	// TokenFile is the file that holds the token, "" if the configuration does not name one. See [Config.TokenSource].
	TokenFile string `yaml:"token_file"`

	// Token is the token itself, empty if it is not in the configuration. See [Config.TokenSource].
	Token Secret `yaml:"token"`

	// Rate is the upper bound of requests a second, all workers together; above 0. Defaults to 2.
	Rate float64 `yaml:"rate"`

	// Burst is how many requests may go out at once after a pause, at least 1. Defaults to 4.
	Burst int `yaml:"burst"`

	// Timeout bounds one request. Defaults to 2 minutes.
	Timeout time.Duration `yaml:"timeout"`

	// Doubt is how long an unanswered upload is looked for before it is sent again. Defaults to 5 minutes.
	Doubt time.Duration `yaml:"doubt"`

	// Proxy is the URL of an HTTP or SOCKS5 proxy; empty stands for the environment's. It may hold a password.
	Proxy Secret `yaml:"proxy"`

	// CAFile is a PEM file of further certificate authorities, "" for none.
	CAFile string `yaml:"ca_file"`
}

// Folder is a hot folder and what becomes of the scans in it.
type Folder struct {
	// Path is the folder. It is the only key that a folder must have.
	Path string `yaml:"path"`

	// Action is what the service does with a scan: "transcribe" (the default), "tables" or "extractor".
	Action string `yaml:"action"`

	// Formats are the results that are collected, one at least, none twice: "txt", "docx", "json" for transcribe
	// (default txt), "xlsx", "json" for tables (default xlsx), "xlsx", "csv", "json" for extractor (default xlsx).
	Formats []string `yaml:"formats"`

	// ExtractorID names the extractor: set with the action extractor, empty with any other.
	ExtractorID string `yaml:"extractor_id"`

	// PromptID names a prompt of the account, "" for none.
	PromptID string `yaml:"prompt_id"`

	// Recursive says that folders below this one belong to it. Defaults to true.
	Recursive bool `yaml:"recursive"`

	// Existing says what becomes of scans that lie in the folder when it is seen for the first time: "process" (the
	// default) or "ignore".
	Existing string `yaml:"existing"`

	// Include and Exclude are globs with **, relative to Path, with / between folders. A scan is taken if one of Include
	// and none of Exclude matches. They default to everything and nothing.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`

	// Watch is how new scans are noticed: "auto" (the default), "events" or "poll".
	Watch string `yaml:"watch"`

	// Quiet is how long a scan must stay unchanged before it is taken; 0 is allowed. If set, it holds for every type of
	// file; nil leaves it to the watcher, which waits 5 seconds, or longer where a type asks for it.
	Quiet *time.Duration `yaml:"quiet"`

	// Rescan is the time between two looks at the whole folder. Defaults to a minute.
	Rescan time.Duration `yaml:"rescan"`

	// Incomplete says what becomes of a scan that ends too early: "reject" (the default) or "upload".
	Incomplete string `yaml:"incomplete"`

	// Blank says what becomes of a scan without writing: "upload" (the default) or "skip".
	Blank string `yaml:"blank"`

	// Spool copies scans into the state folder before they are uploaded.
	Spool bool `yaml:"spool"`

	// Priority orders the folders: scans of a higher one are uploaded first. Defaults to 0.
	Priority int `yaml:"priority"`

	// DeleteRemote deletes the service's copy once the results are written. Defaults to true.
	DeleteRemote bool `yaml:"delete_remote"`

	// DeleteAfter is when the service deletes its copy by itself, 5 minutes to 14 days. 0 means that no such time is sent,
	// which is so only where DeleteRemote is off and none was configured. Defaults to 168 hours.
	DeleteAfter time.Duration `yaml:"delete_after"`

	// Originals says what becomes of the scans themselves.
	Originals Originals `yaml:"originals"`

	// FailureNotes writes a note next to a scan that failed.
	FailureNotes bool `yaml:"failure_notes"`

	// Limits bounds what this folder may spend.
	Limits FolderLimits `yaml:"limits"`
}

// Stay is the value of [Originals] that leaves a scan where it is.
const Stay = "stay"

// Originals says where a scan goes in the end: [Stay], or the absolute path of a folder that is not watched.
type Originals struct {
	// Done is for scans whose results are written.
	Done string `yaml:"done"`

	// Failed is for scans that failed or were rejected.
	Failed string `yaml:"failed"`
}

// Limits bounds the pages that are spent. 0 means no bound.
type Limits struct {
	PagesPerDay   int `yaml:"pages_per_day"`
	PagesPerMonth int `yaml:"pages_per_month"`
}

// FolderLimits bounds the pages that are spent on one folder. 0 means no bound.
type FolderLimits struct {
	PagesPerScan  int `yaml:"pages_per_scan"`
	PagesPerDay   int `yaml:"pages_per_day"`
	PagesPerMonth int `yaml:"pages_per_month"`
}

// Status is the listener for people and programs of this machine.
type Status struct {
	// Listen is an address with a port, or "" for none. Defaults to 127.0.0.1:8377.
	Listen string `yaml:"listen"`

	// PasswordFile is the file that holds the password which opens the page, or "". Without it only who can read the token in
	// the state folder gets in.
	PasswordFile string `yaml:"password_file"`

	// TLS turns https on.
	TLS TLS `yaml:"tls"`
}

// Loopback tells whether only this machine can reach the page.
func (s Status) Loopback() bool {
	host, _, err := net.SplitHostPort(s.Listen)
	return err != nil || loopback(host)
}

// shortestPassword is that of a password that strangers may try, in bytes.
const shortestPassword = 12

// Password reads the password of the page; empty if none is configured. The error is a [Problem].
func (s Status) Password() (Secret, error) {
	if s.PasswordFile == "" {
		return Secret{}, nil
	}
	const key = "status.password_file"
	text, err := readToken(s.PasswordFile)
	if err != nil {
		return Secret{}, Problem{Key: key, err: err, Text: "the password cannot be read from " + s.PasswordFile + ": " + reason(err),
			Hint: "make it a file that scandrop's user, and nobody else, may read"}
	}
	text = strings.TrimSpace(text)
	if len(text) < shortestPassword {
		return Secret{}, Problem{Key: key, Text: fmt.Sprintf("the password in %s is shorter than %d characters", s.PasswordFile, shortestPassword),
			Hint: "choose a longer one: other machines may try"}
	}
	return NewSecret(text), nil
}

// TLS names a certificate and its key, both PEM files, or neither.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Webhook is the listener that the service calls. Nothing else is served on it.
type Webhook struct {
	// Listen is an address with a port, or "", the default, for none.
	Listen string `yaml:"listen"`

	// Path is the path of the hook's URL, beginning with a slash. With a secret it defaults to /webhook; without one "" stands
	// for a long random path, which is made and kept in the state folder.
	Path string `yaml:"path"`

	// SecretFile is the file that holds the secret which calls are signed with, or "". See [Config.WebhookSecret].
	SecretFile string `yaml:"secret_file"`
}

// Log says what is logged, how and where.
type Log struct {
	// Level is the least level that is logged: "debug", "info" (the default), "warn" or "error".
	Level string `yaml:"level"`

	// Format is "text" (the default) or "json".
	Format string `yaml:"format"`

	// File is the file that is appended to, "" for standard error or the system's log.
	File string `yaml:"file"`
}

// defaults is the configuration of which a file says only what is different.
func defaults() Config {
	return Config{
		API: API{
			URL:     "https://www.handwritingocr.com/api/v2",
			Rate:    2,
			Burst:   4,
			Timeout: 2 * time.Minute,
			Doubt:   5 * time.Minute,
		},
		Workers: 4,
		Status:  Status{Listen: "127.0.0.1:8377"},
		Log:     Log{Level: "info", Format: "text"},
	}
}

// preset makes f the folder of which an item of the list says only what is different. What depends on other keys is
// settled by the checks.
func (f *Folder) preset() {
	*f = Folder{
		Action:       "transcribe",
		Recursive:    true,
		Existing:     "process",
		Include:      []string{"**"},
		Watch:        "auto",
		Rescan:       time.Minute,
		Incomplete:   "reject",
		Blank:        "upload",
		DeleteRemote: true,
		Originals:    Originals{Done: Stay, Failed: Stay},
	}
}

// Load reads the configuration file at path and completes it from env. A file that cannot be read and mistakes in it are
// [Errors]. The warnings of the result include files with secrets that others may read.
func Load(path string, env Environment) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, Errors{unreadableFile(path, err)}
	}
	c, err := Parse(path, data, env)
	if err != nil {
		return nil, err
	}
	c.Warnings = append(c.Warnings, exposed(c)...)
	return c, nil
}

// Parse is [Load] for a file that has been read: name is its path, for messages and as the place that relative paths
// count from. It reads nothing from disk. Mistakes are [Errors].
func Parse(name string, data []byte, env Environment) (*Config, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, Errors{{File: name, Text: "its folder is not known", Hint: "give the whole path", err: err}}
	}
	c := defaults()
	c.Path = path
	r := newReport(name)
	if decode(data, reflect.ValueOf(&c).Elem(), false, r) {
		check(&c, env, r)
	}
	if len(r.mistakes) > 0 {
		return nil, r.mistakes.sorted()
	}
	c.Warnings = r.warnings.sorted()
	return &c, nil
}

// read returns what the file at path holds.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		return nil, errTooBig
	}
	return data, err
}

// errTooBig means that a file is too big to be a configuration.
var errTooBig = fmt.Errorf("it is over %d bytes, too big for a configuration", maxSize)

// unreadableFile says why there is no configuration at path.
func unreadableFile(path string, err error) Problem {
	p := Problem{File: path, err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Text, p.Hint = "there is no such file", `name another one with --config, or have "scandrop init" write it; `+least
	case errors.Is(err, fs.ErrPermission):
		p.Text, p.Hint = "it may not be read", "run scandrop as a user who may read it, or change its permissions"
	default:
		p.Text, p.Hint = "cannot be read: "+reason(err), "name another one with --config"
	}
	return p
}

// reason is err without the operation and the path, which the message names already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}
