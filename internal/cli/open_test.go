package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// What the browser is started with names a file that this user alone can read,
// and not the link: every user of the machine sees it.
func TestBrowserIsNotToldTheLink(t *testing.T) {
	const link = `http://127.0.0.1:8377/login?code=SECRET&x="><script>`
	cache := t.TempDir()
	dir := filepath.Join(cache, "scandrop")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "open.html"), []byte("of before"), 0o644); err != nil {
		t.Fatal(err)
	}
	path, err := writeLead(cache, link)
	if err != nil {
		t.Fatal(err)
	}
	name, args := browser(path)
	if all := strings.Join(append(args, name), " "); strings.Contains(all, "SECRET") || !strings.Contains(all, path) {
		t.Errorf("the browser is started with %s", all)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := `content="0; url=http://127.0.0.1:8377/login?code=SECRET&amp;x=&#34;&gt;&lt;script&gt;"`; !strings.Contains(string(text), want) {
		t.Errorf("the page is %s, want %s in it", text, want)
	}
	if runtime.GOOS == "windows" { // the folder's own rights are the user's
		return
	}
	for path, want := range map[string]fs.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}
