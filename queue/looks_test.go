package queue

import (
	"testing"
	"time"
)

// look has a scan of 2 to 5 s asked for as the queue does, and returns how often it was
// too early.
func look(l looks, j Job, work time.Duration) (early int) {
	j.State, j.Uploaded = Processing, noon
	j.Due = noon.Add(l.first(j))
	for j.Due.Sub(noon) < work {
		early++
		l.learn(j, Pending{}, j.Due)
		j.Looks++
		j.Due = j.Due.Add(lookDelay(j))
	}
	l.learn(j, Collected{}, j.Due)
	return early
}

func TestLooks(t *testing.T) {
	l := looks{}
	photo, book := Job{ID: 1, Ext: ".jpg"}, Job{ID: 2, Ext: ".pdf"}
	want := func(j Job, least, most time.Duration) {
		t.Helper()
		if d := l.first(j); d < least || d > most {
			t.Errorf("%s is asked for after %v, want %v to %v", j.Ext, d, least, most)
		}
	}
	want(photo, firstLook, firstLook)
	work := func(i int) time.Duration { return 2*time.Second + time.Duration(i*7%30)*100*time.Millisecond }
	for i := range 100 {
		look(l, photo, work(i))
	}
	early := 0
	for i := range 1000 {
		early += look(l, photo, work(i))
	}
	if early > 40 {
		t.Errorf("of a thousand scans %d were asked for too early", early)
	}
	want(photo, 4*time.Second, 5500*time.Millisecond)
	want(book, firstLook, firstLook) // of another kind
	for range 100 {
		look(l, book, time.Hour)
	}
	want(book, latestFirstLook-time.Second, latestFirstLook)
	for range 1000 {
		look(l, book, time.Second)
	}
	want(book, firstLook, firstLook)

	// What tells nothing changes nothing.
	before := l.first(photo)
	j := photo
	j.State, j.Uploaded, j.Due = Processing, noon, noon.Add(before)
	l.learn(j, Collected{}, noon.Add(time.Minute)) // it waited for its turn
	l.learn(j, Retry{Err: errTrouble}, j.Due)
	j.Attempts = 1
	l.learn(j, Collected{}, j.Due)
	want(photo, before, before)
}
