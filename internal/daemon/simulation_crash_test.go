//go:build unix

package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/queue"
	"scandrop/uploader"
)

// An incarnation is the daemon from its start to its end: the real one, but for
// the wires that show where it is and on which it can be killed.
//
// A kill is a cut through everything that the incarnation can do to the world.
// Its queue as it was committed, and its folders as they were, are copied while
// none of its effects is under way; the copies are the world from then on. What
// is killed goes on for a moment with the originals, which nobody looks at any
// more, and without a network. So nothing of it needs to be stopped where it
// stands, no lock of its queue file is in the way of the next incarnation, and
// no half of a transaction is ever seen: a commit lies on one side of the cut.
type incarnation struct {
	s      *simulation
	daemon *daemon

	// gate is held, shared, while an effect on folders is under way, and wholly
	// while the world is copied. No holder of it waits for anything that takes
	// time.
	gate sync.RWMutex
	dead bool // under gate

	life   context.Context // ends with the kill; requests hang on it
	kill   context.CancelFunc
	stop   context.CancelFunc // tells the daemon to stop
	once   sync.Once
	reload chan *config.Config
	died   chan struct{} // closed by the kill
	ended  chan error    // what the daemon's run returned

	mu    sync.Mutex
	left  int    // kill at this point from now; 0 = at none
	named string // only points of this name count; "" = all
}

var errKilled = errors.New("killed")

// start starts an incarnation on the state folder as it is.
func (s *simulation) start() (*incarnation, error) {
	in := &incarnation{s: s, reload: make(chan *config.Config), died: make(chan struct{}), ended: make(chan error, 1)}
	in.life, in.kill = context.WithCancel(context.Background())
	c := *s.config
	c.State = s.state
	d, err := begin(Options{
		Config: &c, Version: "simulation", Largest: largestPart, Reload: in.reload, Transport: network{in}, Listen: listenStill,
		Moved: func(j queue.Job) { in.point("moved to " + string(j.State)) },
		Log:   slog.New(slog.NewTextHandler(s.story, &slog.HandlerOptions{ReplaceAttr: s.shorten})),
	})
	if err != nil {
		in.kill()
		return nil, err
	}
	in.daemon = d
	d.uploader.Files = gated{in, d.uploader.Files}
	d.uploader.Parts = gatedParts{gated{in: in}, d.uploader.Parts}
	ctx, stop := context.WithCancel(context.Background())
	in.stop = stop
	s.running.Go(func() {
		err := d.run(ctx)
		in.ended <- errors.Join(err, d.queue.Close())
	})
	return in, nil
}

// killAt has it killed at the n-th point from now that has the name; "" is any.
func (in *incarnation) killAt(n int, name string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.left, in.named = n, name
}

// point is a place at which the process may be killed. The caller holds no gate.
func (in *incarnation) point(name string) {
	in.mu.Lock()
	now := false
	if in.left > 0 && (in.named == "" || in.named == name) {
		in.left--
		now = in.left == 0
	}
	in.mu.Unlock()
	if now {
		in.crash(name)
	}
}

// crash kills the incarnation at this very moment.
func (in *incarnation) crash(where string) {
	in.once.Do(func() {
		in.gate.Lock()
		err := in.s.cut(in.daemon.queue)
		in.dead = true
		in.gate.Unlock()
		in.kill()
		in.stop()
		in.s.crashed(where, err)
		close(in.died)
	})
}

// alive reports whether an effect may go ahead.
func (in *incarnation) alive() bool {
	in.gate.RLock()
	defer in.gate.RUnlock()
	return !in.dead
}

// cut copies the world: the state folder with the queue as it is committed, and
// the tree with the folders. The link through which everybody sees the tree
// then leads to the copy.
func (s *simulation) cut(q *queue.Queue) error {
	s.generation++
	state := filepath.Join(s.dir, fmt.Sprint("state", s.generation))
	for { // until nothing was committed between the copies of the queue and of what lies beside it
		before, err := q.Changes()
		if err == nil {
			err = copyTree(s.state, state, queueFile, queueFile+".sum")
		}
		if err == nil {
			err = q.Snapshot(filepath.Join(state, queueFile))
		}
		if err != nil {
			return err
		}
		after, err := q.Changes()
		if err != nil {
			return err
		}
		if before == after {
			break
		}
		if err := os.RemoveAll(state); err != nil {
			return err
		}
	}
	tree := filepath.Join(s.dir, fmt.Sprint("tree", s.generation))
	if err := copyTree(filepath.Join(s.dir, fmt.Sprint("tree", s.generation-1)), tree); err != nil {
		return err
	}
	s.state = state
	return s.link(tree)
}

// older is where a copy of the queue file is kept to be put back.
func (s *simulation) older() string { return filepath.Join(s.dir, "older.db") }

// copyQueue has somebody make a copy of the queue file.
func (s *simulation) copyQueue() {
	if q := s.queue(); q != nil {
		s.copied = s.figures.starts
		if err := errors.Join(gone(s.older()), q.Snapshot(s.older())); err != nil {
			s.violated("the queue file cannot be copied: %v", err)
		}
	}
}

// loseQueue kills the daemon, and its queue file is not there any more, or not what it
// was.
func (s *simulation) loseQueue(how string) {
	if s.in != nil {
		s.in.crash("at rest")
		s.in = nil
		s.restart = time.Now().Add(s.plan.downtime)
	}
	path := filepath.Join(s.state, queueFile)
	text, err := os.ReadFile(path)
	if err != nil { // it has not run yet
		return
	}
	s.lost = time.Now()
	switch how {
	case "gone with its snapshots":
		err = errors.Join(os.Remove(path), os.RemoveAll(filepath.Join(s.state, snapshotFolder)))
	case "older":
		// One of the same start that nothing shows to be older is taken for the file.
		if text, err = os.ReadFile(s.older()); err != nil || s.copied == s.figures.starts {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, text, 0o600)
		}
	case "rotten":
		err = os.WriteFile(path, bytes.ReplaceAll(text, []byte(`"identity"`), []byte(`"identitx"`)), 0o600)
	default:
		err = os.Remove(path)
	}
	if err != nil {
		s.violated("the queue file cannot be spoilt: %v", err)
	}
}

// link makes the tree the one that everybody sees.
func (s *simulation) link(tree string) error {
	if err := os.Symlink(tree, s.world+".new"); err != nil {
		return err
	}
	return os.Rename(s.world+".new", s.world)
}

// copyTree copies a folder, times and all, but for files of the given names.
func copyTree(from, to string, without ...string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path != from {
			return nil
		}
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it got another name, or went, just now
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(target, info.Mode().Perm())
		}
		for _, name := range without {
			if d.Name() == name {
				return nil
			}
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, content, info.Mode().Perm()); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
}

// gated is the uploader's local side, with places to be killed at before, in
// the middle of, and after everything that it does.
type gated struct {
	in    *incarnation
	files uploader.Files
}

// enter begins an effect. Without an error leave must end it.
func (g gated) enter(name string) error {
	g.in.point(name)
	g.in.gate.RLock()
	if g.in.dead {
		g.in.gate.RUnlock()
		return errKilled
	}
	return nil
}

func (g gated) leave(name string) {
	g.in.gate.RUnlock()
	g.in.point(name)
}

func (g gated) Room(j queue.Job) error {
	if err := g.enter("room"); err != nil {
		return err
	}
	defer g.leave("room seen")
	return g.files.Room(j)
}

func (g gated) Open(j queue.Job) (io.ReadCloser, int64, error) {
	if err := g.enter("open"); err != nil {
		return nil, 0, err
	}
	defer g.leave("opened")
	return g.files.Open(j)
}

func (g gated) Has(j queue.Job, path string, content queue.Digest) (bool, error) {
	if err := g.enter("has"); err != nil {
		return false, err
	}
	defer g.leave("has seen")
	return g.files.Has(j, path, content)
}

func (g gated) OpenResult(j queue.Job, path string) (io.ReadCloser, error) {
	if err := g.enter("open result"); err != nil {
		return nil, err
	}
	defer g.leave("result opened")
	return g.files.OpenResult(j, path)
}

func (g gated) Move(j queue.Job, dir string) (string, error) {
	if err := g.enter("move"); err != nil {
		return "", err
	}
	defer g.leave("original moved")
	return g.files.Move(j, dir)
}

// Write holds the gate but while it waits for the network, and where it can be
// killed. Once it was killed what is left of the call only tidies up the old
// tree.
func (g gated) Write(ctx context.Context, j queue.Job, format string, fill func(hwocr.File) error, reserve uploader.Reserve) error {
	if err := g.enter("write"); err != nil {
		return err
	}
	defer g.leave("result written")
	release := func(f func() error) error {
		g.in.gate.RUnlock()
		err := f()
		g.in.gate.RLock()
		if g.in.dead {
			return errKilled
		}
		return err
	}
	return g.files.Write(ctx, j, format,
		func(into hwocr.File) error {
			return release(func() error {
				g.in.point("staged")
				defer g.in.point("filled")
				return fill(tapped{into, g.in})
			})
		},
		func(path string, content queue.Digest) (c queue.NameClaim, err error) {
			err = release(func() error {
				if err := g.enter("reserve"); err != nil {
					return err
				}
				defer g.leave("reserved")
				c, err = reserve(path, content)
				return err
			})
			return c, err
		})
}

// tapped is a result that is being written.
type tapped struct {
	hwocr.File
	in *incarnation
}

func (t tapped) Write(p []byte) (int, error) {
	n, err := t.File.Write(p)
	t.in.point("in a result")
	return n, err
}

// network carries every request of an incarnation to the sandbox.
type network struct{ in *incarnation }

func (w network) RoundTrip(req *http.Request) (*http.Response, error) {
	in := w.in
	op, id, format := asked(req)
	in.point(op + " begins")
	if !in.alive() {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errKilled
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	forget := context.AfterFunc(in.life, func() { cancel(errKilled) })
	end := func() {
		forget()
		cancel(nil)
	}
	sent := req.Clone(ctx)
	var body *bodyTap
	if req.Body != nil && req.Body != http.NoBody {
		body = &bodyTap{ReadCloser: req.Body, in: in}
		sent.Body = body
	}
	resp, err := in.s.exchange(sent, op, id, format, func() string { return body.mark() })
	in.point(op + " answered")
	if err != nil {
		end()
		return nil, err
	}
	resp.Body = &answerTap{ReadCloser: resp.Body, in: in, end: end}
	return resp, nil
}

// asked says what a request asks for, in the words of the sandbox's script.
func asked(req *http.Request) (op, id, format string) {
	_, path, _ := strings.Cut(req.URL.Path, "/documents")
	id, format, _ = strings.Cut(strings.TrimPrefix(path, "/"), ".")
	switch {
	case req.Method == http.MethodPost:
		op = "upload"
	case req.Method == http.MethodDelete:
		op = "delete"
	case id == "":
		op = "list"
	case format != "":
		op = "download"
	default:
		op = "status"
	}
	return op, id, format
}

// bodyTap is an upload on its way.
type bodyTap struct {
	io.ReadCloser
	in *incarnation

	mu   sync.Mutex
	head []byte
}

func (b *bodyTap) Read(p []byte) (int, error) {
	if len(p) > 300 { // as a wire would, in pieces
		p = p[:300]
	}
	n, err := b.ReadCloser.Read(p)
	b.in.point("in an upload")
	if !b.in.alive() {
		return 0, errKilled
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.head) < 2000 {
		b.head = append(b.head, p[:n]...)
	}
	return n, err
}

// mark is the mark in the upload's file name, as far as that was sent.
func (b *bodyTap) mark() string {
	if b == nil {
		return ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, name, _ := bytes.Cut(b.head, []byte(`filename="`))
	name, _, _ = bytes.Cut(name, []byte(`"`))
	return markOf(string(name))
}

// markOf finds the mark in the name of an upload.
func markOf(name string) string {
	for part := range strings.SplitSeq(name, ".") {
		if strings.HasPrefix(part, "sd") && strings.Contains(part, "-") {
			return part
		}
	}
	return ""
}

// answerTap is an answer on its way.
type answerTap struct {
	io.ReadCloser
	in  *incarnation
	end func()
}

func (a *answerTap) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	a.in.point("in an answer")
	if !a.in.alive() {
		return 0, errKilled
	}
	return n, err
}

func (a *answerTap) Close() error {
	defer a.end()
	return a.ReadCloser.Close()
}
