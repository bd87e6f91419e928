package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Verify reads the whole queue file and reports the first fault in it: a page
// that is not whole, a record whose checksum is wrong, an index that does not
// say what the records say. It changes nothing, and returns how many jobs there
// are.
//
// Its errors are those of [Open], [ErrDamaged] among them. A file can be so
// damaged that reading it ends the process: where that must not be, let a
// process of its own call Verify.
func Verify(path string) (jobs int, err error) {
	if err := plausible(path); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := os.Stat(path); err != nil {
		return 0, err
	}
	var db *bolt.DB
	err = guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: defaultTimeout})
		return err
	})
	if err != nil {
		return 0, openError(path, err)
	}
	defer db.Close()
	q := &Queue{db: db}
	err = q.read(func(t *tx) error {
		if _, err := t.version(); err != nil {
			return err
		}
		var first error
		for err := range t.Check() { // all of them must be taken
			if first == nil {
				first = err
			}
		}
		if first == nil {
			jobs, first = t.verify()
		}
		if first != nil && !errors.Is(first, ErrNewer) {
			return fmt.Errorf("%w: %w", ErrDamaged, first)
		}
		return first
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return jobs, nil
}

// openError says in this package's words why bbolt could not open the file.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%s: %w", path, ErrForeign)
	case errors.Is(err, bolterrors.ErrChecksum):
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return fmt.Errorf("open the queue: %w", err)
}

// version is that of the file; 0 if it is a new one, with nothing in it.
func (t *tx) version() (version int, err error) {
	meta := t.bucket(bucketMeta)
	if meta == nil {
		return 0, t.ForEach(func([]byte, *bolt.Bucket) error { return ErrForeign })
	}
	if err := json.Unmarshal(meta.Get([]byte("version")), &version); err != nil || version < 1 {
		return 0, fmt.Errorf("%w: its version is missing", ErrDamaged)
	}
	if version > fileVersion {
		return version, fmt.Errorf("%w (its version is %d, this one knows %d)", ErrNewer, version, fileVersion)
	}
	return version, nil
}

// verify holds every index against the records: each must say what they say, no
// more and no less. It needs memory for the folders only, however many jobs
// there are: what must be there is looked up, and what must not be there shows
// in the number of entries.
func (t *tx) verify() (jobs int, err error) {
	if t.bucket(bucketMeta) == nil {
		return 0, nil
	}
	for _, name := range allBuckets {
		if t.bucket(name) == nil {
			return 0, fmt.Errorf("bucket %s is missing", name)
		}
	}
	numbers := map[string]uint32{}
	err = t.bucket(bucketFolders).ForEach(func(path, v []byte) error {
		var f folder
		if err := json.Unmarshal(v, &f); err != nil {
			return fmt.Errorf("folder %q: %w", path, err)
		}
		numbers[string(path)] = f.Number
		return nil
	})
	if err != nil {
		return 0, err
	}
	var due, contents, documents, paths int
	counts := map[string]uint64{}
	err = t.bucket(bucketJobs).ForEach(func(k, record []byte) error {
		j, err := decode(record)
		switch {
		case err != nil:
			return fmt.Errorf("job %x: %w", k, err)
		case parseID(k) != j.ID:
			return fmt.Errorf("job %d lies at %x", j.ID, k)
		case stateNumbers[j.State] == 0:
			return fmt.Errorf("job %d has the unknown state %q", j.ID, j.State)
		}
		jobs++
		number, ok := numbers[j.Folder]
		if !ok {
			return fmt.Errorf("job %d: its folder has no number", j.ID)
		}
		counts[string(countKey(number, j.State))]++
		if key := dueKey(j, number); key != nil {
			due++
			if t.get(bucketDue, key) == nil {
				return fmt.Errorf("job %d is not in the due index", j.ID)
			}
		}
		if p, ok := t.path(j.Path); ok && p.job == j.ID {
			paths++
		}
		if t.get(bucketStates, stateKey(j.State, j.ID)) == nil {
			return fmt.Errorf("job %d is not in the index of states", j.ID)
		}
		if !j.Content.IsZero() {
			contents++
			if t.get(bucketContents, append(j.Content[:], k...)) == nil {
				return fmt.Errorf("job %d is not in the index of contents", j.ID)
			}
		}
		for _, d := range j.documents() {
			documents++
			if parseID(t.get(bucketDocuments, []byte(d))) != j.ID {
				return fmt.Errorf("job %d is not in the index of documents", j.ID)
			}
		}
		if !j.Uploaded.IsZero() && j.Twin == 0 && t.identity(j.Identity).Paid == 0 {
			return fmt.Errorf("job %d was uploaded, but its identity was not paid for", j.ID)
		}
		if n := len(t.story(j.ID)); n == 0 || n > storyLength {
			return fmt.Errorf("job %d has a story of %d events", j.ID, n)
		}
		return t.err
	})
	if err != nil {
		return jobs, err
	}
	for _, index := range []struct {
		name []byte
		want int
	}{
		{bucketDue, due}, {bucketStates, jobs}, {bucketContents, contents}, {bucketDocuments, documents}, {bucketStory, jobs},
	} {
		n := 0
		err := t.bucket(index.name).ForEach(func(_, _ []byte) error {
			n++
			return nil
		})
		if err == nil && n != index.want {
			err = fmt.Errorf("%s has %d entries, want %d", index.name, n, index.want)
		}
		if err != nil {
			return jobs, err
		}
	}
	led := 0
	return jobs, errors.Join(
		t.bucket(bucketCounts).ForEach(func(k, v []byte) error {
			if len(v) != 8 || parseID(v) != counts[string(k)] {
				return fmt.Errorf("counts: %x says %d, want %d", k, parseID(v), counts[string(k)])
			}
			delete(counts, string(k))
			return nil
		}),
		t.bucket(bucketPaths).ForEach(func(k, _ []byte) error {
			p, ok := t.path(string(k))
			switch {
			case !ok:
				return fmt.Errorf("paths: the entry of %q is not whole", k)
			case p.job != 0:
				led++
			}
			return nil
		}),
		func() error { // each job that a path leads to was seen to lie there
			if led != paths {
				return fmt.Errorf("paths: %d lead to a job that lies elsewhere, or to none", led-paths)
			}
			return nil
		}(),
		t.bucket(bucketNames).ForEach(func(k, v []byte) error {
			if len(v) != 8 {
				return fmt.Errorf("names: the entry of %q is not whole", k)
			}
			return nil
		}),
		t.bucket(bucketIdentities).ForEach(func(k, _ []byte) error {
			if len(k) != len(Digest{}) {
				return fmt.Errorf("identities: %x is not one", k)
			}
			t.identity(Digest(k))
			return t.err
		}),
		t.verifyOutbox(),
		t.bucket(bucketHolds).ForEach(func(k, v []byte) error {
			var h Hold
			if err := json.Unmarshal(v, &h); err != nil || h.Key() != string(k) {
				return fmt.Errorf("holds: the entry of %q is damaged", k)
			}
			return nil
		}),
		t.verifyStrays(),
		missing(counts),
	)
}

func missing(counts map[string]uint64) error {
	if len(counts) > 0 {
		return fmt.Errorf("counts: %d are missing", len(counts))
	}
	return nil
}
