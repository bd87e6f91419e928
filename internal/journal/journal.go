// Package journal keeps the proof of what was done: one JSON object a line, to
// which lines are only ever added. Each holds the hash of the line before, so
// that one that is altered, missing, inserted or moved shows; see [Verify].
//
// # What it promises
//
// When [Journal.Append] has returned, its lines are on the disk. A crash in the
// middle of it leaves whole lines, and perhaps one that is torn, which the next
// [Open] cuts off. No file is ever removed or rewritten: one that has become
// large is put away under a number, and the first line of the next has the hash
// of its last.
//
// # What it does not promise
//
// The chain has no secret in it. Who may write the folder can alter a line and
// make all that follow anew, or cut off the end: that shows only to whom
// remembers a later [Head].
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"scandrop/internal/atomicfile"
)

// current is the file that lines are added to. What was put away is
// journal-000001.jsonl, journal-000002.jsonl, …
const current = "journal.jsonl"

var numbered = regexp.MustCompile(`^journal-([0-9]{6,})\.jsonl$`)

func numberedName(n int) string { return fmt.Sprintf("journal-%06d.jsonl", n) }

// A Hash is the SHA-256 of a line's bytes, without the end of the line. Its
// text form is 64 hexadecimal digits. The first line of all follows the zero
// Hash.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// A Head names the last line of a journal. The zero Head is that of an empty
// one.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
}

// A Line is one line of a journal.
type Line struct {
	File   string // its name, without the folder
	Number int    // of the line in the file, from 1
	Seq    uint64 // as it says itself
	Prev   Hash   // the hash of the line before, as it says
	Text   []byte // the JSON object, without the end of the line
}

// Hash is the hash of the line as it is.
func (l Line) Hash() Hash { return sha256.Sum256(l.Text) }

// The beginning of every line: it is compared byte by byte, so that no two ways
// to write JSON can mean different hashes.
const (
	prevBegin = `{"prev":"`
	prevEnd   = `",`
	prefixLen = len(prevBegin) + 2*sha256.Size + len(prevEnd)
)

// parse reads what a line says of its place in the chain.
func parse(text []byte) (Line, error) {
	l := Line{Text: text}
	if len(text) < prefixLen || !bytes.HasPrefix(text, []byte(prevBegin)) || string(text[prefixLen-len(prevEnd):prefixLen]) != prevEnd {
		return l, errors.New("it does not begin with the hash of the line before")
	}
	if _, err := hex.Decode(l.Prev[:], text[len(prevBegin):prefixLen-len(prevEnd)]); err != nil {
		return l, errors.New("the hash of the line before is not one")
	}
	seq, err := seqOf(text)
	l.Seq = seq
	return l, err
}

// seqOf is the sequence number in a JSON object.
func seqOf(object []byte) (uint64, error) {
	var o struct {
		Seq uint64 `json:"seq"`
	}
	if err := json.Unmarshal(object, &o); err != nil {
		return 0, err
	}
	if o.Seq == 0 {
		return 0, errors.New("it has no sequence number")
	}
	return o.Seq, nil
}

// Config says where a journal lies. Dir must be given, and be there.
type Config struct {
	Dir string
	// MaxSize is how many bytes a file may have before it is put away.
	// Defaults to 16 MiB.
	MaxSize int64
}

// A Journal can be added to. One at a time may be open in a folder; it is not
// for concurrent use.
type Journal struct {
	root    *os.Root
	maxSize int64
	file    *os.File // nil: to be opened
	size    int64    // of the current file, as far as it is known to be on the disk
	dirty   bool     // the file may hold more than that
	head    Head
	cut     int64
}

// Open opens the journal in a folder for adding to it. Where the last line is
// torn, as after a crash, it is cut off; see [Journal.Cut].
func Open(c Config) (*Journal, error) {
	if c.MaxSize == 0 {
		c.MaxSize = 16 << 20
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{root: root, maxSize: c.MaxSize}
	if err := j.load(); err != nil {
		root.Close()
		return nil, err
	}
	return j, nil
}

// load finds the last line, and puts the end of the current file right.
func (j *Journal) load() error {
	names, err := list(j.root)
	if err != nil {
		return err
	}
	if slices.Contains(names, current) {
		if err := j.repair(); err != nil {
			return err
		}
	}
	for _, name := range slices.Backward(names) {
		l, _, err := j.last(name)
		if err != nil {
			return err
		}
		if l.Seq != 0 {
			j.head = Head{l.Seq, l.Hash()}
			break
		}
	}
	return nil
}

// repair cuts off what follows the last whole line of the current file. A line
// that lacks nothing but its end gets that.
func (j *Journal) repair() error {
	l, end, err := j.last(current)
	if err != nil {
		return err
	}
	f, err := j.root.OpenFile(current, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	j.size = end
	switch {
	case size == end && l.Seq != 0:
		one := make([]byte, 1)
		if _, err := f.ReadAt(one, end-1); err != nil || one[0] == '\n' {
			return err
		}
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return err
		}
		j.size++
	case size == end:
		return nil
	default:
		if err := j.keepDamaged(f, end, size); err != nil {
			return err
		}
		if err := f.Truncate(end); err != nil {
			return err
		}
		j.cut = size - end
	}
	return f.Sync()
}

// keepDamaged copies what is to be cut off to a file beside, if there are whole
// lines in it: a torn line has no end, so somebody has altered them.
func (j *Journal) keepDamaged(f *os.File, from, to int64) error {
	tail, err := io.ReadAll(io.NewSectionReader(f, from, to-from))
	if err != nil || !bytes.Contains(tail, []byte{'\n'}) {
		return err
	}
	const most = 1000
	for n := range most {
		kept, err := j.root.OpenFile(fmt.Sprintf("journal-damaged-%03d", n), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = kept.Write(tail)
		if err == nil {
			err = kept.Sync()
		}
		return errors.Join(err, kept.Close())
	}
	return nil
}

// last finds the last line of a file that can be read, and where it ends, its
// own end of line included. Its Seq is 0 if there is none.
func (j *Journal) last(name string) (l Line, end int64, err error) {
	f, err := j.root.Open(name)
	if err != nil {
		return Line{}, 0, err
	}
	defer f.Close()
	if end, err = f.Seek(0, io.SeekEnd); err != nil {
		return Line{}, 0, err
	}
	return lastLine(f, end)
}

// lastLine is last in a file of that size.
func lastLine(f io.ReaderAt, size int64) (l Line, end int64, err error) {
	for end = size; end > 0; {
		begin, err := lineBegin(f, end)
		if err != nil {
			return Line{}, 0, err
		}
		text := make([]byte, end-begin)
		if _, err := f.ReadAt(text, begin); err != nil && err != io.EOF {
			return Line{}, 0, err
		}
		if l, err := parse(bytes.TrimSuffix(text, []byte{'\n'})); err == nil {
			return l, end, nil
		}
		end = begin
	}
	return Line{}, 0, nil
}

// lineBegin is where the line begins whose last byte lies before end.
func lineBegin(f io.ReaderAt, end int64) (int64, error) {
	block := make([]byte, 4096)
	for at := end - 1; at > 0; { // the byte before end may be the line's own end
		from := max(0, at-int64(len(block)))
		b := block[:at-from]
		if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
			return 0, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		at = from
	}
	return 0, nil
}

// list returns the names of the journal's files in the order of their lines.
func list(root *os.Root) ([]string, error) {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	whole := false
	for _, e := range entries {
		whole = whole || e.Name() == current
		if numbered.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { // a longer number is a greater one
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	if whole {
		names = append(names, current)
	}
	return names, nil
}

// Head is the last line.
func (j *Journal) Head() Head { return j.head }

// Cut is how many bytes of a torn end [Open] cut off.
func (j *Journal) Cut() int64 { return j.cut }

// Append adds the records, JSON objects with a number each in "seq", as lines,
// and returns the last line of the journal then. When it returns they are on
// the disk, file and folder. Records whose number is not above the last line's
// are there already, and are skipped. After an error none was added, as far as
// the disk lets that be said; it may be tried again.
func (j *Journal) Append(records []json.RawMessage) (Head, error) {
	var text bytes.Buffer
	head := j.head
	for _, r := range records {
		seq, err := seqOf(r)
		if err != nil || r[0] != '{' || bytes.ContainsAny(r, "\r\n") {
			return j.head, errors.Join(errors.New("a record is a JSON object on one line, with its number in \"seq\""), err)
		}
		if seq <= head.Seq {
			continue
		}
		begin := text.Len()
		text.WriteString(prevBegin + head.Hash.String() + prevEnd)
		text.Write(r[1:])
		head = Head{seq, sha256.Sum256(text.Bytes()[begin:])}
		text.WriteByte('\n')
	}
	if text.Len() == 0 {
		return j.head, nil
	}
	if err := j.write(text.Bytes()); err != nil {
		return j.head, err
	}
	j.head = head
	return head, nil
}

// write brings whole lines to the disk.
func (j *Journal) write(text []byte) error {
	if err := j.clean(); err != nil {
		return err
	}
	if j.size > 0 && j.size+int64(len(text)) > j.maxSize {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if j.file == nil {
		f, err := j.root.OpenFile(current, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := atomicfile.SyncDir(j.root, "."); err != nil {
			return errors.Join(err, f.Close())
		}
		j.file = f
	}
	j.dirty = true
	_, err := j.file.Write(text)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// Now rather than later: a sync that failed says nothing true of these
		// bytes any more, and who reads them would believe that they will last.
		return errors.Join(err, j.clean())
	}
	j.dirty = false
	j.size += int64(len(text))
	return nil
}

// clean takes back what a write that failed may have left.
func (j *Journal) clean() error {
	if !j.dirty {
		return nil
	}
	if err := j.close(); err != nil {
		return err
	}
	f, err := j.root.OpenFile(current, os.O_RDWR, 0) // Windows cuts nothing off that is open for appending
	if err != nil {
		return err
	}
	err = f.Truncate(j.size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		j.dirty = false
	}
	return err
}

// rotate puts the current file away under the next number.
func (j *Journal) rotate() error {
	if err := j.close(); err != nil { // Windows renames no open file
		return err
	}
	names, err := list(j.root)
	if err != nil {
		return err
	}
	next := 1
	for _, name := range names {
		if m := numbered.FindStringSubmatch(name); m != nil {
			var n int
			if _, err := fmt.Sscan(m[1], &n); err == nil && n >= next {
				next = n + 1
			}
		}
	}
	if err := atomicfile.Rename(j.root, current, j.root, numberedName(next)); err != nil {
		return err
	}
	j.size = 0
	return atomicfile.SyncDir(j.root, ".")
}

func (j *Journal) close() error {
	f := j.file
	j.file = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// Close closes the journal. It may be called more than once.
func (j *Journal) Close() error { return errors.Join(j.close(), j.root.Close()) }
