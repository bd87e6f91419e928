package queue

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

// asVerifier makes the test binary verify damaged copies of the file that it
// names: one of them may end the process.
const asVerifier = "SCANDROP_TEST_VERIFY"

func TestMain(m *testing.M) {
	if path := os.Getenv(asVerifier); path != "" {
		verifyFlips(path)
		return
	}
	os.Exit(m.Run())
}

var flips = flag.Int("flips", 400, "how many bits TestVerifyFlips flips, one at a time")

// verifyFlips flips one bit of the file after the other, from the first that is
// asked for, and prints what Verify finds.
func verifyFlips(path string) {
	whole, err := os.ReadFile(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	var from, stride int
	fmt.Sscan(os.Getenv(asVerifier+"_FROM"), &from, &stride)
	copied := path + ".flipped"
	for bit := from; bit < 8*len(whole); bit += stride {
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(copied, damaged, 0o600); err != nil {
			fmt.Println(err)
			os.Exit(2)
		}
		fmt.Println("trying", bit)
		if _, err := Verify(copied); err != nil {
			fmt.Println("found", bit)
			continue
		}
		fmt.Println("sound", bit, essence(copied))
	}
}

// essence is a digest of what must not change unseen: the jobs, and what was paid.
func essence(path string) string {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err.Error()
	}
	defer db.Close()
	h := sha256.New()
	err = db.View(func(b *bbolt.Tx) error {
		return errors.Join(
			b.Bucket(bucketJobs).ForEach(func(k, v []byte) error {
				fmt.Fprintf(h, "%x %x\n", k, v)
				return nil
			}),
			b.Bucket(bucketIdentities).ForEach(func(k, _ []byte) error {
				fmt.Fprintf(h, "%x %v\n", k, (&tx{Tx: b}).identity(Digest(k)).Paid > 0)
				return nil
			}))
	})
	return fmt.Sprintf("%x %v", h.Sum(nil), err)
}

// full makes a queue with a job in most of the states and closes it.
func full(t *testing.T) (path string) {
	t.Helper()
	q := open(t)
	path = q.db.Path()
	jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"), scan("/scans/c.pdf", "c"), scan("/forms/d.pdf", "d"), scan("/scans/e.pdf", "a"))
	finish(t, q, jobs[0].ID)
	step(t, q, Upload, jobs[1].ID, Sending{})
	step(t, q, Upload, jobs[2].ID, Sending{}, Uploaded{Document: "c"})
	if err := q.Hold(Hold{Cause: Missing, Folder: "/other", Reason: "gone"}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestVerify(t *testing.T) {
	path := full(t)
	if n, err := Verify(path); n != 5 || err != nil {
		t.Fatalf("a sound file: %d jobs, %v", n, err)
	}
	if !Intact(path) {
		t.Error("a file that was closed is not intact")
	}
	if _, err := Verify(filepath.Join(t.TempDir(), "queue.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}

	// Each index against the records.
	for _, tt := range []struct {
		what string
		do   func(b *bbolt.Tx) error
	}{
		{"a job that is lost", func(b *bbolt.Tx) error { return b.Bucket(bucketJobs).Delete(key64(1)) }},
		{"a job that is not due", func(b *bbolt.Tx) error {
			k, _ := b.Bucket(bucketDue).Cursor().First()
			return b.Bucket(bucketDue).Delete(k)
		}},
		{"one that is due twice", func(b *bbolt.Tx) error {
			return b.Bucket(bucketDue).Put(append(lanePrefix(laneFinish, 0), make([]byte, 16)...), nil)
		}},
		{"a wrong state", func(b *bbolt.Tx) error {
			return errors.Join(b.Bucket(bucketStates).Delete(stateKey(Done, 1)), b.Bucket(bucketStates).Put(stateKey(Failed, 1), nil))
		}},
		{"a wrong count", func(b *bbolt.Tx) error { return b.Bucket(bucketCounts).Put(countKey(1, Done), key64(7)) }},
		{"a missing count", func(b *bbolt.Tx) error {
			k, _ := b.Bucket(bucketCounts).Cursor().First()
			return b.Bucket(bucketCounts).Delete(k)
		}},
		{"content that nobody knows", func(b *bbolt.Tx) error {
			k, _ := b.Bucket(bucketContents).Cursor().First()
			return b.Bucket(bucketContents).Delete(k)
		}},
		{"a document that nobody knows", func(b *bbolt.Tx) error { return b.Bucket(bucketDocuments).Delete([]byte("c")) }},
		{"an identity that was not paid for", func(b *bbolt.Tx) error {
			k, _ := b.Bucket(bucketIdentities).Cursor().First()
			return b.Bucket(bucketIdentities).Delete(k)
		}},
		{"a path that leads nowhere", func(b *bbolt.Tx) error {
			v := bytes.Clone(b.Bucket(bucketPaths).Get([]byte("/scans/a.pdf")))
			return b.Bucket(bucketPaths).Put([]byte("/scans/z.pdf"), v)
		}},
		{"half a path", func(b *bbolt.Tx) error { return b.Bucket(bucketPaths).Put([]byte("/scans/a.pdf"), []byte("half")) }},
		{"a hold under another's name", func(b *bbolt.Tx) error {
			return b.Bucket(bucketHolds).Put([]byte("token"), b.Bucket(bucketHolds).Get([]byte("missing:/other")))
		}},
		{"an entry under another number", func(b *bbolt.Tx) error {
			k, v := b.Bucket(bucketOutbox).Cursor().Last()
			return b.Bucket(bucketOutbox).Put(key64(parseID(k)+1), bytes.Clone(v))
		}},
		{"a number that was used", func(b *bbolt.Tx) error { return b.Bucket(bucketOutbox).SetSequence(0) }},
		{"an entry that was acknowledged", func(b *bbolt.Tx) error {
			return b.Bucket(bucketMeta).Put(keyHead, []byte(`{"seq":1}`))
		}},
		{"no story", func(b *bbolt.Tx) error { return b.Bucket(bucketStory).Delete(key64(1)) }},
		{"a folder without a number", func(b *bbolt.Tx) error { return b.Bucket(bucketFolders).Delete([]byte("/forms")) }},
		{"no bucket", func(b *bbolt.Tx) error { return b.DeleteBucket(bucketNames) }},
	} {
		path := full(t)
		db, err := bbolt.Open(path, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(tt.do), db.Close())
		}
		if err != nil {
			t.Fatal(tt.what, err)
		}
		if Intact(path) {
			t.Errorf("%s: the file is called intact", tt.what)
		}
		if _, err := Verify(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// TestVerifyFlips flips bits all over the file: each is found, or changes
// neither a job nor what was paid.
func TestVerifyFlips(t *testing.T) {
	path := full(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := essence(path)
	bits := int(8 * info.Size())
	stride := max(1, bits / *flips) | 1 // odd: another bit of the byte each time
	found, ended, harmless := 0, 0, 0
	for from := 0; from < bits; {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), asVerifier+"="+path, fmt.Sprintf("%s_FROM=%d %d", asVerifier, from, stride), "GOTRACEBACK=none")
		out, err := child.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() == 2 && len(out) == 0) {
			t.Fatal(err)
		}
		trying := -1
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "trying":
				if trying, err = strconv.Atoi(rest); err != nil {
					t.Fatal(lines.Text())
				}
				from = trying + stride
				continue
			case "found":
				found++
			case "sound":
				_, is, _ := strings.Cut(rest, " ")
				if is != want {
					t.Errorf("bit %d is wrong, and nobody sees it: %s, was %s", trying, is, want)
				}
				harmless++
			default:
				continue // of a process that ends
			}
			trying = -1
		}
		if trying < 0 {
			break
		}
		ended++
	}
	t.Logf("%d bits of a file of %d bytes: %d found, %d ended the process, %d changed nothing that matters", found+ended+harmless, info.Size(), found, ended, harmless)
	if found+ended == 0 {
		t.Error("none was found")
	}
}

func TestSnapshot(t *testing.T) {
	q := open(t)
	a := add(t, q, scan("/scans/a.pdf", "a"))[0]
	path := filepath.Join(t.TempDir(), "snapshot.db")
	if err := q.Snapshot(path); err != nil {
		t.Fatal(err)
	}
	before, err := q.Changes()
	if err != nil {
		t.Fatal(err)
	}
	finish(t, q, a.ID)
	if after, err := q.Changes(); err != nil || after <= before {
		t.Errorf("changes: %d, then %d, %v", before, after, err)
	}
	if n, err := Verify(path); n != 1 || err != nil {
		t.Errorf("the snapshot: %d jobs, %v", n, err)
	}
	wantState(t, openAt(t, Config{Path: path}), a.ID, Queued)
	if err := q.Snapshot(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that exists: %v", err)
	}
	if err := q.Snapshot(filepath.Join(t.TempDir(), "no such folder", "snapshot.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a folder that is not there: %v", err)
	}
}

// A record that is damaged gets into no snapshot, where it would take the place of one
// that is sound, and is found at the next start.
func TestSnapshotDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	id := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))[1].ID
	err = q.update(func(t *tx) error {
		record := bytes.Clone(t.get(bucketJobs, key64(id)))
		record[len(record)/2] ^= 1
		t.put(bucketJobs, key64(id), record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	snapshot := filepath.Join(t.TempDir(), "snapshot.db")
	if err := q.Snapshot(snapshot); !errors.Is(err, ErrDamaged) {
		t.Errorf("a snapshot of it: %v", err)
	}
	if _, err := os.Lstat(snapshot); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if Intact(path) {
		t.Error("the damaged file counts as intact")
	}
}

// TestSnapshotMeanwhile makes snapshots while the queue's file grows, so that
// its memory is mapped anew and its pages are used for something else.
func TestSnapshotMeanwhile(t *testing.T) {
	q := open(t)
	stop := make(chan struct{})
	var growing sync.WaitGroup
	growing.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := errors.Join(q.Keep("grown", bytes.Repeat([]byte{byte(n)}, n%64<<12)), q.Introduce(fmt.Sprint(n))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer growing.Wait()
	defer close(stop)
	dir := t.TempDir()
	for n := range 20 {
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := q.Snapshot(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(path); err != nil {
			t.Fatal(err)
		}
		copied := openAt(t, Config{Path: path})
		value, err := copied.Kept("grown")
		if err != nil || len(value) > 0 && bytes.Count(value, value[:1]) != len(value) {
			t.Fatalf("a snapshot holds pages of another moment (%v)", err)
		}
		copied.Close()
	}
}

// TestReplaced: who waited for a queue file that was replaced meanwhile does
// not write into the old one.
func TestReplaced(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "queue.db"), filepath.Join(dir, "other.db")
	openAt(t, Config{Path: other}).Close()
	openAt(t, Config{Path: path}).Close()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := current(file, path); err != nil {
		t.Errorf("the file itself: %v", err)
	}
	if err := current(file, other); !errors.Is(err, ErrInUse) {
		t.Errorf("another file: %v", err)
	}
}
