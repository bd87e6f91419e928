package sandbox

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

// entry is one file of an OOXML package.
type entry struct{ name, content string }

const (
	xmlHead       = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"
	packageTypes  = "http://schemas.openxmlformats.org/package/2006/content-types"
	packageLinks  = "http://schemas.openxmlformats.org/package/2006/relationships"
	officeLinks   = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	wordNamespace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
	cellNamespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
	maxCell       = 32767 // characters that a cell of a spreadsheet may hold
)

// pack makes an OOXML package whose main part is main. The same parts give the
// same bytes.
func pack(main, mainType string, parts ...entry) []byte {
	types := fmt.Sprintf(`<Types xmlns="%s"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>`+
		`<Default Extension="xml" ContentType="application/xml"/><Override PartName="/%s" ContentType="%s"/>`, packageTypes, main, mainType)
	for _, p := range parts {
		if strings.HasPrefix(p.name, "xl/worksheets/") {
			types += fmt.Sprintf(`<Override PartName="/%s" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, p.name)
		}
	}
	parts = append([]entry{
		{"[Content_Types].xml", types + `</Types>`},
		{"_rels/.rels", links(entry{"officeDocument", main})},
	}, parts...)

	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range parts {
		// Writing into a bytes.Buffer does not fail.
		w, _ := z.CreateHeader(&zip.FileHeader{Name: p.name, Method: zip.Deflate})
		_, _ = w.Write([]byte(xmlHead + p.content))
	}
	_ = z.Close()
	return b.Bytes()
}

// links is a part of relationships rId1, rId2, …, each a kind and a target.
func links(targets ...entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<Relationships xmlns="%s">`, packageLinks)
	for i, t := range targets {
		fmt.Fprintf(&b, `<Relationship Id="rId%d" Type="%s/%s" Target="%s"/>`, i+1, officeLinks, t.name, t.content)
	}
	b.WriteString(`</Relationships>`)
	return b.String()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}

// docx makes a document with a paragraph a line and a page break a page.
func docx(pages []string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<w:document xmlns:w="%s"><w:body>`, wordNamespace)
	for i, page := range pages {
		if i > 0 {
			b.WriteString(`<w:p><w:r><w:br w:type="page"/></w:r></w:p>`)
		}
		for line := range strings.SplitSeq(page, "\n") {
			b.WriteString(`<w:p><w:r>`)
			for j, piece := range strings.Split(line, "\t") {
				if j > 0 {
					b.WriteString(`<w:tab/>`)
				}
				b.WriteString(`<w:t xml:space="preserve">` + escape(piece) + `</w:t>`)
			}
			b.WriteString(`</w:r></w:p>`)
		}
	}
	b.WriteString(`<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr></w:body></w:document>`)
	const name = "word/document.xml"
	return pack(name, "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml", entry{name, b.String()})
}

// xlsx makes a workbook with a sheet a table; it has at least one sheet.
func xlsx(tables [][][]string) []byte {
	if len(tables) == 0 {
		tables = [][][]string{nil}
	}
	var (
		sheets strings.Builder
		parts  []entry
		rels   []entry
	)
	for i, rows := range tables {
		fmt.Fprintf(&sheets, `<sheet name="Table %d" sheetId="%[1]d" r:id="rId%[1]d"/>`, i+1)
		name := fmt.Sprintf("worksheets/sheet%d.xml", i+1)
		rels = append(rels, entry{"worksheet", name})
		parts = append(parts, entry{"xl/" + name, worksheet(rows)})
	}
	workbook := fmt.Sprintf(`<workbook xmlns="%s" xmlns:r="%s"><sheets>%s</sheets></workbook>`, cellNamespace, officeLinks, sheets.String())
	const name = "xl/workbook.xml"
	parts = append([]entry{{name, workbook}, {"xl/_rels/workbook.xml.rels", links(rels...)}}, parts...)
	return pack(name, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml", parts...)
}

func worksheet(rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<worksheet xmlns="%s"><sheetData>`, cellNamespace)
	for i, row := range rows {
		fmt.Fprintf(&b, `<row r="%d">`, i+1)
		for j, cell := range row {
			if r := []rune(cell); len(r) > maxCell {
				cell = string(r[:maxCell])
			}
			fmt.Fprintf(&b, `<c r="%s%d" t="inlineStr"><is><t xml:space="preserve">%s</t></is></c>`, column(j), i+1, escape(cell))
		}
		b.WriteString(`</row>`)
	}
	b.WriteString(`</sheetData></worksheet>`)
	return b.String()
}

// column names the n-th column of a spreadsheet, from 0: A, B, … Z, AA, …
func column(n int) string {
	name := ""
	for ; n >= 0; n = n/26 - 1 {
		name = string(rune('A'+n%26)) + name
	}
	return name
}
