package daemon

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"scandrop/internal/atomicfile"
	"scandrop/internal/config"
	"scandrop/internal/control"
	"scandrop/internal/result"
	"scandrop/internal/web"
	"scandrop/queue"
	"scandrop/watcher"
)

// A page is the status page with its listener.
type page struct {
	*web.Server
	listener net.Listener
	address  string // the file that says where it listens
}

// openPage opens the listener of the page; nil if there is to be none, or if it
// cannot be had: that somebody else has the port must not keep scans from being
// read. The log says so then, and so does "scandrop check".
func (d *daemon) openPage() *page {
	c := d.Config.Status
	if c.Listen == "" || d.Once {
		return nil
	}
	p, err := d.listen(c)
	if err != nil {
		hint := "see status in the configuration"
		if inUse(err) {
			hint = "another program has that port: choose another one for status.listen, or port 0 for any"
		}
		d.Log.Error("there is no page: it cannot be served; scans are read all the same", "listen", c.Listen, "error", err, "hint", hint)
		return nil
	}
	return p
}

func inUse(err error) bool {
	const windowsInUse = syscall.Errno(10048) // WSAEADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, windowsInUse)
}

func (d *daemon) listen(c config.Status) (*page, error) {
	w := web.Config{
		Queue: d.queue, Files: hotFiles{newFiles(d.Config.State, d.Config.Folders)}, About: d.about,
		MaxScan: maxScan, Meter: &d.meter, Log: d.Log,
	}
	var err error
	if w.Token, err = d.state.token(); err != nil {
		return nil, err
	}
	password, err := c.Password()
	if err != nil {
		return nil, err
	}
	w.Password = password.Reveal()
	if c.TLS.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("status.tls: %w", err)
		}
		w.Certificate = &certificate
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	p := &page{web.New(w, listener.Addr()), listener, d.state.path(control.AddressFile)}
	text, err := json.Marshal(control.Address{URL: p.URL(), PID: os.Getpid()})
	if err == nil {
		err = atomicfile.WriteFile(p.address, append(text, '\n'), 0o600)
	}
	if err != nil {
		listener.Close()
		return nil, err
	}
	return p, nil
}

// serve serves the page until ctx is done. That it cannot be served any more
// ends nothing else.
func (p *page) serve(ctx context.Context, d *daemon) {
	defer os.Remove(p.address)
	d.Log.Info("the page is served", "url", p.URL())
	if err := p.Serve(ctx, p.listener); err != nil {
		d.Log.Error("the page is served no more", "error", err)
	}
}

// token reads what lets clients of this machine in, and makes it if there is
// none.
func (s state) token() (string, error) {
	path := s.path(control.TokenFile)
	text, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(text)); err == nil && len(token) >= 26 {
		return token, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	token := rand.Text()
	return token, atomicfile.WriteFile(path, []byte(token+"\n"), 0o600)
}

// about tells what the queue does not know.
func (d *daemon) about() control.Status {
	c, pace := d.config.Load(), d.pace.State()
	s := control.Status{
		Version: d.Version, Started: d.began.Round(0), State: d.Config.State, Service: c.API.URL,
		Folders: []control.Folder{},
		Pace:    control.Pace{Rate: pace.Rate, Limit: c.API.Rate, Quota: pace.Quota},
	}
	if keys := d.restart.Load(); keys != nil {
		s.Restart = *keys
	}
	s.Pace.Requests, s.Pace.Refused = d.meter.Requests()
	if pace.NotBefore.After(time.Now()) {
		s.Pace.NotBefore = pace.NotBefore
	}
	if pace.Window > 0 {
		s.Pace.Window = pace.Window.String()
	}
	if info, err := os.Stat(d.state.path(queueFile)); err == nil {
		s.Bytes = info.Size()
	}
	watched := map[string]watcher.Status{}
	for _, w := range d.watcher.Load().Status() {
		watched[w.Folder] = w
	}
	for _, f := range c.Folders {
		w := watched[f.Path]
		folder := control.Folder{
			Path: f.Path, Action: f.Action, Formats: f.Formats, Mode: w.Mode, Why: w.Why, Missed: w.Missed,
			Looked: w.Scanned.Round(0), Last: w.Taken.Round(0), Error: w.Error, Settle: w.Settling,
		}
		if trouble, known := d.troubles.Load(f.Path); known && folder.Error == "" {
			folder.Error, _ = trouble.(string)
		}
		s.Folders = append(s.Folders, folder)
		s.Limits = append(s.Limits, d.used(f.Path, f.Limits.PagesPerDay, f.Limits.PagesPerMonth)...)
	}
	s.Limits = append(d.used("", c.Limits.PagesPerDay, c.Limits.PagesPerMonth), s.Limits...)
	return s
}

// used says how much is used of the limits of a folder, "" for all together;
// nothing where it has none.
func (d *daemon) used(folder string, perDay, perMonth int) []control.Limit {
	if perDay == 0 && perMonth == 0 {
		return nil
	}
	day, month, err := d.queue.Spent(folder)
	if err != nil {
		return nil // whoever asks for jobs learns of it
	}
	var limits []control.Limit
	if perDay > 0 {
		limits = append(limits, control.Limit{Name: "pages a day", Folder: folder, Used: day, Most: perDay})
	}
	if perMonth > 0 {
		limits = append(limits, control.Limit{Name: "pages a month", Folder: folder, Used: month, Most: perMonth})
	}
	return limits
}

// hotFiles are the scans and results that the page shows, and takes.
type hotFiles struct{ files }

// Scan implements [web.Files].
func (f hotFiles) Scan(j queue.Job) (io.ReadSeekCloser, error) { return f.file(j, j.Original()) }

// Result implements [web.Files].
func (f hotFiles) Result(j queue.Job, path string) (io.ReadSeekCloser, error) { return f.file(j, path) }

func (f hotFiles) file(j queue.Job, path string) (io.ReadSeekCloser, error) {
	folder, err := f.of(j, path)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.OpenFile(path)
}

// Drop implements [web.Files].
func (f hotFiles) Drop(folder, name string, scan io.Reader) (string, error) {
	hot, err := f.hot(folder)
	if err != nil {
		return "", err
	}
	defer hot.Close()
	path, err := hot.Drop(name, scan)
	if errors.Is(err, result.ErrName) {
		return "", &web.NameError{Name: name}
	}
	return path, explain(err)
}

// CheckPage tries whether the page could be served: nil if it can, if none is
// configured, or if a daemon serves it.
func CheckPage(c *config.Config) error {
	if c.Status.Listen == "" {
		return nil
	}
	if _, err := c.Status.Password(); err != nil {
		return err
	}
	if c.Status.TLS.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(c.Status.TLS.CertFile, c.Status.TLS.KeyFile); err != nil {
			return fmt.Errorf("status.tls: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := control.Dial(ctx, c.State); err == nil {
		return nil
	}
	return CheckListen(c.Status.Listen)
}

// CheckListen tries whether somebody else listens on the address.
func CheckListen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
