package uploader

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// theScript is most of what can go wrong, once or twice each. Calls are
// numbered in the order in which they come, whatever scan they are for.
const theScript = `
upload 2:    lost                  # made, never answered
upload 4:    made 500
upload 5:    made 502 html
upload 6:    cut 5
upload 7:    429 retry-after 7
upload 9:    drop 40               # broken off in the middle
upload 11:   drop                  # wholly sent, never arrived
upload 13:   fail "the page is blank"
upload 14:   503
upload 15:   empty
upload 16:   garbage
upload 18:   408
upload 20:   500
upload 21:   long
download 2:  cut 20
download 4:  500
download 6:  long
download 11: 503 html
download 13: 429 retry-after 3
download 15: 404
download 17: lost
download 19: 200 html
status 1:    500
list 1:      500
list 2:      cut 100
list 3:      garbage
list 4:      429 retry-after 2
delete 3:    500
delete 4:    made 404
delete 6:    lost
delete 7:    503 html
delete 9:    cut 1
`

func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, theScript)})
		b := newBench(t, setup{transport: sb.RoundTripper(), pace: hwocr.NewPace(20, 8), workers: 4})
		o := transcribe
		o.Formats = []string{"txt", "docx", "json"}
		for n := range 30 {
			b.drop(fmt.Sprintf("scan%02d.gif", n), scan(fmt.Sprint("number ", n)), o)
		}
		b.drain()

		counts := b.counts()
		if counts[queue.Done] != 29 || counts[queue.Failed] != 1 {
			t.Errorf("at the end: %v", counts)
		}
		for _, j := range b.jobs() {
			if j.State == queue.Failed && !b.told(j, "the page is blank") {
				t.Errorf("%s failed: %s", j.Path, j.Error)
			}
			if j.State == queue.Done {
				b.wantWhole(j)
			}
		}
		b.wantNoOther(29 * 3)
		b.wantHolds()
		if stats := sb.Stats(); stats.Uploads != 30 {
			t.Errorf("%d documents were made of 30 scans", stats.Uploads)
		}
		wantLeft(t, sb, 0)
	})
}

// told reports whether the job's story says so.
func (b *bench) told(j queue.Job, what string) bool {
	b.t.Helper()
	story, err := b.queue.Story(j.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	return slices.ContainsFunc(story, func(e queue.Event) bool { return strings.Contains(e.Note, what) })
}

// wantWhole compares the results of a job with what its scan says.
func (b *bench) wantWhole(j queue.Job) {
	b.t.Helper()
	stem := strings.TrimSuffix(filepath.Base(j.Path), ".gif")
	for _, format := range j.Options.Formats {
		r, _ := j.Result(format)
		if r.Path != filepath.Join(b.dir, stem+"."+format) {
			b.t.Errorf("%s: its %s is %s", stem, format, r.Path)
			continue
		}
		if got, err := digest(r.Path); err != nil || got != r.Content {
			b.t.Errorf("%s: not what was recorded (%v)", r.Path, err)
		}
		content := b.read(stem + "." + format)
		text := content
		switch format {
		case "docx":
			text = ""
			z, err := zip.NewReader(strings.NewReader(content), int64(len(content)))
			if err != nil {
				b.t.Errorf("%s: %v", r.Path, err)
				continue
			}
			if f, err := z.Open("word/document.xml"); err == nil {
				all, _ := io.ReadAll(f)
				text = string(all)
			}
		case "json":
			if !json.Valid([]byte(content)) {
				b.t.Errorf("%s is no JSON", r.Path)
			}
		}
		if !strings.Contains(text, reading(j.Content)) {
			b.t.Errorf("%s is not the text of its scan", r.Path)
		}
	}
}

// wantNoOther counts the files beside the scans.
func (b *bench) wantNoOther(results int) {
	b.t.Helper()
	n := 0
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".gif" {
			n++
		}
	}
	if n != results {
		b.t.Errorf("%d results, want %d", n, results)
	}
}

// TestNeverArrived loses an upload. One scan alone is sent again when the
// doubt is over, and the service is asked no more than it takes.
func TestNeverArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: drop")})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: 2 * time.Second})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.drain()
		if j = b.wantState(j.ID, queue.Done, 0); j.Resent != 1 {
			t.Errorf("it was sent again %d times", j.Resent)
		}
		b.wantWhole(j)
		wantRequests(t, sb, "upload", 2, 2)
		wantRequests(t, sb, "list", 1, 4)
		wantLeft(t, sb, 0)
	})
}

// TestAcceptedAndNotListed meets a service that says yes, names no document and
// lists none: each yes may have been paid for, so after the second a person is
// asked.
func TestAcceptedAndNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload: 201")})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.drain()
		if j = b.wantState(j.ID, queue.Doubtful, 1); !j.Due.IsZero() {
			t.Errorf("it goes on at %v", j.Due)
		}
		b.wantHolds("doubt")
		wantRequests(t, sb, "upload", 2, 2)
	})
}

// TestNaming: when a list proves that the service does not give our names back.
func TestNaming(t *testing.T) {
	type row struct {
		name, mark string
		owner      queue.Job
	}
	job := queue.Job{ID: 1, Mark: "ours"}
	for _, tt := range []struct {
		what     string
		rows     []row
		nameless bool
	}{
		{"nothing", nil, false},
		{"a stranger's, with its name", []row{{name: "a.pdf"}}, false},
		{"a stranger's, without", []row{{}}, true},
		{"ours, under its mark", []row{{"a.ours.pdf", "ours", job}, {}}, false},
		{"ours, without its mark", []row{{"document 1", "", job}}, true},
		{"one of ours, without its mark, among strangers", []row{{"document 1", "", job}, {name: "a.pdf"}}, true},
		{"what is left of an earlier upload", []row{{"a.earlier.pdf", "earlier", job}}, false},
		{"that, and a stranger's", []row{{"a.earlier.pdf", "earlier", job}, {name: "b.pdf"}}, false},
	} {
		var n naming
		for _, r := range tt.rows {
			n.row(hwocr.Document{Name: r.name}, r.mark, r.owner)
		}
		if got := n.nameless(); got != tt.nameless {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.nameless)
		}
	}
}

// TestCameLater: which documents in the list prove that an upload before them is listed.
func TestCameLater(t *testing.T) {
	sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	job := queue.Job{ID: 1, Sent: sent}
	parts := []queue.Part{{From: 1, To: 2}, {From: 3, To: 4}}
	for _, tt := range []struct {
		name  string
		owner queue.Job
		want  bool
	}{
		{"nobody's", queue.Job{}, false},
		{"its own", queue.Job{ID: 1, Document: "doc", Sent: sent.Add(time.Second)}, false},
		{"another's, before it", queue.Job{ID: 2, Document: "doc", Sent: sent.Add(-time.Second)}, false},
		{"another's, after it", queue.Job{ID: 2, Document: "doc", Sent: sent.Add(time.Second)}, true},
		{"the last part of another", queue.Job{ID: 2, Document: "doc", Parts: parts, Sent: sent.Add(time.Second)}, true},
		{"an earlier part of another, the last of which came after it", queue.Job{ID: 2, Document: "last", Parts: parts, Sent: sent.Add(time.Second)}, false},
	} {
		if got := cameLater(hwocr.Document{ID: "doc"}, tt.owner, job); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestLater has a later upload prove that an earlier one did not arrive.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{
			Trouble: script(t, "upload 1: drop"),
			Work:    func(sandbox.Document) time.Duration { return 2 * time.Minute },
		})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: time.Hour, workers: 1})
		began := time.Now()
		first := b.drop("first.gif", scan("first"), transcribe)
		b.step(queue.Upload)
		time.Sleep(500 * time.Millisecond)
		second := b.drop("second.gif", scan("second"), transcribe)
		stop := b.run()
		defer stop()
		b.until("the first is sent again", func() bool { return b.job(first.ID).State == queue.Processing })
		if waited := time.Since(began); waited < 30*time.Second || waited > 40*time.Second {
			t.Errorf("it was sent again after %v", waited)
		}
		b.wantState(second.ID, queue.Processing, 0)
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 2 })
		wantRequests(t, sb, "upload", 3, 3)
		wantLeft(t, sb, 0)
	})
}

// TestArrived loses only the answer: the document is found and adopted.
func TestArrived(t *testing.T) {
	for _, trouble := range []string{"lost", "made 500", "made 502 html", "made 503", "made 504 html", "made 202",
		"cut 3", "cut 0", "empty", "garbage", "short", "long", "made 200 html"} {
		t.Run(trouble, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: "+trouble)})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				j := b.drop("letter.gif", scan("letter"), transcribe)
				b.drain()
				j = b.wantState(j.ID, queue.Done, 0)
				b.wantWhole(j)
				wantRequests(t, sb, "upload", 1, 1)
				wantRequests(t, sb, "list", 1, 1)
				wantLeft(t, sb, 0)
			})
		})
	}
}

// TestCrash ends the process while an upload is on the wire.
func TestCrash(t *testing.T) {
	for _, arrived := range []bool{true, false} {
		t.Run(fmt.Sprintf("arrived %v", arrived), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				j := b.drop("letter.gif", scan("letter"), transcribe)
				task := b.claim(queue.Upload)
				sending := b.reports(task, queue.Sending{})
				if arrived {
					b.plant(sending.UploadName(), scan("letter"))
				}
				b.reopen(setup{})
				b.wantState(j.ID, queue.Doubtful, 0)
				b.drain()
				j = b.wantState(j.ID, queue.Done, 0)
				b.wantWhole(j)
				wantRequests(t, sb, "upload", 1, 1)
				wantLeft(t, sb, 0)
			})
		})
	}
}

// plant uploads something past the Uploader.
func (b *bench) plant(name, content string) hwocr.Document {
	b.t.Helper()
	d, err := b.api.Upload(b.t.Context(), hwocr.Upload{
		Name: name, Action: "transcribe", Body: strings.NewReader(content), Size: int64(len(content)),
		Content: sha256.Sum256([]byte(content)),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// TestLateTwin hides an upload in the list for longer than the doubt lasts. It
// is paid twice, which nobody can help; but the twin is found and deleted.
func TestLateTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: lost\nlist 1-2: lag 1h")})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: 2 * time.Second})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.drain()
		b.wantWhole(b.wantState(j.ID, queue.Done, 0))
		if stats := sb.Stats(); stats.Uploads != 2 || stats.Deletes != 2 {
			t.Errorf("%d documents made, %d deleted", stats.Uploads, stats.Deletes)
		}
		wantLeft(t, sb, 0)
		if !strings.Contains(b.log.String(), "more than once") {
			t.Error("the log does not tell of the twin")
		}
	})
}

// A list that fails must not keep the document alive that we know of.
func TestDeleteWithoutList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: drop\nlist 3-1000: 500")})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: 2 * time.Second})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		stop := b.run()
		defer stop()
		b.until("it is written", func() bool { return b.job(j.ID).State == queue.Written })
		b.until("its document is gone", func() bool { return len(sb.Documents()) == 0 })
		sb.SetTrouble(sandbox.Script{})
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
	})
}

// Nor must an original that cannot be moved.
func TestDeleteWithoutMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		o := transcribe
		o.MoveDone = filepath.Join(t.TempDir(), "done")
		j := b.drop("letter.gif", scan("letter"), o)
		stop := b.run()
		defer stop()
		b.until("its document is gone", func() bool { return len(sb.Documents()) == 0 && b.job(j.ID).Attempts > 0 })
		b.wantWhole(b.job(j.ID))
		if err := os.Mkdir(o.MoveDone, 0o700); err != nil {
			t.Fatal(err)
		}
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
		if moved := b.job(j.ID).Moved; moved != filepath.Join(o.MoveDone, "letter.gif") || b.read("letter.gif") != "" {
			t.Errorf("moved to %q", moved)
		}
	})
}

// The result of a job that failed may still be had for a while. A late twin of
// its upload goes at once, and its own document stays.
func TestTwinOfFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 2: twin\nupload 1: drop\nupload 2: lost\ndownload: 503")})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: 2 * time.Second})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		stop := b.run()
		defer stop()
		b.until("it failed", func() bool { return b.job(j.ID).State == queue.Failed })
		b.until("the twin is gone", func() bool { return len(b.job(j.ID).Trash) == 0 })
		if left := sb.Documents(); len(left) != 1 || left[0].ID != b.job(j.ID).Document || left[0].ID == "" {
			t.Errorf("left: %v", left)
		}
		sb.SetTrouble(sandbox.Script{})
		if _, err := b.queue.Retry(j.ID, false); err != nil {
			t.Fatal(err)
		}
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
		wantLeft(t, sb, 0)
		wantRequests(t, sb, "upload", 2, 2)
	})
}

// A service may take one upload for two; a look-up finds both.
func TestTwinFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: lost\nupload 1: twin")})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		b.plant("a stranger's.gif", scan("stranger"))
		b.drain()
		b.wantState(j.ID, queue.Done, 0)
		if left := sb.Documents(); len(left) != 1 || left[0].Name != "a stranger's.gif" {
			t.Errorf("left: %v", left)
		}
	})
}

// Of several documents with the mark the one is adopted that has got furthest.
func TestAdopted(t *testing.T) {
	for _, test := range []struct {
		name    string
		list    []string // newest first: id, status
		adopted string
		trash   []string
	}{
		{"the oldest", []string{"c queued", "b queued", "a queued"}, "a", []string{"c", "b"}},
		{"not a failed one", []string{"b queued", "a failed"}, "b", []string{"a"}},
		{"failed if all are", []string{"b failed", "a failed"}, "a", []string{"b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mark string
				b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
					if op == opUpload {
						return reply{dead: true}.to(req, true)
					}
					rows := []string{`{"document_id":"x","status":"queued","original_file_name":"another.sdAB12-aaaaaaaaaaaaaaaa.gif"}`}
					for _, row := range test.list {
						id, status, _ := strings.Cut(row, " ")
						rows = append(rows, fmt.Sprintf(`{"document_id":%q,"status":%q,"original_file_name":"letter.%s.gif"}`, id, status, mark))
					}
					return reply{status: 200, body: "[" + strings.Join(rows, ",") + "]"}.to(req, true)
				})})
				mark = b.drop("letter.gif", scan("letter"), transcribe).Mark
				b.step(queue.Upload)
				j := b.step(queue.LookUp)
				if j.State != queue.Processing || j.Document != test.adopted || !slices.Equal(j.Trash, test.trash) {
					t.Errorf("it is %s, has %q and %q to delete", j.State, j.Document, j.Trash)
				}
			})
		})
	}
}

// TestNameless has the list not give our names back. Then nothing can be
// looked up, and nothing is sent again by itself.
func TestNameless(t *testing.T) {
	for _, names := range []string{"rename", "nonames"} {
		t.Run(names, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{
					Trouble: script(t, "upload 2: drop\nlist: "+names),
					Work:    func(sandbox.Document) time.Duration { return time.Minute },
				})
				b := newBench(t, setup{transport: sb.RoundTripper(), workers: 1})
				known := b.drop("known.gif", scan("known"), transcribe)
				b.step(queue.Upload)
				lost := b.drop("lost.gif", scan("lost"), transcribe)
				later := b.drop("later.gif", scan("later"), transcribe)
				b.drain()
				b.wantState(known.ID, queue.Done, 0)
				b.wantState(later.ID, queue.Done, 0)
				j := b.wantState(lost.ID, queue.Doubtful, 0)
				if !j.Due.IsZero() {
					t.Errorf("it is looked for again at %v", j.Due)
				}
				b.wantHolds("doubt")
				wantRequests(t, sb, "upload", 3, 3)

				// A person decides: it did not arrive.
				if _, err := b.queue.Retry(lost.ID, false); err != nil {
					t.Fatal(err)
				}
				b.drain()
				b.wantWhole(b.wantState(lost.ID, queue.Done, 0))
				b.wantHolds()
				wantLeft(t, sb, 0)
			})
		})
	}
}

// TestShifted deletes documents of others between two pages of the list, so
// that the one that is looked for slips to a page that was read already.
func TestShifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		var newest []string
		shifted := 0
		b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
			if op == opList && req.URL.Query().Get("page") == "2" && shifted < 2 {
				shifted++
				gone := req.Clone(req.Context())
				gone.Method, gone.URL.Path, gone.URL.RawQuery = "DELETE", "/api/v2/documents/"+newest[shifted], ""
				resp, err := sb.RoundTripper().RoundTrip(gone)
				if err != nil {
					return nil, err
				}
				resp.Body.Close()
			}
			return sb.RoundTripper().RoundTrip(req)
		})})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		task := b.claim(queue.Upload)
		task.Job = b.reports(task, queue.Sending{})
		b.plant(task.Job.UploadName(), scan("letter"))
		for n := range 201 { // at first it is the second of the second page, and after two deletions on the first
			newest = append(newest, b.plant("other.gif", scan(fmt.Sprint(n))).ID)
		}
		b.reports(task, queue.Unanswered{Err: errors.New("no answer")})
		j = b.step(queue.LookUp)
		if j.State != queue.Processing || shifted != 2 {
			t.Errorf("it is %s after %d deletions", j.State, shifted)
		}
	})
}

// TestLooksKeepOut makes a look through the list and our own deletions wait
// for each other: nothing vanishes from the list while it is paged.
func TestLooksKeepOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload every 4: lost\nlist: slow 3s\ndelete: slow 1s")})
		var listing, deleting atomic.Int32
		b := newBench(t, setup{workers: 4, transport: service(func(op string, req *http.Request) (*http.Response, error) {
			count := map[string]*atomic.Int32{opList: &listing, opDelete: &deleting}[op]
			survey := op == opList && !req.URL.Query().Has("page") // may miss what it likes
			if count != nil && !survey {
				count.Add(1)
				defer count.Add(-1)
				if listing.Load() > 0 && deleting.Load() > 0 {
					t.Error("a document is deleted while the list is read")
				}
			}
			return sb.RoundTripper().RoundTrip(req)
		})})
		for n := range 20 {
			b.drop(fmt.Sprintf("%d.gif", n), scan(fmt.Sprint(n)), transcribe)
		}
		b.drain()
		if counts := b.counts(); counts[queue.Done] != 20 {
			t.Errorf("at the end: %v", counts)
		}
		if stats := sb.Stats(); stats.Uploads != 20 {
			t.Errorf("%d documents were made", stats.Uploads)
		}
		wantLeft(t, sb, 0)
	})
}

// TestTokenRefused must not burn through the scans.
func TestTokenRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Token: "good|token"})
		b := newBench(t, setup{transport: sb.RoundTripper(), workers: 4})
		b.token.Store("bad token")
		for n := range 50 {
			b.drop(fmt.Sprintf("%d.gif", n), scan(fmt.Sprint(n)), transcribe)
		}
		stop := b.run()
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.wantHolds("token")
		b.wantUntouched(50)
		wantAllRequests(t, sb, 1, 4+4)

		b.token.Store("good token")
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 50 })
		b.wantHolds()
		wantLeft(t, sb, 0)
	})
}

// A token that is missing on our side holds without any request.
func TestNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		b := newBench(t, setup{})
		client, err := hwocr.New(hwocr.Config{
			URL:   "https://sandbox.invalid/api/v2",
			Token: func() (string, error) { return "", fmt.Errorf("%w: the file is missing", ErrToken) },
			Transport: service(func(string, *http.Request) (*http.Response, error) {
				requests++
				return nil, errors.New("there is no network")
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.API = client
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		b.wantState(j.ID, queue.Queued, 0)
		b.wantHolds("token")
		if requests > 0 {
			t.Errorf("%d requests without a token", requests)
		}
	})
}

// wantUntouched says that so many jobs wait and none has used an attempt.
func (b *bench) wantUntouched(n int) {
	b.t.Helper()
	jobs := b.jobs()
	if len(jobs) != n {
		b.t.Errorf("%d jobs, want %d", len(jobs), n)
	}
	for _, j := range jobs {
		if j.State != queue.Queued || j.Attempts != 0 {
			b.t.Errorf("%s is %s after %d attempts: %s", filepath.Base(j.Path), j.State, j.Attempts, j.Error)
		}
	}
}

// TestNoCredits holds the account; the smallest scan tries whether there are
// some again.
func TestNoCredits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Credits: new(0), Latency: 200 * time.Millisecond})
		b := newBench(t, setup{transport: sb.RoundTripper(), workers: 4})
		const smallest = 37
		for n := range 50 {
			pad := strings.Repeat("x", 20+(n+50-smallest)%50)
			b.drop(fmt.Sprintf("%d.gif", n), scan(fmt.Sprintf("%02d%s", n, pad)), transcribe)
		}
		stop := b.run()
		defer stop()
		time.Sleep(50 * time.Second)
		synctest.Wait()
		wantAllRequests(t, sb, 1, 4+1) // what was on the wire together, and the smallest
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		b.wantHolds("credits")
		b.wantUntouched(50)
		wantAllRequests(t, sb, 1, 4+5)

		sb.SetCredits(new(1))
		b.until("one is done", func() bool { return b.counts()[queue.Done] == 1 })
		for _, j := range b.jobs() {
			if j.State == queue.Done && filepath.Base(j.Path) != fmt.Sprint(smallest, ".gif") {
				t.Errorf("the one credit went to %s", j.Path)
			}
		}
		sb.SetCredits(nil)
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 50 })
		b.wantHolds()
		for _, j := range b.jobs() {
			if j.Attempts > 0 {
				t.Errorf("%s used %d attempts", j.Path, j.Attempts)
			}
		}
		wantLeft(t, sb, 0)
	})
}

// TestFolderRefused holds the folder whose extractor does not exist, and no
// other.
func TestFolderRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		var refused atomic.Int32
		var known atomic.Bool
		b := newBench(t, setup{workers: 4, transport: service(func(op string, req *http.Request) (*http.Response, error) {
			if op != opUpload || known.Load() {
				return sb.RoundTripper().RoundTrip(req)
			}
			form, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			if bytes.Contains(form, []byte("invoices01")) {
				refused.Add(1)
				return reply{status: 422, body: `{"errors":{"extractor_id":["The selected extractor id is invalid."]}}`}.to(req, true)
			}
			req.Body = io.NopCloser(bytes.NewReader(form))
			return sb.RoundTripper().RoundTrip(req)
		})})
		form := queue.Options{Action: "extractor", ExtractorID: "invoices01", Formats: []string{"csv"}, DeleteRemote: true}
		for n := range 20 {
			b.drop(fmt.Sprintf("form%d.gif", n), scan(fmt.Sprint("form ", n)), form)
		}
		forms := b.dir
		b.dir = filepath.Join(t.TempDir(), "letters")
		for n := range 5 {
			b.drop(fmt.Sprintf("letter%d.gif", n), scan(fmt.Sprint("letter ", n)), transcribe)
		}
		b.dir = forms
		stop := b.run()
		defer stop()
		b.until("the other folder is done", func() bool { return b.counts()[queue.Done] == 5 })
		b.wantHolds("refused:DIR")
		if n := b.counts()[queue.Queued]; n != 20 {
			t.Errorf("%d forms wait", n)
		}
		if n := refused.Load(); n > 4 {
			t.Errorf("%d uploads were refused", n)
		}
		known.Store(true) // somebody makes the extractor
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 25 })
		b.wantHolds()
	})
}

// TestNoRoom checks the disk before anything is paid.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Work: func(sandbox.Document) time.Duration { return time.Minute }})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		b.disk.full.Store(true)
		first := b.drop("first.gif", scan("first"), transcribe)
		b.drop("second.gif", scan("second"), transcribe)
		stop := b.run()
		defer stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.wantHolds("room:DIR")
		b.wantUntouched(2)
		wantAllRequests(t, sb, 0, 0)

		b.disk.full.Store(false)
		b.until("the first is sent", func() bool { return b.job(first.ID).State == queue.Processing })

		// It fills up again while the service works: what is paid waits, for as
		// long as it takes, and is collected.
		b.disk.full.Store(true)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		j := b.wantState(first.ID, queue.Processing, 0)
		if j.HeldBy != queue.Room {
			t.Errorf("held by %q", j.HeldBy)
		}
		b.disk.full.Store(false)
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 2 })
		b.drop("third.gif", scan("third"), transcribe)
		b.until("the folder works again", func() bool { return b.counts()[queue.Done] == 3 })
		b.wantHolds()
		if stats := sb.Stats(); stats.Uploads != 3 {
			t.Errorf("%d uploads", stats.Uploads)
		}
	})
}

// TestNoRoomForTheQueue sends nothing while what would have to be recorded of it
// may find no room; what is paid for is collected.
func TestNoRoomForTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Work: func(sandbox.Document) time.Duration { return time.Minute }})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		paid := b.drop("paid.gif", scan("paid"), transcribe)
		stop := b.run()
		defer stop()
		b.until("the first is sent", func() bool { return b.job(paid.ID).State == queue.Processing })
		b.disk.state.Store(true)
		first := b.drop("first.gif", scan("first"), transcribe)
		second := b.drop("second.gif", scan("second"), transcribe)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		b.wantState(paid.ID, queue.Done, 0)
		b.wantState(first.ID, queue.Queued, 0)
		b.wantState(second.ID, queue.Queued, 0)
		b.wantHolds("disk")
		if n := strings.Count(b.log.String(), "job held"); n > 10 {
			t.Errorf("the log tells of it %d times in half an hour", n)
		}
		b.disk.state.Store(false)
		b.until("all is done", func() bool { return b.counts()[queue.Done] == 3 })
		b.wantHolds()
		if stats := sb.Stats(); stats.Uploads != 3 {
			t.Errorf("%d uploads", stats.Uploads)
		}
	})
}

// TestRootMissing is no deletion of the scans below it, whenever it is seen.
func TestRootMissing(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late %v", late), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				if late {
					b.Files = roomy{b.disk}
				}
				j := b.drop("letter.gif", scan("letter"), transcribe)
				away := b.dir + " away"
				if err := os.Rename(b.dir, away); err != nil {
					t.Fatal(err)
				}
				stop := b.run()
				defer stop()
				time.Sleep(time.Hour)
				synctest.Wait()
				b.wantHolds("missing:DIR")
				b.wantUntouched(1)
				wantAllRequests(t, sb, 0, 0)

				if err := os.Rename(away, b.dir); err != nil {
					t.Fatal(err)
				}
				if n, err := b.queue.Release("missing:" + b.dir); n != 1 || err != nil {
					t.Errorf("%d released, %v", n, err)
				}
				b.until("it is done", func() bool { return b.counts()[queue.Done] == 1 })
				b.wantWhole(b.job(j.ID))
			})
		})
	}
}

// A roomy disk has gone only when the scan is opened.
type roomy struct{ *disk }

func (roomy) Room(queue.Job) error { return nil }

// TestChanged changes a scan under our hands. It must be neither accepted nor
// billed, and goes back to the watcher.
func TestChanged(t *testing.T) {
	big := scan(strings.Repeat("0123456789abcdef", 32<<10))
	other := strings.Replace(big, "f", "F", -1)
	write := func(content string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(content), 0o600) }
	}
	for _, test := range []struct {
		name   string
		change func(path string) error
		unsent bool // it is seen before anything is sent
	}{
		{"deleted", os.Remove, true},
		{"longer", write(big + "more"), true},
		{"shorter", write(big[:len(big)-1]), true},
		{"empty", write(""), true},
		{"replaced", write(other), false},
	} {
		for _, when := range []string{"before", "while it is sent"} {
			if when != "before" && test.name == "deleted" {
				continue // what is open goes on being what it was
			}
			t.Run(test.name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sb := newSandbox(t, sandbox.Options{})
					var path string
					b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
						if op == opUpload && when != "before" {
							req.Body = &hooked{req.Body, 100 << 10, func() error { return test.change(path) }}
						}
						return sb.RoundTripper().RoundTrip(req)
					})})
					j := b.drop("letter.gif", big, transcribe)
					path = j.Path
					if when == "before" {
						if err := test.change(path); err != nil {
							t.Fatal(err)
						}
					}
					b.drain()
					if _, err := b.queue.Get(j.ID); !errors.Is(err, queue.ErrNoJob) {
						t.Errorf("the job is still there: %+v (%v)", b.counts(), err)
					}
					if seen, err := b.queue.Seen(path, j.Size, j.ModTime); seen || err != nil {
						t.Error("the watcher would not bring it again", err)
					}
					if stats := sb.Stats(); stats.Uploads != 0 || stats.Billed != 0 {
						t.Errorf("%d documents were made and %d pages billed", stats.Uploads, stats.Billed)
					}
					if when == "before" && test.unsent {
						wantAllRequests(t, sb, 0, 0)
					}
				})
			})
		}
	}
}

// A hooked body does something when so much of it has been read.
type hooked struct {
	io.ReadCloser
	after int
	hook  func() error
}

func (h *hooked) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p[:min(len(p), 4<<10)])
	if h.after -= n; h.after <= 0 && h.hook != nil {
		hook := h.hook
		h.hook = nil
		if err := hook(); err != nil {
			return n, err
		}
	}
	return n, err
}

// TestOriginalGone deletes the original while the service works. What is paid
// is written all the same, where the original was.
func TestOriginalGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Work: func(sandbox.Document) time.Duration { return time.Minute }})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		o := transcribe
		o.MoveDone = t.TempDir()
		j := b.drop("letter.gif", scan("letter"), o)
		b.step(queue.Upload)
		if err := os.Remove(j.Path); err != nil {
			t.Fatal(err)
		}
		b.drain()
		j = b.wantState(j.ID, queue.Done, 0)
		b.wantWhole(j)
		if j.Moved != "" {
			t.Errorf("moved to %s", j.Moved)
		}
		wantLeft(t, sb, 0)
	})
}

// TestOriginalReplaced puts another scan in the place of one that the service
// is working on, which then comes back before or after the new one.
func TestOriginalReplaced(t *testing.T) {
	for _, test := range []struct {
		name     string
		old, new time.Duration // what the service takes
		results  map[string]string
	}{
		{"the old one first", time.Minute, 10 * time.Minute, map[string]string{"letter.txt": "new"}},
		{"the new one first", 10 * time.Minute, time.Minute, map[string]string{"letter.txt": "new", "letter.gif.txt": "old"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				scans := map[string]string{"old": scan("old"), "new": scan("new one")}
				sb := newSandbox(t, sandbox.Options{Work: func(d sandbox.Document) time.Duration {
					if d.Size == int64(len(scans["old"])) {
						return test.old
					}
					return test.new
				}})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				old := b.drop("letter.gif", scans["old"], transcribe)
				b.step(queue.Upload)
				newer := b.drop("letter.gif", scans["new"], transcribe)
				b.drain()
				b.wantState(old.ID, queue.Done, 0)
				b.wantState(newer.ID, queue.Done, 0)
				b.wantNoOther(len(test.results))
				for name, which := range test.results {
					if !strings.Contains(b.read(name), reading(sha256.Sum256([]byte(scans[which])))) {
						t.Errorf("%s is not that of the %s scan: %q", name, which, b.read(name))
					}
				}
				wantLeft(t, sb, 0)
			})
		})
	}
}

// Results in a folder that is not mounted are not gone: who wants a copy waits.
func TestCopyFromMissing(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprintf("it comes back %v", back), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				b.drop("letter.gif", scan("letter"), transcribe)
				b.drain()
				missing, other := b.dir, filepath.Join(filepath.Dir(b.dir), "other")
				if err := errors.Join(os.Rename(missing, missing+" away"), os.Mkdir(other, 0o700)); err != nil {
					t.Fatal(err)
				}
				b.dir = other
				j := b.drop("copy.gif", scan("letter"), transcribe)
				stop := b.run()
				defer stop()
				b.until("it was tried", func() bool { return b.job(j.ID).Attempts > 1 })
				want := queue.Failed
				if back {
					want = queue.Done
					if err := os.Rename(missing+" away", missing); err != nil {
						t.Fatal(err)
					}
				}
				b.until("it is at its end", func() bool { return b.job(j.ID).State.Final() })
				b.wantState(j.ID, want, 0)
				wantRequests(t, sb, "upload", 1, 1)
			})
		})
	}
}

// TestCopy drops the same scan under another name. Nothing is paid, whatever
// becomes of it.
func TestCopy(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(b *bench) // the copy is dropped
		path   string
		want   queue.State
		files  map[string]bool // whether they are there, with the text
	}{
		{"the results are there", func(*bench) {}, "copy.gif", queue.Done,
			map[string]bool{"letter.txt": true, "copy.txt": true}},
		{"in another folder", func(*bench) {}, "sub/letter.gif", queue.Done,
			map[string]bool{"letter.txt": true, "sub/letter.txt": true}},
		{"edited", func(b *bench) { b.write("letter.txt", "edited") }, "copy.gif", queue.Rejected,
			map[string]bool{"letter.txt": false, "copy.txt": false}},
		{"deleted", func(b *bench) { os.Remove(filepath.Join(b.dir, "letter.txt")) }, "copy.gif", queue.Rejected,
			map[string]bool{"copy.txt": false}},
		{"a stranger's file has the name", func(b *bench) { b.write("copy.txt", "a stranger's") }, "copy.gif", queue.Done,
			map[string]bool{"copy.txt": false, "copy.gif.txt": true}},
		{"moved along", func(b *bench) {
			b.write("sub/letter.txt", b.read("letter.txt"))
			os.Remove(filepath.Join(b.dir, "letter.txt"))
			os.Remove(filepath.Join(b.dir, "letter.gif"))
		}, "sub/letter.gif", queue.Done,
			map[string]bool{"sub/letter.txt": true, "sub/letter.gif.txt": false, "letter.txt": false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				b.drop("letter.gif", scan("letter"), transcribe)
				b.drain()
				test.before(b)
				j := b.drop(test.path, scan("letter"), transcribe)
				b.drain()
				b.wantState(j.ID, test.want, 0)
				for name, want := range test.files {
					if got := strings.Contains(b.read(name), reading(j.Content)); got != want {
						t.Errorf("%s has the text: %v; %q", name, got, b.read(name))
					}
				}
				wantRequests(t, sb, "upload", 1, 1)
				if test.want == queue.Rejected {
					if _, err := b.queue.Retry(j.ID, true); err != nil {
						t.Fatal(err)
					}
					b.drain()
					b.wantState(j.ID, queue.Done, 0)
					wantRequests(t, sb, "upload", 2, 2)
				}
				wantLeft(t, sb, 0)
			})
		})
	}
}

// A copy that is dropped while the first is on its way waits for it.
func TestCopyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Work: func(sandbox.Document) time.Duration { return time.Minute }})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		for n := range 5 {
			b.drop(fmt.Sprintf("%d.gif", n), scan("the same"), transcribe)
		}
		b.drain()
		for _, j := range b.jobs() {
			b.wantWhole(b.wantState(j.ID, queue.Done, 0))
		}
		b.wantNoOther(5)
		wantRequests(t, sb, "upload", 1, 1)
		wantLeft(t, sb, 0)
	})
}

// TestStop stops in two strokes: nothing more is claimed, and what goes on
// after the grace is broken off, unpunished.
func TestStop(t *testing.T) {
	for _, test := range []struct {
		name   string
		slow   func(req *http.Request) (*http.Response, error) // nil: it reaches the sandbox
		script string
		took   time.Duration
		want   queue.State
		made   int
	}{
		{"finished within the grace", nil, "upload: slow 5s", 5 * time.Second, queue.Processing, 1},
		{"broken off when it was sent", nil, "upload: slow 1m", 11 * time.Second, queue.Doubtful, 1},
		{"broken off before it was sent", func(req *http.Request) (*http.Response, error) {
			return reply{silent: true}.to(req, false)
		}, "", 11 * time.Second, queue.Queued, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{Trouble: script(t, test.script)})
				transport := sb.RoundTripper()
				if test.slow != nil {
					transport = service(func(_ string, req *http.Request) (*http.Response, error) { return test.slow(req) })
				}
				b := newBench(t, setup{transport: transport, workers: 1, grace: 10 * time.Second})
				first := b.drop("first.gif", scan("first"), transcribe)
				second := b.drop("second.gif", scan("second"), transcribe)
				began := time.Now()
				stop := b.run()
				time.Sleep(time.Second)
				stop()
				if took := time.Since(began); took != test.took {
					t.Errorf("it stopped after %v, want %v", took, test.took)
				}
				b.wantState(first.ID, test.want, 0)
				b.wantState(second.ID, queue.Queued, 0)

				b.reopen(setup{})
				sb.SetTrouble(sandbox.Script{})
				b.API = newClient(t, sb.RoundTripper())
				b.drain()
				b.wantWhole(b.wantState(first.ID, queue.Done, 0))
				b.wantWhole(b.wantState(second.ID, queue.Done, 0))
				if stats := sb.Stats(); stats.Uploads != 2 {
					t.Errorf("%d documents were made of 2 scans", stats.Uploads)
				}
				wantLeft(t, sb, 0)
			})
		})
	}
}

// TestKill ends the process again and again, each time at another moment, so
// that nothing of what goes on is reported any more.
func TestKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{
			Latency: 300 * time.Millisecond,
			Trouble: script(t, "upload every 7: lost\ndownload every 5: cut 30\ndelete every 6: lost"),
		})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		for n := range 20 {
			b.drop(fmt.Sprintf("%d.gif", n), scan(fmt.Sprint(n)), transcribe)
		}
		kills := 0
		for ; b.counts()[queue.Done] < 20 && kills < 100; kills++ {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- b.Run(ctx) }()
			time.Sleep(time.Duration(400+kills*137%900) * time.Millisecond)
			if err := b.queue.Close(); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, queue.ErrClosed) {
				t.Errorf("Run: %v", err)
			}
			b.open(setup{workers: 4, grace: time.Nanosecond})
		}
		b.drain()
		for _, j := range b.jobs() {
			b.wantWhole(b.wantState(j.ID, queue.Done, 0))
		}
		b.wantNoOther(20)
		if stats := sb.Stats(); stats.Uploads != 20 || kills < 10 {
			t.Errorf("%d documents were made of 20 scans, with %d kills", stats.Uploads, kills)
		}
		wantLeft(t, sb, 0)
	})
}

// Run says so if it cannot go on.
func TestQueueUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, setup{workers: 4})
		if err := b.queue.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); !errors.Is(err, queue.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestCancel cancels by hand what is on its way; nothing stays behind.
func TestCancel(t *testing.T) {
	for _, trouble := range []string{"slow 5s", "lost", "429 retry-after 5"} {
		t.Run(trouble, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{
					Trouble: script(t, "upload: "+trouble),
					Work:    func(sandbox.Document) time.Duration { return time.Hour },
				})
				b := newBench(t, setup{transport: sb.RoundTripper()})
				j := b.drop("letter.gif", scan("letter"), transcribe)
				stop := b.run()
				defer stop()
				time.Sleep(500 * time.Millisecond)
				if _, err := b.queue.Cancel(j.ID); err != nil {
					t.Fatal(err)
				}
				if err := b.queue.Drained(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.wantState(j.ID, queue.Cancelled, 0)
				wantLeft(t, sb, 0)
				b.wantNoOther(0)
			})
		})
	}
}

// No token, and no text of a scan, reaches the log.
func TestDiscreet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		echo := `{"message":"Bearer good|token is not what I expected"}`
		b := newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
			return reply{status: 503, body: echo}.to(req, false)
		})})
		j := b.drop("letter.gif", scan("a secret"), transcribe)
		b.drain()
		b.wantState(j.ID, queue.Failed, 0)
		for _, secret := range []string{"good|token", "a secret"} {
			if strings.Contains(b.log.String(), secret) || strings.Contains(b.job(j.ID).Error, secret) {
				t.Errorf("%q is told", secret)
			}
		}
		if n := strings.Count(b.log.String(), "job failed"); n != 1 {
			t.Errorf("the log tells %d times that it failed", n)
		}
	})
}

// newSandbox is the service. What a scan says to it is its digest.
func newSandbox(t *testing.T, o sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	o.Engine = reader{}
	if o.Work == nil {
		o.Work = func(sandbox.Document) time.Duration { return 3 * time.Second }
	}
	sb := sandbox.New(o)
	t.Cleanup(func() { sb.Close() })
	return sb
}

func newClient(t *testing.T, transport http.RoundTripper) *hwocr.Client {
	t.Helper()
	c, err := hwocr.New(hwocr.Config{
		URL: "https://sandbox.invalid/api/v2", Token: func() (string, error) { return "good|token", nil }, Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type reader struct{}

func (reader) Read(_ context.Context, s sandbox.Scan) (sandbox.Reading, error) {
	return sandbox.Reading{Pages: []string{"scan " + s.Digest}}, nil
}

// reading is what the sandbox reads in a scan of that content.
func reading(content queue.Digest) string { return "scan " + content.String() }

func script(t *testing.T, text string) sandbox.Script {
	t.Helper()
	s, err := sandbox.ParseScript(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantLeft counts what the service still has.
func wantLeft(t *testing.T, sb *sandbox.Sandbox, n int) {
	t.Helper()
	if left := sb.Documents(); len(left) != n {
		t.Errorf("the service still has %d documents, want %d: %v", len(left), n, left)
	}
}

func wantRequests(t *testing.T, sb *sandbox.Sandbox, op string, least, most int) {
	t.Helper()
	n := 0
	requests := sb.Stats().Requests
	for call, times := range requests {
		if call.Op == op || op == "" {
			n += times
		}
	}
	if n < least || n > most {
		t.Errorf("%d requests, want %d to %d: %v", n, least, most, requests)
	}
}

func wantAllRequests(t *testing.T, sb *sandbox.Sandbox, least, most int) {
	t.Helper()
	wantRequests(t, sb, "", least, most)
}

// Clearing up after a failed job that meets trouble must not hide why it failed.
func TestReasonKept(t *testing.T) {
	for _, trouble := range []string{"503", "401"} {
		synctest.Test(t, func(t *testing.T) {
			sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload: fail \"the page is blank\"\ndelete 1: "+trouble)})
			b := newBench(t, setup{transport: sb.RoundTripper()})
			j := b.drop("letter.gif", scan("letter"), transcribe)
			stop := b.run()
			defer stop()
			b.until("it is cleared up", func() bool {
				j = b.job(j.ID)
				return j.State == queue.Failed && len(j.Trash) == 0
			})
			if !strings.Contains(j.Error, "the page is blank") {
				t.Errorf("after a delete that met %s its error is %q", trouble, j.Error)
			}
		})
	}
}

// A disk that filled up while results were written, and has room again, must
// not be held for ever because no other scan waits.
func TestRoomReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		b.disk.full.Store(true)
		b.step(queue.Collect)
		b.wantHolds("room:DIR")
		b.disk.full.Store(false)
		stop := b.run()
		defer stop()
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
		time.Sleep(2 * time.Hour)
		b.wantHolds()
	})
}

// A folder whose extractor was mistyped, and mended, must let all its scans
// go, also the one on which the mistake was noticed.
func TestConfigureAfterRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Extractors: []string{"invoices01"}})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		form := queue.Options{Action: "extractor", ExtractorID: "invioces01", Formats: []string{"csv"}, DeleteRemote: true}
		b.drop("form.gif", scan("form"), form)
		b.step(queue.Upload)
		b.wantHolds("refused:DIR")
		form.ExtractorID = "invoices01"
		b.reopen(setup{})
		if err := b.queue.Configure(b.dir, form, nil); err != nil {
			t.Fatal(err)
		}
		b.drop("form.gif", scan("form"), form) // the watcher finds it again
		stop := b.run()
		time.Sleep(time.Hour)
		stop()
		if n := b.counts()[queue.Done]; n != 1 {
			t.Errorf("an hour later: %v, held %v", b.counts(), b.holds())
		}
	})
}

// A scan that was sent, not found, and is then gone may have been paid for all
// the same: when it comes back a person decides, and the late upload expires.
func TestForgottenDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: lost\nlist 1-2: lag 1h")})
		b := newBench(t, setup{transport: sb.RoundTripper(), doubt: 2 * time.Second})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		b.step(queue.LookUp)
		b.step(queue.LookUp) // not found: it is to be sent again
		if err := os.Remove(j.Path); err != nil {
			t.Fatal(err)
		}
		b.drain()
		b.drop("letter.gif", scan("letter"), transcribe) // it comes back
		b.drain()
		if n := sb.Stats().Uploads; n != 1 {
			t.Errorf("%d uploads, want 1", n)
		}
		if n := b.counts()[queue.Rejected]; n != 1 {
			t.Errorf("%v, want one rejected for a person to decide", b.counts())
		}
		time.Sleep(8 * 24 * time.Hour)
		wantLeft(t, sb, 0)
	})
}

// A text that somebody has open over the weekend is written when it is closed: the scan
// does not fail, and nothing is paid again.
func TestResultInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("a letter"), transcribe)
		b.disk.inUse.Store(true)
		stop := b.run()
		time.Sleep(60 * time.Hour)
		if got := b.job(j.ID); got.State != queue.Processing || !strings.Contains(got.Error, "open") {
			t.Errorf("meanwhile it is %s: %s", got.State, got.Error)
		}
		b.disk.inUse.Store(false)
		b.until("it is done", func() bool { return b.job(j.ID).State == queue.Done })
		stop()
		b.wantWhole(b.job(j.ID))
		if stats := sb.Stats(); stats.Uploads != 1 {
			t.Errorf("%d documents were made", stats.Uploads)
		}
	})
}
