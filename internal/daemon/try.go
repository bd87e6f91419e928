package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/mount"
	"scandrop/internal/result"
)

// A Try is something that a daemon needs to do with a file or a folder.
type Try struct {
	Path string `json:"path"`
	// File says that it is a file, and no folder.
	File bool `json:"file,omitempty"`
	// Write says that it must write: in the folder, or to the end of the file.
	Write bool `json:"write,omitempty"`
	// Untouched has it asked of the system instead, as far as that tells: nothing is
	// made in the folder.
	Untouched bool `json:"-"`
	// Via is the path under which it is reached, if that is another.
	Via string `json:"via,omitempty"`
}

// A Trial says what came of a [Try].
type Trial struct {
	Path string `json:"path"`
	// Problem says why it cannot be done, and Hint the way out; "" if it can.
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Absent says that there is nothing at the path.
	Absent bool `json:"absent,omitempty"`
	// Kind is what [mount.Silent] says of a folder.
	Kind string `json:"kind,omitempty"`
	// Free is how many bytes may be written in a folder; -1 if that is not known.
	Free int64 `json:"free"`
}

// tryPatience is how long a folder may take to answer: a share whose server is gone
// never does.
const tryPatience = 10 * time.Second

// Do tries it, and leaves nothing behind. It takes ten seconds at most.
func (t Try) Do() Trial {
	done := make(chan Trial, 1)
	go func() { done <- t.do() }()
	select {
	case trial := <-done:
		return trial
	case <-time.After(tryPatience):
		return Trial{Path: t.Path, Free: -1, Problem: fmt.Sprintf("it does not answer within %v", tryPatience),
			Hint: "see that the server it lies on, and the way to it, work; or mount it anew"}
	}
}

func (t Try) do() Trial {
	path := t.Path
	if t.Via != "" {
		path = t.Via
	}
	trial := Trial{Path: t.Path, Free: -1}
	fail := func(err error, hint string) Trial {
		trial.Hint = hint
		if privacy := privacyHint(err); privacy != "" {
			trial.Hint = privacy
		}
		trial.Problem = strings.ReplaceAll(err.Error(), path, t.Path)
		return trial
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		trial.Absent = true
		return fail(errors.New("it does not exist"), "make it, or mount it")
	case errors.Is(err, fs.ErrPermission):
		return fail(err, "let this user read and write in it")
	case err != nil:
		return fail(err, "name another place, or see that its disk is well")
	case t.File && info.Mode().IsRegular():
		flag := os.O_RDONLY
		if t.Write {
			flag = os.O_WRONLY | os.O_APPEND
		}
		f, err := os.OpenFile(path, flag, 0)
		if err != nil {
			return fail(err, "let this user use it")
		}
		if err := f.Close(); err != nil {
			return fail(err, "")
		}
		return trial
	case !info.IsDir():
		return fail(errors.New("it is not a folder"), "name a folder")
	}
	trial.Kind = mount.Silent(path)
	if free, err := result.Room(path); err == nil {
		trial.Free = int64(min(free, math.MaxInt64))
	}
	d, err := os.Open(path)
	if err == nil {
		if _, err = d.ReadDir(1); errors.Is(err, io.EOF) {
			err = nil
		}
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		return fail(err, "let this user read and write in it")
	}
	if !t.Write {
		return trial
	}
	if t.Untouched {
		if err := mayWrite(path); err != nil {
			return fail(err, "let this user read and write in it")
		}
		return trial
	}
	f, err := os.CreateTemp(path, ".scandrop-check-*")
	if err != nil {
		return fail(err, "let this user read and write in it")
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fail(err, "see that its disk is well")
	}
	return trial
}

// TryState is what the daemon needs to do with the state folder, or, where there is
// none yet (new), with the folder that it will be made in.
func TryState(c *config.Config) (t Try, isNew bool) {
	dir := c.State
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			return Try{Path: dir, Write: true}, dir != c.State
		}
		dir = filepath.Dir(dir)
	}
}

// Scarce says that a folder's disk has too little room, or soon will; "" if it has
// enough, or if nobody can tell. short means that nothing is sent any more.
func (t Trial) Scarce() (text string, short bool) {
	const plenty = 200 << 20
	if t.Free < 0 || t.Free >= plenty || t.Problem != "" {
		return "", false
	}
	return fmt.Sprintf("its disk has %.1f MB left", float64(t.Free)/1e6), t.Free < stateRoom
}

// privacyHint is the way out where the system's protection of people's privacy
// refuses a folder; "" if it is not that.
func privacyHint(err error) string {
	if !guardsPrivacy || !refusedByPrivacy(err) {
		return ""
	}
	return privacyAdvice
}

// privacyAdvice is the way out on macOS.
const privacyAdvice = "macOS lets no program read Desktop, Documents, Downloads, network or removable volumes before you say so: " +
	"System Settings, Privacy & Security, Full Disk Access, add scandrop, and restart it; or name a folder elsewhere, such as /Users/Shared/Scans"
