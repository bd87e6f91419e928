package result

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func sum(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

// A desk is a hot folder.
type desk struct {
	*testing.T
	path   string
	folder *Folder
}

func newDesk(t *testing.T) desk {
	t.Helper()
	path := t.TempDir()
	folder, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return desk{t, path, folder}
}

func (d desk) at(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

func (d desk) put(name, text string) {
	d.Helper()
	if err := os.MkdirAll(filepath.Dir(d.at(name)), 0o755); err != nil {
		d.Fatal(err)
	}
	if err := os.WriteFile(d.at(name), []byte(text), 0o644); err != nil {
		d.Fatal(err)
	}
}

func (d desk) symlink(to, name string) {
	d.Helper()
	if err := symlink(to, d.at(name)); err != nil {
		d.Skipf("no symbolic links are made here: %v", err)
	}
}

// symlink makes a symbolic link, and sees that there is one: Wine only says so.
func symlink(to, path string) error {
	if err := os.Symlink(to, path); err != nil {
		return err
	}
	_, err := os.Readlink(path)
	return err
}

// stage begins a txt of the scan, with this text.
func (d desk) stage(scan, text string) *Staged {
	d.Helper()
	s, err := d.folder.Stage(d.at(scan), "7", "txt")
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(s.Discard)
	if _, err := s.Write([]byte(text)); err != nil {
		d.Fatal(err)
	}
	return s
}

// want checks all files below the folder; an entry that ends in a slash is a
// folder without files, and one that holds "->" a link.
func (d desk) want(files map[string]string) {
	d.Helper()
	want(d.T, d.path, files)
}

func want(t *testing.T, path string, files map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(path, func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(path, at)
		rel = filepath.ToSlash(rel)
		if !e.Type().IsRegular() {
			got[rel] = "->"
			return nil
		}
		text, err := os.ReadFile(at)
		got[rel] = string(text)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for name, text := range got {
		if w, ok := files[name]; !ok {
			t.Errorf("%s was not to be there; it holds %.40q", name, text)
		} else if w != text {
			t.Errorf("%s holds %.40q, want %.40q", name, text, w)
		}
	}
	for name := range files {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
}

// grant grants every name, and says that these contents are ours.
func grant(contents ...string) Reserve {
	return func(string, [sha256.Size]byte) (Claim, error) {
		c := Claim{Mine: true}
		for _, text := range contents {
			c.Replaces = append(c.Replaces, sum(text))
		}
		return c, nil
	}
}

func TestPublish(t *testing.T) {
	for _, test := range []struct {
		name    string
		before  func(desk)
		reserve Reserve
		earlier string
		want    string            // the name
		files   map[string]string // that are there then, beside letter.pdf
	}{
		{
			name:    "free",
			reserve: grant(),
			want:    "letter.txt", files: map[string]string{"letter.txt": "new"},
		},
		{
			name:    "a stranger's",
			before:  func(d desk) { d.put("letter.txt", "theirs") },
			reserve: grant(),
			want:    "letter.pdf.txt", files: map[string]string{"letter.txt": "theirs", "letter.pdf.txt": "new"},
		},
		{
			name:    "two strangers'",
			before:  func(d desk) { d.put("letter.txt", "theirs"); d.put("letter.pdf.txt", "") },
			reserve: grant(),
			want:    "letter.pdf (2).txt", files: map[string]string{"letter.txt": "theirs", "letter.pdf.txt": "", "letter.pdf (2).txt": "new"},
		},
		{
			name:    "a stranger's, with the same content",
			before:  func(d desk) { d.put("letter.txt", "new") },
			reserve: grant(),
			want:    "letter.pdf.txt", files: map[string]string{"letter.txt": "new", "letter.pdf.txt": "new"},
		},
		{
			name:    "ours",
			before:  func(d desk) { d.put("letter.txt", "old") },
			reserve: grant("older", "old"),
			want:    "letter.txt", files: map[string]string{"letter.txt": "new"},
		},
		{
			name:    "ours, edited",
			before:  func(d desk) { d.put("letter.txt", "old, corrected") },
			reserve: grant("older", "old"),
			want:    "letter.pdf.txt", files: map[string]string{"letter.txt": "old, corrected", "letter.pdf.txt": "new"},
		},
		{
			name:    "ours, by a crash before the name was the file's",
			before:  func(d desk) { d.put("letter.txt", "") },
			earlier: "letter.txt",
			reserve: grant("new"),
			want:    "letter.txt", files: map[string]string{"letter.txt": "new"},
		},
		{
			name:    "a stranger's, empty, when we had another name",
			before:  func(d desk) { d.put("letter.txt", "theirs"); d.put("letter.pdf.txt", "") },
			earlier: "letter.txt",
			reserve: grant("new"),
			want:    "letter.pdf (2).txt", files: map[string]string{"letter.txt": "theirs", "letter.pdf.txt": "", "letter.pdf (2).txt": "new"},
		},
		{
			name:    "ours, by a crash after",
			before:  func(d desk) { d.put("letter.txt", "new") },
			reserve: grant("new"),
			want:    "letter.txt", files: map[string]string{"letter.txt": "new"},
		},
		{
			name:    "a folder",
			before:  func(d desk) { os.Mkdir(d.at("letter.txt"), 0o755) },
			reserve: grant("new", "old"),
			want:    "letter.pdf.txt", files: map[string]string{"letter.pdf.txt": "new"},
		},
		{
			name:    "a link to what is ours",
			before:  func(d desk) { d.put("old", "old"); d.symlink("old", "letter.txt") },
			reserve: grant("old"),
			want:    "letter.pdf.txt", files: map[string]string{"old": "old", "letter.txt": "->", "letter.pdf.txt": "new"},
		},
		{
			name:    "a link to nowhere",
			before:  func(d desk) { d.symlink("nowhere", "letter.txt") },
			reserve: grant("old"),
			want:    "letter.pdf.txt", files: map[string]string{"letter.txt": "->", "letter.pdf.txt": "new"},
		},
		{
			name: "reserved by another",
			reserve: func(path string, _ [sha256.Size]byte) (Claim, error) {
				return Claim{Mine: filepath.Base(path) != "letter.txt"}, nil
			},
			want: "letter.pdf.txt", files: map[string]string{"letter.pdf.txt": "new"},
		},
		{
			name: "the queue forgets earlier names when it is asked for others",
			before: func(d desk) {
				d.put("letter.txt", "theirs")
				d.put("letter.pdf.txt", "old")
			},
			earlier: "letter.pdf.txt",
			reserve: func() Reserve {
				asked := 0
				return func(string, [sha256.Size]byte) (Claim, error) {
					if asked++; asked > 1 {
						return Claim{Mine: true}, nil
					}
					return Claim{Mine: true, Replaces: [][sha256.Size]byte{sum("old")}}, nil
				}
			}(),
			want: "letter.pdf.txt", files: map[string]string{"letter.txt": "theirs", "letter.pdf.txt": "new"},
		},
		{
			name:    "an earlier name elsewhere",
			earlier: "elsewhere/letter.txt",
			reserve: grant(),
			want:    "letter.txt", files: map[string]string{"letter.txt": "new"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t)
			d.put("letter.pdf", "scan")
			if test.before != nil {
				test.before(d)
			}
			s := d.stage("letter.pdf", "new")
			if test.earlier != "" {
				s.Earlier = d.at(test.earlier)
			}
			got, err := s.Publish(t.Context(), test.reserve)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Result{"txt", d.at(test.want), sum("new"), 3}); got != want {
				t.Errorf("Publish = %+v, want %+v", got, want)
			}
			s.Discard()
			test.files["letter.pdf"] = "scan"
			d.want(test.files)
		})
	}
}

// What is there already as it should be is not touched: somebody may have it
// open.
func TestPublishSame(t *testing.T) {
	d := newDesk(t)
	d.put("letter.pdf", "scan")
	if _, err := d.stage("letter.pdf", "new").Publish(t.Context(), grant()); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(d.at("letter.txt"))
	if err != nil {
		t.Fatal(err)
	}
	s := d.stage("letter.pdf", "new")
	if _, err := s.Publish(t.Context(), grant("new")); err != nil {
		t.Fatal(err)
	}
	s.Discard()
	after, err := os.Stat(d.at("letter.txt"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("it was written again, or is gone: %v", err)
	}
	d.want(map[string]string{"letter.pdf": "scan", "letter.txt": "new"})
}

func TestPublishErrors(t *testing.T) {
	d := newDesk(t)
	d.put("letter.pdf", "scan")
	scan := map[string]string{"letter.pdf": "scan"}

	no := errors.New("the queue is shut")
	s := d.stage("letter.pdf", "text of the scan")
	_, err := s.Publish(t.Context(), func(string, [sha256.Size]byte) (Claim, error) { return Claim{Mine: true}, no })
	if !errors.Is(err, no) {
		t.Errorf("Publish: %v, want the error of reserve", err)
	}
	s.Discard()
	d.want(scan)

	s = d.stage("letter.pdf", "text of the scan")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Publish(ctx, grant()); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish: %v, want context.Canceled", err)
	}
	s.Discard()
	d.want(scan)

	s = d.stage("letter.pdf", "text of the scan")
	asked := 0
	_, err = s.Publish(t.Context(), func(string, [sha256.Size]byte) (Claim, error) {
		asked++
		return Claim{}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "letter.pdf are taken: remove or rename") || strings.Contains(err.Error(), "text of") {
		t.Errorf("Publish: %v", err)
	}
	if asked != maxNames {
		t.Errorf("asked for %d names", asked)
	}
	s.Discard()
	d.want(scan)

	for _, path := range []string{d.path, filepath.Dir(d.path), filepath.Join(d.path, "..", "letter.pdf"), "letter.pdf", ""} {
		if s, err := d.folder.Stage(path, "7", "txt"); err == nil {
			s.Discard()
			t.Errorf("Stage(%q) succeeded", path)
		}
	}
	for _, format := range []string{"../x", "a/b"} {
		if s, err := d.folder.Stage(d.at("letter.pdf"), "7", format); err == nil {
			s.Discard()
			t.Errorf("Stage as %q succeeded", format)
		}
	}
	d.want(scan)
}

// A queue that grants a name to one job only, as the real one does, gives each
// scan a name of its own; and where it grants one to all, none is lost either.
func TestPublishAtOnce(t *testing.T) {
	for _, name := range []string{"granted to the first", "granted to all"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			var mu sync.Mutex
			owner := map[string]int{}
			exts := []string{".pdf", ".jpg", ".png", ".tif", ".gif", ".heic", ".jpeg", ".tiff"}
			results := make([]Result, len(exts))
			var wg sync.WaitGroup
			for i, ext := range exts {
				d.put("letter"+ext, "scan")
				wg.Go(func() {
					s, err := d.folder.Stage(d.at("letter"+ext), fmt.Sprint(i), "txt")
					if err != nil {
						t.Error(err)
						return
					}
					defer s.Discard()
					fmt.Fprint(s, "text of ", ext)
					results[i], err = s.Publish(t.Context(), func(path string, _ [sha256.Size]byte) (Claim, error) {
						if name == "granted to all" {
							return Claim{Mine: true}, nil
						}
						mu.Lock()
						defer mu.Unlock()
						if _, taken := owner[path]; !taken {
							owner[path] = i
						}
						return Claim{Mine: owner[path] == i}, nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			files := map[string]string{}
			for i, ext := range exts {
				files["letter"+ext] = "scan"
				files[filepath.Base(results[i].Path)] = "text of " + ext
			}
			d.want(files)
			if _, ok := files["letter.txt"]; !ok || len(files) != 2*len(exts) {
				t.Errorf("results are %v", results)
			}
		})
	}
}

// The work of a try that was killed is done again and ends the same.
func TestPublishAfterKill(t *testing.T) {
	kills := map[string]func(desk, *Staged){
		"while it was written":    func(d desk, s *Staged) {},
		"before it had its name":  func(d desk, s *Staged) { s.file.Publish("../" + "not a name") },
		"between both its names":  func(d desk, s *Staged) { os.Link(d.at("in/.scandrop-7-txt.tmp"), d.at("in/letter.txt")) },
		"with its name taken":     func(d desk, s *Staged) { d.put("in/letter.txt", "") },
		"when it had its name":    func(d desk, s *Staged) { s.file.Publish("letter.txt") },
		"and somebody tidied up":  func(d desk, s *Staged) { os.RemoveAll(d.at("in")) },
		"and the name was taken":  func(d desk, s *Staged) { d.put("in/letter.txt", "theirs") },
		"and the scan is another": func(d desk, s *Staged) { d.put("in/letter.pdf", "newer") },
	}
	for name, kill := range kills {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.put("in/letter.pdf", "scan")
			kill(d, d.stage("in/letter.pdf", "text"))

			s := d.stage("in/letter.pdf", "text")
			s.Earlier = d.at("in/letter.txt")
			r, err := s.Publish(t.Context(), grant("text"))
			if err != nil {
				t.Fatal(err)
			}
			s.Discard()
			files := map[string]string{"in/letter.pdf": "scan", "in/letter.txt": "text"}
			switch name {
			case "and somebody tidied up":
				delete(files, "in/letter.pdf")
			case "and the name was taken":
				files["in/letter.txt"], files["in/letter.pdf.txt"] = "theirs", "text"
			case "and the scan is another":
				files["in/letter.pdf"] = "newer"
			}
			d.want(files)
			if ok, err := d.folder.Has(r.Path, sum("text")); !ok || err != nil {
				t.Errorf("Has = %v, %v", ok, err)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing"), filepath.Join(dir, "file"), filepath.Join(dir, "dangling")} {
		switch filepath.Base(path) {
		case "file":
			os.WriteFile(path, nil, 0o644)
		case "dangling":
			if symlink("missing", path) != nil {
				continue
			}
		}
		if f, err := Open(path); !errors.Is(err, ErrRootMissing) {
			t.Errorf("Open(%s): %v, want ErrRootMissing", path, err)
			if err == nil {
				f.Close()
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a root was made")
	}

	// One that goes away while it is open is not made again either.
	root := filepath.Join(dir, "root")
	os.Mkdir(root, 0o755)
	f, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(root); err != nil {
		t.Skip(err)
	}
	if s, err := f.Stage(filepath.Join(root, "in", "letter.pdf"), "7", "txt"); err == nil {
		s.Discard()
		t.Error("staged in a root that is gone")
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the root was made again")
	}
}

// No link leads out of the folder, and none stands for a file.
func TestLinks(t *testing.T) {
	d := newDesk(t)
	outside := t.TempDir()
	os.WriteFile(filepath.Join(outside, "letter.pdf"), []byte("scan"), 0o644)
	d.symlink(outside, "out")
	if s, err := d.folder.Stage(d.at("out/letter.pdf"), "7", "txt"); err == nil {
		s.Discard()
		t.Error("staged outside")
	}
	if f, err := d.folder.OpenFile(d.at("out/letter.pdf")); err == nil {
		f.Close()
		t.Error("opened outside")
	}
	if ok, _ := d.folder.Has(d.at("out/letter.pdf"), sum("scan")); ok {
		t.Error("Has looked outside")
	}
	d.put("real.pdf", "scan")
	d.symlink("real.pdf", "link.pdf")
	if f, err := d.folder.OpenFile(d.at("link.pdf")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenFile of a link: %v, want fs.ErrNotExist", err)
		f.Close()
	}
	want(t, outside, map[string]string{"letter.pdf": "scan"})
}

func TestHas(t *testing.T) {
	d := newDesk(t)
	d.put("in/letter.txt", "text")
	d.put("in/empty.txt", "")
	for _, test := range []struct {
		path, text string
		want       bool
	}{
		{"in/letter.txt", "text", true},
		{"in/letter.txt", "text ", false},
		{"in/empty.txt", "", true},
		{"in/empty.txt", "text", false},
		{"in/missing.txt", "text", false},
		{"missing/letter.txt", "text", false},
		{"in", "text", false},
		{"in/letter.txt/letter.txt", "text", false},
	} {
		got, err := d.folder.Has(d.at(test.path), sum(test.text))
		if err != nil || got != test.want {
			t.Errorf("Has(%s, %q) = %v, %v", test.path, test.text, got, err)
		}
	}
	if _, err := d.folder.Has(filepath.Dir(d.path), sum("")); err == nil {
		t.Error("Has looked outside")
	}
	if f, err := d.folder.OpenFile(d.at("in/letter.txt/x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("OpenFile below a file: %v, want fs.ErrNotExist", err)
		f.Close()
	}
}

func TestReadAt(t *testing.T) {
	d := newDesk(t)
	s := d.stage("letter.pdf", "0123456789")
	p := make([]byte, 3)
	if _, err := s.ReadAt(p, 4); err != nil || string(p) != "456" {
		t.Errorf("ReadAt: %q, %v", p, err)
	}
}

func TestRoom(t *testing.T) {
	free, err := Room(t.TempDir())
	if err != nil || free == 0 {
		t.Errorf("Room = %d, %v", free, err)
	}
	if _, err := Room(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Room of nothing: %v, want fs.ErrNotExist", err)
	}
}

func names(original, format string, n int) []string {
	var all []string
	for name := range Names(original, format) {
		if all = append(all, name); len(all) == n {
			break
		}
	}
	return all
}

func TestNames(t *testing.T) {
	long := strings.Repeat("ü", 125) // 250 bytes
	for _, test := range []struct {
		original, format string
		want             []string
	}{
		{"letter.pdf", "txt", []string{"letter.txt", "letter.pdf.txt", "letter.pdf (2).txt", "letter.pdf (3).txt"}},
		{"Letter.1.PDF", "docx", []string{"Letter.1.docx", "Letter.1.PDF.docx", "Letter.1.PDF (2).docx"}},
		{"letter.txt", "txt", []string{"letter.txt", "letter.txt.txt", "letter.txt (2).txt"}},
		{"letter", "txt", []string{"letter.txt", "letter (2).txt", "letter (3).txt"}},
		{".pdf", "txt", []string{".pdf.txt", ".pdf (2).txt"}},
		{"letter..pdf", "txt", []string{"letter..txt", "letter..pdf.txt"}},
		{"con.pdf", "txt", []string{"_con.txt", "_con.pdf.txt", "_con.pdf (2).txt"}},
		{"LPT1 .x.pdf", "txt", []string{"_LPT1 .x.txt"}},
		{"com².pdf", "txt", []string{"_com².txt"}},
		{"console.pdf", "txt", []string{"console.txt"}},
		{"com.pdf", "txt", []string{"com.txt"}},
		{"1.pdf", "txt", []string{"1.txt"}},
		{long + ".pdf", "txt", []string{long + ".txt", long[:242] + "~f9e43d97.txt", long[:238] + "~f9e43d97 (2).txt"}},
	} {
		if got := names(test.original, test.format, len(test.want)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.original, got, test.want)
		}
	}
	a, b := strings.Repeat("a", 251), strings.Repeat("a", 250)+"b"
	if x, y := names(a+".pdf", "docx", 1), names(b+".pdf", "docx", 1); slices.Equal(x, y) {
		t.Errorf("two long scans share %q", x)
	}
}
