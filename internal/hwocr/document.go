package hwocr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Document is what the service says of one. Anything but ID may be missing; strings
// are free of control characters.
type Document struct {
	ID      string    // names it in all further requests
	Status  string    // new, queued, processing, processed, failed, or a word not known yet
	Action  string    // transcribe, tables, extractor
	Name    string    // file name under which it was uploaded
	Error   string    // why it failed
	Pages   int       // 0 if unknown
	Created time.Time // these three are zero if unknown; UTC is assumed where no zone is named
	Updated time.Time
	Expires time.Time // when the service deletes it by itself
}

// rawDocument knows all the names that a document's properties go by.
type rawDocument struct {
	DocumentID       text   `json:"document_id"`
	ID               text   `json:"id"`
	Status           text   `json:"status"`
	Action           text   `json:"action"`
	OriginalFileName text   `json:"original_file_name"`
	FileName         text   `json:"file_name"`
	Filename         text   `json:"filename"`
	Name             text   `json:"name"`
	Error            text   `json:"error"`
	PageCount        number `json:"page_count"`
	CreatedAt        stamp  `json:"created_at"`
	UpdatedAt        stamp  `json:"updated_at"`
	DeletedAt        stamp  `json:"automatically_deleted_at"`
}

func (r *rawDocument) document() Document {
	id := string(r.DocumentID)
	if id == "" {
		id = string(r.ID)
	}
	name := r.OriginalFileName
	for _, n := range []text{r.FileName, r.Filename, r.Name} {
		if name == "" {
			name = n
		}
	}
	return Document{
		ID:      id,
		Status:  strings.ToLower(oneLine(string(r.Status), 100)),
		Action:  oneLine(string(r.Action), 100),
		Name:    printable(string(name), 1000),
		Error:   oneLine(string(r.Error), 300),
		Pages:   max(0, r.PageCount.value),
		Created: time.Time(r.CreatedAt),
		Updated: time.Time(r.UpdatedAt),
		Expires: time.Time(r.DeletedAt),
	}
}

// parseDocument reads the document in body. Nothing at all, and JSON that is not an
// object, make an empty one.
func parseDocument(body []byte) (Document, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return Document{}, nil
	}
	if !json.Valid(body) {
		return Document{}, errNoJSON
	}
	if body[0] != '{' {
		return Document{}, nil
	}
	var r rawDocument
	if err := json.Unmarshal(body, &r); err != nil {
		return Document{}, errNoJSON
	}
	return r.document(), nil
}

// errNoJSON stands for encoding/json's own errors, which quote the body.
var errNoJSON = errors.New("the answer is broken JSON")

func parseBalance(body []byte) (int, error) {
	var b struct {
		Balance number `json:"balance"`
	}
	if json.Unmarshal(body, &b) != nil {
		return 0, errNoJSON
	}
	if !b.Balance.known {
		return 0, errors.New("the answer names no balance")
	}
	return b.Balance.value, nil
}

// A page is one answer of the list.
type page struct {
	documents []Document // rows that have a usable id
	rows      int        // all of them
	last      int        // number of the last page; 0 if it does not say
	total     number
}

func parsePage(body []byte) (page, error) {
	var p struct {
		Documents rows   `json:"documents"`
		Data      rows   `json:"data"`
		LastPage  number `json:"last_page"`
		Total     number `json:"total"`
	}
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		err = json.Unmarshal(body, &p.Data)
	} else {
		err = json.Unmarshal(body, &p)
	}
	all := p.Data
	if !all.list && (p.Documents.list || p.Documents.null) {
		all = p.Documents
	}
	switch {
	case errors.Is(err, errManyRows):
		return page{}, errManyRows
	case err != nil:
		return page{}, errNoJSON
	case !all.list && !all.null:
		return page{}, errors.New("the answer holds no list of documents")
	}
	list := page{documents: all.documents, rows: all.count, last: max(0, p.LastPage.value), total: p.Total}
	if list.last > 1 && list.total.value <= list.rows {
		list.total = number{} // it counts the rows of the page, which says nothing of the others
	}
	return list, nil
}

// maxRows bounds a page of the list: a server that knows no pages may send all that
// there is at once. The shortest rows would take thirty times the memory of their text.
const maxRows = 100_000

var errManyRows = fmt.Errorf("the answer holds more than %d documents", maxRows)

// rows are the rows of a page, read one by one. A list that is null is an empty one.
type rows struct {
	list, null bool
	count      int
	documents  []Document // those that have a usable id
}

func (r *rows) UnmarshalJSON(b []byte) error {
	*r = rows{list: b[0] == '[', null: b[0] == 'n'}
	if r.null {
		return nil
	}
	if !r.list {
		return errNoJSON
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		if r.count++; r.count > maxRows {
			return errManyRows
		}
		var raw rawDocument
		err := dec.Decode(&raw)
		if _, other := errors.AsType[*json.UnmarshalTypeError](err); other {
			continue // whatever it is, it is no document
		}
		if err != nil {
			return err
		}
		if d := raw.document(); checkID(d.ID) == nil {
			r.documents = append(r.documents, d)
		}
	}
	return nil
}

// text is a string that may come as a number. Whatever else comes is no text.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		*t = text(b)
	}
	return nil
}

// number is a whole number that may come as a string, or be missing.
type number struct {
	value int
	known bool
}

func (n *number) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*n = number{}
	if f, err := strconv.ParseFloat(strings.TrimSpace(string(t)), 64); err == nil && f > -1e9 && f < 1e9 {
		*n = number{int(f), true}
	}
	return nil
}

// stamp is a time in any of the shapes that the service uses, mixed within one answer.
// A time that cannot be read counts as missing.
type stamp time.Time

func (s *stamp) UnmarshalJSON(b []byte) error {
	var t text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*s = stamp{}
	for _, layout := range []string{
		time.RFC3339, // with or without fractions of a second
		"2006-01-02 15:04:05",
		"2006-01-02T15:04:05",
		"2006-01-02 15:04:05Z07:00",
	} {
		if at, err := time.Parse(layout, strings.TrimSpace(string(t))); err == nil {
			*s = stamp(at.UTC())
			return nil
		}
	}
	return nil
}

// looksLikeJSON tells whether body, whose type nobody named, claims to be JSON.
func looksLikeJSON(body []byte) bool {
	body = bytes.TrimSpace(body)
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// startsAsHTML tells whether body begins as a page for people.
func startsAsHTML(body []byte) bool {
	body = bytes.TrimPrefix(body[:min(len(body), 512)], []byte("\uFEFF"))
	body = bytes.ToLower(bytes.TrimSpace(body))
	for _, tag := range []string{"<!doctype html", "<html"} {
		if rest, ok := bytes.CutPrefix(body, []byte(tag)); ok && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n>")) {
			return true
		}
	}
	return false
}
