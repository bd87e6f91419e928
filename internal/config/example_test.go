package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// exampleFolder is the hot folder of the example.
const exampleFolder = "/srv/scans"

// readExample returns the example as it is, but for its hot folder where that is not a path of the system.
func readExample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := strayPath(exampleFolder); text != "" {
		data = bytes.ReplaceAll(data, []byte(exampleFolder), []byte("C:"+exampleFolder))
	}
	return data
}

func TestExampleIsTheDefault(t *testing.T) {
	env := environment(t)
	got, err := Parse("config.yaml", readExample(t), env)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse("config.yaml", fmt.Appendf(nil, "folders: [{path: '%s'}]", got.Folders[0].Path), env)
	if err != nil {
		t.Fatal(err)
	}
	got.Folders[0].Exclude, got.Notices = nil, nil // empty, as those that are not there
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(TokenSource{}, tokenFile{}, Config{})); diff != "" {
		t.Error(diff)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("warnings: %v", got.Warnings)
	}
}

// TestExampleNamesEveryKey also reads the keys behind a #, which stands right before them.
func TestExampleNamesEveryKey(t *testing.T) {
	data := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`).ReplaceAll(readExample(t), []byte("$1$2"))
	data = regexp.MustCompile(`(?m)^#(  - |    )([a-z_]+:)`).ReplaceAll(data, []byte("$1$2")) // of notices
	data = regexp.MustCompile(`(?m)^#(      )([a-z_]+:)`).ReplaceAll(data, []byte("$1$2"))
	c := defaults()
	r := newReport("config.yaml")
	if !decode(data, reflect.ValueOf(&c).Elem(), false, r) || len(r.mistakes) > 0 {
		t.Fatal(r.mistakes)
	}
	for _, key := range keys(reflect.TypeFor[Config](), "") {
		named := false
		for i := range 4 { // each way of telling is an item of its own
			named = named || r.has(strings.ReplaceAll(key, "[]", fmt.Sprintf("[%d]", i)))
		}
		if !named {
			t.Errorf("%s is missing", key)
		}
	}
	if q := c.Folders[0].Quiet; q == nil || *q != 5*time.Second {
		t.Errorf("quiet is %v", q)
	}
}

// TestEveryKeyIsRead guards against a field of a kind that the decoder does not know.
func TestEveryKeyIsRead(t *testing.T) {
	c := defaults()
	r := newReport("config.yaml")
	decode([]byte(`
api: {url: a, token_file: a, token: a, rate: 7, burst: 7, timeout: 7s, doubt: 7s, proxy: a, ca_file: a}
state: a
workers: 7
folders:
- {path: a, action: a, formats: [a], extractor_id: a, prompt_id: a, recursive: false, existing: a, include: [a], exclude: [a],
   watch: a, quiet: 7s, rescan: 7s, incomplete: a, blank: a, spool: true, priority: 7, delete_remote: false, delete_after: 7s,
   originals: {done: a, failed: a}, failure_notes: true, limits: {pages_per_scan: 7, pages_per_day: 7, pages_per_month: 7}}
limits: {pages_per_day: 7, pages_per_month: 7}
status: {listen: a, password_file: a, tls: {cert_file: a, key_file: a}}
webhook: {listen: a, path: a, secret_file: a}
notices: [{webhook: {url: a, secret_file: a}, email: {to: [a], from: a, server: a, user: a, password_file: a}, command: [a], chat_file: a,
  events: [a], every: 7s, silent: 7s, digest: a}]
log: {level: a, format: a, file: a}
`), reflect.ValueOf(&c).Elem(), false, r)
	if len(r.mistakes) > 0 {
		t.Fatal(r.mistakes)
	}
	var untouched func(got, usual reflect.Value, key string)
	untouched = func(got, usual reflect.Value, key string) {
		for i := range got.NumField() {
			f := got.Type().Field(i)
			tag := tagOf(f)
			if tag == "" {
				continue
			}
			if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]() {
				untouched(got.Field(i), usual.Field(i), join(key, tag))
			} else if reflect.DeepEqual(got.Field(i).Interface(), usual.Field(i).Interface()) {
				t.Errorf("%s was not read", join(key, tag))
			}
		}
	}
	var folder Folder
	folder.preset()
	untouched(reflect.ValueOf(c), reflect.ValueOf(defaults()), "")
	untouched(reflect.ValueOf(c.Folders[0]), reflect.ValueOf(folder), "folders[0]")
	var notice Notice
	notice.preset()
	untouched(reflect.ValueOf(c.Notices[0]), reflect.ValueOf(notice), "notices[0]")
}
