package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
)

// A Break is a place where the chain is not whole.
type Break struct {
	File string `json:"file"`
	Line int    `json:"line"` // from 1
	What string `json:"what"`
}

func (b Break) String() string { return fmt.Sprintf("%s:%d: %s", b.File, b.Line, b.What) }

// mostBreaks bounds the breaks that a Report lists.
const mostBreaks = 100

// A Report is what [Verify] found.
type Report struct {
	Files int `json:"files"`
	Lines int `json:"lines"`
	// Head is the last line that could be read. Who keeps it elsewhere can tell
	// later whether the journal up to there is still the same.
	Head Head `json:"head"`
	// Breaks lists the first hundred breaks, Broken counts all of them.
	Breaks []Break `json:"breaks"`
	Broken int     `json:"broken"`
	// Torn is set if the last line has no end: it is being written, or a crash
	// tore it, and the next [Open] puts it right. It is not among the breaks.
	Torn bool `json:"torn"`
}

func (r *Report) broken(file string, line int, format string, args ...any) {
	if r.Broken++; len(r.Breaks) < mostBreaks {
		r.Breaks = append(r.Breaks, Break{file, line, fmt.Sprintf(format, args...)})
	}
}

// Verify reads the whole journal in a folder and reports where the chain is not
// whole. known is a last line from earlier, which the journal must hold; the
// zero Head holds nothing against it. The journal may be added to meanwhile.
// The error says that it could not be read.
func Verify(dir string, known Head) (Report, error) {
	v := verification{Report: Report{Breaks: []Break{}}, known: known, found: known == Head{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return v.Report, err
	}
	defer root.Close()
	if err := walk(root, v.file); err != nil {
		return v.Report, err
	}
	v.end()
	return v.Report, nil
}

// A verification goes through the files of a journal, one after the other.
type verification struct {
	Report
	known      Head
	found      bool // known, or that it was altered
	before     Line // the last that could be read
	unreadable int  // lines since
}

// file goes through one file.
func (v *verification) file(_ string, lines iter.Seq2[Line, error]) error {
	v.Files++
	if v.Torn { // and not the last of all
		v.broken(v.before.File, v.before.Number, "the line after it is torn")
		v.Torn = false
	}
	for l, err := range lines {
		fault, bad := errors.AsType[*LineError](err)
		switch {
		case bad && fault.Torn:
			v.Torn = true
		case bad:
			v.Lines++
			v.unreadable++
			v.broken(fault.File, fault.Line, "this is not a line of the journal: %v", fault.Err)
		case err != nil:
			return err
		default:
			v.Lines++
			v.line(l)
		}
	}
	return nil
}

// line holds a line against the one before it.
func (v *verification) line(l Line) {
	hash := l.Hash()
	next := v.before.Seq + uint64(v.unreadable) + 1
	switch {
	case l.Seq <= v.before.Seq:
		v.broken(l.File, l.Number, "line number %d comes after %d: it was inserted, moved or repeated", l.Seq, v.before.Seq)
	case l.Seq > next:
		v.broken(l.File, l.Number, "%s missing before it", span(next, l.Seq-1))
	case v.unreadable > 0: // it has been named
	case v.before.Seq == 0 && l.Prev != Hash{}:
		v.broken(l.File, l.Number, "the line was altered: it is the first, and says that another was before it")
	case l.Prev != v.Head.Hash:
		v.broken(v.before.File, v.before.Number, "the line was altered, or the next one: that one has another hash of it")
	}
	if l.Seq == v.known.Seq && !v.found {
		v.found = true
		if hash != v.known.Hash {
			v.broken(l.File, l.Number, "the line was altered: the queue remembers another hash of it")
		}
	}
	v.before, v.unreadable = l, 0
	v.Head = Head{l.Seq, hash}
}

// end looks for what is missing at the end.
func (v *verification) end() {
	last := v.before.Seq + uint64(v.unreadable)
	if v.found || last >= v.known.Seq {
		return
	}
	file := v.before.File
	if file == "" {
		file = current
	}
	v.broken(file, v.before.Number+v.unreadable+1, "%s missing at the end: the queue remembers more", span(last+1, v.known.Seq))
}

func span(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("line number %d is", first)
	}
	return fmt.Sprintf("line numbers %d to %d are", first, last)
}

// A LineError says that a line is not one of a journal's.
type LineError struct {
	File string
	Line int // from 1
	Torn bool
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// Read goes through the lines of the journal in a folder whose number is above
// after, in their order. It does not look whether the chain is whole. A line
// that cannot be read yields a [LineError], and those after it follow; after
// any other error it ends.
func Read(dir string, after uint64) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer root.Close()
		names, err := list(root)
		if err != nil {
			yield(Line{}, err)
			return
		}
		for i, name := range names {
			if i+1 < len(names) && beginsBy(root, names[i+1], after+1) {
				continue // all of its lines are before that
			}
			f, err := root.Open(name)
			if err != nil {
				yield(Line{}, err)
				return
			}
			for l, err := range readLines(f, name) {
				if err == nil && l.Seq <= after {
					continue
				}
				_, bad := errors.AsType[*LineError](err)
				if !yield(l, err) || err != nil && !bad {
					f.Close()
					return
				}
			}
			f.Close()
		}
	}
}

// beginsBy reports whether the file's first line has a number up to seq.
func beginsBy(root *os.Root, name string, seq uint64) bool {
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for l, err := range readLines(f, name) {
		return err == nil && l.Seq <= seq
	}
	return false
}

// walk calls f with each file of the journal, also while it is put away: the
// current one is opened first, and not taken twice.
func walk(root *os.Root, f func(name string, lines iter.Seq2[Line, error]) error) error {
	now, err := root.Open(current)
	if errors.Is(err, fs.ErrNotExist) {
		now, err = nil, nil
	}
	if err != nil {
		return err
	}
	if now != nil {
		defer now.Close()
	}
	names, err := list(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == current {
			continue
		}
		file, err := root.Open(name)
		if err != nil {
			return err
		}
		if now != nil && sameFile(now, file) {
			file.Close()
			continue
		}
		err = f(name, readLines(file, name))
		file.Close()
		if err != nil {
			return err
		}
	}
	if now == nil {
		return nil
	}
	return f(current, readLines(now, current))
}

func sameFile(a, b *os.File) bool {
	ai, err := a.Stat()
	if err != nil {
		return false
	}
	bi, err := b.Stat()
	return err == nil && os.SameFile(ai, bi)
}

// readLines goes through the lines of one file.
func readLines(r io.Reader, name string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		b := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			text, err := b.ReadBytes('\n')
			switch {
			case err == io.EOF && len(text) == 0:
				return
			case err == io.EOF:
				yield(Line{File: name, Number: n}, &LineError{name, n, true, errors.New("the line is torn")})
				return
			case err != nil:
				yield(Line{File: name, Number: n}, err)
				return
			}
			l, err := parse(bytes.TrimSuffix(text, []byte{'\n'}))
			l.File, l.Number = name, n
			if err != nil {
				err = &LineError{name, n, false, err}
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
