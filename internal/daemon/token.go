package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"scandrop/internal/config"
	"scandrop/queue"
)

// tokenLook is how often the token is read while it is held that the service
// refuses it: whoever puts in a valid one sees that it helps.
const tokenLook = 3 * time.Second

// A given is the token that the service was last given, empty if there was none
// that could be sent.
type given struct{ atomic.Pointer[config.Secret] }

func (g *given) is(token config.Secret) bool {
	last := g.Load()
	return last != nil && last.Reveal() == token.Reveal()
}

// watchToken has the hold of a refused token tried as soon as there is another
// than the one that the service was last given.
func (d *daemon) watchToken(ctx context.Context) {
	for d.queue.AwaitHold(ctx, string(queue.Token)) == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tokenLook):
		}
		token, err := d.config.Load().TokenSource().Token()
		if err != nil || d.given.is(token) {
			continue // one that cannot be sent is not worth a try
		}
		if d.queue.ProbeNow(string(queue.Token)) {
			d.Log.Info("there is another token, which is tried")
		}
	}
}
