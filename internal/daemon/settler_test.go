package daemon

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"scandrop/internal/config"
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
