package pages_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	xtiff "golang.org/x/image/tiff"

	"scandrop/internal/pages"
)

// As a process of its own this binary is what the program is in the field.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "pages" {
		os.Exit(pages.Serve(os.Args[2], os.Stdin, os.Stdout))
	}
	api.DisableConfigDir()
	os.Exit(m.Run())
}

func apart(t testing.TB) pages.Tool {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return pages.Tool{Command: []string{self, "pages"}}
}

func open(t testing.TB, path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func sample(t testing.TB, name string) *os.File { return open(t, "../../testdata/scans/"+name) }

func file(t testing.TB, content []byte) *os.File {
	path := filepath.Join(t.TempDir(), "scan")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func TestInspect(t *testing.T) {
	for _, tool := range []struct {
		name string
		pages.Tool
	}{{"here", pages.Tool{}}, {"apart", apart(t)}} {
		for _, s := range []struct {
			file *os.File
			ext  string
			want pages.Report
		}{
			{sample(t, "letter.pdf"), ".pdf", pages.Report{Pages: 1}},
			{sample(t, "minutes.pdf"), ".pdf", pages.Report{Pages: 5}},
			{sample(t, "ledger.tiff"), ".tif", pages.Report{Pages: 3}},
			{sample(t, "postcard.jpg"), ".jpg", pages.Report{Pages: 1}},
			{sample(t, "recipe.png"), ".png", pages.Report{Pages: 1}},
			{sample(t, "telegram.gif"), ".gif", pages.Report{Pages: 1}},
			{sample(t, "note.heic"), ".heic", pages.Report{Pages: 1}},
			{file(t, encrypted(t, "minutes.pdf", "secret")), ".pdf", pages.Report{Encrypted: true}},
			{file(t, encrypted(t, "minutes.pdf", "")), ".pdf", pages.Report{Pages: 5}},
		} {
			t.Run(tool.name+"/"+filepath.Base(s.file.Name())+s.ext, func(t *testing.T) {
				got, err := tool.Inspect(t.Context(), s.file, s.ext)
				if err != nil || got != s.want {
					t.Errorf("%+v, %v; want %+v", got, err, s.want)
				}
				if at, err := s.file.Seek(0, io.SeekCurrent); at != 0 || err != nil {
					t.Errorf("the file's offset is %d, %v", at, err)
				}
			})
		}
	}
}

// encrypted is a sample that cannot be changed, or, with a password, not even be
// read without it.
func encrypted(t testing.TB, name, password string) []byte {
	conf := model.NewAESConfiguration(password, "owner", 256)
	var b bytes.Buffer
	if err := api.Encrypt(sample(t, name), &b, conf); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnreadable(t *testing.T) {
	whole, err := io.ReadAll(sample(t, "minutes.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	for name, scan := range map[string]struct {
		content []byte
		ext     string
	}{
		"not a PDF":       {[]byte("%PDF-1.7 and nothing more"), ".pdf"},
		"half a PDF":      {whole[:len(whole)/2], ".pdf"},
		"half a TIFF":     {[]byte("II*\x00\xff\xff\x00\x00"), ".tif"},
		"an endless TIFF": {[]byte("II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00"), ".tif"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := apart(t).Inspect(t.Context(), file(t, scan.content), scan.ext)
			if !errors.Is(err, pages.ErrUnreadable) || r != (pages.Report{}) {
				t.Errorf("%+v, %v; want an empty report and ErrUnreadable", r, err)
			}
		})
	}
}

// The process that reads ends by itself.
func TestBounds(t *testing.T) {
	for name, bound := range map[string]func(*pages.Tool){
		"time":   func(t *pages.Tool) { t.Timeout = time.Nanosecond },
		"memory": func(t *pages.Tool) { t.Memory = 1 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			tool := apart(t)
			bound(&tool)
			// More than can be decoded before a bound is noticed.
			_, err := tool.Blank(t.Context(), file(t, picture(t, white(1500, 1500), png.Encode)), ".png")
			if !errors.Is(err, pages.ErrUnreadable) || !strings.Contains(err.Error(), "it took") {
				t.Errorf("%v; want one that names the bound", err)
			}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := apart(t).Inspect(ctx, sample(t, "letter.pdf"), ".pdf"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v; want context.Canceled", err)
		}
	})
	t.Run("no program", func(t *testing.T) {
		tool := pages.Tool{Command: []string{filepath.Join(t.TempDir(), "scandrop")}}
		if _, err := tool.Inspect(t.Context(), sample(t, "letter.pdf"), ".pdf"); err == nil || errors.Is(err, pages.ErrUnreadable) {
			t.Errorf("%v; want one that does not blame the file", err)
		}
	})
}

func white(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	return m
}

// paper is what a scanner makes of an empty sheet: not quite white, darker
// towards one side, with noise.
func paper(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range h {
		for x := range w {
			v := func(light int) uint8 { return uint8(light - 20*x/w + int(2.5*r.NormFloat64())) }
			m.Set(x, y, color.RGBA{v(243), v(240), v(232), 255})
		}
	}
	return m
}

// with draws a line of the given width, by how much darker it is.
func with(m *image.RGBA, width, darker int) *image.RGBA {
	for x := 300; x < 360; x++ {
		for y := 200; y < 200+width; y++ {
			c := m.RGBAAt(x, y)
			d := uint8(darker)
			m.SetRGBA(x, y, color.RGBA{c.R - d, c.G - d, c.B - d, 255})
		}
	}
	return m
}

func picture(t testing.TB, m image.Image, encode func(io.Writer, image.Image) error) []byte {
	var b bytes.Buffer
	if err := encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }
func asTIFF(w io.Writer, m image.Image) error { return xtiff.Encode(w, m, nil) }
func asGIF(w io.Writer, m image.Image) error  { return gif.Encode(w, m, nil) }

// pdfOf is a PDF with a page for each picture.
func pdfOf(t testing.TB, pictures ...[]byte) []byte {
	var readers []io.Reader
	for _, p := range pictures {
		readers = append(readers, bytes.NewReader(p))
	}
	var b bytes.Buffer
	if err := api.ImportImages(nil, &b, readers, pdfcpu.DefaultImportConfig(), model.NewDefaultConfiguration()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// tiffOf joins TIFFs of one page each.
func tiffOf(t testing.TB, parts ...[]byte) []byte {
	var all []byte
	link := 4 // where the offset of the next directory goes
	for _, p := range parts {
		base := uint32(len(all))
		if base > 0 {
			p = bytes.Clone(p)
		}
		order := binary.LittleEndian
		first := order.Uint32(p[4:])
		n := int(order.Uint16(p[first:]))
		for i := range n {
			e := p[int(first)+2+12*i:]
			tag, kind, count := order.Uint16(e), order.Uint16(e[2:]), order.Uint32(e[4:])
			size := map[uint16]uint32{3: 2, 4: 4, 5: 8}[kind] * count
			switch {
			case size > 4:
				at := order.Uint32(e[8:])
				if tag == 273 {
					for j := range count {
						order.PutUint32(p[at+4*j:], order.Uint32(p[at+4*j:])+base)
					}
				}
				order.PutUint32(e[8:], at+base)
			case tag == 273:
				order.PutUint32(e[8:], order.Uint32(e[8:])+base)
			}
		}
		all = append(all, p...)
		order.PutUint32(all[link:], base+first)
		link = int(base+first) + 2 + 12*n
	}
	return all
}

func TestBlank(t *testing.T) {
	sheet, written := paper(620, 877), with(paper(620, 877), 2, 40)
	clear := image.NewNRGBA(image.Rect(0, 0, 100, 100))
	for name, scan := range map[string]struct {
		content []byte
		ext     string
		want    bool
	}{
		"paper, JPEG":                {picture(t, sheet, asJPEG), ".jpg", true},
		"paper, PNG":                 {picture(t, sheet, png.Encode), ".png", true},
		"paper, TIFF":                {picture(t, sheet, asTIFF), ".tif", true},
		"white, GIF":                 {picture(t, white(300, 200), asGIF), ".gif", true},
		"written, JPEG":              {picture(t, written, asJPEG), ".jpg", false},
		"written, PNG":               {picture(t, written, png.Encode), ".png", false},
		"a faint pencil":             {picture(t, with(paper(620, 877), 2, 25), png.Encode), ".png", false},
		"a dot":                      {picture(t, dot(white(620, 877)), png.Encode), ".png", false},
		"black":                      {picture(t, image.NewGray(image.Rect(0, 0, 100, 100)), png.Encode), ".png", false},
		"transparent":                {picture(t, clear, png.Encode), ".png", false},
		"paper, PDF":                 {pdfOf(t, picture(t, sheet, asJPEG), picture(t, sheet, png.Encode)), ".pdf", true},
		"written second page, PDF":   {pdfOf(t, picture(t, sheet, asJPEG), picture(t, written, asJPEG)), ".pdf", false},
		"two sheets, TIFF":           {tiffOf(t, picture(t, sheet, asTIFF), picture(t, sheet, asTIFF)), ".tif", true},
		"written second page, TIFF":  {tiffOf(t, picture(t, sheet, asTIFF), picture(t, written, asTIFF)), ".tif", false},
		"text in a PDF":              {textPDF("BT /F0 12 Tf (Dear Ada) Tj ET"), ".pdf", false},
		"a line in a PDF":            {textPDF("0 0 m 100 100 l S"), ".pdf", false},
		"an inline picture in a PDF": {textPDF("BI /W 1 /H 1 /BPC 8 /CS /G ID x EI"), ".pdf", false},
		"nothing in a PDF":           {textPDF("q 1 0 0 1 0 0 cm Q"), ".pdf", true},
		"locked":                     {encrypted(t, "minutes.pdf", "secret"), ".pdf", false},
		"damaged":                    {[]byte("\xff\xd8\xff\xe0 no picture"), ".jpg", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := apart(t).Blank(t.Context(), file(t, scan.content), scan.ext)
			if got != scan.want {
				t.Errorf("%v, %v; want %v", got, err, scan.want)
			}
		})
	}
	for name, ext := range map[string]string{
		"letter.pdf": ".pdf", "minutes.pdf": ".pdf", "ledger.tiff": ".tif", "postcard.jpg": ".jpg", "recipe.png": ".png",
		"telegram.gif": ".gif", "note.heic": ".heic", "patient-form.jpg": ".jpg",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := apart(t).Blank(t.Context(), sample(t, name), ext); got {
				t.Errorf("blank, %v", err)
			}
		})
	}
}

func dot(m *image.RGBA) *image.RGBA {
	draw.Draw(m, image.Rect(100, 100, 103, 103), image.Black, image.Point{}, draw.Src)
	return m
}

// textPDF is a PDF of one page with this content.
func textPDF(content string) []byte {
	var b bytes.Buffer
	var at []int
	object := func(text string) {
		at = append(at, b.Len())
		b.WriteString(strings.Replace(text, "#", string(rune('0'+len(at))), 1) + "\nendobj\n")
	}
	b.WriteString("%PDF-1.4\n")
	object("# 0 obj\n<</Type/Catalog/Pages 2 0 R>>")
	object("# 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>")
	object("# 0 obj\n<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F0 5 0 R>>>>>>")
	object("# 0 obj\n<</Length " + strconv.Itoa(len(content)) + ">>\nstream\n" + content + "\nendstream")
	object("# 0 obj\n<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>")
	start := b.Len()
	b.WriteString("xref\n0 6\n0000000000 65535 f \n")
	for _, offset := range at {
		s := strconv.Itoa(offset)
		b.WriteString(strings.Repeat("0", 10-len(s)) + s + " 00000 n \n")
	}
	b.WriteString("trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n" + strconv.Itoa(start) + "\n%%EOF\n")
	return b.Bytes()
}
