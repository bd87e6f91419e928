package tiff

import (
	"bytes"
	"errors"
	"image"
	"io"
	"os"
	"slices"
	"testing"

	xtiff "golang.org/x/image/tiff"
)

// Whatever a file says, a bounded number of bytes is read of it. A directory that is
// copied is in the copy, with all that is not left out on purpose, bit by bit, in no
// more bytes than were said.
func FuzzCopy(f *testing.F) {
	ledger, err := os.ReadFile("../../testdata/scans/ledger.tiff")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ledger)
	for _, o := range []*xtiff.Options{nil, {Compression: xtiff.Deflate}} {
		var b bytes.Buffer
		if err := xtiff.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 5)), o); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("MM\x00\x2b\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10" + "\x00\x00\x00\x00\x00\x00\x00\x02" +
		"\x01\x11\x00\x10\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x17\x00\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00\x04\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		size := int64(len(content))
		file := &counted{ReaderAt: bytes.NewReader(content)}
		r, err := NewReader(file, size)
		if err != nil {
			return
		}
		most := 4*size + 64<<10 + 16
		weight := int64(64)
		var all []Directory
		for {
			d, err := r.Next()
			if err != nil {
				if !expected(err) {
					t.Errorf("the next directory: %v", err)
				}
				break
			}
			if n, err := r.Weight(d); err == nil {
				all, weight = append(all, d), weight+n
			}
		}
		if file.read > most {
			t.Errorf("%d bytes of %d were read", file.read, size)
		}
		file.read = 0
		copied, err := r.Copy(all)
		if file.read > most {
			t.Errorf("%d bytes of %d were read for the copy", file.read, size)
		}
		if err != nil {
			if !expected(err) {
				t.Errorf("the copy: %v", err)
			}
			return
		}
		if int64(len(copied)) > weight {
			t.Errorf("the copy has %d bytes, more than %d", len(copied), weight)
		}
		if len(all) == 0 {
			return
		}
		c, err := NewReader(bytes.NewReader(copied), int64(len(copied)))
		if err != nil {
			t.Fatal(err)
		}
		for n, d := range all {
			got, err := c.Next()
			if err != nil {
				t.Fatalf("directory %d of the copy: %v", n, err)
			}
			r.budget, c.budget = most, most
			if want, has := values(t, r, d), values(t, c, got); !slices.EqualFunc(want, has, slices.Equal) {
				t.Errorf("directory %d of the copy has %q, want %q", n, has, want)
			}
		}
		if _, err := c.Next(); err != io.EOF {
			t.Errorf("after the last directory of the copy: %v", err)
		}
	})
}

// expected reports whether the error is one that a file may be to blame for.
func expected(err error) bool {
	return err == io.EOF || errors.Is(err, ErrTangled) || errors.As(err, new(*ShortError))
}

// values are what a directory says, field by field, and the data in the place of what
// says where it is; without what is not copied.
func values(t *testing.T, r *Reader, d Directory) (all [][]byte) {
	t.Helper()
	for _, f := range d.Fields {
		if slices.Contains(elsewhere, f.Tag) {
			continue
		}
		value := []byte{byte(f.Tag >> 8), byte(f.Tag), byte(f.Type)}
		if lengths, where := data[f.Tag]; where {
			value[2] = 0
			at, err := r.Numbers(f)
			if err != nil {
				t.Fatal(err)
			}
			measure, _ := d.Field(lengths)
			long, err := r.Numbers(measure)
			if err != nil {
				t.Fatal(err)
			}
			for i, offset := range at {
				strip, err := r.at(offset, int64(long[i]))
				if err != nil {
					t.Fatal(err)
				}
				value = append(value, strip...)
			}
		} else {
			raw, err := r.at(f.Offset, f.Size())
			if err != nil {
				t.Fatal(err)
			}
			value = append(value, raw...)
		}
		all = append(all, value)
	}
	return all
}

// counted counts the bytes that are read.
type counted struct {
	io.ReaderAt
	read int64
}

func (c *counted) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, at)
	c.read += int64(n)
	return n, err
}
