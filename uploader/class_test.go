package uploader

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// TestHanging has all requests of one or two kinds hang: the others go on.
func TestHanging(t *testing.T) {
	const workers, scans = 2, 8
	for _, test := range []struct {
		name  string
		hangs []string
		want  func(map[queue.State]int) bool
	}{
		{"downloads", []string{opDownload}, func(n map[queue.State]int) bool { return n[queue.Processing] == scans }},
		{"deletes", []string{opDelete}, func(n map[queue.State]int) bool { return n[queue.Written] == scans }},
		{"downloads and deletes", []string{opDownload, opDelete}, func(n map[queue.State]int) bool { return n[queue.Processing] == scans }},
		{"uploads", []string{opUpload}, func(n map[queue.State]int) bool { return n[queue.Uploading] == workers && n[queue.Done] == 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sb := newSandbox(t, sandbox.Options{})
				hang := false
				b := newBench(t, setup{workers: workers, timeout: time.Hour, transport: service(func(op string, req *http.Request) (*http.Response, error) {
					for _, h := range test.hangs {
						if hang && op == h {
							return reply{silent: true}.to(req, true)
						}
					}
					return sb.RoundTripper().RoundTrip(req)
				})})
				b.drop("first.gif", scan("first"), transcribe)
				if test.hangs[0] == opUpload {
					b.step(queue.Upload)
				} else {
					b.drain()
				}
				hang = true
				for i := range scans {
					b.drop(fmt.Sprintf("%d.gif", i), scan(fmt.Sprint(i)), transcribe)
				}
				stop := b.run()
				defer stop()
				b.until("the others go on", func() bool { return test.want(b.counts()) })
			})
		})
	}
}
