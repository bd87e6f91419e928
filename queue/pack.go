package queue

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// A scan that is done is kept for ever, and hardly ever looked at: its record and its
// story are packed. What all have in common is in the dictionary, and costs nothing.

// dictionary holds what packed texts are likely to hold, the likeliest last. It is part
// of the file's form.
var dictionary = []byte(`{"at":"2026-","what":"retry","note":"","pdf.jpg.png.tif.tables","formats":["xlsx","json"]"docx"],"csv"` +
	`extractor","extractor_id":"","prompt_id":"","move_done":"/","move_failed":"/","notes":true"refused":""earlier":["` +
	`[{"at":"2026-01-01T00:00:00.000000000Z","what":"noticed","state":"queued"},{"at":"2026-01-01T00:00:00.000000000Z","what":"sending","state":"uploading"},` +
	`{"at":"2026-01-01T00:00:00.000000000Z","what":"uploaded","state":"processing"},{"at":"2026-01-01T00:00:00.000000000Z","what":"collected","state":"written"},` +
	`{"at":"2026-01-01T00:00:00.000000000Z","what":"deleted","state":"done"}]` +
	`{"id":1,"state":"done","folder":"/srv/scans","path":"/srv/scans/scan.pdf","moved":"/","size":1000,"mod_time":"2026-01-01T00:00:00Z","content":"` +
	`0123456789abcdef","ext":".pdf","options":{"action":"transcribe","formats":["txt"],"delete_remote":true,"delete_after":604800000000000},` +
	`"identity":"","mark":"sd-","pages":1,"counted":1,"results":[{"format":"txt","path":"/srv/scans/scan.txt","content":""}],"attempts":` +
	`"added":"2026-01-01T00:00:00Z","sent":"2026-01-01T00:00:00Z","uploaded":"2026-01-01T00:00:00Z",` +
	`"finished":"2026-01-01T00:00:00Z","collected":"2026-01-01T00:00:00Z","source":"","deleted":"2026-01-01T00:00:00Z"}`)

// longestPacked bounds what a packed text may hold: a damaged file must not fill memory.
const longestPacked = 16 << 20

var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriterDict(io.Discard, flate.BestCompression, dictionary)
	if err != nil {
		panic(err) // the level is a constant, and valid
	}
	return w
}}

// pack appends the packed text to b.
func pack(b, text []byte) ([]byte, error) {
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	out := bytes.NewBuffer(b)
	w.Reset(out)
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err := w.Close()
	return out.Bytes(), err
}

var unpackers = sync.Pool{New: func() any { return flate.NewReader(bytes.NewReader(nil)) }}

func unpack(packed []byte) ([]byte, error) {
	r := unpackers.Get().(io.ReadCloser)
	defer unpackers.Put(r)
	if err := r.(flate.Resetter).Reset(bytes.NewReader(packed), dictionary); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, longestPacked+1))
	if err == nil && len(text) > longestPacked {
		err = errors.New("it is too long")
	}
	return text, err
}
