package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/sandbox"
	"scandrop/internal/web"
	"scandrop/queue"
)

// pageConfig is a daemon with a page and an empty hot folder.
func pageConfig(t *testing.T, listen string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"token": "secret\n", "c.yaml": "api: {url: 'http://127.0.0.1:1/api/v2'}\nstate: state\nstatus: {listen: '" + listen + "'}\nfolders: [{path: in, quiet: 100ms}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "c.yaml"), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a daemon until the test ends, or stop is called.
func start(t *testing.T, c *config.Config, log *slog.Logger) (stop func()) {
	t.Helper()
	transport := serve(t, sandbox.New(sandbox.Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, Options{Config: c, Version: "test", Transport: transport, Log: log})
		ended <- err
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// dial waits until the daemon answers.
func dial(t *testing.T, c *config.Config) *control.Client {
	t.Helper()
	for {
		client, err := control.Dial(t.Context(), c.State)
		if err == nil {
			t.Cleanup(client.Close)
			return client
		}
		if !errors.Is(err, control.ErrNoDaemon) {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}

func TestPageIsServed(t *testing.T) {
	c := pageConfig(t, "127.0.0.1:0")
	stop := start(t, c, nil)
	client := dial(t, c)
	st, err := client.Status(t.Context())
	if err != nil || st.Version != "test" || len(st.Folders) != 1 || st.Folders[0].Path != c.Folders[0].Path || st.State != c.State {
		t.Errorf("%+v, %v", st, err)
	}
	for _, name := range []string{control.TokenFile, control.AddressFile} {
		info, err := os.Stat(filepath.Join(c.State, name))
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := CheckPage(c); err != nil {
		t.Errorf("while it is served: %v", err)
	}
	_, token, err := control.Find(c.State)
	if err != nil {
		t.Fatal(err)
	}
	drop, _ := http.NewRequest("POST", client.URL()+"/api/v1/scans?name=a.png&folder="+c.Folders[0].Path, strings.NewReader("no picture"))
	drop.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(drop)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	for {
		j, err := client.ByPath(t.Context(), filepath.Join(c.Folders[0].Path, "a.png"))
		if err == nil {
			if j.State != "rejected" || len(j.Story) == 0 {
				t.Errorf("%+v", j)
			}
			break
		}
		time.Sleep(10 * time.Millisecond) // the watcher lets it settle
	}
	stop()
	http.DefaultClient.CloseIdleConnections()
	if _, _, err := control.Find(c.State); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("after its end: %v", err)
	}
	start(t, c, nil)
	dial(t, c)
	if _, again, err := control.Find(c.State); err != nil || again != token {
		t.Errorf("another token after a restart: %v", err)
	}
}

// That somebody else has the port costs the page and not the work.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := pageConfig(t, l.Addr().String())
	log := new(lockedBuffer)
	stop := start(t, c, slog.New(slog.NewTextHandler(log, nil)))
	if err := os.WriteFile(filepath.Join(c.Folders[0].Path, "a.png"), []byte("no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(log.String(), "job rejected") {
		time.Sleep(10 * time.Millisecond) // the watcher lets it settle
	}
	if text := log.String(); !strings.Contains(text, "there is no page") || !strings.Contains(text, "port 0 for any") {
		t.Errorf("the log says %s", text)
	}
	if _, _, err := control.Find(c.State); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("an address is left: %v", err)
	}
	if err := CheckPage(c); err == nil {
		t.Error("check has nothing to say")
	}
	stop()
}

// Nothing outside the hot folders is served, whatever a job or a link says.
func TestPageServesHotFoldersOnly(t *testing.T) {
	c := pageConfig(t, "")
	hot := c.Folders[0].Path
	outside := filepath.Join(filepath.Dir(hot), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(hot, "link.txt")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(filepath.Dir(hot), filepath.Join(hot, "way")); err != nil {
		t.Skip(err)
	}
	f := hotFiles{newFiles(c.State, c.Folders)}
	for _, path := range []string{filepath.Join(hot, "link.txt"), filepath.Join(hot, "way", "secret.txt"), hot} {
		j := jobAt(hot, path)
		if file, err := f.Scan(j); err == nil {
			file.Close()
			t.Errorf("%s is served", path)
		}
		if file, err := f.Result(j, path); err == nil {
			file.Close()
			t.Errorf("%s is served as a result", path)
		}
	}
	for _, name := range []string{"../a.pdf", "way/a.pdf", "/a.pdf", "", ".", "..", ".hidden.pdf", `a\b.pdf`} {
		if path, err := f.Drop(hot, name, strings.NewReader("x")); !refusesName(err) {
			t.Errorf("%q was dropped as %s, %v", name, path, err)
		}
	}
	first, err := f.Drop(hot, "a.pdf", strings.NewReader("1"))
	if err != nil || first != filepath.Join(hot, "a.pdf") {
		t.Errorf("%s, %v", first, err)
	}
	second, err := f.Drop(hot, "a.pdf", strings.NewReader("2"))
	if text, _ := os.ReadFile(first); err != nil || second != filepath.Join(hot, "a (2).pdf") || string(text) != "1" {
		t.Errorf("%s, %v; the first is %q", second, err, text)
	}
	entries, err := os.ReadDir(hot)
	if len(entries) != 4 || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is now %v, %v", entries, err)
	}
}

func jobAt(folder, path string) queue.Job { return queue.Job{ID: 1, Folder: folder, Path: path} }

// refusesName reports whether a drop is refused for its name, and not for trouble
// of the daemon's.
func refusesName(err error) bool {
	_, ok := errors.AsType[*web.NameError](err)
	return ok
}
