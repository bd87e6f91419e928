package tiff

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Tags of what lies elsewhere in the file and is not copied: other directories
// and data that another field measures (TIFF 6.0, and its supplements). No page
// needs them to be seen; JPEGTables lie in their field.
var elsewhere = []uint16{
	330,                        // SubIFDs
	34665, 34853, 40965, 37500, // Exif, GPS, interoperability, a maker's note with offsets of its own
	288, 289, // free room
	512, 513, 514, 519, 520, 521, // the old way of JPEG, which cannot be moved
	50740, 50831, 50833, 50933, // of raw pictures
}

// oldJPEG is the compression whose data lies where several fields say.
const oldJPEG = 6

const compression = 259

// Weight is how many bytes the directory needs in a copy; an error where it cannot
// be copied.
func (t *Reader) Weight(d Directory) (int64, error) {
	if f, ok := d.Field(compression); ok {
		kind, err := t.Numbers(f)
		if err != nil {
			return 0, err
		}
		if len(kind) > 0 && kind[0] == oldJPEG {
			return 0, errors.New("its pages are compressed in a way (old JPEG) that cannot be copied")
		}
	}
	for offsets, lengths := range data {
		where, found := d.Field(offsets)
		long, measured := d.Field(lengths)
		if found && (!measured || long.Count < where.Count) {
			return 0, errors.New("it does not say how long its data is")
		}
	}
	size := t.Counter() + t.Pointer() + 1
	for _, f := range d.Fields {
		size += t.Entry()
		if !f.Inline {
			size += f.Size() + 1
		}
	}
	data, err := t.Data(d)
	if err != nil {
		return 0, err
	}
	for _, e := range data {
		if err := t.Inside(e); err != nil {
			return 0, err
		}
		size += int64(e.Size) + 1
	}
	return size, nil
}

// Copy returns a file of the directories and of the data that they name, bit by
// bit as they are. Where their data is becomes a list of 32 or, in a BigTIFF, 64
// bits.
func (t *Reader) Copy(all []Directory) ([]byte, error) {
	t.budget = 4*t.size + 64<<10 // of a file that was read through before
	var b bytes.Buffer
	head := make([]byte, 8)
	copy(head, "II")
	if t.Order.Uint16([]byte{0, 1}) == 1 {
		copy(head, "MM")
	}
	t.Order.PutUint16(head[2:], 42)
	if t.Big {
		t.Order.PutUint16(head[2:], 43)
		t.Order.PutUint16(head[4:], 8)
		head = append(head, make([]byte, 8)...)
	}
	b.Write(head)
	link := int64(len(head)) - t.Pointer() // where the offset of the next directory goes
	var links [][2]int64
	even := func() int64 {
		if b.Len()%2 != 0 {
			b.WriteByte(0)
		}
		return int64(b.Len())
	}
	for _, d := range all {
		type entry struct {
			Field
			value []byte
		}
		var entries []entry
		for _, f := range d.Fields {
			if slices.Contains(elsewhere, f.Tag) {
				continue
			}
			value, err := t.at(f.Offset, f.Size())
			if err != nil {
				return nil, err
			}
			if _, where := data[f.Tag]; where {
				if value, err = t.copyData(&b, d, f, even); err != nil {
					return nil, err
				}
				f.Type = 4
				if t.Big {
					f.Type = 16
				}
			}
			entries = append(entries, entry{f, value})
		}
		var table []byte
		for _, e := range entries {
			row := make([]byte, t.Entry())
			t.Order.PutUint16(row, e.Tag)
			t.Order.PutUint16(row[2:], e.Type)
			t.put(row[4:4+t.Pointer()], e.Count)
			if int64(len(e.value)) <= t.Pointer() {
				copy(row[4+t.Pointer():], e.value)
			} else {
				t.put(row[4+t.Pointer():], uint64(even()))
				b.Write(e.value)
			}
			table = append(table, row...)
		}
		at := even()
		links = append(links, [2]int64{link, at})
		count := make([]byte, t.Counter())
		t.put(count, uint64(len(entries)))
		b.Write(count)
		b.Write(table)
		link = int64(b.Len())
		b.Write(make([]byte, t.Pointer()))
	}
	out := b.Bytes()
	if !t.Big && int64(len(out)) > math.MaxUint32 {
		return nil, fmt.Errorf("a TIFF of %d bytes", len(out))
	}
	for _, l := range links {
		t.put(out[l[0]:l[0]+t.Pointer()], uint64(l[1]))
	}
	return out, nil
}

// copyData copies the strips or tiles that the field names, and returns where
// they are now.
func (t *Reader) copyData(b *bytes.Buffer, d Directory, f Field, even func() int64) ([]byte, error) {
	all, err := t.Data(Directory{Fields: slices.DeleteFunc(slices.Clone(d.Fields), func(o Field) bool {
		_, where := data[o.Tag]
		return where && o.Tag != f.Tag
	})})
	if err != nil {
		return nil, err
	}
	var value []byte
	for _, e := range all {
		at := make([]byte, t.Pointer())
		t.put(at, uint64(even()))
		value = append(value, at...)
		content, err := t.at(e.Offset, int64(e.Size))
		if err != nil {
			return nil, err
		}
		b.Write(content)
	}
	return value, nil
}

func (t *Reader) put(b []byte, n uint64) {
	switch len(b) {
	case 2:
		t.Order.PutUint16(b, uint16(n))
	case 4:
		t.Order.PutUint32(b, uint32(n))
	default:
		t.Order.PutUint64(b, n)
	}
}
