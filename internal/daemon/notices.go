package daemon

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"scandrop/internal/config"
	"scandrop/internal/notice"
	"scandrop/queue"
)

// keptNotices is under which name the queue keeps what waits to be told.
const keptNotices = "notices"

// lastNotices is how long a run that ends by itself tries to tell what is left.
const lastNotices = 20 * time.Second

// prepareNotices builds the ways of telling people, if there are any.
func (d *daemon) prepareNotices() (err error) {
	if len(d.Config.Notices) == 0 {
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "this machine"
	}
	c := notice.Config{
		Host: host, Log: d.Log,
		Holds: func() []notice.Hold {
			var holds []notice.Hold
			for _, h := range d.queue.Holds() {
				holds = append(holds, notice.Hold{Name: h.Key(), Reason: h.Reason})
			}
			return holds
		},
		Newest: func() (time.Time, error) {
			page, err := d.queue.List(queue.Filter{Limit: 1})
			if err != nil || len(page.Jobs) == 0 {
				return time.Time{}, err
			}
			return page.Jobs[0].Added, nil
		},
		Open: func() (n int, err error) {
			counts, err := d.queue.Counts()
			for _, states := range counts {
				for s, jobs := range states {
					if !s.Final() {
						n += jobs
					}
				}
			}
			return n, err
		},
		Keep: func(text []byte) error { return d.queue.Keep(keptNotices, text) },
		Kept: func() ([]byte, error) { return d.queue.Kept(keptNotices) },
	}
	for i, n := range d.Config.Notices {
		w := notice.Way{Name: n.Name(), Sender: senderOf(n), Every: n.Every, Silent: n.Silent, Digest: n.DigestAt()}
		for _, e := range n.Events {
			w.Events = append(w.Events, notice.Kind(e))
		}
		if slices.ContainsFunc(c.Ways, func(other notice.Way) bool { return other.Name == w.Name }) {
			w.Name = fmt.Sprintf("%s (%d)", w.Name, i+1) // two webhooks of one host, say
		}
		c.Ways = append(c.Ways, w)
	}
	d.notices, err = notice.New(c)
	return err
}

func senderOf(n config.Notice) notice.Sender {
	secret := func() (string, error) {
		s, err := n.Secret()
		return s.Reveal(), err
	}
	switch {
	case n.Webhook.URL != "":
		return notice.Webhook{URL: n.Webhook.URL, Secret: secret}
	case len(n.Email.To) > 0:
		return notice.Email{Server: n.Email.Server, From: n.Email.From, To: n.Email.To, User: n.Email.User, Password: secret}
	case len(n.Command) > 0:
		return notice.Command{Args: n.Command}
	}
	return notice.Chat{URL: secret}
}

// noteEnd tells the notices of a scan that has come to its end in this run.
func (d *daemon) noteEnd(j queue.Job) {
	if d.notices == nil || j.Finished.Before(d.began) || j.State == queue.Cancelled || !j.State.Final() {
		return
	}
	d.notices.Ended(notice.End{Job: j.ID, Scan: j.Path, State: string(j.State), Error: j.Error, Pages: j.Pages, At: j.Finished})
}

// tellTheRest tells what is left at the end of a run that ends by itself.
func (d *daemon) tellTheRest(ctx context.Context) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNotices)
	defer cancel()
	d.notices.Flush(last)
}
