package daemon

import (
	"runtime"
	"strings"
	"testing"
)

func TestEnoughEvents(t *testing.T) {
	for _, tt := range []struct {
		needed, limit int
		what          string
		wrong         bool
	}{
		{0, 8192, "", false},
		{5, 0, "", false},
		{8192, 8192, "folder events (8192 of at most 8192 watches)", false},
		{9000, 8192, "folder events (9000 of at most 8192 watches)", true},
	} {
		what, hint, err := enoughEvents(tt.needed, tt.limit, "the limit")
		if what != tt.what || (err != nil) != tt.wrong || (hint != "") != tt.wrong {
			t.Errorf("%d of %d: %q, hint %q, error %v", tt.needed, tt.limit, what, hint, err)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	_, hint, _ := enoughEvents(2_000_000, 1, "fs.inotify.max_user_watches")
	if !strings.Contains(hint, "sysctl -w fs.inotify.max_user_watches=") || strings.Contains(hint, "=524288") {
		t.Errorf("the hint for two million folders: %s", hint)
	}
}
