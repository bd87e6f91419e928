package web

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
	"scandrop/queue"
)

func homeView(d homeData) h.Node {
	return document("scandrop",
		h.Attr("data-events", "/events"),
		link(h.At("#list"), h.Class("skip"), h.Text("To the scans")),
		h.El("header", h.Class("top"), brand(), live(d.Status.Now)),
		h.El("main",
			h.El("h1", h.Class("hidden"), h.Text("What scandrop is doing")),
			said(d.Said),
			h.El("div", h.Attr("id", "summary"), summary(d.Status)),
			h.El("section", h.Attr("aria-labelledby", "drop-title"),
				h.El("h2", h.Attr("id", "drop-title"), h.Text("Drop scans")),
				dropForm(d.Status.Folders)),
			h.El("section", h.Attr("aria-labelledby", "list-title"),
				h.El("h2", h.Attr("id", "list-title"), h.Text("Scans")),
				filterForm(d),
				h.El("div", h.Attr("id", "list"), list(d.List))),
			h.El("div", h.Attr("id", "folders"), folders(d.Status.Folders))),
		footer(d.Status.Version))
}

func dropForm(all []control.Folder) h.Node {
	return post(h.At("/drop"), h.Class("drop"), h.Attr("id", "drop"), h.Attr("enctype", "multipart/form-data"),
		h.El("p", h.Class("grow"), h.El("label", h.Attr("for", "into"), h.Text("Into the folder")), h.El("br"),
			h.El("select", h.Attr("id", "into"), h.Attr("name", "folder"), h.Map(all, func(f control.Folder) h.Node {
				return h.El("option", h.Attr("value", f.Path), h.Text(f.Path+" ("+asked(f)+")"))
			}))),
		h.El("p", h.Class("grow"), h.El("label", h.Attr("for", "files"), h.Text("Scans: drop them anywhere on this page, or choose")), h.El("br"),
			h.El("input", h.Attr("type", "file"), h.Attr("id", "files"), h.Attr("name", "scan"), h.Attr("multiple", ""), h.Attr("required", ""), h.Attr("accept", strings.Join(accepted, ",")))),
		h.El("button", h.Class("first"), h.Text("Drop")),
		h.El("ul", h.Attr("id", "took"), h.Attr("role", "status"), hidden()))
}

func filterForm(d homeData) h.Node {
	option := func(value, label, chosen string) h.Node {
		return h.El("option", h.Attr("value", value), h.If(value == chosen, h.Attr("selected", "")), h.Text(label))
	}
	return h.El("form", h.Class("filter"), h.Attr("id", "filter"), h.Attr("method", "get"), h.Link("action", h.At("/")), h.Attr("role", "search"),
		h.El("p", h.El("label", h.Attr("for", "state"), h.Text("State")),
			h.El("select", h.Attr("id", "state"), h.Attr("name", "state"), option("", "all", d.State), h.Map(d.Groups, func(c group) h.Node {
				return option(c.Value, c.Label, d.State)
			}))),
		h.El("p", h.El("label", h.Attr("for", "folder"), h.Text("Folder")),
			h.El("select", h.Attr("id", "folder"), h.Attr("name", "folder"), option("", "all", d.Folder), h.Map(d.Status.Folders, func(f control.Folder) h.Node {
				return option(f.Path, f.Path, d.Folder)
			}))),
		h.El("p", h.Class("grow"), h.El("label", h.Attr("for", "q"), h.Text("Name holds")), h.El("input", h.Attr("type", "search"), h.Attr("id", "q"), h.Attr("name", "q"), h.Attr("value", d.Text))),
		h.El("p", h.El("button", h.Text("Show"))))
}

// summary is the head of the page: what is held, what waits, runs and came to an end.
func summary(s control.Status) h.Node {
	settling := 0 // files that have not stopped changing
	for _, f := range s.Folders {
		settling += f.Settle
	}
	waiting, trouble := s.Jobs[queue.Queued], inTrouble(s.Jobs)
	figure := func(states string, n int, of, more string) h.Node {
		return link(listOf(url.Values{"state": {states}}), h.Class("card"), h.El("strong", count(n)), h.Text(of), sub(h.Text(more)))
	}
	either := func(n int, some, none string) string {
		if n > 0 {
			return some
		}
		return none
	}
	return h.Group{
		h.If(len(s.Holds) > 0, h.El("section", h.Attr("aria-labelledby", "held-title"),
			h.El("h2", h.Attr("id", "held-title"), h.Class("hidden"), h.Text("What is held, and why")),
			h.Map(s.Holds, holdCard))),
		h.El("ul", h.Class("figures"),
			h.El("li", figure("queued", waiting, "waiting", either(settling, fmt.Sprint(settling, " still settling"), "to be sent"))),
			h.El("li", figure("uploading,doubtful,processing,written", s.Jobs.Open()-waiting, "under way", fmt.Sprint(s.Jobs[queue.Processing], " with the service"))),
			h.El("li", figure("done", s.Today.Done, "done today", either(s.Today.Pages, plural(s.Today.Pages, "page"), "since midnight"))),
			h.El("li", h.If(trouble > 0, h.Class("bad")), figure("failed,rejected", trouble, "need you", "failed or rejected")),
			h.El("li", figure("done", s.Jobs[queue.Done], "done in all", fmt.Sprintf("%.3g requests a second", s.Pace.Rate)))),
		pace(s.Pace),
		h.If(len(s.Limits) > 0, h.El("section", h.Class("card pad"), h.Attr("aria-labelledby", "limits-title"),
			h.El("h2", h.Attr("id", "limits-title"), h.Text("Used of the limits")),
			h.Map(s.Limits, meter))),
	}
}

func holdCard(hold control.Hold) h.Node {
	return h.El("div", h.Class("hold"),
		h.El("div",
			h.El("p", h.El("span", h.Class("name"), h.Text("Held: "+hold.Name)), h.Text(" "),
				h.El("span", h.Class("quiet small"), h.Text("since "), clock(hold.Since),
					h.If(!hold.Next.IsZero(), h.Group{h.Text(", tried again "), clock(hold.Next)}))),
			h.El("p", h.Text(hold.Reason))),
		post(h.At("/release"), h.El("input", h.Attr("type", "hidden"), h.Attr("name", "hold"), h.Attr("value", hold.Name)),
			h.El("button", h.Text("Release"), unseen(" the hold "+hold.Name))))
}

// pace is how much the service is asked, and what it wished.
func pace(p control.Pace) h.Node {
	text := plural(p.Requests, "request") + " since the start"
	if p.Refused > 0 {
		text += fmt.Sprintf(", %d of them refused as too many", p.Refused)
	}
	if p.Quota > 0 {
		text += fmt.Sprintf("; the service takes %d in %s", p.Quota, p.Window)
	}
	return h.El("p", h.Class("quiet small"), h.Text(text),
		h.If(!p.NotBefore.IsZero(), h.Group{h.Text("; it asks to wait until "), clock(p.NotBefore)}))
}

func meter(l control.Limit) h.Node {
	name := l.Name
	if l.Folder != "" {
		name += " in " + l.Folder
	}
	return h.El("p", h.Class("meter"), h.El("label", h.Text(fmt.Sprintf("%s: %d of %d", name, l.Used, l.Most)),
		h.El("meter", h.Attr("min", "0"), h.Attr("max", fmt.Sprint(l.Most)), h.Attr("value", fmt.Sprint(l.Used)))))
}

// folders has a row for each.
func folders(all []control.Folder) h.Node {
	return h.El("section", h.Attr("aria-labelledby", "folders-title"),
		h.El("h2", h.Attr("id", "folders-title"), h.Text("Folders")),
		h.El("div", h.Class("card"), h.El("table", h.Class("stack"),
			heads("Folder", "Last scan", "Noticed by", "Waiting", "Done", "Failed"),
			h.El("tbody", h.Map(all, folderRow)))))
}

func folderRow(f control.Folder) h.Node {
	quiet := func(text string) h.Node { return h.El("span", h.Class("quiet"), h.Text(text)) }
	last, mode := clock(f.Last), h.Text(f.Mode)
	if f.Last.IsZero() {
		last = quiet("none since the start")
	}
	if f.Mode == "" && f.Looked.IsZero() {
		mode = quiet("not looked through yet")
	}
	figure := func(name string, n int) h.Node {
		return h.El("td", h.Class("num"), h.Attr("data-name", name), count(n))
	}
	return h.El("tr",
		h.El("td", h.Class("scan"), link(listOf(url.Values{"folder": {f.Path}}), h.Text(f.Path)), sub(h.Text(asked(f))),
			h.Map(f.Held, func(name string) h.Node {
				return h.Group{h.Text(" "), h.El("span", h.Class("badge held"), h.Text("held: "+name))}
			}),
			h.If(f.Error != "", sub(h.Text(f.Error)))),
		h.El("td", h.Class("when"), h.Attr("data-name", "Last scan"), last),
		h.El("td", h.Attr("data-name", "Noticed by"), mode,
			h.If(f.Missed > 0, sub(count(f.Missed), h.Text(" missed by events"))),
			h.If(f.Why != "", sub(h.Text(f.Why))),
			h.If(!f.Looked.IsZero(), sub(h.Text("looked through "), clock(f.Looked)))),
		figure("Waiting or under way", f.Jobs.Open()),
		figure("Done", f.Jobs[queue.Done]),
		figure("Failed or rejected", inTrouble(f.Jobs)))
}

// listOf is the list of the scans that a filter lets through.
func listOf(filter url.Values) h.Address { return h.At("/").Query(filter) }

// list is one page of the scans.
func list(d listData) h.Node {
	none := "Nothing here yet: drop a scan into a folder."
	switch {
	case d.Filtered && d.Page.Next != 0:
		none = "No scan matches so far."
	case d.Filtered:
		none = "No scan matches."
	}
	first := "no"
	if d.First {
		first = "yes"
	}
	empty := len(d.Page.Jobs) == 0
	return h.Group{
		h.El("div", h.Class("card"), h.If(empty, hidden()), h.El("table", h.Class("stack jobs"),
			heads("Scan", "State", "What happens", "Since"),
			h.El("tbody", h.Attr("id", "jobs"), h.Attr("data-first", first), h.Attr("data-most", fmt.Sprint(d.Most)), h.Map(d.Page.Jobs, row)))),
		h.If(empty, h.El("p", h.Attr("id", "none"), h.Class("card pad quiet"), h.Text(none))),
		h.El("nav", h.Class("pager"), h.Attr("aria-label", "Pages"),
			h.If(!d.Newest.IsZero(), link(d.Newest, h.Class("button"), h.Text("Newest"))),
			h.If(!d.Older.IsZero(), link(d.Older, h.Class("button"), h.Attr("rel", "next"), h.Text("Older")))),
	}
}

// row is one scan in the list; live.js knows its classes.
func row(j control.Job) h.Node {
	place, note, tone := j.Folder, outcome(j), "note"
	if below := j.Below(); below != "" {
		place = below + " · " + place
	}
	switch {
	case j.Error != "":
		note, tone = j.Error, "note bad"
	case j.Next != "":
		note = j.Next
	}
	return h.El("tr", h.Attr("id", fmt.Sprint("job-", j.ID)),
		h.El("td", h.Class("scan"), link(jobAddress(j.ID), h.Text(j.Name())), sub(h.Text(place))),
		h.El("td", h.Class("state"), badge(j.State)),
		h.El("td", h.Class(tone), h.Text(note)),
		h.El("td", h.Class("when"), clock(since(j))))
}

func badge(s queue.State) h.Node { return h.El("span", h.Class("badge "+string(s)), h.Text(string(s))) }

func heads(names ...string) h.Node {
	return h.El("thead", h.El("tr", h.Map(names, func(name string) h.Node { return h.El("th", h.Attr("scope", "col"), h.Text(name)) })))
}

func hidden() h.Node { return h.Attr("hidden", "") }

// asked is what becomes of a folder's scans.
func asked(f control.Folder) string { return f.Action + " → " + strings.Join(f.Formats, ", ") }

// inTrouble counts the jobs that wait for a person.
func inTrouble(c control.Counts) int { return c[queue.Failed] + c[queue.Rejected] }

// since is when the job came to where it is, as far as its record says.
func since(j control.Job) time.Time {
	for _, t := range []time.Time{j.Finished, j.Uploaded, j.Sent} {
		if !t.IsZero() && (t != j.Finished || j.State.Final()) {
			return t
		}
	}
	return j.Added
}

// outcome is what became of a job that nothing is left to do for.
func outcome(j control.Job) string {
	var names []string
	for _, r := range j.Results {
		if r.Path != "" {
			names = append(names, filepath.Base(r.Path))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "→ " + strings.Join(names, ", ")
}
