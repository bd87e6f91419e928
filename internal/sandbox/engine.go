package sandbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"
)

// An Engine says what a scan contains. Read is called once for each accepted
// upload, before the upload is answered, and concurrently for different ones;
// its context ends with [Sandbox.Close]. Any error but [ErrUnread] makes the
// document a failed one that carries the error's text.
type Engine interface {
	Read(context.Context, Scan) (Reading, error)
}

// ErrUnread is returned by an Engine that has nothing to say about a scan, so
// that the next of a [Chain] is asked.
var ErrUnread = errors.New("the scan is not one that this engine reads")

// A Scan is an upload that was accepted.
type Scan struct {
	Name    string            // the upload's file name
	Type    string            // MIME type, found by content
	Digest  string            // SHA-256 of the content in lower-case hex
	Pages   int               // how many pages it has, at least 1
	Content *io.SectionReader // all of it; valid until Read returns
}

// A Reading is what an Engine found in a scan. Tables and Fields may be nil:
// a sandbox then makes plain ones from Pages when they are asked for.
type Reading struct {
	Pages  []string     `json:"pages"`  // the text of each page
	Tables [][][]string `json:"tables"` // tables of rows of cells
	Fields []Field      `json:"fields"` // what an extractor would find
}

// A Field is one value that an extractor finds.
type Field struct {
	Key   string `json:"key"`
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	Page  int    `json:"page"` // counts from 1; 0 is also the first
}

// Chain asks its engines in turn until one reads the scan.
type Chain []Engine

// Read returns the first answer that is not ErrUnread.
func (c Chain) Read(ctx context.Context, scan Scan) (Reading, error) {
	for _, e := range c {
		if r, err := e.Read(ctx, scan); !errors.Is(err, ErrUnread) {
			return r, err
		}
	}
	return Reading{}, ErrUnread
}

// Known reads scans whose contents are known beforehand, by the SHA-256 of
// the scan in lower-case hex.
type Known map[string]Reading

// KnownScans makes a Known of the folder fsys: for each scan NAME.EXT that has
// a file NAME.EXT.json beside it, that file's Reading. Folders below it and
// other JSON files are left alone; a JSON file of a scan that is missing, or
// that is not a Reading, is an error.
func KnownScans(fsys fs.FS) (Known, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("known scans: %w", err)
	}
	known := Known{}
	for _, e := range entries {
		scan, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || e.IsDir() || !slices.Contains(scanExtensions, strings.ToLower(path.Ext(scan))) {
			continue
		}
		digest, err := digestFile(fsys, scan)
		if err != nil {
			return nil, fmt.Errorf("known scans: the scan of %s: %w", e.Name(), err)
		}
		text, err := fs.ReadFile(fsys, e.Name())
		if err != nil {
			return nil, fmt.Errorf("known scans: %w", err)
		}
		var r Reading
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			return nil, fmt.Errorf("known scans: %s: %w", e.Name(), err)
		}
		known[digest] = r
	}
	return known, nil
}

// Read returns what is known of the scan, or ErrUnread.
func (k Known) Read(_ context.Context, scan Scan) (Reading, error) {
	if r, ok := k[scan.Digest]; ok {
		return r, nil
	}
	return Reading{}, ErrUnread
}

// Tesseract reads images with the program tesseract. Without the program, for
// types that it does not take (PDF and HEIC), and where it fails, it returns
// ErrUnread.
type Tesseract struct {
	Program  string        // defaults to tesseract, looked up in PATH
	Language string        // its -l option; defaults to the program's own
	Timeout  time.Duration // of one scan; defaults to a minute
}

// Read runs tesseract over the scan, one thread of it.
func (t Tesseract) Read(ctx context.Context, scan Scan) (Reading, error) {
	switch scan.Type {
	case typeJPEG, typePNG, typeTIFF, typeGIF:
	default:
		return Reading{}, ErrUnread
	}
	program, err := exec.LookPath(cmp.Or(t.Program, "tesseract"))
	if err != nil {
		return Reading{}, ErrUnread
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Timeout, time.Minute))
	defer cancel()
	args := []string{"stdin", "stdout"}
	if t.Language != "" {
		args = append(args, "-l", t.Language)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = scan.Content
	cmd.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Reading{}, ErrUnread
	}
	// Each page ends with a form feed.
	text := strings.TrimSuffix(strings.ToValidUTF8(string(out), "\uFFFD"), "\f")
	var r Reading
	for page := range strings.SplitSeq(text, "\f") {
		r.Pages = append(r.Pages, strings.TrimSpace(page))
	}
	return r, nil
}

// Plain reads nothing and says so: one line a page, which names the page and
// the first eight digits of the scan's digest, so that results can be told
// apart.
type Plain struct{}

// Read never fails.
func (Plain) Read(_ context.Context, scan Scan) (Reading, error) {
	var r Reading
	for n := range scan.Pages {
		line := fmt.Sprintf("The sandbox does not read: this is page %d of %d of scan %.8s.", n+1, scan.Pages, scan.Digest)
		r.Pages = append(r.Pages, line)
		r.Tables = append(r.Tables, [][]string{
			{"Note", "Page", "Pages", "Scan"},
			{"The sandbox does not read", fmt.Sprint(n + 1), fmt.Sprint(scan.Pages), fmt.Sprintf("%.8s", scan.Digest)},
		})
		r.Fields = append(r.Fields, Field{Key: "note", Name: "Note", Type: "text", Value: line, Page: n + 1})
	}
	return r, nil
}

// tables returns r's tables, or else one of each page with a line a row.
func (r Reading) tables() [][][]string {
	if r.Tables != nil {
		return r.Tables
	}
	var tables [][][]string
	for _, page := range r.Pages {
		var rows [][]string
		for line := range strings.SplitSeq(page, "\n") {
			rows = append(rows, strings.Split(line, "\t"))
		}
		tables = append(tables, rows)
	}
	return tables
}

// sets returns r's fields page by page, or else one field with each page's text.
func (r Reading) sets() [][]Field {
	fields := r.Fields
	if fields == nil {
		for i, page := range r.Pages {
			fields = append(fields, Field{Key: "text", Name: "Text", Type: "text", Value: page, Page: i + 1})
		}
	}
	var sets [][]Field
	for _, f := range fields {
		// Pages without a field get no set, so a set's place is not its page.
		if n := len(sets); n == 0 || max(sets[n-1][0].Page, 1) != max(f.Page, 1) {
			sets = append(sets, nil)
		}
		last := len(sets) - 1
		sets[last] = append(sets[last], f)
	}
	return sets
}
