// Package tiff reads how a TIFF or BigTIFF file is built: its directories, one a
// page, and where in the file their data lies. It decodes no picture.
//
// Files come from outside: whatever they say, a [Reader] reads a bounded number
// of bytes and ends.
package tiff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The tags that matter here (TIFF 6.0, section 8).
const (
	NewSubfileType  = 254
	StripOffsets    = 273
	StripByteCounts = 279
	TileOffsets     = 324
	TileByteCounts  = 325
)

// Data says, for each tag that tells where data is, which one tells how much of
// it.
var data = map[uint16]uint16{StripOffsets: StripByteCounts, TileOffsets: TileByteCounts}

// ErrTangled means that parts of a file lead to each other again and again.
var ErrTangled = errors.New("it refers to the same bytes again and again")

// A ShortError means that the file ends before what it refers to.
type ShortError struct{ why string }

func (e *ShortError) Error() string { return e.why }

func short(format string, args ...any) error { return &ShortError{fmt.Sprintf(format, args...)} }

// sizes of the types of fields, in bytes; 0 for those that are not known.
var sizes = [...]int64{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8}

// A Reader reads the directories of a file one after the other. It is not for
// concurrent use.
type Reader struct {
	Order binary.ByteOrder
	Big   bool // BigTIFF

	r      io.ReaderAt
	size   int64
	next   uint64
	seen   int   // directories
	budget int64 // how many bytes are still read, before the file is called tangled
}

// A Directory is a page, or a preview of one.
type Directory struct {
	Offset uint64 // of the directory
	Fields []Field
}

// A Field is an entry of a directory. Fields of types that are not known are
// left out, and so is what comes again under the same tag, as by libtiff.
type Field struct {
	Tag, Type uint16
	Count     uint64
	Offset    uint64 // where its values lie
	Inline    bool   // whether that is in the entry itself
}

// Size is the length of the field's values in bytes.
func (f Field) Size() int64 { return int64(f.Count) * sizes[f.Type] }

// An Extent is a range of the file.
type Extent struct{ Offset, Size uint64 }

// Field returns the field with the tag.
func (d Directory) Field(tag uint16) (Field, bool) {
	for _, f := range d.Fields {
		if f.Tag == tag {
			return f, true
		}
	}
	return Field{}, false
}

// NewReader returns a Reader for the file in r, which must begin like a TIFF.
func NewReader(r io.ReaderAt, size int64) (*Reader, error) {
	t := &Reader{Order: binary.LittleEndian, r: r, size: size, budget: 4*size + 64<<10}
	var head [16]byte
	if _, err := r.ReadAt(head[:8], 0); err != nil {
		return nil, err
	}
	if head[0] == 'M' {
		t.Order = binary.BigEndian
	}
	if t.Big = t.Order.Uint16(head[2:]) == 43; t.Big {
		if _, err := r.ReadAt(head[8:], 8); err != nil {
			return nil, err
		}
		t.next = t.Order.Uint64(head[8:])
	} else {
		t.next = uint64(t.Order.Uint32(head[4:]))
	}
	if t.next == 0 {
		return nil, short("its first page is not there yet")
	}
	return t, nil
}

// Next returns the next directory. Its values lie inside the file, or the error
// is a [ShortError]; after the last one it is io.EOF.
func (t *Reader) Next() (Directory, error) {
	if t.next == 0 {
		return Directory{}, io.EOF
	}
	// One without entries costs next to nothing of the budget, and a large file
	// has room for many, which may all be the same.
	const most = 1 << 16
	if t.seen++; t.seen > most {
		return Directory{}, ErrTangled
	}
	d := Directory{Offset: t.next}
	b, err := t.at(d.Offset, t.Counter())
	if err != nil {
		return d, err
	}
	entries := t.number(b)
	if entries > uint64(t.size/t.Entry()) {
		return d, short("a directory of %d entries", entries)
	}
	n, inline := int64(entries), t.Pointer()
	tags := map[uint16]bool{}
	first := d.Offset + uint64(t.Counter())
	b, err = t.at(first, n*t.Entry()+inline)
	if err != nil {
		return d, err
	}
	for i := range n {
		e := b[i*t.Entry() : (i+1)*t.Entry()]
		f := Field{Tag: t.Order.Uint16(e), Type: t.Order.Uint16(e[2:]), Count: t.number(e[4 : 4+inline])}
		if int(f.Type) >= len(sizes) || sizes[f.Type] == 0 {
			continue
		}
		if f.Count > uint64(t.size) {
			return d, short("a field of %d values", f.Count)
		}
		if f.Inline = f.Size() <= inline; f.Inline {
			f.Offset = first + uint64(i*t.Entry()+4+inline)
		} else {
			f.Offset = t.number(e[4+inline:])
			if err := t.inside(f.Offset, f.Size()); err != nil {
				return d, err
			}
		}
		if !tags[f.Tag] {
			tags[f.Tag] = true
			d.Fields = append(d.Fields, f)
		}
	}
	t.next = t.number(b[n*t.Entry():])
	return d, nil
}

// Counter, Entry and Pointer are the lengths of what a directory is made of: the
// number of its entries, an entry, and an offset, all in bytes.
func (t *Reader) Counter() int64 { return pick(t.Big, 8, 2) }

// Entry: see [Reader.Counter].
func (t *Reader) Entry() int64 { return pick(t.Big, 20, 12) }

// Pointer: see [Reader.Counter].
func (t *Reader) Pointer() int64 { return pick(t.Big, 8, 4) }

func pick(big bool, yes, no int64) int64 {
	if big {
		return yes
	}
	return no
}

// Preview reports whether the directory is a smaller picture of another one.
func (t *Reader) Preview(d Directory) (bool, error) {
	f, ok := d.Field(NewSubfileType)
	if !ok {
		return false, nil
	}
	kind, err := t.Numbers(f)
	return len(kind) > 0 && kind[0]&1 != 0, err
}

// Numbers returns the values of a field of whole numbers.
func (t *Reader) Numbers(f Field) ([]uint64, error) {
	if t.budget -= 8 * int64(f.Count); t.budget < 0 { // they are kept, in eight bytes each
		return nil, ErrTangled
	}
	b, err := t.at(f.Offset, f.Size())
	if err != nil {
		return nil, err
	}
	numbers := make([]uint64, 0, f.Count)
	for size := sizes[f.Type]; len(b) > 0; b = b[size:] {
		numbers = append(numbers, t.number(b[:size]))
	}
	return numbers, nil
}

// Data returns where the directory's strips or tiles lie. They need not lie
// inside the file: see [Reader.Inside]. Where their size is not said, it is 1.
func (t *Reader) Data(d Directory) ([]Extent, error) {
	var all []Extent
	for offsets, lengths := range data {
		where, ok := d.Field(offsets)
		if !ok {
			continue
		}
		at, err := t.Numbers(where)
		if err != nil {
			return nil, err
		}
		var long []uint64
		if f, ok := d.Field(lengths); ok {
			if long, err = t.Numbers(f); err != nil {
				return nil, err
			}
		}
		for i, offset := range at {
			e := Extent{offset, 1}
			if i < len(long) {
				e.Size = long[i]
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// Inside returns a [ShortError] if the range does not lie in the file.
func (t *Reader) Inside(e Extent) error {
	if e.Offset > uint64(t.size) || e.Size > uint64(t.size)-e.Offset {
		return short("at byte %d of at least %d", t.size, e.Offset+e.Size)
	}
	return nil
}

func (t *Reader) inside(offset uint64, n int64) error { return t.Inside(Extent{offset, uint64(n)}) }

func (t *Reader) at(offset uint64, n int64) ([]byte, error) {
	if err := t.inside(offset, n); err != nil {
		return nil, err
	}
	if t.budget -= n; t.budget < 0 {
		return nil, ErrTangled
	}
	b := make([]byte, n)
	_, err := t.r.ReadAt(b, int64(offset))
	if err == io.EOF { // at the very end
		err = nil
	}
	return b, err
}

func (t *Reader) number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(t.Order.Uint16(b))
	case 4:
		return uint64(t.Order.Uint32(b))
	}
	return t.Order.Uint64(b)
}
