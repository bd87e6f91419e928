package pages_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	xtiff "golang.org/x/image/tiff"

	"scandrop/internal/pages"
)

// sheet is a picture that is told from others by its first pixel, and is the
// harder to compress the more of it is noise.
func sheet(n, w, h, noise int) *image.Gray {
	m := image.NewGray(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for y := range h {
		for x := range w {
			m.SetGray(x, y, color.Gray{uint8(200 + x%7)})
			if y < noise {
				m.SetGray(x, y, color.Gray{uint8(r.UintN(256))})
			}
		}
	}
	m.SetGray(0, 0, color.Gray{uint8(n)})
	return m
}

// same reports whether two pictures show the same.
func same(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := a.Bounds().Min.Y; y < a.Bounds().Max.Y; y++ {
		for x := a.Bounds().Min.X; x < a.Bounds().Max.X; x++ {
			r, g, bl, al := a.At(x, y).RGBA()
			r2, g2, b2, a2 := b.At(x, y).RGBA()
			if r != r2 || g != g2 || bl != b2 || al != a2 {
				return false
			}
		}
	}
	return true
}

// divide splits, and checks that every page is there once, in order, in files
// that fit.
func divide(t *testing.T, content []byte, ext string, limit int64, pageCount int) (dir string, parts []pages.Part) {
	t.Helper()
	dir = t.TempDir()
	parts, err := apart(t).Split(t.Context(), file(t, content), ext, dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	next := 1
	for _, p := range parts {
		info, err := os.Stat(filepath.Join(dir, p.Name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > limit {
			t.Errorf("%s has %d bytes, at most %d fit", p.Name, info.Size(), limit)
		}
		if p.From != next || p.To < p.From {
			t.Errorf("%s has pages %d to %d, want from %d", p.Name, p.From, p.To, next)
		}
		next = p.To + 1
		r, err := pages.Tool{}.Inspect(t.Context(), open(t, filepath.Join(dir, p.Name)), p.Ext)
		if err != nil || r.Pages != p.To-p.From+1 {
			t.Errorf("%s: %+v, %v; want %d pages", p.Name, r, err, p.To-p.From+1)
		}
	}
	if next != pageCount+1 {
		t.Errorf("%d pages are in the parts, want %d", next-1, pageCount)
	}
	return dir, parts
}

func TestSplitPDF(t *testing.T) {
	var pictures [][]byte
	for n := range 7 {
		noise := 100
		if n == 3 {
			noise = 300 // one that is heavier than most
		}
		pictures = append(pictures, picture(t, sheet(n, 200, 300, noise), png.Encode))
	}
	scan := pdfOf(t, pictures...)
	_, parts := divide(t, scan, ".pdf", int64(len(scan))/3, len(pictures))
	if len(parts) < 3 {
		t.Errorf("%d parts, want 3 at least", len(parts))
	}
	_, again := divide(t, scan, ".pdf", int64(len(scan))/3, len(pictures))
	for i := range parts {
		if parts[i] != again[i] {
			t.Errorf("divided again part %d is %+v, was %+v", i, again[i], parts[i])
		}
	}
}

// Whatever a PDF holds, the process that looks into it gives an answer within its
// bounds; one that is divided has its pages in the parts, each once and in order.
func FuzzPDF(f *testing.F) {
	f.Add(textPDF("BT /F0 12 Tf (Dear Ada) Tj ET"), int64(2000))
	f.Add(pdfOf(f, picture(f, sheet(1, 30, 30, 30), png.Encode), picture(f, sheet(2, 30, 30, 30), png.Encode)), int64(3000))
	f.Add([]byte("%PDF-1.7"), int64(1))
	f.Fuzz(func(t *testing.T, content []byte, limit int64) {
		tool := apart(t)
		tool.Timeout = 10 * time.Second
		scan, dir := file(t, content), t.TempDir()
		report, err := tool.Inspect(t.Context(), scan, ".pdf")
		if err != nil && (!errors.Is(err, pages.ErrUnreadable) || report != (pages.Report{})) || report.Pages < 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if blank, err := tool.Blank(t.Context(), scan, ".pdf"); err != nil && (blank || !errors.Is(err, pages.ErrUnreadable)) {
			t.Errorf("blank: %v, %v", blank, err)
		}
		parts, err := tool.Split(t.Context(), scan, ".pdf", dir, limit)
		if err != nil {
			if parts != nil || !errors.Is(err, pages.ErrUnreadable) {
				t.Errorf("%+v, %v", parts, err)
			}
			return
		}
		next := 1
		for _, p := range parts {
			info, err := os.Stat(filepath.Join(dir, p.Name))
			if err != nil || info.Size() > limit || p.From != next || p.To < p.From {
				t.Errorf("%+v, %v; want from page %d, and at most %d bytes", p, err, next, limit)
			}
			next = p.To + 1
		}
		if next-1 != report.Pages {
			t.Errorf("%d pages are in the parts of %d", next-1, report.Pages)
		}
	})
}

// eachTIFF decodes the pages of a TIFF, which are given by where their
// directories lie.
func eachTIFF(t *testing.T, content []byte) (sheets []image.Image) {
	t.Helper()
	var first [4]byte
	copy(first[:], content[4:8])
	for at := first[:]; le(at) != 0; {
		page := bytes.Clone(content)
		copy(page[4:], at)
		m, err := xtiff.Decode(bytes.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		sheets = append(sheets, m)
		n := int(le(at))
		end := n + 2 + 12*(int(content[n])|int(content[n+1])<<8)
		at = content[end : end+4]
	}
	return sheets
}

func le(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func TestSplitTIFF(t *testing.T) {
	var want []image.Image
	var files [][]byte
	deflate := func(w io.Writer, m image.Image) error {
		return xtiff.Encode(w, m, &xtiff.Options{Compression: xtiff.Deflate, Predictor: true})
	}
	for n := range 6 {
		m := sheet(n, 101, 151, 50)
		want = append(want, m)
		encode := asTIFF
		if n%2 == 1 {
			encode = deflate
		}
		files = append(files, picture(t, m, encode))
	}
	dir, parts := divide(t, tiffOf(t, files...), ".tif", 40_000, len(files))
	if len(parts) < 2 {
		t.Errorf("%d parts, want some", len(parts))
	}
	for _, p := range parts {
		content, err := os.ReadFile(filepath.Join(dir, p.Name))
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range eachTIFF(t, content) {
			if !same(m, want[p.From-1+i]) {
				t.Errorf("page %d has other pixels in %s", p.From+i, p.Name)
			}
		}
	}
}

// One page of a TIFF that is too big alone, between others.
func TestSplitTIFFSheet(t *testing.T) {
	small, big := sheet(1, 50, 50, 0), sheet(2, 300, 300, 10)
	scan := tiffOf(t, picture(t, small, asTIFF), picture(t, big, asTIFF), picture(t, small, asTIFF))
	dir, parts := divide(t, scan, ".tif", 20_000, 3)
	if len(parts) != 3 || parts[1].Ext != ".png" {
		t.Fatalf("%+v; want the second page as a PNG by itself", parts)
	}
	m, err := png.Decode(open(t, filepath.Join(dir, parts[1].Name)))
	if err != nil || !same(m, big) {
		t.Errorf("it has other pixels, %v", err)
	}
}

func TestShrink(t *testing.T) {
	m := sheet(9, 300, 300, 20)
	loose := func(w io.Writer, m image.Image) error {
		return (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(w, m)
	}
	for name, scan := range map[string]struct {
		content []byte
		ext     string
	}{
		"PNG":  {picture(t, m, loose), ".png"},
		"TIFF": {picture(t, m, asTIFF), ".tif"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, parts := divide(t, scan.content, scan.ext, 20_000, 1)
			got, err := png.Decode(open(t, filepath.Join(dir, parts[0].Name)))
			if err != nil || !same(got, m) {
				t.Errorf("it has other pixels, %v", err)
			}
		})
	}
	t.Run("JPEG", func(t *testing.T) {
		plain := picture(t, m, asJPEG)
		segment := func(kind byte, content string) string {
			n := len(content) + 2
			return string([]byte{0xff, kind, byte(n >> 8), byte(n)}) + content
		}
		noted := string(plain[:2]) + segment(0xe1, "Exif\x00\x00orientation") + segment(0xed, string(make([]byte, 60_000))) +
			segment(0xfe, "a comment") + string(plain[2:]) + string(make([]byte, 50_000)) + "\xff\xd9"
		dir, parts := divide(t, []byte(noted), ".jpg", int64(len(plain))+100, 1)
		content, err := os.ReadFile(filepath.Join(dir, parts[0].Name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := jpeg.Decode(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		got, err := jpeg.Decode(bytes.NewReader(content))
		if err != nil || !same(got, want) {
			t.Errorf("it has other pixels, %v", err)
		}
		if !bytes.Contains(content, []byte("orientation")) {
			t.Error("its orientation is lost")
		}
	})
}

func TestIndivisible(t *testing.T) {
	noise := sheet(1, 300, 300, 300)
	for name, scan := range map[string]struct {
		content []byte
		ext     string
	}{
		"PNG":      {picture(t, noise, png.Encode), ".png"},
		"JPEG":     {picture(t, noise, asJPEG), ".jpg"},
		"TIFF":     {picture(t, noise, asTIFF), ".tif"},
		"PDF":      {pdfOf(t, picture(t, noise, png.Encode)), ".pdf"},
		"locked":   {encrypted(t, "minutes.pdf", "secret"), ".pdf"},
		"no PDF":   {[]byte("%PDF-1.7"), ".pdf"},
		"HEIC":     {[]byte("----ftypheic"), ".heic"},
		"half JPG": {picture(t, noise, asJPEG)[:1000], ".jpg"},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := apart(t).Split(t.Context(), file(t, scan.content), scan.ext, t.TempDir(), 20_000)
			if !errors.Is(err, pages.ErrUnreadable) || parts != nil {
				t.Errorf("%+v, %v; want ErrUnreadable", parts, err)
			}
		})
	}
}
