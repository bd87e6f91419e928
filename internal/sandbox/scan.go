package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"image"
	_ "image/gif" // the formats whose heads are checked
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/gabriel-vasile/mimetype"
	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
)

// maxScan is the largest file that is accepted: "20 MB", read generously.
const maxScan = 20 << 20

const (
	typePDF  = "application/pdf"
	typeJPEG = "image/jpeg"
	typePNG  = "image/png"
	typeTIFF = "image/tiff"
	typeGIF  = "image/gif"
)

var (
	heicTypes      = []string{"image/heic", "image/heic-sequence", "image/heif", "image/heif-sequence"}
	scanTypes      = append([]string{typePDF, typeJPEG, typePNG, typeTIFF, typeGIF}, heicTypes...)
	scanExtensions = []string{".pdf", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".gif"}
)

var errDamaged = errors.New("the file is damaged or incomplete")

// sniff returns the MIME type of what begins with head.
func sniff(head []byte) string {
	// BigTIFF: version 43 in place of 42, which mimetype does not know.
	if bytes.HasPrefix(head, []byte("II+\x00")) || bytes.HasPrefix(head, []byte("MM\x00+")) {
		return typeTIFF
	}
	t := mimetype.Detect(head)
	for _, known := range scanTypes {
		if t.Is(known) {
			return known
		}
	}
	return t.String()
}

// countPages returns how many pages the scan has. With an error, which means
// that it cannot be read at all, the number means nothing.
func countPages(mime string, content *io.SectionReader) (int, error) {
	switch {
	case mime == typePDF:
		return countPDF(content)
	case mime == typeTIFF:
		return countTIFF(content)
	case slices.Contains(heicTypes, mime):
		return 1, checkHEIC(content)
	}
	if _, _, err := image.DecodeConfig(content); err != nil {
		return 0, errDamaged
	}
	return 1, nil
}

// quietPDF keeps pdfcpu from writing a configuration folder of its own.
var quietPDF = sync.OnceFunc(api.DisableConfigDir)

func countPDF(content *io.SectionReader) (int, error) {
	quietPDF()
	if n, err := api.PageCount(content, model.NewDefaultConfiguration()); err == nil && n > 0 {
		return n, nil
	}
	// pdfcpu is stricter than viewers are: what it refuses counts as one page,
	// unless the end of the file, where every reader begins, is missing.
	const tail = 64 << 10
	end := make([]byte, min(content.Size(), tail))
	if _, err := content.ReadAt(end, content.Size()-int64(len(end))); err != nil && err != io.EOF {
		return 0, err
	}
	if !bytes.Contains(end, []byte("startxref")) {
		return 0, errDamaged
	}
	return 1, nil
}

// countTIFF walks the list of image directories, of classic and of BigTIFF,
// and counts those that are not previews of another.
func countTIFF(r io.ReaderAt) (int, error) {
	const (
		newSubfileType = 254
		preview        = 1
		maxDirectories = 10_000
	)
	var head [16]byte
	if _, err := r.ReadAt(head[:8], 0); err != nil {
		return 0, errDamaged
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 'M' {
		order = binary.BigEndian
	}
	big := order.Uint16(head[2:]) == 43
	countSize, entrySize, offsetSize := int64(2), int64(12), int64(4)
	at := uint64(order.Uint32(head[4:]))
	if big {
		if _, err := r.ReadAt(head[:], 0); err != nil {
			return 0, errDamaged
		}
		countSize, entrySize, offsetSize = 8, 20, 8
		at = order.Uint64(head[8:])
	}
	uint := func(offset int64, size int64) (uint64, error) {
		var b [8]byte
		if _, err := r.ReadAt(b[:size], offset); err != nil {
			return 0, errDamaged
		}
		switch size {
		case 2:
			return uint64(order.Uint16(b[:])), nil
		case 4:
			return uint64(order.Uint32(b[:])), nil
		}
		return order.Uint64(b[:]), nil
	}

	pages := 0
	for seen := 0; at != 0; seen++ {
		if seen == maxDirectories || at > math.MaxInt32 { // a loop, or far outside
			return 0, errDamaged
		}
		entries, err := uint(int64(at), countSize)
		if err != nil || entries == 0 || entries > math.MaxUint16 {
			return 0, errDamaged
		}
		first := int64(at) + countSize
		page := true
		for i := range int64(entries) {
			entry := first + i*entrySize
			tag, err := uint(entry, 2)
			if err != nil {
				return 0, err
			}
			if tag > newSubfileType { // tags are sorted
				break
			}
			if tag == newSubfileType {
				kind, err := uint(entry+entrySize-offsetSize, 4)
				if err != nil {
					return 0, err
				}
				page = kind&preview == 0
			}
		}
		if page {
			pages++
		}
		if at, err = uint(first+int64(entries)*entrySize, offsetSize); err != nil {
			return 0, err
		}
	}
	if pages == 0 {
		return 0, errDamaged
	}
	return pages, nil
}

// checkHEIC walks the outermost boxes: they must lie within the file, and a
// meta box must be among them.
func checkHEIC(content *io.SectionReader) error {
	meta := false
	for at := int64(0); at < content.Size(); {
		var head [16]byte
		if _, err := content.ReadAt(head[:8], at); err != nil {
			return errDamaged
		}
		size := int64(binary.BigEndian.Uint32(head[:]))
		least := int64(8)
		switch size {
		case 0: // up to the end of the file
			size = content.Size() - at
		case 1:
			if _, err := content.ReadAt(head[8:], at+8); err != nil {
				return errDamaged
			}
			size, least = int64(binary.BigEndian.Uint64(head[8:])), 16
		}
		if size < least || size > content.Size()-at {
			return errDamaged
		}
		meta = meta || string(head[4:8]) == "meta"
		at += size
	}
	if !meta {
		return errDamaged
	}
	return nil
}

// spool keeps an upload while it is looked at: hashed as it comes, small ones
// in memory, others in a temporary file.
type spool struct {
	hash   hash.Hash
	size   int64
	memory []byte
	file   *os.File
}

// spoolInMemory is the size up to which a spool needs no file.
const spoolInMemory = 256 << 10

func newSpool() *spool { return &spool{hash: sha256.New()} }

// Write adds p. Its errors are those of the temporary file.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && len(s.memory)+len(p) > spoolInMemory {
		f, err := os.CreateTemp("", "scandrop-sandbox-*")
		if err != nil {
			return 0, err
		}
		s.file = f
		if _, err := f.Write(s.memory); err != nil {
			return 0, err
		}
		s.memory = nil
	}
	if s.file == nil {
		s.memory = append(s.memory, p...)
	} else if _, err := s.file.Write(p); err != nil {
		return 0, err
	}
	s.hash.Write(p)
	s.size += int64(len(p))
	return len(p), nil
}

// content returns all that was written; it is valid until Close.
func (s *spool) content() *io.SectionReader {
	if s.file != nil {
		return io.NewSectionReader(s.file, 0, s.size)
	}
	return io.NewSectionReader(bytes.NewReader(s.memory), 0, s.size)
}

func (s *spool) digest() string { return hex.EncodeToString(s.hash.Sum(nil)) }

func (s *spool) Close() error {
	if s == nil || s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

func digestFile(fsys fs.FS, name string) (string, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
