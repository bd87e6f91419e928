package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const defaultDeleteAfter = 14 * 24 * time.Hour

// form is an upload that came whole.
type form struct {
	name   string // of the file
	file   *spool // nil if there is none
	large  bool   // the file was too large and is not kept
	values map[string]string
}

func (f *form) Close() error { return f.file.Close() }

var (
	errMalformed = errors.New("the body is not complete multipart/form-data")
	errSpool     = errors.New("the upload cannot be kept")
)

// upload takes a scan in. Only what came whole, with the closing boundary and
// every byte of its Content-Length, becomes a document; what was paid for
// becomes one even if the client is gone by then.
func (s *Sandbox) upload(c request) (answer, error) {
	f, err := readForm(c.Request)
	//lint:ignore SA5001 there is a form to close whatever the error
	defer f.Close()
	switch {
	case errors.Is(err, errMalformed):
		return invalid(http.StatusBadRequest, "file", "The file field is required."), nil
	case errors.Is(err, errSpool):
		s.log.Error("upload not kept", "error", err)
		return message(http.StatusInternalServerError, "Server Error"), nil
	case err != nil:
		return answer{}, err
	}
	d, wrong := s.check(c, f)
	if wrong != nil {
		return *wrong, nil
	}
	scan := Scan{Name: d.Name, Type: d.Type, Digest: d.Digest, Pages: d.Pages, Content: f.file.content()}
	if d.reading, err = s.opts.Engine.Read(s.ctx, scan); err != nil {
		d.failure = err.Error()
	}
	return s.make(c, d), nil
}

// make turns an upload that was accepted into a document.
func (s *Sandbox) make(c request, d *document) answer {
	var work time.Duration
	d.Created = time.Now()
	if s.opts.Work != nil {
		work = s.opts.Work(d.at(d.Created))
	}
	act := c.fault[slotDocument]

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	d.Created, d.done, d.Expires = now, now.Add(work), now.Add(d.lives)
	if act.verb == "fail" {
		d.failure = cmp.Or(act.text, defaultFailure)
	}
	if act.verb == "twin" {
		s.add(new(*d), now)
	}
	if !s.add(d, now) {
		return noCredits
	}
	if act.verb == "stay" || act.verb == "vanish" {
		s.afflict(d, act, now)
	}
	a := jsonAnswer(http.StatusCreated, object{"id": d.ID, "status": "queued"})
	a.document = d.ID
	return a
}

// readForm reads the whole body. The form is never nil.
func readForm(r *http.Request) (*form, error) {
	f := &form{values: map[string]string{}}
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return f, cmp.Or(drain(r), errMalformed)
	}
	body := &bodyReader{r: r.Body, marker: []byte("\n--" + params["boundary"] + "--")}
	err = f.read(multipart.NewReader(body, params["boundary"]))
	if err == nil && !body.marked {
		// For multipart.Reader a body may also end where a part would begin.
		err = errMalformed
	}
	if body.err == nil && !errors.Is(err, errSpool) {
		// The client may still be sending; and what follows the closing
		// boundary belongs to the Content-Length too.
		_, _ = io.Copy(io.Discard, io.LimitReader(body, maxDrain))
	}
	return f, cmp.Or(body.err, err)
}

// bodyReader remembers how its reader failed, which tells a connection that
// broke from a body that is malformed, and whether its marker went by.
type bodyReader struct {
	r      io.Reader
	err    error
	marker []byte
	marked bool
	tail   []byte // the last bytes, where the marker may have begun
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	if len(b.marker) > 0 && !b.marked {
		seam := append(b.tail, p[:min(n, len(b.marker))]...)
		b.marked = bytes.Contains(seam, b.marker) || bytes.Contains(p[:n], b.marker)
		if n < len(b.marker) {
			b.tail = seam[max(0, len(seam)-len(b.marker)):]
		} else {
			b.tail = append(b.tail[:0], p[n-len(b.marker):n]...)
		}
	}
	return n, err
}

func (f *form) read(mr *multipart.Reader) error {
	const maxParts, maxValue = 64, 4 << 10
	for range maxParts {
		part, err := mr.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errMalformed
		}
		switch {
		case part.FormName() == "file" && part.FileName() != "":
			err = f.readFile(part)
		default:
			var value []byte
			value, err = io.ReadAll(io.LimitReader(part, maxValue))
			if part.FileName() == "" {
				f.values[part.FormName()] = string(value)
			}
		}
		if errors.Is(err, errSpool) {
			return err
		}
		if err != nil {
			return errMalformed
		}
	}
	return errMalformed
}

func (f *form) readFile(part *multipart.Part) error {
	if err := f.file.Close(); err != nil { // a second file replaces the first
		return fmt.Errorf("%w: %w", errSpool, err)
	}
	f.file, f.name, f.large = newSpool(), part.FileName(), false
	n, err := io.Copy(spoolWriter{f.file}, io.LimitReader(part, maxScan+1))
	f.large = n > maxScan
	if err == nil {
		_, err = io.Copy(io.Discard, part)
	}
	return err
}

// spoolWriter marks what fails on this side, not on the client's.
type spoolWriter struct{ *spool }

func (w spoolWriter) Write(p []byte) (int, error) {
	n, err := w.spool.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, err
}

// check validates a form and makes a document of it that is not yet billed.
func (s *Sandbox) check(c request, f *form) (*document, *answer) {
	required := func(field string) (*document, *answer) {
		return nil, new(invalid(http.StatusBadRequest, field, "The "+field+" field is required."))
	}
	refused := func(field, text string) (*document, *answer) {
		return nil, new(invalid(http.StatusUnprocessableEntity, field, text))
	}
	if f.large {
		return nil, new(message(http.StatusRequestEntityTooLarge, "The file may not be larger than 20 MB."))
	}
	if f.file == nil {
		return required("file")
	}
	d := &document{account: c.account}
	if d.Action = f.values["action"]; d.Action == "" {
		return required("action")
	}
	if formats[d.Action] == nil {
		return refused("action", "The selected action is invalid.")
	}
	d.lives = defaultDeleteAfter
	if text, ok := f.values["delete_after"]; ok {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds < 300 || seconds > 1209600 {
			return refused("delete_after", "The delete after field must be between 300 and 1209600.")
		}
		d.lives = time.Duration(seconds) * time.Second
	}
	d.ExtractorID, d.PromptID = f.values["extractor_id"], f.values["prompt_id"]
	switch {
	case d.Action == "extractor" && d.ExtractorID == "":
		return refused("extractor_id", "The extractor id field is required when action is extractor.")
	case d.ExtractorID != "" && s.opts.Extractors != nil && !slices.Contains(s.opts.Extractors, d.ExtractorID):
		return refused("extractor_id", "The selected extractor id is invalid.")
	case d.PromptID != "" && s.opts.Prompts != nil && !slices.Contains(s.opts.Prompts, d.PromptID):
		return refused("prompt_id", "The selected prompt id is invalid.")
	}
	if c.version == 3 {
		d.hookURL = f.values["webhook_url"]
	}

	content := f.file.content()
	if content.Size() == 0 {
		return refused("file", "The file is empty.")
	}
	head := make([]byte, min(content.Size(), 4<<10))
	if _, err := content.ReadAt(head, 0); err != nil && err != io.EOF {
		s.log.Error("upload not kept", "error", err)
		return nil, new(message(http.StatusInternalServerError, "Server Error"))
	}
	if d.Type = sniff(head); !slices.Contains(scanTypes, d.Type) {
		return nil, new(message(http.StatusUnsupportedMediaType,
			"The file type is not supported: it must be PDF, JPG, PNG, TIFF, HEIC or GIF."))
	}
	var err error
	if d.Pages, err = countPages(d.Type, content); err != nil {
		return refused("file", "The file could not be read.")
	}
	d.Name, d.Digest, d.Size = s.scanName(f.name), f.file.digest(), content.Size()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.refund(time.Now())
	if s.credits != nil && *s.credits < d.Pages {
		return nil, &noCredits
	}
	return d, nil
}
