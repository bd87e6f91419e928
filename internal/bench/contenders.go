package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A contender sees the scans of a folder through: upload, wait, download, delete.
type contender struct {
	name    string
	uploads bool // it can do nothing else, and brings the scans to the inbox
	most    int  // scans that it is given of a load, as it is so slow; 0: all
	skip    func(row) bool
	command func(ctx context.Context, work, scans, url string, r row) (*exec.Cmd, error)
}

//go:embed one.sh
var oneScript string

//go:embed poll.py
var pollScript string

func contenders(binary string) []contender {
	shell := func(line string) func(context.Context, string, string, string, row) (*exec.Cmd, error) {
		return func(ctx context.Context, work, scans, url string, r row) (*exec.Cmd, error) {
			if err := os.WriteFile(filepath.Join(work, "one.sh"), []byte(oneScript), 0o700); err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(ctx, "bash", "-c", fmt.Sprintf(line, filepath.Join(work, "one.sh")))
			cmd.Dir = scans
			cmd.Env = append(os.Environ(), "API="+url+"/api/v2", "FORMATS="+strings.Join(r.Formats, " "))
			return cmd, nil
		}
	}
	limited := func(r row) bool { return r.Rate > 0 } // they do not know what a 429 is
	return []contender{
		{"scandrop", false, 0, nil, func(ctx context.Context, work, scans, url string, r row) (*exec.Cmd, error) {
			perSecond := 100_000.
			if r.Rate > 0 {
				perSecond = r.Rate
			}
			config := filepath.Join(work, "scandrop.yaml")
			text := fmt.Sprintf("api: {url: %q, token: bench, rate: %g, burst: 5}\nstate: %q\nworkers: %d\nstatus: {listen: \"\"}\nfolders:\n- {path: %q, formats: [%s], quiet: 1ms}\n",
				url+"/api/v2", perSecond, filepath.Join(work, "state"), workers, scans, strings.Join(r.Formats, ", "))
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				return nil, err
			}
			return exec.CommandContext(ctx, binary, "run", "--once", "--config", config), nil
		}},
		{"find, xargs -P 8 and curl", false, 40, nil, shell(`find . -name '*.gif' -print0 | xargs -0 -P 8 -n 1 %s`)},
		{"a loop of find and curl", false, 40, nil, shell(`find . -name '*.gif' -print0 | while IFS= read -r -d '' f; do %s "$f"; done`)},
		{"a Python script, 8 threads", false, 0, limited, func(ctx context.Context, _, scans, url string, r row) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, "python3", "-c", onePython+pollScript, url+"/api/v2", strings.Join(r.Formats, ","))
			cmd.Dir = scans
			return cmd, nil
		}},
		{"a bare Go loop that syncs its results", false, 0, limited, bareLoop("synced")},
		{"a bare Go loop", false, 0, limited, bareLoop("unsynced")},
		{"rclone move, 8 at once, uploads only", true, 1000, limited, func(ctx context.Context, _, scans, url string, _ row) (*exec.Cmd, error) {
			return rclone(ctx, "exec "+rcloneMove, scans, url), nil
		}},
	}
}

// rcloneMove brings what lies in the folder to the inbox.
const rcloneMove = `rclone move --config "" --transfers 8 --include '*.gif' . :webdav:`

func rclone(ctx context.Context, line, scans, url string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = scans
	cmd.Env = append(os.Environ(), "RCLONE_WEBDAV_URL="+url+"/inbox")
	return cmd
}

func bareLoop(how string) func(context.Context, string, string, string, row) (*exec.Cmd, error) {
	return func(ctx context.Context, _, scans, url string, r row) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, self, "bare", url+"/api/v2", strings.Join(r.Formats, ","), how)
		cmd.Dir = scans
		return cmd, nil
	}
}

// bare makes the calls that scandrop makes, with as many workers and no queue: nothing is
// remembered. It writes the results as plain files or, if it is told to, whole or not at
// all and synced before the copy at the service is deleted, as anybody must who cares.
func bare(args []string) error {
	api, formats, write := args[0], strings.Split(args[1], ","), writePlain
	if args[2] == "synced" {
		write = writeSynced
	}
	scans, err := filepath.Glob("*.gif")
	if err != nil {
		return err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	client := &http.Client{Transport: transport}
	call := func(method, url, kind string, body io.Reader) (int, []byte, error) {
		req, err := http.NewRequest(method, url, body)
		if err != nil {
			return 0, nil, err
		}
		req.Header.Set("Authorization", "Bearer bench")
		req.Header.Set("Accept", "application/json")
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, nil, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		return resp.StatusCode, answer, err
	}
	one := func(scan string) error {
		content, err := os.ReadFile(scan)
		if err != nil {
			return err
		}
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreateFormFile("file", scan)
		if err != nil {
			return err
		}
		if _, err := part.Write(content); err != nil {
			return err
		}
		if err := errors.Join(w.WriteField("action", "transcribe"), w.Close()); err != nil {
			return err
		}
		status, answer, err := call(http.MethodPost, api+"/documents", w.FormDataContentType(), &form)
		if err != nil || status != http.StatusCreated {
			return fmt.Errorf("upload: HTTP %d, %w", status, err)
		}
		var d struct{ ID string }
		if err := json.Unmarshal(answer, &d); err != nil {
			return err
		}
		for _, format := range formats {
			for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
				status, answer, err := call(http.MethodGet, api+"/documents/"+d.ID+"."+format, "", nil)
				if err != nil {
					return err
				}
				if status == http.StatusOK {
					if err := write(strings.TrimSuffix(scan, ".gif")+"."+format, answer); err != nil {
						return err
					}
					break
				}
				if status != http.StatusAccepted {
					return errors.New("download: HTTP " + strconv.Itoa(status))
				}
				time.Sleep(wait)
			}
		}
		status, _, err = call(http.MethodDelete, api+"/documents/"+d.ID, "", nil)
		if err != nil || status != http.StatusNoContent {
			return fmt.Errorf("delete: HTTP %d, %w", status, err)
		}
		return nil
	}
	g := new(errgroup.Group)
	g.SetLimit(workers)
	for _, scan := range scans {
		g.Go(func() error { return one(scan) })
	}
	return g.Wait()
}

func writePlain(name string, content []byte) error { return os.WriteFile(name, content, 0o600) }

func writeSynced(name string, content []byte) error {
	f, err := os.CreateTemp(".", ".bare-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
