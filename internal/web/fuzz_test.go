package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"scandrop/internal/control"
	"scandrop/queue"
)

// A dropped is what was put into a folder.
type dropped struct{ folder, name, content string }

// memoryFiles keeps what is dropped in memory.
type memoryFiles struct {
	dirFiles
	all *[]dropped
}

func (f memoryFiles) Drop(folder, name string, scan io.Reader) (string, error) {
	if name != filepath.Base(name) {
		return "", &NameError{name}
	}
	content, err := io.ReadAll(scan)
	if err != nil {
		return "", err
	}
	*f.all = append(*f.all, dropped{folder, name, string(content)})
	return folder + "/" + name, nil
}

// Whatever is posted: without the token nothing comes of it, and no session. With it, the
// answer is one that the API describes, and no trouble of ours; only scans that are not
// too large come into hot folders, whole; and only the job that was named changes.
func FuzzPost(f *testing.F) {
	const (
		hot     = "/hot"
		form    = "application/x-www-form-urlencoded"
		parts   = "multipart/form-data; boundary=x"
		file    = "--x\r\nContent-Disposition: form-data; name=\"folder\"\r\n\r\n/hot\r\n--x\r\nContent-Disposition: form-data; name=\"scans\"; filename=\"a.pdf\"\r\n\r\n"
		maxScan = 1000
	)
	var all []dropped
	s := newSite(f, func(c *Config) {
		about := c.About
		c.MaxScan, c.Files = maxScan, memoryFiles{all: &all}
		c.About = func() control.Status {
			st := about()
			st.Folders[0].Path = hot
			return st
		}
	})
	var routes []route
	for _, r := range s.table() {
		if strings.HasPrefix(r.pattern, "POST ") {
			routes = append(routes, r)
		}
	}
	at := func(pattern string) uint8 {
		return uint8(slices.IndexFunc(routes, func(r route) bool { return r.pattern == "POST "+pattern }))
	}
	for _, seed := range []struct {
		pattern, id, action, query, kind, body string
	}{
		{"/login", "", "", "", form, "password="},
		{"/logout", "", "", "", "", ""},
		{"/drop", "", "", "", parts, file + "%PDF\r\n--x--\r\n"},
		{"/drop", "", "", "", parts, file + "%PDF"},
		{"/drop", "", "", "", parts, file + strings.Repeat("x", maxScan+1) + "\r\n--x--\r\n"},
		{"/drop", "", "", "", "multipart/form-data", ""},
		{"/release", "", "", "", form, "hold=all"},
		{"/jobs/{id}/{action}", "1", "forget", "", form, "pay_again=true"},
		{"/api/v1/jobs/{id}/{action}", "1", "cancel", "", "", ""},
		{"/api/v1/jobs/{id}/{action}", "1", "retry", "pay_again=1", "", ""},
		{"/api/v1/jobs/{id}/{action}", "1", "retry", "pay_again=perhaps", "", ""},
		{"/api/v1/jobs/{id}/{action}", "18446744073709551616", "eat", "", "", ""},
		{"/api/v1/jobs/{id}/{action}", "..", "a/b", "", "", ""},
		{"/api/v1/release", "", "", "", form, "hold=%zz;&hold=token"},
		{"/api/v1/release", "", "", "hold=all", parts, file},
		{"/api/v1/scans", "", "", "folder=/hot&name=a.pdf", "", "%PDF"},
		{"/api/v1/scans", "", "", "folder=/hot&name=..%2fa.pdf", "", "%PDF"},
		{"/api/v1/scans", "", "", "folder=/hot&name=a.PDF", "", strings.Repeat("x", maxScan+1)},
		{"/api/v1/scans", "", "", "folder=/&name=\xff\x00.tif", "", ""},
		{"/api/v1/links", "", "", "", "", "{}"},
	} {
		f.Add(at(seed.pattern), seed.id, seed.action, seed.query, seed.kind, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, n uint8, id, action, query, kind string, body []byte) {
		r := routes[int(n)%len(routes)]
		j := waiting(t, s)
		if id == "1" {
			id = strconv.FormatUint(j.ID, 10)
		}
		path := strings.NewReplacer("{id}", id, "{action}", action).Replace(strings.TrimPrefix(r.pattern, "POST "))
		post := func(header http.Header) *httptest.ResponseRecorder {
			all = nil
			header.Set("Content-Type", kind)
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, &http.Request{
				Method: "POST", URL: &url.URL{Path: path, RawQuery: query}, Host: s.host, Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
				Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			})
			return w
		}

		w := post(http.Header{})
		if w.Code < 300 || w.Code >= 500 || w.Header().Get("Set-Cookie") != "" || all != nil || !reflect.DeepEqual(jobOf(s, j.ID), j) {
			t.Fatalf("without the token: %d %v, %+v in the folder, the job is %+v", w.Code, w.Header(), all, jobOf(s, j.ID))
		}

		w = post(http.Header{"Authorization": {"Bearer " + token}})
		if w.Code >= 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, d := range all {
			if d.folder != hot || len(d.content) > maxScan || !slices.Contains(accepted, strings.ToLower(filepath.Ext(d.name))) {
				t.Errorf("dropped %q as %q in %q", d.content, d.name, d.folder)
			}
		}
		switch strings.TrimPrefix(r.pattern, "POST ") {
		case "/drop": // of a form that is cut off, those before
		case "/api/v1/scans":
			var made control.Dropped
			if (w.Code == http.StatusCreated) != (all != nil) || all != nil && (json.Unmarshal(w.Body.Bytes(), &made) != nil || all[0].content != string(body)) {
				t.Errorf("%d %s; in the folder is %q", w.Code, w.Body, all)
			}
		default:
			if all != nil {
				t.Errorf("%q was dropped", all)
			}
		}
		if now := jobOf(s, j.ID); !reflect.DeepEqual(now, j) && (!strings.HasSuffix(path, "/"+strconv.FormatUint(j.ID, 10)+"/"+action) || !slices.Contains([]string{"retry", "cancel", "forget"}, action)) {
			t.Errorf("the job was %+v and is %+v", j, now)
		}
		if strings.HasPrefix(path, "/api/") && w.Code != http.StatusTemporaryRedirect { // to a path without dots
			var p control.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code >= 400 && (p.Code == "" || p.Message == "") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
}

// waiting is a job that waits in the queue.
func waiting(t *testing.T, s *site) queue.Job {
	t.Helper()
	page, err := s.queue.List(queue.Filter{States: []queue.State{queue.Queued}, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Jobs) > 0 {
		return page.Jobs[0]
	}
	added, err := s.queue.Add(queue.Scan{Folder: "/hot", Path: "/hot/b.pdf", Size: 1, Content: [32]byte{1}, Ext: ".pdf",
		Options: queue.Options{Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: true}})
	if err != nil {
		t.Fatal(err)
	}
	return added[0].Job
}

// jobOf is the job as it is now; the zero Job if it is gone.
func jobOf(s *site, id uint64) queue.Job {
	j, _ := s.queue.Get(id)
	return j
}
