package join

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func parts(contents ...string) []Part {
	var all []Part
	for i, c := range contents { // two pages each
		all = append(all, Part{ReaderAt: strings.NewReader(c), Size: int64(len(c)), From: 2*i + 1, To: 2*i + 2})
	}
	return all
}

func joined(t *testing.T, format string, contents ...string) string {
	t.Helper()
	var b bytes.Buffer
	if err := Results(&b, format, parts(contents...)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"one\n", "two", "one\n\ntwo"},
		{"no end", "two\n", "no end\n\ntwo\n"},
		{"=== **Page: 1 of 2**\n\na\n\n=== **Page: 2 of 2**\n\nb\n", "=== **Page: 1 of 2**\n\nc\n\n=== **Page: 2 of 2**\n\nd\n",
			"=== **Page: 1 of 4**\n\na\n\n=== **Page: 2 of 4**\n\nb\n\n=== **Page: 3 of 4**\n\nc\n\n=== **Page: 4 of 4**\n\nd\n"},
		{"", "two", "two"},
	} {
		if got := joined(t, "txt", tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestJSON(t *testing.T) {
	for name, tt := range map[string]struct{ a, b, want string }{
		"transcribe": {
			`{"id":"x","page_count":2,"results":[{"page_number":1,"transcript":"a"},{"page_number":2,"transcript":"b"}],"thumbnails":["u"],"new":1}`,
			`{"id":"y","page_count":2,"results":[{"page_number":1,"transcript":"c"},{"page_number":2,"transcript":"d"}],"thumbnails":["v"],"new":2}`,
			`{"id":"x","page_count":4,"results":[{"page_number":1,"transcript":"a"},{"page_number":2,"transcript":"b"},{"page_number":3,"transcript":"c"},{"page_number":4,"transcript":"d"}],"thumbnails":["u","v"],"new":1}`,
		},
		"tables": {
			`{"results":[{"table_number":1,"rows":[["a"]]},{"table_number":2,"rows":[]}]}`, `{"results":[{"table_number":1,"rows":[["b"]]}]}`,
			`{"results":[{"table_number":1,"rows":[["a"]]},{"table_number":2,"rows":[]},{"table_number":3,"rows":[["b"]]}]}`,
		},
		"extractor": {
			`{"results":[{"page_number":1,"extractions":[[{"key":"k","value":"1"}]]}]}`, `{"results":[{"extractions":[[{"key":"k","value":"2"}]]}]}`,
			`{"results":[{"page_number":1,"extractions":[[{"key":"k","value":"1"}]]},{"extractions":[[{"key":"k","value":"2"}]]}]}`,
		},
		"something else": {`[1,2]`, `{"rows":[3]}`, `{"parts":[[1,2],{"rows":[3]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := json.Compact(&b, []byte(joined(t, "json", tt.a, tt.b))); err != nil || b.String() != tt.want {
				t.Errorf("%s, %v\nwant %s", b.String(), err, tt.want)
			}
		})
	}
	if err := Results(&bytes.Buffer{}, "json", parts(`{"results":[]}`, "no JSON")); err == nil {
		t.Error("what is no JSON was joined")
	}
}

func TestCSV(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"Name,Sum\nAda,1\n", "Name,Sum\nBob,2\n", "Name,Sum\nAda,1\nBob,2\n"},
		{"Name,Sum\nAda,1\n", "Sum,Date\n2,May\n", "Name,Sum,Date\nAda,1,\n,2,May\n"},
		{"N,N\n1,2\n", "\ufeffN,N\r\n3,\"4\n5\"\r\n", "N,N\n1,2\n3,\"4\n5\"\n"},
		{"", "Name\nAda\n", "Name\nAda\n"},
		{"Name\nAda,spare\n", "Name\nBob\n", "Name,\nAda,spare\nBob,\n"},
	} {
		if got := joined(t, "csv", tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}

// packed makes a package of files.
func packed(t testing.TB, files ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	wordML   = `xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"`
	office   = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
	relsML   = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	typesML  = `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>`
	wordType = "application/vnd.openxmlformats-officedocument.wordprocessingml."
)

// docx makes a document with a list, a style, a link, a picture and a note.
func docx(t testing.TB, text, bullet, style string) string {
	return packed(t,
		"[Content_Types].xml", typesML+`<Default Extension="png" ContentType="image/png"/>`+
			`<Override PartName="/word/document.xml" ContentType="`+wordType+`document.main+xml"/>`+
			`<Override PartName="/word/styles.xml" ContentType="`+wordType+`styles+xml"/>`+
			`<Override PartName="/word/footnotes.xml" ContentType="`+wordType+`footnotes+xml"/>`+
			`<Override PartName="/word/numbering.xml" ContentType="`+wordType+`numbering+xml"/></Types>`,
		"_rels/.rels", relsML+`<Relationship Id="rId1" Type="`+office+`officeDocument" Target="word/document.xml"/></Relationships>`,
		"word/_rels/document.xml.rels", relsML+
			`<Relationship Id="rId1" Type="`+office+`styles" Target="styles.xml"/>`+
			`<Relationship Id="rId2" Type="`+office+`numbering" Target="numbering.xml"/>`+
			`<Relationship Id="rId3" Type="`+office+`hyperlink" Target="https://example.org/`+bullet+`" TargetMode="External"/>`+
			`<Relationship Id="rId4" Type="`+office+`footnotes" Target="footnotes.xml"/></Relationships>`,
		"word/styles.xml", `<w:styles `+wordML+`><w:style w:type="paragraph" w:styleId="`+style+`"><w:name w:val="`+style+`"/></w:style></w:styles>`,
		"word/numbering.xml", `<w:numbering `+wordML+`><w:abstractNum w:abstractNumId="0"><w:nsid w:val="0A0B0C0D"/><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="bullet"/><w:lvlText w:val="`+bullet+`"/></w:lvl></w:abstractNum>`+
			`<w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>`,
		"word/footnotes.xml", `<w:footnotes `+wordML+`><w:footnote w:id="2"><w:p><w:r><w:t>note of `+text+`</w:t></w:r></w:p></w:footnote></w:footnotes>`,
		"word/document.xml", `<?xml version="1.0" encoding="UTF-8"?><w:document `+wordML+`><w:body>`+
			`<w:p><w:pPr><w:pStyle w:val="`+style+`"/><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>`+text+`</w:t></w:r>`+
			`<w:hyperlink r:id="rId3"><w:r><w:t>link `+bullet+`</w:t></w:r></w:hyperlink><w:r><w:footnoteReference w:id="2"/></w:r></w:p>`+
			`<w:sectPr><w:pgSz w:w="11906" w:h="16838"/></w:sectPr></w:body></w:document>`,
	)
}

func TestDOCX(t *testing.T) {
	got := joined(t, "docx", docx(t, "first", "A", "Plain"), docx(t, "second", "B", "Fancy"), docx(t, "third", "C", "Plain"))
	p, err := unpack([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	body := string(p.files["word/document.xml"])
	at := -1
	for _, want := range []string{">first<", `w:type="page"`, ">second<", `r:id="part2_rId3"`, "[note of second]", `w:type="page"`, ">third<", `r:id="part3_rId3"`, "<w:sectPr>"} {
		next := strings.Index(body[at+1:], want)
		if next < 0 {
			t.Fatalf("%q is not in its place in\n%s", want, body)
		}
		at += 1 + next
	}
	if n := strings.Count(body, "<w:sectPr"); n != 1 {
		t.Errorf("%d sections, want one", n)
	}
	for name, wants := range map[string][]string{
		"word/_rels/document.xml.rels": {`"https://example.org/A"`, `"https://example.org/B"`, `"https://example.org/C"`, `Id="part2_rId3"`},
		"word/styles.xml":              {`"Plain"`, `"Fancy"`},
		"word/numbering.xml":           {`w:val="A"`, `w:val="B"`, `w:val="C"`},
	} {
		for _, want := range wants {
			if !bytes.Contains(p.files[name], []byte(want)) {
				t.Errorf("%s lacks %s:\n%s", name, want, p.files[name])
			}
		}
	}
	for _, part := range []string{"A", "B", "C"} { // each list is its own
		if n := strings.Count(string(p.files["word/numbering.xml"]), `w:val="`+part+`"`); n != 1 {
			t.Errorf("list %s is there %d times", part, n)
		}
	}
	if n := strings.Count(body, `<w:numId w:val="1"/>`); n != 1 {
		t.Errorf("%d paragraphs are of the first list, want one:\n%s", n, body)
	}
	text := officeText(t, "joined.docx", got, "txt:Text (encoded):UTF8")
	if !strings.Contains(text, "first") || strings.Index(text, "first") > strings.Index(text, "second") || !strings.Contains(text, "third") {
		t.Errorf("LibreOffice reads %q", text)
	}
}

// officeText is what LibreOffice makes of a file.
func officeText(t *testing.T, name, content, to string) string {
	t.Helper()
	soffice, err := exec.LookPath("soffice")
	if err != nil {
		t.Skip("soffice is not installed")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(soffice, "-env:UserInstallation=file://"+filepath.Join(dir, "profile"), "--headless", "--convert-to", to, "--outdir", filepath.Join(dir, "out"), path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	made, _ := filepath.Glob(filepath.Join(dir, "out", "*"))
	var all strings.Builder
	slices.Sort(made)
	for _, m := range made {
		b, err := os.ReadFile(m)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}

const sheetML = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`

// xlsx makes a workbook with shared texts, a format of numbers and a sheet for each list of
// rows.
func xlsx(t testing.TB, format string, sheets ...[][]string) string {
	var list, links, types, shared strings.Builder
	var files []string
	n := 0
	for i, rows := range sheets {
		fmt.Fprintf(&list, `<sheet name="Table %d" sheetId="%[1]d" r:id="rId%[1]d"/>`, i+1)
		fmt.Fprintf(&links, `<Relationship Id="rId%d" Type="%sworksheet" Target="worksheets/sheet%[1]d.xml"/>`, i+1, office)
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, i+1)
		var b strings.Builder
		fmt.Fprintf(&b, `<worksheet %s><dimension ref="A1:B%d"/><sheetData>`, sheetML, len(rows))
		for r, row := range rows {
			fmt.Fprintf(&b, `<row r="%d">`, r+1)
			for c, cell := range row {
				fmt.Fprintf(&b, `<c r="%c%d" t="s"><v>%d</v></c>`, 'A'+c, r+1, n)
				fmt.Fprintf(&shared, `<si><t>%s</t></si>`, escape(cell))
				n++
			}
			if r > 0 { // a number, and how a style shows it
				fmt.Fprintf(&b, `<c r="%c%d" s="1"><v>%d</v></c>`, 'A'+len(row), r+1, 45000+r)
			}
			b.WriteString(`</row>`)
		}
		b.WriteString(`</sheetData></worksheet>`)
		files = append(files, fmt.Sprintf("xl/worksheets/sheet%d.xml", i+1), b.String())
	}
	files = append(files,
		"[Content_Types].xml", typesML+`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>`+
			`<Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>`+
			`<Override PartName="/xl/sharedStrings.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/>`+types.String()+`</Types>`,
		"_rels/.rels", relsML+`<Relationship Id="rId1" Type="`+office+`officeDocument" Target="xl/workbook.xml"/></Relationships>`,
		"xl/_rels/workbook.xml.rels", relsML+links.String()+`<Relationship Id="s1" Type="`+office+`styles" Target="styles.xml"/><Relationship Id="s2" Type="`+office+`sharedStrings" Target="/xl/sharedStrings.xml"/></Relationships>`,
		"xl/sharedStrings.xml", `<sst `+sheetML+`>`+shared.String()+`</sst>`,
		"xl/styles.xml", `<styleSheet `+sheetML+`><numFmts count="1"><numFmt numFmtId="164" formatCode="`+format+`"/></numFmts><fonts count="1"><font><sz val="11"/></font></fonts><fills count="1"><fill><patternFill patternType="none"/></fill></fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs></styleSheet>`,
		"xl/workbook.xml", `<workbook `+sheetML+` xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>`+list.String()+`</sheets></workbook>`,
	)
	return packed(t, files...)
}

// sheetsOf are the sheets as LibreOffice reads them, by commas.
func sheetsOf(t *testing.T, content string) string {
	return strings.ReplaceAll(officeText(t, "joined.xlsx", content, `csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1`), "\r", "")
}

func TestXLSXContinued(t *testing.T) {
	got := joined(t, "xlsx",
		xlsx(t, "0.0", [][]string{{"Name", "Sum"}, {"Ada", "1"}}),
		xlsx(t, "0.000", [][]string{{"Name", "Sum"}, {"Bob", "2"}, {"Cy & Co", "3"}}))
	const want = "Name,Sum,\nAda,1,45001\nBob,2,45001\nCy & Co,3,45002\n"
	if text := sheetsOf(t, got); text != want {
		t.Errorf("LibreOffice reads %q, want %q", text, want)
	}
	p, err := unpack([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"xl/styles.xml":            {`<numFmts count="2">`, `formatCode="0.0"`, `numFmtId="2164" formatCode="0.000"`, `<cellXfs count="4">`, `<xf numFmtId="2164" fontId="1"`},
		"xl/worksheets/sheet1.xml": {`<c r="C2" s="1">`, `<c r="C3" s="3">`, `<c r="C4" s="3">`},
	} {
		for _, want := range wants { // each keeps how it is shown
			if !bytes.Contains(p.files[name], []byte(want)) {
				t.Errorf("%s lacks %s:\n%s", name, want, p.files[name])
			}
		}
	}
}

func TestXLSXSheets(t *testing.T) {
	got := joined(t, "xlsx",
		xlsx(t, "0.0", [][]string{{"A"}}, [][]string{{"B"}}),
		xlsx(t, "0.0", [][]string{{"C"}}),
		xlsx(t, "0.0", [][]string{{"D"}, {"d"}}))
	b, err := openBook([]byte(got))
	if err != nil {
		t.Fatal(err)
	}
	var titles []string
	for _, s := range b.sheets {
		titles = append(titles, s.title)
	}
	if want := []string{"Table 1", "Table 2", "Table 3", "Table 4"}; !slices.Equal(titles, want) {
		t.Errorf("sheets %q, want %q", titles, want)
	}
	if text := sheetsOf(t, got); text != "A\nB\nC\nD,\nd,45001\n" {
		t.Errorf("LibreOffice reads %q", text)
	}
}

// Whatever comes, nothing breaks, and what comes out can be read again.
func FuzzResults(f *testing.F) {
	f.Add("txt", "a", "b")
	f.Add("json", `{"results":[{"page_number":1}]}`, `{"results":[]}`)
	f.Add("csv", "a,b\n1,2", "b\n3")
	f.Add("docx", docx(f, "one", "A", "S"), docx(f, "two", "B", "S"))
	f.Add("xlsx", xlsx(f, "0", [][]string{{"A"}, {"1"}}), xlsx(f, "0", [][]string{{"A"}, {"2"}}))
	f.Fuzz(func(t *testing.T, format, a, b string) {
		var out bytes.Buffer
		if Results(&out, format, parts(a, b)) != nil {
			return
		}
		switch format {
		case "json":
			if !json.Valid(out.Bytes()) {
				t.Errorf("not JSON: %q", out.String())
			}
		case "csv":
			if _, err := csv.NewReader(&out).ReadAll(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A cell that names no text, as only a hostile or broken service sends it, is no
// reason to end.
func TestXLSXHostile(t *testing.T) {
	whole := xlsx(t, "0", [][]string{{"Name", "Date"}, {"Ann", "1"}})
	z, err := zip.NewReader(strings.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range []string{"-1", "99999", "99999999999999999999", "NaN", ""} {
		var files []string
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f.Name, strings.Replace(string(content), "<v>0</v>", "<v>"+cell+"</v>", 1))
		}
		hostile := packed(t, files...)
		for _, contents := range [][]string{{hostile, whole}, {whole, hostile}, {hostile, hostile}} {
			if err := Results(io.Discard, "xlsx", parts(contents...)); err != nil && strings.Contains(err.Error(), "not foreseen") {
				t.Errorf("cell %q: %v", cell, err)
			}
		}
	}
}
