package queue

import (
	"bytes"
	"encoding/json"
	"time"
)

// An Event is one line of a job's story.
type Event struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`           // the outcome, in the words of this package
	State State     `json:"state"`          // the state that it led to
	Note  string    `json:"note,omitempty"` // the error, or what else there is to say
}

// storyLength bounds a story; of a longer one the middle is left out.
const storyLength = 40

// tell adds to the story of next what o, which led from j to it, was. A nil o
// is its beginning. Looks that found nothing new are not told.
func (t *tx) tell(j, next Job, o Outcome) {
	e := Event{At: t.now, What: "noticed", State: next.State, Note: next.Error}
	if o != nil {
		e.What, e.Note = string(o.kind()), reason(o)
		switch o.(type) {
		case Pending, Interrupted, hinted, asked:
			return
		case NotFound:
			if next.State == j.State {
				return
			}
		}
		if e.Note == "" && next.Error != j.Error {
			e.Note = next.Error
		}
	}
	t.addEvent(next.ID, e)
}

func (t *tx) addEvent(job uint64, e Event) {
	v := t.get(bucketStory, key64(job))
	if n := bytes.Count(v, []byte(`{"at":`)); n < storyLength { // which no text in it holds: its quotes are escaped
		text, err := json.Marshal(e)
		t.fail(err)
		var all []byte
		if n == 0 {
			all = append(append(all, '['), text...)
		} else {
			all = append(append(append(all, v[:len(v)-1]...), ','), text...)
		}
		t.put(bucketStory, key64(job), append(all, ']'))
		return
	}
	events := t.story(job)
	if len(events) >= storyLength {
		half := storyLength / 2
		events = append(events[:half:half], events[half+1:]...)
	}
	t.putJSON(bucketStory, key64(job), append(events, e))
}

func (t *tx) story(id uint64) []Event {
	var events []Event
	if v := t.get(bucketStory, key64(id)); v != nil {
		t.fail(json.Unmarshal(v, &events))
	}
	return events
}

// Story returns what happened to the job, oldest first, at most 40 events.
func (q *Queue) Story(job uint64) ([]Event, error) {
	var events []Event
	err := q.read(func(t *tx) error {
		if _, err := t.job(job); err != nil {
			return err
		}
		events = t.story(job)
		return t.err
	})
	return events, err
}
