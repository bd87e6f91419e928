package queue

import (
	"bytes"
	"encoding/json"
)

// A Note is a file beside a failed scan that says why it failed.
type Note struct {
	Path    string `json:"-"`
	Job     uint64 `json:"job"`
	Content Digest `json:"content"` // what we wrote into it
}

var keyNotes = []byte("note ")

// PutNote records, before it is written, that there is a note at n.Path.
func (q *Queue) PutNote(n Note) error {
	return q.update(func(t *tx) error {
		t.putJSON(bucketMeta, append(bytes.Clone(keyNotes), n.Path...), n)
		return nil
	})
}

// RemoveNote records that the note at the path is gone.
func (q *Queue) RemoveNote(path string) error {
	return q.update(func(t *tx) error {
		t.delete(bucketMeta, append(bytes.Clone(keyNotes), path...))
		return nil
	})
}

// Notes returns the notes that there are, by their paths.
func (q *Queue) Notes() (map[string]Note, error) {
	notes := map[string]Note{}
	err := q.read(func(t *tx) error {
		c := t.bucket(bucketMeta).Cursor()
		for k, v := c.Seek(keyNotes); bytes.HasPrefix(k, keyNotes); k, v = c.Next() {
			n := Note{Path: string(k[len(keyNotes):])}
			if err := json.Unmarshal(v, &n); err != nil {
				return err
			}
			notes[n.Path] = n
		}
		return nil
	})
	return notes, err
}
