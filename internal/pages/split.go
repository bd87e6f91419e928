package pages

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	xtiff "golang.org/x/image/tiff"

	"scandrop/internal/tiff"
)

// A Part is a file that holds some of a scan's pages.
type Part struct {
	Name string `json:"name"` // of the file, in the folder that was given
	Ext  string `json:"ext"`  // its true extension
	From int    `json:"from"` // its first page, counted from 1
	To   int    `json:"to"`   // its last
}

// Split divides a scan into files in dir of at most limit bytes each, in the
// order of the pages: a PDF and a TIFF between pages, without recoding one. A
// page that is too big by itself, and a picture, becomes smaller where that can
// be done without losing anything that is to be seen: stored anew as PNG, or, a
// JPEG, without what follows the picture and without other programs' notes in
// it. So there may be one part only. Files that are there are replaced; nothing
// is synced. With the same limit the same scan is divided into the same pages.
//
// The error wraps [ErrUnreadable] where the file is at fault, and says what
// could be done.
func (t Tool) Split(ctx context.Context, scan *os.File, ext, dir string, limit int64) ([]Part, error) {
	if t.Timeout == 0 {
		t.Timeout = splitTimeout
	}
	info, err := scan.Stat()
	if err != nil {
		return nil, err
	}
	if t.Memory == 0 {
		t.Memory = defaultMemory + 4*info.Size()
	}
	var parts []Part
	err = t.do(ctx, scan, request{Do: doSplit, Ext: ext, Dir: dir, Limit: limit}, &parts)
	return parts, err
}

var errStillTooBig = errors.New("it cannot be made small enough without losing detail")

func split(r *io.SectionReader, ext, dir string, limit int64) ([]Part, error) {
	s := &splitter{dir: dir, limit: limit}
	var err error
	switch ext {
	case ".pdf":
		err = s.pdf(r)
	case ".tif":
		err = s.tiff(r)
	case ".jpg":
		err = s.jpeg(r)
	case ".png":
		err = s.picture(r, png.DecodeConfig, png.Decode)
	case ".gif":
		err = s.picture(r, gif.DecodeConfig, still)
	default:
		err = errStillTooBig
	}
	return s.parts, err
}

type splitter struct {
	dir   string
	limit int64
	parts []Part
}

// add writes a part.
func (s *splitter) add(content []byte, ext string, from, to int) error {
	p := Part{Name: fmt.Sprintf("part-%04d%s", len(s.parts)+1, ext), Ext: ext, From: from, To: to}
	if err := os.WriteFile(filepath.Join(s.dir, p.Name), content, 0o600); err != nil {
		return err
	}
	s.parts = append(s.parts, p)
	return nil
}

// pdf writes as many pages as fit into each part, by the average first and fewer
// where they turn out to be heavier.
func (s *splitter) pdf(r *io.SectionReader) error {
	quiet()
	conf := model.NewDefaultConfiguration()
	conf.Cmd = model.SPLIT
	doc, err := api.ReadValidateAndOptimize(r, conf)
	if errors.Is(err, pdfcpu.ErrWrongPassword) {
		return errors.New("a password keeps it shut")
	}
	if err != nil {
		return err
	}
	const margin = 0.9
	usual := max(1, int(float64(doc.PageCount)*margin*float64(s.limit)/float64(r.Size())))
	for from := 1; from <= doc.PageCount; {
		n := min(usual, doc.PageCount-from+1)
		for {
			content, err := pagesOf(doc, from, n)
			if err != nil {
				return err
			}
			size := int64(len(content))
			if size <= s.limit {
				if err := s.add(content, ".pdf", from, from+n-1); err != nil {
					return err
				}
				break
			}
			if n == 1 {
				return fmt.Errorf("page %d alone has %.1f MB", from, float64(size)/1e6)
			}
			n = max(1, min(n-1, int(float64(n)*margin*float64(s.limit)/float64(size))))
		}
		from += n
	}
	return nil
}

func pagesOf(doc *model.Context, from, n int) ([]byte, error) {
	part, err := pdfcpu.ExtractPages(doc, api.PagesForPageRange(from, from+n-1), false)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := api.WriteContext(part, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tiff copies directories, and the data that they name, as they are.
func (s *splitter) tiff(r *io.SectionReader) error {
	t, err := tiff.NewReader(r, r.Size())
	if err != nil {
		return err
	}
	const fixed = 64 // header, and padding
	var (
		all   []tiff.Directory // of the part
		size  = int64(fixed)
		from  = 1
		pages int
	)
	flush := func() error {
		if len(all) == 0 {
			return nil
		}
		content, err := t.Copy(all)
		if err == nil {
			err = s.add(content, ".tif", from, pages)
		}
		all, size, from = nil, fixed, pages+1
		return err
	}
	for {
		d, err := t.Next()
		if err == io.EOF && pages == 0 {
			return errors.New("it has no page, only previews")
		}
		if err == io.EOF {
			return flush()
		}
		if err != nil {
			return err
		}
		n, err := t.Weight(d)
		if err != nil {
			return err
		}
		preview, err := t.Preview(d)
		if err != nil {
			return err
		}
		if preview && pages > 0 && (n+size > s.limit || len(all) == 0) {
			continue // nobody misses it, and as a part of its own it would be paid for
		}
		if n+size > s.limit {
			if err := flush(); err != nil {
				return err
			}
		}
		if !preview {
			pages++
		}
		if n+size > s.limit {
			if err := s.sheet(r, t, d, pages); err != nil {
				return fmt.Errorf("page %d alone has %.1f MB: %w", pages, float64(n)/1e6, err)
			}
			from = pages + 1
			continue
		}
		all, size = append(all, d), size+n
	}
}

// sheet makes a PNG of a page of a TIFF.
func (s *splitter) sheet(r *io.SectionReader, t *tiff.Reader, d tiff.Directory, page int) error {
	if t.Big || d.Offset > math.MaxUint32 {
		return errStillTooBig
	}
	const orientation = 274 // a PNG does not say how it is to be turned
	if f, ok := d.Field(orientation); ok {
		if turned, err := t.Numbers(f); err != nil || len(turned) > 0 && turned[0] > 1 {
			return errStillTooBig
		}
	}
	var first [4]byte
	t.Order.PutUint32(first[:], uint32(d.Offset))
	section := io.NewSectionReader(patched{r, 4, first[:]}, 0, r.Size())
	content, err := s.asPNG(section, xtiff.DecodeConfig, xtiff.Decode)
	if err != nil {
		return err
	}
	return s.add(content, ".png", page, page)
}

// picture makes a PNG of a picture.
func (s *splitter) picture(r io.ReadSeeker, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) error {
	content, err := s.asPNG(r, config, decode)
	if err != nil {
		return err
	}
	return s.add(content, ".png", 1, 1)
}

// asPNG stores a picture anew, with the same pixels, as small as PNG can.
func (s *splitter) asPNG(r io.ReadSeeker, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) ([]byte, error) {
	c, err := config(r)
	if err != nil {
		return nil, err
	}
	if int64(c.Width)*int64(c.Height) > maxPixels {
		return nil, errTooLarge
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, err := decode(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&b, m); err != nil {
		return nil, err
	}
	if int64(b.Len()) > s.limit {
		return nil, errStillTooBig
	}
	return b.Bytes(), nil
}

// still decodes a GIF that does not move.
func still(r io.Reader) (image.Image, error) {
	all, err := gif.DecodeAll(r)
	if err != nil {
		return nil, err
	}
	m := all.Image[0]
	if len(all.Image) != 1 || m.Rect != image.Rect(0, 0, all.Config.Width, all.Config.Height) {
		return nil, errors.New("it is more than one picture")
	}
	return m, nil
}

// jpeg leaves out what follows the picture, as films and further pictures of
// telephones do, and the notes of programs; the orientation, the colours' profile
// and what belongs to the coding stay.
func (s *splitter) jpeg(r *io.SectionReader) error {
	content := make([]byte, r.Size())
	if _, err := r.ReadAt(content, 0); err != nil && err != io.EOF {
		return err
	}
	small, err := bareJPEG(content)
	if err != nil {
		return err
	}
	if int64(len(small)) > s.limit {
		return errStillTooBig
	}
	return s.add(small, ".jpg", 1, 1)
}

var errJPEG = errors.New("it is not built like a JPEG")

// bareJPEG follows the segments (ITU-T T.81, B.1) to the end of the picture.
func bareJPEG(b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != 0xff || b[1] != 0xd8 {
		return nil, errJPEG
	}
	out := []byte{0xff, 0xd8}
	for at := 2; ; {
		if at+4 > len(b) || b[at] != 0xff {
			return nil, errJPEG
		}
		kind := b[at+1]
		switch {
		case kind == 0xff: // padding
			at++
			continue
		case kind == 0xda: // the data, up to the last end of an image that follows
			end := endOfJPEG(b[at:])
			if end < 0 {
				return nil, errJPEG
			}
			return append(out, b[at:at+end]...), nil
		}
		length := 2 + int(binary.BigEndian.Uint16(b[at+2:]))
		if length < 4 || at+length > len(b) {
			return nil, errJPEG
		}
		segment := b[at : at+length]
		if keptJPEG(kind, segment[4:]) {
			out = append(out, segment...)
		}
		at += length
	}
}

// keptJPEG reports whether a segment matters for how the picture looks.
func keptJPEG(kind byte, content []byte) bool {
	switch {
	case kind == 0xfe: // comment
		return false
	case kind == 0xe0, kind == 0xee: // JFIF, Adobe: how colours are coded
		return true
	case kind == 0xe1:
		return bytes.HasPrefix(content, []byte("Exif\x00"))
	case kind == 0xe2:
		return bytes.HasPrefix(content, []byte("ICC_PROFILE\x00"))
	case kind >= 0xe3 && kind <= 0xef:
		return false
	}
	return true
}

// endOfJPEG is where the picture ends whose scans begin b; -1 if it does not.
func endOfJPEG(b []byte) int {
	for at := 0; at+1 < len(b); {
		if b[at] != 0xff {
			at++
			continue
		}
		switch kind := b[at+1]; {
		case kind == 0xd9:
			return at + 2
		case kind == 0xff:
			at++
		case kind == 0x00, kind == 0x01, 0xd0 <= kind && kind <= 0xd7:
			at += 2
		default: // the tables of the next scan, and their scan
			if at+4 > len(b) {
				return -1
			}
			at += 2 + int(binary.BigEndian.Uint16(b[at+2:]))
		}
	}
	return -1
}
