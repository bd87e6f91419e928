package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pdfcpu/pdfcpu/pkg/api"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/model"
	"github.com/pdfcpu/pdfcpu/pkg/pdfcpu/types"

	"scandrop/internal/config"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A big scan is a PDF that is too big for the daemon that the tests run, whose
// pages tell their number by how wide they are.
const (
	bigScan  = "big scan" // in place of its digest
	bigPages = 8
	bigLimit = 60_000 // bytes: two or three of its pages
)

func pageOf(n int) string { return fmt.Sprintf("This is page %d.", n) }

// noisyPDF makes a PDF of that many pages, each of which holds about as much noise.
func noisyPDF(pages, noise int) ([]byte, error) {
	api.DisableConfigDir()
	conf := pdfcpu.DefaultImportConfig()
	conf.Pos = types.Full // the page is as large as its picture
	var pictures []io.Reader
	r := rand.New(rand.NewPCG(1, 2))
	for n := range pages {
		m := image.NewGray(image.Rect(0, 0, 100+n, noise/100))
		for i := range m.Pix {
			m.Pix[i] = uint8(r.UintN(256))
		}
		m.SetGray(0, 0, color.Gray{uint8(n)})
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			return nil, err
		}
		pictures = append(pictures, &b)
	}
	var b bytes.Buffer
	err := api.ImportImages(nil, &b, pictures, conf, model.NewDefaultConfiguration())
	return b.Bytes(), err
}

var bigContent = sync.OnceValues(func() ([]byte, error) { return noisyPDF(bigPages, 20_000) })

// dropBig drops the big scan.
func (s *site) dropBig(name string) {
	s.t.Helper()
	content, err := bigContent()
	if err == nil {
		err = os.MkdirAll(s.scans(), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.scans(), name), content, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.largest = bigLimit
}

// readPages says what is on the pages of a part of a big scan, and counts each.
func (e *engine) readPages(scan sandbox.Scan) (sandbox.Reading, error) {
	sizes, err := api.PageDims(scan.Content, model.NewDefaultConfiguration())
	if err != nil {
		return sandbox.Reading{}, err
	}
	var r sandbox.Reading
	for _, s := range sizes {
		page := pageOf(int(s.Width+0.5) - 99)
		if e.read[page]++; page == e.fails {
			err = errSmudged
		}
		r.Pages = append(r.Pages, page)
	}
	return r, err
}

// wholeBig reports whether a result has every page of the big scan, in order and
// under its number.
func wholeBig(ext string, content []byte) bool { return wholeOf(bigPages, ext, content) }

func wholeOf(pages int, ext string, content []byte) bool {
	if ext == ".txt" {
		var want []string
		for n := range pages {
			want = append(want, fmt.Sprintf("=== **Page: %d of %d**\n\n%s\n", n+1, pages, pageOf(n+1)))
		}
		return string(content) == strings.Join(want, "\n")
	}
	var document struct {
		PageCount int `json:"page_count"`
		Results   []struct {
			PageNumber int `json:"page_number"`
			Transcript string
		}
	}
	if json.Unmarshal(content, &document) != nil || document.PageCount != pages || len(document.Results) != pages {
		return false
	}
	for i, r := range document.Results {
		if r.PageNumber != i+1 || r.Transcript != pageOf(i+1) {
			return false
		}
	}
	return true
}

// run runs the daemon in this process.
func (s *site) run() Summary {
	s.t.Helper()
	sum, err := Run(s.t.Context(), Options{
		Config: s.config(), Once: true, Largest: s.largest,
		Log: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return sum
}

// job is the only one.
func (s *site) job() queue.Job {
	s.t.Helper()
	q, err := OpenQueue(s.config(), Opening{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	page, err := q.List(queue.Filter{})
	if err != nil || len(page.Jobs) != 1 {
		s.t.Fatalf("%d jobs, %v; want one", len(page.Jobs), err)
	}
	return page.Jobs[0]
}

func (s *site) retry(id uint64) {
	s.t.Helper()
	q, err := OpenQueue(s.config(), Opening{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer q.Close()
	if _, err := q.Retry(id, false); err != nil {
		s.t.Fatal(err)
	}
}

// kept lists what lies in the state folder of parts.
func (s *site) kept() []string {
	all, _ := filepath.Glob(filepath.Join(s.dir, "state", partsFolder, "*", "*"))
	return all
}

// A scan that is too big comes back as one.
func TestBigScan(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.dropBig("big.pdf")
	if sum := s.run(); sum.Done != 1 {
		t.Errorf("%+v; want one scan done", sum)
	}
	s.inspect(true)
	j := s.job()
	if len(j.Parts) < 3 || j.Pages != bigPages {
		t.Errorf("%d pages in %d parts; want %d in 3 at least", j.Pages, len(j.Parts), bigPages)
	}
	if left := s.kept(); len(left) > 0 {
		t.Errorf("%v is left in the state folder", left)
	}
}

// The daemon is killed before, in the middle of and after every call that it makes
// for a scan in parts: no page is sent twice, and the results are whole.
func TestKillBigScan(t *testing.T) {
	t.Parallel()
	for _, when := range []sandbox.Moment{sandbox.Before, sandbox.Made, sandbox.After} {
		for n := 1; n <= 15; n++ { // four parts: an upload and two results each, and deleted in the end
			t.Run(fmt.Sprintf("call %d moment %d", n, when), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, 1)
				s.dropBig("big.pdf")
				var once sync.Once
				s.onCall(func(call int, at sandbox.Moment) {
					if call == n && at == when {
						once.Do(s.kill)
					}
				})
				s.outlive(s.start(), "calls for a scan in parts")
				s.finish(2)
			})
		}
	}
}

// What lies in the state folder may go at any time: the parts are made again, and
// their results fetched again, as long as the service has them.
func TestBigScanPartsLost(t *testing.T) {
	t.Parallel()
	for call := 1; call <= 14; call++ {
		t.Run(fmt.Sprint("call ", call), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			s.dropBig("big.pdf")
			s.onCall(func(n int, when sandbox.Moment) {
				if n == call && when == sandbox.After {
					if err := os.RemoveAll(filepath.Join(s.dir, "state", partsFolder)); err != nil {
						t.Log(err) // something was just written there
					}
				}
			})
			s.run()
			s.inspect(true)
		})
	}
}

// One part that fails fails the scan, with its reason; a retry sends that one
// alone.
func TestBigScanFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, 0)
	s.dropBig("big.pdf")
	s.engine.fails = pageOf(5)
	if sum := s.run(); sum.Failed != 1 {
		t.Errorf("%+v; want one scan failed", sum)
	}
	j := s.job()
	if j.State != queue.Failed || !strings.Contains(j.Error, "page") || !strings.Contains(j.Error, "smudged") {
		t.Errorf("%s: %q; want failed, with the pages and the reason", j.State, j.Error)
	}
	if left := s.box.Documents(); len(left) > 0 {
		t.Errorf("%d documents are left", len(left))
	}
	before := s.engine.times(pageOf(1))
	s.engine.fails = ""
	s.retry(j.ID)
	if sum := s.run(); sum.Done != 1 {
		t.Errorf("%+v; want one scan done", sum)
	}
	if after := s.engine.times(pageOf(1)); before != 1 || after != 1 {
		t.Errorf("page 1 was sent %d times, then %d; want it sent once", before, after)
	}
	for _, ext := range []string{".txt", ".json"} {
		content, err := os.ReadFile(filepath.Join(s.scans(), "big"+ext))
		if err != nil || !wholeBig(ext, content) {
			t.Errorf("%s is not whole, %v", ext, err)
		}
	}
	if left := s.box.Documents(); len(left) > 0 {
		t.Errorf("%d documents are left", len(left))
	}
}

// What cannot be divided is tried if it may fit, and rejected with the way out if
// not.
func TestBigScanIndivisible(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{}).Read(noise)
	m := &image.Gray{Pix: noise, Stride: 2048, Rect: image.Rect(0, 0, 2048, 1536)}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	// A picture may be followed by anything; this one is still whole.
	for name, tt := range map[string]struct {
		size int
		want queue.State
	}{"may fit": {maxUpload, queue.Done}, "does not fit": {maxUpload + 1, queue.Rejected}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			s.largest = 1 << 20
			if err := os.MkdirAll(s.scans(), 0o755); err != nil {
				t.Fatal(err)
			}
			scan := slices.Concat(b.Bytes(), make([]byte, tt.size-b.Len()))
			if err := os.WriteFile(filepath.Join(s.scans(), "noise.png"), scan, 0o600); err != nil {
				t.Fatal(err)
			}
			s.run()
			j := s.job()
			if j.State != tt.want {
				t.Errorf("%s: %s; want %s", j.State, j.Error, tt.want)
			}
			if j.State == queue.Rejected && !strings.Contains(j.Error, "lower resolution") {
				t.Errorf("%q does not name the way out", j.Error)
			}
		})
	}
}

// TestSixtyMegabytes takes a scan of 60 MB and 300 pages the whole way, up to what
// LibreOffice makes of its document. It is long, so CI asks for it.
func TestSixtyMegabytes(t *testing.T) {
	if os.Getenv("SCANDROP_TEST_LONG") == "" {
		t.Skip("SCANDROP_TEST_LONG is not set")
	}
	const pages = 300
	s := newSite(t, 0)
	conf := filepath.Join(s.dir, "c.yaml")
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("[txt, json]"), []byte("[txt, json, docx]"), 1)
	content, err := noisyPDF(pages, 80_000)
	if err == nil {
		err = errors.Join(os.WriteFile(conf, text, 0o600), os.MkdirAll(s.scans(), 0o755), os.WriteFile(filepath.Join(s.scans(), "big.pdf"), content, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(content) < 60_000_000 {
		t.Fatalf("the scan has %d bytes, want 60 MB", len(content))
	}
	began := time.Now()
	if sum := s.run(); sum.Done != 1 {
		t.Fatalf("%+v; want one scan done", sum)
	}
	j := s.job()
	t.Logf("%d bytes, %d pages in %d parts: %v", len(content), j.Pages, len(j.Parts), time.Since(began))
	for _, ext := range []string{".txt", ".json"} {
		content, err := os.ReadFile(filepath.Join(s.scans(), "big"+ext))
		if err != nil || !wholeOf(pages, ext, content) {
			t.Errorf("%s is not whole, %v", ext, err)
		}
	}
	for n := range pages {
		if times := s.engine.times(pageOf(n + 1)); times != 1 {
			t.Errorf("page %d was sent %d times", n+1, times)
		}
	}
	if left := s.box.Documents(); len(left) > 0 {
		t.Errorf("%d documents are left", len(left))
	}
	for _, program := range []string{"soffice", "pdftotext"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	soffice := exec.Command("soffice", "-env:UserInstallation=file://"+filepath.Join(s.dir, "profile"), "--headless",
		"--convert-to", "pdf", "--outdir", filepath.Join(s.dir, "out"), filepath.Join(s.scans(), "big.docx"))
	if out, err := soffice.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	said, err := exec.Command("pdftotext", "-layout", filepath.Join(s.dir, "out", "big.pdf"), "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for n := range pages {
		next := bytes.Index(said[at:], []byte(pageOf(n+1)))
		if next < 0 {
			t.Fatalf("page %d is not in the PDF, or not in its place", n+1)
		}
		at += next
	}
	t.Logf("LibreOffice's PDF has %d pages", bytes.Count(said, []byte("\f")))
}

// The parts of a scan that waits again go when it is to become other work, whether
// the configuration or a profile says so.
func TestBigScanBecomesOtherWork(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(d *daemon, c *config.Config) error{
		"configuration": func(d *daemon, c *config.Config) error { return d.configure(c, c.Folders[0].Path) },
		"profile": func(d *daemon, c *config.Config) error {
			d.reconfigure(newIntake(c, d.files, d.Pages), c.Folders[0].Path)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 0)
			s.dropBig("big.pdf")
			c := s.config()
			d, err := begin(Options{Config: c, Largest: s.largest})
			if err != nil {
				t.Fatal(err)
			}
			defer d.queue.Close()
			added, err := d.queue.Add(queue.Scan{Folder: s.scans(), Path: filepath.Join(s.scans(), "big.pdf"), Size: bigLimit + 1, Content: queue.Digest{1}, Ext: ".pdf", Options: optionsOf(c.Folders[0])})
			if err != nil {
				t.Fatal(err)
			}
			dir := d.parts.folder(added[0].Job)
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "part-0001.pdf"), nil, 0o600)); err != nil {
				t.Fatal(err)
			}
			if err := change(d, c); err != nil || len(s.kept()) != 1 {
				t.Fatalf("%v, and %v is kept; want the part while nothing changes", err, s.kept())
			}
			other := s.config()
			other.Folders[0].Action = "tables"
			if err := change(d, other); err != nil {
				t.Fatal(err)
			}
			if left := s.kept(); len(left) > 0 {
				t.Errorf("%v is left in the state folder", left)
			}
		})
	}
}

var errSmudged = errors.New("the page is smudged")
