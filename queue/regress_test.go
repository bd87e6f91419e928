package queue

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// What a scan's way through the queue allocates may not grow unseen: the number is
// recorded, and does not depend on the machine. Who has a reason writes the new one into
// the file.
func TestAllocations(t *testing.T) {
	if raceDetector || runtime.GOOS != "linux" {
		t.Skip("only where they were recorded: on Linux, and only where the race detector allocates nothing")
	}
	const file = "testdata/allocations.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		t.Fatal(err)
	}
	q := open(t)
	const runs = 200
	scans := numbered(runs + 1) // one to warm up
	n := 0
	got := testing.AllocsPerRun(runs, func() {
		s := scans[n]
		n++
		j := add(t, q, s)[0]
		report(t, q, claim(t, q), Sending{}, Uploaded{Document: fmt.Sprintf("doc%d", n), Pages: 1})
		if _, _, err := q.Hint(fmt.Sprintf("doc%d", n)); err != nil {
			t.Fatal(err)
		}
		task := claim(t, q)
		if _, err := q.Reserve(j.ID, "txt", s.Path+".txt", s.Content); err != nil {
			t.Fatal(err)
		}
		report(t, q, task, Collected{})
		task = claim(t, q)
		report(t, q, task, Deleted{Documents: []string{task.Job.Document}})
	})
	t.Logf("%.0f allocations a scan, %.0f are recorded", got, recorded)
	if got > 1.05*recorded || got < 0.9*recorded {
		t.Errorf("%.0f allocations a scan, %.0f are recorded in %s: find out why, or record it", got, recorded, file)
	}
}
