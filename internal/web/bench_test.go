package web

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"scandrop/internal/control"
	"scandrop/queue"
)

// manyJobs is how many wait in the benchmark's queue.
const manyJobs = 100_000

// watched is a server over a queue of many jobs.
func watched(b *testing.B) (*Server, *queue.Queue) {
	b.Helper()
	dir := b.TempDir()
	q, err := queue.Open(queue.Config{Path: filepath.Join(dir, "queue.db"), Installation: queue.Installation{Name: "TEST", Key: make([]byte, 32)}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { q.Close() })
	var scans []queue.Scan
	for i := range manyJobs {
		s := queue.Scan{Folder: dir, Path: filepath.Join(dir, fmt.Sprintf("%d.png", i)), Size: 1, ModTime: time.Unix(int64(i), 0), Ext: ".png",
			Options: queue.Options{Action: "transcribe", Formats: []string{"txt"}}}
		binary.BigEndian.PutUint64(s.Content[:], uint64(i)+1)
		if scans = append(scans, s); len(scans) == 5000 {
			if _, err := q.Add(scans...); err != nil {
				b.Fatal(err)
			}
			scans = scans[:0]
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := New(Config{Queue: q, Files: dirFiles{dir}, Token: token, MaxScan: 1 << 20, About: func() control.Status {
		return control.Status{Version: "bench", Folders: []control.Folder{{Path: dir, Action: "transcribe", Formats: []string{"txt"}}}}
	}}, l.Addr())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return s, q
}

func (s *Server) fetch(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = errors.New(resp.Status)
	}
	return resp, err
}

// BenchmarkFirstPage is the page that a person meets, over 100,000 jobs.
func BenchmarkFirstPage(b *testing.B) {
	s, _ := watched(b)
	for b.Loop() {
		resp, err := s.fetch(b.Context(), "/")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			b.Fatal(err)
		}
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

// BenchmarkQueueWatched claims and reports, with nobody looking and with twenty who
// watch the page live. The two are compared with each other: in one run, on whatever
// machine.
func BenchmarkQueueWatched(b *testing.B) {
	for _, viewers := range []int{0, 20} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) {
			s, q := watched(b)
			ctx, leave := context.WithCancel(b.Context())
			var watching sync.WaitGroup
			for range viewers {
				resp, err := s.fetch(ctx, "/events")
				if err != nil {
					b.Fatal(err)
				}
				watching.Go(func() {
					defer resp.Body.Close()
					_, _ = io.Copy(io.Discard, resp.Body) // until it is left
				})
			}
			for b.Loop() {
				task, err := q.Claim(ctx)
				if err == nil {
					_, err = q.Report(task, queue.Interrupted{})
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			leave()
			watching.Wait()
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
