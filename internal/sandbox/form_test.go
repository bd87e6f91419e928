package sandbox

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Any body is a form or malformed; a whole one is what net/http makes of it.
func FuzzReadForm(f *testing.F) {
	const kind = "multipart/form-data; boundary=b"
	whole := "--b\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\ntranscribe\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\n%PDF-\r\n--b--\r\n"
	f.Add(kind, whole)
	f.Add(kind, whole[:len(whole)-8])
	f.Add("multipart/form-data; boundary=\"\"", whole)
	f.Add("text/plain", "")
	f.Fuzz(func(t *testing.T, kind, body string) {
		request := func() *http.Request {
			r := httptest.NewRequest(http.MethodPost, "/", bytes.NewBufferString(body))
			r.Header.Set("Content-Type", kind)
			return r
		}
		got, err := readForm(request())
		//lint:ignore SA5001 there is a form to close whatever the error
		defer got.Close()
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Errorf("%v", err)
			}
			return
		}
		_, params, err := mime.ParseMediaType(kind)
		if err != nil {
			t.Fatalf("a form of the type %q", kind)
		}
		want, err := multipart.NewReader(bytes.NewBufferString(body), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			return // it is stricter, as with charsets of values
		}
		defer want.RemoveAll()
		if files := want.File["file"]; len(files) == 1 && got.file != nil {
			file, err := files[0].Open()
			if err != nil {
				t.Fatal(err)
			}
			content, _ := io.ReadAll(file)
			file.Close()
			read, _ := io.ReadAll(io.NewSectionReader(got.file.content(), 0, int64(len(body))))
			if got.name != files[0].Filename || !bytes.Equal(read, content) {
				t.Errorf("file %q with %q, want %q with %q", got.name, read, files[0].Filename, content)
			}
		}
	})
}
