// Package join makes one result of the results of a scan's parts, which were
// read one by one because the whole was too big.
//
// What comes out is what the service would have made of the whole, as far as that
// can be told: pages in their order, numbered on, under one heading. Nothing is
// left out that a part says.
package join

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
)

// A Part is the result of some of a scan's pages.
type Part struct {
	io.ReaderAt
	Size int64
	From int // its first page, counted from 1
	To   int // its last
}

// most bounds what is read of a part's result, and, of those that are packed,
// what comes out of it.
const most = 512 << 20

func (p Part) bytes() ([]byte, error) {
	if p.Size > most {
		return nil, fmt.Errorf("a result of %d bytes is too large to be joined", p.Size)
	}
	b := make([]byte, p.Size)
	_, err := p.ReadAt(b, 0)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

// Results writes the results of all parts, in their order, as one of the format:
// txt, json, csv, docx or xlsx. Of one part it is a copy.
func Results(into io.Writer, format string, parts []Part) error {
	if len(parts) == 1 {
		_, err := io.Copy(into, io.NewSectionReader(parts[0], 0, parts[0].Size))
		return err
	}
	contents := make([][]byte, len(parts))
	for i, p := range parts {
		var err error
		if contents[i], err = p.bytes(); err != nil {
			return err
		}
	}
	joined, err := func() (joined []byte, err error) {
		defer func() { // what the service sends must not end the daemon, and again after each start
			if p := recover(); p != nil {
				err = fmt.Errorf("it is of a kind that was not foreseen: %v", p)
			}
		}()
		switch format {
		case "txt":
			return texts(contents, parts), nil
		case "json":
			return objects(contents, parts)
		case "csv":
			return tables(contents)
		case "docx":
			return documents(contents)
		case "xlsx":
			return workbooks(contents)
		}
		return nil, fmt.Errorf("%s cannot be joined", format)
	}()
	if err != nil {
		return fmt.Errorf("join the %s of %d parts: %w", format, len(parts), err)
	}
	_, err = into.Write(joined)
	return err
}

// heading is how the service begins a page of text.
var heading = regexp.MustCompile(`(?m)^(=== \*\*Page: )(\d+)( of )(\d+)(\*\*)`)

// texts joins texts with a blank line between them, and numbers their pages on.
func texts(contents [][]byte, parts []Part) []byte {
	last := parts[len(parts)-1].To
	var b bytes.Buffer
	for i, text := range contents {
		if b.Len() > 0 {
			if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
				b.WriteByte('\n')
			}
			b.WriteByte('\n')
		}
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
		b.Write(heading.ReplaceAllFunc(text, func(line []byte) []byte {
			m := heading.FindSubmatch(line)
			page, err := strconv.Atoi(string(m[2]))
			if err != nil {
				return line
			}
			return fmt.Appendf(nil, "%s%d%s%d%s", m[1], page+parts[i].From-1, m[3], last, m[5])
		}))
	}
	return b.Bytes()
}

// A field of an object; objects keep the order of their fields.
type field struct {
	key   string
	value json.RawMessage
}

// fields takes an object apart.
func fields(text []byte) ([]field, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is not an object"), err)
	}
	var all []field
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		f := field{key: key.(string)}
		if err := d.Decode(&f.value); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	_, err := d.Token()
	return all, err
}

func object(all []field) json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range all {
		if i > 0 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(f.key) // a string can be marshalled
		b.Write(key)
		b.WriteByte(':')
		b.Write(f.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func find(all []field, key string) int {
	return slices.IndexFunc(all, func(f field) bool { return f.key == key })
}

// objects joins what the service says of the parts: the first one's object, with
// the lists of all, page and table numbers going on, and pages counted together. What is no such
// object is kept as it came, in a list under "parts".
func objects(contents [][]byte, parts []Part) ([]byte, error) {
	joined, err := listed(contents, parts)
	if err != nil {
		all := []field{{"parts", nil}}
		var list []json.RawMessage
		for i, text := range contents {
			if !json.Valid(text) {
				return nil, fmt.Errorf("the part from page %d is not JSON", parts[i].From)
			}
			list = append(list, text)
		}
		if all[0].value, err = json.Marshal(list); err != nil {
			return nil, err
		}
		joined = object(all)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, joined, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func listed(contents [][]byte, parts []Part) (json.RawMessage, error) {
	var whole []field
	tables := 0 // how many came before
	for i, text := range contents {
		all, err := fields(text)
		if err != nil {
			return nil, err
		}
		at := find(all, "results")
		if at < 0 {
			return nil, errors.New("it has no results")
		}
		var results []json.RawMessage
		if err := json.Unmarshal(all[at].value, &results); err != nil {
			return nil, err
		}
		highest := 0
		for n := range results {
			results[n] = numberedOn(results[n], "page_number", parts[i].From-1, new(int))
			results[n] = numberedOn(results[n], "table_number", tables, &highest)
		}
		tables = max(tables, highest)
		if all[at].value, err = json.Marshal(results); err != nil {
			return nil, err
		}
		if i == 0 {
			whole = all
			continue
		}
		for _, list := range []string{"results", "thumbnails"} {
			to, from := find(whole, list), find(all, list)
			if to < 0 || from < 0 {
				continue
			}
			var a, b []json.RawMessage
			if json.Unmarshal(whole[to].value, &a) != nil || json.Unmarshal(all[from].value, &b) != nil {
				continue
			}
			if whole[to].value, err = json.Marshal(append(a, b...)); err != nil {
				return nil, err
			}
		}
	}
	if at := find(whole, "page_count"); at >= 0 {
		whole[at].value = strconv.AppendInt(nil, int64(parts[len(parts)-1].To), 10)
	}
	return object(whole), nil
}

// numberedOn adds to a number in an object, and notes the highest that came out.
func numberedOn(o json.RawMessage, key string, by int, highest *int) json.RawMessage {
	all, err := fields(o)
	if err != nil {
		return o
	}
	at := find(all, key)
	if at < 0 {
		return o
	}
	n, err := strconv.Atoi(string(all[at].value))
	if err != nil {
		return o
	}
	*highest = max(*highest, n+by)
	all[at].value = strconv.AppendInt(nil, int64(n+by), 10)
	return object(all)
}

// tables joins lists of rows under the headings of all: each heading once, in the
// order in which they come, and every row under its own.
func tables(contents [][]byte) ([]byte, error) {
	var headings []string
	column := map[string]int{}
	type row struct{ placed, spare []string }
	var rows []row
	for _, text := range contents {
		r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
		r.FieldsPerRecord = -1
		r.LazyQuotes = true
		all, err := r.ReadAll()
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			continue
		}
		where := make([]int, len(all[0]))
		seen := map[string]int{} // the same heading may come more than once
		for i, h := range all[0] {
			key := fmt.Sprintf("%s\x00%d", h, seen[h])
			seen[h]++
			if _, known := column[key]; !known {
				column[key] = len(headings)
				headings = append(headings, h)
			}
			where[i] = column[key]
		}
		for _, cells := range all[1:] {
			r := row{placed: make([]string, len(headings))}
			for i, cell := range cells {
				if i < len(where) {
					r.placed[where[i]] = cell
				} else { // without a heading
					r.spare = append(r.spare, cell)
				}
			}
			rows = append(rows, r)
		}
	}
	spare := 0
	for _, r := range rows {
		spare = max(spare, len(r.spare))
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for _, r := range append([]row{{placed: headings}}, rows...) {
		r.placed = append(r.placed, make([]string, len(headings)-len(r.placed))...)
		r.spare = append(r.spare, make([]string, spare-len(r.spare))...)
		if err := w.Write(append(r.placed, r.spare...)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
