package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"scandrop/queue"
)

// Who puts in a valid token does not have to wait until the hold of the old one is
// tried again by itself, and the same token again is not tried at every look.
func TestTokenPutIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, "", "")
		h.box.SetToken("good")
		h.yard.put("token", "bad\n")
		h.yard.put("c.yaml", `
api: {url: "http://127.0.0.1:1/api/v2", rate: 1000, burst: 1000}
state: state
status: {listen: ""}
folders: [{path: scans, watch: poll, quiet: 1s, rescan: 10s}]
`)
		h.yard.put("scans/letter.gif", scanOf("letter"))
		requests := func() (n int) {
			for _, times := range h.box.Stats().Requests {
				n += times
			}
			return n
		}
		stop := h.start()
		time.Sleep(time.Hour) // by now it is tried by itself twice an hour
		before := requests()
		time.Sleep(time.Minute)
		if n := requests() - before; n > 1 {
			t.Errorf("%d requests in a minute with the token that was refused", n)
		}
		h.yard.put("token", "good\n")
		time.Sleep(20 * time.Second)
		stop()
		h.wantJob("scans/letter.gif", queue.Done)
	})
}
