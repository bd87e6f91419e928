package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/pages"
	"scandrop/queue"
	"scandrop/uploader"
	"scandrop/watcher"
)

// An intake says what is wanted of a scan, and what of it can be told before
// anything is paid.
type intake struct {
	files   files
	folders map[string]config.Folder // by path
	pages   pages.Tool
	spool   spool
}

// examineWithin bounds a look into a scan that waits to be taken: others wait
// behind it.
const examineWithin = 20 * time.Second

func newIntake(c *config.Config, f files, tool pages.Tool) *intake {
	tool.Timeout = examineWithin
	in := &intake{files: f, folders: map[string]config.Folder{}, pages: tool, spool: newSpool(c.State)}
	for _, folder := range c.Folders {
		in.folders[folder.Path] = folder
	}
	return in
}

// stamps remembers how profiles were when they were first looked for since the jobs that
// wait were last given what is wanted of them, whoever did so: only then can it be told
// that one has changed since.
type stamps struct {
	mu sync.Mutex
	of map[string]stamp // by path; the zero stamp where there is none
}

// note takes note of how the profile is, unless that is known.
func (s *stamps) note(path string) {
	now := stampOf(path) // a share may hang, and nobody else must wait for it
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.of[path]; !known {
		s.of[path] = now
	}
}

// changed reports whether a profile that was looked for in the hot folder is another
// now. One folder that hangs keeps none of the others waiting.
func (s *stamps) changed(hot string) bool {
	s.mu.Lock()
	seen := maps.Clone(s.of)
	s.mu.Unlock()
	for path, was := range seen {
		if below(hot, path) && stampOf(path) != was {
			return true
		}
	}
	return false
}

// forget has the profiles in the hot folder taken note of anew.
func (s *stamps) forget(hot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(path string, _ stamp) bool { return below(hot, path) })
}

func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// A stamp tells a changed file from an unchanged one.
type stamp struct {
	size int64
	mod  time.Time
}

func stampOf(path string) stamp {
	info, err := os.Lstat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime()}
}

// A wanted is what is wanted of the scans in one folder: hold is set, and says
// why, where that cannot be understood.
type wanted struct {
	folder config.Folder
	hold   *queue.Hold
}

// profiles resolves, once each, what is wanted in folders below hot ones.
type profiles struct {
	in    *intake
	known map[string]wanted // by folder
}

func (in *intake) profiles() profiles { return profiles{in, map[string]wanted{}} }

// of is what is wanted of the scan at path in the hot folder. The error wraps
// [uploader.ErrRootMissing] if that is not there.
func (p profiles) of(hot, path string) (wanted, error) { return p.within(hot, filepath.Dir(path)) }

// within is what is wanted in the folder dir: what is in the one around it, but for
// what a profile in it says.
func (p profiles) within(hot, dir string) (wanted, error) {
	if w, ok := p.known[dir]; ok {
		return w, nil
	}
	w := wanted{folder: p.in.folders[hot]}
	rel, err := filepath.Rel(hot, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return w, nil
	}
	if rel != "." {
		if w, err = p.within(hot, filepath.Dir(dir)); err != nil {
			return w, err
		}
	}
	if w.hold == nil {
		text, err := p.in.profile(hot, dir)
		if errors.Is(err, uploader.ErrRootMissing) {
			return w, err
		}
		if err == nil && text != nil {
			var own config.Folder
			if own, err = w.folder.WithProfile(filepath.Join(dir, config.ProfileName), text); err == nil {
				w.folder = own
			}
		}
		if err != nil {
			w.hold = &queue.Hold{Cause: queue.Profile, Folder: hot, Dir: dir,
				Reason: fmt.Sprintf("what this folder asks for cannot be understood: %s; mend or remove the file, and it goes on by itself", strings.ReplaceAll(err.Error(), "\n", "; "))}
		}
	}
	p.known[dir] = w
	return w, nil
}

// profile reads the profile in dir; nil if there is none.
func (in *intake) profile(hot, dir string) ([]byte, error) {
	path := filepath.Join(dir, config.ProfileName)
	in.files.stamps.note(path) // before it is read: a change in between is a change
	folder, err := in.files.hot(hot)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	file, err := folder.OpenFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, config.MaxProfile+1))
	if err == nil && len(text) > config.MaxProfile {
		return nil, fmt.Errorf("%s is over %d bytes", path, config.MaxProfile)
	}
	return text, err
}

// options are those of the jobs of the hot folder, for [queue.Queue.Configure].
func (in *intake) options(hot string) (usual queue.Options, of func(path string) (queue.Options, *queue.Hold)) {
	p := in.profiles()
	return optionsOf(in.folders[hot]), func(path string) (queue.Options, *queue.Hold) {
		w, err := p.of(hot, path)
		if err != nil { // missing: it is held, and looked at again when it is back
			return optionsOf(in.folders[hot]), nil
		}
		return optionsOf(w.folder), w.hold
	}
}

// examine is [watcher.Folder.Examine]: it looks into the scan, and keeps a copy
// of it if that is wanted.
func (in *intake) examine(ctx context.Context, scan *os.File, file *watcher.File) error {
	w, err := in.profiles().of(file.Folder, file.Path)
	if err != nil {
		return err
	}
	if err := in.inspect(ctx, scan, file, w.folder); err != nil || file.Reject != "" || !w.folder.Spool {
		return err
	}
	if _, err := scan.Seek(0, io.SeekStart); err != nil {
		return err
	}
	content, err := in.spool.keep(scan, file.Size, file.Ext)
	if err != nil {
		return err
	}
	file.Content, file.Spooled = content, true
	return nil
}

// inspectOnly is examine for who only looks: no copy is kept.
func (in *intake) inspectOnly(ctx context.Context, scan *os.File, file *watcher.File) error {
	w, err := in.profiles().of(file.Folder, file.Path)
	if err != nil {
		return err
	}
	return in.inspect(ctx, scan, file, w.folder)
}

// inspect counts the scan's pages, and rejects what would be paid for in vain.
// What cannot be told stands in nobody's way.
func (in *intake) inspect(ctx context.Context, scan *os.File, file *watcher.File, f config.Folder) error {
	report, err := in.pages.Inspect(ctx, scan, file.Ext)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err != nil && !errors.Is(err, pages.ErrUnreadable) {
		return err // it is we who cannot look: a scan is not sent past its limits for that
	}
	file.Pages = report.Pages
	if report.Encrypted {
		file.Reject = "it is encrypted: nobody can read it without its password; save it without one, or scan it again"
		return nil
	}
	if f.Blank == "skip" {
		blank, err := in.pages.Blank(ctx, scan, file.Ext)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil && !errors.Is(err, pages.ErrUnreadable) {
			return err
		}
		if blank {
			file.Reject = "nothing is on it (blank: skip); retry it to have it sent all the same"
		}
	}
	return ctx.Err()
}
