package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	bolt "go.etcd.io/bbolt"

	"scandrop/internal/cli"
	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
	"scandrop/queue"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "try" { // by a test, as another account
		os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, nil))
	}
	testscript.Main(m, map[string]func(){
		"scandrop": func() {
			os.Exit(cli.Main(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.DirFS(os.Getenv("SAMPLES"))))
		},
	})
}

// The scripts are what users type and see. Each has a service of its own at
// $URL, and these commands besides the usual ones:
//
//	exits STATUS COMMAND...    the command ends with that status
//	until PATTERN COMMAND...   runs the command again and again until its output matches
//	scan FILE...               makes a scan whose content depends on its base name's first word
//	scans N                    makes N different scans, 1.png and so on, in the folder scans
//	big FILE BYTES             makes a JPEG of that size
//	service trouble RULE...    the service has this trouble from now on
//	service token TOKEN        the only token that it takes
//	service credits N          how many pages it still reads
//	service uploads N          it has made that many documents
//	service left N             it holds that many documents
//	service calls OP MOST      there were at most that many calls of an operation
//	plant NAME WHOSE           uploads a document past scandrop: ours, namesake, other, stranger, or a scan
//	configure FILE             puts the service's address in place of $URL, and no page where none is named
//	listen NAME...             somebody else listens on ports, which are $NAME from now on
//	older FILE                 makes the queue file one of the version before
//	newer FILE                 and one of a version that does not exist yet
//	hold FILE                  another process's queue: locks the file for the rest of the script
func TestScripts(t *testing.T) {
	samples, err := filepath.Abs("../../testdata/scans")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			box := sandbox.New(sandbox.Options{})
			server := httptest.NewServer(box)
			e.Defer(func() {
				server.CloseClientConnections()
				server.Close()
				box.Close()
			})
			e.Values[boxKey{}] = box
			e.Setenv("URL", server.URL+"/api/v2")
			e.Setenv("SAMPLES", samples)
			e.Setenv("PACKAGED", filepath.Join(filepath.Dir(filepath.Dir(samples)), "internal", "config", "packaged.yaml"))
			e.Setenv("SCANDROP_TOKEN", "secret-token")
			config := fmt.Sprintf("api: {url: %q, rate: 1000, burst: 1000, doubt: 1s}\nstatus: {listen: \"\"}\nstate: state\nfolders:\n- path: scans\n  quiet: 10ms\n", server.URL+"/api/v2")
			if err := os.Mkdir(filepath.Join(e.WorkDir, "scans"), 0o755); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "c.yaml"), []byte(config), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "scan": scan, "scans": scans, "big": big, "service": service, "hold": hold, "configure": configure, "plant": plant,
			"listen": listen, "older": version(1), "newer": version(1000),
		},
	})
}

type boxKey struct{}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.Atoi(s)
	check(ts, err)
	return n
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	status := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		status = exit.ExitCode()
	}
	if want := number(ts, args[0]); status != want {
		ts.Fatalf("it ended with status %d, not %d", status, want)
	}
}

// until waits for a condition, for a thousand tries.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND...")
	}
	pattern, err := regexp.Compile(`(?m)` + args[0])
	check(ts, err)
	for range 1000 {
		_ = ts.Exec(args[1], args[2:]...) // its status is not what is waited for
		if pattern.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("in vain")
}

func scan(ts *testscript.TestScript, _ bool, files []string) {
	for _, name := range files {
		word, _, _ := strings.Cut(filepath.Base(name), ".")
		word, _, _ = strings.Cut(word, "-")
		h := fnv.New32a()
		h.Write([]byte(word))
		picture := image.NewGray(image.Rect(0, 0, 4, 1))
		for x := range 4 {
			picture.SetGray(x, 0, color.Gray{Y: uint8(h.Sum32() >> (8 * x))})
		}
		var b bytes.Buffer
		check(ts, png.Encode(&b, picture))
		path := ts.MkAbs(name)
		check(ts, os.MkdirAll(filepath.Dir(path), 0o755))
		// In one step: an empty file that is still for 10 ms is one.
		half := ts.MkAbs("half of a scan")
		check(ts, os.WriteFile(half, b.Bytes(), 0o644))
		check(ts, os.Rename(half, path))
	}
}

func scans(ts *testscript.TestScript, _ bool, args []string) {
	for i := range number(ts, args[0]) {
		scan(ts, false, []string{fmt.Sprintf("scans/%d.png", i+1)})
	}
}

func big(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(ts.MkAbs(args[0]))
	check(ts, err)
	size := int64(number(ts, args[1]))
	_, err = f.WriteString("\xff\xd8\xff\xe0\x00\x10JFIF\x00" + strings.Repeat("\x00", 9) + "\xff\xda\x00\x02")
	check(ts, err)
	_, err = f.WriteAt([]byte("\xff\xd9"), size-2)
	check(ts, errors.Join(err, f.Close()))
}

func service(ts *testscript.TestScript, neg bool, args []string) {
	box := ts.Value(boxKey{}).(*sandbox.Sandbox)
	got := -1
	switch args[0] {
	case "trouble":
		script, err := sandbox.ParseScript(strings.Join(args[1:], "\n"))
		check(ts, err)
		box.SetTrouble(script)
		return
	case "token":
		box.SetToken(args[1])
		return
	case "credits":
		n := number(ts, args[1])
		box.SetCredits(&n)
		return
	case "calls":
		n := 0
		for call, times := range box.Stats().Requests {
			if call.Op == args[1] {
				n += times
			}
		}
		if most := number(ts, args[2]); n > most {
			ts.Fatalf("%d calls of %s, more than %d", n, args[1], most)
		}
		return
	case "uploads":
		got = box.Stats().Uploads
	case "left":
		got = len(box.Documents())
	default:
		ts.Fatalf("service knows no %s", args[0])
	}
	if want := number(ts, args[1]); got != want {
		ts.Fatalf("service %s is %d, not %d", args[0], got, want)
	}
}

// plant uploads a document under a name that ends in somebody's mark.
func plant(ts *testscript.TestScript, _ bool, args []string) {
	us, known := daemon.Installation(&config.Config{State: ts.MkAbs("state")})
	if !known {
		ts.Fatalf("there is no installation")
	}
	switch name := args[0]; args[1] {
	case "ours":
		args[0] = name + us.Mark(queue.Digest{1}, 0)
	case "namesake":
		args[0] = name + queue.Installation{Name: us.Name, Key: []byte("another's")}.Mark(queue.Digest{1}, 0)
	case "other":
		args[0] = name + queue.Installation{Name: "ZZ22", Key: us.Key}.Mark(queue.Digest{1}, 0)
	case "stranger":
	default: // the scan's own
		content := sha256.Sum256([]byte(ts.ReadFile(args[1])))
		args[0] = name + us.Mark(queue.Identity(content, queue.Options{Action: "transcribe"}), 0)
	}
	api, err := hwocr.New(hwocr.Config{
		URL: ts.Getenv("URL"), Token: func() (string, error) { return ts.Getenv("SCANDROP_TOKEN"), nil },
	})
	check(ts, err)
	content := "GIF89a\x01\x00\x01\x00\x00\x00\x00" + args[0]
	_, err = api.Upload(context.Background(), hwocr.Upload{
		Name: args[0] + ".gif", Action: "transcribe", Body: strings.NewReader(content), Size: int64(len(content)),
		Content: sha256.Sum256([]byte(content)),
	})
	check(ts, err)
}

func configure(ts *testscript.TestScript, _ bool, files []string) {
	for _, name := range files {
		text := strings.NewReplacer("$URL", ts.Getenv("URL"), "$PORT", ts.Getenv("PORT"), "$OTHER", ts.Getenv("OTHER")).Replace(ts.ReadFile(name))
		if !strings.Contains(text, "status:") {
			text += "\n" + noPage
		}
		check(ts, os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// noPage keeps a configuration off the usual address, which a scandrop that is installed
// on the machine has, or another script.
const noPage = `status: {listen: ""}` + "\n"

func listen(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(ts, err)
		ts.Defer(func() { l.Close() })
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// version makes a queue file one of that version.
func version(n int) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		db, err := bolt.Open(ts.MkAbs(args[0]), 0o600, nil)
		check(ts, err)
		err = db.Update(func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("scandrop")).Put([]byte("version"), []byte(strconv.Itoa(n)))
		})
		check(ts, errors.Join(err, db.Close()))
	}
}

func hold(ts *testscript.TestScript, _ bool, args []string) {
	db, err := bolt.Open(ts.MkAbs(args[0]), 0o600, nil)
	check(ts, err)
	ts.Defer(func() { db.Close() })
}
