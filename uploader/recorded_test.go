package uploader

import (
	"net/http"
	"testing"
	"testing/synctest"

	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// When the first byte goes on the wire, the upload is on record: what is
// recorded as waiting was surely never sent.
func TestRecordedBeforeTheFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{})
		var b *bench
		var state queue.State
		b = newBench(t, setup{transport: service(func(op string, req *http.Request) (*http.Response, error) {
			if op == opUpload {
				state = b.jobs()[0].State
			}
			return sb.RoundTripper().RoundTrip(req)
		})})
		b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		if state != queue.Uploading {
			t.Errorf("it was recorded as %s", state)
		}
	})
}
