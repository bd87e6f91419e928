package uploader

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// A list that claims the mark for documents without number is not believed: all
// of them would be remembered, and deleted.
func TestHostileMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: drop")})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		for range maxMarked + 1 {
			b.plant(j.UploadName(), scan("another"))
		}
		for range 3 {
			j = b.step(queue.LookUp)
			if j.State != queue.Doubtful || !strings.Contains(j.Error, "under one mark") || len(j.Trash) > 0 {
				t.Fatalf("%s: %s; %d to be deleted", j.State, j.Error, len(j.Trash))
			}
		}
		wantLeft(t, sb, maxMarked+1)
	})
}

// The marks of another installation on the same account are not ours, even for
// the same content, nor are names that only look like it.
func TestOthersDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sb := newSandbox(t, sandbox.Options{Trouble: script(t, "upload 1: lost")})
		b := newBench(t, setup{transport: sb.RoundTripper()})
		j := b.drop("letter.gif", scan("letter"), transcribe)
		b.step(queue.Upload)
		others := []string{
			strings.Replace(j.UploadName(), "sdAB12-", "sdXY77-", 1),
			j.UploadName()[:len(j.UploadName())-len("x.gif")] + ".gif",
			"letter.gif",
		}
		for _, name := range others {
			b.plant(name, scan("letter"))
		}
		b.drain()
		b.wantState(j.ID, queue.Done, 0)
		var left []string
		for _, d := range sb.Documents() {
			left = append(left, d.Name)
		}
		slices.Sort(left)
		slices.Sort(others)
		if !slices.Equal(left, others) {
			t.Errorf("left: %q, want %q", left, others)
		}
	})
}
