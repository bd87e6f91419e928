package pages

import (
	"bytes"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"strings"

	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"
	xtiff "golang.org/x/image/tiff"

	"scandrop/internal/tiff"
)

// maxPixels bounds what is decoded: an A3 page at 600 dpi has 70 million.
const maxPixels = 100_000_000

var errTooLarge = errors.New("its picture is too large to be decoded here")

// blank reports whether nothing is on any page.
func blank(r *io.SectionReader, ext string) (bool, error) {
	switch ext {
	case ".pdf":
		return blankPDF(r)
	case ".tif":
		return blankTIFF(r)
	case ".gif":
		return blankGIF(r)
	case ".jpg":
		return blankImage(r, jpeg.DecodeConfig, jpeg.Decode)
	case ".png":
		return blankImage(r, png.DecodeConfig, png.Decode)
	}
	return false, nil
}

func blankImage(r io.ReadSeeker, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) (bool, error) {
	c, err := config(r)
	if err != nil {
		return false, err
	}
	if int64(c.Width)*int64(c.Height) > maxPixels {
		return false, errTooLarge
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	m, err := decode(r)
	if err != nil {
		return false, err
	}
	return even(m), nil
}

func blankGIF(r io.ReadSeeker) (bool, error) {
	return blankImage(r, gif.DecodeConfig, func(r io.Reader) (image.Image, error) {
		all, err := gif.DecodeAll(r)
		if err != nil {
			return nil, err
		}
		if len(all.Image) != 1 {
			return nil, errors.New("it moves")
		}
		return all.Image[0], nil
	})
}

// blankTIFF shows the decoder, which knows the first page only, each page as if
// it were the first.
func blankTIFF(r *io.SectionReader) (bool, error) {
	file, err := tiff.NewReader(r, r.Size())
	if err != nil {
		return false, err
	}
	if file.Big {
		return false, errors.New("BigTIFF is not decoded here")
	}
	for {
		d, err := file.Next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		var first [4]byte
		file.Order.PutUint32(first[:], uint32(d.Offset))
		page := io.NewSectionReader(patched{r, 4, first[:]}, 0, r.Size())
		if b, err := blankImage(page, xtiff.DecodeConfig, xtiff.Decode); !b || err != nil {
			return false, err
		}
	}
}

// patched reads other bytes in place of those at an offset.
type patched struct {
	io.ReaderAt
	at int64
	by []byte
}

func (p patched) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, off)
	for i, c := range p.by {
		if at := p.at + int64(i) - off; at >= 0 && at < int64(n) {
			b[at] = c
		}
	}
	return n, err
}

// What a blank page may show: noise of a scanner, after it was averaged over
// three by three pixels, within a block; and light that falls off slowly from
// block to block. The faintest pencil stroke is stronger than either.
const (
	block    = 32
	noise    = 12  // between the lightest and the darkest of a block
	slope    = 6   // between the means of neighbouring blocks
	lightest = 150 // a page is no darker than this
)

// even reports whether a picture shows light paper and nothing else.
func even(m image.Image) bool {
	b := m.Bounds()
	across := (b.Dx() + block - 1) / block
	if across == 0 {
		return false
	}
	above := make([][3]int, across) // the means of the blocks
	for y := b.Min.Y; y < b.Max.Y; y += block {
		rows := rowsOf(m, y-1, min(y+block, b.Max.Y)+1)
		var left *[3]int
		for i := range across {
			from := i * block
			mean, ok := evenBlock(rows, from, min(from+block, b.Dx()))
			if !ok || y > b.Min.Y && !near(mean, above[i]) || left != nil && !near(mean, *left) {
				return false
			}
			above[i] = mean
			left = &above[i]
		}
	}
	return true
}

func near(a, b [3]int) bool {
	for c := range a {
		if a[c]-b[c] > slope || b[c]-a[c] > slope {
			return false
		}
	}
	return true
}

// A pixel is its red, green and blue, each up to 255.
type pixel [3]int

// rowsOf returns the rows from y to below end, with one more pixel at either
// side; beyond the edge it repeats the edge. What is not opaque is black.
func rowsOf(m image.Image, y, end int) [][]pixel {
	b := m.Bounds()
	rows := make([][]pixel, 0, end-y)
	for ; y < end; y++ {
		row := make([]pixel, b.Dx()+2)
		at := min(max(y, b.Min.Y), b.Max.Y-1)
		for i := range b.Dx() {
			red, green, blue, alpha := m.At(b.Min.X+i, at).RGBA()
			if alpha == 0xffff {
				row[i+1] = pixel{int(red >> 8), int(green >> 8), int(blue >> 8)}
			}
		}
		row[0], row[len(row)-1] = row[1], row[len(row)-2]
		rows = append(rows, row)
	}
	return rows
}

// evenBlock looks at the columns from up to below to, and returns their mean.
func evenBlock(rows [][]pixel, from, to int) (mean [3]int, ok bool) {
	low, high, sum, n := [3]int{9 * 255, 9 * 255, 9 * 255}, [3]int{}, [3]int{}, 0
	for y := 1; y < len(rows)-1; y++ {
		for x := from; x < to; x++ {
			for c := range 3 {
				s := 0
				for _, row := range rows[y-1 : y+2] {
					s += row[x][c] + row[x+1][c] + row[x+2][c]
				}
				low[c], high[c] = min(low[c], s), max(high[c], s)
				sum[c] += s
			}
			n++
		}
	}
	for c := range 3 {
		if high[c]-low[c] > 9*noise {
			return mean, false
		}
		mean[c] = sum[c] / (9 * n)
	}
	return mean, slices.Min(mean[:]) >= lightest
}

// maxBlankPages bounds how many pages of a PDF are looked at: a longer one is not
// what a scanner makes of an empty tray.
const maxBlankPages = 50

// blankPDF reports whether every page shows nothing but even pictures.
func blankPDF(r io.ReadSeeker) (bool, error) {
	doc, err := openPDF(r)
	if err != nil {
		return false, err
	}
	if doc.Encrypt != nil || doc.PageCount == 0 || doc.PageCount > maxBlankPages {
		return false, nil
	}
	for n := 1; n <= doc.PageCount; n++ {
		if b, err := blankPage(doc, n); !b || err != nil {
			return false, err
		}
	}
	return true, nil
}

func blankPage(doc *model.Context, n int) (bool, error) {
	page, _, inherited, err := doc.PageDict(n, false)
	if err != nil || page == nil {
		return false, err
	}
	if _, found := page.Find("Annots"); found {
		return false, nil
	}
	content, err := doc.PageContent(page, n)
	if err != nil && !errors.Is(err, model.ErrNoContent) {
		return false, err
	}
	shown, ok := pictures(content)
	if !ok {
		return false, nil
	}
	resources := inherited.Resources
	if own, found := page.Find("Resources"); found {
		if resources, err = doc.DereferenceDict(own); err != nil {
			return false, err
		}
	}
	var objects types.Dict
	if o, found := resources.Find("XObject"); found {
		if objects, err = doc.DereferenceDict(o); err != nil {
			return false, err
		}
	}
	for _, name := range shown {
		o, found := objects.Find(name)
		if !found {
			return false, nil
		}
		if b, err := blankObject(doc, o); !b || err != nil {
			return false, err
		}
	}
	return true, nil
}

// blankObject reports whether an XObject is an even picture that is shown as it
// is.
func blankObject(doc *model.Context, o types.Object) (bool, error) {
	stream, _, err := doc.DereferenceStreamDict(o)
	if err != nil || stream == nil {
		return false, err
	}
	if kind := stream.Subtype(); kind == nil || *kind != "Image" {
		return false, nil
	}
	for _, odd := range []string{"ImageMask", "Mask", "SMask", "SMaskInData", "Decode"} {
		if _, found := stream.Find(odd); found {
			return false, nil
		}
	}
	wide, high := stream.IntEntry("Width"), stream.IntEntry("Height")
	if wide == nil || high == nil || int64(*wide)*int64(*high) > maxPixels {
		return false, nil
	}
	number := 0
	if ref, ok := o.(types.IndirectRef); ok {
		number = ref.ObjectNumber.Value()
	}
	picture, err := pdfcpu.ExtractImage(doc, stream, false, "", number, false)
	if err != nil || picture == nil {
		return false, err
	}
	m, _, err := image.Decode(picture)
	if err != nil {
		return false, err
	}
	return even(m), nil
}

// harmless lists the operators that paint nothing (ISO 32000-1, Annex A).
var harmless = strings.Fields("q Q cm w J j M d ri i gs g G rg RG k K cs CS sc SC scn SCN W W* n re m l c v y h BMC BDC EMC MP DP")

// pictures lists the names of the XObjects that a page's content shows. It is not
// ok if the content paints anything else, or cannot be understood.
func pictures(content []byte) (names []string, ok bool) {
	const (
		space     = "\x00\t\n\f\r "
		delimiter = "()<>[]{}/%"
	)
	last := ""
	for {
		content = bytes.TrimLeft(content, space+"[]")
		if len(content) == 0 {
			return names, true
		}
		end := 0
		switch content[0] {
		case '/':
			end = 1
		case '<', '>': // the properties of marked content, or a string that is not shown
			content = content[1:]
			continue
		case '(', ')', '{', '}', '%':
			return nil, false
		}
		if more := bytes.IndexAny(content[end:], space+delimiter); more >= 0 {
			end += more
		} else {
			end = len(content)
		}
		word := string(content[:end])
		content = content[end:]
		switch {
		case word[0] == '/', strings.Trim(word, "+-.0123456789") == "":
			last = word
		case word == "Do" && strings.HasPrefix(last, "/"):
			names = append(names, last[1:])
		case word == "true", word == "false", word == "null", slices.Contains(harmless, word):
		default:
			return nil, false
		}
	}
}
