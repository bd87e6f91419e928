package join

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// documents joins Word documents: the first one, with the paragraphs of the others
// after its own, each on a new page, and with the pictures, links, lists and styles
// that those need. What is in margins of the others (headers and footers) is left
// out, as it is there already; their notes stand in the text.
func documents(contents [][]byte) ([]byte, error) {
	whole, err := unpack(contents[0])
	if err != nil {
		return nil, err
	}
	name, err := whole.main()
	if err != nil {
		return nil, err
	}
	for i, content := range contents[1:] {
		part, err := unpack(content)
		if err == nil {
			err = appendDocument(whole, name, part, i+2)
		}
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", i+2, err)
		}
	}
	return whole.bytes()
}

const (
	wordSpace   = "/wordprocessingml/2006/main" // how their namespaces end, in both editions of the standard
	linkSpace   = "/relationships"
	officeSpace = "officeDocument"
)

// prefix is what a file calls a namespace, by the end of its name, with a colon; ""
// for the one without a prefix.
func prefix(root node, space string) (string, bool) {
	for _, a := range root.Attr {
		if a.Name.Space == "xmlns" && strings.HasSuffix(a.Value, space) {
			return a.Name.Local + ":", true
		}
		if a.Name.Space == "" && a.Name.Local == "xmlns" && strings.HasSuffix(a.Value, space) {
			return "", true
		}
	}
	return "", false
}

// body finds the body of a document, and where its own section's properties begin,
// which come last.
func body(file []byte) (root, b node, end int, err error) {
	if root, err = parse(file); err != nil {
		return
	}
	found, ok := root.child("body")
	if !ok {
		err = fmt.Errorf("a document without a body")
		return
	}
	if b, err = parseAt(file, found.start); err != nil {
		return
	}
	end = b.innerEnd
	if n := len(b.children); n > 0 && b.children[n-1].Name.Local == "sectPr" {
		end = b.children[n-1].start
	}
	return
}

func appendDocument(whole *pack, into string, part *pack, n int) error {
	name, err := part.main()
	if err != nil {
		return err
	}
	file := part.files[name]
	root, b, end, err := body(file)
	if err != nil {
		return err
	}
	if b.inner == b.end { // <body/>
		return nil
	}
	text := bytes.Clone(file[b.inner:end])

	word, _ := prefix(root, wordSpace)
	w := regexp.QuoteMeta(word)
	links, err := part.links(name)
	if err != nil {
		return err
	}
	for _, kind := range []string{"footnotes", "endnotes"} {
		if text, err = inlineNotes(part, links, name, kind, word, text); err != nil {
			return err
		}
	}
	for _, gone := range []string{"commentRangeStart", "commentRangeEnd", "commentReference", "headerReference", "footerReference"} {
		text = regexp.MustCompile(`<`+w+gone+`\b[^>]*/>`).ReplaceAll(text, nil)
	}

	renumber, err := appendNumbering(whole, into, part, links, name, word)
	if err != nil {
		return err
	}
	text = renumber(text)
	if err := appendStyles(whole, into, part, links, name, renumber); err != nil {
		return err
	}
	if text, err = appendLinked(whole, into, part, links, name, root, text, n); err != nil {
		return err
	}

	joined, err := namespaces(whole.files[into], file)
	if err != nil {
		return err
	}
	if _, _, end, err = body(joined); err != nil {
		return err
	}
	newPage := fmt.Sprintf(`<%[1]sp><%[1]sr><%[1]sbr %[1]stype="page"/></%[1]sr></%[1]sp>`, word)
	whole.set(into, bytes.Join([][]byte{joined[:end], []byte(newPage), text, joined[end:]}, nil))
	return nil
}

// linked finds the file that a document is linked to for some purpose.
func linked(p *pack, links []link, of, kind string) (string, bool) {
	for _, l := range links {
		if l.kind() == kind && l.Mode == "" && p.files[l.target(of)] != nil {
			return l.target(of), true
		}
	}
	return "", false
}

// inlineNotes puts notes where they are referred to, in brackets.
func inlineNotes(p *pack, links []link, of, kind, word string, text []byte) ([]byte, error) {
	name, ok := linked(p, links, of, kind)
	if !ok {
		return text, nil
	}
	var notes struct {
		Footnotes []note `xml:"footnote"`
		Endnotes  []note `xml:"endnote"`
	}
	if err := xml.Unmarshal(p.files[name], &notes); err != nil {
		return nil, err
	}
	said := map[string]string{}
	for _, n := range append(notes.Footnotes, notes.Endnotes...) {
		said[n.ID] = strings.TrimSpace(n.text())
	}
	w := regexp.QuoteMeta(word)
	reference := regexp.MustCompile(`<` + w + strings.TrimSuffix(kind, "s") + `Reference\b[^>]*\s` + w + `id="([^"]*)"[^>]*/>`)
	return reference.ReplaceAllFunc(text, func(m []byte) []byte {
		id := reference.FindSubmatch(m)[1]
		return fmt.Appendf(nil, `<%[1]st xml:space="preserve"> [%[2]s]</%[1]st>`, word, escape(said[string(id)]))
	}), nil
}

type note struct {
	ID    string `xml:"id,attr"`
	Inner []byte `xml:",innerxml"`
}

// text is what a note says.
func (n note) text() string {
	var b strings.Builder
	d := xml.NewDecoder(bytes.NewReader(n.Inner))
	in := false
	for {
		t, err := d.RawToken()
		if err != nil {
			return b.String()
		}
		switch t := t.(type) {
		case xml.StartElement:
			in = t.Name.Local == "t"
		case xml.EndElement:
			if in = false; t.Name.Local == "p" {
				b.WriteByte(' ')
			}
		case xml.CharData:
			if in {
				b.Write(t)
			}
		}
	}
}

// appendLinked copies what the text refers to, and has it refer to the copies.
func appendLinked(whole *pack, into string, part *pack, links []link, of string, root node, text []byte, n int) ([]byte, error) {
	r, ok := "", false
	for _, a := range root.Attr {
		if a.Name.Space == "xmlns" && strings.HasSuffix(a.Value, linkSpace) && strings.Contains(a.Value, officeSpace) {
			r, ok = a.Name.Local+":", true
		}
	}
	if !ok {
		return text, nil
	}
	references := regexp.MustCompile(`(\s` + regexp.QuoteMeta(r) + `\w+=")([^"]*)(")`)
	renamed := map[string]string{}
	var more []link
	for _, m := range references.FindAllSubmatch(text, -1) {
		id := string(m[2])
		if renamed[id] != "" {
			continue
		}
		for _, l := range links {
			if l.ID != id {
				continue
			}
			renamed[id] = fmt.Sprintf("part%d_%s", n, id)
			if l.Mode == "" {
				target := l.target(of)
				as := path.Join(path.Dir(target), fmt.Sprintf("part%d-%s", n, path.Base(target)))
				if err := whole.copyFile(part, target, as); err != nil {
					return nil, err
				}
				l.Target = "/" + as
			}
			l.ID = renamed[id]
			more = append(more, l)
		}
	}
	if len(more) > 0 {
		whole.addLinks(into, more)
	}
	return replaceAttr(text, references, func(id string) string {
		if as := renamed[id]; as != "" {
			return as
		}
		return id
	}), nil
}

// appendNumbering adds the lists of a part to those of the whole, under numbers of
// their own, and returns what renumbers a text that uses them.
func appendNumbering(whole *pack, into string, part *pack, links []link, of, word string) (func([]byte) []byte, error) {
	same := func(text []byte) []byte { return text }
	name, ok := linked(part, links, of, "numbering")
	if !ok {
		return same, nil
	}
	ours, err := whole.links(into)
	if err != nil {
		return nil, err
	}
	to, ok := linked(whole, ours, into, "numbering")
	if !ok {
		return same, shareFile(whole, into, part, links, of, "numbering")
	}
	file := whole.files[to]
	root, err := parse(file)
	if err != nil {
		return nil, err
	}
	from, err := parse(part.files[name])
	if err != nil {
		return nil, err
	}
	by := 1 // more than any number in use
	for _, c := range root.children {
		for _, key := range []string{"abstractNumId", "numId"} {
			if v, err := strconv.Atoi(c.attr(key)); err == nil {
				by = max(by, v+1)
			}
		}
	}
	w := regexp.QuoteMeta(word)
	shift := func(names string) func([]byte) []byte {
		re := regexp.MustCompile(`(` + names + `=")(\d+)(")`)
		return func(raw []byte) []byte {
			return replaceAttr(raw, re, func(v string) string {
				n, err := strconv.Atoi(v)
				if err != nil || n == 0 && !strings.Contains(names, "bstract") { // numId 0 is "no list"
					return v
				}
				return strconv.Itoa(n + by)
			})
		}
	}
	attribute := shift(`\s` + w + `abstractNumId`)
	element := shift(`<` + w + `abstractNumId\s+` + w + `val`)
	number := shift(`\s` + w + `numId`)
	unique := regexp.MustCompile(`<` + w + `nsid\b[^>]*/>`) // who has the same one is the same list
	abstract, nums := "", ""
	for _, c := range from.children {
		raw := part.files[name][c.start:c.end]
		switch c.Name.Local {
		case "abstractNum":
			abstract += string(unique.ReplaceAll(attribute(raw), nil))
		case "num":
			nums += string(element(number(raw)))
		}
	}
	firstNum, afterNums := len(root.children), len(root.children)
	for i, c := range root.children {
		if c.Name.Local == "num" {
			firstNum = min(firstNum, i)
			afterNums = i + 1
		}
	}
	if file, err = namespaces(root.insert(file, afterNums, nums), part.files[name]); err != nil {
		return nil, err
	}
	if root, err = parse(file); err != nil {
		return nil, err
	}
	whole.set(to, root.insert(file, firstNum, abstract))
	return shift(`<` + w + `numId\s+` + w + `val`), nil
}

// shareFile takes a file over that the whole has not.
func shareFile(whole *pack, into string, part *pack, links []link, of, kind string) error {
	for _, l := range links {
		if l.kind() != kind || l.Mode != "" {
			continue
		}
		as := l.target(of)
		if whole.files[as] != nil {
			as = path.Join(path.Dir(as), "joined-"+path.Base(as))
		}
		if err := whole.copyFile(part, l.target(of), as); err != nil {
			return err
		}
		whole.addLinks(into, []link{{ID: "joined_" + kind, Type: l.Type, Target: "/" + as}})
		return nil
	}
	return nil
}

// appendStyles adds the styles that the whole has not.
func appendStyles(whole *pack, into string, part *pack, links []link, of string, renumber func([]byte) []byte) error {
	name, ok := linked(part, links, of, "styles")
	if !ok {
		return nil
	}
	ours, err := whole.links(into)
	if err != nil {
		return err
	}
	to, ok := linked(whole, ours, into, "styles")
	if !ok {
		return shareFile(whole, into, part, links, of, "styles")
	}
	root, err := parse(whole.files[to])
	if err != nil {
		return err
	}
	from, err := parse(part.files[name])
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, c := range root.children {
		known[c.attr("styleId")] = true
	}
	var more bytes.Buffer
	for _, c := range from.children {
		if c.Name.Local == "style" && !known[c.attr("styleId")] {
			more.Write(renumber(part.files[name][c.start:c.end]))
		}
	}
	if more.Len() == 0 {
		return nil
	}
	file, err := namespaces(whole.files[to], part.files[name])
	if err != nil {
		return err
	}
	whole.set(to, beforeEnd(file, more.String()))
	return nil
}
