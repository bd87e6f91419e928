package watcher

import (
	"crypto/sha256"
	"time"
)

const (
	// glance is how long a file must have been still that has its end and cannot
	// have another: a picture, or what arrived by a rename.
	glance = 300 * time.Millisecond

	// defaultQuiet is how long others must have been still.
	defaultQuiet = 5 * time.Second

	// longestQuiet bounds what a folder can be taught to wait: a scanner that is
	// left with its lid open must not hold up all scans of the next week.
	longestQuiet = 2 * time.Minute

	// longestPause is the longest stillness within a file that is believed to be one.
	// What grows after that was taken up anew by a person.
	longestPause = 10 * time.Minute

	// mostRecent is how many files are remembered that were handed over lately.
	mostRecent = 64
)

// pauses is what a folder knows of how long its scanner pauses within a file: between
// two pages that somebody puts on the glass, say.
type pauses struct {
	longest time.Duration
	stall   time.Duration // the longest before which a file lacked its end, as transfers make them
	told    time.Duration // what Config.Paused was told
	recent  map[string]handed
}

// handed is what is remembered of a file that was handed over and may yet grow.
type handed struct {
	since time.Time // when it was first seen as it was then
	mod   time.Time // its own time
	size  int64
	head  [sha256.Size]byte // of its first bytes
}

func newPauses(longest time.Duration) *pauses {
	return &pauses{longest: longest, told: longest, recent: make(map[string]handed)}
}

// quiet is how long a file of the folder must be still that may grow.
func (p *pauses) quiet() time.Duration {
	return max(defaultQuiet, min(p.longest*3/2, longestQuiet))
}

// seen learns from a file that grew after it had been still.
func (p *pauses) seen(pause time.Duration) {
	if pause <= longestPause {
		p.longest = max(p.longest, pause)
	}
}

// stalled learns from a file that grew after it had been still without its end. That
// says how long an end may be waited for, and nothing of files that have one.
func (p *pauses) stalled(pause time.Duration) {
	if pause <= longestPause {
		p.stall = max(p.stall, pause)
	}
}

// fade forgets something with each file, of which the longest pause is given: without
// others as long a pause is forgotten over some hundred files.
func (p *pauses) fade(pause time.Duration) {
	p.longest -= max(p.longest-pause, 0) / 50
	p.stall -= p.stall / 50
}

// handOver remembers a file that was handed over.
func (p *pauses) handOver(c *candidate) {
	if len(p.recent) >= mostRecent {
		oldest := ""
		for path, h := range p.recent {
			if oldest == "" || h.since.Before(p.recent[oldest].since) {
				oldest = path
			}
		}
		delete(p.recent, oldest)
	}
	p.recent[c.path] = handed{c.since, c.mod, c.size, c.head}
}

// grown is how long the file had been still before it grew, if it is one that was
// handed over and is now more of the same: then it was handed over too early. Another
// scan under the same name begins otherwise.
func (p *pauses) grown(c *candidate) time.Duration {
	before, ok := p.recent[c.path]
	if !ok || c.size <= before.size || c.head != before.head {
		return 0
	}
	return min(c.first.Sub(before.since), c.mod.Sub(before.mod))
}

// news is the longest pause, if it has changed so much since it was last told that a
// restart should know it.
func (p *pauses) news() (time.Duration, bool) {
	if d := p.longest - p.told; d.Abs() <= p.told/8 || p.quiet() == defaultQuiet && p.told*3/2 <= defaultQuiet {
		return 0, false
	}
	p.told = p.longest
	return p.longest, true
}

// grows reports whether a file of this name, or of this true extension, can be whole
// and still get further pages.
func grows(ext string) bool {
	switch formatOf(ext) {
	case "PDF", "TIFF":
		return true
	}
	return false
}
