package daemon

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"scandrop/internal/config"
	"scandrop/internal/hwocr"
	"scandrop/internal/sandbox"
)

// A daemon that is killed had kept its pace: the next one does not have to be
// refused again to know it.
func TestKillKeepsPace(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	trouble, err := sandbox.ParseScript("any 1: 429 retry-after 1")
	if err != nil {
		t.Fatal(err)
	}
	s.box.SetTrouble(trouble)
	s.onCall(func(call int, at sandbox.Moment) {
		// An upload, a look and a list may go out together; what comes then has
		// waited for the second that was asked for.
		if call == 4 && at == sandbox.Before {
			s.kill()
		}
	})
	if err := s.start().Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	c, err := config.Load(filepath.Join(s.dir, "c.yaml"), config.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := OpenQueue(c, Opening{})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := q.Kept(keptPace)
	if err := errors.Join(err, q.Close()); err != nil {
		t.Fatal(err)
	}
	var pace hwocr.PaceState
	if err := json.Unmarshal(kept, &pace); err != nil || pace.Rate <= 0 || pace.Rate > 2 { // a thousand are configured
		t.Errorf("%s was kept (%v)", kept, err)
	}
}
