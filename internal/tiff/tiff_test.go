package tiff

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// A directory that leads to itself ends, however large the file is said to be: each
// turn costs next to nothing of what may be read.
func TestDirectoriesThatLeadToThemselves(t *testing.T) {
	content := []byte("II*\x00\x08\x00\x00\x00" + // the first directory is at 8
		"\x00\x00" + "\x08\x00\x00\x00") // it has no entries, and the next one is at 8
	const size = 500 << 20
	r, err := NewReader(sparse{bytes.NewReader(content)}, size)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 20 {
		if _, err = r.Next(); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTangled) {
		t.Errorf("after a million directories: %v", err)
	}
}

// sparse reads zeros beyond the end.
type sparse struct{ io.ReaderAt }

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err == io.EOF {
		clear(p[n:])
		return len(p), nil
	}
	return n, err
}

func TestDirectories(t *testing.T) {
	for name, content := range map[string]string{
		"TIFF":    "II*\x00\x08\x00\x00\x00" + "\x01\x00" + "\x00\x01\x03\x00\x01\x00\x00\x00\x07\x00\x00\x00" + "\x00\x00\x00\x00",
		"BigTIFF": "MM\x00\x2b\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x01\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00\x07\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		r, err := NewReader(bytes.NewReader([]byte(content)), int64(len(content)))
		if err != nil {
			t.Fatal(name, err)
		}
		d, err := r.Next()
		if err != nil {
			t.Fatal(name, err)
		}
		f, ok := d.Field(256)
		if width, err := r.Numbers(f); !ok || err != nil || len(width) != 1 || width[0] != 7 {
			t.Errorf("%s: width %v, %v", name, width, err)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: after the last directory: %v", name, err)
		}
		for n := range content {
			cut := content[:n]
			r, err := NewReader(bytes.NewReader([]byte(cut)), int64(n))
			if err == nil {
				_, err = r.Next()
			}
			if err == nil {
				t.Errorf("%s cut off after %d bytes is taken for whole", name, n)
			}
		}
	}
}

// Where a tag comes twice the first counts, also for what is copied.
func TestTagThatComesAgain(t *testing.T) {
	content := []byte("II*\x00\x0a\x00\x00\x00" + "ab" + "\x03\x00" +
		"\x11\x01\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00" + // a strip at 8
		"\x11\x01\x04\x00\x02\x00\x00\x00\x00\x00\x00\x00" + // and two at the beginning
		"\x17\x01\x04\x00\x01\x00\x00\x00\x02\x00\x00\x00" + // of two bytes
		"\x00\x00\x00\x00")
	r, err := NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Next()
	if err != nil || len(d.Fields) != 2 {
		t.Fatalf("%+v, %v; want two fields", d, err)
	}
	if _, err := r.Weight(d); err != nil {
		t.Error(err)
	}
	copied, err := r.Copy([]Directory{d})
	if err != nil || !bytes.Equal(copied[8:10], []byte("ab")) {
		t.Fatalf("%q, %v", copied, err)
	}
	c, err := NewReader(bytes.NewReader(copied), int64(len(copied)))
	if err != nil {
		t.Fatal(err)
	}
	if d, err = c.Next(); err != nil {
		t.Fatal(err)
	}
	if where, err := c.Data(d); err != nil || len(where) != 1 || where[0] != (Extent{8, 2}) {
		t.Errorf("the copy has its data at %v, %v", where, err)
	}
}
