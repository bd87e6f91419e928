package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func open(t testing.TB, dir string, maxSize int64) *Journal {
	t.Helper()
	j, err := Open(Config{Dir: dir, MaxSize: maxSize})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func record(seq int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"seq":%d,"scan":"letter %d"}`, seq, seq))
}

func add(t testing.TB, j *Journal, seqs ...int) Head {
	t.Helper()
	var records []json.RawMessage
	for _, seq := range seqs {
		records = append(records, record(seq))
	}
	head, err := j.Append(records)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func verify(t testing.TB, dir string, known Head) Report {
	t.Helper()
	r, err := Verify(dir, known)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// whole fails the test unless the journal has lines 1 to n and no break.
func whole(t testing.TB, dir string, n int, known Head) {
	t.Helper()
	r := verify(t, dir, known)
	if r.Broken > 0 || r.Torn || r.Lines != n || r.Head.Seq != uint64(n) {
		t.Errorf("the journal is not whole: %+v", r)
	}
	var seqs []int
	for l, err := range Read(dir, 0) {
		if err != nil {
			t.Error(err)
		}
		seqs = append(seqs, int(l.Seq))
	}
	if want := upTo(n); !slices.Equal(seqs, want) {
		t.Errorf("the lines are %v, want %v", seqs, want)
	}
}

func upTo(n int) (seqs []int) {
	for i := range n {
		seqs = append(seqs, i+1)
	}
	return seqs
}

func TestAppend(t *testing.T) {
	dir := t.TempDir()
	whole(t, dir, 0, Head{})
	j := open(t, dir, 0)
	if j.Head() != (Head{}) {
		t.Errorf("an empty journal has the head %v", j.Head())
	}
	add(t, j, 1, 2)
	head := add(t, j, 1, 2, 3) // the first two once more
	whole(t, dir, 3, head)
	if again := add(t, j, 2, 3); again != head || j.Head() != head {
		t.Errorf("nothing new made another head: %v, was %v", again, head)
	}
	j.Close()
	j = open(t, dir, 0)
	if j.Head() != head || j.Cut() != 0 {
		t.Errorf("opened again: %v, cut %d; was %v", j.Head(), j.Cut(), head)
	}
	whole(t, dir, 4, add(t, j, 4))

	text, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var o struct {
			Prev string
			Seq  int
			Scan string
		}
		if err := json.Unmarshal(line, &o); err != nil || o.Scan != fmt.Sprint("letter ", o.Seq) || len(o.Prev) != 64 {
			t.Errorf("%s: %v", line, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, current)); err != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
}

func TestAppendRefuses(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, 0)
	for _, bad := range []string{``, `{}`, `[1]`, `{"seq":0}`, `{"seq":-1}`, `{"seq":1`, "{\"seq\":1,\n\"a\":2}", ` {"seq":1}`} {
		if _, err := j.Append([]json.RawMessage{record(1), json.RawMessage(bad)}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	whole(t, dir, 0, Head{})
}

// A file that has become large is put away, and the chain goes on.
func TestRotate(t *testing.T) {
	dir := t.TempDir()
	const maxSize = 400 // some three lines
	var head Head
	for i := range 20 {
		j := open(t, dir, maxSize)
		if j.Head() != head {
			t.Fatalf("after %d lines the head is %v, was %v", i, j.Head(), head)
		}
		head = add(t, j, i+1)
		j.Close()
	}
	whole(t, dir, 20, head)
	if r := verify(t, dir, Head{}); r.Files < 5 {
		t.Errorf("%d files", r.Files)
	}
	for after := range 21 {
		var first uint64
		for l, err := range Read(dir, uint64(after)) {
			if err != nil {
				t.Fatal(err)
			}
			first = l.Seq
			break
		}
		if after < 20 && first != uint64(after)+1 || after == 20 && first != 0 {
			t.Errorf("after %d comes %d", after, first)
		}
	}

	// A crash after it was put away, before there is another.
	names := files(t, dir)
	if err := os.Rename(filepath.Join(dir, current), filepath.Join(dir, numberedName(len(names)))); err != nil {
		t.Fatal(err)
	}
	j := open(t, dir, maxSize)
	if j.Head() != head {
		t.Errorf("the head is %v, was %v", j.Head(), head)
	}
	whole(t, dir, 21, add(t, j, 21))
	j.Close()

	// An empty file, as a crash leaves it that just made it.
	if err := os.Rename(filepath.Join(dir, current), filepath.Join(dir, "journal-1000000.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, current), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, maxSize)
	add(t, j, 22, 23, 24, 25)
	whole(t, dir, 26, add(t, j, 26))
	if names := files(t, dir); !slices.Contains(names, "journal-1000001.jsonl") {
		t.Errorf("the files are %v", names)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	names, err := list(root)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Wherever a crash tears what was being written, Open puts it right, and what
// is added again makes the journal whole.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, 0)
	add(t, j, 1)
	head := add(t, j, 2)
	path := filepath.Join(dir, current)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, 3, 4)
	j.Close()
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	third := len(before) + bytes.IndexByte(after[len(before):], '\n') + 1
	tails := map[string][]byte{
		"zeros":                    make([]byte, 100),
		"zeros and the end":        append(make([]byte, 100), '\n'),
		"a line and half of zeros": append(append(slices.Clone(after[len(before):third]), make([]byte, 9)...), '\n', '\n'),
	}
	for n := range len(after) - len(before) + 1 {
		tails[fmt.Sprint(n, " bytes")] = after[len(before) : len(before)+n]
	}
	for name, tail := range tails {
		if err := os.WriteFile(path, append(slices.Clone(before), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		ended := len(tail) == 0 || tail[len(tail)-1] == '\n'
		if r := verify(t, dir, head); ended == r.Torn || !strings.Contains(name, "zeros") && r.Broken > 0 {
			t.Errorf("%s: %+v", name, r)
		}
		j := open(t, dir, 0)
		switch seq := j.Head().Seq; {
		case len(tail) >= len(after)-len(before)-1: // lacks nothing but its end
			if seq != 4 {
				t.Errorf("%s: it ends with line %d", name, seq)
			}
		case len(before)+len(tail) >= third-1 && !strings.HasPrefix(name, "zeros"):
			if seq != 3 {
				t.Errorf("%s: it ends with line %d", name, seq)
			}
		case seq != 2 || j.Head() != head || j.Cut() != int64(len(tail)):
			t.Errorf("%s: it ends with line %d, %d bytes were cut off", name, seq, j.Cut())
		}
		whole(t, dir, 4, add(t, j, 3, 4))
		j.Close()
	}
}

// A write that fails leaves nothing, and is repeated.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, 0)
	head := add(t, j, 1)
	j.file.Close() // as if the disk refused
	if _, err := j.Append([]json.RawMessage{record(2)}); err == nil {
		t.Fatal("a file that is closed was written")
	}
	if j.Head() != head {
		t.Errorf("the head is %v, was %v", j.Head(), head)
	}
	f, err := os.OpenFile(filepath.Join(dir, current), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"prev":"half of a line`); err != nil { // what got there all the same
		t.Fatal(err)
	}
	f.Close()
	whole(t, dir, 3, add(t, j, 2, 3))
}

// Every way to meddle with the journal shows, and is named with its place.
func TestVerify(t *testing.T) {
	const n = 9
	for _, c := range []struct {
		name string
		do   func(lines []string) []string
		want string // "" if it can show against the queue's memory alone
		and  string // what shows with it
	}{
		{"untouched", func(l []string) []string { return l }, "", ""},
		{"altered", func(l []string) []string { l[4] = strings.Replace(l[4], "letter 5", "letter 6", 1); return l }, "2:the line was altered", ""},
		{"its hash altered", func(l []string) []string {
			l[4] = strings.Replace(l[4], `"prev":"`+l[4][9:11], `"prev":"00`, 1)
			return l
		}, "1:the line was altered", ""},
		{"not JSON", func(l []string) []string { l[4] = "dear diary"; return l }, "2:this is not a line", ""},
		{"empty", func(l []string) []string { l[4] = ""; return l }, "2:this is not a line", ""},
		{"one removed", func(l []string) []string { return slices.Delete(l, 4, 5) }, "2:line number 5 is missing", ""},
		{"some removed", func(l []string) []string { return slices.Delete(l, 2, 5) }, "3:line numbers 3 to 5 are missing", ""},
		{"first removed", func(l []string) []string { return l[1:] }, "1:line number 1 is missing", ""},
		{"twice", func(l []string) []string { return slices.Insert(l, 5, l[4]) }, "3:line number 5 comes after 5", ""},
		{"moved", func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }, "2:line number 5 is missing", ""},
		{"inserted", func(l []string) []string {
			return slices.Insert(l, 5, l[4][:prefixLen]+`"seq":5,"scan":"another"}`)
		}, "3:line number 5 comes after 5", ""},
		{"begins before the beginning", func(l []string) []string {
			return append([]string{`{"prev":"` + strings.Repeat("ab", 32) + `","seq":1}`}, l[1:]...)
		}, "1:the line was altered", ""},
		{"last altered", func(l []string) []string { l[8] = strings.Replace(l[8], "letter", "better", 1); return l }, "", "3:the line was altered"},
		{"last removed", func(l []string) []string { return l[:8] }, "", "3:line number 9 is missing at the end"},
		{"all removed", func(l []string) []string { return nil }, "", "1:line numbers 1 to 9 are missing at the end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			j := open(t, dir, 0)
			head := add(t, j, upTo(n)...)
			j.Close()
			text, err := os.ReadFile(filepath.Join(dir, current))
			if err != nil {
				t.Fatal(err)
			}
			lines := c.do(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
			if err := os.Remove(filepath.Join(dir, current)); err != nil {
				t.Fatal(err)
			}
			for file := 0; len(lines) > 0; file++ { // three lines each
				name := numberedName(file + 1)
				if len(lines) <= 3 {
					name = current
				}
				k := min(3, len(lines))
				if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines[:k], "\n")+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				lines = lines[k:]
			}
			for _, known := range []Head{{}, head} {
				r := verify(t, dir, known)
				want := c.want
				if known == head && want == "" {
					want = c.and
				}
				if want == "" {
					if r.Broken != 0 || len(r.Breaks) != 0 {
						t.Errorf("%+v", r)
					}
					continue
				}
				if r.Broken == 0 || !strings.HasPrefix(fmt.Sprintf("%d:%s", r.Breaks[0].Line, r.Breaks[0].What), want) {
					t.Errorf("it says %v, want %s", r.Breaks, want)
				}
			}
			// It can be added to all the same, and every line that can be read is.
			j = open(t, dir, 0)
			if _, err := j.Append([]json.RawMessage{record(n + 1)}); err != nil {
				t.Error(err)
			}
			last := uint64(0)
			for l, err := range Read(dir, n) {
				if err == nil {
					last = l.Seq
				}
			}
			if last != n+1 {
				t.Errorf("the last line is %d", last)
			}
		})
	}
}

// A torn line that is not the last of all is a break.
func TestTornInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, 0)
	add(t, j, 1, 2)
	j.Close()
	put := filepath.Join(dir, numberedName(1))
	if err := os.Rename(filepath.Join(dir, current), put); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(put)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(put, info.Size()-5); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir, Head{}); !r.Torn || r.Broken != 0 {
		t.Errorf("at the end: %+v", r)
	}
	add(t, open(t, dir, 0), 2)
	if r := verify(t, dir, Head{}); r.Torn || r.Broken != 1 || r.Breaks[0].Line != 1 {
		t.Errorf("in the middle: %+v", r)
	}
}

func TestBreaksAreBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, current), bytes.Repeat([]byte("x\n"), 3*mostBreaks), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, dir, Head{}); r.Broken != 3*mostBreaks || len(r.Breaks) != mostBreaks || r.Head != (Head{}) {
		t.Errorf("%d breaks, %d listed, head %v", r.Broken, len(r.Breaks), r.Head)
	}
}

// The folder must be there.
func TestNoFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
	if _, err := Verify(dir, Head{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("verified: %v", err)
	}
	for _, err := range Read(dir, 0) {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("read: %v", err)
		}
	}
}

// Whatever the file holds, it can be verified, put right and added to.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	j := open(f, dir, 0)
	add(f, j, 1, 2, 3)
	text, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add(text[:len(text)-20])
	f.Add([]byte("{}\n\n{\"seq\":1}\n"))
	f.Add([]byte(`{"prev":"` + strings.Repeat("0", 64) + `","seq":18446744073709551615}`))
	check := func(t *testing.T, text []byte) Report {
		v := verification{known: Head{5, Hash{1}}}
		if err := v.file(current, readLines(bytes.NewReader(text), current)); err != nil {
			t.Fatal(err)
		}
		v.end()
		return v.Report
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		check(t, text)
		l, end, err := lastLine(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		if text = slices.Clone(text[:end]); end > 0 && text[end-1] != '\n' {
			text = append(text, '\n')
		}
		before := check(t, text)
		if before.Torn || before.Head.Seq != l.Seq || l.Seq > 0 && before.Head.Hash != l.Hash() {
			t.Fatalf("after it was put right: %+v, and it ends with line %d", before, l.Seq)
		}
		if l.Seq > 0 && l.Seq < 1<<60 {
			next := fmt.Appendf(text, `{"prev":"%v","seq":%d}`+"\n", l.Hash(), l.Seq+1)
			if after := check(t, next); after.Lines != before.Lines+1 || l.Seq > 5 && after.Broken != before.Broken {
				t.Fatalf("a line more made %+v of %+v", after, before)
			}
		}
	})
}

// What a line says of itself is what it says byte by byte.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"prev":"` + strings.Repeat("0f", 32) + `","seq":7,"scan":"a"}`))
	f.Add([]byte(`{"seq":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parse(text)
		if err != nil {
			return
		}
		if !json.Valid(text) || l.Seq == 0 || !strings.EqualFold(string(text[:prefixLen]), prevBegin+l.Prev.String()+prevEnd) {
			t.Errorf("%q was taken for line %d", text, l.Seq)
		}
	})
}
