package hwocr

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// allocates returns how many bytes f asks for, which bounds what it holds.
func allocates(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func wantMemory(t *testing.T, most uint64, f func()) {
	t.Helper()
	if n := allocates(f); n > most {
		t.Errorf("%d MB of memory were asked for, want at most %d", n>>20, most>>20)
	}
}

// A zipFile builds what no packer makes.
type zipFile struct {
	bytes.Buffer
	directory bytes.Buffer
	entries   int
}

// body writes the head of an entry and its compressed bytes, and returns where.
func (z *zipFile) body(name string, method uint16, packed []byte) (at int) {
	at = z.Len()
	head := binary.LittleEndian.AppendUint32(nil, 0x04034b50)
	head = append(head, make([]byte, 26)...)
	binary.LittleEndian.PutUint16(head[8:], method)
	binary.LittleEndian.PutUint16(head[26:], uint16(len(name)))
	z.Write(head)
	z.WriteString(name)
	z.Write(packed)
	return at
}

// entry adds an entry to the directory that claims a body.
func (z *zipFile) entry(name string, method uint16, at int, packed, unpacked uint32) {
	head := binary.LittleEndian.AppendUint32(nil, 0x02014b50)
	head = append(head, make([]byte, 42)...)
	binary.LittleEndian.PutUint16(head[10:], method)
	binary.LittleEndian.PutUint32(head[20:], packed)
	binary.LittleEndian.PutUint32(head[24:], unpacked)
	binary.LittleEndian.PutUint16(head[28:], uint16(len(name)))
	binary.LittleEndian.PutUint32(head[42:], uint32(at))
	z.directory.Write(head)
	z.directory.WriteString(name)
	z.entries++
}

func (z *zipFile) end() []byte {
	at := z.Len()
	z.Write(z.directory.Bytes())
	tail := binary.LittleEndian.AppendUint32(nil, 0x06054b50)
	tail = append(tail, make([]byte, 18)...)
	binary.LittleEndian.PutUint16(tail[8:], uint16(z.entries))
	binary.LittleEndian.PutUint16(tail[10:], uint16(z.entries))
	binary.LittleEndian.PutUint32(tail[12:], uint32(z.directory.Len()))
	binary.LittleEndian.PutUint32(tail[16:], uint32(at))
	z.Write(tail)
	return z.Bytes()
}

// counted counts what is read of it.
type counted struct {
	io.ReaderAt
	read int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

// Documents that are made to be looked at for ever, or to fill the memory.
func TestHostileZip(t *testing.T) {
	pack := func(write func(io.Writer)) []byte {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestCompression)
		write(w)
		w.Close()
		return b.Bytes()
	}
	tests := map[string]struct {
		file func() []byte
		want string
	}{
		"entries without number": {func() []byte {
			var z zipFile
			at := z.body("a", zip.Store, nil)
			for range 200_000 {
				z.entry("a", zip.Store, at, 0, 0)
			}
			return z.end()
		}, "more entries"},
		"entries that are all the same bytes and unpack to none": {func() []byte {
			var z zipFile
			nothing := append(bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 200_000), 1, 0, 0, 0xff, 0xff) // stored blocks without bytes
			at := z.body("a", zip.Deflate, nothing)
			for range 500 {
				z.entry("a", zip.Deflate, at, uint32(len(nothing)), 0)
			}
			return z.end()
		}, "more entries"},
		"entries that are all the same bytes": {func() []byte {
			var z zipFile
			zeros := pack(func(w io.Writer) { _, _ = io.CopyN(w, zeros{}, 8<<20) })
			at := z.body("a", zip.Deflate, zeros)
			for range 1000 {
				z.entry("a", zip.Deflate, at, uint32(len(zeros)), 8<<20)
			}
			return z.end()
		}, "more than 1048576 bytes"},
		"more than it says": {func() []byte {
			var z zipFile
			zeros := pack(func(w io.Writer) { _, _ = io.CopyN(w, zeros{}, 1<<20) })
			z.entry("a", zip.Deflate, z.body("a", zip.Deflate, zeros), uint32(len(zeros)), 10)
			return z.end()
		}, "damaged"},
		"less than it says": {func() []byte {
			var z zipFile
			z.entry("a", zip.Store, z.body("a", zip.Store, []byte("text")), 4, 0xfffffff0)
			return z.end()
		}, "damaged"},
		"a body outside": {func() []byte {
			var z zipFile
			z.entry("a", zip.Store, 1<<30, 4, 4)
			return z.end()
		}, "damaged"},
		"a packing nobody knows": {func() []byte {
			var z zipFile
			z.entry("a", 99, z.body("a", 99, []byte("text")), 4, 4)
			return z.end()
		}, "damaged"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := tt.file()
			r := &counted{ReaderAt: bytes.NewReader(file)}
			wantMemory(t, 64<<20, func() {
				err := checkZip(t.Context(), r, int64(len(file)), 1<<20)
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			})
			if most := 2*int64(len(file)) + 2*maxDirectory; r.read > most {
				t.Errorf("%d bytes of %d were read", r.read, len(file))
			}
		})
	}

	// What a ZIP holds is unpacked to nowhere, once: neither names nor further
	// ZIPs in it matter.
	var z zipFile
	inner := []byte(zipped(t, zip.Deflate, "b", strings.Repeat("\x00", 1<<20)))
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", `C:\x`, "a\x00b", "b.zip"} {
		z.entry(name, zip.Store, z.body(name, zip.Store, inner), uint32(len(inner)), uint32(len(inner)))
	}
	file := z.end()
	if err := checkZip(t.Context(), bytes.NewReader(file), int64(len(file)), 1<<20); err != nil {
		t.Error(err)
	}
}

// The work on a document ends with the context, in the middle of an entry too.
func TestHostileZipStopped(t *testing.T) {
	file := zipped(t, zip.Store, "a", strings.Repeat("x", 10<<20))
	ctx, cancel := context.WithCancel(t.Context())
	r := &counted{ReaderAt: strings.NewReader(file)}
	stop := readerAtFunc(func(p []byte, off int64) (int, error) {
		if r.read > 1<<20 {
			cancel()
		}
		return r.ReadAt(p, off)
	})
	if err := checkZip(ctx, stop, int64(len(file)), 1<<30); !errors.Is(err, context.Canceled) || r.read > 2<<20 {
		t.Errorf("got %v after %d bytes", err, r.read)
	}
}

type readerAtFunc func(p []byte, off int64) (int, error)

func (f readerAtFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

// A file that is begin, and then the same byte for ever.
func endless(begin string, c byte) io.ReaderAt {
	return readerAtFunc(func(p []byte, off int64) (int, error) {
		n := 0
		if off < int64(len(begin)) {
			n = copy(p, begin[off:])
		}
		for i := n; i < len(p); i++ {
			p[i] = c
		}
		return len(p), nil
	})
}

// A decoder holds what it reads up to the end of a value.
func TestHostileJSON(t *testing.T) {
	for name, file := range map[string]io.ReaderAt{
		"escapes": endless(`["`, '\\'),
		"blanks":  endless(`[`, ' '),
		"deep":    endless(``, '['),
		"quotes":  endless(``, '"'),
		"commas":  endless(`[`, ','),
	} {
		t.Run(name, func(t *testing.T) {
			wantMemory(t, 16*maxToken, func() {
				_, err := check(t.Context(), file, maxResult, "json")
				if err == nil {
					t.Error("it was taken for a result")
				} else if strings.Contains(err.Error(), "xxx") || strings.Contains(err.Error(), "111") {
					t.Errorf("the error quotes it: %.100s", err)
				}
			})
		})
	}
	long := `["` + strings.Repeat(`x`, maxToken-1) + `","` + strings.Repeat(`\"`, maxToken/2-1) + `"]`
	if _, err := check(t.Context(), strings.NewReader(long), int64(len(long)), "json"); err != nil {
		t.Errorf("texts that are just not too long: %v", err)
	}
}

// Lists that are made to fill the memory, or never to end.
func TestHostileList(t *testing.T) {
	defer func(n int) { maxDocuments = n }(maxDocuments)
	maxDocuments = 10_000
	row := func(id int) string { return fmt.Sprintf(`{"id":%d}`, id) }
	tests := map[string]struct {
		page  func(n int) string
		want  string
		pages int // at most
	}{
		"a page of millions of nothings": {func(int) string { return "[0" + strings.Repeat(",0", 1<<20) + "]" }, "more than 100000 documents", 1},
		"the same in an object":          {func(int) string { return `{"data":[{}` + strings.Repeat(",{}", 1<<20) + "]}" }, "more than 100000 documents", 1},
		"an object of millions of members": {func(int) string {
			return `{"a":0` + strings.Repeat(`,"a":0`, 1<<19) + `}`
		}, "no list", 1},
		"a page of 10 GB":             {func(int) string { return "" }, "larger than 16 MB", 1},
		"the same page, without last": {func(int) string { return `{"data":[` + row(1) + "]}" }, "", 2},
		"the same page, with last":    {func(int) string { return `{"data":[` + row(1) + `],"last_page":1000000,"total":1000000}` }, "again and again", 4},
		"negative numbers":            {func(int) string { return `{"data":[` + row(1) + `],"last_page":-5,"total":-1}` }, "", 2},
		"two pages in turn": {func(n int) string {
			return `{"data":[` + row(n%2) + `],"last_page":1e30}`
		}, "does not end", maxPages},
		"documents without number": {func(n int) string {
			var b strings.Builder
			b.WriteString("[" + row(n*1000))
			for i := 1; i < 1000; i++ {
				b.WriteString("," + row(n*1000+i))
			}
			return b.String() + "]"
		}, "does not end", 11},
		"nested without end": {func(int) string { return strings.Repeat("[", 1<<20) }, "broken JSON", 1},
		"rows nested":        {func(int) string { return strings.Repeat("[", 9000) + strings.Repeat("]", 9000) }, "", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pages := 0
			body := &counting{}
			c := client(t, "", roundTrip(func(*http.Request) (*http.Response, error) {
				pages++
				resp := answer(200, tt.page(pages), typeKey, jsonType)
				if name == "a page of 10 GB" {
					body.Reader = io.LimitReader(zeros{}, 10<<30)
					resp.Body, resp.ContentLength = io.NopCloser(body), -1
				}
				return resp, nil
			}))
			var err error
			ended := allocates(func() {
				for _, err = range c.Documents(t.Context(), 200) {
				}
			})
			switch {
			case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if pages > tt.pages || body.n > maxAnswer+1 {
				t.Errorf("%d pages and %d bytes were read", pages, body.n)
			}
			if most := uint64(128 << 20); pages == 1 && ended > most {
				t.Errorf("%d MB of memory were asked for", ended>>20)
			}
		})
	}
}

type counting struct {
	io.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// A hostile server on a wire of its own.
func hostile(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return client(t, srv.URL, nil)
}

// pour writes until the client has had enough, and counts.
func pour(w io.Writer, n *atomic.Int64) {
	chunk := bytes.Repeat([]byte("x"), 64<<10)
	for n.Load() < 10<<30 {
		k, err := w.Write(chunk)
		n.Add(int64(k))
		if err != nil {
			return
		}
	}
}

func TestHostileWire(t *testing.T) {
	t.Run("endless answers", func(t *testing.T) {
		var poured atomic.Int64
		var status atomic.Int64
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(typeKey, jsonType)
			w.WriteHeader(int(status.Load()))
			pour(w, &poured)
		})
		for _, code := range []int64{200, 201, 400, 500} {
			status.Store(code)
			poured.Store(0)
			wantMemory(t, 128<<20, func() {
				_, err := c.Status(t.Context(), "abc")
				if e := wantError(t, err); e.Status != int(code) {
					t.Errorf("got %v", err)
				}
			})
			if n := poured.Load(); n > 64<<20 { // what buffers take on the way is not read
				t.Errorf("%d: %d bytes of the answer went out", code, n)
			}
		}
	})
	t.Run("gzip", func(t *testing.T) {
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		if _, err := io.CopyN(z, zeros{}, 20<<20); err != nil {
			t.Fatal(err)
		}
		z.Close()
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(typeKey, jsonType)
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		})
		wantMemory(t, 128<<20, func() {
			_, err := c.Status(t.Context(), "abc")
			if wantError(t, err); !strings.Contains(err.Error(), "larger than 16 MB") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("result announced as 10 GB", func(t *testing.T) {
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(typeKey, "text/plain")
			w.Header().Set("Content-Length", fmt.Sprint(10<<30))
			var n atomic.Int64
			pour(w, &n)
		})
		file := newFile(t)
		_, err := c.Download(t.Context(), "abc", "txt", file)
		if wantError(t, err); !strings.Contains(err.Error(), "larger than 256 MB") {
			t.Errorf("got %v", err)
		}
		if info, err := file.Stat(); err != nil || info.Size() > 0 {
			t.Errorf("%d bytes were written, %v", info.Size(), err)
		}
	})
	t.Run("headers of 1 MB", func(t *testing.T) {
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 16 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 64<<10))
			}
		})
		_, err := c.Status(t.Context(), "abc")
		if e := wantError(t, err); e.Status != 0 || len(err.Error()) > 1100 {
			t.Errorf("got %.200v", err)
		}
	})
	t.Run("interim answers without end", func(t *testing.T) {
		c := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			for {
				if _, err := conn.Write([]byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")); err != nil {
					return
				}
			}
		})
		_, err := c.Status(t.Context(), "abc")
		if e := wantError(t, err); e.Status != 0 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an answer that is no HTTP and echoes the token", func(t *testing.T) {
		c := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%s \x1b[2J\x1b]0;title\x07\r\n\r\n", r.Header.Get("Authorization"))
			conn.Close()
		})
		_, err := c.Status(t.Context(), "abc")
		wantError(t, err)
		wantPlain(t, err.Error())
	})
	t.Run("redirects without end, and to another host", func(t *testing.T) {
		var elsewhere, here atomic.Int64
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
		defer other.Close()
		c := hostile(t, func(w http.ResponseWriter, r *http.Request) {
			here.Add(1)
			to := r.URL.Path
			if r.Method == http.MethodDelete {
				to = other.URL
			}
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
		})
		_, err := c.Status(t.Context(), "abc")
		if wantError(t, err).Status != http.StatusTemporaryRedirect {
			t.Errorf("got %v", err)
		}
		err = c.Delete(t.Context(), "abc")
		if wantError(t, err).Status != http.StatusTemporaryRedirect {
			t.Errorf("got %v", err)
		}
		_, err = c.Upload(t.Context(), scan("content"))
		if wantError(t, err).Status != http.StatusTemporaryRedirect {
			t.Errorf("got %v", err)
		}
		if elsewhere.Load() != 0 || here.Load() != 3 {
			t.Errorf("%d requests here and %d elsewhere", here.Load(), elsewhere.Load())
		}
	})
}

// wantPlain checks a text that may reach a terminal or a log.
func wantPlain(t *testing.T, s string) {
	t.Helper()
	if s != oneLine(s, 2000) || strings.Contains(s, token) {
		t.Errorf("%.200q is not one plain line without the token", s)
	}
}

// Whatever the words of a service hold, what is kept of them is one plain, short line
// without the token.
func TestHostileWords(t *testing.T) {
	words := map[string]string{
		"escapes": "\x1b[2J\x1b]0;owned\x07\u009b31mred\u202egpj.exe\r\nnext: line",
		"long":    strings.Repeat("\x1b[31mx\n", 15_000),
		"token":   "your token " + token + " is wrong",
		"nothing": "\x00\x01\x02",
		"half":    "\xff\xfe\x1b",
	}
	for name, word := range words {
		t.Run(name, func(t *testing.T) {
			quoted := quote(word)
			for _, body := range []string{
				`{"message":` + quoted + `}`, `{"error":` + quoted + `}`, `{"errors":{` + quoted + `:[` + quoted + `]}}`,
				`{"error":{"message":` + quoted + `}}`, quoted, word,
			} {
				for _, status := range []int{400, 401, 403, 422, 429, 500, 599, 999} {
					_, err := client(t, "", always(status, body, typeKey, jsonType, "Retry-After", "99999999999999999999")).Status(t.Context(), "abc")
					e := wantError(t, err)
					wantPlain(t, err.Error())
					for _, f := range e.Fields {
						wantPlain(t, f)
					}
					if e.RetryAfter > time.Hour {
						t.Errorf("wait %v", e.RetryAfter)
					}
				}
			}
			doc := `{"id":"abc","status":` + quoted + `,"error":` + quoted + `,"file_name":` + quoted + `,"action":` + quoted + `,"page_count":-7}`
			d, err := client(t, "", always(200, doc, typeKey, jsonType)).Status(t.Context(), "abc")
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{d.Status, d.Error, d.Action, strings.Join(strings.Fields(d.Name), " ")} {
				wantPlain(t, s)
			}
			if d.Pages != 0 {
				t.Errorf("%d pages", d.Pages)
			}
			for _, kind := range []string{"application/" + strings.Repeat("x", 60<<10), "text/\x1b[31m", "a/b; c=\"\n"} {
				_, err := client(t, "", always(200, doc, typeKey, kind)).Download(t.Context(), "abc", "txt", newFile(t))
				wantError(t, err)
				wantPlain(t, err.Error())
			}
			_, err = client(t, "", always(200, doc, typeKey, jsonType)).Download(t.Context(), "abc", "json", newFile(t))
			if err != nil {
				wantPlain(t, err.Error())
			}
		})
	}
}

// quote makes a JSON string of any bytes.
func quote(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ':
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return `"` + b.String() + `"`
}

// An id that has no place in a URL is no id, wherever it comes from.
func TestHostileIDs(t *testing.T) {
	for _, id := range []string{
		"", ".", "..", "../users/me", "a/b", `a\b`, "a\nb", "a\x00b", strings.Repeat("x", 10<<10), "a\x1b[31m", "a\u202eb", "\xff", "a/../../b",
	} {
		body := `{"id":` + quote(id) + `,"data":[{"id":` + quote(id) + `}]}`
		c := client(t, "", always(201, body, typeKey, jsonType))
		if d, err := c.Upload(t.Context(), scan("content")); !(id == "\xff" && d.ID == "\uFFFD") && err == nil {
			t.Errorf("%.20q became %q", id, d.ID)
		} else if err != nil && (!wantError(t, err).Sent || wantError(t, err).Status != 201) {
			t.Errorf("%.20q: %v; the upload must count as sent", id, err)
		}
	}
	// What is left cannot change which document is meant.
	for _, id := range []string{"a?b=c", "a#b", "a%2fb", "a b", "a;b", "é", "a.txt", "-1", "a&page=2"} {
		asked := ""
		c := client(t, "", roundTrip(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.EscapedPath() + "?" + r.URL.RawQuery
			if r.URL.Path != "/api/v2/documents/"+id {
				t.Errorf("asked for %q", r.URL.Path)
			}
			return answer(204, ""), nil
		}))
		if err := c.Delete(t.Context(), id); err != nil || strings.Count(asked, "/") != 4 || !strings.HasSuffix(asked, "?") {
			t.Errorf("%q: asked for %s, %v", id, asked, err)
		}
	}
}

// The body of an answer that changes the protocol is the connection itself.
func TestHostileProtocol(t *testing.T) {
	left := make(chan error, 1)
	c := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			left <- err
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // lest it hang where the client does
		_, err = conn.Read(make([]byte, 1))
		left <- err
	})
	_, err := c.Status(t.Context(), "abc")
	if wantError(t, err).Status != http.StatusSwitchingProtocols {
		t.Errorf("got %v", err)
	}
	if err := <-left; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client did not hang up: %v", err)
	}
}
