package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// demoConfig is an ordinary configuration: three hot folders, of which the
// inner ones want something else of their scans.
const demoConfig = `# The configuration of the demo.
api:
  url: %s
  token_file: token
  rate: 50
  burst: 10
state: state
status: {listen: "127.0.0.1:0"}
folders:
  - path: scans
    formats: [txt, docx]
    quiet: 1s
  - path: scans/tables
    action: tables
    formats: [xlsx, json]
    quiet: 1s
  - path: scans/forms
    action: extractor
    extractor_id: patientfrm
    formats: [csv]
    quiet: 1s
`

// demoFolders says where samples are dropped that don't just hold text.
var demoFolders = map[string]string{"ledger.tiff": "tables", "patient-form.jpg": "forms"}

func (a *app) demo() *cobra.Command {
	dir, stay := "", false
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work, without an account",
		Long: `Start the built-in stand-in of the API and the real daemon over a temporary hot
folder, drop sample scans into it as a scanner would, and show what becomes of
them. Nothing leaves this machine.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				temp, err := os.MkdirTemp("", "scandrop-demo-")
				if err != nil {
					return err
				}
				err = a.playDemo(c.Context(), temp, stay)
				if e := os.RemoveAll(temp); e == nil {
					fmt.Fprintf(a.Err, "\nThe folder of the demo is removed; --dir DIR keeps it.\n")
				}
				return err
			}
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				return usage("name a folder that is not there yet", "%s is not empty", dir)
			}
			return a.playDemo(c.Context(), dir, stay)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "play in `DIR`, and leave everything there")
	c.Flags().BoolVar(&stay, "stay", false, "keep running, for scans of your own, until Ctrl-C")
	return c
}

// playDemo plays the demo in a folder.
func (a *app) playDemo(ctx context.Context, dir string, stay bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	engine, err := a.engine()
	if err != nil {
		return err
	}
	samples, err := sampleScans(a.samples)
	if err != nil {
		return err
	}
	box := sandbox.New(sandbox.Options{
		Engine: engine,
		Work: func(d sandbox.Document) time.Duration {
			return time.Second + time.Duration(d.Pages)*200*time.Millisecond
		},
	})
	interrupted := func(parent context.Context) func() bool {
		return func() bool { return parent.Err() != nil }
	}(ctx)
	g, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	url := make(chan string, 1)
	g.Go(func() error {
		return serve(ctx, box, "127.0.0.1:0", func(u string) { url <- u })
	})
	var conf *config.Config
	select {
	case u := <-url:
		if conf, err = setUpDemo(dir, u); err != nil {
			stop()
			return errors.Join(err, g.Wait())
		}
	case <-ctx.Done():
		return g.Wait()
	}
	logFile, err := os.OpenFile(filepath.Join(dir, "scandrop.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		stop()
		return errors.Join(err, g.Wait())
	}
	defer logFile.Close()

	watch := newDemoWatch(a.Out, filepath.Join(dir, "scans"))
	fmt.Fprintf(a.Out, "The service: a stand-in at %s, which reads nothing but these samples.\n", conf.API.URL)
	fmt.Fprintf(a.Out, "The hot folder: %s\n\n", watch.dir)
	g.Go(func() error {
		_, err := daemon.Run(ctx, daemon.Options{
			Config: conf, Version: buildVersion(), Moved: watch.moved,
			Log: slog.New(slog.NewTextHandler(logFile, nil)),
		})
		stop()
		return err
	})
	g.Go(func() error {
		defer func() {
			if !stay {
				stop()
			}
		}()
		if err := dropSamples(ctx, a.samples, samples, watch); err != nil {
			return err
		}
		if err := watch.ended(ctx, len(samples)); err != nil {
			return err
		}
		if stay {
			fmt.Fprintf(a.Out, "\nDrop scans of your own into %s; Ctrl-C ends.\n", watch.dir)
		}
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if _, done := watch.count(); done < len(samples) && interrupted() {
		return &statusError{ExitFailed, errors.New("the demo was interrupted"), ""}
	}
	return a.demoEnd(dir, watch, box, len(samples))
}

// setUpDemo makes the folders, the token and the configuration, and reads it
// as any other is read, but for the environment: a real token must not get in.
func setUpDemo(dir, url string) (*config.Config, error) {
	for _, sub := range []string{"scans/tables", "scans/forms"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(sub)), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, demoConfig, url), 0o644); err != nil {
		return nil, err
	}
	return config.Load(path, config.Environment{})
}

// sampleScans lists the scans among the samples: those with a transcript.
func sampleScans(samples fs.FS) ([]string, error) {
	transcripts, err := fs.Glob(samples, "*.json")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range transcripts {
		names = append(names, strings.TrimSuffix(t, ".json"))
	}
	return names, nil
}

// dropSamples drops scans as scanners do: in pieces, with pauses, and every
// other one under a temporary name that is changed in the end.
func dropSamples(ctx context.Context, samples fs.FS, names []string, w *demoWatch) error {
	for i, name := range names {
		data, err := fs.ReadFile(samples, name)
		if err != nil {
			return err
		}
		target := filepath.Join(w.dir, demoFolders[name], name)
		path := target
		renamed := i%2 == 1
		if renamed {
			path += ".part"
		}
		w.say(name, "the scanner begins to write it")
		if err := writeSlowly(ctx, path, data); err != nil {
			return err
		}
		if renamed {
			if err := os.Rename(path, target); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeSlowly(ctx context.Context, path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for piece := range slices.Chunk(data, len(data)/4+1) {
		if _, err := f.Write(piece); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(120 * time.Millisecond):
		}
	}
	return f.Close()
}

// A demoWatch shows what happens to each scan.
type demoWatch struct {
	dir   string
	began time.Time

	mu      sync.Mutex
	out     io.Writer
	states  map[uint64]queue.State
	changed chan struct{}
}

func newDemoWatch(out io.Writer, dir string) *demoWatch {
	return &demoWatch{out: out, dir: dir, began: time.Now(), states: map[uint64]queue.State{}, changed: make(chan struct{}, 1)}
}

var demoWords = map[queue.State]string{
	queue.Queued:     "it has settled and is queued",
	queue.Uploading:  "uploading",
	queue.Doubtful:   "sent, but not answered",
	queue.Processing: "the service has it",
	queue.Written:    "its results are on disk",
	queue.Done:       "its remote copy is deleted: done",
}

func (w *demoWatch) say(name, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.out, "%6.1fs  %-18s %s\n", time.Since(w.began).Seconds(), clean(name), clean(what))
}

func (w *demoWatch) moved(j queue.Job) {
	w.mu.Lock()
	was := w.states[j.ID]
	w.states[j.ID] = j.State
	w.mu.Unlock()
	if was != j.State {
		words := demoWords[j.State]
		if words == "" {
			words = fmt.Sprintf("%s: %s", j.State, j.Error)
		}
		w.say(filepath.Base(j.Path), words)
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// ended waits until that many scans are at their end.
func (w *demoWatch) ended(ctx context.Context, scans int) error {
	for {
		if n, _ := w.count(); n >= scans {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.changed:
		}
	}
}

func (w *demoWatch) count() (ended, done int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.states {
		if s.Final() {
			ended++
		}
		if s == queue.Done {
			done++
		}
	}
	return ended, done
}

// demoEnd shows what came back, and what the service still holds.
func (a *app) demoEnd(dir string, w *demoWatch, box *sandbox.Sandbox, scans int) error {
	fmt.Fprintf(a.Out, "\nWhat lies in the folder now:\n")
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.Out, "%9d  %s\n", info.Size(), clean(name))
		if ext := filepath.Ext(name); ext == ".txt" || ext == ".csv" {
			return a.firstLines(path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	stats, left := box.Stats(), len(box.Documents())
	_, done := w.count()
	fmt.Fprintf(a.Out, "\n%d scans dropped, %d done; %d uploads, %d pages paid for; the service still holds %d documents.\n",
		scans, done, stats.Uploads, stats.Billed, left)
	if done < scans || stats.Uploads != done || left != 0 {
		return &statusError{ExitFailed, errors.New("the demo did not come to its end"), "the log says why: run it again with --dir DIR, and look at DIR/scandrop.log"}
	}
	return nil
}

// firstLines prints the beginning of a text.
func (a *app) firstLines(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 0; n < 3 && lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "===") {
			continue
		}
		n++
		fmt.Fprintf(a.Out, "%9s  | %s\n", "", clean(line))
	}
	return lines.Err()
}
