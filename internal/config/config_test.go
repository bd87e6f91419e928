package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// environment is that of an ordinary user with the given variables, and with a home.
func environment(t testing.TB, vars ...string) Environment {
	t.Helper()
	home := filepath.Join(t.TempDir(), "home")
	m := map[string]string{"HOME": home, "USERPROFILE": home, "AppData": home, "LocalAppData": home}
	for i := 0; i < len(vars); i += 2 {
		m[vars[i]] = vars[i+1]
	}
	return Environment{Getenv: func(name string) string { return m[name] }}
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parsed(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("config.yaml", []byte(text), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLeast(t *testing.T) {
	dir := t.TempDir()
	env := environment(t)
	c, err := Load(write(t, filepath.Join(dir, "c.yaml"), "folders:\n- path: x\n  formats: [txt]\n"), env)
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Path = filepath.Join(dir, "c.yaml")
	want.State = env.state(want.Path)
	var f Folder
	f.preset()
	f.Path = filepath.Join(dir, "x")
	f.Formats = []string{"txt"}
	f.DeleteAfter = 168 * time.Hour
	want.Folders = []Folder{f}
	if diff := cmp.Diff(&want, c, cmp.AllowUnexported(TokenSource{}, tokenFile{}), cmp.FilterPath(
		func(p cmp.Path) bool { return p.Last().String() == ".token" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
}

func TestLeastHintWorks(t *testing.T) {
	_, text, _ := strings.Cut(least, "is: ")
	if c := parsed(t, text); filepath.Base(c.Folders[0].Path) != "FOLDER" {
		t.Errorf("the path is %s", c.Folders[0].Path)
	}
}

func TestValues(t *testing.T) {
	c := parsed(t, `
api: {url: "http://127.0.0.1:8080/api/v2/", rate: 0.5, burst: 8, timeout: 90s, doubt: 2s, proxy: "http://u:p@proxy:1"}
workers: 2
status: # nothing below it: the defaults
folders:
- path: ./a
  action: tables
  recursive: false
  quiet: 0s
  delete_remote: false
  originals: {done: a/done}
- path: a/b/../b
  action: extractor
  extractor_id: 0123456789
  formats: [csv, json]
  delete_after: 300s
  delete_remote: false
  include: ['*.pdf', "{a,b}/**/[!x]\\*"]
  priority: -3
log: {level: debug, format: json, file: scandrop.log}
`)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Folders[0], c.Folders[1]
	zero := time.Duration(0)
	for _, tc := range []struct {
		name      string
		got, want any
	}{
		{"url", c.API.URL, "http://127.0.0.1:8080/api/v2"},
		{"rate", c.API.Rate, 0.5},
		{"burst", c.API.Burst, 8},
		{"timeout", c.API.Timeout, 90 * time.Second},
		{"doubt", c.API.Doubt, 2 * time.Second},
		{"proxy", c.API.Proxy.Reveal(), "http://u:p@proxy:1"},
		{"workers", c.Workers, 2},
		{"status", c.Status, defaults().Status},
		{"path", a.Path, filepath.Join(here, "a")},
		{"formats of tables", a.Formats, []string{"xlsx"}},
		{"recursive", a.Recursive, false},
		{"quiet", a.Quiet, &zero},
		{"no delete_after", a.DeleteAfter, zero},
		{"done", a.Originals, Originals{filepath.Join(here, "a", "done"), Stay}},
		{"clean path", b.Path, filepath.Join(here, "a", "b")},
		{"id of digits", b.ExtractorID, "0123456789"},
		{"formats", b.Formats, []string{"csv", "json"}},
		{"quiet not set", b.Quiet, (*time.Duration)(nil)},
		{"delete_after", b.DeleteAfter, 5 * time.Minute},
		{"include", b.Include, []string{"*.pdf", `{a,b}/**/[!x]\*`}},
		{"recursive by default", b.Recursive, true},
		{"priority", b.Priority, -3},
		{"log", c.Log, Log{"debug", "json", filepath.Join(here, "scandrop.log")}},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// TestMistakes has one mistake a case, or as many as lines are wanted. Each wanted line is line, key, and a part of what
// the rest must say.
func TestMistakes(t *testing.T) {
	folder := func(keys string) string { return "folders:\n- path: a\n  " + keys + "\n" }
	const fine = "\nfolders: [{path: a}]\n"
	for _, tc := range []struct {
		text string
		want string
	}{
		// Not a configuration at all.
		{"", `config.yaml: is empty; the least`},
		{"# nothing\n", `config.yaml: is empty; the least`},
		{"---\n", `config.yaml: is empty; the least`},
		{"scans", `config.yaml:1: must be keys with values; the least`},
		{"workers: 2\n", `config.yaml:1: folders: there is no hot folder; the least`},
		{"workers: 2\nfolders: []\n", `config.yaml:2: folders: there is no hot folder`},
		{"foldrs: [{path: a}]\n", `config.yaml:1: foldrs: is not a key; did you mean "folders"?`},
		{"folders:\n", `config.yaml:1: folders: there is no hot folder`},
		{"workers: 2\nfolders: [{path: \"B\xfccher\"}]\n", `config.yaml:2: is not UTF-8 text; save`},

		// Not YAML.
		{"folders:\n- path: a\n\tformats: [txt]\n", `config.yaml:3: is not valid YAML here; indent with spaces`},
		{"folders:\n- path: \"C:\\Users\"\n  formats: [txt]\n", `config.yaml:2: is not valid YAML here; in double quotes`},
		{"folders:\n- path: a\n  include: [*.pdf]\n", `config.yaml:3: is not valid YAML here; put globs in quotes`},
		{"folders:\n- path: a\n  include: [**]\n", `config.yaml:3: is not valid YAML here; put globs in quotes`},
		{"folders:\n- path: a\n  formats: [txt\nworkers: 3\n", `config.yaml:3: is not valid YAML here; look at`},
		{"folders:\n- path: a\n   formats: [txt]\nworkers: 3\n", `config.yaml:3: is not valid YAML here; look at`},
		{"folders: [{path: a}]\n---\nworkers: 3\n", `config.yaml:2: is not valid YAML here; a configuration is one document`},
		{"workers: 3\nfolders: [{path: &a x}]", `config.yaml:2: folders[0].path: uses an anchor`},
		{"folders: [{path: !!str x}]", `config.yaml:1: folders[0].path: has a tag`},

		// Keys.
		{folder("formts: [txt]"), `config.yaml:3: folders[0].formts: is not a key; did you mean "formats"?`},
		{"token_file: x" + fine, `config.yaml:1: token_file: is not a key; the key is api.token_file`},
		{"pages_per_day: 1" + fine, `config.yaml:1: pages_per_day: is not a key; the key is folders[].limits.pages_per_day or limits.pages_per_day`},
		{"api: {colour: blue}" + fine, `config.yaml:1: api.colour: is not a key; the keys of api are url, token_file,`},
		{"frobnicate: 1" + fine, `config.yaml:1: frobnicate: is not a key; the keys at the top are api, state,`},
		{"<<: {}" + fine, `config.yaml:1: …: is not a key`},
		{"[a]: 1" + fine, `config.yaml:1: …: is not a key`},
		{"workers: 1\nworkers: 2" + fine, `config.yaml:2: workers: is given twice; keep one: the other is on line 1`},

		// Kinds.
		{"folders: a\n", `config.yaml:1: folders: must be a list; write each folder`},
		{"folders:\n- a\n", `config.yaml:2: folders[0]: must be keys with values; its keys are path,`},
		{"folders:\n- path: a\n-\n", `config.yaml:3: folders[1]: is empty; fill`},
		{folder("formats: docx"), `config.yaml:3: folders[0].formats: must be a list; write ["docx"]`},
		{folder("formats:\n  - txt\n  -\n"), `config.yaml:5: folders[0].formats[1]: is empty`},
		{folder("exclude: [~]"), `config.yaml:3: folders[0].exclude[0]: is empty`},
		{folder("prompt_id:"), `config.yaml:3: folders[0].prompt_id: has no value; write ""`},
		{folder("prompt_id: [a]"), `config.yaml:3: folders[0].prompt_id: must be one text`},
		{folder("recursive: 1"), `config.yaml:3: folders[0].recursive: must be true or false`},
		{folder("recursive: yes"), `config.yaml:3: folders[0].recursive: must be true or false`},
		{folder("priority: high"), `config.yaml:3: folders[0].priority: must be a whole number`},
		{"workers: 1.5" + fine, `config.yaml:1: workers: must be a whole number`},
		{"workers: 99999999999999999999" + fine, `config.yaml:1: workers: must be a whole number`},
		{"api: {rate: fast}" + fine, `config.yaml:1: api.rate: must be a number`},
		{folder("quiet: 5"), `config.yaml:3: folders[0].quiet: 5 of what?; name the unit: write 5s`},
		{folder("quiet: 5 sec"), `config.yaml:3: folders[0].quiet: "5 sec" is not a duration; write`},
		{folder("delete_after: 7d"), `config.yaml:3: folders[0].delete_after: "7d": days are not a unit; write 168h`},
		{folder("quiet:"), `config.yaml:3: folders[0].quiet: must be a duration`},
		{"api: {timeout: {}}" + fine, `config.yaml:1: api.timeout: must be a duration`},

		// api.
		{"api:\n  url: handwritingocr.com" + fine, `config.yaml:2: api.url: must be an http or https address`},
		{"api:\n  url: https://" + fine, `config.yaml:2: api.url: must be an http or https address`},
		{"api:\n  url: https://h:99999/" + fine, `config.yaml:2: api.url: must be an http or https address`},
		{"api:\n  url: ftp://h/" + fine, `config.yaml:2: api.url: must be an http or https address`},
		{"api:\n  url: https://u:p@h/" + fine, `config.yaml:2: api.url: must not hold a user or a password`},
		{"api:\n  url: https://h/?a=b" + fine, `config.yaml:2: api.url: must end with its path`},
		{"api:\n  url: http://192.168.0.2/api/v2" + fine, `config.yaml:2: api.url: is plain http to another machine`},
		{"api: {rate: 0}" + fine, `config.yaml:1: api.rate: must be above 0`},
		{"api: {rate: .nan}" + fine, `config.yaml:1: api.rate: must be above 0`},
		{"api: {rate: .inf}" + fine, `config.yaml:1: api.rate: must be above 0`},
		{"api: {burst: 0}" + fine, `config.yaml:1: api.burst: must be 1 at least`},
		{"api: {timeout: 0s}" + fine, `config.yaml:1: api.timeout: must be above 0`},
		{"api: {doubt: -1s}" + fine, `config.yaml:1: api.doubt: must be above 0`},
		{"api: {proxy: proxy:3128}" + fine, `config.yaml:1: api.proxy: must be an http, https or socks5 address`},
		{"api: {token: a, token_file: b}" + fine, `config.yaml:1: api.token: is set, and api.token_file too; keep one`},
		{"api: {token: ''}" + fine, `config.yaml:1: api.token: the token is empty`},
		{"api: {token: a b}" + fine, `config.yaml:1: api.token: the token holds a space`},

		// The rest of the top.
		{"workers: 0" + fine, `config.yaml:1: workers: 0 is not between 1 and 256`},
		{"state: ''" + fine, `config.yaml:1: state: is empty`},
		{"limits:\n  pages_per_day: -1" + fine, `config.yaml:2: limits.pages_per_day: must not be negative; 0 means no limit`},
		{"status: {listen: localhost}" + fine, `config.yaml:1: status.listen: "localhost" is not an address with a port`},
		{"status: {listen: 'localhost:http'}" + fine, `config.yaml:1: status.listen: "localhost:http" is not an address`},
		{"status: {tls: {cert_file: a}}" + fine, `config.yaml:1: status.tls: needs both`},
		{"status: {listen: '0.0.0.0:8377'}" + fine, `config.yaml:1: status.listen: "0.0.0.0:8377" can be reached from other machines, and without status.tls`},
		{"status: {listen: ':8377', tls: {cert_file: a, key_file: b}}" + fine, `config.yaml:1: status.listen: ":8377" can be reached from other machines, and no password`},
		{"webhook: {listen: '127.0.0.1:8377'}" + fine, `config.yaml:1: webhook.listen: is the address of status.listen too`},
		{"webhook: {path: '/a?b'}" + fine, `config.yaml:1: webhook.path: must begin with /, and hold no space, ? or #`},
		{"webhook: {path: hook}" + fine, `config.yaml:1: webhook.path: must begin with /`},
		{"notices: [~]" + fine, `config.yaml:1: notices[0]: is empty`},
		{"notices: [x]" + fine, `config.yaml:1: notices[0]: must be keys with values`},
		{"notices: [{every: 1h}]" + fine, `config.yaml:1: notices[0]: names 0 ways, not one`},
		{"notices: [{command: [a], chat_file: b}]" + fine, `config.yaml:1: notices[0]: names 2 ways, not one`},
		{"notices: [{command: []}]" + fine, `config.yaml:1: notices[0].command: is empty`},
		{"notices: [{chat_file: 'slack://token@channel'}]" + fine, `config.yaml:1: notices[0].chat_file: must be the path of a file, not the URL`},
		{"notices: [{webhook: {url: 'http://example.org/'}}]" + fine, `config.yaml:1: notices[0].webhook.url: is plain http to another machine`},
		{"notices: [{webhook: {url: x}}]" + fine, `config.yaml:1: notices[0].webhook.url: must be an http or https address`},
		{"notices: [{email: {from: a@b.c, server: 'b.c:587'}}]" + fine, `config.yaml:1: notices[0].email.to: is missing`},
		{"notices: [{email: {to: [a], from: a@b.c, server: 'b.c:587'}}]" + fine, `config.yaml:1: notices[0].email.to: "a" is not a mail address`},
		{"notices: [{email: {to: [a@b.c], from: a@b.c, server: b.c}}]" + fine, `config.yaml:1: notices[0].email.server: "b.c" is not a host with a port`},
		{"notices: [{email: {to: [a@b.c], from: a@b.c, server: 'b.c:587', user: a}}]" + fine, `config.yaml:1: notices[0].email: needs both user and password_file`},
		{"notices: [{command: [a], events: [faild]}]" + fine, `config.yaml:1: notices[0].events: "faild" is none of failed, held, free; did you mean "failed"?`},
		{"notices: [{command: [a], every: 1s}]" + fine, `config.yaml:1: notices[0].every: must be a minute at least`},
		{"notices: [{command: [a], digest: '7 am'}]" + fine, `config.yaml:1: notices[0].digest: "7 am" is not a time of day; write it like "07:30"`},
		{"log: {level: warning}" + fine, `config.yaml:1: log.level: "warning" is none of debug, info, warn, error`},
		{"log: {level: debg}" + fine, `config.yaml:1: log.level: "debg" is none of debug, info, warn, error; did you mean "debug"?`},
		{"log: {format: xml}" + fine, `config.yaml:1: log.format: "xml" is none of text, json`},

		// Folders.
		{"folders:\n- formats: [txt]\n", `config.yaml:2: folders[0].path: is missing; name`},
		{"folders:\n- path: ''\n", `config.yaml:2: folders[0].path: is missing; name`},
		{"folders:\n- path: a\n- path: ./b/../a/\n", `config.yaml:3: folders[1].path: is the folder of folders[0] too`},
		{"folders:\n- path: $HOME/scans\n", `config.yaml:2: folders[0].path: "$HOME/scans" begins with a variable`},
		{"folders:\n- path: ~anna/scans\n", `config.yaml:2: folders[0].path: "~anna/scans" begins with somebody's home`},
		{"folders:\n- path: \"a\\tb\"\n", `config.yaml:2: folders[0].path: "a\tb" holds a character`},
		{folder("action: transcripe"), `config.yaml:3: folders[0].action: "transcripe" is none of transcribe, tables, extractor; did you mean "transcribe"?`},
		{folder("formats: [text]"), `config.yaml:3: folders[0].formats: "text" is not a format of action transcribe (txt, docx, json); did you mean "txt"?`},
		{folder("formats: [xlsx]"), `config.yaml:3: folders[0].formats: "xlsx" is not a format of action transcribe`},
		{folder("formats:\n  - txt\n  - txt"), `config.yaml:5: folders[0].formats: "txt" is there twice`},
		{folder("action: tables\n  formats: [csv]"), `config.yaml:4: folders[0].formats: "csv" is not a format of action tables (xlsx, json)`},
		{folder("action: extractor"), `config.yaml:2: folders[0].extractor_id: is missing`},
		{folder("extractor_id: abc"), `config.yaml:3: folders[0].extractor_id: has no meaning for action transcribe`},
		{folder("prompt_id: a b"), `config.yaml:3: folders[0].prompt_id: must not hold spaces`},
		{folder("existing: skip"), `config.yaml:3: folders[0].existing: "skip" is none of process, ignore`},
		{folder("watch: pol"), `config.yaml:3: folders[0].watch: "pol" is none of auto, events, poll; did you mean "poll"?`},
		{folder("incomplete: keep"), `config.yaml:3: folders[0].incomplete: "keep" is none of reject, upload`},
		{folder("blank: keep"), `config.yaml:3: folders[0].blank: "keep" is none of upload, skip`},
		{folder("include: []"), `config.yaml:3: folders[0].include: is empty: no scan would be taken`},
		{folder("include: ['[a']"), `config.yaml:3: folders[0].include: "[a" is not a glob`},
		{folder("exclude: ['drafts\\a.pdf']"), `config.yaml:3: folders[0].exclude: "drafts\\a.pdf" has a \ between folders`},
		{folder("exclude: [/a]"), `config.yaml:3: folders[0].exclude: "/a" is not relative`},
		{folder("exclude: ['']"), `config.yaml:3: folders[0].exclude: "" matches nothing`},
		{folder("quiet: -1s"), `config.yaml:3: folders[0].quiet: must not be negative`},
		{folder("rescan: 0s"), `config.yaml:3: folders[0].rescan: must be above 0`},
		{folder("delete_after: 299s"), `config.yaml:3: folders[0].delete_after: 4m59s is not between`},
		{folder("delete_after: 336h1s"), `config.yaml:3: folders[0].delete_after: 336h0m1s is not between`},
		{folder("delete_after: 0s"), `config.yaml:3: folders[0].delete_after: 0s is not between`},
		{folder("limits: {pages_per_scan: -1}"), `config.yaml:3: folders[0].limits.pages_per_scan: must not be negative`},
		{folder("originals: {done: ''}"), `config.yaml:3: folders[0].originals.done: is empty; write stay`},
		{folder("originals: {failed: ./a}"), `config.yaml:3: folders[0].originals.failed: is the hot folder of folders[0]`},
		{folder("originals: {done: .}"), `config.yaml:3: folders[0].originals.done: holds the hot folder of folders[0]`},
		{"state: .\nfolders:\n- path: a\n", `config.yaml:3: folders[0].path: lies in the state folder`},

		// Several at once, by line, none of them twice.
		{"log: {level: loud}\nfolders:\n- path: a\n  quiet: 5\n  formats: [pdf, doc]\nworkers: no\nwatch: 3\n",
			`config.yaml:1: log.level: "loud"
config.yaml:4: folders[0].quiet: 5 of what?
config.yaml:5: folders[0].formats: "pdf"
config.yaml:5: folders[0].formats: "doc" is not a format of action transcribe (txt, docx, json); did you mean "docx"?
config.yaml:6: workers: must be a whole number
config.yaml:7: watch: is not a key`},
	} {
		c, err := Parse("config.yaml", []byte(tc.text), environment(t))
		if c != nil || err == nil {
			t.Errorf("%q: no error", tc.text)
			continue
		}
		got, want := strings.Split(err.Error(), "\n"), strings.Split(tc.want, "\n")
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q:\n got %s\nwant %s", tc.text, err, tc.want)
				break
			}
		}
	}
}

func TestEncodings(t *testing.T) {
	const text = "folders: [{path: Bücher}]\n"
	utf16of := func(order binary.AppendByteOrder) (data []byte) {
		for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
			data = order.AppendUint16(data, u)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"UTF-8":           []byte(text),
		"byte order mark": []byte("\ufeff" + text),
		"CRLF":            []byte(strings.ReplaceAll(text, "\n", "\r\n")),
		"UTF-16LE":        utf16of(binary.LittleEndian),
		"UTF-16BE":        utf16of(binary.BigEndian),
		"JSON":            []byte(`{"folders": [{"path": "Bücher"}]}`),
	} {
		c, err := Parse("config.yaml", data, environment(t))
		if err != nil || filepath.Base(c.Folders[0].Path) != "Bücher" {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	env := environment(t)
	name := filepath.Join(dir, "etc", "c.yaml")
	abs := filepath.Join(dir, "scans")
	parse := func(path string, env Environment) (string, error) {
		c, err := Parse(name, fmt.Appendf(nil, "folders: [{path: '%s'}]", path), env)
		if err != nil {
			return "", err
		}
		return c.Folders[0].Path, nil
	}
	for _, tc := range []struct{ path, want string }{
		{"scans", filepath.Join(dir, "etc", "scans")},
		{"../scans", abs},
		{abs, abs},
		{abs + "/./", abs},
		{"~/scans", filepath.Join(env.get("HOME"), "scans")},
		{"./~x", filepath.Join(dir, "etc", "~x")},
	} {
		if got, err := parse(tc.path, env); err != nil || got != tc.want {
			t.Errorf("%s: got %s, %v; want %s", tc.path, got, err, tc.want)
		}
	}
	env.Machine = true
	if got, err := parse("~/scans", env); err == nil || !strings.Contains(err.Error(), "depends on who runs scandrop") {
		t.Errorf("a home in the machine's configuration: %s, %v", got, err)
	}
}

// Folders of originals are never watched, so they may lie in a hot folder.
func TestOriginalsInsideHotFolder(t *testing.T) {
	c := parsed(t, "folders:\n- {path: a, originals: {done: a/done, failed: failed}}\n- {path: b}\n")
	if got := filepath.Base(c.Folders[0].Originals.Done); got != "done" {
		t.Error(got)
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	env := environment(t)
	machine := environment(t)
	machine.Machine = true
	managed := t.TempDir()
	systemd := environment(t, "STATE_DIRECTORY", managed+string(filepath.ListSeparator)+"/other")
	own := filepath.Join(dir, "c.yaml")
	for _, tc := range []struct {
		name, config, text string
		env                Environment
		want               string
	}{
		{"key", own, "state: s", systemd, filepath.Join(dir, "s")},
		{"systemd", own, "", systemd, managed},
		{"root", own, "", machine, machineState(machine)},
		{"the machine's file", machineConfig(env), "", env, machineState(env)},
		{"user", own, "", env, userState(env)},
	} {
		c, err := Parse(tc.config, []byte(tc.text+"\nfolders: [{path: a}]"), tc.env)
		if err != nil || c.State != tc.want {
			t.Errorf("%s: got %v, %v; want %s", tc.name, c, err, tc.want)
		}
	}
	_, err := Parse(own, []byte("folders: [{path: a}]"), Environment{})
	if err == nil || !strings.Contains(err.Error(), "state: there is no place for it") {
		t.Errorf("without a home: %v", err)
	}
}

func TestDefaultPath(t *testing.T) {
	env := environment(t)
	own, without := userConfig(env), userConfig(env)
	if exists(machineConfig(env)) { // on a machine that scandrop is installed on
		without = machineConfig(env)
	}
	if got := DefaultPath(env); got != without {
		t.Errorf("user: %s, want %s", got, without)
	}
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, own, "")
	if got := DefaultPath(env); got != own {
		t.Errorf("user with a file: %s, want %s", got, own)
	}
	if got := DefaultPath(Environment{}); got != machineConfig(env) {
		t.Errorf("nobody: %s", got)
	}
	env.Machine = true
	if got := DefaultPath(env); got != machineConfig(env) {
		t.Errorf("machine: %s", got)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	huge := write(t, filepath.Join(dir, "huge"), strings.Repeat("#\n", maxSize))
	for _, tc := range []struct {
		path, want string
		is         error
	}{
		{filepath.Join(dir, "none"), "there is no such file; name another one with --config", fs.ErrNotExist},
		{dir, "cannot be read", nil},
		{huge, "too big", errTooBig},
	} {
		_, err := Load(tc.path, environment(t))
		list, ok := errors.AsType[Errors](err)
		if !ok || len(list) != 1 || !strings.HasPrefix(err.Error(), tc.path+": ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.path, err)
		}
		if tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%v is not %v", err, tc.is)
		}
	}
}

func TestWebhook(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	load := func(webhook string) *Config {
		t.Helper()
		return parsed(t, "folders: [{path: a}]\nwebhook: "+webhook+"\n")
	}
	if c := load("{listen: '127.0.0.1:8378'}"); c.Webhook.Path != "" || len(c.Warnings) > 0 {
		t.Errorf("without a secret the path is %q: %v", c.Webhook.Path, c.Warnings)
	}
	if c := load("{listen: '127.0.0.1:8378', path: /hook}"); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, "easily guessed") {
		t.Errorf("a path that is easily guessed: %v", c.Warnings)
	}
	c := load("{listen: '127.0.0.1:8378', secret_file: '" + secret + "'}")
	if c.Webhook.Path != "/webhook" || len(c.Warnings) > 0 {
		t.Errorf("with a secret the path is %q: %v", c.Webhook.Path, c.Warnings)
	}
	if _, err := c.WebhookSecret(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a secret that is not there: %v", err)
	}
	for _, text := range []string{"", " \n", "not so secret\n"} {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := c.WebhookSecret()
		if want := strings.TrimSpace(text); s.Reveal() != want || (err == nil) != (want != "") {
			t.Errorf("the secret in %q is %q, %v", text, s.Reveal(), err)
		}
	}
}

func TestNotices(t *testing.T) {
	c := parsed(t, `folders: [{path: a}]
notices:
- webhook: {url: "https://example.org/secret-place", secret_file: s}
- email: {to: [office@example.org], from: scandrop@example.org, server: "mail.example.org:587", user: u, password_file: p}
  events: [held]
  digest: "07:30"
- command: [tell, --now]
  every: 1h
  silent: 72h
- chat_file: chat
`)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	var got []string
	for _, n := range c.Notices {
		got = append(got, fmt.Sprintf("%s %v %v %v %v", n.Name(), n.Events, n.Every, n.Silent, n.DigestAt()))
		if _, err := n.Secret(); len(n.Command) == 0 && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: its secret is not there: %v", n.Name(), err)
		}
	}
	chat := filepath.Join(filepath.Dir(c.Path), "chat")
	want := []string{
		"webhook to example.org [failed held free] 15m0s 0s -1ns",
		"email to office@example.org [held] 15m0s 0s 7h30m0s",
		"command tell [failed held free] 1h0m0s 72h0m0s -1ns",
		"chat of " + chat + " [failed held free] 15m0s 0s -1ns",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDidYouMean(t *testing.T) {
	words := []string{"path", "formats", "include", "exclude", "delete_after"}
	for word, want := range map[string]string{
		"formts": "formats", "formatts": "formats", "fomrats": "formats", "Formats": "formats", "pth": "path", "apth": "path",
		"deleteafter": "delete_after", "xyz": "", "": "", "colour": "",
	} {
		if want != "" {
			want = fmt.Sprintf("did you mean %q?", want)
		}
		if got := didYouMean(word, words); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	for _, s := range []string{"", "folders:\n- path: x\n  formats: [txt]\n", "\xff\xfea", "a: &a [*a]", "? [a]\n: b", "--- !x\n...\n---",
		"folders: [{path: a, quiet: 1e9, include: ['[']}]", "{api: {token: x}, api: }"} {
		f.Add([]byte(s))
	}
	env := environment(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("config.yaml", data, env)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c != nil {
			if len(c.Folders) == 0 || !filepath.IsAbs(c.State) {
				t.Fatalf("incomplete: %+v", c)
			}
			return
		}
		lines := strings.Count(string(toUTF8(data)), "\n") + strings.Count(string(toUTF8(data)), "\r") + 1
		for _, p := range err.(Errors) {
			// YAML also breaks lines at a few characters of Unicode.
			if p.Text == "" || p.Line < 0 || p.Line > lines+len(data) || p.Key != "" && p.Line == 0 {
				t.Fatalf("%+v", p)
			}
		}
	})
}
