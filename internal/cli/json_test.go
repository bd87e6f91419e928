package cli

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"scandrop/internal/control"
	"scandrop/queue"
)

// The keys that programs rely on are in docs/json.md, each with whether it may be
// missing, in the section of its object.
func TestJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq("commands\n"+string(text), "\n## ") {
		name, rest, _ := strings.Cut(part, "\n")
		sections[name] = rest
	}
	for section, types := range map[string][]reflect.Type{
		"commands": {reflect.TypeFor[verdict](), reflect.TypeFor[finding](), reflect.TypeFor[control.Link](), reflect.TypeFor[released]()},
		"Job":      {reflect.TypeFor[control.Job](), reflect.TypeFor[control.Result](), reflect.TypeFor[queue.Event]()},
		"Unknown":  {reflect.TypeFor[unknown]()},
		"Outcome":  {reflect.TypeFor[outcome]()},
		"Status": {reflect.TypeFor[control.Status](), reflect.TypeFor[control.Hold](), reflect.TypeFor[control.Folder](), reflect.TypeFor[control.Pace](),
			reflect.TypeFor[control.Limit](), reflect.TypeFor[control.Today]()},
	} {
		documented := map[string]bool{}
		for _, m := range regexp.MustCompile("`([a-z_]+)\\??`").FindAllString(sections[section], -1) {
			documented[m] = true
		}
		for _, typ := range types {
			for i := range typ.NumField() {
				tag := typ.Field(i).Tag.Get("json")
				name, options, _ := strings.Cut(tag, ",")
				if name == "" {
					continue
				}
				want := "`" + name + "`"
				if strings.HasPrefix(options, "omit") {
					want = "`" + name + "?`"
				}
				if !documented[want] {
					t.Errorf("%s: docs/json.md does not say %s", section, want)
				}
			}
		}
	}
}
