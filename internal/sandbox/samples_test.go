package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

// Tiny scans, made anew by each test. Another seed is another content.

func picture(seed int) *image.Paletted {
	img := image.NewPaletted(image.Rect(0, 0, 16, 8), color.Palette{color.White, color.Black})
	for i := range 32 {
		img.Pix[i] = uint8(seed >> i & 1)
	}
	return img
}

func samplePNG(seed int) []byte {
	var b bytes.Buffer
	_ = png.Encode(&b, picture(seed))
	return b.Bytes()
}

func sampleJPEG(seed int) []byte {
	var b bytes.Buffer
	_ = jpeg.Encode(&b, picture(seed), nil)
	return b.Bytes()
}

func sampleGIF(seed int) []byte {
	var b bytes.Buffer
	_ = gif.Encode(&b, picture(seed), nil)
	return b.Bytes()
}

func samplePDF(pages int) []byte {
	var b bytes.Buffer
	var offsets []int
	object := func(format string, args ...any) {
		offsets = append(offsets, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n", len(offsets))
		fmt.Fprintf(&b, format, args...)
		b.WriteString("\nendobj\n")
	}
	b.WriteString("%PDF-1.4\n")
	object("<< /Type /Catalog /Pages 2 0 R >>")
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", i+3)
	}
	object("<< /Type /Pages /Kids [%s] /Count %d >>", kids, pages)
	for range pages {
		object("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Resources << >> >>")
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(offsets)+1)
	for _, at := range offsets {
		fmt.Fprintf(&b, "%010d 00000 n \n", at)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(offsets)+1, xref)
	return b.Bytes()
}

// sampleTIFF has one directory for each of kinds, which is its NewSubfileType.
func sampleTIFF(order binary.AppendByteOrder, big bool, kinds ...uint32) []byte {
	b := []byte("II")
	if order.String() == binary.BigEndian.String() {
		b = []byte("MM")
	}
	word := func(n uint64) {
		if big {
			b = order.AppendUint64(b, n)
		} else {
			b = order.AppendUint32(b, uint32(n))
		}
	}
	if big {
		b = order.AppendUint16(b, 43)
		b = order.AppendUint16(b, 8)
		b = order.AppendUint16(b, 0)
		word(16)
	} else {
		b = order.AppendUint16(b, 42)
		word(8)
	}
	for i, kind := range kinds {
		const entries = 2
		if big {
			b = order.AppendUint64(b, entries)
		} else {
			b = order.AppendUint16(b, entries)
		}
		for _, e := range [entries][2]uint32{{254, kind}, {256, 16}} {
			b = order.AppendUint16(b, uint16(e[0]))
			b = order.AppendUint16(b, 4) // LONG
			word(1)
			b = order.AppendUint32(b, e[1])
			if big {
				b = order.AppendUint32(b, 0)
			}
		}
		next := len(b) + 4
		if big {
			next += 4
		}
		if i == len(kinds)-1 {
			next = 0
		}
		word(uint64(next))
	}
	return b
}

func sampleHEIC() []byte {
	box := func(kind, content string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(content)))) + kind + content
	}
	return []byte(box("ftyp", "heic\x00\x00\x00\x00mif1heic") + box("meta", "\x00\x00\x00\x00") + box("mdat", "not an image"))
}

func TestCountPages(t *testing.T) {
	pdf := samplePDF(5)
	loop := sampleTIFF(binary.LittleEndian, false, 0)
	binary.LittleEndian.PutUint32(loop[len(loop)-4:], 8)
	heic := sampleHEIC()
	for name, tt := range map[string]struct {
		content []byte
		mime    string
		pages   int // 0 = damaged
	}{
		"PNG":                   {samplePNG(1), typePNG, 1},
		"PNG, cut in its head":  {samplePNG(1)[:20], typePNG, 0},
		"JPEG":                  {sampleJPEG(1), typeJPEG, 1},
		"JPEG, cut in its head": {sampleJPEG(1)[:40], typeJPEG, 0},
		"GIF":                   {sampleGIF(1), typeGIF, 1},
		"PDF":                   {pdf, typePDF, 5},
		"PDF, junk before":      {append([]byte("junk\n"), pdf...), typePDF, 5},
		"PDF, cut":              {pdf[:len(pdf)/2], typePDF, 0},
		"PDF that pdfcpu hates": {[]byte("%PDF-1.4\nnothing\nstartxref\n0\n%%EOF\n"), typePDF, 1},
		"TIFF":                  {sampleTIFF(binary.LittleEndian, false, 0, 2, 0), typeTIFF, 3},
		"TIFF, big-endian":      {sampleTIFF(binary.BigEndian, false, 0, 0), typeTIFF, 2},
		"TIFF with a preview":   {sampleTIFF(binary.LittleEndian, false, 0, 1), typeTIFF, 1},
		"TIFF, preview alone":   {sampleTIFF(binary.LittleEndian, false, 1), typeTIFF, 0},
		"TIFF, loop":            {loop, typeTIFF, 0},
		"TIFF, cut":             {loop[:12], typeTIFF, 0},
		"TIFF, head alone":      {[]byte("II*\x00\x08"), typeTIFF, 0},
		"BigTIFF":               {sampleTIFF(binary.LittleEndian, true, 0, 0), typeTIFF, 2},
		"BigTIFF, big-endian":   {sampleTIFF(binary.BigEndian, true, 0, 1, 0), typeTIFF, 2},
		"HEIC":                  {heic, "image/heic", 1},
		"HEIC, cut":             {heic[:len(heic)-1], "image/heic", 0},
		"HEIC without meta":     {heic[:24], "image/heic", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sniff(tt.content); got != tt.mime {
				t.Errorf("sniffed as %s, want %s", got, tt.mime)
			}
			s := newSpool()
			defer s.Close()
			s.Write(tt.content)
			pages, err := countPages(tt.mime, s.content())
			if (err != nil) != (tt.pages == 0) || err == nil && pages != tt.pages {
				t.Errorf("got %d pages, %v; want %d", pages, err, tt.pages)
			}
		})
	}
}

func FuzzCountTIFF(f *testing.F) {
	f.Add(sampleTIFF(binary.LittleEndian, false, 0, 1))
	f.Add(sampleTIFF(binary.BigEndian, true, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := countTIFF(bytes.NewReader(b)); (n > 0) != (err == nil) {
			t.Errorf("%d pages, %v", n, err)
		}
	})
}

func FuzzCheckHEIC(f *testing.F) {
	f.Add(sampleHEIC())
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSpool()
		s.Write(b)
		_ = checkHEIC(s.content()) // must end
	})
}
