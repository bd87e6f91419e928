package config

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// toUTF8 returns data, which editors and shells of Windows like to write as UTF-16, as UTF-8 without a byte order mark.
// It believes only a byte order mark; anything else comes back as it is.
func toUTF8(data []byte) []byte {
	if text, ok := bytes.CutPrefix(data, []byte("\xef\xbb\xbf")); ok {
		return text
	}
	if text, ok := bytes.CutPrefix(data, []byte("\xff\xfe")); ok {
		return fromUTF16(text, binary.LittleEndian)
	}
	if text, ok := bytes.CutPrefix(data, []byte("\xfe\xff")); ok {
		return fromUTF16(text, binary.BigEndian)
	}
	return data
}

func fromUTF16(data []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(data)/2)
	for i := range units {
		units[i] = order.Uint16(data[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// invalidLine returns the line of the first byte of data that is not UTF-8, from 1, or 0.
func invalidLine(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return bytes.Count(data[:i], []byte("\n")) + 1
		}
		i += size
	}
	return 0
}
