package web

import (
	"fmt"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
)

// jobView is all that is known of one scan.
func jobView(d jobData) h.Node {
	j := d.Job
	return document(j.Name()+" – scandrop",
		h.Attr("data-events", "/events"), h.Attr("data-job", fmt.Sprint(j.ID)),
		link(h.At("#job"), h.Class("skip"), h.Text("To the scan")),
		h.El("header", h.Class("top wide"), brand(), live(d.Now)),
		h.El("main", h.Class("wide"),
			h.El("p", h.Class("small"), link(h.At("/"), h.Text("All scans"))),
			said(d.Said),
			h.El("div", h.Attr("id", "job"),
				h.El("h1", h.Text(j.Name()+" "), badge(j.State)),
				h.If(j.Error != "", h.El("p", h.Class("error"), h.Text(j.Error))),
				h.If(j.Next != "", h.El("p", h.Class("next"), h.Text("Next: "+j.Next),
					h.If(d.Later, h.Group{h.Text(", "), clock(j.Due)}), h.Text("."))),
				h.If(len(j.Can) > 0, h.El("div", h.Class("actions"), h.Map(j.Can, func(what string) h.Node { return action(j.ID, what) }))),
				h.Map(d.Sides, func(s side) h.Node { return sideBySide(s, d.Pages) }),
				story(d),
				facts(d))),
		footer(d.Version))
}

// action is one of the things that a person can do with a job; see [control.Job.Can].
func action(id uint64, what string) h.Node {
	ask := func(what string, children ...h.Node) h.Node { return post(jobAddress(id, what), children...) }
	switch what {
	case control.Retry:
		return ask("retry", h.El("button", h.Class("first"), h.Text("Retry")))
	case control.RetryPaid:
		return h.El("details", h.El("summary", h.Class("button"), h.Text("Send again…")),
			ask("retry", h.El("p", h.Class("small"), h.Text("This scan is done. To send it again is to pay for its pages once more.")),
				h.El("input", h.Attr("type", "hidden"), h.Attr("name", "pay_again"), h.Attr("value", "true")),
				h.El("button", h.Text("Send again, and pay again"))))
	case control.Cancel:
		return ask("cancel", h.El("button", h.Text("Cancel")))
	case control.Forget:
		return ask("forget", h.El("button", h.Text("Forget")))
	}
	return nil
}

// sideBySide is a piece of a scan of so many pages, and its text.
func sideBySide(s side, pages int) h.Node {
	title := ""
	if len(s.Texts) > 0 {
		title = s.Texts[0].Title
	}
	if len(s.Texts) > 1 {
		title += " and more"
	}
	return h.El("div", h.Class("sides"),
		scanSide(s.Scan, pages),
		h.El("section", h.Class("card side"), h.Attr("aria-label", title), h.Map(s.Texts, textSide)))
}

// scanSide is nothing where the text has more pages than the scan shows.
func scanSide(p *scanPart, pages int) h.Node {
	if p == nil {
		return nil
	}
	name, title, class := "The scan", "The scan", "card side"
	if p.Number > 0 {
		name, title = fmt.Sprint("The scan, page ", p.Number), fmt.Sprintf("Page %d of %d", p.Number, pages)
	}
	if p.Alone {
		class += " sticky"
	}
	whole := func(text string) h.Node { return link(p.Whole, h.Text(text)) }
	shown := h.El("p", h.Class("empty"), h.Text(p.Why+" "), whole("Download it"))
	switch {
	case !p.Image.IsZero():
		shown = h.El("img", h.Link("src", p.Image), h.Attr("alt", p.Alt), h.Attr("loading", "lazy"))
	case !p.Document.IsZero():
		shown = h.El("object", h.Link("data", p.Document), h.Attr("type", "application/pdf"), h.Attr("aria-label", p.Alt),
			h.El("p", h.Class("empty"), h.Text("This browser shows no PDF here. "), whole("Open the scan")))
	}
	return h.El("section", h.Class(class), h.Attr("aria-label", name),
		h.El("h2", h.El("span", h.Text(title)), link(p.Whole, h.Text("open"), unseen(" the scan"))),
		shown)
}

func textSide(t textPart) h.Node {
	shown := h.El("p", h.Class("empty"), h.Text(t.Why))
	if t.Text != "" {
		class := "text"
		if t.Data {
			class += " data"
		}
		shown = h.El("pre", h.Class(class), h.Attr("tabindex", "0"), h.Attr("aria-label", t.Title), h.Text(t.Text))
	}
	return h.Group{
		h.El("h2", h.El("span", h.Text(t.Title)), h.If(!t.Link.IsZero(), link(t.Link, h.Text("open"), unseen(" the file")))),
		shown,
	}
}

func story(d jobData) h.Node {
	when := clock(d.Job.Due)
	if !d.Later {
		when = h.Text("next")
	}
	return h.El("section", h.Attr("aria-labelledby", "story-title"),
		h.El("h2", h.Attr("id", "story-title"), h.Text("Its story")),
		h.El("ol", h.Class("story card"),
			h.Map(d.Story, func(t told) h.Node {
				return h.El("li", clock(t.At), h.El("p", h.If(t.Bad, h.Class("bad")), h.Text(t.Text)))
			}),
			h.If(d.GoesOn, h.El("li", h.El("span", h.Class("quiet"), when), h.El("p", h.Class("to-come"), h.Text(d.Job.Next))))))
}

func facts(d jobData) h.Node {
	j := d.Job
	fact := func(name string, value ...h.Node) h.Node {
		return h.Group{h.El("dt", h.Text(name)), h.El("dd", value...)}
	}
	extent := size(j.Size)
	if j.Pages > 0 {
		extent += ", " + plural(j.Pages, "page")
	}
	return h.El("section", h.Attr("aria-labelledby", "facts-title"),
		h.El("h2", h.Attr("id", "facts-title"), h.Text("Facts")),
		h.El("dl", h.Class("card facts"),
			fact("Scan", h.Text(j.Scan)),
			h.If(j.Moved != "", fact("Moved to", h.Text(j.Moved))),
			fact("Job", count(j.ID),
				h.If(j.SameAs != 0, h.Group{h.Text(", the same content as "), link(jobAddress(j.SameAs), h.Text(fmt.Sprint("job ", j.SameAs)))})),
			fact("Size", h.Text(extent)),
			fact("Asked for", h.Text(j.Action)),
			h.Map(d.Results, func(r resultData) h.Node { return fact(r.Format, result(r)) }),
			h.If(j.Document != "", fact("At the service", h.El("code", h.Text(j.Document)))),
			h.If(j.Content != "", fact("SHA-256", h.El("code", h.Text(j.Content))))))
}

func result(r resultData) h.Node {
	switch {
	case r.Refused != "":
		return h.Text("not made: " + r.Refused)
	case !r.Link.IsZero():
		return link(r.Link, h.Text(r.Path))
	}
	return h.Text(r.Path)
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
