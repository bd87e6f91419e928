package queue

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Peek opens a queue file for reading only: whatever would change it fails. It
// sees the jobs as they are, also what only a next start would tidy up, and the
// holds as they would be then; a file of an older version is read as it is, see
// [Queue.Behind]. Of c only Path, Installation, Timeout, Folders and Limits
// matter. Its errors are those of [Open]; that there is no file is one.
func Peek(c Config) (*Queue, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if _, err := os.Stat(c.Path); err != nil {
		return nil, err
	}
	if err := plausible(c.Path); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	q := &Queue{
		installation: c.Installation, configured: c.Folders, limits: c.Limits,
		holds: map[string]Hold{}, folders: map[string]folder{}, claimed: map[uint64]bool{}, changed: make(chan struct{}),
	}
	err := guard(func() (err error) {
		q.db, err = bolt.Open(c.Path, 0o600, &bolt.Options{ReadOnly: true, Timeout: c.Timeout})
		return err
	})
	if err != nil {
		return nil, openError(c.Path, err)
	}
	err = q.read(func(t *tx) error {
		version, err := t.version()
		if err != nil || version == 0 {
			return err
		}
		q.behind = fileVersion - version
		err = t.bucket(bucketFolders).ForEach(func(k, v []byte) error {
			var f folder
			defer func() { q.folders[string(k)] = f }()
			return json.Unmarshal(v, &f)
		})
		if err != nil {
			return err
		}
		err = t.bucket(bucketHolds).ForEach(func(k, v []byte) error {
			var h Hold
			defer func() { q.holds[string(k)] = h }()
			return json.Unmarshal(v, &h)
		})
		if err != nil {
			return err
		}
		for _, h := range t.newlyRemoved() {
			h.Since = t.now
			q.holds[h.Key()] = h
		}
		maps.DeleteFunc(q.holds, func(_ string, h Hold) bool {
			return h.Cause == Removed && !t.removed(h.Folder) || t.idle(h)
		})
		return nil
	})
	if err != nil {
		q.db.Close()
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	return q, nil
}

// Behind is how many versions older than this code's the form of a file is that was
// opened by [Peek]; 0 for any other, as [Open] brings it up to date.
func (q *Queue) Behind() int { return q.behind }

// Foresee says what [Queue.Add] would make of a scan, and changes nothing. The
// job has no ID. What a restored queue would find at the service is not foreseen.
func (q *Queue) Foresee(s Scan) (Added, error) {
	var a Added
	err := q.read(func(t *tx) error {
		if p, ok := t.path(s.Path); ok && p.job != 0 {
			old, err := t.job(p.job)
			if err == nil && old.Content == s.Content && !s.Content.IsZero() && !t.startOver(old, s, nil) {
				a = Added{Job: old, Known: true}
				return nil
			}
		}
		a.Job = t.newJob(s)
		if why := t.tooMany(a.Job); why != "" && a.Job.State == Queued && a.Job.HeldBy == "" {
			a.Job.Error = why
			a.Job = a.Job.end(Rejected, t.now)
		}
		return t.err
	})
	return a, err
}
