package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"
)

// stamp makes the file one of another version.
func stamp(t *testing.T, path string, version int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(b *bbolt.Tx) error {
		return b.Bucket(bucketMeta).Put([]byte("version"), []byte(strconv.Itoa(version)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func versionOf(t *testing.T, path string) (version int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(b *bbolt.Tx) error {
		version, err = strconv.Atoi(string(b.Bucket(bucketMeta).Get([]byte("version"))))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// Every older version is brought up to this one, with a copy kept as it was, and
// loses nothing; the copy opens again, also after a try that did not come to its
// end.
func TestMigrate(t *testing.T) {
	for version := 1; version < fileVersion; version++ {
		path := filepath.Join(t.TempDir(), "queue.db")
		q := openAt(t, Config{Path: path})
		j := add(t, q, scan("/scans/a.pdf", "a"))[0]
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		stamp(t, path, version)
		kept := keptAs(path, version)
		if err := os.WriteFile(kept+".new", []byte("half a copy"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); err != nil {
			t.Errorf("version %d does not verify: %v", version, err)
		}

		q = openAt(t, Config{Path: path})
		got, err := q.Get(j.ID)
		if err != nil || got.Path != j.Path || got.State != Queued {
			t.Errorf("from version %d: the job is %+v, %v", version, got, err)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if got := versionOf(t, path); got != fileVersion {
			t.Errorf("the file has version %d, want %d", got, fileVersion)
		}
		if got := versionOf(t, kept); got != version {
			t.Errorf("the copy has version %d, want %d", got, version)
		}
		if n, err := Verify(kept); n != 1 || err != nil {
			t.Errorf("the copy has %d jobs, %v", n, err)
		}
		if _, err := os.Stat(kept + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Error("half a copy is left")
		}
	}
	if len(migrations) != fileVersion-1 {
		t.Errorf("%d steps lead to version %d", len(migrations), fileVersion)
	}
}

// Where no copy can be kept nothing is migrated.
func TestMigrateNeedsACopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	if err := openAt(t, Config{Path: path}).Close(); err != nil {
		t.Fatal(err)
	}
	stamp(t, path, 1)
	if err := os.MkdirAll(filepath.Join(keptAs(path, 1)+".new", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if q, err := Open(Config{Path: path}); err == nil {
		q.Close()
		t.Fatal("it is migrated without a copy")
	}
	if got := versionOf(t, path); got != 1 {
		t.Errorf("the file has version %d now", got)
	}
}
