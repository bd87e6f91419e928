package join

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// A pack is an OOXML package (ECMA-376, part 2): its files by name.
type pack struct {
	names []string // in their order
	files map[string][]byte
}

func unpack(content []byte) (*pack, error) {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, err
	}
	p := &pack{files: map[string][]byte{}}
	left := int64(most)
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r, left+1))
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if left -= int64(len(b)); left < 0 {
			return nil, errors.New("it unpacks to more than can be joined")
		}
		p.set(strings.TrimPrefix(f.Name, "/"), b)
	}
	return p, nil
}

func (p *pack) set(name string, content []byte) {
	if _, there := p.files[name]; !there {
		p.names = append(p.names, name)
	}
	p.files[name] = content
}

func (p *pack) bytes() ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range p.names {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(p.files[name]); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

// A link is a relationship of a file in a package.
type link struct {
	ID     string `xml:"Id,attr"`
	Type   string `xml:"Type,attr"`
	Target string `xml:"Target,attr"`
	Mode   string `xml:"TargetMode,attr"`
}

// kind is the last word of its type.
func (l link) kind() string { return path.Base(l.Type) }

// linksName is where the relationships of a file lie.
func linksName(of string) string {
	dir, base := path.Split(of) // "" is the package itself
	return path.Join(dir, "_rels", base+".rels")
}

func (p *pack) links(of string) ([]link, error) {
	text, there := p.files[linksName(of)]
	if !there {
		return nil, nil
	}
	var all struct {
		Links []link `xml:"Relationship"`
	}
	err := xml.Unmarshal(text, &all)
	return all.Links, err
}

// target is the file that a link of another one leads to.
func (l link) target(of string) string {
	if rooted, ok := strings.CutPrefix(l.Target, "/"); ok {
		return path.Clean(rooted)
	}
	return path.Join(path.Dir(of), l.Target)
}

// addLinks adds relationships to those of a file.
func (p *pack) addLinks(of string, more []link) {
	var b strings.Builder
	for _, l := range more {
		fmt.Fprintf(&b, `<Relationship xmlns="http://schemas.openxmlformats.org/package/2006/relationships" Id="%s" Type="%s" Target="%s"`,
			escape(l.ID), escape(l.Type), escape(l.Target))
		if l.Mode != "" {
			fmt.Fprintf(&b, ` TargetMode="%s"`, escape(l.Mode))
		}
		b.WriteString("/>")
	}
	name := linksName(of)
	text, there := p.files[name]
	if !there {
		text = []byte(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` +
			`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"></Relationships>`)
	}
	p.set(name, beforeEnd(text, b.String()))
}

const typesName = "[Content_Types].xml"

// typeOf is the content type of a file, and whether it is said for it alone.
func (p *pack) typeOf(name string) (kind string, own bool) {
	var all struct {
		Defaults []struct {
			Extension   string `xml:"Extension,attr"`
			ContentType string `xml:"ContentType,attr"`
		} `xml:"Default"`
		Overrides []struct {
			PartName    string `xml:"PartName,attr"`
			ContentType string `xml:"ContentType,attr"`
		} `xml:"Override"`
	}
	if xml.Unmarshal(p.files[typesName], &all) != nil {
		return "", false
	}
	for _, o := range all.Overrides {
		if strings.EqualFold(o.PartName, "/"+name) {
			return o.ContentType, true
		}
	}
	for _, d := range all.Defaults {
		if strings.EqualFold("."+d.Extension, path.Ext(name)) {
			return d.ContentType, false
		}
	}
	return "", false
}

// copyFile takes a file of another package over under a name, with its type.
func (p *pack) copyFile(from *pack, name, as string) error {
	content, there := from.files[name]
	if !there {
		return fmt.Errorf("%s is missing", name)
	}
	kind, _ := from.typeOf(name)
	p.set(as, content)
	if now, _ := p.typeOf(as); kind != "" && now != kind {
		p.set(typesName, beforeEnd(p.files[typesName],
			fmt.Sprintf(`<Override xmlns="http://schemas.openxmlformats.org/package/2006/content-types" PartName="/%s" ContentType="%s"/>`, escape(as), escape(kind))))
	}
	return nil
}

// main is the file of a package that is the document.
func (p *pack) main() (string, error) {
	links, err := p.links("")
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if l.kind() == "officeDocument" {
			if name := l.target(""); p.files[name] != nil {
				return name, nil
			}
		}
	}
	return "", errors.New("it has no document")
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// beforeEnd puts text before the end of the outermost element.
func beforeEnd(file []byte, text string) []byte {
	n, err := parse(file)
	if err != nil {
		return file
	}
	return n.insert(file, len(n.children), text)
}

// A node is an element and where its text lies: what is not changed stays bit by
// bit as it is.
type node struct {
	xml.StartElement
	start, inner, innerEnd, end int // of the element, and of what is in it
	children                    []node
}

// parse finds the outermost element and those in it, one level deep.
func parse(file []byte) (node, error) { return parseAt(file, 0) }

// parseAt does so from an offset on.
func parseAt(file []byte, from int) (node, error) {
	d := xml.NewDecoder(bytes.NewReader(file[from:]))
	var root node
	var child node
	depth := 0
	for {
		before := from + int(d.InputOffset())
		t, err := d.RawToken()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return root, err
		}
		after := from + int(d.InputOffset())
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			switch depth {
			case 1:
				root = node{StartElement: t.Copy(), start: before, inner: after}
			case 2:
				child = node{StartElement: t.Copy(), start: before, inner: after}
			}
		case xml.EndElement:
			depth--
			switch depth {
			case 0:
				root.innerEnd, root.end = before, after
				return root, nil
			case 1:
				child.innerEnd, child.end = before, after
				root.children = append(root.children, child)
			}
		}
	}
}

// insert puts text before the n-th child, or at the end.
func (n node) insert(file []byte, at int, text string) []byte {
	where := n.innerEnd
	if at < len(n.children) {
		where = n.children[at].start
	}
	if n.inner == n.end { // <empty/>: it must be opened first
		tag := string(file[n.start:n.end])
		open := strings.TrimSuffix(strings.TrimSpace(strings.TrimSuffix(tag, ">")), "/") + ">"
		return bytes.Join([][]byte{file[:n.start], []byte(open + text + "</" + name(n.Name) + ">"), file[n.end:]}, nil)
	}
	return bytes.Join([][]byte{file[:where], []byte(text), file[where:]}, nil)
}

// name is an element's, as it is written.
func name(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// child returns the first child of that local name.
func (n node) child(local string) (node, bool) {
	for _, c := range n.children {
		if c.Name.Local == local {
			return c, true
		}
	}
	return node{}, false
}

// attr returns an attribute by its local name.
func (n node) attr(local string) string {
	for _, a := range n.Attr {
		if a.Name.Local == local && a.Name.Space != "xmlns" {
			return a.Value
		}
	}
	return ""
}

// namespaces adds to the outermost element the prefixes that the other file has
// and this one has not. A prefix that means something else in each cannot be
// joined.
func namespaces(file, other []byte) ([]byte, error) {
	a, err := parse(file)
	if err != nil {
		return nil, err
	}
	b, err := parse(other)
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	ignorable := ""
	for _, at := range a.Attr {
		known[name(at.Name)] = at.Value
		if at.Name.Local == "Ignorable" {
			ignorable = name(at.Name)
		}
	}
	add := ""
	for _, at := range b.Attr {
		key := name(at.Name)
		has, there := known[key]
		switch {
		case at.Name.Space != "xmlns" && key != "xmlns" && at.Name.Local != "Ignorable":
		case at.Name.Local == "Ignorable" && ignorable != "":
			list := strings.Fields(has)
			for _, p := range strings.Fields(at.Value) {
				if !strings.Contains(" "+has+" ", " "+p+" ") {
					list = append(list, p)
				}
			}
			tag := string(file[a.start:a.inner])
			changed := strings.Replace(tag, ignorable+`="`+has+`"`, ignorable+`="`+strings.Join(list, " ")+`"`, 1)
			file = bytes.Join([][]byte{file[:a.start], []byte(changed), file[a.inner:]}, nil)
			a.inner += len(changed) - len(tag)
		case there && has != at.Value:
			return nil, fmt.Errorf("the prefix %q means two things", key)
		case !there:
			add += fmt.Sprintf(` %s="%s"`, key, escape(at.Value))
		}
	}
	end := a.inner - 1 // before the >
	return bytes.Join([][]byte{file[:end], []byte(add), file[end:]}, nil), nil
}

// replaceAttr replaces the value of attributes in raw XML. The names are as they
// are written, prefix included.
func replaceAttr(raw []byte, names *regexp.Regexp, f func(value string) string) []byte {
	return names.ReplaceAllFunc(raw, func(m []byte) []byte {
		s := names.FindSubmatch(m)
		return append(append(append([]byte{}, s[1]...), f(string(s[2]))...), s[3]...)
	})
}
