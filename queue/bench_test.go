package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// numbered are scans that all differ.
func numbered(n int) []Scan {
	scans := make([]Scan, n)
	for i := range scans {
		scans[i] = scan(fmt.Sprintf("/scans/%d.pdf", i), "x")
		binary.BigEndian.PutUint64(scans[i].Content[8:], uint64(i))
	}
	return scans
}

func BenchmarkAdd(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			q := open(b)
			scans := numbered(b.N * batch)
			b.ResetTimer()
			for i := range b.N {
				add(b, q, scans[i*batch:(i+1)*batch]...)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/scan")
		})
	}
}

// BenchmarkClaimReport takes a task and gives it back. What it costs must not
// grow with the number of jobs that wait.
func BenchmarkClaimReport(b *testing.B) {
	for _, waiting := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			q := open(b)
			scans := numbered(waiting)
			for len(scans) > 0 {
				n := min(len(scans), 10_000)
				add(b, q, scans[:n]...)
				scans = scans[n:]
			}
			for b.Loop() {
				report(b, q, claim(b, q), Interrupted{})
			}
		})
	}
}

// BenchmarkSeen is the first look at a file that is known, as a rescan takes
// it.
func BenchmarkSeen(b *testing.B) {
	q := open(b)
	scans := numbered(100_000)
	add(b, q, scans...)
	for i := 0; b.Loop(); i++ {
		s := scans[i%len(scans)]
		if seen, err := q.Seen(s.Path, s.Size, s.ModTime); !seen || err != nil {
			b.Fatal(seen, err)
		}
	}
}

// BenchmarkVerify reads a whole file of scans that are done.
func BenchmarkVerify(b *testing.B) {
	const jobs = 20_000
	path := filepath.Join(b.TempDir(), "queue.db")
	q := openAt(b, Config{Path: path})
	_, err := q.Replay(func(yield func(Entry, error) bool) {
		for i, s := range numbered(jobs) {
			j := Job{
				ID: uint64(i + 1), State: Done, Folder: s.Folder, Path: s.Path, Size: s.Size, ModTime: s.ModTime, Content: s.Content, Ext: s.Ext,
				Options: s.Options, Identity: Identity(s.Content, s.Options), Mark: "sdAAAA-aaaaaaaaaaaaaaaa", Pages: 1, Source: fmt.Sprintf("doc%010d", i),
				Results: []Result{{Format: "txt", Path: s.Path + ".txt", Content: s.Content}},
				Added:   noon, Sent: noon, Uploaded: noon, Collected: noon, Finished: noon, Deleted: noon,
			}
			if !yield(Entry{Seq: j.ID, At: noon, Job: j, Paid: 1}, nil) {
				return
			}
		}
	}, Head{})
	if err := errors.Join(err, q.Close()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if n, err := Verify(path); n != jobs || err != nil {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*jobs), "ns/scan")
}
