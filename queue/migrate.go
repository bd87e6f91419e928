package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fileVersion is the form of the queue file that this code writes. It counts up
// whenever older code would take what it finds for something else, and each time
// gets a step below.
//
//	1: the first
//	2: scans in several parts, and pages that were spent: older code would send
//	   a part for the whole, and spend without a limit
//	3: scans that are done are packed: older code could not read them
const fileVersion = 3

// migrations are what makes a file of the version into one of the next.
var migrations = map[int]func(*tx) error{
	1: func(*tx) error { return nil }, // what is new is added as it comes up
	2: func(*tx) error { return nil }, // what is plain stays so
}

// keep copies a file of an older version, before it is migrated, to its
// version is in its name: with the older code it is the way back. An older copy
// is replaced.
func (q *Queue) keep(version int) error {
	to := keptAs(q.db.Path(), version)
	temp := to + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := q.Snapshot(temp); err != nil {
		return fmt.Errorf("keep a copy of the queue as it was before the upgrade: %w", err)
	}
	return os.Rename(temp, to)
}

// keptAs is the name of the copy of a queue file of an older version.
func keptAs(path string, version int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-version%d%s", path[:len(path)-len(ext)], version, ext)
}

// migrate makes a file of an older version into one of this.
func (t *tx) migrate(version int) error {
	for ; version < fileVersion; version++ {
		if err := migrations[version](t); err != nil {
			return fmt.Errorf("bring the queue file from version %d to %d: %w", version, version+1, err)
		}
	}
	t.putJSON(bucketMeta, []byte("version"), fileVersion)
	return t.err
}
