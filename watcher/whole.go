package watcher

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"scandrop/internal/tiff"
)

// A cutOff says where a file ends too early.
type cutOff struct{ why string }

func (e *cutOff) Error() string { return "it ends too early: " + e.why }

func cut(format string, args ...any) error { return &cutOff{fmt.Sprintf(format, args...)} }

// whole reports whether the file in r, of the given size and of the true
// extension ext, has its end: nil if it has, a [cutOff] if not, else what r
// returned. It looks at the structure alone, and is content with files that are
// odd in other ways: the service decides about those.
func whole(r io.ReaderAt, size int64, ext string) error {
	var err error
	switch ext {
	case ".pdf":
		err = wholePDF(r, size)
	case ".jpg":
		err = wholeJPEG(r, size)
	case ".png":
		err = wholePNG(r, size)
	case ".gif":
		err = wholeGIF(r, size)
	case ".tif":
		err = wholeTIFF(r, size)
	case ".heic":
		err = wholeHEIF(r, size)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return cut("after %d bytes", size)
	}
	return err
}

// wholePDF looks for the end that ISO 32000-1, 7.5.5 asks for: "startxref", where
// the cross-references are, and "%%EOF". Readers look for it in the last 1024
// bytes; zeros and blanks after them, as some scanners write, do not count.
func wholePDF(r io.ReaderAt, size int64) error {
	const readers = 1024
	end := size
	var tail []byte
	for len(tail) < readers && end > 0 {
		n := min(end, 4096)
		part := make([]byte, n)
		if _, err := r.ReadAt(part, end-n); err != nil && err != io.EOF {
			return err
		}
		end -= n
		tail = append(part, tail...)
		tail = bytes.TrimRight(tail, "\x00 \t\r\n\f\x1a")
	}
	eof := bytes.LastIndex(tail[max(0, len(tail)-readers):], []byte("%%EOF"))
	if eof < 0 {
		return cut("%%%%EOF is missing")
	}
	tail = tail[:max(0, len(tail)-readers)+eof]
	start := bytes.LastIndex(tail, []byte("startxref"))
	if start < 0 {
		return cut("startxref is missing")
	}
	fields := bytes.Fields(tail[start+len("startxref"):])
	if len(fields) == 0 {
		return cut("startxref says nothing")
	}
	if at, err := strconv.ParseInt(string(fields[0]), 10, 64); err == nil && at >= size {
		return cut("its cross-references are at byte %d of %d", at, size)
	}
	return nil
}

// wholeJPEG follows the segments (ITU-T T.81, B.1) to the end of the image. What
// comes after it, as previews do, does not count; nor do pictures inside segments.
func wholeJPEG(r io.ReaderAt, size int64) error {
	b := bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)
	const startOfImage = 2
	if _, err := b.Discard(startOfImage); err != nil {
		return err
	}
	for {
		// A marker: 0xFF, perhaps more of them, and what it is. In the image's data
		// 0xFF 0x00 stands for 0xFF.
		c, err := b.ReadByte()
		if err != nil {
			return err
		}
		if c != 0xFF {
			continue
		}
		for c == 0xFF {
			if c, err = b.ReadByte(); err != nil {
				return err
			}
		}
		switch {
		case c == 0xD9: // end of image
			return nil
		case c == 0x00, c == 0x01, 0xD0 <= c && c <= 0xD8: // data, or a marker that stands alone
			continue
		}
		var length [2]byte
		if _, err := io.ReadFull(b, length[:]); err != nil {
			return err
		}
		if n := int(binary.BigEndian.Uint16(length[:])); n > len(length) {
			if _, err := b.Discard(n - len(length)); err != nil {
				return err
			}
		}
	}
}

// wholePNG follows the chunks (PNG, 5.3) to IEND.
func wholePNG(r io.ReaderAt, size int64) error {
	const signature, around = 8, 4 + 4 + 4 // length, type, checksum
	for at := int64(signature); ; {
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return err
		}
		at += around + int64(binary.BigEndian.Uint32(head[:]))
		if at > size {
			return cut("in the middle of the chunk %q", head[4:])
		}
		if string(head[4:]) == "IEND" {
			return nil
		}
	}
}

// wholeGIF follows the blocks (GIF89a) to the trailer.
func wholeGIF(r io.ReaderAt, size int64) error {
	b := bufio.NewReader(io.NewSectionReader(r, 0, size))
	colours := func(flags byte) error { // the table of colours that they announce
		if flags&0x80 == 0 {
			return nil
		}
		_, err := b.Discard(3 << (flags&7 + 1))
		return err
	}
	blocks := func() error { // data, up to an empty block
		for {
			n, err := b.ReadByte()
			if n == 0 || err != nil {
				return err
			}
			if _, err := b.Discard(int(n)); err != nil {
				return err
			}
		}
	}
	var screen [13]byte
	if _, err := io.ReadFull(b, screen[:]); err != nil {
		return err
	}
	if err := colours(screen[10]); err != nil {
		return err
	}
	for {
		kind, err := b.ReadByte()
		if err != nil {
			return err
		}
		switch kind {
		case 0x3B: // trailer
			return nil
		case 0x21: // extension
			_, err = b.Discard(1)
		case 0x2C: // image
			var image [9]byte
			if _, err = io.ReadFull(b, image[:]); err == nil {
				err = colours(image[8])
			}
			if err == nil {
				_, err = b.Discard(1) // size of the codes
			}
		default: // padding between blocks, as some writers leave it
			continue
		}
		if err == nil {
			err = blocks()
		}
		if err != nil {
			return err
		}
	}
}

// wholeTIFF follows the directories (TIFF 6.0, section 2; BigTIFF) and sees that
// each, and the data that it names, lies inside the file.
func wholeTIFF(r io.ReaderAt, size int64) error {
	err := directories(r, size)
	if e, ok := errors.AsType[*tiff.ShortError](err); ok {
		return cut("%v", e)
	}
	if errors.Is(err, tiff.ErrTangled) { // odd, but it does not end too early
		return nil
	}
	return err
}

func directories(r io.ReaderAt, size int64) error {
	t, err := tiff.NewReader(r, size)
	if err != nil {
		return err
	}
	for {
		d, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := t.Data(d)
		if err != nil {
			return err
		}
		for _, e := range data {
			if err := t.Inside(e); err != nil {
				return err
			}
		}
	}
}

// wholeHEIF follows the boxes (ISO 14496-12, 4.2) to the end of the file. There must
// be one that describes pictures and one that holds them.
func wholeHEIF(r io.ReaderAt, size int64) error {
	described, held := false, false
	for at := int64(0); at < size; {
		var head [16]byte
		if n, err := r.ReadAt(head[:], at); n < 8 {
			return err
		}
		length, header := uint64(binary.BigEndian.Uint32(head[:])), uint64(8)
		switch length {
		case 0: // up to the end of the file, wherever that is
			length = uint64(size - at)
		case 1:
			length, header = binary.BigEndian.Uint64(head[8:]), 16
		}
		kind := string(head[4:8])
		if length < header {
			if described && held { // zeros after the last box
				return nil
			}
			return cut("a box of %d bytes", length)
		}
		if length > uint64(size-at) {
			return cut("in the middle of the box %q", kind)
		}
		described = described || kind == "meta" || kind == "moov"
		held = held || kind == "mdat" || kind == "idat" || kind == "meta" && inlineData(r, at+int64(header), at+int64(length))
		at += int64(length)
	}
	switch {
	case !described:
		return cut("the box \"meta\" is missing")
	case !held:
		return cut("the box \"mdat\" is missing")
	}
	return nil
}

// inlineData reports whether a meta box, whose content lies between from and to,
// holds the pictures itself.
func inlineData(r io.ReaderAt, from, to int64) bool {
	const versionAndFlags = 4
	for at := from + versionAndFlags; at+8 <= to; {
		var head [8]byte
		if _, err := r.ReadAt(head[:], at); err != nil {
			return false
		}
		if string(head[4:]) == "idat" {
			return true
		}
		length := int64(binary.BigEndian.Uint32(head[:]))
		if length < 8 {
			return false
		}
		at += length
	}
	return false
}
