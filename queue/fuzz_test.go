package queue

import (
	"testing"

	"go.etcd.io/bbolt"
)

// A story or an identity that cannot be read is an error of what reads it, and
// a path that cannot be is an unknown file.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`[{"at":"2026-01-02T03:04:05Z","what":"noticed","state":"queued"}]`))
	f.Add([]byte(`{"paid":1,"resends":-1}`))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add([]byte{})
	q := openAt(f, Config{Path: f.TempDir() + "/queue.db"})
	j := add(f, q, scan("/scans/a.pdf", "a"))[0]
	path := []byte("/scans/b.pdf")
	f.Fuzz(func(t *testing.T, record []byte) {
		var story []byte
		err := q.db.Update(func(tx *bbolt.Tx) error {
			story = append(story, tx.Bucket(bucketStory).Get(key64(j.ID))...)
			if err := tx.Bucket(bucketPaths).Put(path, record); err != nil {
				return err
			}
			return tx.Bucket(bucketStory).Put(key64(j.ID), record)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			err := q.db.Update(func(tx *bbolt.Tx) error {
				if err := tx.Bucket(bucketPaths).Delete(path); err != nil {
					return err
				}
				return tx.Bucket(bucketStory).Put(key64(j.ID), story)
			})
			if err != nil {
				t.Fatal(err)
			}
		}()
		_, _ = q.Story(j.ID)
		_, _ = q.ByPath(string(path))
		_, _ = q.Seen(string(path), 1, j.ModTime)
		if _, err := q.Get(j.ID); err != nil {
			t.Errorf("the job cannot be read any more: %v", err)
		}
	})
}
