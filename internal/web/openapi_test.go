package web

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"scandrop/internal/control"
	"scandrop/queue"
)

type openAPI struct {
	Paths map[string]map[string]struct {
		Parameters []struct{ Name, In string }
		Responses  map[string]any
		Security   *[]any
	}
	Components struct {
		Schemas map[string]struct {
			Required   []string
			Properties map[string]any
			Enum       []queue.State
		}
	}
}

func described(t *testing.T) (d openAPI) {
	t.Helper()
	if err := json.Unmarshal(description, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// What is described is what is served.
func TestOpenAPIRoutes(t *testing.T) {
	d := described(t)
	served := map[string]bool{}
	for _, r := range new(Server).table() {
		method, path, _ := strings.Cut(r.pattern, " ")
		if !strings.HasPrefix(path, "/api/") && !slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, path) {
			continue // pages for people
		}
		served[r.pattern] = true
		op, ok := d.Paths[path][strings.ToLower(method)]
		if !ok {
			t.Errorf("%s is not described", r.pattern)
			continue
		}
		if open := op.Security != nil && len(*op.Security) == 0; open != (r.who == anybody) {
			t.Errorf("%s: described as open to everybody: %v", r.pattern, open)
		}
		for piece := range strings.SplitSeq(path, "/") {
			name, isName := strings.CutPrefix(strings.TrimSuffix(piece, "}"), "{")
			if isName && !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == name && p.In == "path" }) {
				t.Errorf("%s: {%s} is not described", r.pattern, name)
			}
		}
	}
	for path, ops := range d.Paths {
		for method := range ops {
			if pattern := strings.ToUpper(method) + " " + path; !served[pattern] {
				t.Errorf("%s is described and not served", pattern)
			}
		}
	}
}

// The keys that are described are those that are sent.
func TestOpenAPISchemas(t *testing.T) {
	d := described(t)
	types := map[string]reflect.Type{
		"Job": reflect.TypeFor[control.Job](), "Result": reflect.TypeFor[control.Result](), "Page": reflect.TypeFor[control.Page](),
		"Hold": reflect.TypeFor[control.Hold](), "Folder": reflect.TypeFor[control.Folder](), "Today": reflect.TypeFor[control.Today](),
		"Pace": reflect.TypeFor[control.Pace](), "Limit": reflect.TypeFor[control.Limit](), "Status": reflect.TypeFor[control.Status](),
		"Problem": reflect.TypeFor[control.Problem](), "Link": reflect.TypeFor[control.Link](), "Released": reflect.TypeFor[control.Released](),
		"Dropped": reflect.TypeFor[control.Dropped](), "Event": reflect.TypeFor[queue.Event](),
	}
	for name, schema := range d.Components.Schemas {
		if name == "State" {
			if !slices.Equal(schema.Enum, queue.States) {
				t.Errorf("the states are %v, described as %v", queue.States, schema.Enum)
			}
			continue
		}
		typ, ok := types[name]
		if !ok {
			t.Errorf("%s is described, and no such type is sent", name)
			continue
		}
		delete(types, name)
		keys := map[string]any{}
		for i := range typ.NumField() {
			key, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			keys[key] = nil
			if always := options == ""; always != slices.Contains(schema.Required, key) {
				t.Errorf("%s.%s: always sent: %v; described otherwise", name, key, always)
			}
		}
		if want, got := slices.Sorted(maps.Keys(keys)), slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(want, got) {
			t.Errorf("%s has the keys %v, described are %v", name, want, got)
		}
	}
	for name := range types {
		t.Errorf("%s is not described", name)
	}
}
