package cli

import (
	"io"
	"log/slog"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"scandrop/internal/config"
	"scandrop/queue"
)

// A progress is the bar of a run that ends: scans at their end among scans
// known. A nil progress draws nothing.
type progress struct {
	bars *mpb.Progress
	bar  *mpb.Bar

	mu    sync.Mutex
	known map[uint64]bool // by job: whether it is at its end
	ended int64
}

func newProgress(w io.Writer) *progress {
	p := &progress{known: map[uint64]bool{}}
	p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(48))
	p.bar = p.bars.AddBar(0,
		mpb.PrependDecorators(decor.Name("scans "), decor.CountersNoUnit("%d of %d")),
		mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
	return p
}

// moved takes note of a job. It may be called concurrently.
func (p *progress) moved(j queue.Job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.known[j.ID]
	p.known[j.ID] = j.State.Final()
	if j.State == "" {
		delete(p.known, j.ID)
	}
	switch now := p.known[j.ID]; {
	case now && !was:
		p.ended++
	case was && !now:
		p.ended--
	}
	p.bar.SetTotal(int64(len(p.known)), false)
	p.bar.SetCurrent(p.ended)
}

// logger logs warnings above the bar; the rest is what the bar shows.
func (p *progress) logger(c config.Log) *slog.Logger {
	level := slog.LevelWarn
	if c.Level == "debug" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(p.bars, &slog.HandlerOptions{Level: level}))
}

// stop draws the bar for the last time.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.bar.Abort(false)
	p.bars.Wait()
}
