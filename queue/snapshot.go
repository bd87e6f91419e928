package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	bolt "go.etcd.io/bbolt"
)

// Snapshot writes a copy of the queue as it is at this moment, without free
// room in it, to a new file at path, and syncs it. Others may go on using the
// queue meanwhile. It is an error if the file exists; one that could not be
// written whole is removed. It is [ErrDamaged] if a job's record is not what was
// written: a copy of it would be as useless, and the file is not sealed when it is
// closed, so that whoever opens it next verifies it.
func (q *Queue) Snapshot(path string) (err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "write a snapshot", Path: path, Err: fs.ErrExist}
	}
	err = guard(func() error {
		to, err := bolt.Open(path, 0o600, &bolt.Options{
			Timeout: defaultTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistArrayType,
			NoSync: true, // all of it at the end
		})
		if err != nil {
			return err
		}
		// Not with bolt.Compact: its last commit comes after the source was let go,
		// whose pages are then still to be copied and may be others' already.
		err = q.db.View(func(from *bolt.Tx) error {
			return from.ForEach(func(name []byte, b *bolt.Bucket) error { return copyBucket(to, name, b) })
		})
		used := int64(0)
		if err == nil {
			err = to.View(func(t *bolt.Tx) error {
				used = t.Size()
				return nil
			})
		}
		err = errors.Join(err, to.Close())
		if err == nil {
			err = cut(path, used)
		}
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	})
	if errors.Is(err, ErrDamaged) {
		q.unsound.Store(true)
	}
	return err
}

// cut takes away what bbolt, which doubles its files, has beyond the pages in use, and
// syncs the file.
func cut(path string, used int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(used); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// copyBucket copies a bucket, whose transaction stays open meanwhile.
func copyBucket(to *bolt.DB, name []byte, from *bolt.Bucket) error {
	const transaction = 4 << 20 // bytes; what is in memory at once
	c := from.Cursor()
	k, v := c.First()
	records := bytes.Equal(name, bucketJobs)
	for more := true; more; {
		err := to.Update(func(t *bolt.Tx) error {
			b, err := t.CreateBucketIfNotExists(name)
			if err != nil {
				return err
			}
			b.FillPercent = 1 // what comes next has a greater key
			for size := 0; k != nil && size < transaction; k, v = c.Next() {
				if records {
					if _, err := checked(v); err != nil {
						return fmt.Errorf("%w: job %d: %w", ErrDamaged, parseID(k), err)
					}
				}
				if err := b.Put(k, v); err != nil {
					return err
				}
				size += len(k) + len(v)
			}
			more = k != nil
			return b.SetSequence(from.Sequence())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Room returns how many bytes the file has, and how many of them are free:
// what a [Queue.Snapshot] would leave out.
func (q *Queue) Room() (size, free int64, err error) {
	err = q.read(func(t *tx) error {
		size = t.Size()
		return nil
	})
	s := q.db.Stats()
	return size, int64(s.FreePageN+s.PendingPageN) * int64(q.db.Info().PageSize), err
}

// Changes is a number that grows with every change of the queue.
func (q *Queue) Changes() (n int, err error) {
	err = q.read(func(t *tx) error {
		n = t.ID()
		return nil
	})
	return n, err
}

// Intact reports whether the file is, bit by bit, what it was when a queue was
// closed last. If it is not it may be sound all the same, as after a crash:
// [Verify] tells.
func Intact(path string) bool {
	sealed, err := os.ReadFile(sealPath(path))
	if err != nil {
		return false
	}
	sum, err := sumOf(path)
	return err == nil && sum == string(sealed)
}

func sealPath(path string) string { return path + ".sum" }

func seal(path string) error {
	sum, err := sumOf(path)
	if err != nil {
		return err
	}
	return os.WriteFile(sealPath(path), []byte(sum), 0o600)
}

// unseal forgets what the file was: it is going to change.
func unseal(path string) error {
	if err := os.Remove(sealPath(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sumOf is the file's length and the CRC-32C of all of it: enough against
// accidents, and as fast as the disk.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, f)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d bytes, CRC-32C %08x\n", n, h.Sum32()), nil
}
