package queue

import (
	"errors"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// list is what the service's list says of ours.
func (m *model) list() []Stray {
	var all []Stray
	for _, d := range slices.Sorted(maps.Keys(m.remote)) {
		all = append(all, Stray{Document: d, Mark: m.remote[d]})
	}
	return all
}

// rebuild is a queue that was restored; what it forgot is another test's.
func (m *model) rebuild(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "really") > 0 {
		t.Skip("not now")
	}
	if err := m.q.Rebuild(); err != nil {
		t.Fatal(err)
	}
	m.rebuilt = time.Now()
}

// look looks through a folder.
func (m *model) look(t *rapid.T) {
	if err := m.q.Looked(rapid.SampledFrom(modelFolders).Draw(t, "folder")); err != nil {
		t.Fatal(err)
	}
}

// chore reports a step that is not a job's.
func (m *model) chore(t *rapid.T, task Task) {
	can := []Outcome{
		Retry{Err: errTrouble}, Retry{Err: errTrouble, After: time.Minute}, Retry{Err: errTrouble, Silent: true},
		Interrupted{}, Held{Hold{Cause: Token, Reason: "no"}},
	}
	if task.Step == Sweep {
		m.unneeded(t, task.Stray)
		can = append(can, Deleted{}, Deleted{}, Deleted{}, Deleted{})
	} else {
		now := Counted{Documents: m.list()}
		can = append(can, now, now, now, Counted{Documents: m.listed}, Counted{Nameless: true})
	}
	o := rapid.SampledFrom(can).Draw(t, "outcome")
	t.Logf("%s: %s", task.Step, o.kind())
	began := m.q.began
	if _, err := m.q.Report(task, o); err != nil {
		t.Fatal(err)
	}
	switch o := o.(type) {
	case Deleted:
		delete(m.remote, task.Stray.Document)
	case Counted:
		if o.Nameless {
			break
		}
		m.counted(t, o)
		if !m.rebuilt.IsZero() && began.Sub(m.rebuilt) >= m.q.policy.doubt {
			m.rebuilt = time.Time{}
		}
		if held := slices.ContainsFunc(m.q.Holds(), func(h Hold) bool { return h.Cause == Rebuilt }); held && m.rebuilt.IsZero() {
			t.Fatal("the list was read, but nothing may be sent")
		}
	}
}

// unneeded makes sure that nobody wants a document that is to be deleted.
func (m *model) unneeded(t *rapid.T, s Stray) {
	t.Helper()
	if j, err := m.q.ByDocument(s.Document); !errors.Is(err, ErrNoJob) {
		t.Fatalf("%s is to be deleted, but belongs to job %d (%v)", s.Document, j.ID, err)
	}
	for _, j := range m.jobs {
		if j.Mark == s.Mark && (j.State == Uploading || j.State == Doubtful) {
			t.Fatalf("%s is to be deleted, but job %d is %s and bears its mark", s.Document, j.ID, j.State)
		}
	}
	if folder := m.keeper(); folder != "" {
		t.Fatalf("%s is to be deleted, but may be one of the copies that %s keeps", s.Document, folder)
	}
}

// keeper is a folder whose copies stay at the service.
func (m *model) keeper() string {
	for path, o := range m.options {
		if known := m.q.folders[path]; !o.DeleteRemote && known.Number > 0 {
			return path
		}
	}
	return ""
}

// found notes that a job goes on with a document that it did not know of.
func (m *model) found(t *rapid.T, j Job) {
	t.Helper()
	if m.remote[j.Document] != j.Mark {
		t.Fatalf("job %d went on with %q, which bears %q, not %q", j.ID, j.Document, m.remote[j.Document], j.Mark)
	}
	m.paid[j.Identity] = true
	if j.Options.DeleteRemote {
		m.living[j.Document] = j.ID
	}
	for _, d := range j.Trash {
		m.living[d] = j.ID
	}
}

// counted draws what a census means.
func (m *model) counted(t *rapid.T, o Counted) {
	t.Helper()
	state, err := m.q.Census()
	if err != nil {
		t.Fatal(err)
	}
	for id, j := range m.jobs {
		now, err := m.q.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if now.State != j.State && now.Document != j.Document {
			final := j.State == Failed || !state.Rebuilt.IsZero() && (j.State == Rejected || j.State == Cancelled)
			if now.State != Processing || j.State != Queued && !final {
				t.Fatalf("job %d was %s, and the census made it %s", id, j.State, now.State)
			}
			m.jobs[id] = now
			if slices.ContainsFunc(o.Documents, func(s Stray) bool { return s.Document == now.Document && m.remote[s.Document] != "" }) {
				m.found(t, now)
			}
		}
		err = m.q.read(func(b *tx) error { // what is at the service was paid for, whoever has it
			m.paid[now.Identity] = m.paid[now.Identity] || b.identity(now.Identity).Paid > 0
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range o.Documents {
		err := m.q.read(func(b *tx) error {
			known := b.get(bucketDocuments, []byte(s.Document)) != nil || b.get(bucketLeft, []byte(s.Document)) != nil || b.get(bucketStrays, strayKey(s)) != nil
			doubtful := slices.ContainsFunc(slices.Collect(maps.Values(m.jobs)), func(j Job) bool {
				return j.Mark == s.Mark && (j.State == Uploading || j.State == Doubtful)
			})
			if !known && !doubtful {
				t.Fatalf("nobody takes care of %s", s.Document)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
