package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/queue"
)

type document = hwocr.Document

// An inquiry is what the service said when it was asked for a list and for the
// balance.
type inquiry struct {
	token     error      // why there is no token; nothing was asked then
	documents []document // a page of the list
	list      error
	balance   *int          // nil if the service does not tell
	ahead     time.Duration // how far its clock is ahead of ours at least; less than 0: behind
	dated     bool
}

const (
	listTime    = 30 * time.Second
	balanceTime = 15 * time.Second
)

// askService asks the service for what check wants to know.
func (c *checkup) askService(ctx context.Context) (i inquiry) {
	if i.token = c.conf.CheckToken(); i.token != nil {
		return i
	}
	clock := &clock{}
	i.documents, i.list = c.listOf(ctx, c.conf, clock)
	if i.list == nil {
		if n, err := c.balance(ctx, c.conf); err == nil {
			i.balance = &n
		}
	}
	i.ahead, i.dated = clock.ahead()
	return i
}

// answers turns what the service said into findings.
func (c *checkup) answers(i inquiry) {
	c.mistake("token", i.token)
	if i.token != nil {
		return
	}
	hint := ""
	if explained, ok := errors.AsType[*statusError](explainService(i.list)); ok {
		hint = explained.Hint
	}
	hint = cmp.Or(hint, "it may be over in a while; if it stays so check api.url and api.proxy, and ask the service's support")
	c.add("service "+c.conf.API.URL, ExitFailed, hint, i.list)
	switch {
	case i.list != nil:
	case i.balance == nil:
		c.fine("balance (the service does not tell)")
	case *i.balance <= 0:
		c.add("balance", ExitFailed, "buy pages at the service: until then scans wait, and nothing is lost", errors.New("no pages are left"))
	default:
		c.fine("balance " + countOf(*i.balance, "page"))
	}
	if !i.dated {
		return
	}
	const tolerable = 3 * time.Minute
	off, side := i.ahead, "behind"
	if off < 0 {
		off, side = -off, "ahead of"
	}
	if off <= tolerable {
		c.fine("clock")
		return
	}
	c.warn("clock", fmt.Sprintf("it is %s %s the service's", roughly(off.Round(time.Minute)), side), "set this machine's clock, or have it set by NTP ("+setClock+"): limits by day, and what is looked for at the service, go by it")
}

// checkService lists a few documents: that takes the token.
func (a *app) checkService(ctx context.Context, conf *config.Config) error {
	_, err := a.listOf(ctx, conf, &clock{})
	return err
}

func (a *app) listOf(ctx context.Context, conf *config.Config, clock *clock) ([]document, error) {
	limited, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	transport, err := hwocr.NewTransport(hwocr.TransportConfig{Proxy: conf.API.Proxy.Reveal(), CAFile: conf.API.CAFile})
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	clock.next = transport
	api, err := daemon.NewClient(conf, nil, clock, buildVersion(), nil)
	if err != nil {
		return nil, err
	}
	documents, _, err := api.Page(limited, 50, 1)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		err = &hwocr.Error{Op: "list", Err: fmt.Errorf("no answer within %v", listTime)}
	}
	return documents, err
}

// namesLost reports whether the document is one of ours and has lost our mark. One that is
// left of an earlier upload of its job bears another mark than the job does now.
func namesLost(q *queue.Queue, d document) bool {
	j, err := q.ByDocument(d.ID)
	ours, _ := q.Installation().Find(filepath.Base(d.Name))
	return err == nil && j.Mark != "" && ours == ""
}

// A clock reads the service's clock from its answers.
type clock struct {
	next http.RoundTripper

	mu          sync.Mutex
	told        time.Time // by the last answer that tells it; it cuts off fractions
	asked, came time.Time // when that answer was, by ours
}

// RoundTrip implements [http.RoundTripper].
func (c *clock) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if told, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		if age, err := strconv.Atoi(resp.Header.Get("Age")); err == nil && age > 0 {
			told = told.Add(time.Duration(age) * time.Second) // a cache kept the answer
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told, c.asked, c.came = told, asked, time.Now()
	}
	return resp, nil
}

// ahead is by how much the service's clock is ahead of ours at least: somewhen
// between question and answer it said what it told. false if it told nothing.
func (c *clock) ahead() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.told.IsZero():
		return 0, false
	case c.told.After(c.came):
		return c.told.Sub(c.came), true
	case c.told.Add(time.Second).Before(c.asked):
		return c.told.Add(time.Second).Sub(c.asked), true
	}
	return 0, true
}
