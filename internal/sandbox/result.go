package sandbox

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// formats are the results of each action.
var formats = map[string][]string{
	"transcribe": {"txt", "docx", "json"},
	"tables":     {"xlsx", "json"},
	"extractor":  {"xlsx", "csv", "json"},
}

var contentTypes = map[string]string{
	"txt":  "text/plain; charset=utf-8",
	"json": "application/json",
	"csv":  "text/csv; charset=utf-8",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

// stamp writes t in one of the three shapes that the service mixes.
func (s *Sandbox) stamp(t time.Time, shape int) string {
	switch shape % 3 {
	case 0:
		return t.UTC().Format("2006-01-02T15:04:05Z")
	case 1:
		return t.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	zone := s.opts.Zone
	if zone == nil {
		zone = time.UTC
	}
	return t.In(zone).Format(time.DateTime)
}

// single is a document as GET /documents/{id} shows it. The caller holds s.mu.
func (s *Sandbox) single(d *document, now time.Time, version int) object {
	doc := d.at(now)
	if version == 3 && doc.Status == "processed" {
		return s.result(doc, d.reading, d.serial, version)
	}
	o := object{
		"id": doc.ID, "status": doc.Status, "action": doc.Action,
		"created_at": s.stamp(doc.Created, d.serial), "updated_at": s.stamp(doc.Updated, d.serial+1),
	}
	if doc.Error != "" {
		o["error"] = doc.Error
	}
	if version == 3 {
		o["file_name"], o["page_count"] = doc.Name, doc.Pages
	}
	return o
}

// row is a document as the list shows it. The caller holds s.mu.
func (s *Sandbox) row(d *document, now time.Time) object {
	doc := d.at(now)
	return object{
		"document_id": doc.ID, "original_file_name": doc.Name, "status": doc.Status,
		"action": doc.Action, "page_count": doc.Pages,
		"created_at":               s.stamp(doc.Created, d.serial),
		"updated_at":               s.stamp(doc.Updated, d.serial+1),
		"automatically_deleted_at": s.stamp(doc.Expires, d.serial+2),
	}
}

// result is a processed document as the JSON download and webhooks show it.
func (s *Sandbox) result(doc Document, r Reading, serial, version int) object {
	results := []object{}
	switch doc.Action {
	case "transcribe":
		for i, page := range r.Pages {
			results = append(results, object{"page_number": i + 1, "transcript": page})
		}
	case "tables":
		for i, rows := range r.tables() {
			results = append(results, object{"table_number": i + 1, "rows": rows})
		}
	case "extractor":
		// Several pages have been seen as several results and as several
		// sets of one: v2 has them so, v3 so.
		sets := [][]object{}
		for _, fields := range r.sets() {
			set := []object{}
			for _, f := range fields {
				set = append(set, object{"key": f.Key, "name": f.Name, "type": f.Type, "value": f.Value})
			}
			sets = append(sets, set)
		}
		if version == 3 {
			results = append(results, object{"page_number": 1, "extractions": sets})
			break
		}
		for i, set := range sets {
			results = append(results, object{"page_number": i + 1, "extractions": [][]object{set}})
		}
	}
	thumbnails := []string{}
	for n := range doc.Pages {
		thumbnails = append(thumbnails, fmt.Sprintf("https://files.sandbox.invalid/%s/%d.jpg", doc.ID, n+1))
	}
	return object{
		"id": doc.ID, "file_name": doc.Name, "action": doc.Action, "page_count": doc.Pages, "status": doc.Status,
		"results": results, "thumbnails": thumbnails,
		"created_at":               s.stamp(doc.Created, serial),
		"updated_at":               s.stamp(doc.Updated, serial+1),
		"automatically_deleted_at": s.stamp(doc.Expires, serial+2),
	}
}

// download answers with the result in the format that c asks for. The caller
// holds s.mu.
func (s *Sandbox) download(d *document, now time.Time, c request) answer {
	if !slices.Contains(formats[d.Action], c.format) {
		return message(http.StatusBadRequest, fmt.Sprintf("The format %q does not go with the action %s.", c.format, d.Action))
	}
	doc := d.at(now)
	switch doc.Status {
	case "processed":
	case "failed":
		return message(http.StatusBadRequest, "The document has no results.")
	default:
		return jsonAnswer(http.StatusAccepted, object{"id": doc.ID, "status": doc.Status})
	}
	var body []byte
	switch c.format {
	case "txt":
		body = text(d.reading.Pages)
	case "json":
		body = marshal(s.result(doc, d.reading, d.serial, c.version))
	case "csv":
		body = csvFile(grid(d.reading.sets()))
	case "docx":
		body = docx(d.reading.Pages)
	case "xlsx":
		sheets := d.reading.tables()
		if d.Action == "extractor" {
			sheets = [][][]string{grid(d.reading.sets())}
		}
		body = xlsx(sheets)
	}
	a := file(http.StatusOK, contentTypes[c.format], body)
	base, _ := splitExt(doc.Name)
	if disposition := mime.FormatMediaType("attachment", map[string]string{"filename": base + "." + c.format}); disposition != "" {
		a.header.Set("Content-Disposition", disposition)
	}
	return a
}

func text(pages []string) []byte {
	var b bytes.Buffer
	for i, page := range pages {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "=== **Page: %d of %d**\n\n%s\n", i+1, len(pages), strings.TrimRight(page, "\n"))
	}
	return b.Bytes()
}

// grid is a table of sets of fields: a column for each key, in the order in
// which the keys come, and a row for each set.
func grid(sets [][]Field) [][]string {
	column := map[string]int{}
	rows := [][]string{nil}
	for _, set := range sets {
		for _, f := range set {
			if _, ok := column[f.Key]; !ok {
				column[f.Key] = len(column)
				rows[0] = append(rows[0], f.Name)
			}
		}
	}
	for _, set := range sets {
		row := make([]string, len(column))
		for _, f := range set {
			row[column[f.Key]] = f.Value
		}
		rows = append(rows, row)
	}
	return rows
}

func csvFile(rows [][]string) []byte {
	var b bytes.Buffer
	_ = csv.NewWriter(&b).WriteAll(rows) // a bytes.Buffer takes everything
	return b.Bytes()
}
