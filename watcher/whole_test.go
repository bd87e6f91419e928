package watcher

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// realScans are real scans of every format.
func realScans(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("../testdata/scans/*.*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if ext, _ := sniff(text[:min(len(text), headSize)]); ext != "" {
			found[filepath.Base(path)] = text
		}
	}
	if len(found) < 8 {
		t.Fatalf("only %d samples", len(found))
	}
	return found
}

func TestWhole(t *testing.T) {
	for name, text := range realScans(t) {
		ext, _ := sniff(text[:headSize])
		check := func(text []byte) error { return whole(bytes.NewReader(text), int64(len(text)), ext) }
		if err := check(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := check(append(bytes.Clone(text), make([]byte, 5000)...)); err != nil {
			t.Errorf("%s with zeros after it: %v", name, err)
		}
		// Cut off anywhere, it is not whole. The last bytes of some formats say
		// nothing: a PDF's line end, a PNG's last checksum aside.
		for i := range 200 {
			n := headSize + (len(text)-8-headSize)*i/200
			if err := check(text[:n]); !errors.As(err, new(*cutOff)) {
				t.Errorf("%s, %d of its %d bytes: %v", name, n, len(text), err)
			}
		}
		for _, n := range []int{len(text) - 1, len(text) - 2, len(text) - 8, 100, 20} {
			if err := check(text[:n]); !errors.As(err, new(*cutOff)) && !(ext == ".pdf" && n >= len(text)-2) {
				t.Errorf("%s, %d of its %d bytes: %v", name, n, len(text), err)
			}
		}
	}
}

// What follows would never end, or read outside, were it believed.
func TestWholeOdd(t *testing.T) {
	for _, tt := range []struct {
		ext, text string
		whole     bool
	}{
		{".tif", "II*\x00\x08\x00\x00\x00" + "\x00\x00" + "\x08\x00\x00\x00", true}, // a directory that follows itself
		{".tif", "II*\x00\x00\x00\x00\x00", false},
		{".tif", "II*\x00\xff\xff\xff\xff", false},
		{".tif", "MM\x00*\x00\x00\x00\x08\xff\xff", false},
		{".tif", "MM\x00+\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff", false},
		{".pdf", "%PDF-1.4\nstartxref\n0\n%%EOF\n", true},
		{".pdf", "%PDF-1.4\nstartxref\n999999\n%%EOF\n", false},
		{".pdf", "%PDF-1.4\n%%EOF\n", false},
		{".pdf", "%PDF-1.4\nstartxref\n%%EOF", false},
		{".png", "\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT", false},
		{".heic", "\x00\x00\x00\x0cftypheic" + "\x00\x00\x00\x08meta" + "\x00\x00\x00\x00mdat", true},
		{".heic", "\x00\x00\x00\x0cftypheic" + "\x00\x00\x00\x08meta", false},
		{".heic", "\x00\x00\x00\x0cftypheic" + "\x00\x00\x00\x01meta\xff\xff\xff\xff\xff\xff\xff\xff", false},
		{".heic", "\x00\x00\x00\x02ftypheic", false},
		{".jpg", "\xff\xd8\xff\xe0\x00\x00\xff\xd9", true},
		{".jpg", "\xff\xd8", false},
		{".gif", "GIF89a\x01\x00\x01\x00\xff\x00\x00", false},
	} {
		err := whole(bytes.NewReader([]byte(tt.text)), int64(len(tt.text)), tt.ext)
		if tt.whole != (err == nil) || err != nil && !errors.As(err, new(*cutOff)) {
			t.Errorf("%s %q: %v, want whole: %v", tt.ext, tt.text, err, tt.whole)
		}
	}
}

func FuzzWhole(f *testing.F) {
	for _, text := range realScans(f) {
		f.Add(text[:min(len(text), 2000)])
		f.Add(append(bytes.Clone(text[:min(len(text), 500)]), text[max(0, len(text)-500):]...))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, ext := range []string{".pdf", ".jpg", ".png", ".gif", ".tif", ".heic"} {
			if err := whole(bytes.NewReader(text), int64(len(text)), ext); err != nil && !errors.As(err, new(*cutOff)) {
				t.Errorf("%s: %v", ext, err)
			}
		}
	})
}

// A scan that lacks its end is waited for, then rejected, and taken when the end
// comes.
func TestEndIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		text := ""
		for name, scan := range realScans(t) {
			if filepath.Ext(name) == ".jpg" {
				text = string(scan)
			}
		}
		half := text[:len(text)/2]
		early := write(t, half, root, "early.jpg")
		write(t, half, root, "never.jpg")
		start(t, mustNew(t, d.config(Folder{Path: root})))
		pass(50 * time.Second)
		d.want(root)
		appendTo(t, early, text[len(half):])
		pass(9 * time.Second)
		d.want(root) // the rescan that finds it comes once a minute
		pass(2 * time.Second)
		d.want(root, "early.jpg") // a picture that has its end waits for nothing more
		pass(time.Minute)
		d.want(root, "early.jpg", "never.jpg")
		for _, f := range d.files() {
			switch filepath.Base(f.Path) {
			case "early.jpg":
				if f.Reject != "" || f.Content != sha256.Sum256([]byte(text)) {
					t.Errorf("the one whose end came: %+v", f)
				}
			default:
				if !strings.Contains(f.Reject, "ends too early") || f.Content != sha256.Sum256([]byte(half)) {
					t.Errorf("the one whose end never came: %+v", f)
				}
			}
		}
	})
}

func TestCutOffIsWanted(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, root string) {
		write(t, pdf[:12], root, "cut.pdf")
		once(t, mustNew(t, d.config(Folder{Path: root, CutOff: true})))
		d.want(root, "cut.pdf")
		if got := d.files()[0].Reject; got != "" {
			t.Errorf("it is rejected: %s", got)
		}
	})
}
