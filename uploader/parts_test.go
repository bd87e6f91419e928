package uploader

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"scandrop/queue"
)

// halfJoined are parts whose docx cannot be joined.
type halfJoined struct{ Parts }

func (halfJoined) Join(_ queue.Job, format string, into io.Writer) error {
	if format == "docx" {
		return errors.New("join the docx of 2 parts: it has no body")
	}
	_, err := io.WriteString(into, "all of it")
	return err
}

// A format that cannot be joined fails the scan, and withholds none of the others
// that were paid for.
func TestUnjoinable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, setup{transport: service(func(op string, _ *http.Request) (*http.Response, error) {
			return nil, errors.New(op + ": nothing is to be asked")
		})})
		b.Uploader.Parts = halfJoined{}
		o := transcribe
		o.Formats = []string{"docx", "txt"}
		j := b.drop("big.pdf", scan("big"), o)
		j.Parts = []queue.Part{{From: 1, To: 2, Collected: true}, {From: 3, To: 4, Collected: true}}
		got := b.collect(t.Context(), queue.Task{Job: j, Step: queue.Collect})
		retry, ok := got.(queue.Retry)
		if !ok || !strings.Contains(retry.Err.Error(), "it has no body") || !strings.Contains(retry.Err.Error(), "state folder, under parts") {
			t.Errorf("%T %+v; want it tried again, with the reason and where the parts' results are", got, got)
		}
		if text := b.read("big.txt"); text != "all of it" {
			t.Errorf("big.txt is %q; want it written", text)
		}
	})
}
