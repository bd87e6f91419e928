package web

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
)

// filled is a value in which every text is the one given, wherever it stands, and
// everything else is something that is shown. More is how much of it there is.
func filled[T any](text string, more bool) T {
	var v T
	fill(reflect.ValueOf(&v).Elem(), text, more)
	return v
}

func fill(v reflect.Value, text string, more bool) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		return
	case *h.Address: // which internal/markup makes safe
		*x = h.At("/somewhere")
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(more)
	case reflect.Int, reflect.Int64:
		v.SetInt(2)
	case reflect.Uint64:
		v.SetUint(2)
	case reflect.Float64:
		v.SetFloat(2)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, more)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text, more)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, text, more)
		fill(value, text, more)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, more)
		}
	default:
		panic("no value for " + v.Type().String())
	}
}

// everything is all that is ever rendered, made of one text, and of those that
// scandrop knows.
func everything(text string) map[string]h.Node {
	all := map[string]h.Node{}
	for _, more := range []bool{true, false} {
		home, job, problem := filled[homeData](text, more), filled[jobData](text, more), filled[problemData](text, more)
		job.Job.Can = append(job.Job.Can, control.Retry, control.RetryPaid, control.Cancel, control.Forget)
		for i := range home.List.Page.Jobs {
			home.List.Page.Jobs[i].Folder = "/scans" // so that there is something below it
			home.List.Page.Jobs[i].Scan = "/scans/" + text + "/" + text
		}
		name := func(what string) string { return fmt.Sprintf("%s, %t", what, more) }
		all[name("home")], all[name("job")], all[name("problem")] = homeView(home), jobView(job), problemView(problem)
		job.Sides[0].Scan.Image, job.Sides[1].Scan.Image, job.Sides[1].Scan.Document = h.Address{}, h.Address{}, h.Address{}
		job.Job.Next, job.Job.Error, job.Results[0].Refused, job.Results[1].Refused = "", "", "", ""
		job.Results[1].Link = h.Address{}
		job.Sides[0].Texts[0].Text = ""
		all[name("another job")] = jobView(job)
		home.List.Page.Jobs[0].Error, home.List.Page.Jobs[1].Error, home.List.Page.Jobs[1].Next = "", "", ""
		home.List.Page.Next, home.Status.Holds[0].Next, home.Status.Folders[0].Last = 0, time.Time{}, time.Time{}
		all[name("another home")] = homeView(home)
		home.List.Page.Jobs = nil
		all[name("an empty list")] = homeView(home)
	}
	return all
}

// parsed is the tree that a browser makes of a page: elements with the names of
// their attributes in one, texts and values in the other.
func parsed(t testing.TB, page h.Node) (shape string, texts []string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(h.Document(page)))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.ElementNode:
			depth := 0
			for range n.Ancestors() {
				depth++
			}
			fmt.Fprintf(&b, "%d %s", depth, n.Data)
			for _, a := range n.Attr {
				b.WriteString(" " + a.Key)
				switch a.Key {
				case "href", "src", "action", "data":
					if !strings.HasPrefix(a.Val, "#") && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//") || strings.HasPrefix(a.Val, `/\`)) {
						t.Errorf("%s leads to %q", n.Data, a.Val)
					}
				}
				texts = append(texts, a.Val)
			}
			b.WriteString("\n")
		case html.TextNode:
			texts = append(texts, n.Data)
		case html.CommentNode:
			b.WriteString("a comment\n")
		}
	}
	return b.String(), texts
}

// Whatever a scan, a folder, an error, a result or anything else is called: a
// browser makes the same elements of the page as with harmless names, and shows the
// name as it is.
func FuzzNamesAreText(f *testing.F) {
	const harmless = "zq"
	for _, name := range []string{
		harmless, `"><script>alert(1)</script>`, `' onmouseover='alert(1)`, `" autofocus onfocus="alert(1)`, "</title></pre></option></select>", "<!--", "--><b>", "]]>",
		"<svg/onload=alert(1)>", "javascript:alert(1)", "//evil.example/", `\\evil.example`, "&lt;b&gt;", "&#x3c;b>", "a\nb\r\nc", "\x00<b>", "\xff\xfe<b", "\u2028", "{{.}}", "`", "=", " ", ".", "..", "Büro/\U0001f4c4",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 1000 || strings.TrimSpace(name) == "" {
			return // other texts may stand where a name is missing
		}
		want := everything(harmless)
		seen := strings.NewReplacer("\x00", "\ufffd", "\r\n", "\n", "\r", "\n").Replace(name)                 // as HTML has it
		whole := filepath.Clean(name) == name && filepath.Base(name) == name && strings.Trim(name, ".") != "" // else only its last part is shown
		for what, page := range everything(name) {
			shape, texts := parsed(t, page)
			wanted, harmlessTexts := parsed(t, want[what])
			if shape != wanted || len(texts) != len(harmlessTexts) {
				t.Fatalf("%s, with names like %q, has other elements:\n%s", what, name, difference(wanted, shape))
			}
			for i, text := range harmlessTexts {
				text = strings.ReplaceAll(text, harmless, seen)
				if whole && texts[i] != text && !strings.HasPrefix(text, "/") && texts[i] != strings.TrimPrefix(text, "\n") { // which <pre> drops
					t.Errorf("%s shows %q, not %q", what, texts[i], text)
				}
			}
		}
	})
}

// difference is the first line in which two texts differ.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d: %q, not %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(g), len(w))
}
