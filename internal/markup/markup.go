// Package markup makes HTML in which nothing is markup but the program's own words.
//
// A page is a tree of nodes. The names of elements and attributes are constants of the
// program, which the compiler sees to; every text and every value of an attribute is
// written escaped; a link leads to an [Address], and so to this server. There is no way
// to write anything raw. So whatever a file, a folder or an error is called, it is
// shown, and nothing else.
//
// It is there for html/template, which calls methods by names that it reads at run
// time: the linker then keeps every exported method of the whole program. A text
// inside of script or style would be safe and not what was meant; there is none.
package markup

import (
	"html"
	"net/url"
	"strings"
)

// constant is a text that only a constant can be given for from outside.
type constant string

// A Node is a piece of a page: an element, a text, or an attribute of the element that
// it is given to. A nil Node is nothing. Nodes may be used again, and concurrently.
type Node interface {
	// write writes the attributes of a tag, or, with attributes false, all the rest.
	write(b *strings.Builder, attributes bool)
}

// Render returns the HTML of a node.
func Render(n Node) string {
	var b strings.Builder
	write(&b, n, false)
	return b.String()
}

// Document is a whole page, which begins with what it says about the version of HTML.
func Document(root Node) string { return "<!doctype html>" + Render(root) }

func write(b *strings.Builder, n Node, attributes bool) {
	if n != nil {
		n.write(b, attributes)
	}
}

type element struct {
	name  constant
	parts Group
}

// El is an element with its attributes and what is in it, in any order.
func El(name constant, parts ...Node) Node { return element{name, parts} }

func (e element) write(b *strings.Builder, attributes bool) {
	if attributes {
		return
	}
	b.WriteString("<" + string(e.name))
	e.parts.write(b, true)
	b.WriteString(">")
	switch e.name { // that cannot hold anything
	case "br", "hr", "img", "input", "link", "meta":
		return
	}
	e.parts.write(b, false)
	b.WriteString("</" + string(e.name) + ">")
}

type text string

// Text is text.
func Text(s string) Node { return text(s) }

func (t text) write(b *strings.Builder, attributes bool) {
	if !attributes {
		b.WriteString(escape(string(t)))
	}
}

type attribute struct {
	name  constant
	value string
}

// Attr is an attribute with its value. One that is there or not has the value "".
func Attr(name constant, value string) Node { return attribute{name, value} }

// Class is the attribute class.
func Class(names string) Node { return Attr("class", names) }

// Link is an attribute that leads somewhere: href, src, action, data.
func Link(name constant, to Address) Node { return Attr(name, to.String()) }

func (a attribute) write(b *strings.Builder, attributes bool) {
	if !attributes {
		return
	}
	b.WriteString(" " + string(a.name))
	if a.value != "" {
		b.WriteString(`="` + escape(a.value) + `"`)
	}
}

// escape is for texts, and for values between quotes. HTML knows no NUL.
func escape(s string) string {
	return strings.ReplaceAll(html.EscapeString(s), "\x00", "\ufffd")
}

// A Group stands for the nodes in it.
type Group []Node

func (g Group) write(b *strings.Builder, attributes bool) {
	for _, n := range g {
		write(b, n, attributes)
	}
}

// If is the node, or nothing.
func If(condition bool, n Node) Node {
	if condition {
		return n
	}
	return nil
}

// Map is a node for each.
func Map[T any](all []T, node func(T) Node) Node {
	g := make(Group, len(all))
	for i, v := range all {
		g[i] = node(v)
	}
	return g
}

// An Address is a place of this server's: a path from its root, or (#) on the page
// itself. What is not constant in it is encoded. The zero Address is none.
type Address struct{ text string }

// At is the place with that path, and below it, one after the other, those with the
// names.
func At(path constant, names ...string) Address {
	a := Address{string(path)}
	if len(names) > 0 {
		a.text = strings.TrimSuffix(a.text, "/") // two of them would lead to another host
	}
	for _, name := range names {
		a.text += "/" + url.PathEscape(name)
	}
	return a
}

// Query is the same place, asked for that.
func (a Address) Query(v url.Values) Address {
	if len(v) > 0 {
		a.text += "?" + v.Encode()
	}
	return a
}

// IsZero reports whether it is none.
func (a Address) IsZero() bool { return a.text == "" }

// String is the address as a browser takes it.
func (a Address) String() string { return a.text }
