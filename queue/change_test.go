package queue

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// transactions is how many were committed.
func transactions(t *testing.T, q *Queue) (id int) {
	t.Helper()
	if err := q.read(func(t *tx) error {
		id = t.ID()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestChangesTogether: what comes while another change is made shares a transaction,
// and one that fails takes no other with it.
func TestChangesTogether(t *testing.T) {
	q := open(t)
	const many = 20
	waiting := func() int {
		q.queuing.Lock()
		defer q.queuing.Unlock()
		return len(q.changes)
	}
	for _, failing := range []bool{false, true} {
		before := transactions(t, q)
		errs := make([]error, many)
		var wg sync.WaitGroup
		q.mu.Lock() // as while another is committed
		for i := range many {
			wg.Go(func() {
				errs[i] = q.update(func(t *tx) error {
					t.putJSON(bucketMeta, fmt.Appendf(nil, "keep %v %d", failing, i), i)
					if failing && i == 7 {
						return errTrouble
					}
					return nil
				})
			})
		}
		for waiting() < many {
			runtime.Gosched()
		}
		q.mu.Unlock()
		wg.Wait()
		if n := transactions(t, q) - before; !failing && n != 1 {
			t.Errorf("%d changes took %d transactions", many, n)
		}
		for i, err := range errs {
			want := error(nil)
			if failing && i == 7 {
				want = errTrouble
			}
			value, _ := q.Kept(fmt.Sprintf("%v %d", failing, i))
			if !errors.Is(err, want) || (len(value) == 0) != (want != nil) {
				t.Errorf("change %d: %v, and %q is kept", i, err, value)
			}
		}
	}
	before := transactions(t, q)
	if err := q.Keep("alone", []byte("1")); err != nil || transactions(t, q) != before+1 {
		t.Errorf("one change: %v, %d transactions", err, transactions(t, q)-before)
	}
}

// TestHandOutToNobody: tasks that were found for workers who have gone meanwhile are
// given back, and count as under way no more.
func TestHandOutToNobody(t *testing.T) {
	q := open(t)
	add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "b"))
	q.mu.Lock()
	tasks, _, err := q.claim(2)
	q.mu.Unlock()
	if err != nil || len(tasks) != 2 {
		t.Fatalf("%d tasks, %v", len(tasks), err)
	}
	q.handOut(tasks)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.claimed) != 0 || q.uploading != 0 || q.busy != [classes]int{} || q.working.Load() != 0 {
		t.Errorf("claimed are %v, %d of them uploads, by class %v", q.claimed, q.uploading, q.busy)
	}
}
