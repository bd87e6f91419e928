package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scandrop/internal/control"
	"scandrop/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "the-token-of-the-state-folder"

// A site is a server over a queue, on a loopback port.
type site struct {
	testing.TB
	*Server
	dir   string // the hot folder
	queue *queue.Queue
}

type dirFiles struct{ dir string }

func (f dirFiles) Scan(j queue.Job) (io.ReadSeekCloser, error) { return f.open(j.Original()) }
func (f dirFiles) Result(_ queue.Job, path string) (io.ReadSeekCloser, error) {
	return f.open(path)
}
func (f dirFiles) open(path string) (io.ReadSeekCloser, error) {
	rel, err := filepath.Rel(f.dir, path)
	if err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return os.Open(path)
}
func (f dirFiles) Drop(_, name string, scan io.Reader) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return "", &NameError{name}
	}
	data, err := io.ReadAll(scan)
	if err != nil {
		return "", err
	}
	path := filepath.Join(f.dir, name)
	return path, os.WriteFile(path, data, 0o600)
}

func newSite(t testing.TB, change ...func(*Config)) *site {
	t.Helper()
	dir := t.TempDir()
	q, err := queue.Open(queue.Config{Path: filepath.Join(t.TempDir(), "queue.db"), Installation: queue.Installation{Name: "TEST", Key: make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	s := &site{TB: t, dir: dir, queue: q}
	c := Config{
		Queue: q, Files: dirFiles{dir}, Token: token, MaxScan: 20 << 20,
		About: func() control.Status {
			return control.Status{Version: "test", Folders: []control.Folder{{Path: dir, Action: "transcribe", Formats: []string{"txt"}}}}
		},
	}
	for _, f := range change {
		f(&c)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Server = New(c, l.Addr())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// add puts a scan into the folder and the queue.
func (s *site) add(name, content string) queue.Job {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	added, err := s.queue.Add(queue.Scan{
		Folder: s.dir, Path: path, Size: int64(len(content)), ModTime: time.Now(), Content: sha256.Sum256([]byte(content)),
		Ext: filepath.Ext(name), Options: queue.Options{Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: true},
	})
	if err != nil {
		s.Fatal(err)
	}
	return added[0].Job
}

// client has connections of its own, and keeps cookies.
func (s *site) client() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	transport := &http.Transport{}
	s.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// api is a client of the JSON API.
func (s *site) api() *control.Client {
	c := control.New(s.URL(), token)
	s.Cleanup(c.Close)
	return c
}

// ask makes a request; change may be nil.
func (s *site) ask(c *http.Client, method, path string, change func(*http.Request)) (status int, body string, header http.Header) {
	s.Helper()
	req, err := http.NewRequest(method, s.URL()+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

func bearer(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }

func TestWhoMay(t *testing.T) {
	s := newSite(t)
	j := s.add("zebra.pdf", "x")
	c := s.client()
	for _, r := range s.table() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.NewReplacer("{id}", fmt.Sprint(j.ID), "{action}", "cancel", "{$}", "", "{page}", "1", "{format}", "txt", "{name}", "style.css").Replace(path)
		for name, change := range map[string]func(*http.Request){
			"nothing":         nil,
			"a wrong token":   func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[1:]) },
			"an empty token":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
			"another scheme":  func(r *http.Request) { r.SetBasicAuth("scandrop", token) },
			"a wrong session": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: s.cookie(), Value: token}) },
		} {
			status, body, _ := s.ask(c, method, path, change)
			if open := status != http.StatusUnauthorized; open != (r.who == anybody) && !strings.Contains(r.pattern, "/login") {
				t.Errorf("%s with %s: %d", r.pattern, name, status)
			}
			if strings.Contains(body, "zebra") || strings.Contains(body, s.dir) && r.pattern != "GET /metrics" {
				t.Errorf("%s with %s names a file: %s", r.pattern, name, body)
			}
		}
	}
	if got, err := s.queue.Get(j.ID); err != nil || got.State != queue.Queued || got.Cancel {
		t.Errorf("the job is %+v, %v", got, err)
	}
}

func TestLinkOpensOnce(t *testing.T) {
	s := newSite(t)
	l, err := s.api().Link(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(l.URL, s.URL())
	mine, another := s.client(), s.client()
	if status, body, _ := s.ask(mine, "GET", path, nil); status == http.StatusUnauthorized {
		t.Fatalf("%d %s", status, body)
	}
	if status, _, _ := s.ask(mine, "GET", "/api/v1/status", nil); status != http.StatusOK {
		t.Errorf("in the session: %d", status)
	}
	if status, _, _ := s.ask(another, "GET", path, nil); status != http.StatusUnauthorized {
		t.Errorf("the link once more: %d", status)
	}
	if status, _, _ := s.ask(another, "GET", "/api/v1/status", nil); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
}

func TestWhichHost(t *testing.T) {
	s := newSite(t)
	_, port, _ := net.SplitHostPort(s.host)
	for host, want := range map[string]int{
		s.host: 200, "127.0.0.1": 200, "localhost:" + port: 200, "LOCALHOST": 200, "[::1]:" + port: 200, "127.8.0.1": 200,
		"evil.example": 421, "evil.example:" + port: 421, "127.0.0.1.evil.example": 421, "10.0.0.1:" + port: 421, "localhost.evil.example": 421,
	} {
		for _, path := range []string{"/api/v1/status", "/healthz"} {
			status, _, _ := s.ask(s.client(), "GET", path, func(r *http.Request) { bearer(r); r.Host = host })
			if status != want {
				t.Errorf("%s for %s: %d", path, host, status)
			}
		}
	}
}

func TestWhichOrigin(t *testing.T) {
	s := newSite(t)
	j := s.add("letter.pdf", "x")
	path := fmt.Sprintf("/api/v1/jobs/%d/cancel", j.ID)
	for name, set := range map[string]func(http.Header){
		"of another site": func(h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") },
		"of another port": func(h http.Header) { h.Set("Sec-Fetch-Site", "same-site") },
		"by its Origin":   func(h http.Header) { h.Set("Origin", "http://evil.example") },
		"of a sandbox":    func(h http.Header) { h.Set("Origin", "null") },
	} {
		status, _, _ := s.ask(s.client(), "POST", path, func(r *http.Request) { bearer(r); set(r.Header) })
		if status != http.StatusForbidden {
			t.Errorf("a page %s: %d", name, status)
		}
	}
	if got, _ := s.queue.Get(j.ID); got.State != queue.Queued {
		t.Errorf("the job is %s", got.State)
	}
	if status, _, _ := s.ask(s.client(), "POST", path, func(r *http.Request) { bearer(r); r.Header.Set("Sec-Fetch-Site", "same-origin") }); status != 200 {
		t.Errorf("the page itself: %d", status)
	}
}

func TestJobs(t *testing.T) {
	s := newSite(t)
	api := s.api()
	var ids []uint64
	for i := range 7 {
		ids = append(ids, s.add(fmt.Sprintf("Letter %d.pdf", i), fmt.Sprint(i)).ID)
	}
	if j, err := api.Cancel(t.Context(), ids[0]); err != nil || j.State != queue.Cancelled {
		t.Errorf("%+v, %v", j, err)
	}
	list := func(f control.Filter) (found []uint64) {
		t.Helper()
		for j, err := range api.All(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, j.ID)
		}
		slices.Sort(found)
		return found
	}
	for name, c := range map[string]struct {
		filter control.Filter
		want   []uint64
	}{
		"all":            {control.Filter{}, ids},
		"page by page":   {control.Filter{Limit: 2}, ids},
		"a state":        {control.Filter{States: []queue.State{queue.Cancelled}}, ids[:1]},
		"two states":     {control.Filter{States: []queue.State{queue.Cancelled, queue.Queued}}, ids},
		"another folder": {control.Filter{Folder: s.dir + "2"}, nil},
		"a word":         {control.Filter{Text: "lETTer 3"}, ids[3:4]},
		"paged words":    {control.Filter{Text: "letter", Limit: 3}, ids},
		"nothing":        {control.Filter{Text: "%"}, nil},
	} {
		if got := list(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	j, err := api.ByPath(t.Context(), filepath.Join(s.dir, "Letter 2.pdf"))
	if err != nil || j.ID != ids[2] || len(j.Story) == 0 || j.Next != "is sent" || !slices.Contains(j.Can, control.Cancel) {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := api.Job(t.Context(), 99); !errors.Is(err, queue.ErrNoJob) {
		t.Errorf("no such job: %v", err)
	}
	if _, err := api.Forget(t.Context(), ids[1]); !control.IsRefused(err) {
		t.Errorf("forget of one that waits: %v", err)
	}
	if _, err := api.Forget(t.Context(), ids[0]); err != nil {
		t.Error(err)
	}
	if j, err := api.Retry(t.Context(), ids[1], false); err != nil || j.State != queue.Queued {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestHoldsAndReadiness(t *testing.T) {
	s := newSite(t)
	s.add("a.pdf", "a")
	api, c := s.api(), s.client()
	if status, body, _ := s.ask(c, "GET", "/readyz", nil); status != 200 || body != "ready\n" {
		t.Errorf("%d %q", status, body)
	}
	hold := queue.Hold{Cause: queue.Missing, Folder: s.dir, Reason: "it is gone"}
	if err := s.queue.Hold(hold); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := s.ask(c, "GET", "/readyz", nil); status != 503 || body != "not ready\n" {
		t.Errorf("%d %q", status, body)
	}
	if _, body, _ := s.ask(c, "GET", "/readyz", bearer); !strings.Contains(body, "it is gone") {
		t.Errorf("%q", body)
	}
	st, err := api.Status(t.Context())
	if err != nil || st.Ready || len(st.Holds) != 1 || st.Holds[0].Name != hold.Key() || !slices.Equal(st.Folders[0].Held, []string{hold.Key()}) ||
		st.Jobs[queue.Queued] != 1 || st.Folders[0].Jobs[queue.Queued] != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	if page, err := api.List(t.Context(), control.Filter{}); err != nil || !strings.Contains(page.Jobs[0].Next, hold.Key()) {
		t.Errorf("%+v, %v", page, err)
	}
	if n, err := api.Release(t.Context(), "nothing"); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := api.Release(t.Context(), hold.Key()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestBadRequests(t *testing.T) {
	s := newSite(t)
	c := s.client()
	for path, want := range map[string]int{
		"/api/v1/jobs?state=no": 400, "/api/v1/jobs?limit=0": 400, "/api/v1/jobs?limit=1001": 400, "/api/v1/jobs?after=-1": 400,
		"/api/v1/jobs/x": 400, "/api/v1/job": 400, "/api/v1/job?path=/etc/passwd": 404, "/api/v1/jobs/1": 404, "/nothing": 404,
		"/api/v1/jobs?state=queued,done&state=failed": 200,
	} {
		if status, body, h := s.ask(c, "GET", path, bearer); status != want || status != 200 && !strings.Contains(body, `"code"`) || h.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if _, body, _ := s.ask(c, "GET", "/api/status", bearer); !strings.Contains(body, "/api/v1/openapi.json") {
		t.Errorf("a program is not told where it says what there is: %s", body)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
