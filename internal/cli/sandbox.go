package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"scandrop/internal/sandbox"
)

func (a *app) sandbox() *cobra.Command {
	var (
		listen, token, troubleFile, hook, hookSecret string
		credits, burst, quota                        int
		work, latency, window                        time.Duration
		announce                                     string
		perSecond                                    float64
	)
	c := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a stand-in of the API on a loopback port",
		Long: `Serve a stand-in of the Handwriting OCR API on a loopback port, for trying things
out and for programs that are written against that API. It prints its address,
which belongs under api.url. It validates uploads, counts pages and credits,
makes real DOCX, XLSX, CSV, JSON and TXT, and has any trouble that a script
asks for, one rule a line:

  upload 3: 500                 the third upload is answered with 500
  upload every 7: lost          every seventh is accepted, its answer lost
  any p=0.01: 503 retry-after 2 one call in a hundred
  download 4: cut 100           the answer breaks off after 100 bytes

It reads the sample scans of the demo, other images with tesseract where that is
installed, and says so where it does not read.`,
		Args: none,
		RunE: func(c *cobra.Command, _ []string) error {
			o := sandbox.Options{
				Token: token, Latency: latency, Rate: rate.Limit(perSecond), Burst: burst,
				Quota: quota, Window: window,
				WebhookURL: hook, WebhookSecret: hookSecret, HookClient: hereAlone(),
				Work: func(sandbox.Document) time.Duration { return work },
			}
			var known bool
			if o.Announce, known = announces[announce]; !known {
				return usage("for example: --announce left", "--announce: %q is none of nothing, wait, left and all", announce)
			}
			if err := checkSandbox(o, listen, work, credits); err != nil {
				return err
			}
			if c.Flags().Changed("credits") {
				o.Credits = &credits
			}
			if troubleFile != "" {
				text, err := os.ReadFile(troubleFile)
				if err != nil {
					return usage("name a file with a script; see scandrop sandbox --help", "--trouble: %w", err)
				}
				if o.Trouble, err = sandbox.ParseScript(string(text)); err != nil {
					return usage("see scandrop sandbox --help for the rules", "%s: %w", troubleFile, err)
				}
			}
			engine, err := a.engine()
			if err != nil {
				return err
			}
			o.Engine = engine
			return serve(c.Context(), sandbox.New(o), listen, func(url string) {
				fmt.Fprintln(a.Out, url)
				if terminal(a.Err) { // programs read the URL alone
					fmt.Fprintf(a.Err, "This is a stand-in of the API; it costs nothing, takes any token unless --token names one, and Ctrl-C ends it. To go on, in another terminal:\n"+
						"scandrop init --config try/config.yaml --folder try/scans --url %s\n", url)
				}
			})
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:0", "loopback `ADDRESS` to listen on; port 0 is any free one")
	f.StringVar(&token, "token", "", "the only `TOKEN` that is accepted (default any)")
	f.IntVar(&credits, "credits", 0, "how many `PAGES` may still be read (default without limit)")
	f.DurationVar(&work, "work", time.Second, "how long a document takes")
	f.DurationVar(&latency, "latency", 0, "time before each answer")
	f.Float64Var(&perSecond, "rate", 0, "answer more than `N` requests a second with 429 (default without limit)")
	f.IntVar(&burst, "burst", 5, "how many requests may come at once under --rate")
	f.IntVar(&quota, "quota", 0, "answer more than `N` requests a --window with 429 (default without limit)")
	f.DurationVar(&window, "window", time.Minute, "how long a window of --quota is")
	f.StringVar(&announce, "announce", "wait", "what is told of the limits: `WHAT` is nothing, wait (Retry-After), left (X-RateLimit, its Reset with a 429) or all")
	f.StringVar(&troubleFile, "trouble", "", "a `FILE` with a script of trouble")
	f.StringVar(&hook, "webhook-url", "", "loopback `URL` that results are posted to")
	f.StringVar(&hookSecret, "webhook-secret", "", "`SECRET` that signs those posts")
	return c
}

// checkSandbox says what makes no sense in the options, or would have the stand-in
// speak to other machines.
func checkSandbox(o sandbox.Options, listen string, work time.Duration, credits int) error {
	if host, _, err := net.SplitHostPort(listen); err != nil || !loopback(host) {
		return usage("for example: --listen 127.0.0.1:8400", "%q is not a loopback address with a port: a stand-in is no server for others", listen)
	}
	for _, f := range []struct {
		name  string
		value any
		fine  bool
	}{
		{"rate", float64(o.Rate), o.Rate >= 0}, {"quota", o.Quota, o.Quota >= 0}, {"credits", credits, credits >= 0},
		{"latency", o.Latency, o.Latency >= 0}, {"work", work, work >= 0},
	} {
		if !f.fine {
			return usage("leave --"+f.name+" away for the usual", "--%s: %v is not 0 or more", f.name, f.value)
		}
	}
	const example = "for example: --webhook-url http://127.0.0.1:8378/"
	hook, err := url.Parse(o.WebhookURL)
	switch {
	case o.Window <= 0:
		return usage("for example: --window 1m", "--window: %v is no time", o.Window)
	case o.Burst < 1:
		return usage("for example: --burst 5", "--burst: %d requests are none", o.Burst)
	case o.WebhookURL == "" && o.WebhookSecret != "":
		return usage(example, "--webhook-secret signs what --webhook-url is posted, and that is not given")
	case o.WebhookURL != "" && (err != nil || hook.Scheme != "http" && hook.Scheme != "https" || !loopback(hook.Hostname())):
		return usage(example, "--webhook-url: %q is not a loopback URL: what is read is posted to this machine alone", o.WebhookURL)
	}
	return nil
}

// errOther means that a stand-in was to speak to another machine.
var errOther = errors.New("a stand-in speaks to this machine alone")

// hereAlone is a client that reaches this machine alone, wherever a redirect leads to or
// an upload has its result posted to.
func hereAlone() *http.Client {
	d := &net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if host, _, err := net.SplitHostPort(address); err != nil || !loopback(host) {
			return errOther
		}
		return nil
	}}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: d.DialContext}}
}

// loopback reports whether the host is this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var announces = map[string]sandbox.Announce{
	"nothing": sandbox.AnnounceNothing, "wait": sandbox.AnnounceWait,
	"left": sandbox.AnnounceLeft, "all": sandbox.AnnounceAll,
}

// engine reads the samples, then what tesseract reads.
func (a *app) engine() (sandbox.Engine, error) {
	known := sandbox.Known{}
	if a.samples != nil {
		var err error
		if known, err = sandbox.KnownScans(a.samples); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the sample scans: %w", err)
		}
	}
	return sandbox.Chain{known, sandbox.Tesseract{}, sandbox.Plain{}}, nil
}

// serve serves the sandbox until ctx is done. ready is told its base URL.
func serve(ctx context.Context, s *sandbox.Sandbox, listen string, ready func(url string)) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return &statusError{ExitFailed, err, "choose another port, or 0 for any that is free"}
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	ready("http://" + l.Addr().String() + "/api/v2")
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return s.Close()
}
