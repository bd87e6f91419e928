// Command bench sees the same scans through with scandrop and with what people use
// instead, one after the other, against the sandbox in a process of its own, and
// prints a table of what that took. It needs Linux, curl, jq, inotifywait, rclone, and a
// Python with the watchdog module.
//
//	go run ./internal/bench [-svg FILE] [-only WORDS] [-scans N]
//	go run ./internal/bench scale [-known N] [-waiting N] [-only NAME]
//
// With scale it measures what scandrop needs over many scans; see docs/speed.md. Where
// it works is told by TMPDIR: a disk that syncs slowly shows in every row.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A row is a load that each contender is put under.
type row struct {
	Name    string
	Scans   int
	Size    int           // bytes of each
	Formats []string      //
	Work    time.Duration // of the service on a scan
	Rate    float64       // requests a second that it takes, after a burst of 5; 0: any
}

var rows = []row{
	{"1,000 small scans, ready at once", 1000, 10 << 10, []string{"txt"}, 0, 0},
	{"200 scans, 2 formats, ready at once", 200, 100 << 10, []string{"txt", "docx"}, 0, 0},
	{"200 scans, 2 formats, 20 ms", 200, 100 << 10, []string{"txt", "docx"}, 20 * time.Millisecond, 0},
	{"200 scans, 2 formats, 2 s", 200, 100 << 10, []string{"txt", "docx"}, 2 * time.Second, 0},
	{"30 scans, 2 requests a second", 30, 100 << 10, []string{"txt"}, 2 * time.Second, 2},
	{"16 scans of 19 MB", 16, 19_000_000, []string{"txt"}, 20 * time.Millisecond, 0},
	{backlog, 100_000, 1 << 10, []string{"txt"}, 0, 0},
}

// backlog takes so long that it is run only if -scans allows its number.
const backlog = "100,000 scans of 1 kB that wait"

// workers is how many scans each contender that can works on at once.
const workers = 8

// An outcome is what a row took a contender.
type outcome struct {
	row        row
	contender  string
	took, cpu  time.Duration
	memory     int64 // bytes, at the peak, of its largest process
	requests   int
	refused    int               // 429
	lost       int               // results that are not there
	twice      int               // uploads beyond one a scan
	wrong      int               // results that are another scan's
	left       int               // documents that are still at the service
	arrived    map[string]string // at the inbox, of a contender that only uploads
	incomplete bool
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			exit(serve(os.Args[2:]))
		case "bare":
			exit(bare(os.Args[2:]))
		case "scale":
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			exit(scale(ctx, os.Args[2:]))
		}
	}
	svg := flag.String("svg", "", "draw the rates of the first row as an SVG `file`")
	only := flag.String("only", "", "only rows and contenders whose name holds these `words`")
	most := flag.Int("scans", 1000, "at most so many `scans` a load")
	flag.Parse()
	rows = slices.DeleteFunc(rows, func(r row) bool { return r.Name == backlog && r.Scans > *most })
	for i, r := range rows {
		if r.Scans > *most {
			rows[i].Name = strings.Replace(r.Name, "1,000", fmt.Sprint(*most), 1)
			rows[i].Scans = *most
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, *svg, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, svg, only string) error {
	dir, err := os.MkdirTemp("", "scandrop-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := build(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println("| load | with | scans/s | CPU ms a scan | memory MB | requests a scan | 429 | lost | twice | wrong | left there |")
	fmt.Println("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	var outcomes []outcome
	for _, r := range rows {
		for _, c := range contenders(binary) {
			if !strings.Contains(r.Name+" "+c.name, only) || c.skip != nil && c.skip(r) {
				continue
			}
			r := r
			if c.most > 0 && r.Scans > c.most {
				r.Scans = c.most
				c.name = fmt.Sprintf("%s (%d scans)", c.name, c.most)
			}
			o, err := measure(ctx, dir, r, c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r.Name, c.name, err)
			}
			outcomes = append(outcomes, o)
			note := ""
			if o.incomplete {
				note = " (gave up)"
			}
			n := float64(r.Scans)
			fmt.Printf("| %s | %s%s | %.1f | %.1f | %.0f | %.2f | %d | %d | %d | %d | %d |\n", r.Name, c.name, note,
				n/o.took.Seconds(), o.cpu.Seconds()*1000/n, float64(o.memory)/1e6, float64(o.requests)/n,
				o.refused, o.lost, o.twice, o.wrong, o.left)
		}
	}
	if svg != "" {
		if err := draw(svg, outcomes); err != nil {
			return err
		}
	}
	return runLive(ctx, dir, binary, only)
}

// build builds scandrop as it is released.
func build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "scandrop")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "scandrop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// longest bounds what anything may take, and perScan is added for the scans of a load.
const (
	longest = 5 * time.Minute
	perScan = 10 * time.Millisecond
)

// measure runs a contender over a fresh folder against a fresh sandbox.
func measure(ctx context.Context, dir string, r row, c contender) (o outcome, err error) {
	o.row, o.contender = r, c.name
	work, err := os.MkdirTemp(dir, "row-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(work)
	scans := filepath.Join(work, "scans")
	if err := os.Mkdir(scans, 0o700); err != nil {
		return o, err
	}
	texts, err := makeScans(scans, r)
	if err != nil {
		return o, err
	}
	s, err := startServer(ctx, r)
	if err != nil {
		return o, err
	}
	defer s.stop()

	bounded, cancel := context.WithTimeout(ctx, longest+time.Duration(r.Scans)*perScan)
	defer cancel()
	cmd, err := c.command(bounded, work, scans, s.url, r)
	if err != nil {
		return o, err
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	inGroup(cmd)
	began := time.Now()
	err = cmd.Run()
	o.took = time.Since(began)
	switch {
	case ctx.Err() != nil:
		return o, ctx.Err()
	case bounded.Err() != nil:
		o.incomplete = true
	case err != nil:
		return o, fmt.Errorf("%w\n%s", err, said.String())
	}
	o.cpu, o.memory = usage(cmd.ProcessState)
	if err := s.tell(ctx, &o, c.uploads); err != nil {
		return o, err
	}
	o.judge(scans, texts)
	return o, nil
}

// judge counts the results that are missing and those that are another scan's, and, of
// the uploads in twice, those beyond one a scan. Of who only uploads, what counts is what
// has arrived.
func (o *outcome) judge(scans string, texts map[string]string) {
	if o.arrived != nil {
		for name, text := range texts {
			switch got, there := o.arrived[name]; {
			case !there:
				o.lost++
			case got != text:
				o.wrong++
			}
		}
		o.twice = max(0, o.twice-(o.row.Scans-o.lost))
		return
	}
	for name, text := range texts {
		for _, format := range o.row.Formats {
			got, err := os.ReadFile(filepath.Join(scans, name+"."+format))
			switch {
			case err != nil:
				o.lost++
			case format == "txt" && !strings.Contains(string(got), text):
				o.wrong++
			}
		}
	}
	o.twice = max(0, o.twice-(o.row.Scans-missing(*o, len(o.row.Formats))))
}

// missing is how many scans have no result.
func missing(o outcome, formats int) int { return (o.lost + formats - 1) / formats }

// makeScan is a scan that differs from all others: a picture of one dot, with a remark.
func makeScan(name string, r row) []byte {
	content := []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00")
	remark := append([]byte(fmt.Sprintf("%s of %q", name, r.Name)), make([]byte, r.Size)...)
	content = append(content, 0x21, 0xfe)
	for block := range slices.Chunk(remark, 255) {
		content = append(append(content, byte(len(block))), block...)
	}
	return append(content, 0, 0x3b)
}

// makeScans writes scans, and returns what their text is to hold, by their names
// without extension.
func makeScans(dir string, r row) (map[string]string, error) {
	texts := map[string]string{}
	for i := range r.Scans {
		name := fmt.Sprintf("scan%05d", i)
		content := makeScan(name, r)
		if err := os.WriteFile(filepath.Join(dir, name+".gif"), content, 0o600); err != nil {
			return nil, err
		}
		texts[name] = digest(content)
	}
	return texts, nil
}

// A counted is what the server of a row says of it.
type counted struct {
	Uploads, Requests, Refused, Left int
	Began                            []time.Time // when the uploads did
}

func (s *server) counted(ctx context.Context) (c counted, err error) {
	return c, s.ask(ctx, "/counted", &c)
}

// tell adds to o what the server counted and, of who only uploads, what arrived.
func (s *server) tell(ctx context.Context, o *outcome, uploads bool) error {
	c, err := s.counted(ctx)
	o.requests, o.refused, o.twice, o.left = c.Requests, c.Refused, c.Uploads, c.Left
	if err == nil && uploads {
		err = s.ask(ctx, "/arrived", &o.arrived)
	}
	return err
}
