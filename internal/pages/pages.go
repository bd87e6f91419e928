// Package pages looks into scans: how many pages they have, whether a password
// keeps them shut, whether anything is on them.
//
// Files come from outside, and the libraries that read them were not made for
// hostile ones. So a [Tool] does the work in a process of its own, which ends
// itself when it takes too long or too much memory. What cannot be told stays
// unknown: no complaint about a file is a reason not to send it.
package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"scandrop/internal/tiff"
)

// A Report is what a look into a scan showed.
type Report struct {
	Pages     int  `json:"pages,omitempty"`     // 0 if unknown
	Encrypted bool `json:"encrypted,omitempty"` // a PDF that cannot be read without a password
}

// A Tool looks into scans. It may be used concurrently.
type Tool struct {
	// Command is a program with its first arguments that calls [Serve] with the
	// next one. Without a command this process does the work itself, unbounded.
	Command []string
	// Timeout bounds what one call may take. Defaults to a minute, and to five
	// for what writes files.
	Timeout time.Duration
	// Memory bounds, in bytes, what the process may use. Defaults to 1 GiB.
	Memory int64
}

const (
	defaultTimeout = time.Minute
	splitTimeout   = 5 * time.Minute
	defaultMemory  = 1 << 30
)

// ErrUnreadable means that the file could not be read by the means that we have.
// The service may still read it.
var ErrUnreadable = errors.New("it cannot be looked into")

// Inspect counts the pages of a scan of the true extension ext (".pdf", ".jpg",
// ".png", ".tif", ".heic" or ".gif"). It reads without moving the file's
// offset. The error says why nothing could be told, and then the report is
// empty; it wraps [ErrUnreadable] where the file is at fault.
func (t Tool) Inspect(ctx context.Context, scan *os.File, ext string) (Report, error) {
	switch ext {
	case ".jpg", ".png", ".gif", ".heic": // further pictures of theirs are no pages
		return Report{Pages: 1}, nil
	case ".tif":
		info, err := scan.Stat()
		if err != nil {
			return Report{}, err
		}
		n, err := countTIFF(scan, info.Size())
		if err != nil {
			return Report{}, unreadable(err)
		}
		return Report{Pages: n}, nil
	}
	var r Report
	err := t.do(ctx, scan, request{Do: doInspect, Ext: ext}, &r)
	return r, err
}

// Blank reports whether nothing at all is on any page of a scan. It says so only
// if it is sure: every page must be a picture that can be decoded here, light,
// and even to within what noise of a scanner is. When in doubt, and with every
// error, it is false.
func (t Tool) Blank(ctx context.Context, scan *os.File, ext string) (bool, error) {
	if ext == ".heic" {
		return false, nil
	}
	var blank bool
	err := t.do(ctx, scan, request{Do: doBlank, Ext: ext}, &blank)
	return blank && err == nil, err
}

// countTIFF counts the directories that are not previews of others.
func countTIFF(r io.ReaderAt, size int64) (int, error) {
	file, err := tiff.NewReader(r, size)
	if err != nil {
		return 0, err
	}
	n := 0
	for {
		d, err := file.Next()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		preview, err := file.Preview(d)
		if err != nil {
			return 0, err
		}
		if !preview {
			n++
		}
	}
}

func unreadable(err error) error { return fmt.Errorf("%w: %w", ErrUnreadable, err) }

// A request is what the process is asked to do with the scan that is its
// standard input.
type request struct {
	Do     string        `json:"do"`
	Ext    string        `json:"ext"`
	Within time.Duration `json:"within,omitempty"` // the process ends itself after it
	Memory int64         `json:"memory,omitempty"` // and before it uses more bytes than this

	Dir   string `json:"dir,omitempty"`   // for split: where the parts go
	Limit int64  `json:"limit,omitempty"` // and how large they may be
}

const (
	doInspect = "inspect"
	doBlank   = "blank"
	doSplit   = "split"
)

// A reply is what the process says on its standard output.
type reply struct {
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// do has the process answer the request, and decodes its result into into.
func (t Tool) do(ctx context.Context, scan *os.File, r request, into any) error {
	r.Within, r.Memory = t.Timeout, t.Memory
	if r.Within <= 0 {
		r.Within = defaultTimeout
	}
	if r.Memory <= 0 {
		r.Memory = defaultMemory
	}
	var answer reply
	if len(t.Command) == 0 {
		answer = answerTo(r, scan)
	} else if err := t.run(ctx, scan, r, &answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return unreadable(errors.New(answer.Error))
	}
	return json.Unmarshal(answer.Result, into)
}

func (t Tool) run(ctx context.Context, scan *os.File, r request, into *reply) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	const patience = 5 * time.Second // it should end by itself before that
	ctx, cancel := context.WithTimeout(ctx, r.Within+patience)
	defer cancel()
	child := exec.CommandContext(ctx, t.Command[0], append(t.Command[1:len(t.Command):len(t.Command)], string(text))...)
	child.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", r.Memory/4*3), "GOTRACEBACK=none", "GOMAXPROCS=2")
	child.Stdin = scan
	var out bytes.Buffer
	child.Stdout = &out
	if err := child.Start(); err != nil { // that is not the file's fault
		return fmt.Errorf("the process that looks into scans could not be started: %w", err)
	}
	ended := child.Wait()
	switch {
	case json.Unmarshal(out.Bytes(), into) == nil:
		return nil
	case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return context.Cause(ctx)
	}
	return unreadable(fmt.Errorf("the process that read it ended with %w", ended))
}
