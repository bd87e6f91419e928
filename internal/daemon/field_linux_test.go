package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

// inField is the environment variable that has the tests of the field run: real
// scanners, servers and mounts, in real time.
const inField = "SCANDROP_FIELD"

// A field is a hot folder into which other programs put scans, under a daemon that runs
// for as long as the test does, with the settings that people have.
type field struct {
	t      *testing.T
	dir    string
	box    *sandbox.Sandbox
	config *config.Config
	said   transcription
	ctx    context.Context
	stop   func()
	ended  chan error
	mu     sync.Mutex
	state  map[string]queue.State // path → of its job, the last that was told
	moved  chan struct{}          // closed and replaced at every move
	engine fieldEngine
}

// A fieldEngine reads the digest of a scan, and counts how often each was sent.
type fieldEngine struct {
	mu   sync.Mutex
	sent map[string]int
}

func (e *fieldEngine) Read(_ context.Context, scan sandbox.Scan) (sandbox.Reading, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sent[scan.Digest]++
	return sandbox.Reading{Pages: []string{scan.Digest}}, nil
}

// newField makes a field; folder is more configuration of its folder, trouble a script
// of the sandbox.
func newField(t *testing.T, folder string, trouble ...string) *field {
	t.Helper()
	f := &field{t: t, dir: t.TempDir(), state: map[string]queue.State{}, moved: make(chan struct{}), engine: fieldEngine{sent: map[string]int{}}}
	script, err := sandbox.ParseScript(strings.Join(trouble, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	f.box = sandbox.New(sandbox.Options{Engine: &f.engine, Trouble: script})
	server := httptest.NewServer(f.box)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		f.box.Close()
	})
	text := fmt.Sprintf("api: {url: '%s/api/v2', token: secret, rate: 5000, burst: 5000}\nstate: state\nworkers: 8\nstatus: {listen: '127.0.0.1:0'}\nfolders:\n- path: scans\n  %s\n", server.URL, folder)
	if err := os.Mkdir(f.scans(), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(filepath.Dir(f.dir), 0o755), os.Chmod(f.dir, 0o755), os.Chmod(f.scans(), 0o777)); err != nil { // servers run as others
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if f.config, err = config.Load(path, config.Environment{}); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *field) scans() string { return filepath.Join(f.dir, "scans") }

// start starts the daemon.
func (f *field) start() {
	f.t.Helper()
	f.ctx, f.stop = context.WithCancel(f.t.Context())
	f.ended = make(chan error, 1)
	log := slog.New(slog.NewTextHandler(&f.said, &slog.HandlerOptions{Level: slog.LevelInfo}))
	go func() {
		_, err := Run(f.ctx, Options{Config: f.config, Version: "test", Verify: verifyHere, Log: log, Moved: func(j queue.Job) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.state[j.Path] != queue.Done { // two workers may tell of a job the other way round
				f.state[j.Path] = j.State
			}
			close(f.moved)
			f.moved = make(chan struct{})
		}})
		f.ended <- err
	}()
	f.await("scandrop started")
}

// await waits until the log has the words.
func (f *field) await(words string) {
	f.t.Helper()
	if err := f.said.wait(f.t.Context(), words); err != nil {
		f.t.Fatalf("%q was never logged: %v", words, err)
	}
}

// last is the end of what was written.
func (t *transcription) last(bytes int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text[max(0, len(t.text)-bytes):])
}

// halt stops the daemon.
func (f *field) halt() {
	f.t.Helper()
	f.stop()
	if err := <-f.ended; err != nil {
		f.t.Error(err)
	}
}

// settle waits until every scan that lies in the folder is done.
func (f *field) settle(scans int) {
	f.t.Helper()
	end := make(<-chan time.Time) // never, unless the test must end
	if deadline, ok := f.t.Deadline(); ok {
		end = time.After(time.Until(deadline) - 10*time.Second)
	}
	for {
		f.mu.Lock()
		done, moved := 0, f.moved
		for _, s := range f.state {
			if s == queue.Done {
				done++
			}
		}
		f.mu.Unlock()
		if done >= scans {
			return
		}
		select {
		case <-moved:
		case err := <-f.ended:
			f.t.Fatalf("the daemon ended: %v", err)
		case <-end:
			f.t.Fatalf("%d of %d scans are done:\n%s", done, scans, f.said.last(3000))
		}
	}
}

// A fieldRow is what became of one way to put scans into a folder.
type fieldRow struct {
	what                              string
	scans, uploads, half, twice, lost int
}

// finish waits until the scans are done, stops the daemon, and holds what is there
// against what must be.
func (f *field) finish(what string, scans int) {
	f.t.Helper()
	f.settle(scans)
	f.halt()
	row := fieldRow{what: what}
	want := map[string]bool{}
	err := filepath.WalkDir(f.scans(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".txt" {
			return err
		}
		row.scans++
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		digest := fmt.Sprintf("%x", sha256.Sum256(content))
		want[digest] = true
		text, err := os.ReadFile(strings.TrimSuffix(path, filepath.Ext(path)) + ".txt")
		if err != nil || !bytes.Contains(text, []byte(digest)) {
			row.lost++
			f.t.Errorf("%s has not its text: %v", path, err)
		}
		return nil
	})
	if err != nil {
		f.t.Error(err)
	}
	if row.scans != scans {
		f.t.Errorf("%d scans lie there, want %d", row.scans, scans)
	}
	for digest, n := range f.engine.sent {
		row.uploads += n
		if !want[digest] {
			row.half++
			f.t.Errorf("something was sent that is no scan: %s", digest)
		}
		if n > 1 {
			row.twice++
			f.t.Errorf("%s was sent %d times", digest, n)
		}
	}
	if left := len(f.box.Documents()); left > 0 {
		f.t.Errorf("%d documents are left", left)
	}
	record(row)
}

var fieldRows struct {
	sync.Mutex
	rows []fieldRow
}

func record(r fieldRow) {
	fieldRows.Lock()
	defer fieldRows.Unlock()
	fieldRows.rows = append(fieldRows.rows, r)
}

// sample returns a file of testdata/scans.
func sample(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(samples(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// need skips the test where programs are missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// must runs a program to its end.
func must(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v, %s", program, err, out)
	}
}

// port is one that is free at this moment.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// background runs a server until the test ends, and returns when it can be connected to.
func background(t *testing.T, port, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its children
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	for {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v, %s", program, err, said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hesitate runs a program that sends a file, and holds it for a while when a part of
// the file has arrived: longer than a file that is whole must be still.
func hesitate(t *testing.T, path string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for held := false; ; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%s: %v, %s", program, err, said.String())
			}
			if !held {
				t.Logf("%s was too quick to be held", program)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
		if info, err := os.Stat(path); !held && err == nil && info.Size() > 0 {
			held = true
			if err := cmd.Process.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
				t.Logf("%s was too quick to be held", program) // a small file goes at once
				continue
			} else if err != nil {
				t.Error(err)
			}
			time.Sleep(7 * time.Second) // this is what is tried, nothing is waited for
			if err := cmd.Process.Signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		}
	}
}

// TestField has scans arrive as they do in the field. Each must end as text, none half,
// none twice. It prints a table.
func TestField(t *testing.T) {
	if os.Getenv(inField) == "" {
		t.Skipf("%s is not set", inField)
	}
	t.Cleanup(func() {
		fmt.Println("| what | scans | uploads | half | twice | lost |\n| --- | --- | --- | --- | --- | --- |")
		for _, r := range fieldRows.rows {
			fmt.Printf("| %s | %d | %d | %d | %d | %d |\n", r.what, r.scans, r.uploads, r.half, r.twice, r.lost)
		}
	})

	for _, events := range []int{0, 256} {
		t.Run(fmt.Sprintf("stopped %d", events), func(t *testing.T) { burst(t, events) })
	}
	t.Run("scanner", func(t *testing.T) { // SANE writes scan01.tif.part, and renames it
		t.Parallel()
		need(t, "scanimage")
		f := newField(t, "rescan: 24h")
		f.start()
		for _, format := range []string{"tiff", "png", "jpeg"} {
			must(t, f.dir, "scanimage", "-d", "test", "--format="+format, "--resolution", "75", "--mode", "Color",
				"--source", "Automatic Document Feeder", "--test-picture", "Color pattern", "--batch=scans/"+format+"%03d."+format[:3], "--batch-count=4")
		}
		must(t, f.scans(), "sh", "-c", "for i in jpe*; do mv $i ${i%.jpe}.jpg; done")
		f.settle(12)
		f.finish("SANE's virtual scanner, twelve pages from its feeder in three formats (four alike each)", 12)
	})
	t.Run("ftp", func(t *testing.T) {
		t.Parallel()
		need(t, "vsftpd", "curl")
		if os.Getuid() != 0 {
			t.Skip("only root can start vsftpd")
		}
		f := newField(t, "rescan: 24h")
		p := port(t)
		conf := filepath.Join(f.dir, "ftp.conf")
		text := "listen=YES\nlisten_address=127.0.0.1\nlisten_port=" + p + "\nbackground=NO\nanonymous_enable=YES\nwrite_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\nanon_umask=022\n" +
			"anon_root=" + f.dir + "\nno_anon_password=YES\nftp_username=ftp\nallow_writeable_chroot=YES\nseccomp_sandbox=NO\nsecure_chroot_dir=/var/run/vsftpd/empty\nisolate=NO\nisolate_network=NO\n"
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll("/var/run/vsftpd/empty", 0o755); err != nil {
			t.Fatal(err)
		}
		background(t, p, "vsftpd", conf)
		f.start()
		url := "ftp://127.0.0.1:" + p + "/scans/"
		var all sync.WaitGroup
		for _, name := range []string{"patient-form.jpg", "minutes.pdf", "ledger.tiff"} {
			all.Go(func() {
				hesitate(t, filepath.Join(f.scans(), name), "curl", "-sS", "--limit-rate", "50k", "-T", "../../testdata/scans/"+name, url)
			})
		}
		all.Go(func() { // an upload that is broken off, and made again
			half := filepath.Join(f.dir, "half.pdf")
			letter := sample(t, "letter.pdf")
			if err := os.WriteFile(half, letter[:len(letter)/2], 0o644); err != nil {
				t.Error(err)
			}
			must(t, f.dir, "curl", "-sS", "-T", half, url+"letter.pdf")
			time.Sleep(7 * time.Second) // as long as somebody needs to try again
			must(t, f.dir, "curl", "-sS", "-T", filepath.Join(samples(t), "letter.pdf"), url+"letter.pdf")
		})
		all.Go(func() { // under a temporary name, then renamed
			must(t, ".", "curl", "-sS", "-T", "../../testdata/scans/postcard.jpg", url+"t.tmp", "-Q", "-RNFR t.tmp", "-Q", "-RNTO final.jpg")
		})
		all.Wait()
		f.finish("vsftpd, 50 KB/s, each held for 7 s in its middle; one broken off and sent again; one renamed", 5)
	})
	t.Run("samba", func(t *testing.T) {
		t.Parallel()
		need(t, "smbd", "smbclient")
		if os.Getuid() != 0 {
			t.Skip("only root can start smbd")
		}
		f := newField(t, "rescan: 24h")
		p := port(t)
		conf := filepath.Join(f.dir, "smb.conf")
		var text strings.Builder
		for _, d := range []string{"private", "lock", "state", "cache", "pid", "ncalrpc"} {
			dir := filepath.Join(f.dir, "smb-"+d)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&text, "[global]\nsmb ports = %s\nbind interfaces only = yes\ninterfaces = 127.0.0.1/8\nmap to guest = Bad User\nguest account = root\nlog file = %s/smb.log\ndisable spoolss = yes\nload printers = no\n"+
			"private dir = %[2]s/smb-private\nlock directory = %[2]s/smb-lock\nstate directory = %[2]s/smb-state\ncache directory = %[2]s/smb-cache\npid directory = %[2]s/smb-pid\nncalrpc dir = %[2]s/smb-ncalrpc\n"+
			"[scans]\npath = %[2]s/scans\nguest ok = yes\nread only = no\n", p, f.dir)
		if err := os.WriteFile(conf, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		background(t, p, "smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", conf)
		f.start()
		client := func(do string) []string { return []string{"//127.0.0.1/scans", "-p", p, "-N", "-c", do} }
		must(t, ".", "smbclient", client("put ../../testdata/scans/letter.pdf letter.pdf; put ../../testdata/scans/note.heic note.heic; put ../../testdata/scans/telegram.gif telegram.gif")...)
		must(t, ".", "smbclient", client("put ../../testdata/scans/recipe.png recipe.tmp; rename recipe.tmp recipe.png")...)
		big := filepath.Join(f.dir, "big.png") // takes long enough to be held
		picture := image.NewNRGBA(image.Rect(0, 0, 2000, 1800))
		for i := range picture.Pix {
			picture.Pix[i] = byte(i * i >> 7)
		}
		var content bytes.Buffer
		encoder := png.Encoder{CompressionLevel: png.NoCompression}
		if err := errors.Join(encoder.Encode(&content, picture), os.WriteFile(big, content.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
		hesitate(t, filepath.Join(f.scans(), "big.png"), "smbclient", client("put "+big+" big.png")...)
		f.finish("Samba: put, put and rename, one held for 7 s in its middle", 5)
	})
	t.Run("rsync", func(t *testing.T) {
		t.Parallel()
		need(t, "rsync")
		f := newField(t, "rescan: 24h")
		f.start()
		from := samples(t)
		must(t, f.dir, "rsync", "-a", "--bwlimit=200", "--exclude=*.json", from+"/", f.scans()+"/")
		f.finish("rsync, 200 KB/s, under a hidden name that is renamed", 8)
	})
	t.Run("tree", func(t *testing.T) {
		t.Parallel()
		f := newField(t, "rescan: 24h")
		from := filepath.Join(f.dir, "from")
		const scans = 5000
		for i := range scans {
			dir := filepath.Join(from, strconv.Itoa(i%50), strconv.Itoa(i%7))
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.gif", i)), numbered(i), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		f.start()
		must(t, f.dir, "cp", "-r", from, f.scans())
		f.finish("cp -r of a tree of 5,000 files", scans)
	})
	t.Run("fuse", func(t *testing.T) {
		t.Parallel()
		need(t, "bindfs")
		if os.Getuid() != 0 {
			t.Skip("only root can mount")
		}
		f := newField(t, "rescan: 1s")
		behind := filepath.Join(f.dir, "behind")
		if err := os.Mkdir(behind, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("bindfs", behind, f.scans()).CombinedOutput(); err != nil {
			t.Skipf("no file system can be mounted: %v, %s", err, out)
		}
		t.Cleanup(func() { unmount(t, f.scans()) })
		f.start()
		f.await("folder is polled")
		for i := range 20 { // behind the mount: no event tells of them
			if err := os.WriteFile(filepath.Join(behind, fmt.Sprintf("%d.gif", i)), numbered(i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f.finish("a FUSE mount, written behind its back: no events", 20)
	})
	t.Run("hung", func(t *testing.T) {
		t.Parallel()
		need(t, "bindfs")
		if os.Getuid() != 0 {
			t.Skip("only root can mount")
		}
		f := newField(t, "rescan: 1s\n- path: share\n  rescan: 1s")
		behind, share := filepath.Join(f.dir, "behind"), filepath.Join(f.dir, "share")
		if err := errors.Join(os.Mkdir(behind, 0o755), os.Mkdir(share, 0o755)); err != nil {
			t.Fatal(err)
		}
		server := exec.Command("bindfs", "-f", behind, share)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		mounted := func() bool {
			table, err := os.ReadFile("/proc/self/mountinfo")
			return err == nil && strings.Contains(string(table), " "+share+" ")
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Wait() }()
		for !mounted() {
			select {
			case err := <-ended:
				t.Skipf("no file system can be mounted: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
		}
		t.Cleanup(func() {
			unmount(t, share)
			<-ended
		})
		if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		goOn := sync.OnceValue(func() error { return server.Process.Signal(syscall.SIGCONT) })
		t.Cleanup(func() { _ = goOn() })
		f.start() // a share that never answers keeps nothing from beginning
		for i := range 10 {
			if err := os.WriteFile(filepath.Join(f.scans(), fmt.Sprintf("%d.gif", i)), numbered(i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f.settle(10)
		f.await("a folder cannot be used as it is")
		f.await("it does not answer")
		if err := errors.Join(goOn(), os.WriteFile(filepath.Join(behind, "again.gif"), numbered(0), 0o644)); err != nil {
			t.Fatal(err)
		}
		f.settle(11)
		f.finish("beside them a share that hangs at the start, and answers later", 10)
	})
	t.Run("mkdir", func(t *testing.T) {
		t.Parallel()
		f := newField(t, "rescan: 24h")
		f.start()
		for i := range 100 {
			dir := filepath.Join(f.scans(), strconv.Itoa(i), "b", "c")
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "scan.gif"), numbered(i), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		f.finish("mkdir -p a/b/c and a file at once, 100 times", 100)
	})
	t.Run("root", func(t *testing.T) {
		t.Parallel()
		f := newField(t, "rescan: 1s")
		f.start()
		if err := os.Remove(f.scans()); err != nil {
			t.Fatal(err)
		}
		f.await("folder held")
		if err := errors.Join(os.Mkdir(f.scans(), 0o755), os.WriteFile(filepath.Join(f.scans(), "a.gif"), numbered(1), 0o644)); err != nil {
			t.Fatal(err)
		}
		f.await("folder is back")
		if err := os.WriteFile(filepath.Join(f.scans(), "b.gif"), numbered(2), 0o644); err != nil {
			t.Fatal(err)
		}
		f.finish("the watched folder removed and made again", 2)
	})
	t.Run("down", func(t *testing.T) {
		t.Parallel()
		f := newField(t, "existing: process")
		if err := os.WriteFile(filepath.Join(f.scans(), "before.gif"), numbered(1000), 0o644); err != nil {
			t.Fatal(err)
		}
		f.start()
		f.settle(1)
		f.halt()
		for i := range 99 {
			if err := os.WriteFile(filepath.Join(f.scans(), fmt.Sprintf("%d.gif", i)), numbered(i), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		f.start()
		f.finish("a file, then 99 more while the daemon was down", 100)
	})
}

// burst drops 20,000 files while the daemon's process is stopped, with a queue of events
// that holds so many; 0 leaves the system's. All are noticed, none twice. (The token is
// refused, as nothing that follows is of interest here.)
func burst(t *testing.T, events int) {
	const limit = "/proc/sys/fs/inotify/max_queued_events"
	const scans = 20_000
	f := newField(t, "rescan: 24h", "any: 401")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asDaemon+"="+filepath.Join(f.dir, "c.yaml"), staysDaemon+"=1")
	cmd.Stderr = &f.said
	if events > 0 {
		usual, err := os.ReadFile(limit)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(limit, []byte(strconv.Itoa(events)), 0); err != nil {
			t.Skipf("only root can set %s: %v", limit, err)
		}
		defer os.WriteFile(limit, usual, 0)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	client := f.dial()
	defer client.Close()
	known := func() int {
		s, err := client.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Jobs[queue.Queued]
	}
	drop := func(n int) {
		if err := os.WriteFile(filepath.Join(f.scans(), fmt.Sprintf("%d.gif", n)), numbered(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	drop(0)
	for known() < 1 { // now it listens
		time.Sleep(20 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := range scans - 1 {
		drop(i + 1)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for known() < scans {
		time.Sleep(50 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	q, err := OpenQueue(f.config, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	paths := map[string]bool{}
	for j, err := range q.All(queue.Filter{}) {
		if err != nil || paths[j.Path] || j.State != queue.Queued {
			t.Errorf("%s is %s, twice %v, %v", j.Path, j.State, paths[j.Path], err)
		}
		paths[j.Path] = true
	}
	what := "the system's own"
	if events > 0 {
		what = strconv.Itoa(events)
	}
	if lost := f.said.times("folder events lost"); events > 0 && lost == 0 {
		t.Error("no event was lost: nothing was tried")
	}
	record(fieldRow{what: "20,000 files while the process is stopped, room for events: " + what + " (noticed, nothing sent)", scans: scans, lost: scans - len(paths)})
}

// dial finds the daemon when it answers.
func (f *field) dial() *control.Client {
	f.t.Helper()
	for {
		client, err := control.Dial(f.t.Context(), f.config.State)
		if err == nil {
			return client
		}
		if f.t.Context().Err() != nil {
			f.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// samples is where the sample scans are.
func samples(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "testdata", "scans"))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// numbered is a GIF that differs for each n: a comment has the number.
func numbered(n int) []byte {
	note := strconv.Itoa(n)
	gif := []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00")
	gif = append(gif, 0x21, 0xfe, byte(len(note)))
	gif = append(gif, note...)
	gif = append(gif, 0)
	return append(gif, "\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b"...)
}
