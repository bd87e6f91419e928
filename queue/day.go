package queue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"
)

// A Day is what came to its end on one day, by the machine's clock and zone. A
// job that a person retries comes to its end once more.
type Day struct {
	Done      int `json:"done,omitempty"`
	Failed    int `json:"failed,omitempty"`
	Rejected  int `json:"rejected,omitempty"`
	Cancelled int `json:"cancelled,omitempty"`
	Pages     int `json:"pages,omitempty"` // of those that are done
}

// dayPrefix begins the keys of the days; only the last few are kept.
const (
	dayPrefix = "day "
	daysKept  = 3
)

func dayKey(t time.Time) []byte { return []byte(dayPrefix + t.Local().Format(time.DateOnly)) }

// countDay counts j, which takes old's place, if it has just come to its end.
func (t *tx) countDay(old, j Job) {
	if !j.State.Final() || old.State == j.State {
		return
	}
	key := dayKey(j.Finished)
	if bytes.Compare(key, dayKey(t.now.AddDate(0, 0, -daysKept))) < 0 {
		return // told by the journal to a queue that is being restored
	}
	day := t.day(key)
	switch j.State {
	case Done:
		day.Done++
		day.Pages += cmp.Or(j.Pages, j.Counted)
	case Failed:
		day.Failed++
	case Rejected:
		day.Rejected++
	case Cancelled:
		day.Cancelled++
	}
	if t.get(bucketMeta, key) == nil {
		t.dropDays()
	}
	t.putJSON(bucketMeta, key, day)
}

// dropDays removes the days that nobody asks for any more.
func (t *tx) dropDays() {
	oldest := dayKey(t.now.AddDate(0, 0, -daysKept))
	var old [][]byte
	c := t.Bucket(bucketMeta).Cursor()
	for k, _ := c.Seek([]byte(dayPrefix)); bytes.HasPrefix(k, []byte(dayPrefix)) && bytes.Compare(k, oldest) < 0; k, _ = c.Next() {
		old = append(old, bytes.Clone(k))
	}
	for _, k := range old {
		t.delete(bucketMeta, k)
	}
}

func (t *tx) day(key []byte) Day {
	var d Day
	if v := t.get(bucketMeta, key); v != nil {
		t.fail(json.Unmarshal(v, &d))
	}
	return d
}

// Today returns what came to its end since midnight.
func (q *Queue) Today() (Day, error) {
	var d Day
	err := q.read(func(t *tx) error {
		d = t.day(dayKey(t.now))
		return t.err
	})
	return d, err
}
