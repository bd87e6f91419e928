package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"scandrop/internal/sandbox"
)

// reader reads in every scan its own digest.
type reader struct{}

func (reader) Read(_ context.Context, s sandbox.Scan) (sandbox.Reading, error) {
	return sandbox.Reading{Pages: []string{"scan " + s.Digest}}, nil
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// serve is the process of the sandbox: it prints its address and serves until its
// input ends.
func serve(args []string) error {
	var r row
	if err := json.Unmarshal([]byte(args[0]), &r); err != nil {
		return err
	}
	sb := sandbox.New(sandbox.Options{
		Engine: reader{}, Rate: rate.Limit(r.Rate), Burst: 5,
		Work: func(sandbox.Document) time.Duration { return r.Work },
	})
	defer sb.Close()
	var mu sync.Mutex
	var began []time.Time // of uploads
	inbox := newInbox()
	mux := http.NewServeMux()
	mux.HandleFunc("/arrived", func(w http.ResponseWriter, r *http.Request) {
		arrived, err := inbox.arrived(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(arrived)
	})
	noted := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost || r.Method == http.MethodPut {
				mu.Lock()
				began = append(began, time.Now())
				mu.Unlock()
			}
			h.ServeHTTP(w, r)
		})
	}
	mux.Handle("/", noted(sb))
	mux.Handle("/inbox/", noted(inbox))
	mux.HandleFunc("/counted", func(w http.ResponseWriter, _ *http.Request) {
		stats := sb.Stats()
		mu.Lock()
		c := counted{Uploads: stats.Uploads, Left: len(sb.Documents()), Began: slices.Clone(began)}
		mu.Unlock()
		for call, n := range stats.Requests {
			c.Requests += n
			if call.Status == http.StatusTooManyRequests {
				c.Refused += n
			}
		}
		c.Uploads += int(inbox.uploads.Load())
		c.Requests += int(inbox.requests.Load())
		_ = json.NewEncoder(w).Encode(c) // who asks sees that it is not whole
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		srv.Close()
	}()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// A server is the sandbox's process.
type server struct {
	url  string
	cmd  *exec.Cmd
	stop func()
}

func startServer(ctx context.Context, r row) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "serve", string(options))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, stop: func() {
		in.Close()
		_ = cmd.Wait()
	}}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("the sandbox: %w", err)
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

// ask puts what the server says at path into v.
func (s *server) ask(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}
