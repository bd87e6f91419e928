package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
)

// formats are the results of each action that the service knows, the default first.
var formats = map[string][]string{
	"transcribe": {"txt", "docx", "json"},
	"tables":     {"xlsx", "json"},
	"extractor":  {"xlsx", "csv", "json"},
}

// What the service accepts for delete_after.
const (
	minDeleteAfter     = 300 * time.Second
	maxDeleteAfter     = 1209600 * time.Second
	defaultDeleteAfter = 168 * time.Hour
)

// check completes c, which was read without regard to what its values mean, and reports to r what they may not be.
func check(c *Config, env Environment, r *report) {
	k := checker{r, c, env}
	k.api(&c.API)
	k.state()
	k.between("workers", c.Workers, 1, 256)
	k.folders()
	k.limit("limits.pages_per_day", c.Limits.PagesPerDay)
	k.limit("limits.pages_per_month", c.Limits.PagesPerMonth)
	k.listeners()
	k.notices()
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "text", "json")
	k.file("log.file", &c.Log.File)
	c.token = tokenSource(c, env)
}

// checker judges one configuration.
type checker struct {
	*report
	c   *Config
	env Environment
}

func (k checker) api(a *API) {
	a.URL = strings.TrimRight(a.URL, "/")
	k.apiURL("api.url", a.URL)
	if !(a.Rate > 0) || math.IsInf(a.Rate, 0) {
		k.mistake("api.rate", "must be above 0", "2 requests a second is the default")
	}
	if a.Burst < 1 {
		k.mistake("api.burst", "must be 1 at least", "4 is the default")
	}
	k.positive("api.timeout", a.Timeout)
	k.positive("api.doubt", a.Doubt)
	k.proxy("api.proxy", a.Proxy.Reveal())
	k.file("api.ca_file", &a.CAFile)

	// What looks like a token where a path should be is neither shown nor looked for.
	if tokenLike(a.TokenFile) {
		k.mistake("api.token_file", "must be the path of a file, not the token", "write the token into a file and the path here, with ./ before a bare name")
	} else {
		k.file("api.token_file", &a.TokenFile)
	}
	if k.has("api.token") && k.has("api.token_file") {
		k.mistake("api.token", "is set, and api.token_file too", "keep one of them; token_file is the safer one")
	} else if k.has("api.token") {
		if text := tokenTrouble(strings.TrimSpace(a.Token.Reveal())); text != "" {
			k.mistake("api.token", text, tokenHint)
		}
	}
}

// apiURL checks the base address. It never shows the value, which may hold a password by mistake.
func (k checker) apiURL(key, value string) {
	const example = "write it like https://www.handwritingocr.com/api/v2"
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || !goodPort(u.Port()):
		k.mistake(key, "must be an http or https address", example)
	case u.User != nil:
		k.mistake(key, "must not hold a user or a password", "the token is all that the service needs")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		k.mistake(key, "must end with its path", example)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		k.mistake(key, "is plain http to another machine, and would send the token readable for everyone on the way",
			"write https; plain http is for this machine only (127.0.0.1, localhost)")
	}
}

// proxy checks a proxy's address. It never shows the value, which may hold a password.
func (k checker) proxy(key, value string) {
	if value == "" {
		return
	}
	u, err := url.Parse(value)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) ||
		u.Hostname() == "" || !goodPort(u.Port()) {
		k.mistake(key, "must be an http, https or socks5 address", "write it like http://proxy.example.org:3128")
	}
}

func (k checker) state() {
	switch {
	case !k.has("state"):
		k.c.State = k.env.state(k.c.Path)
		if k.c.State == "" {
			k.mistake("state", "there is no place for it, since the home folder is not known", "set state to a folder")
		}
	case k.c.State == "":
		k.mistake("state", "is empty", "name a folder, or remove the key")
	default:
		k.file("state", &k.c.State)
	}
}

func (k checker) folders() {
	if len(k.c.Folders) == 0 {
		k.mistake("folders", "there is no hot folder", least)
	}
	for i := range k.c.Folders {
		k.folder(fmt.Sprintf("folders[%d]", i), &k.c.Folders[i])
	}
	k.places()
}

func (k checker) folder(key string, f *Folder) {
	at := func(name string) string { return key + "." + name }
	if f.Path == "" {
		k.mistake(at("path"), "is missing", "name the hot folder: path: FOLDER")
	}
	k.file(at("path"), &f.Path)
	if k.oneOf(at("action"), f.Action, "transcribe", "tables", "extractor") {
		k.formats(at("formats"), f)
		k.extractor(at("extractor_id"), f)
	}
	k.id(at("extractor_id"), f.ExtractorID)
	k.id(at("prompt_id"), f.PromptID)
	k.oneOf(at("existing"), f.Existing, "process", "ignore")
	k.oneOf(at("watch"), f.Watch, "auto", "events", "poll")
	k.oneOf(at("incomplete"), f.Incomplete, "reject", "upload")
	k.oneOf(at("blank"), f.Blank, "upload", "skip")
	if len(f.Include) == 0 {
		k.mistake(at("include"), "is empty: no scan would be taken", `remove the key, or write ["**"]`)
	}
	k.globs(at("include"), f.Include)
	k.globs(at("exclude"), f.Exclude)
	if f.Quiet != nil && *f.Quiet < 0 {
		k.mistake(at("quiet"), "must not be negative", "5s is the default")
	}
	k.positive(at("rescan"), f.Rescan)
	k.deleteAfter(at("delete_after"), f)
	k.original(at("originals.done"), &f.Originals.Done)
	k.original(at("originals.failed"), &f.Originals.Failed)
	k.limit(at("limits.pages_per_scan"), f.Limits.PagesPerScan)
	k.limit(at("limits.pages_per_day"), f.Limits.PagesPerDay)
	k.limit(at("limits.pages_per_month"), f.Limits.PagesPerMonth)
}

func (k checker) formats(key string, f *Folder) {
	known := formats[f.Action]
	if len(f.Formats) == 0 {
		f.Formats = known[:1:1]
		return
	}
	for i, format := range f.Formats {
		item := fmt.Sprintf("%s[%d]", key, i)
		switch {
		case k.unread[item]:
		case !slices.Contains(known, format):
			k.mistakeAt(k.line(item), key, fmt.Sprintf("%q is not a format of action %s (%s)", format, f.Action, strings.Join(known, ", ")),
				didYouMean(format, known))
		case slices.Contains(f.Formats[:i], format):
			k.mistakeAt(k.line(item), key, fmt.Sprintf("%q is there twice", format), "keep one of them")
		}
	}
}

func (k checker) extractor(key string, f *Folder) {
	switch {
	case f.Action == "extractor" && f.ExtractorID == "":
		k.mistake(key, "is missing: the action extractor needs one", "copy the id from the page of the extractor at the service")
	case f.Action != "extractor" && f.ExtractorID != "":
		k.mistake(key, "has no meaning for action "+f.Action, "write action: extractor, or remove the id")
	}
}

// id checks a name that the service gave: it is opaque, but no name has spaces in it.
func (k checker) id(key, id string) {
	if strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		k.mistake(key, "must not hold spaces or line breaks", "copy the id alone")
	}
}

func (k checker) globs(key string, globs []string) {
	for i, glob := range globs {
		item := fmt.Sprintf("%s[%d]", key, i)
		if k.unread[item] {
			continue
		}
		bad := func(text, hint string) { k.mistakeAt(k.line(item), key, fmt.Sprintf("%q ", glob)+text, hint) }
		switch {
		case glob == "":
			bad("matches nothing", "remove it")
		case escapesLetter(glob):
			bad(`has a \ between folders`, `write /, on Windows too`)
		case !doublestar.ValidatePattern(glob):
			bad("is not a glob", `close its brackets and braces; write \[ for the sign itself`)
		case strings.HasPrefix(glob, "/") || strings.HasPrefix(glob, "./") || strings.HasPrefix(glob, "../") || filepath.VolumeName(glob) != "":
			bad("is not relative to the hot folder", `write it like "*.pdf" or "**/drafts/**"`)
		}
	}
}

// escapesLetter tells whether a \ in glob stands before, or after, what needs none: it was meant as a separator.
func escapesLetter(glob string) bool {
	for i := 0; i < len(glob); i++ {
		if glob[i] != '\\' {
			continue
		}
		if i++; i < len(glob) && !strings.ContainsRune(`*?[]{}\,!^-`, rune(glob[i])) {
			return true
		}
	}
	return false
}

// deleteAfter checks and completes f.DeleteAfter, whose 0 means that the file says nothing.
func (k checker) deleteAfter(key string, f *Folder) {
	switch {
	case k.has(key):
		if f.DeleteAfter < minDeleteAfter || f.DeleteAfter > maxDeleteAfter {
			k.mistake(key, fmt.Sprintf("%v is not between 5m and 336h, which is what the service takes", f.DeleteAfter), "168h is the default")
		}
	case f.DeleteRemote:
		f.DeleteAfter = defaultDeleteAfter
	}
}

func (k checker) original(key string, place *string) {
	switch *place {
	case Stay:
	case "":
		k.mistake(key, "is empty", "write stay, or the folder to move to")
	default:
		k.file(key, place)
	}
}

// places checks how the folders of the configuration lie to each other. It goes by names alone.
func (k checker) places() {
	for i, f := range k.c.Folders {
		key := fmt.Sprintf("folders[%d].path", i)
		if f.Path == "" || k.unread[key] {
			continue
		}
		for j, other := range k.c.Folders[:i] {
			if samePath(f.Path, other.Path) {
				k.mistake(key, fmt.Sprintf("is the folder of folders[%d] too", j), "keep one of them, with all its formats")
				break
			}
		}
		if within(f.Path, k.c.State) {
			k.mistake(key, "lies in the state folder "+k.c.State+", which is never watched", "choose another folder for one of them")
		}
	}
	for i, f := range k.c.Folders {
		k.place(fmt.Sprintf("folders[%d].originals.done", i), f.Originals.Done)
		k.place(fmt.Sprintf("folders[%d].originals.failed", i), f.Originals.Failed)
	}
}

// place checks a folder that originals are moved to: it must not be watched, nor keep a hot folder from being watched.
func (k checker) place(key, path string) {
	if !filepath.IsAbs(path) {
		return
	}
	for i, f := range k.c.Folders {
		hot := fmt.Sprintf("folders[%d]", i)
		switch {
		case f.Path == "":
		case samePath(path, f.Path):
			k.mistake(key, "is the hot folder of "+hot, "write stay, or choose a folder outside it")
		case within(f.Path, path):
			k.mistake(key, "holds the hot folder of "+hot+", and is never watched", "choose a folder outside it")
		default:
			continue
		}
		return
	}
}

func (k checker) listeners() {
	s := &k.c.Status
	k.address("status.listen", s.Listen)
	k.file("status.tls.cert_file", &s.TLS.CertFile)
	k.file("status.tls.key_file", &s.TLS.KeyFile)
	if (s.TLS.CertFile == "") != (s.TLS.KeyFile == "") {
		k.mistake("status.tls", "needs both cert_file and key_file", "set both, or none")
	}
	k.file("status.password_file", &s.PasswordFile)
	switch {
	case s.Loopback():
	case s.TLS.CertFile == "":
		k.mistake("status.listen", fmt.Sprintf("%q can be reached from other machines, and without status.tls anybody on the way reads along", s.Listen),
			"set status.tls.cert_file, status.tls.key_file and status.password_file, or listen on 127.0.0.1 only")
	case s.PasswordFile == "":
		k.mistake("status.listen", fmt.Sprintf("%q can be reached from other machines, and no password guards it", s.Listen),
			"set status.password_file, or listen on 127.0.0.1 only")
	}
	k.webhook(&k.c.Webhook)
}

// address checks an address to listen on.
func (k checker) address(key, addr string) {
	if addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" || !goodPort(port) || strings.ContainsAny(host, "/ ") {
		k.mistake(key, fmt.Sprintf("%q is not an address with a port", addr), `write it like 127.0.0.1:8377, or "" for none`)
	}
}

// file makes the path at key absolute. Empty stays empty.
func (k checker) file(key string, path *string) {
	p := *path
	if p == "" {
		return
	}
	bad := func(text, hint string) { k.mistake(key, fmt.Sprintf("%q %s", p, text), hint) }
	text, hint := strayPath(p)
	rest, tilde := strings.CutPrefix(filepath.ToSlash(p), "~/")
	switch {
	case text != "":
		bad(text, hint)
	case strings.ContainsFunc(p, unicode.IsControl):
		bad("holds a character that no path has", `in double quotes \ has a meaning of its own: write 'C:\Scans' or C:/Scans`)
	case p[0] == '$' || p[0] == '%':
		bad("begins with a variable, and none is expanded", "write the path out, or ./ before the name")
	case tilde || p == "~":
		if p == "~" {
			rest = ""
		}
		if k.env.Machine || samePath(k.c.Path, machineConfig(k.env)) || home(k.env) == "" {
			bad("depends on who runs scandrop", "write the path out")
			return
		}
		*path = filepath.Join(home(k.env), rest)
	case p[0] == '~':
		bad("begins with somebody's home folder", "write the path out, or ./ before the name")
	case filepath.IsAbs(p):
		*path = filepath.Clean(p)
	default:
		*path = filepath.Join(filepath.Dir(k.c.Path), p)
	}
}

// oneOf tells whether value is one of words, and reports it otherwise.
func (k checker) oneOf(key, value string, words ...string) bool {
	if slices.Contains(words, value) {
		return true
	}
	k.mistake(key, fmt.Sprintf("%q is none of %s", value, strings.Join(words, ", ")), didYouMean(value, words))
	return false
}

func (k checker) between(key string, n, low, high int) {
	if n < low || n > high {
		k.mistake(key, fmt.Sprintf("%d is not between %d and %d", n, low, high), "")
	}
}

func (k checker) positive(key string, t time.Duration) {
	if t <= 0 {
		k.mistake(key, "must be above 0", "write it like 90s or 5m")
	}
}

func (k checker) limit(key string, pages int) {
	if pages < 0 {
		k.mistake(key, "must not be negative", "0 means no limit")
	}
}

// samePath tells whether two absolute paths name the same place.
func samePath(a, b string) bool { return pathKey(filepath.Clean(a)) == pathKey(filepath.Clean(b)) }

// within tells whether path is dir or lies below it. Both are absolute or empty.
func within(path, dir string) bool {
	if path == "" || dir == "" {
		return false
	}
	rel, err := filepath.Rel(pathKey(dir), pathKey(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// loopback tells whether host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// goodPort tells whether port is "" or a port's number.
func goodPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}
