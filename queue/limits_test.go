package queue

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// paged is a scan with so many pages.
func paged(path, content string, pages int) Scan {
	s := scan(path, content)
	s.Pages = pages
	return s
}

// limited opens a queue with limits, at path.
func limited(t *testing.T, path string, limits map[string]Limits) *Queue {
	t.Helper()
	return openAt(t, Config{Path: path, Limits: limits})
}

// upload takes the next task, which must be the upload of that job, to the
// service.
func upload(t *testing.T, q *Queue, id uint64) {
	t.Helper()
	step(t, q, Upload, id, Sending{}, Uploaded{Document: fmt.Sprint("doc", id)})
	finishPaid(t, q, id)
}

func finishPaid(t *testing.T, q *Queue, id uint64) {
	t.Helper()
	time.Sleep(time.Minute)
	step(t, q, Collect, id, Collected{})
	step(t, q, Delete, id, Deleted{Documents: []string{fmt.Sprint("doc", id)}})
}

func wantIdle(t *testing.T, q *Queue) {
	t.Helper()
	task := claim(t, q)
	if task.Step == Census {
		report(t, q, task, Counted{})
		task = claim(t, q)
	}
	if task.Step != "" {
		t.Fatalf("the next is to %q job %d, want nothing", task.Step, task.Job.ID)
	}
}

func wantHold(t *testing.T, q *Queue, key string, words ...string) Hold {
	t.Helper()
	for _, h := range q.Holds() {
		if h.Key() != key {
			continue
		}
		for _, w := range words {
			if !strings.Contains(h.Reason, w) {
				t.Errorf("hold %s says %q, without %q", key, h.Reason, w)
			}
		}
		return h
	}
	t.Fatalf("held is %v, want %s", q.Holds(), key)
	return Hold{}
}

func TestLimitOfADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "queue.db")
		limits := map[string]Limits{"/scans": {PerDay: 10}}
		q := limited(t, path, limits)
		time.Sleep(10 * time.Hour)
		jobs := add(t, q, paged("/scans/a.pdf", "a", 6), paged("/scans/b.pdf", "b", 4), paged("/scans/c.pdf", "c", 1), paged("/forms/d.pdf", "d", 90))
		upload(t, q, jobs[0].ID)
		upload(t, q, jobs[1].ID)
		upload(t, q, jobs[3].ID) // another folder's
		wantIdle(t, q)
		h := wantHold(t, q, "limit:/scans", "pages_per_day of this folder is 10", "10 were sent", "next scan has 1", "2000-01-02", "queue release")
		if want := time.Date(2000, 1, 2, 0, 0, 0, 0, time.Local); !h.Next.Equal(want) {
			t.Errorf("it ends at %v, want %v", h.Next, want)
		}

		// A restart knows what was spent, and a look at the queue lifts nothing.
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = limited(t, path, limits)
		wantHold(t, q, "limit:/scans")
		if err := q.Reconsider(); err != nil {
			t.Fatal(err)
		}
		wantIdle(t, q)
		wantHold(t, q, "limit:/scans")
		if day, month, err := q.Spent("/scans"); day != 10 || month != 10 || err != nil {
			t.Errorf("spent %d today and %d this month, %v", day, month, err)
		}

		// Who waits is woken by midnight, and by nothing before.
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		task, err := q.Claim(ctx)
		if now := time.Now().Local(); err != nil || task.Job.ID != jobs[2].ID || now.Hour() != 0 || now.Day() != 2 {
			t.Fatalf("job %d is claimed at %v, %v", task.Job.ID, now, err)
		}
		if holds := q.Holds(); len(holds) > 0 {
			t.Errorf("the day has turned, and held is %v", holds)
		}
		report(t, q, task, Sending{}, Uploaded{Document: "doc3"})
		if day, month, _ := q.Spent("/scans"); day != 1 || month != 11 {
			t.Errorf("spent %d today and %d this month", day, month)
		}
	})
}

func TestLimitOfAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := limited(t, filepath.Join(t.TempDir(), "queue.db"), map[string]Limits{"": {PerMonth: 3}})
		jobs := add(t, q, paged("/scans/a.pdf", "a", 2), paged("/forms/b.pdf", "b", 2))
		upload(t, q, jobs[0].ID)
		wantIdle(t, q)
		wantHold(t, q, "limit", "limits.pages_per_month is 3", "2000-02-01")
		time.Sleep(30 * 24 * time.Hour)
		wantIdle(t, q)
		time.Sleep(24 * time.Hour)
		upload(t, q, jobs[1].ID)
	})
}

// TestLimitOnTheWire: what is on its way counts, so that many workers together
// keep to a limit; it counts no more when it surely did not arrive.
func TestLimitOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := limited(t, filepath.Join(t.TempDir(), "queue.db"), map[string]Limits{"": {PerDay: 5}})
		jobs := add(t, q, paged("/scans/a.pdf", "a", 3), scan("/scans/b.pdf", "b"), paged("/scans/c.pdf", "c", 2))
		a, b, c := claim(t, q), claim(t, q), claim(t, q) // nothing is on the wire yet
		report(t, q, a, Sending{})
		report(t, q, b, Sending{}) // of unknown pages: one
		if _, err := q.Report(c, Sending{}); !errors.Is(err, ErrHeld) {
			t.Fatalf("a scan of 2 pages goes out beside 4 of 5: %v", err)
		}
		report(t, q, c, Interrupted{})
		wantHold(t, q, "limit", "0 were sent, 4 are on the way")
		wantIdle(t, q)

		a.Job, _ = q.Get(jobs[0].ID)
		report(t, q, a, Retry{Err: errTrouble, After: time.Hour}) // it did not arrive
		step(t, q, Upload, jobs[2].ID, Sending{}, Unanswered{Err: errTrouble})
		if day, _, _ := q.Spent(""); day != 0 {
			t.Errorf("spent %d, and nothing was accepted", day)
		}
		time.Sleep(61 * time.Minute) // the first again: 1 + 2 may have arrived
		for range 20 {
			task := claim(t, q)
			if task.Step == "" {
				break
			}
			if task.Step == Upload {
				t.Fatalf("job %d is sent", task.Job.ID)
			}
			report(t, q, task, Retry{Err: errTrouble, After: time.Hour})
		}
		wantHold(t, q, "limit")
		b.Job, _ = q.Get(jobs[1].ID)
		report(t, q, b, Uploaded{Document: "b", Pages: 2}) // the service's own count is what it bills
		if day, _, _ := q.Spent(""); day != 2 {
			t.Errorf("spent %d, want 2", day)
		}
	})
}

func TestLimitOfAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := map[string]Limits{"/scans": {PerScan: 20}, "/forms": {PerDay: 5}}
		path := filepath.Join(t.TempDir(), "queue.db")
		q := limited(t, path, limits)
		jobs := add(t, q, paged("/scans/a.pdf", "a", 21), paged("/scans/b.pdf", "b", 20), paged("/forms/c.pdf", "c", 6))
		for i, want := range []State{Rejected, Queued, Rejected} {
			if jobs[i].State != want {
				t.Errorf("%s is %s, want %s", jobs[i].Path, jobs[i].State, want)
			}
		}
		for _, w := range []string{"21 pages", "pages_per_scan", "allows 20", "retry"} {
			if !strings.Contains(jobs[0].Error, w) {
				t.Errorf("%q does not say %q", jobs[0].Error, w)
			}
		}
		upload(t, q, jobs[1].ID)
		for _, i := range []int{0, 2} { // a person means it
			j, err := q.Retry(jobs[i].ID, false)
			if err != nil {
				t.Fatal(err)
			}
			if why := q.TooMany(j); why != "" {
				t.Errorf("retried by hand, and still: %s", why)
			}
			upload(t, q, j.ID)
		}

		// A limit that is set while a scan waits.
		j := add(t, q, paged("/scans/d.pdf", "d", 9))[0]
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = limited(t, path, map[string]Limits{"/scans": {PerScan: 8}})
		if q.TooMany(j) == "" {
			t.Error("9 pages are not more than 8")
		}
	})
}

func TestLimitReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := limited(t, filepath.Join(t.TempDir(), "queue.db"), map[string]Limits{"/scans": {PerDay: 1}})
		jobs := add(t, q, paged("/scans/a.pdf", "a", 1), paged("/scans/b.pdf", "b", 1), paged("/scans/c.pdf", "c", 1), paged("/scans/d.pdf", "d", 1))
		upload(t, q, jobs[0].ID)
		wantIdle(t, q)
		if n, err := q.Release("all"); n != 0 || err != nil { // that might cost money unawares
			t.Errorf("%d holds were lifted, %v", n, err)
		}
		if n, err := q.Release("limit:/scans"); n != 1 || err != nil {
			t.Fatalf("%d holds were lifted, %v", n, err)
		}
		upload(t, q, jobs[1].ID)
		time.Sleep(24 * time.Hour) // the next day has its own
		task := claim(t, q)
		if report(t, q, task, Sending{}, Uploaded{Document: "c"}); task.Job.ID != jobs[2].ID {
			t.Fatalf("job %d was sent", task.Job.ID)
		}
		wantIdle(t, q)
		wantHold(t, q, "limit:/scans")
	})
}

// TestLimitIsLiftedWhenNothingWaits: a run that has sent all that is there is not held.
func TestLimitIsLiftedWhenNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := limited(t, filepath.Join(t.TempDir(), "queue.db"), map[string]Limits{"/scans": {PerDay: 1}})
		jobs := add(t, q, paged("/scans/a.pdf", "a", 1), paged("/scans/b.pdf", "b", 1))
		upload(t, q, jobs[0].ID)
		if err := q.Drained(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantHold(t, q, "limit:/scans")
		if _, err := q.Cancel(jobs[1].ID); err != nil {
			t.Fatal(err)
		}
		if holds := q.Holds(); len(holds) > 0 {
			t.Errorf("held is %v, and nothing waits", holds)
		}
	})
}

// TestCreditsByPages: where pages are known, they and not bytes say which scans
// the credits may still do for.
func TestCreditsByPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		big := paged("/scans/a.pdf", "a", 30)
		big.Size = 10
		small := paged("/scans/b.pdf", "b", 1)
		small.Size = 1000
		jobs := add(t, q, big, small)
		step(t, q, Upload, jobs[0].ID, Sending{}, Held{Hold{Cause: Credits, Size: 10, Pages: 30, Reason: "none"}})
		step(t, q, Upload, jobs[1].ID, Sending{}, Uploaded{Document: "b"})
		wantHold(t, q, "credits")
	})
}

// TestCreditsFindOut: of what needs less than the scan that was refused one at a time
// finds out whether there are credits for it, and what was refused with more pages
// does not let more through.
func TestCreditsFindOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		scans := []Scan{paged("/scans/a.pdf", "a", 30), paged("/scans/b.pdf", "b", 40), paged("/scans/c.pdf", "c", 20), paged("/scans/d.pdf", "d", 10), scan("/scans/e.pdf", "unknown pages")}
		for i := range scans {
			scans[i].Size = int64(100 - 10*i) // more pages are fewer bytes
		}
		jobs := add(t, q, scans...)
		refuse := func(task Task, pages int) {
			t.Helper()
			report(t, q, task, Held{Hold{Cause: Credits, Size: task.Job.Size, Pages: pages, Reason: "none"}})
		}
		first, second := claim(t, q), claim(t, q)
		first.Job, second.Job = report(t, q, first, Sending{}), report(t, q, second, Sending{})
		refuse(first, 30)
		if task := claim(t, q); task.Step != "" {
			t.Fatalf("job %d is sent while another may find out", task.Job.ID)
		}
		refuse(second, 40)
		if h := q.Holds()[0]; h.Pages != 30 {
			t.Errorf("after 30 and 40 pages were refused those of fewer than %d are let through", h.Pages)
		}
		task := claim(t, q)
		if task.Step != Upload || task.Job.ID != jobs[3].ID && task.Job.ID != jobs[4].ID {
			t.Fatalf("%s of job %d is handed out, want the upload of a small one", task.Step, task.Job.ID)
		}
		if other := claim(t, q); other.Step != "" {
			t.Fatalf("job %d is sent, too", other.Job.ID)
		}
		task.Job = report(t, q, task, Sending{})
		refuse(task, 1)
		if task := claim(t, q); task.Step != "" {
			t.Errorf("job %d is sent, and there is not even one credit", task.Job.ID)
		}
	})
}

// TestNoFolderStarves: neither a higher priority nor older scans keep a folder
// waiting for ever.
func TestNoFolderStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: map[string]int{"/urgent": 5, "/scans": 0, "/late": 0}})
		var scans []Scan
		for i := range 30 {
			scans = append(scans, scan(fmt.Sprintf("/urgent/%d.pdf", i), fmt.Sprint("u", i)), scan(fmt.Sprintf("/scans/%d.pdf", i), fmt.Sprint("s", i)))
		}
		add(t, q, scans...)
		time.Sleep(time.Minute)
		add(t, q, scan("/late/a.pdf", "late"))
		at := map[string][]int{}
		for i := range 61 {
			task := claim(t, q)
			if task.Step != Upload {
				t.Fatalf("the %dth is to %q", i, task.Step)
			}
			at[task.Job.Folder] = append(at[task.Job.Folder], i)
		}
		if at["/urgent"][8] != 8 {
			t.Errorf("urgent ones went at %v, want the first before all others", at["/urgent"])
		}
		if at["/scans"][0] > 11 || at["/scans"][1] > 22 || at["/late"][0] > 11 {
			t.Errorf("scans went at %v, late ones at %v", at["/scans"], at["/late"])
		}
	})
}

// TestProfileHolds: scans whose folder's profile cannot be used wait by themselves,
// and are noticed anew when it is mended.
func TestProfileHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := openAt(t, Config{Path: filepath.Join(t.TempDir(), "queue.db"), Folders: map[string]int{"/scans": 0}})
		held := scan("/scans/forms/a.pdf", "a")
		held.Folder = "/scans"
		held.Profile = &Hold{Cause: Profile, Folder: "/scans", Dir: "/scans/forms", Reason: "no such action"}
		other := scan("/scans/b.pdf", "a") // the same content, which has nothing to wait for
		jobs := add(t, q, held, other)
		if jobs[0].State != Queued || jobs[0].Error != "no such action" {
			t.Errorf("it is %s: %s", jobs[0].State, jobs[0].Error)
		}
		upload(t, q, jobs[1].ID)
		wantIdle(t, q)
		wantHold(t, q, "profile:/scans/forms", "no such action")
		q = reopen(t, q)
		wantHold(t, q, "profile:/scans/forms")
		if _, err := q.Get(jobs[0].ID); err != nil {
			t.Errorf("who only looked dropped it: %v", err)
		}
		if n, err := q.Release("profile:/scans/forms"); n != 1 || err != nil {
			t.Fatalf("%d holds were lifted, %v", n, err)
		}
		if seen, _ := q.Seen(held.Path, held.Size, held.ModTime); seen {
			t.Error("its file will not be noticed anew")
		}
		held.Profile = nil
		j := add(t, q, held)[0]
		if j.Twin != jobs[1].ID {
			t.Errorf("it is %s, and not a twin of the other: %d", j.State, j.Twin)
		}
	})
}

// TestSpooledIsNotReplaced: where the bytes are kept, the next scan of the same
// name takes nobody's place and no result's name.
func TestSpooledIsNotReplaced(t *testing.T) {
	q := open(t)
	first, second := scan("/scans/SCN_0001.pdf", "first"), scan("/scans/SCN_0001.pdf", "second")
	first.Spooled, second.Spooled = true, true
	a := add(t, q, first)[0]
	added, err := q.Add(second)
	if err != nil || added[0].Replaced != 0 {
		t.Fatalf("%+v, %v", added, err)
	}
	b := added[0].Job
	for _, j := range []Job{a, b} {
		step(t, q, Upload, j.ID, Sending{}, Uploaded{Document: fmt.Sprint("doc", j.ID)})
	}
	if c, err := q.Reserve(a.ID, "txt", "/scans/SCN_0001.txt", Digest{1}); !c.Mine || err != nil {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err := q.Reserve(b.ID, "txt", "/scans/SCN_0001.txt", Digest{2}); c.Mine || err != nil {
		t.Fatalf("the second takes the first's result: %+v, %v", c, err)
	}
}

// TestCreditsCopy: a copy asks the service for nothing, so that it keeps no scan from
// finding out whether there are credits, however long it takes.
func TestCreditsCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t)
		jobs := add(t, q, scan("/scans/a.pdf", "a"), scan("/scans/b.pdf", "a"))
		finish(t, q, jobs[0].ID)
		if task := claim(t, q); task.Step != Copy {
			t.Fatalf("%s is handed out, want the copy", task.Step)
		}
		big, small := paged("/scans/c.pdf", "c", 30), paged("/scans/d.pdf", "d", 10)
		jobs = add(t, q, big, small)
		step(t, q, Upload, jobs[0].ID, Sending{}, Held{Hold{Cause: Credits, Size: 10, Pages: 30, Reason: "none"}})
		if task := claim(t, q); task.Step != Upload || task.Job.ID != jobs[1].ID {
			t.Errorf("%s of job %d is handed out while a copy hangs", task.Step, task.Job.ID)
		}
	})
}
