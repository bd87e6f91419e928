package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"scandrop/queue"
)

// scale measures what scandrop needs over many scans: done ones, which it must know for
// ever, and waiting ones. Each figure stands beside what is wanted of it.
func scale(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("scale", flag.ExitOnError)
	known := flags.Int("known", 1_000_000, "so many scans are done")
	waiting := flags.Int("waiting", 100_000, "so many scans wait")
	files := flags.Int("files", 100_000, "so many files lie in folders of 1,000")
	while := flags.Duration("while", 20*time.Minute, "so long nothing happens there")
	done := flags.Int("done", 20_000, "so many scans come to their end, for the size of the queue file")
	only := flags.String("only", "", "only what is named so: size, known, idle, uploads, latency")
	_ = flags.Parse(args) // it exits
	dir, err := os.MkdirTemp("", "scandrop-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := build(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Println("| what | is | wanted |\n| --- | ---: | ---: |")
	for _, m := range []struct {
		name string
		f    func(*place) error
	}{
		{"size", func(p *place) error { return p.size(*done) }},
		{"known", func(p *place) error { return p.known(*known, *waiting) }},
		{"idle", func(p *place) error { return p.idle(*files, *while) }},
		{"uploads", (*place).uploads},
		{"latency", func(p *place) error {
			return errors.Join(p.latency("picture", ".gif", makeScan), p.latency("PDF", ".pdf", makePDF))
		}},
	} {
		if *only != "" && m.name != *only {
			continue
		}
		if err := inPlace(ctx, dir, program, m.f); err != nil {
			return err
		}
	}
	return nil
}

func told(what, is, wanted string) { fmt.Printf("| %s | %s | %s |\n", what, is, wanted) }

// A place is a folder of scans with a state folder, a configuration and a service.
type place struct {
	ctx          context.Context
	program      string
	scans, state string
	config       string
	server       *server
}

func inPlace(ctx context.Context, dir, program string, measure func(*place) error) error {
	work, err := os.MkdirTemp(dir, "scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	p := &place{ctx: ctx, program: program, scans: filepath.Join(work, "scans"), state: filepath.Join(work, "state"), config: filepath.Join(work, "scandrop.yaml")}
	if err := os.Mkdir(p.scans, 0o700); err != nil {
		return err
	}
	if p.server, err = startServer(ctx, row{Work: 20 * time.Millisecond}); err != nil {
		return err
	}
	defer p.server.stop()
	text := fmt.Sprintf("api: {url: %q, token: bench, rate: 100000, burst: 5}\nstate: %q\nworkers: %d\nstatus: {listen: \"127.0.0.1:0\"}\nfolders:\n- {path: %q, formats: [txt], existing: ignore}\n",
		p.server.url+"/api/v2", p.state, workers, p.scans)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		return err
	}
	return measure(p)
}

// scandrop runs a command to its end.
func (p *place) scandrop(args ...string) error {
	out, err := exec.CommandContext(p.ctx, p.program, append(args, "--config", p.config)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("scandrop %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// running runs the daemon while f looks at it. It is told how long it took until the page
// was there, which is when the queue is open and the work begins.
func (p *place) running(f func(cmd *exec.Cmd, start time.Duration) error) error {
	address := filepath.Join(p.state, "status.address")
	if err := os.Remove(address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	cmd := exec.CommandContext(p.ctx, p.program, "run", "--config", p.config)
	inGroup(cmd)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		signalGroup(cmd, false)
		_ = cmd.Wait() // it was told to
	}()
	for time.Since(began) < longest {
		if _, err := os.Stat(address); err == nil {
			return f(cmd, time.Since(began))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("scandrop does not come up")
}

func (p *place) openQueue() (*queue.Queue, error) {
	return queue.Open(queue.Config{Path: filepath.Join(p.state, "queue.db"), Installation: queue.Installation{Name: "AAAA", Key: make([]byte, 32)}, Timeout: time.Minute})
}

// scan is one of many that all differ.
func (p *place) scan(number int) queue.Scan {
	s := queue.Scan{
		Folder: p.scans, Path: filepath.Join(p.scans, fmt.Sprint(number/1000), fmt.Sprintf("scan%07d.pdf", number)), Size: 123456,
		ModTime: time.Date(2026, 3, 1, 12, 0, 0, number*1000, time.UTC), Ext: ".pdf", Pages: 1,
		Options: queue.Options{Action: "transcribe", Formats: []string{"txt"}, DeleteRemote: true, DeleteAfter: 168 * time.Hour},
	}
	spread := uint64(number) + 1 // as digests are
	for i := 0; i < len(s.Content); i += 8 {
		spread = (spread ^ spread>>31) * 0x9E3779B97F4A7C15
		binary.BigEndian.PutUint64(s.Content[i:], spread)
	}
	return s
}

func (p *place) scansFrom(first, n int) []queue.Scan {
	scans := make([]queue.Scan, n)
	for i := range scans {
		scans[i] = p.scan(first + i)
	}
	return scans
}

// size brings scans to their end by the steps that workers take, and tells what the queue
// file has for each once it is compact.
func (p *place) size(n int) error {
	if err := p.scandrop("run", "--once"); err != nil {
		return err
	}
	p.scans = "/srv/scans" // nothing is read there; the length of paths is in the figure
	q, err := p.openQueue()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(p.ctx)
	defer stop()
	g := new(errgroup.Group)
	for range 64 { // so that their changes come together
		g.Go(func() error {
			for {
				task, err := q.Claim(ctx)
				if err != nil {
					return nil // all are done
				}
				if err := finish(q, task); err != nil {
					return err
				}
			}
		})
	}
	for first := 0; first < n; first += 1000 {
		if _, err = q.Add(p.scansFrom(first, min(1000, n-first))...); err == nil {
			err = q.Drained(p.ctx)
		}
		if err != nil {
			break
		}
	}
	stop()
	if err := errors.Join(err, g.Wait(), q.Close()); err != nil {
		return err
	}
	if err := p.scandrop("run", "--once"); err != nil { // the journal takes its entries
		return err
	}
	if err := p.scandrop("queue", "compact"); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(p.state, "queue.db"))
	if err == nil {
		told(fmt.Sprintf("the queue file for each of %d done scans, compact", n), fmt.Sprintf("%d bytes", info.Size()/int64(n)), "< 800")
	}
	return err
}

// finish takes the step of a task, as if the service were ready at once.
func finish(q *queue.Queue, task queue.Task) error {
	var o queue.Outcome
	switch j := task.Job; task.Step {
	case queue.Upload:
		sending, err := q.Report(task, queue.Sending{})
		if err != nil {
			return err
		}
		task.Job = sending
		o = queue.Uploaded{Document: fmt.Sprintf("doc%010d", j.ID), Pages: 1}
	case queue.Collect:
		if _, err := q.Reserve(j.ID, "txt", strings.TrimSuffix(j.Path, ".pdf")+".txt", queue.Identity(j.Content, j.Options)); err != nil {
			return err
		}
		o = queue.Collected{Ready: time.Now()}
	case queue.Delete:
		o = queue.Deleted{Documents: []string{j.Document}}
	case queue.Census:
		o = queue.Counted{}
	case queue.Survey: // the service gives no list
		o = queue.Surveyed{Began: time.Now()}
	default:
		o = queue.Interrupted{}
	}
	_, err := q.Report(task, o)
	return err
}

// known tells what many scans that are done, and many that wait, cost.
func (p *place) known(known, waiting int) error {
	if err := p.scandrop("run", "--once"); err != nil {
		return err
	}
	q, err := p.openQueue()
	if err != nil {
		return err
	}
	none, err := p.steps(q, 0)
	if err != nil {
		return errors.Join(err, q.Close())
	}
	const first = 10_000 // above what steps added
	now := time.Now().UTC()
	_, err = q.Replay(func(yield func(queue.Entry, error) bool) {
		for i := range known {
			s := p.scan(first + i)
			identity := queue.Identity(s.Content, s.Options)
			j := queue.Job{
				ID: uint64(first + i), State: queue.Done, Folder: s.Folder, Path: s.Path, Size: s.Size, ModTime: s.ModTime, Content: s.Content, Ext: s.Ext,
				Options: s.Options, Identity: identity, Mark: "sdAAAA-aaaaaaaaaaaaaaaa", Pages: 1, Source: fmt.Sprintf("doc%010d", i),
				Results: []queue.Result{{Format: "txt", Path: strings.TrimSuffix(s.Path, ".pdf") + ".txt", Content: identity}},
				Added:   now, Sent: now, Uploaded: now, Collected: now, Finished: now, Deleted: now,
			}
			if !yield(queue.Entry{Seq: uint64(first + i), At: now, Job: j, Paid: 1}, nil) {
				return
			}
		}
	}, queue.Head{})
	if err = errors.Join(err, q.Close()); err != nil {
		return err
	}
	if err := p.scandrop("queue", "compact"); err != nil {
		return err
	}
	// After a compaction, as after a crash, the file is read whole first.
	err = p.running(func(_ *exec.Cmd, start time.Duration) error {
		told(fmt.Sprintf("the first start after the queue file was compacted, among %d done scans", known), fmt.Sprintf("%.1f s", start.Seconds()), "")
		return nil
	})
	if err != nil {
		return err
	}
	err = p.running(func(cmd *exec.Cmd, start time.Duration) error {
		told(fmt.Sprintf("the start, among %d done scans", known), fmt.Sprintf("%.2f s", start.Seconds()), "")
		most := int64(0)
		for range 50 {
			most = max(most, groupMemory(cmd))
			time.Sleep(100 * time.Millisecond)
		}
		told("its memory (RssAnon)", fmt.Sprintf("%.0f MB", float64(most)/1e6), "< 80 MB")
		return nil
	})
	if err != nil {
		return err
	}
	if q, err = p.openQueue(); err != nil {
		return err
	}
	defer q.Close()
	beside := first + known
	for n := 0; n < waiting; n += 1000 {
		if _, err := q.Add(p.scansFrom(beside+n, min(1000, waiting-n))...); err != nil {
			return err
		}
	}
	many, err := p.steps(q, beside+waiting)
	if err != nil {
		return err
	}
	told(fmt.Sprintf("a scan is added, claimed and given back, among %d done and %d waiting ones", known, waiting), fmt.Sprintf("%.1f ms; among none %.1f ms", many.Seconds()*1000, none.Seconds()*1000), "flat")
	began := time.Now()
	if _, err := q.Counts(); err != nil {
		return err
	}
	told("all are counted", fmt.Sprintf("%.2f ms", time.Since(began).Seconds()*1000), "flat")
	began = time.Now()
	listed := 0
	for _, err := range q.All(queue.Filter{States: []queue.State{queue.Queued}}) {
		if err != nil {
			return err
		}
		if listed++; listed == 100 {
			break
		}
	}
	told("a hundred that wait are listed", fmt.Sprintf("%.2f ms", time.Since(began).Seconds()*1000), "flat")
	return nil
}

// steps is the time that a scan takes to be added, claimed and given back.
func (p *place) steps(q *queue.Queue, first int) (time.Duration, error) {
	const n = 100
	began := time.Now()
	for i := range n {
		if _, err := q.Add(p.scan(first + i)); err != nil {
			return 0, err
		}
		task, err := q.Claim(p.ctx)
		if err != nil {
			return 0, err
		}
		o := queue.Outcome(queue.Interrupted{})
		if task.Step == queue.Census {
			o = queue.Counted{}
		}
		if _, err := q.Report(task, o); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / n, nil
}

// idle tells what it costs to watch a folder with many files in which nothing happens.
func (p *place) idle(files int, while time.Duration) error {
	const inFolder = 1000
	for i := range files {
		dir := filepath.Join(p.scans, fmt.Sprint(i/inFolder))
		if i%inFolder == 0 {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("scan%07d.pdf", i)), nil, 0o600); err != nil {
			return err
		}
	}
	return p.running(func(cmd *exec.Cmd, _ time.Duration) error {
		const rest = 150 * time.Second
		time.Sleep(rest) // the first looks, by which it learns what is there, are not what is meant
		before := groupCPU(cmd)
		time.Sleep(while)
		told(fmt.Sprintf("it watches %d files, and nothing happens for %v", files, while), fmt.Sprintf("%.2f %% of a core", 100*(groupCPU(cmd)-before).Seconds()/while.Seconds()), "< 0.2 %")
		told("its memory (RssAnon) then", fmt.Sprintf("%.0f MB", float64(groupMemory(cmd))/1e6), "< 30 MB")
		return nil
	})
}

// latency tells how long after a scan was moved into the folder its upload began, beyond
// the time for which it must be still.
func (p *place) latency(kind, ext string, content func(string, row) []byte) error {
	return p.running(func(*exec.Cmd, time.Duration) error {
		time.Sleep(2 * time.Second) // until it has looked at its empty folder
		const scans, still = 200, 300 * time.Millisecond
		before, err := p.server.counted(p.ctx)
		if err != nil {
			return err
		}
		var waits []time.Duration
		for i := range scans {
			name := fmt.Sprintf("one%d", i)
			there, err := p.drop(name+ext, content(name, row{Name: kind, Size: 10 << 10}))
			if err != nil {
				return err
			}
			c, err := p.sent(before.Uploads + i + 1)
			if err != nil {
				return err
			}
			waits = append(waits, c.Began[len(c.Began)-1].Sub(there)-still)
		}
		slices.Sort(waits)
		ms := func(share float64) float64 { return waits[int(share*scans)].Seconds() * 1000 }
		told(fmt.Sprintf("the upload of a %s begins, after it was moved into the folder, beyond the %d ms for which it must be still (%d scans, one at a time)", kind, still.Milliseconds(), scans),
			fmt.Sprintf("%.0f ms at the median, %.0f ms at the 99th percentile", ms(0.5), ms(0.99)), "50 ms")
		return nil
	})
}

// drop puts a scan into the folder in one step, and returns when that was.
func (p *place) drop(name string, content []byte) (time.Time, error) {
	temp := filepath.Join(p.state, "dropped.tmp")
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return time.Time{}, err
	}
	return time.Now(), os.Rename(temp, filepath.Join(p.scans, name))
}

// makePDF is a scan of one page that differs from all others.
func makePDF(name string, r row) []byte {
	objects := []string{
		"<</Type/Catalog/Pages 2 0 R>>",
		"<</Type/Pages/Kids[3 0 R]/Count 1>>",
		"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<>>/Contents 4 0 R>>",
		fmt.Sprintf("<</Length %d>>stream\n%%%s of %s%s\nendstream", r.Size+len(name)+len(r.Name)+6, name, r.Name, strings.Repeat(" ", r.Size)),
	}
	pdf, references := "%PDF-1.7\n", fmt.Sprintf("xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for i, object := range objects {
		references += fmt.Sprintf("%010d 00000 n \n", len(pdf))
		pdf += fmt.Sprintf("%d 0 obj\n%s\nendobj\n", i+1, object)
	}
	return fmt.Appendf(nil, "%s%strailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", pdf, references, len(objects)+1, len(pdf))
}

// sent waits until so many scans were uploaded and all is seen through.
func (p *place) sent(scans int) (counted, error) {
	for began := time.Now(); time.Since(began) < longest; time.Sleep(20 * time.Millisecond) {
		if c, err := p.server.counted(p.ctx); err != nil || c.Uploads == scans && c.Left == 0 {
			return c, err
		}
	}
	return counted{}, errors.New("the scans are not sent")
}

// uploads tells what it takes to send large scans, eight at once.
func (p *place) uploads() error {
	return p.running(func(cmd *exec.Cmd, _ time.Duration) error {
		time.Sleep(2 * time.Second) // until it has looked at its empty folder
		const scans = 24
		r := row{Name: "large", Scans: scans, Size: 19_000_000}
		for i := range scans {
			if _, err := p.drop(fmt.Sprintf("large%d.gif", i), makeScan(fmt.Sprintf("large%d", i), r)); err != nil {
				return err
			}
		}
		most := int64(0)
		for began := time.Now(); time.Since(began) < longest; time.Sleep(20 * time.Millisecond) {
			most = max(most, groupMemory(cmd))
			if c, err := p.server.counted(p.ctx); err != nil || c.Uploads == scans && c.Left == 0 {
				told(fmt.Sprintf("its memory (RssAnon) while it sends %d scans of 19 MB, 8 at once", scans), fmt.Sprintf("%.0f MB at most", float64(most)/1e6), "< 60 MB")
				return err
			}
		}
		return errors.New("the large scans are not sent")
	})
}
