package daemon

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
	"scandrop/queue"
)

// A folder that answers late is told of the configuration that is wanted then, also
// where that is not in force yet, and no other folder waits for it.
func TestSettleLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folders := []config.Folder{{Path: "hangs"}, {Path: "slow"}, {Path: "quick"}}
		first, second := &config.Config{Folders: folders}, &config.Config{Folders: folders}
		delay := map[string]time.Duration{"hangs": 2*hangTime - time.Second, "slow": hangTime - time.Second}
		var mu sync.Mutex
		told, calls := map[string]*config.Config{}, map[string]int{}
		s := settler{log: slog.New(slog.DiscardHandler), out: map[string]bool{}, configure: func(c *config.Config, folder string) error {
			time.Sleep(delay[folder])
			mu.Lock()
			defer mu.Unlock()
			told[folder] = c
			calls[folder]++
			return nil
		}}
		began := time.Now()
		for _, c := range []*config.Config{first, second} {
			if err := s.settle(c); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 2*hangTime-time.Second { // the second waits for the slow one alone
			t.Errorf("the two took %v", took)
		}
		time.Sleep(4 * hangTime)
		synctest.Wait()
		for _, f := range folders {
			if told[f.Path] != second || calls[f.Path] != 2 {
				t.Errorf("%s was told %d times, of the newest last: %t; want it told twice", f.Path, calls[f.Path], told[f.Path] == second)
			}
		}
	})
}

// A folder that answers when all is over is no fault.
func TestSettleAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		s := settler{log: slog.New(slog.NewTextHandler(&log, nil)), out: map[string]bool{}, configure: func(*config.Config, string) error {
			time.Sleep(2 * hangTime)
			return queue.ErrClosed
		}}
		if err := s.settle(&config.Config{Folders: []config.Folder{{Path: "hangs"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * hangTime)
		synctest.Wait()
		if text := log.String(); strings.Contains(text, "ERROR") || !strings.Contains(text, "does not answer") {
			t.Errorf("the log says %s", text)
		}
	})
}

// What is wrong with a folder is kept and said as long as it is configured, and not
// once all is over.
func TestTroubles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file") // and no folder
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	d := &daemon{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	said := func(want int) {
		t.Helper()
		if n := strings.Count(log.String(), "cannot be used"); n != want {
			t.Errorf("it was said %d times, want %d", n, want)
		}
	}
	kept := func() bool {
		_, kept := d.troubles.Load(path)
		return kept
	}
	with, without := &config.Config{Folders: []config.Folder{{Path: path}}}, &config.Config{}
	d.config.Store(with)
	d.tryFolder(path)
	if said(1); !kept() {
		t.Error("it is not kept")
	}
	d.config.Store(without)
	if d.usable(without); kept() {
		t.Error("a reload leaves it")
	}
	if d.tryFolder(path); kept() {
		t.Error("it is kept of a folder that is not configured")
	}
	d.config.Store(with)
	d.stopped.Store(true)
	d.tryFolder(path)
	said(1)
}

// Folders that hang are waited for once, not one after the other.
func TestAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folders := []config.Folder{{Path: "hangs"}, {Path: "slow"}, {Path: "hangs, too"}, {Path: "quick"}}
		delay := map[string]time.Duration{"hangs": 2 * hangTime, "hangs, too": 3 * hangTime, "slow": hangTime - time.Second}
		began := time.Now()
		got := answering(folders, func(path string) { time.Sleep(delay[path]) })
		if len(got) != 2 || got[0].Path != "slow" || got[1].Path != "quick" {
			t.Errorf("%v answer, want slow and quick", got)
		}
		if d := time.Since(began); d != hangTime {
			t.Errorf("it took %v, want %v", d, hangTime)
		}
		time.Sleep(3 * hangTime)
	})
}
