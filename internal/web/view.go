package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/image/draw"
	"golang.org/x/image/tiff"

	"scandrop/internal/control"
	h "scandrop/internal/markup"
	layout "scandrop/internal/tiff"
	"scandrop/queue"
)

// A side is a piece of a scan, and the text of it.
type side struct {
	Scan  *scanPart // nil where the text has more pages than the scan shows
	Texts []textPart
}

type scanPart struct {
	Number   int // of the page; 0 for the whole
	Image    h.Address
	Document h.Address // PDF
	Whole    h.Address // the scan itself
	Alt      string
	Why      string // it is not shown
	Alone    bool   // beside several texts
}

type textPart struct {
	Number int
	Title  string
	Text   string
	Data   bool // a table, rather than prose
	Link   h.Address
	Why    string // there is no text
}

// Bounds of what the page shows of one scan.
const (
	shownText  = 1 << 20 // bytes
	shownPages = 200
)

// sides puts the scan's pages and their texts side by side.
func (s *Server) sides(j queue.Job) []side {
	texts := s.texts(j)
	whole := jobAddress(j.ID, "scan")
	part := func(n int) *scanPart {
		alt := "The scan " + filepath.Base(j.Path)
		if n > 0 {
			alt += fmt.Sprintf(", page %d", n)
		}
		return &scanPart{Number: n, Whole: whole, Alt: alt}
	}
	one := part(0)
	one.Alone = len(texts) > 1
	switch j.Ext {
	case ".jpg", ".png", ".gif":
		one.Image = whole
	case ".pdf":
		one.Document = whole
	case ".tif":
		pages, err := s.tiffPages(j)
		if err != nil {
			one.Why = "This TIFF cannot be shown here: " + err.Error() + "."
			break
		}
		var sides []side
		for n := 1; n <= max(len(texts), len(pages)) && n <= shownPages; n++ {
			one := side{}
			if n <= len(pages) {
				one.Scan = part(n)
				if one.Scan.Why = pages[n-1].trouble; one.Scan.Why == "" {
					one.Scan.Image = jobAddress(j.ID, "preview", strconv.Itoa(n))
				}
			}
			if n <= len(texts) {
				one.Texts = texts[n-1 : n]
			}
			sides = append(sides, one)
		}
		if len(texts) == 1 && len(pages) > 1 {
			sides[0].Texts = texts
		}
		return sides
	case ".heic":
		one.Why = "Browsers do not show HEIC pictures."
	default:
		one.Why = "This file is no scan that can be shown."
	}
	return []side{{one, texts}}
}

// pageMark begins a page in the service's text.
var pageMark = regexp.MustCompile(`(?m)^=== \*\*Page: (\d+) of \d+\*\*[ \t]*\r?\n?`)

// texts are the texts of a scan's pages, or, where it has none yet, why not.
func (s *Server) texts(j queue.Job) []textPart {
	why := func(text string) []textPart { return []textPart{{Title: "The text", Why: text}} }
	if j.Collected.IsZero() && j.State != queue.Done && j.State != queue.Written {
		if j.State.Final() {
			return why("There is no text: this scan is " + string(j.State) + ".")
		}
		return why("The text appears here as soon as it is on the disk.")
	}
	var others []string
	for _, format := range []string{"txt", "json", "csv"} {
		r, ok := j.Result(format)
		if !ok || r.Path == "" {
			continue
		}
		text, err := s.readResult(j, r.Path)
		if err != nil {
			others = append(others, filepath.Base(r.Path)+" is not there any more")
			continue
		}
		return split(format, text, resultAddress(j, format))
	}
	if len(others) > 0 {
		return why(strings.Join(others, "; ") + ".")
	}
	var parts []textPart
	for _, r := range j.Results {
		if r.Path != "" {
			parts = append(parts, textPart{Title: filepath.Base(r.Path), Link: resultAddress(j, r.Format), Why: "A " + r.Format + " file: open it in its own program."})
		}
	}
	if len(parts) == 0 {
		return why("There is no result.")
	}
	return parts
}

func (s *Server) readResult(j queue.Job, path string) (string, error) {
	f, err := s.Files.Result(j, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, shownText+1))
	if len(data) > shownText {
		data = append(data[:shownText:shownText], "\n… (more than is shown here)"...)
	}
	return strings.ToValidUTF8(string(data), string(utf8.RuneError)), err
}

// split makes pages of a result.
func split(format, text string, link h.Address) []textPart {
	whole := []textPart{{Title: "The text", Text: text, Link: link}}
	switch format {
	case "txt":
		marks := pageMark.FindAllStringSubmatchIndex(text, shownPages)
		if len(marks) == 0 || strings.TrimSpace(text[:marks[0][0]]) != "" {
			return whole
		}
		var parts []textPart
		for i, m := range marks {
			end := len(text)
			if i+1 < len(marks) {
				end = marks[i+1][0]
			}
			n, _ := strconv.Atoi(text[m[2]:m[3]])
			parts = append(parts, page(n, len(marks), strings.Trim(text[m[1]:end], "\r\n"), link))
		}
		return parts
	case "json":
		var d struct {
			Results []struct {
				Page       int     `json:"page_number"`
				Transcript *string `json:"transcript"`
			} `json:"results"`
		}
		if json.Unmarshal([]byte(text), &d) == nil && len(d.Results) > 0 && d.Results[0].Transcript != nil {
			var parts []textPart
			for _, r := range d.Results {
				if r.Transcript != nil {
					parts = append(parts, page(r.Page, len(d.Results), strings.TrimSpace(*r.Transcript), link))
				}
			}
			return parts
		}
		var pretty bytes.Buffer
		if json.Indent(&pretty, []byte(text), "", "  ") == nil {
			whole[0].Text = pretty.String()
		}
	}
	whole[0].Data = true
	return whole
}

func page(n, of int, text string, link h.Address) textPart {
	p := textPart{Number: n, Title: fmt.Sprintf("Text of page %d", n), Text: text, Link: link}
	if of == 1 {
		p.Title = "The text"
	}
	if text == "" {
		p.Why = "Nothing is written on this page."
	}
	return p
}

// kinds are the types that files are sent as: never what their content says.
var kinds = map[string]string{
	".pdf": "application/pdf", ".jpg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".tif": "image/tiff", ".heic": "image/heic",
	"txt": "text/plain; charset=utf-8", "json": "application/json", "csv": "text/csv; charset=utf-8",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

// shownInline are the kinds that a browser shows by itself.
var shownInline = map[string]bool{".pdf": true, ".jpg": true, ".png": true, ".gif": true, "txt": true, "json": true}

// send sends a file of the job's.
func (s *Server) send(w http.ResponseWriter, r *http.Request, kind, path string, f io.ReadSeekCloser, err error) {
	if err != nil {
		s.failed(w, r, &noFile{path, err})
		return
	}
	defer f.Close()
	s.patient(w)
	h := w.Header()
	how := "attachment"
	if shownInline[kind] {
		how = "inline"
	}
	if h.Set("Content-Type", kinds[kind]); kinds[kind] == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("Content-Disposition", disposition(how, filepath.Base(path)))
	if kind != ".pdf" { // the browser's own view of a PDF is a page of scripts
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; sandbox")
	} else {
		h.Set("Content-Security-Policy", "default-src 'none'; object-src 'self'; frame-ancestors 'self'")
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}

type noFile struct {
	path string
	err  error
}

func (e *noFile) Error() string {
	if errors.Is(e.err, fs.ErrNotExist) {
		return filepath.Base(e.path) + " is not there any more"
	}
	return fmt.Sprintf("%s cannot be read: %v", filepath.Base(e.path), e.err)
}

// disposition names the file in a header, whatever characters are in its name.
func disposition(how, name string) string {
	var plain, encoded strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._", c) >= 0:
			plain.WriteByte(c)
			encoded.WriteByte(c)
		default:
			plain.WriteByte('_')
			fmt.Fprintf(&encoded, "%%%02X", c)
		}
	}
	return fmt.Sprintf(`%s; filename="%s"; filename*=UTF-8''%s`, how, plain.String(), encoded.String())
}

func (s *Server) scan(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	f, err := s.Files.Scan(j)
	s.send(w, r, j.Ext, j.Original(), f, err)
}

func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	format := r.PathValue("format")
	res, ok := j.Result(format)
	if !ok || res.Path == "" {
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNoFile, Message: "this scan has no such result"})
		return
	}
	f, err := s.Files.Result(j, res.Path)
	s.send(w, r, format, res.Path, f, err)
}

// A tiffPage is where a page of a TIFF begins, and why it cannot be shown.
type tiffPage struct {
	layout.Directory
	trouble string
}

// Tags and values of TIFF that say how a page is packed.
const (
	tagWidth, tagHeight, tagCompression, tagPhotometric, tagRows, tagTables = 256, 257, 259, 262, 278, 347

	packedJPEG    = 7
	packedOldJPEG = 6
)

// Bounds of a preview.
const (
	previewPixels = 60 << 20 // of a page that is read
	previewWidth  = 1400
)

// readerAt reads a scan at any place.
type readerAt struct{ io.ReadSeeker }

func (r readerAt) ReadAt(p []byte, at int64) (int, error) {
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// tiffPages lists the pages of a TIFF, but not the previews in it.
func (s *Server) tiffPages(j queue.Job) ([]tiffPage, error) {
	f, err := s.Files.Scan(j)
	if err != nil {
		return nil, &noFile{j.Original(), err}
	}
	defer f.Close()
	pages, _, err := pagesOf(f)
	return pages, err
}

var errUnreadable = errors.New("it is damaged")

func pagesOf(f io.ReadSeeker) ([]tiffPage, *layout.Reader, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, nil, err
	}
	t, err := layout.NewReader(readerAt{f}, size)
	if err != nil {
		return nil, nil, errUnreadable
	}
	var pages []tiffPage
	for len(pages) < shownPages {
		d, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, errUnreadable
		}
		if small, err := t.Preview(d); err != nil || small {
			continue
		}
		p := tiffPage{Directory: d}
		switch width, height := number(t, d, tagWidth), number(t, d, tagHeight); {
		case t.Big:
			p.trouble = "BigTIFF pictures are not shown here."
		case number(t, d, tagCompression) == packedOldJPEG:
			p.trouble = "TIFF pictures of this old kind of JPEG are not shown here."
		case width == 0 || height == 0 || width > previewPixels || height > previewPixels || width*height > previewPixels:
			p.trouble = "This picture is too large to be shown here."
		}
		pages = append(pages, p)
	}
	return pages, t, nil
}

// number is the first value of a field; 0 if there is none.
func number(t *layout.Reader, d layout.Directory, tag uint16) uint64 {
	f, ok := d.Field(tag)
	if !ok || f.Count == 0 {
		return 0
	}
	f.Count = 1
	n, err := t.Numbers(f)
	if err != nil {
		return 0
	}
	return n[0]
}

// preview serves a page of a TIFF as a JPEG. A few at a time are made: each may
// take some hundred megabytes.
func (s *Server) preview(w http.ResponseWriter, r *http.Request) {
	j, err := s.job(r)
	if err != nil {
		s.failed(w, r, err)
		return
	}
	n, err := strconv.Atoi(r.PathValue("page"))
	if err != nil || n < 1 || j.Ext != ".tif" {
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNoFile, Message: "there is no preview of this page"})
		return
	}
	select {
	case s.previews <- struct{}{}:
		defer func() { <-s.previews }()
	case <-r.Context().Done():
		return
	}
	f, err := s.Files.Scan(j)
	if err != nil {
		s.failed(w, r, &noFile{j.Original(), err})
		return
	}
	defer f.Close()
	picture, err := tiffPicture(f, n)
	if err != nil {
		s.problem(w, r, http.StatusNotFound, &control.Problem{Code: control.CodeNoFile, Message: "this page cannot be shown: " + err.Error()})
		return
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture, &jpeg.Options{Quality: 80}); err != nil {
		s.failed(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Write(b.Bytes())
}

// tiffPicture decodes a page, no wider than a preview is.
func tiffPicture(f io.ReadSeeker, n int) (picture image.Image, err error) {
	defer func() { // decoders of pictures have panicked over hostile files
		if p := recover(); p != nil {
			err = errUnreadable
		}
	}()
	pages, t, err := pagesOf(f)
	switch {
	case err != nil:
		return nil, err
	case n > len(pages):
		return nil, errors.New("there are fewer pages")
	case pages[n-1].trouble != "":
		return nil, errors.New(pages[n-1].trouble)
	}
	d := pages[n-1].Directory
	if number(t, d, tagCompression) == packedJPEG {
		picture, err = jpegStrips(t, f, d)
	} else {
		picture, err = tiff.Decode(io.NewSectionReader(from{readerAt{f}, t, d.Offset}, 0, 1<<40))
	}
	if err != nil {
		return nil, err
	}
	return shrink(picture), nil
}

// from is a TIFF file that begins with another of its pages.
type from struct {
	io.ReaderAt
	t      *layout.Reader
	offset uint64
}

func (f from) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, at)
	var first [4]byte
	f.t.Order.PutUint32(first[:], uint32(f.offset))
	for i, b := range first {
		if k := int64(4+i) - at; k >= 0 && k < int64(n) {
			p[k] = b
		}
	}
	return n, err
}

// jpegStrips decodes a page whose strips are JPEG pictures that share their
// tables, as scanners write them.
func jpegStrips(t *layout.Reader, f io.ReadSeeker, d layout.Directory) (image.Image, error) {
	width, height, rows := int(number(t, d, tagWidth)), int(number(t, d, tagHeight)), int(number(t, d, tagRows))
	if _, tiled := d.Field(layout.TileOffsets); tiled {
		return nil, errors.New("JPEG tiles are not shown here")
	}
	if rows <= 0 || rows > height {
		rows = height
	}
	var tables []byte
	if field, ok := d.Field(tagTables); ok && field.Size() > 4 && field.Size() < 1<<16 {
		tables = make([]byte, field.Size())
		if _, err := (readerAt{f}).ReadAt(tables, int64(field.Offset)); err != nil {
			return nil, errUnreadable
		}
		tables = tables[:len(tables)-2] // without the end of its picture
	}
	strips, err := t.Data(d)
	if err != nil {
		return nil, errUnreadable
	}
	whole := image.NewRGBA(image.Rect(0, 0, width, height))
	for i, e := range strips {
		if i*rows >= height {
			break
		}
		if err := t.Inside(e); err != nil || e.Size < 4 {
			return nil, errUnreadable
		}
		data := make([]byte, e.Size)
		if _, err := (readerAt{f}).ReadAt(data, int64(e.Offset)); err != nil {
			return nil, errUnreadable
		}
		if len(tables) > 0 {
			data = append(tables[:len(tables):len(tables)], data[2:]...)
		}
		c, err := jpeg.DecodeConfig(bytes.NewReader(data))
		if err != nil || c.Width > width+64 || c.Height > rows+64 {
			return nil, errUnreadable
		}
		strip, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, errUnreadable
		}
		draw.Draw(whole, image.Rect(0, i*rows, width, min((i+1)*rows, height)), strip, strip.Bounds().Min, draw.Src)
	}
	return whole, nil
}

// shrink makes a picture no wider than a preview is.
func shrink(picture image.Image) image.Image {
	b := picture.Bounds()
	if b.Dx() <= previewWidth {
		return picture
	}
	small := image.NewRGBA(image.Rect(0, 0, previewWidth, max(1, b.Dy()*previewWidth/b.Dx())))
	draw.ApproxBiLinear.Scale(small, small.Bounds(), picture, b, draw.Src, nil)
	return small
}
