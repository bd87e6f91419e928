package pages

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	xtiff "golang.org/x/image/tiff"

	"scandrop/internal/tiff"
)

// seed is a scan of the samples.
func seed(f *testing.F, name string) []byte {
	f.Helper()
	content, err := os.ReadFile("../../testdata/scans/" + name)
	if err != nil {
		f.Fatal(err)
	}
	return content
}

// encoded is a small picture as the encoder has it.
func encoded(f *testing.F, encode func(io.Writer, image.Image) error) []byte {
	f.Helper()
	m := image.NewGray(image.Rect(0, 0, 40, 30))
	for i := range m.Pix {
		m.Pix[i] = byte(i * i)
	}
	var b bytes.Buffer
	if err := encode(&b, m); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }
func asGIF(w io.Writer, m image.Image) error  { return gif.Encode(w, m, nil) }
func asTIFF(w io.Writer, m image.Image) error { return xtiff.Encode(w, m, nil) }

// What is decoded in a fuzzer is bounded: pictures, in pixels, and how many a file has.
const (
	mostHere  = 1 << 18
	mostPages = 100
)

// small reports whether what the file says of its pictures lets them be decoded here.
// In the field a process of its own bounds that.
func small(content []byte, ext string) bool {
	fits := func(c image.Config, err error) bool {
		return err != nil || c.Width < mostHere && c.Height < mostHere && c.Width*c.Height < mostHere
	}
	switch ext {
	case ".png":
		return fits(png.DecodeConfig(bytes.NewReader(content)))
	case ".gif":
		return fits(gif.DecodeConfig(bytes.NewReader(content)))
	case ".jpg":
		return fits(jpeg.DecodeConfig(bytes.NewReader(content)))
	}
	file, err := tiff.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil || file.Big {
		return true // no picture of it is decoded
	}
	for range mostPages {
		d, err := file.Next()
		if err != nil {
			return true
		}
		var first [4]byte
		file.Order.PutUint32(first[:], uint32(d.Offset))
		if !fits(xtiff.DecodeConfig(io.NewSectionReader(patched{bytes.NewReader(content), 4, first[:]}, 0, int64(len(content))))) {
			return false
		}
	}
	return false
}

// Whatever a scan holds, its parts fit, lie in the folder, and have its pages, each once
// and in order. The same scan is divided into the same.
func FuzzSplit(f *testing.F) {
	exts := []string{".tif", ".jpg", ".png", ".gif", ".heic"}
	for _, limit := range []int64{20_000, 300} {
		f.Add(seed(f, "ledger.tiff"), uint8(0), limit)
		for i, encode := range []func(io.Writer, image.Image) error{asTIFF, asJPEG, png.Encode, asGIF} {
			f.Add(encoded(f, encode), uint8(i), limit)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, kind uint8, limit int64) {
		ext := exts[int(kind)%len(exts)]
		if len(content) > 100_000 || !small(content, ext) {
			return
		}
		scan := filepath.Join(t.TempDir(), "scan")
		if err := os.WriteFile(scan, content, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(scan)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		dir := t.TempDir()
		parts, err := Tool{}.Split(t.Context(), file, ext, dir, limit)
		if again, failed := (Tool{}).Split(t.Context(), file, ext, t.TempDir(), limit); !slices.Equal(parts, again) || (err == nil) != (failed == nil) {
			t.Errorf("%+v, %v, and then %+v, %v", parts, err, again, failed)
		}
		if err != nil {
			if parts != nil || !errors.Is(err, ErrUnreadable) {
				t.Errorf("%+v, %v", parts, err)
			}
			return
		}
		next := 1
		for _, p := range parts {
			if p.From != next || p.To < p.From || filepath.Base(p.Name) != p.Name || filepath.Ext(p.Name) != p.Ext {
				t.Errorf("%+v, want it to begin with page %d", p, next)
			}
			next = p.To + 1
			part, err := os.Open(filepath.Join(dir, p.Name))
			if err != nil {
				t.Fatal(err)
			}
			defer part.Close()
			if info, err := part.Stat(); err != nil || info.Size() > limit {
				t.Errorf("%s has %d bytes, %v; at most %d fit", p.Name, info.Size(), err, limit)
			}
			if r, err := (Tool{}).Inspect(t.Context(), part, p.Ext); err != nil || r.Pages != p.To-p.From+1 {
				t.Errorf("%+v: %+v, %v", p, r, err)
			}
		}
		if all, err := (Tool{}).Inspect(t.Context(), file, ext); err != nil || all.Pages != next-1 {
			t.Errorf("%+v, %v; %d pages are in the parts", all, err, next-1)
		}
	})
}

// A JPEG that became smaller ends with its picture, cannot become smaller still, and
// shows the same.
func FuzzBareJPEG(f *testing.F) {
	f.Add(seed(f, "postcard.jpg"))
	f.Add(encoded(f, asJPEG))
	f.Add([]byte("\xff\xd8\xff\xfe\x00\x03x\xff\xff\xda\x00\x00\xff\x00\xff\xd9x"))
	f.Fuzz(func(t *testing.T, content []byte) {
		bare, err := bareJPEG(content)
		if err != nil {
			return
		}
		if len(bare) > len(content) || !bytes.HasPrefix(bare, []byte{0xff, 0xd8}) || !bytes.HasSuffix(bare, []byte{0xff, 0xd9}) {
			t.Errorf("%d bytes of %d: %q", len(bare), len(content), bare)
		}
		if again, err := bareJPEG(bare); err != nil || !bytes.Equal(again, bare) {
			t.Errorf("once more: %v, %d bytes, not %d", err, len(again), len(bare))
		}
		if !small(content, ".jpg") {
			return
		}
		want, err := jpeg.Decode(bytes.NewReader(content))
		if err != nil {
			return
		}
		got, err := jpeg.Decode(bytes.NewReader(bare))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("it shows something else: %v", err)
		}
	})
}

// Whatever surrounds it in a page's content: what paints is seen, and so is what a
// picture is called.
func FuzzPictures(f *testing.F) {
	f.Add([]byte("q 1 0 0 1 0 0 cm"), []byte("Q"))
	f.Add([]byte("/Span <</MCID 0>> BDC [1 2] 0 d"), []byte("EMC /A Do"))
	f.Add([]byte("(a"), []byte("%"))
	f.Add([]byte("<"), []byte(">"))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		around := func(what string) []byte { return slices.Concat(before, []byte("\n"+what+"\n"), after) }
		for _, paints := range strings.Fields("S s f F f* B B* b b* sh Tj TJ ' \" BI EI ID BT d0 d1") {
			if names, ok := pictures(around(paints)); ok {
				t.Errorf("%q shows %q and nothing else", around(paints), names)
			}
		}
		if names, ok := pictures(around("/Im0 Do")); ok && !slices.Contains(names, "Im0") {
			t.Errorf("%q shows %q", around("/Im0 Do"), names)
		}
	})
}

// A light sheet is blank, and one with a mark on it is not, wherever that lies.
func FuzzEven(f *testing.F) {
	f.Add(uint8(100), uint8(90), uint8(240), uint8(10), uint8(20), uint8(3), uint8(3), uint8(25))
	f.Add(uint8(33), uint8(33), uint8(255), uint8(30), uint8(30), uint8(3), uint8(3), uint8(255))
	f.Add(uint8(64), uint8(3), uint8(200), uint8(0), uint8(0), uint8(63), uint8(3), uint8(100))
	f.Fuzz(func(t *testing.T, w, h, light, x, y, wide, high, darker uint8) {
		const thin, faint = 3, 25
		mark := image.Rect(int(x), int(y), int(x)+int(wide), int(y)+int(high))
		m := image.NewGray(image.Rect(0, 0, int(w), int(h)))
		if light <= lightest || darker < faint || mark.Dx() < thin || mark.Dy() < thin || !mark.In(m.Rect) || mark == m.Rect {
			return
		}
		draw.Draw(m, m.Rect, image.NewUniform(color.Gray{light}), image.Point{}, draw.Src)
		if !even(m) {
			t.Errorf("a sheet of %d by %d, as light as %d, is not blank", w, h, light)
		}
		draw.Draw(m, mark, image.NewUniform(color.Gray{light - min(light, darker)}), image.Point{}, draw.Src)
		if even(m) {
			t.Errorf("a mark at %v on a sheet of %d by %d is not seen", mark, w, h)
		}
	})
}
