package queue

import (
	"bytes"
	"encoding/json"
	"slices"
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

// A story is a list in JSON, or, once its scan is done, that list packed behind a byte
// with which no JSON begins.
const packedStory = 2

func (t *tx) addEvent(job uint64, e Event) {
	text := t.storyText(job)
	if bytes.Count(text, []byte(`{"at":`)) >= storyLength { // which no text in it holds: its quotes are escaped
		events := t.story(job)
		half := storyLength / 2
		var err error
		text, err = json.Marshal(append(events[:half:half], events[half+1:]...))
		t.fail(err)
	}
	event, err := json.Marshal(e)
	t.fail(err)
	begin := []byte{'['}
	if len(text) > 2 {
		begin = append(slices.Clone(text[:len(text)-1]), ',')
	}
	text = append(append(begin, event...), ']')
	if e.State == Done {
		packed, err := pack([]byte{packedStory}, text)
		t.fail(err)
		text = packed
	}
	t.put(bucketStory, key64(job), text)
}

// storyText is a job's story in JSON; nil if there is none. One that is damaged begins
// anew, and says so: no job is to stand still for its story.
func (t *tx) storyText(id uint64) []byte {
	v := t.get(bucketStory, key64(id))
	if len(v) == 0 || v[0] != packedStory {
		return v
	}
	text, err := unpack(v[1:])
	if err != nil {
		text, err = json.Marshal([]Event{{At: t.now, What: "damaged", Note: "what was told before cannot be read: " + err.Error()}})
		t.fail(err)
	}
	return text
}

func (t *tx) story(id uint64) []Event {
	var events []Event
	if text := t.storyText(id); text != nil {
		t.fail(json.Unmarshal(text, &events))
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
