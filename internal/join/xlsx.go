package join

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// workbooks joins workbooks: the first one, with the sheets of the others after its
// own. Where each has a single one and all have the same headings, the rows go
// into one sheet. Cells keep what they say and how they look; pictures and comments
// of the others are left out.
func workbooks(contents [][]byte) ([]byte, error) {
	whole, err := openBook(contents[0])
	if err != nil {
		return nil, err
	}
	books := make([]*book, 0, len(contents))
	for i, content := range contents[1:] {
		b, err := openBook(content)
		if err == nil {
			err = b.settle(whole)
		}
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", i+2, err)
		}
		books = append(books, b)
	}
	continues := len(whole.sheets) == 1
	for _, b := range books {
		continues = continues && len(b.sheets) == 1 && whole.sameHeadings(b)
	}
	for i, b := range books {
		for n, s := range b.sheets {
			if continues {
				err = whole.continueSheet(b, s)
			} else {
				err = whole.addSheet(b, s, fmt.Sprintf("part%d-%d", i+2, n+1))
			}
			if err != nil {
				return nil, fmt.Errorf("part %d: %w", i+2, err)
			}
		}
	}
	return whole.bytes()
}

// A book is a workbook.
type book struct {
	*pack
	main   string
	links  []link
	sheets []sheet
}

type sheet struct{ title, file string }

func openBook(content []byte) (*book, error) {
	p, err := unpack(content)
	if err != nil {
		return nil, err
	}
	b := &book{pack: p}
	if b.main, err = p.main(); err != nil {
		return nil, err
	}
	if b.links, err = p.links(b.main); err != nil {
		return nil, err
	}
	root, err := parse(p.files[b.main])
	if err != nil {
		return nil, err
	}
	list, ok := root.child("sheets")
	if !ok {
		return nil, errors.New("a workbook without sheets")
	}
	if list, err = parseAt(p.files[b.main], list.start); err != nil {
		return nil, err
	}
	for _, c := range list.children {
		for _, l := range b.links {
			if l.ID == c.attr("id") && l.Mode == "" && p.files[l.target(b.main)] != nil {
				b.sheets = append(b.sheets, sheet{c.attr("name"), l.target(b.main)})
			}
		}
	}
	if len(b.sheets) != len(list.children) {
		return nil, errors.New("a sheet is missing")
	}
	return b, nil
}

// cell finds cells (ISO 29500-1, 18.3.1.4): its start tag, what is in it.
var cell = regexp.MustCompile(`(?s)<((?:\w+:)?)c(\s[^>]*[^/>]|)>(.*?)</(?:\w+:)?c>`)

var (
	cellType   = regexp.MustCompile(`\st="s"`)
	cellStyle  = regexp.MustCompile(`(\ss=")(\d+)(")`)
	cellNumber = regexp.MustCompile(`<(?:\w+:)?v>\s*(\d+)\s*</(?:\w+:)?v>`)
	styled     = regexp.MustCompile(`<(?:\w+:)?(?:c|row)\s[^>]*>`)
	columns    = regexp.MustCompile(`(\sstyle=")(\d+)(")`)
)

// settle has the sheets depend on nothing but the whole's styles: texts are in
// their cells, and styles have the numbers that they get in the whole.
func (b *book) settle(whole *book) error {
	texts, err := b.texts()
	if err != nil {
		return err
	}
	styles, err := b.shareStyles(whole)
	if err != nil {
		return err
	}
	for _, s := range b.sheets {
		file, err := b.withoutLinks(s.file)
		if err != nil {
			return err
		}
		wrong := false
		file = cell.ReplaceAllFunc(file, func(m []byte) []byte {
			part := cell.FindSubmatch(m)
			prefix, tag, inner := string(part[1]), part[2], part[3]
			if !cellType.Match(tag) {
				return m
			}
			number := cellNumber.FindSubmatch(inner)
			n := -1
			if number != nil {
				n, _ = strconv.Atoi(string(number[1])) // digits only
			}
			if n < 0 || n >= len(texts) {
				wrong = wrong || number != nil
				return m
			}
			return fmt.Appendf(nil, `<%[1]sc%[2]s><%[1]sis><%[1]st xml:space="preserve">%[3]s</%[1]st></%[1]sis></%[1]sc>`,
				prefix, cellType.ReplaceAll(tag, []byte(` t="inlineStr"`)), escape(texts[n]))
		})
		if wrong {
			return errors.New("a cell has a text that the workbook has not")
		}
		shift := func(v string) string {
			n, _ := strconv.Atoi(v) // digits only
			return strconv.Itoa(styles(n))
		}
		file = styled.ReplaceAllFunc(file, func(tag []byte) []byte { return replaceAttr(tag, cellStyle, shift) })
		file = regexp.MustCompile(`<(?:\w+:)?col\s[^>]*>`).ReplaceAllFunc(file, func(tag []byte) []byte { return replaceAttr(tag, columns, shift) })
		b.set(s.file, file)
	}
	return nil
}

// texts are those that cells share.
func (b *book) texts() ([]string, error) {
	name, ok := linked(b.pack, b.links, b.main, "sharedStrings")
	if !ok {
		return nil, nil
	}
	var all struct {
		Items []struct {
			Text string `xml:"t"`
			Runs []struct {
				Text string `xml:"t"`
			} `xml:"r"`
		} `xml:"si"`
	}
	if err := xml.Unmarshal(b.files[name], &all); err != nil {
		return nil, err
	}
	texts := make([]string, len(all.Items))
	for i, item := range all.Items {
		texts[i] = item.Text
		for _, r := range item.Runs {
			texts[i] += r.Text
		}
	}
	return texts, nil
}

// withoutLinks is a sheet without what refers to other files of its workbook.
func (b *book) withoutLinks(name string) ([]byte, error) {
	file := b.files[name]
	root, err := parse(file)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	at := 0
	for _, c := range root.children {
		switch c.Name.Local {
		case "hyperlinks", "drawing", "legacyDrawing", "legacyDrawingHF", "picture", "oleObjects", "controls", "tableParts", "webPublishItems",
			"conditionalFormatting", "extLst", "pageSetup":
			out.Write(file[at:c.start])
			at = c.end
		}
	}
	out.Write(file[at:])
	return out.Bytes(), nil
}

// shareStyles adds the styles of the cells to those of the whole, and returns which
// number each has there.
func (b *book) shareStyles(whole *book) (func(int) int, error) {
	same := func(n int) int { return n }
	from, ok := linked(b.pack, b.links, b.main, "styles")
	if !ok {
		return same, nil
	}
	to, ok := linked(whole.pack, whole.links, whole.main, "styles")
	if !ok {
		err := shareFile(whole.pack, whole.main, b.pack, b.links, b.main, "styles")
		if err == nil {
			whole.links, err = whole.pack.links(whole.main)
		}
		return same, err
	}
	theirs, ours := b.files[from], whole.files[to]
	if bytes.Equal(theirs, ours) {
		return same, nil
	}
	list := func(file []byte, kind string) (raw []string, root node, err error) {
		if root, err = parse(file); err != nil {
			return
		}
		c, ok := root.child(kind)
		if !ok {
			return
		}
		if c, err = parseAt(file, c.start); err != nil {
			return
		}
		for _, one := range c.children {
			raw = append(raw, string(file[one.start:one.end]))
		}
		return raw, c, nil
	}
	by := map[string]int{} // how many of each kind the whole has
	for _, kind := range []string{"fonts", "fills", "borders", "cellXfs"} {
		has, section, err := list(ours, kind)
		if err != nil {
			return nil, err
		}
		if len(has) == 0 {
			return nil, fmt.Errorf("its styles have no %s", kind)
		}
		by[kind] = len(has)
		more, _, err := list(theirs, kind)
		if err != nil {
			return nil, err
		}
		for i, raw := range more {
			if kind == "cellXfs" {
				more[i] = string(shiftFormat([]byte(raw), by))
			}
		}
		ours = section.insert(ours, len(section.children), strings.Join(more, ""))
		ours = counted(ours, kind)
	}
	formats, _, err := list(theirs, "numFmts")
	if err != nil {
		return nil, err
	}
	if len(formats) > 0 {
		for i, raw := range formats {
			formats[i] = string(shiftFormat([]byte(raw), by))
		}
		_, section, err := list(ours, "numFmts")
		if err != nil {
			return nil, err
		}
		if section.Name.Local == "numFmts" {
			ours = counted(section.insert(ours, len(section.children), strings.Join(formats, "")), "numFmts")
		} else { // it comes first
			p := strings.TrimSuffix(name(section.Name), "styleSheet")
			ours = section.insert(ours, 0, fmt.Sprintf(`<%[1]snumFmts count="%[2]d">%[3]s</%[1]snumFmts>`, p, len(formats), strings.Join(formats, "")))
		}
	}
	whole.set(to, ours)
	return func(n int) int { return n + by["cellXfs"] }, nil
}

var (
	formatIDs = regexp.MustCompile(`(\snumFmtId=")(\d+)(")`)
	countAttr = regexp.MustCompile(`(\scount=")(\d+)(")`)
)

// shiftFormat has a format of cells refer to what was added to the whole. Formats
// of numbers below 164 are everybody's (ISO 29500-1, 18.8.30).
func shiftFormat(raw []byte, by map[string]int) []byte {
	for kind, attr := range map[string]string{"fonts": "fontId", "fills": "fillId", "borders": "borderId"} {
		raw = replaceAttr(raw, regexp.MustCompile(`(\s`+attr+`=")(\d+)(")`), func(v string) string {
			n, _ := strconv.Atoi(v) // digits only
			return strconv.Itoa(n + by[kind])
		})
	}
	raw = replaceAttr(raw, regexp.MustCompile(`(\sxfId=")(\d+)(")`), func(string) string { return "0" })
	return replaceAttr(raw, formatIDs, func(v string) string {
		const own = 164
		n, _ := strconv.Atoi(v) // digits only
		if n < own {
			return v
		}
		return strconv.Itoa(n + 1000*by["cellXfs"])
	})
}

// counted corrects the number that a list says it has.
func counted(file []byte, kind string) []byte {
	root, err := parse(file)
	if err != nil {
		return file
	}
	c, ok := root.child(kind)
	if !ok {
		return file
	}
	whole, err := parseAt(file, c.start)
	if err != nil {
		return file
	}
	tag := replaceAttr(file[c.start:c.inner], countAttr, func(string) string { return strconv.Itoa(len(whole.children)) })
	return bytes.Join([][]byte{file[:c.start], tag, file[c.inner:]}, nil)
}

// rows finds the rows of a sheet.
func rows(file []byte) (node, error) {
	root, err := parse(file)
	if err != nil {
		return node{}, err
	}
	c, ok := root.child("sheetData")
	if !ok {
		return node{}, errors.New("a sheet without data")
	}
	return parseAt(file, c.start)
}

// headings is what the cells of the first row say.
func (b *book) headings() (string, error) {
	file := b.files[b.sheets[0].file]
	data, err := rows(file)
	if err != nil || len(data.children) == 0 {
		return "", err
	}
	texts, err := b.texts()
	if err != nil {
		return "", err
	}
	var said []string
	row := file[data.children[0].start:data.children[0].end]
	for _, m := range cell.FindAllSubmatch(row, -1) {
		var c struct {
			Value string `xml:"v"`
			Text  string `xml:"is>t"`
		}
		if err := xml.Unmarshal(m[0], &c); err != nil {
			return "", nil // with prefixes; then they are sheets of their own
		}
		if n, err := strconv.Atoi(c.Value); err == nil && n >= 0 && n < len(texts) && cellType.Match(m[2]) {
			c.Value = texts[n]
		}
		said = append(said, c.Value+c.Text)
	}
	return strings.Join(said, "\x00"), nil
}

func (b *book) sameHeadings(other *book) bool {
	a, err := b.headings()
	c, err2 := other.headings()
	return err == nil && err2 == nil && a != "" && a == c
}

var (
	rowNumber     = regexp.MustCompile(`(<(?:\w+:)?row\s(?:[^>]*\s)?r=")(\d+)(")`)
	cellReference = regexp.MustCompile(`(<(?:\w+:)?c\s(?:[^>]*\s)?r="[A-Z]+)(\d+)(")`)
	formula       = regexp.MustCompile(`(?s)<(?:\w+:)?f\b[^>]*/>|<(?:\w+:)?f\b.*?</(?:\w+:)?f>`)
	dimension     = regexp.MustCompile(`<(?:\w+:)?dimension\b[^>]*/>`)
)

// continueSheet adds the rows of a sheet below the headings to the whole's only
// one.
func (whole *book) continueSheet(b *book, s sheet) error {
	name := whole.sheets[0].file
	file := dimension.ReplaceAll(whole.files[name], nil) // it would be wrong, and need not be
	data, err := rows(file)
	if err != nil {
		return err
	}
	from := b.files[s.file]
	theirs, err := rows(from)
	if err != nil || len(theirs.children) < 2 {
		return err
	}
	last := len(data.children)
	for _, m := range rowNumber.FindAllSubmatch(file[data.start:data.end], -1) {
		n, _ := strconv.Atoi(string(m[2])) // digits only
		last = max(last, n)
	}
	more := from[theirs.children[1].start:theirs.innerEnd]
	first := 2
	if m := rowNumber.FindSubmatch(from[theirs.children[1].start:theirs.children[1].inner]); m != nil {
		first, _ = strconv.Atoi(string(m[2])) // digits only
	}
	shift := func(v string) string {
		n, _ := strconv.Atoi(v) // digits only
		return strconv.Itoa(n - first + last + 1)
	}
	more = replaceAttr(replaceAttr(more, rowNumber, shift), cellReference, shift)
	more = formula.ReplaceAll(more, nil) // it would refer to other cells; what it came to stays
	if file, err = namespaces(data.insert(file, len(data.children), string(more)), from); err != nil {
		return err
	}
	whole.set(name, file)
	return nil
}

// addSheet adds a sheet of another workbook.
func (whole *book) addSheet(b *book, s sheet, id string) error {
	as := "xl/worksheets/" + id + ".xml"
	if err := whole.copyFile(b.pack, s.file, as); err != nil {
		return err
	}
	kind := ""
	for _, l := range b.links {
		if l.target(b.main) == s.file {
			kind = l.Type
		}
	}
	whole.addLinks(whole.main, []link{{ID: "joined_" + id, Type: kind, Target: "/" + as}})
	s.title = whole.free(s.title)
	whole.sheets = append(whole.sheets, sheet{s.title, as})
	file := whole.files[whole.main]
	root, err := parse(file)
	if err != nil {
		return err
	}
	list, _ := root.child("sheets")
	if list, err = parseAt(file, list.start); err != nil {
		return err
	}
	highest := 0
	for _, c := range list.children {
		n, _ := strconv.Atoi(c.attr("sheetId")) // one that is no number counts for nothing
		highest = max(highest, n)
	}
	p := strings.TrimSuffix(name(list.Name), "sheets")
	entry := fmt.Sprintf(`<%ssheet xmlns:joined="http://schemas.openxmlformats.org/officeDocument/2006/relationships" name="%s" sheetId="%d" joined:id="joined_%s"/>`,
		p, escape(s.title), highest+1, id)
	whole.set(whole.main, list.insert(file, len(list.children), entry))
	return nil
}

var numbered = regexp.MustCompile(`^(.*?)(\d+)$`)

// free is a title like the given one that no sheet has: numbered on where it ends
// in a number.
func (whole *book) free(title string) string {
	taken := func(t string) bool {
		for _, s := range whole.sheets {
			if strings.EqualFold(s.title, t) {
				return true
			}
		}
		return false
	}
	if !taken(title) {
		return title
	}
	const longest = 31 // characters
	stem, n := title+" ", 1
	if m := numbered.FindStringSubmatch(title); m != nil {
		stem = m[1]
		n, _ = strconv.Atoi(m[2]) // one that is too large begins anew
	}
	for {
		n++
		number := strconv.Itoa(n)
		for utf8.RuneCountInString(stem)+len(number) > longest {
			_, size := utf8.DecodeLastRuneInString(stem)
			stem = stem[:len(stem)-size]
		}
		if t := stem + number; !taken(t) {
			return t
		}
	}
}
