package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Cause is what is wrong when the trouble is not a file's.
type Cause string

const (
	Token       Cause = "token"       // account: the service refuses the token
	Address     Cause = "address"     // account: what answers under api.url is not the API
	Credits     Cause = "credits"     // account: no page credits left
	Refused     Cause = "refused"     // folder: its action, extractor or prompt is refused
	Missing     Cause = "missing"     // folder: not there, or not readable
	Room        Cause = "room"        // folder: its disk is full or read-only, or it may not be written
	Unreachable Cause = "unreachable" // account: nobody answers
	Doubt       Cause = "doubt"       // account: unanswered uploads that only a person can settle
	Disk        Cause = "disk"        // account: the disk of the state folder is full or cannot be written
	Removed     Cause = "removed"     // folder: it is not in the configuration any more, and scans of it wait
	Rebuilt     Cause = "rebuilt"     // account: the queue was restored, and the service's list was not read yet
	Limit       Cause = "limit"       // folder or account: no more pages may be sent today, or this month
	Profile     Cause = "profile"     // a folder below a hot folder: what it asks for cannot be understood
)

// A Hold is trouble that is not the file's. While it stands nothing in its
// scope is uploaded and no attempt is used; what is paid is still collected.
type Hold struct {
	Cause  Cause     `json:"cause"`
	Folder string    `json:"folder,omitempty"` // the hot folder; "" for the whole account
	Dir    string    `json:"dir,omitempty"`    // of a profile: the folder that it lies in
	Reason string    `json:"reason"`           // in plain words, with the way out
	Since  time.Time `json:"since"`
	Next   time.Time `json:"next"`             // when it is tried whether the trouble is over
	Probes int       `json:"probes"`           // how often it has been tried
	Size   int64     `json:"size,omitempty"`   // of credits: scans of fewer bytes are not held
	Pages  int       `json:"pages,omitempty"`  // of credits: nor are those of fewer pages, where both are known
	Period string    `json:"period,omitempty"` // of a limit: "day" or "month"
}

// Scope is "account" or "folder".
func (h Hold) Scope() string {
	if h.Folder == "" {
		return "account"
	}
	return "folder"
}

// Key names the hold among all holds, as in "token" or "missing:/srv/scans".
func (h Hold) Key() string {
	switch {
	case h.Dir != "":
		return string(h.Cause) + ":" + h.Dir
	case h.Folder == "":
		return string(h.Cause)
	}
	return string(h.Cause) + ":" + h.Folder
}

// blocksAll reports whether no request at all makes sense while the hold
// stands, but for the probe.
func (h Hold) blocksAll() bool {
	return h.Cause == Token || h.Cause == Address || h.Cause == Unreachable
}

// blocksUploads reports whether scans of the folder are not sent. A profile
// holds only the scans that it is about, each by itself.
func (h Hold) blocksUploads(folder string) bool {
	return h.Cause != Doubt && h.Cause != Profile && (h.Folder == "" || h.Folder == folder)
}

// Stops reports whether the hold keeps the job from being sent.
func (h Hold) Stops(j Job) bool {
	if h.Cause == Profile {
		return j.HeldBy == Profile && j.Folder == h.Folder && below(h.Dir, j.Path)
	}
	return h.blocksUploads(j.Folder) && !h.spares(j)
}

// spares reports whether the job needs less than the scan that was refused: nothing
// needs less than a page.
func (h Hold) spares(j Job) bool {
	if h.Pages == 1 {
		return false
	}
	if h.Pages > 0 && j.Counted > 0 {
		return j.Counted < h.Pages
	}
	return j.Size < h.Size
}

// probedByUpload reports whether a waiting job is let through to find out
// whether the trouble is over. The token and the address are probed by a list,
// a missing folder by the watcher, a restored queue by the census, a limit by the
// calendar, a profile by the watcher, and doubt and a folder that was taken out by
// nobody but a person.
func (h Hold) probedByUpload() bool {
	return h.Cause == Credits || h.Cause == Refused || h.Cause == Room || h.Cause == Disk
}

func probeDelay(probes int) time.Duration {
	return min(time.Minute<<min(probes, 6), 30*time.Minute)
}

// Hold places a hold, or renews the reason of one that stands.
func (q *Queue) Hold(h Hold) error {
	return q.update(func(t *tx) error {
		t.hold(h)
		return nil
	})
}

// hold places h. One that stands keeps its beginning, and its next probe
// unless that has been made and failed.
func (t *tx) hold(h Hold) {
	now := t.now
	old, stands := t.holds[h.Key()]
	h.Since, h.Next, h.Probes = now, now.Add(probeDelay(0)), 0
	if stands {
		h.Since, h.Next, h.Probes = old.Since, old.Next, old.Probes
		if !old.spares(Job{Size: h.Size, Counted: h.Pages}) {
			h.Size, h.Pages = old.Size, old.Pages
		}
		if !now.Before(old.Next) {
			h.Probes++
			h.Next = now.Add(probeDelay(h.Probes))
		}
	}
	t.putHold(h)
}

func (t *tx) putHold(h Hold) {
	t.holds[h.Key()] = h
	t.putJSON(bucketHolds, []byte(h.Key()), h)
}

// release removes the holds that match and reports how many there were. That of a
// profile stays while scans wait behind it of which only a copy may be left: their files
// need not be noticed again. [Queue.Configure] takes those.
func (t *tx) release(match func(Hold) bool) int {
	n := 0
	for key, h := range t.holds {
		if !match(h) {
			continue
		}
		n++
		t.free(h)
		if h.Cause == Profile && nonEmpty(t.heldByProfile(h)) {
			continue
		}
		delete(t.holds, key)
		t.delete(bucketHolds, []byte(key))
	}
	return n
}

func nonEmpty(jobs iter.Seq[Job]) bool {
	for range jobs {
		return true
	}
	return false
}

// Release lifts the hold with that key, or all holds if the key is "all", and
// reports how many were lifted. Trouble that is still there holds again at the
// next attempt. A limit is waived until its day or month is over. That, and a
// restored queue, may cost money: they are let go by their own names only. A
// folder that was taken out of the configuration is not let go at all.
func (q *Queue) Release(key string) (int, error) {
	n := 0
	err := q.update(func(t *tx) error {
		if h := t.holds[key]; h.Cause == Limit {
			t.waive(h)
		}
		n = t.release(func(h Hold) bool {
			return h.Cause != Removed && (h.Key() == key || key == "all" && h.Cause != Rebuilt && h.Cause != Limit)
		})
		return nil
	})
	return n, err
}

// releaseIdle lifts the holds that are tried by an upload and that no upload
// waits behind, and those of folders that are not configured any more: nothing
// else would ever lift them.
func (t *tx) releaseIdle() { t.release(t.idle) }

// idle reports whether nothing waits behind the hold.
func (t *tx) idle(h Hold) bool {
	if t.removed(h.Folder) {
		return h.Cause != Removed || !t.waits(h.Folder)
	}
	return (h.probedByUpload() || h.Cause == Limit) && !t.anyWaits(h)
}

// removed reports whether the folder is one that scans are no longer taken from.
func (t *tx) removed(folder string) bool {
	if folder == "" || t.configured == nil {
		return false
	}
	_, configured := t.configured[folder]
	return !configured
}

// waits reports whether a scan of the folder waits to be sent.
func (t *tx) waits(folder string) bool {
	prefix := lanePrefix(laneUpload, t.folders[folder].Number)
	k, _ := t.Bucket(bucketDue).Cursor().Seek(prefix)
	return bytes.HasPrefix(k, prefix)
}

// holdRemoved holds the folders that were taken out of the configuration while
// scans of them wait, and lets go those that are in it.
func (t *tx) holdRemoved() {
	for _, h := range t.newlyRemoved() {
		t.hold(h)
	}
	t.release(func(h Hold) bool { return h.Cause == Removed && !t.removed(h.Folder) })
}

// newlyRemoved lists the holds of folders that were taken out of the configuration,
// while scans of them wait, and that are not held yet.
func (t *tx) newlyRemoved() (holds []Hold) {
	for path := range t.folders {
		h := Hold{Cause: Removed, Folder: path,
			Reason: "it is not in the configuration any more, and scans of it wait: put it back, or cancel them"}
		if _, stands := t.holds[h.Key()]; !stands && t.removed(path) && t.waits(path) {
			holds = append(holds, h)
		}
	}
	return holds
}

// SetFolders takes scans from these folders from now on, within these limits, as if
// the queue had been opened with them; see [Config]. What was sent already goes on, whatever folder
// it is of. Scans that wait in others are held.
func (q *Queue) SetFolders(folders map[string]int, limits map[string]Limits) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	old, bounds := q.configured, q.limits
	q.configured, q.limits = maps.Clone(folders), maps.Clone(limits)
	err := q.updateLocked(func(t *tx) error {
		t.release(func(h Hold) bool { return h.Cause == Limit }) // held again at once where it is still reached
		t.holdRemoved()
		t.releaseIdle()
		return nil
	})
	if err != nil {
		q.configured, q.limits = old, bounds
	}
	return err
}

// anyWaits reports whether a job waits behind the hold, or is being sent and
// may find it confirmed.
func (t *tx) anyWaits(h Hold) bool {
	if t.countState(Uploading) > 0 {
		return true
	}
	for path := range t.folders {
		if h.blocksUploads(path) && !t.removed(path) && t.waits(path) {
			return true
		}
	}
	for _, id := range t.heldBack() {
		if j, err := t.job(id); err == nil && j.HeldBy == h.Cause {
			return true
		}
	}
	return false
}

// Holds returns what is held now, in a stable order.
func (q *Queue) Holds() []Hold {
	q.mu.Lock()
	defer q.mu.Unlock()
	holds := make([]Hold, 0, len(q.holds))
	for _, h := range q.holds {
		holds = append(holds, h)
	}
	slices.SortFunc(holds, func(a, b Hold) int { return strings.Compare(a.Key(), b.Key()) })
	return holds
}

// loadHolds reads the holds, all of them due to be probed: whatever happened
// since, a restart finds out at once.
func (t *tx) loadHolds() error {
	return t.bucket(bucketHolds).ForEach(func(k, v []byte) error {
		var h Hold
		if err := json.Unmarshal(v, &h); err != nil {
			return fmt.Errorf("hold %q: %w", k, err)
		}
		if h.Cause != Limit { // the calendar alone ends that
			h.Next, h.Probes = t.now, 0
		}
		t.holds[h.Key()] = h
		return nil
	})
}

// AwaitHold returns when the hold with that key stands, or with ctx's error.
func (q *Queue) AwaitHold(ctx context.Context, key string) error {
	for {
		q.mu.Lock()
		_, stands := q.holds[key]
		changed := q.changed
		q.mu.Unlock()
		if stands {
			return nil
		}
		if err := wait(ctx, changed, time.Time{}); err != nil {
			return err
		}
	}
}

// ProbeNow has the hold with that key tried at once, and then as rarely as if it
// were new: somebody has changed what it is about. It reports whether the hold
// stands.
func (q *Queue) ProbeNow(key string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	h, stands := q.holds[key]
	if !stands {
		return false
	}
	h.Next, h.Probes = time.Now().Round(0).UTC(), 0 // in memory: a restart tries all
	q.holds = maps.Clone(q.holds)
	q.holds[key] = h
	q.wake()
	return true
}
