package web

import (
	"fmt"
	"strconv"
	"time"

	h "scandrop/internal/markup"
)

// jobAddress is where a scan is shown, or what is below that.
func jobAddress(id uint64, below ...string) h.Address {
	return h.At("/jobs", append([]string{strconv.FormatUint(id, 10)}, below...)...)
}

// link leads to another page.
func link(to h.Address, children ...h.Node) h.Node {
	return h.El("a", h.Link("href", to), h.Group(children))
}

// document is all of a page.
func document(title string, body ...h.Node) h.Node {
	return h.El("html", h.Attr("lang", "en"),
		h.El("head",
			h.El("meta", h.Attr("charset", "utf-8")),
			h.El("meta", h.Attr("name", "viewport"), h.Attr("content", "width=device-width, initial-scale=1")),
			h.El("title", h.Text(title)),
			h.El("link", h.Attr("rel", "icon"), h.Link("href", h.At("/static/icon.svg")), h.Attr("type", "image/svg+xml")),
			h.El("link", h.Attr("rel", "stylesheet"), h.Link("href", h.At("/static/style.css"))),
			h.El("script", h.Link("src", h.At("/static/live.js")), h.Attr("defer", "")),
		),
		h.El("body", body...))
}

// brand leads home.
func brand() h.Node { return link(h.At("/"), h.Class("brand"), h.Text("scandrop")) }

// live says how old the page is; its script says more.
func live(now time.Time) h.Node {
	return h.El("p", h.Class("live"), h.Attr("id", "live"), h.Attr("data-on", "no"), h.Attr("role", "status"), h.Text("as of "+moment(now)))
}

// footer is what stands below every page of a session.
func footer(version string) h.Node {
	return h.El("footer", h.Class("bottom"), h.El("span", h.Text("scandrop "+version)),
		link(h.At("/api/v1/openapi.json"), h.Text("JSON API")), link(h.At("/metrics"), h.Text("metrics")),
		post(h.At("/logout"), h.El("button", h.Text("End this session"))))
}

// problemView says why a request is not fulfilled.
func problemView(d problemData) h.Node {
	return document("scandrop",
		h.El("header", h.Class("top"), brand()),
		h.El("main",
			h.El("h1", h.Text(d.Title)),
			h.El("p", h.Text(d.Message)),
			h.If(d.Hint != "", h.El("p", h.Class("quiet"), h.Text(d.Hint))),
			h.If(d.Password, post(h.At("/login"), h.Class("filter"),
				h.El("p", h.Class("grow"), h.El("label", h.Attr("for", "password"), h.Text("Password")),
					h.El("input", h.Attr("type", "password"), h.Attr("id", "password"), h.Attr("name", "password"), h.Attr("autocomplete", "current-password"), h.Attr("required", ""))),
				h.El("p", h.El("button", h.Class("first"), h.Text("Open")))))))
}

// post is a form that asks for a change.
func post(to h.Address, children ...h.Node) h.Node {
	return h.El("form", h.Attr("method", "post"), h.Link("action", to), h.Group(children))
}

// said answers what a person has just asked for, if that is anything.
func said(text string) h.Node {
	return h.If(text != "", h.El("p", h.Class("said"), h.Attr("role", "status"), h.Text(text)))
}

// sub is what stands small below something.
func sub(children ...h.Node) h.Node { return h.El("span", h.Class("sub"), h.Group(children)) }

// unseen is for those who hear the page.
func unseen(text string) h.Node { return h.El("span", h.Class("hidden"), h.Text(text)) }

// count is how many there are of something.
func count[N int | int64 | uint64](n N) h.Node { return h.Text(fmt.Sprint(n)) }

// plural is a count of something.
func plural[N int | int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// clock is a time for the page, if there is one.
func clock(t time.Time) h.Node {
	return h.If(!t.IsZero(), h.El("time", h.Attr("datetime", t.Format(time.RFC3339)), h.Text(moment(t))))
}

// moment is a time as a person reads it: the clock today, else with its day.
func moment(t time.Time) string {
	t = t.Local()
	now := time.Now()
	switch {
	case t.Format(time.DateOnly) == now.Format(time.DateOnly):
		return t.Format("15:04:05")
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2 Jan 2006 15:04")
}
