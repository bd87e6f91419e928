package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// decode fills v, a struct, from data, reports to r what is not as its types and tags say, and notes the line of each key. It
// tells whether there was a tree to fill v from; that there is none is no mistake if it may be empty.
//
// It walks the tree of nodes itself: the library's own decoder drops null items, accepts a second document and values of
// other kinds, and speaks of Go types where a person wants to read the name of a key.
func decode(data []byte, v reflect.Value, mayBeEmpty bool, r *report) bool {
	data = toUTF8(data)
	if n := invalidLine(data); n > 0 {
		r.add(n, "", "is not UTF-8 text", "save the file as UTF-8")
		return false
	}
	root, err := parse(data)
	switch {
	case errors.Is(err, io.EOF) || err == nil && root.ShortTag() == "!!null":
		if !mayBeEmpty {
			r.add(0, "", "is empty", least)
		}
		return false
	case err != nil:
		line, text := faultyLine(data)
		r.add(line, "", "is not valid YAML here", syntaxHint(text))
		return false
	}
	decoder{r}.value(root, "", v)
	return !r.unread[""]
}

// errSecondDocument means that data goes on after a line with ---.
var errSecondDocument = errors.New("second document")

// parse returns the root of the one document in data, or io.EOF if there is none.
func parse(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if err := d.Decode(&more); err == nil {
		return nil, errSecondDocument
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	return doc.Content[0], nil
}

// faultyLine returns number and text of the line that makes data unreadable: the one after the longest beginning that can
// be read. The library's own number is that of a line nearby. The file must not be readable as a whole. For a huge file it
// returns 0, because the work grows with the square of the size.
func faultyLine(data []byte) (int, string) {
	const most = 1000 * 64 << 10 // lines times bytes; people's files are far below
	lines := bytes.SplitAfter(data, []byte("\n"))
	if len(lines)*len(data) > most {
		return 0, ""
	}
	good, size := len(lines)-1, len(data)-len(lines[len(lines)-1])
	for ; good > 0; good-- {
		if _, err := parse(data[:size]); err == nil || errors.Is(err, io.EOF) {
			break
		}
		size -= len(lines[good-1])
	}
	return good + 1, string(lines[good])
}

// unquotedGlob matches a value that begins with a star, which means something else in YAML.
var unquotedGlob = regexp.MustCompile(`[:\[,-]\s*\*`)

// syntaxHint returns the way out for a line that is not YAML.
func syntaxHint(line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "indent with spaces: YAML allows no tabs"
	case strings.HasPrefix(line, "---") || strings.HasPrefix(line, "..."):
		return "a configuration is one document: remove the line"
	case strings.Contains(line, `"`) && strings.Contains(line, `\`):
		return `in double quotes \ has a meaning of its own: write 'C:\Scans' or C:/Scans`
	case unquotedGlob.MatchString(line):
		return `put globs in quotes: "*.pdf"`
	default:
		return "look at the indentation, the brackets and quotes, and the space after each colon"
	}
}

// decoder fills Go values from nodes and reports what does not fit. Of a value's text, only what cannot be a secret gets
// into a report.
type decoder struct{ *report }

// value fills v, which is the value of key, from n.
func (d decoder) value(n *yaml.Node, key string, v reflect.Value) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.unreadable(key, "uses an anchor or an alias (& or *)", "write the value out, or put it in quotes")
		return
	case n.Style&yaml.TaggedStyle != 0:
		d.unreadable(key, "has a tag (!)", "remove the tag, or put the value in quotes")
		return
	}
	null := n.ShortTag() == "!!null"
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		d.duration(n, key, p)
		return
	case *Secret:
		var text string
		d.text(n, key, &text)
		*p = NewSecret(text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, key, v.Elem())
	case reflect.Struct:
		if !null { // a key whose values are all commented out
			d.mapping(n, key, v)
		}
	case reflect.Slice:
		if !null {
			d.sequence(n, key, v)
		}
	case reflect.String:
		d.text(n, key, v.Addr().Interface().(*string))
	default: // bool, int, float64: YAML has them too
		d.plain(n, key, v)
	}
}

// mapping fills the struct v.
func (d decoder) mapping(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		hint := "its keys are " + strings.Join(names(v.Type()), ", ")
		if key == "" && v.Type() != reflect.TypeFor[Profile]() {
			hint = least
		}
		d.unreadable(key, "must be keys with values", hint)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		field, ok := fieldOf(v, name)
		full := join(key, name.Value)
		switch {
		case !ok:
			d.unknown(name, key, v.Type())
		case seen[name.Value]:
			d.add(name.Line, full, "is given twice", fmt.Sprintf("keep one: the other is on line %d", d.lines[full]))
		default:
			seen[name.Value] = true
			d.lines[full] = name.Line
			d.value(value, full, field)
		}
	}
}

// unknown reports a key that t does not have.
func (d decoder) unknown(name *yaml.Node, key string, t reflect.Type) {
	hint := unknownHint(name.Value, key, t)
	d.add(name.Line, join(key, shown(name)), "is not a key", hint)
	if key == "" && hint == didYouMean("folders", []string{"folders"}) {
		d.unread["folders"] = true // what stands there is meant to be them
	}
}

// unknownHint names the key that was most likely meant, the place that it belongs to, or all keys that there are.
func unknownHint(name, key string, t reflect.Type) string {
	if hint := didYouMean(name, names(t)); hint != "" {
		return hint
	}
	var elsewhere []string
	for _, k := range keys(reflect.TypeFor[Config](), "") {
		if strings.HasSuffix(k, "."+name) || k == name {
			elsewhere = append(elsewhere, k)
		}
	}
	switch {
	case t == reflect.TypeFor[Profile]():
		return "here may stand " + strings.Join(names(t), ", ") + "; all else belongs into the configuration"
	case len(elsewhere) > 0:
		return "the key is " + strings.Join(elsewhere, " or ")
	case key == "":
		return "the keys at the top are " + strings.Join(names(t), ", ")
	default:
		return fmt.Sprintf("the keys of %s are %s", key, strings.Join(names(t), ", "))
	}
}

// keyLike matches what can be shown of an unknown key: "token:x" without the space would be a key with a secret in it.
var keyLike = regexp.MustCompile(`^[A-Za-z_-]{1,32}$`)

// shown returns the name of an unknown key as far as it can be shown.
func shown(name *yaml.Node) string {
	if keyLike.MatchString(name.Value) {
		return name.Value
	}
	return "…"
}

// sequence fills the slice v.
func (d decoder) sequence(n *yaml.Node, key string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		hint := "write [" + key[strings.LastIndexAny(key, ".]")+1:] + ", …]"
		switch {
		case n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String:
			hint = fmt.Sprintf("write [%q]", n.Value)
		case v.Type() == reflect.TypeFor[[]Folder]():
			hint = `write each folder as "- path: FOLDER"`
		case v.Type() == reflect.TypeFor[[]Notice]():
			hint = `write each way as "- command: [PROGRAM]", or with webhook, email or chat_file`
		}
		d.unreadable(key, "must be a list", hint)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		full := fmt.Sprintf("%s[%d]", key, i)
		d.lines[full] = item.Line
		if item.ShortTag() == "!!null" {
			d.unreadable(full, "is empty", "fill the item in, or remove its dash")
			continue
		}
		if p, ok := v.Index(i).Addr().Interface().(interface{ preset() }); ok {
			p.preset()
		}
		d.value(item, full, v.Index(i))
	}
}

// text fills p with the value as it is written: an id of digits stays what it is.
func (d decoder) text(n *yaml.Node, key string, p *string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.unreadable(key, "must be one text", "put it in quotes if it holds brackets or braces")
	case n.ShortTag() == "!!null":
		d.unreadable(key, "has no value", `write "" for none, or remove the key`)
	default:
		*p = n.Value
	}
}

// plain fills the bool, int or float64 v.
func (d decoder) plain(n *yaml.Node, key string, v reflect.Value) {
	kinds := map[reflect.Kind]struct{ tags, must, hint string }{
		reflect.Bool:    {"!!bool", "must be true or false", "write true or false, without quotes"},
		reflect.Int:     {"!!int", "must be a whole number", "write digits alone, such as 4"},
		reflect.Float64: {"!!int !!float", "must be a number", "write it like 2 or 0.5"},
	}
	kind := kinds[v.Kind()]
	if n.Kind == yaml.ScalarNode && strings.Contains(kind.tags, n.ShortTag()) && n.Decode(v.Addr().Interface()) == nil {
		return
	}
	d.unreadable(key, kind.must, kind.hint)
}

// days matches what people write for days.
var days = regexp.MustCompile(`^(\d{1,3}) ?d(ays?)?$`)

// duration fills p.
func (d decoder) duration(n *yaml.Node, key string, p *time.Duration) {
	const hint = "write it like 90s, 5m or 168h"
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		d.unreadable(key, "must be a duration", hint)
		return
	}
	t, err := time.ParseDuration(n.Value)
	switch m := days.FindStringSubmatch(n.Value); {
	case n.ShortTag() == "!!int" || n.ShortTag() == "!!float":
		d.unreadable(key, fmt.Sprintf("%s of what?", n.Value), fmt.Sprintf("name the unit: write %ss for seconds", n.Value))
	case m != nil:
		var count int
		fmt.Sscan(m[1], &count)
		d.unreadable(key, fmt.Sprintf("%q: days are not a unit", n.Value), fmt.Sprintf("write %dh", 24*count))
	case err != nil:
		d.unreadable(key, fmt.Sprintf("%q is not a duration", n.Value), hint)
	default:
		*p = t
	}
}

// fieldOf returns the field of the struct v that name stands for.
func fieldOf(v reflect.Value, name *yaml.Node) (reflect.Value, bool) {
	for i := range v.NumField() {
		if tag := tagOf(v.Type().Field(i)); tag != "" && name.Kind == yaml.ScalarNode && tag == name.Value {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// names returns the keys of the struct type t.
func names(t reflect.Type) (names []string) {
	for i := range t.NumField() {
		if tag := tagOf(t.Field(i)); tag != "" {
			names = append(names, tag)
		}
	}
	return names
}

// keys returns all keys of t and of what lies in it, as paths after prefix.
func keys(t reflect.Type, prefix string) (all []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := tagOf(f)
		if tag == "" {
			continue
		}
		key, inner := join(prefix, tag), f.Type
		all = append(all, key)
		if inner.Kind() == reflect.Slice {
			key, inner = key+"[]", inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			all = append(all, keys(inner, key)...)
		}
	}
	return all
}

// tagOf returns the key of a field, "" if it has none.
func tagOf(f reflect.StructField) string {
	if tag := f.Tag.Get("yaml"); tag != "-" {
		return tag
	}
	return ""
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
