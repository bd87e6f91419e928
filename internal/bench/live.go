package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed one.py
var onePython string

//go:embed watch.py
var watchPython string

// A story is what a contender that runs all the time lives through. What it returns is
// told beside what became of the scans.
type story struct {
	row row
	run func(*stage) (note string, err error)
}

var stories = []story{
	{row{Name: "30 scans, one at a time", Scans: 30}, oneByOne},
	{row{Name: "60 scans, killed in the middle and started again", Scans: 60, Work: 200 * time.Millisecond}, killed},
	{row{Name: "20 scans, each written in five pieces", Scans: 20}, inPieces},
	{row{Name: "50 scans, dropped while it is down", Scans: 50}, whileDown},
	{row{Name: "200 scans are done, and 10 s nothing happens", Scans: 200}, idle},
}

// A stage is a folder, a service, and a contender that can be started and ended.
type stage struct {
	ctx         context.Context
	work, scans string
	server      *server
	row         row
	command     func(*stage) (*exec.Cmd, error)
	cmd         *exec.Cmd
	texts       map[string]string
	contents    map[string][]byte
	names       []string // in their order
}

// A liveContender is a contender that runs all the time; see [contender].
type liveContender struct {
	name    string
	uploads bool
	command func(*stage) (*exec.Cmd, error)
}

// live are the contenders that watch a folder. They are given what lies there already,
// as long as it has no result.
func live(binary string) []liveContender {
	shell := func(line string) func(*stage) (*exec.Cmd, error) {
		return func(s *stage) (*exec.Cmd, error) {
			one := filepath.Join(s.work, "one.sh")
			script := strings.Replace(oneScript, "scan=$1\n", "scan=$1\n[ -e \"${scan%.*}.txt\" ] && exit\n", 1)
			if err := os.WriteFile(one, []byte(script), 0o700); err != nil {
				return nil, err
			}
			cmd := exec.CommandContext(s.ctx, "bash", "-c", line)
			cmd.Env = append(os.Environ(), "API="+s.server.url+"/api/v2", "FORMATS=txt", "ONE="+one)
			return cmd, nil
		}
	}
	return []liveContender{
		{"scandrop", false, func(s *stage) (*exec.Cmd, error) {
			config := filepath.Join(s.work, "scandrop.yaml")
			text := fmt.Sprintf("api: {url: %q, token: bench, rate: 100000, burst: 5}\nstate: %q\nworkers: %d\nstatus: {listen: \"\"}\nfolders:\n- {path: %q, formats: [txt]}\n",
				s.server.url+"/api/v2", filepath.Join(s.work, "state"), workers, s.scans)
			return exec.CommandContext(s.ctx, binary, "run", "--config", config), os.WriteFile(config, []byte(text), 0o600)
		}},
		{"inotifywait, xargs -P 8 and curl", false, shell(`{ find . -name '*.gif'; exec inotifywait -m -q -e close_write -e moved_to --include '\.gif$' --format %f .; } | xargs -d '\n' -P 8 -n 1 "$ONE"`)},
		{"a loop of find and curl", false, shell(`while :; do find . -name '*.gif' | while IFS= read -r f; do "$ONE" "$f"; done; sleep 1; done`)},
		{"a Python script with watchdog", false, func(s *stage) (*exec.Cmd, error) {
			return exec.CommandContext(s.ctx, watchdogPython(), "-c", onePython+watchPython, s.server.url+"/api/v2", "txt"), nil
		}},
		{"a loop of rclone move, uploads only", true, func(s *stage) (*exec.Cmd, error) {
			return rclone(s.ctx, "while :; do "+rcloneMove+" --min-age 2s; sleep 1; done", s.scans, s.server.url), nil
		}},
	}
}

// watchdogPython is a Python that has the watchdog module.
func watchdogPython() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import watchdog").Run() == nil {
			return python
		}
	}
	return "python3"
}

// runLive has every contender live through every story.
func runLive(ctx context.Context, dir, binary, only string) error {
	headed := false
	for _, st := range stories {
		st.row.Formats, st.row.Size = []string{"txt"}, 10<<10
		for _, c := range live(binary) {
			if !strings.Contains(st.row.Name+" "+c.name, only) {
				continue
			}
			if !headed {
				headed = true
				fmt.Println("\n| what happens | with | lost | twice | wrong | left there | |")
				fmt.Println("| --- | --- | ---: | ---: | ---: | ---: | --- |")
			}
			o, note, err := liveThrough(ctx, dir, st, c)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", st.row.Name, c.name, err)
			}
			fmt.Printf("| %s | %s | %d | %d | %d | %d | %s |\n", st.row.Name, c.name, o.lost, o.twice, o.wrong, o.left, note)
		}
	}
	return nil
}

func liveThrough(ctx context.Context, dir string, st story, c liveContender) (o outcome, note string, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	work, err := os.MkdirTemp(dir, "live-")
	if err != nil {
		return o, "", err
	}
	defer os.RemoveAll(work)
	s := &stage{ctx: ctx, work: work, scans: filepath.Join(work, "scans"), row: st.row, command: c.command,
		texts: map[string]string{}, contents: map[string][]byte{}}
	if err := os.Mkdir(s.scans, 0o700); err != nil {
		return o, "", err
	}
	for i := range st.row.Scans {
		name := fmt.Sprintf("scan%05d", i)
		s.names = append(s.names, name)
		s.contents[name] = makeScan(name, st.row)
		s.texts[name] = digest(s.contents[name])
	}
	if s.server, err = startServer(ctx, st.row); err != nil {
		return o, "", err
	}
	defer s.server.stop()
	defer s.end(true)
	if note, err = st.run(s); err != nil {
		return o, "", err
	}
	s.end(false)
	o.row = st.row
	if err := s.server.tell(ctx, &o, c.uploads); err != nil {
		return o, "", err
	}
	o.judge(s.scans, s.texts)
	return o, note, nil
}

// start starts the contender, and gives it the time to begin to watch.
func (s *stage) start() error {
	cmd, err := s.command(s)
	if err != nil {
		return err
	}
	cmd.Dir = s.scans
	inGroup(cmd)
	s.cmd = cmd
	if err := cmd.Start(); err != nil {
		return err
	}
	return s.sleep(2 * time.Second)
}

// end ends the contender and all that it started: at once, or as the system does.
func (s *stage) end(atOnce bool) {
	if s.cmd == nil {
		return
	}
	signalGroup(s.cmd, atOnce)
	_ = s.cmd.Wait() // it was told to
	s.cmd = nil
}

func (s *stage) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// drop puts a scan into the folder in one step, and returns when that was.
func (s *stage) drop(name string) (time.Time, error) {
	temp := filepath.Join(s.work, name)
	if err := os.WriteFile(temp, s.contents[name], 0o600); err != nil {
		return time.Time{}, err
	}
	return time.Now(), os.Rename(temp, filepath.Join(s.scans, name+".gif"))
}

func (s *stage) dropAll() error {
	for _, name := range s.names {
		if _, err := s.drop(name); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long nothing may happen before a contender counts as done.
const patience = 12 * time.Second

// until waits until so many scans were uploaded and, if all is set, seen through; or until
// nothing has happened for a while.
func (s *stage) until(uploads int, all bool) (counted, error) {
	before, since := 0, time.Now()
	for {
		c, err := s.server.counted(s.ctx)
		if err != nil {
			return c, err
		}
		if c.Uploads >= uploads && (!all || c.Left == 0) {
			return c, nil
		}
		if c.Requests != before {
			before, since = c.Requests, time.Now()
		}
		if time.Since(since) > patience {
			return c, nil
		}
		if err := s.sleep(20 * time.Millisecond); err != nil {
			return c, err
		}
	}
}

// oneByOne tells how long after a scan was there its upload began.
func oneByOne(s *stage) (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	var waits []time.Duration
	for i, name := range s.names {
		there, err := s.drop(name)
		if err != nil {
			return "", err
		}
		c, err := s.until(i+1, true)
		if err != nil {
			return "", err
		}
		if len(c.Began) > i {
			waits = append(waits, c.Began[i].Sub(there))
		}
	}
	if len(waits) == 0 {
		return "nothing was uploaded", nil
	}
	slices.Sort(waits)
	return fmt.Sprintf("the upload began after %.2f s at the median, %.2f s at most", waits[len(waits)/2].Seconds(), waits[len(waits)-1].Seconds()), nil
}

// killed kills the contender while it is at work.
func killed(s *stage) (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	if err := s.dropAll(); err != nil {
		return "", err
	}
	if _, err := s.until(len(s.names)/2, false); err != nil {
		return "", err
	}
	s.end(true)
	if err := s.start(); err != nil {
		return "", err
	}
	_, err := s.until(len(s.names), true)
	return "", err
}

// inPieces writes each scan a piece at a time, as a scanner that saves page by page.
func inPieces(s *stage) (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	const pieces = 5
	for piece := range pieces {
		for _, name := range s.names {
			content := s.contents[name]
			part := content[len(content)*piece/pieces : len(content)*(piece+1)/pieces]
			f, err := os.OpenFile(filepath.Join(s.scans, name+".gif"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return "", err
			}
			if _, err = f.Write(part); err == nil {
				err = f.Close()
			}
			if err != nil {
				return "", err
			}
		}
		if err := s.sleep(400 * time.Millisecond); err != nil {
			return "", err
		}
	}
	_, err := s.until(len(s.names), true)
	if err == nil {
		err = s.sleep(3 * time.Second) // what was sent too early may come again
	}
	if err == nil {
		_, err = s.until(len(s.names), true)
	}
	return "", err
}

// whileDown drops scans while nobody watches.
func whileDown(s *stage) (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	s.end(false)
	if err := s.dropAll(); err != nil {
		return "", err
	}
	if err := s.start(); err != nil {
		return "", err
	}
	_, err := s.until(len(s.names), true)
	return "", err
}

// idle tells what it costs to wait.
func idle(s *stage) (string, error) {
	if err := s.start(); err != nil {
		return "", err
	}
	if err := s.dropAll(); err != nil {
		return "", err
	}
	if _, err := s.until(len(s.names), true); err != nil {
		return "", err
	}
	if err := s.sleep(3 * time.Second); err != nil { // to come to rest
		return "", err
	}
	const while = 10 * time.Second
	before := groupCPU(s.cmd)
	if err := s.sleep(while); err != nil {
		return "", err
	}
	return fmt.Sprintf("%.2f %% of a core, %.0f MB", 100*(groupCPU(s.cmd)-before).Seconds()/while.Seconds(), float64(groupMemory(s.cmd))/1e6), nil
}
