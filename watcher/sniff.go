package watcher

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// headSize is how many first bytes of a file sniff wants to see.
const headSize = 4096

// pdfJunk is how many bytes may precede the header of a PDF, as readers of PDF have
// it: mail gateways and scanners put them there.
const pdfJunk = 1024

// sniff tells by the first bytes of a file what it is: the true extension if it is
// something that the service takes, else "", and always the media type.
func sniff(head []byte) (ext, media string) {
	// Pictures first: their mark is at a fixed place, whereas "%PDF-" may occur
	// anywhere, in the description of a picture too.
	for _, f := range []struct{ mark, ext, media string }{
		{"\xff\xd8\xff", ".jpg", "image/jpeg"},
		{"\x89PNG\r\n\x1a\n", ".png", "image/png"},
		{"GIF87a", ".gif", "image/gif"},
		{"GIF89a", ".gif", "image/gif"},
		{"II*\x00", ".tif", "image/tiff"},
		{"MM\x00*", ".tif", "image/tiff"},
		{"II+\x00", ".tif", "image/tiff"}, // BigTIFF
		{"MM\x00+", ".tif", "image/tiff"},
	} {
		if bytes.HasPrefix(head, []byte(f.mark)) {
			return f.ext, f.media
		}
	}
	switch media := heif(head); media {
	case "":
	case "image/heic":
		return ".heic", media
	default:
		return "", media
	}

	media, _, _ = strings.Cut(mimetype.Detect(head).String(), ";")
	pdf := bytes.Contains(head[:min(len(head), pdfJunk+len("%PDF-"))], []byte("%PDF-"))
	// A ZIP file that holds a PDF as it is shows one as well.
	if pdf && (media == "application/octet-stream" || strings.HasPrefix(media, "text/")) {
		media = "application/pdf"
	}
	if media == "application/pdf" {
		return ".pdf", media
	}
	return "", media
}

// heif returns the media type of a picture in a HEIF container; "" if it is none.
// The first brand may be that of the container alone, mif1: then the compatible ones
// tell HEIC from AVIF.
func heif(head []byte) string {
	if len(head) < 12 || string(head[4:8]) != "ftyp" {
		return ""
	}
	size := int(min(binary.BigEndian.Uint32(head), uint32(len(head))))
	brands := []string{string(head[8:12])} // then its version, then the compatible ones
	for i := 16; i+4 <= size; i += 4 {
		brands = append(brands, string(head[i:i+4]))
	}
	has := func(some ...string) bool {
		return slices.ContainsFunc(brands, func(b string) bool { return slices.Contains(some, b) })
	}
	switch first := brands[0]; {
	case first == "avif", first == "avis":
		return "image/avif"
	case has("heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs"):
		return "image/heic"
	case has("avif", "avis"):
		return "image/avif"
	case first == "mif1", first == "msf1": // does not say; the service will
		return "image/heic"
	}
	return ""
}
