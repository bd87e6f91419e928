package queue

import (
	"encoding/json"
	"fmt"
	"time"
)

// Limits bound the pages that uploads may cost; 0 is no bound. Days and months
// are those of the local time zone.
type Limits struct {
	PerScan  int // what has more is rejected; only of a folder
	PerDay   int
	PerMonth int
}

// The periods of a [Hold] of the cause [Limit].
const (
	periodDay   = "day"
	periodMonth = "month"
)

// cost is how many pages the next upload of the job, or the one on the wire, will
// be billed as: one, as long as nobody could count them.
func (j Job) cost() int {
	if p := j.Sends(); p.From > 0 {
		return p.To - p.From + 1
	}
	return max(j.Counted, 1)
}

// billed is how many pages an upload of the job costs: as the service counted
// them, if it said so.
func billed(said int, j Job) int {
	if said > 0 {
		return said
	}
	return j.cost()
}

// rest is the cost of all uploads of the job from the next one on.
func (j Job) rest() int {
	if n := j.Part(); n < len(j.Parts) {
		return j.Parts[len(j.Parts)-1].To - j.Parts[n].From + 1
	}
	return j.cost()
}

// TooMany says why a job's scan has more pages than may ever be sent of its
// folder, and the way out; "" if it has not, if nobody could count them, or if a
// person had it retried in spite of that.
func (q *Queue) TooMany(j Job) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return TooMany(q.limits, j)
}

func (t *tx) tooMany(j Job) string { return TooMany(t.limits, j) }

// TooMany is [Queue.TooMany] under the given limits.
func TooMany(limits map[string]Limits, j Job) string {
	if j.Anyway || j.Twin != 0 { // what is copied costs nothing
		return ""
	}
	own := limits[j.Folder]
	for _, l := range []struct {
		most int
		key  string
	}{
		{own.PerScan, "limits.pages_per_scan of its folder"},
		{own.PerDay, "limits.pages_per_day of its folder"}, {own.PerMonth, "limits.pages_per_month of its folder"},
		{limits[""].PerDay, "limits.pages_per_day"}, {limits[""].PerMonth, "limits.pages_per_month"},
	} {
		if pages := max(j.Counted, 1); l.most > 0 && pages > l.most {
			return fmt.Sprintf("it has %d pages, and %s allows %d: scan fewer pages at a time, raise the limit, or retry it to have it sent all the same", pages, l.key, l.most)
		}
	}
	return ""
}

// spending is what the uploads of a folder have cost, and for which periods a
// person has waived its limits.
type spending struct {
	Day        string `json:"day"` // 2006-01-02
	Pages      int    `json:"pages"`
	Month      string `json:"month"` // 2006-01
	MonthPages int    `json:"month_pages"`

	FreeDay   string `json:"free_day,omitempty"`
	FreeMonth string `json:"free_month,omitempty"`
}

const (
	formDay   = time.DateOnly
	formMonth = "2006-01"
)

func keySpending(folder string) []byte { return []byte("pages " + folder) }

// spending is that of a folder, or of all together for "", in the present day
// and month.
func (t *tx) spending(folder string) spending {
	var s spending
	if v := t.get(bucketMeta, keySpending(folder)); v != nil {
		t.fail(json.Unmarshal(v, &s))
	}
	now := t.now.Local()
	if day := now.Format(formDay); s.Day != day {
		s.Day, s.Pages = day, 0
	}
	if month := now.Format(formMonth); s.Month != month {
		s.Month, s.MonthPages = month, 0
	}
	return s
}

// spend counts what the service has accepted of the job at the given time.
func (t *tx) spend(j Job, pages int, at time.Time) {
	for _, folder := range []string{j.Folder, ""} {
		s := t.spending(folder)
		if at.Local().Format(formDay) == s.Day {
			s.Pages += pages
		}
		if at.Local().Format(formMonth) == s.Month {
			s.MonthPages += pages
		}
		t.putJSON(bucketMeta, keySpending(folder), s)
	}
}

// reserved is how many pages of the folder, or of all, are on the wire or were
// sent and not answered: they may yet turn out to be paid.
func (t *tx) reserved(folder string, except uint64) int {
	pages := 0
	for _, s := range []State{Uploading, Doubtful} {
		for _, id := range t.inState(s) {
			j, err := t.job(id)
			if err == nil && id != except && (folder == "" || folder == j.Folder) {
				pages += j.cost()
			}
		}
	}
	return pages
}

// limited returns the hold that keeps the job from being sent now, if a limit
// does. One that was never touched lets any scan pass: who retries a big one by
// hand means it.
func (t *tx) limited(j Job) (Hold, bool) {
	for _, folder := range []string{j.Folder, ""} {
		l := t.limits[folder]
		if l.PerDay <= 0 && l.PerMonth <= 0 {
			continue
		}
		s, way := t.spending(folder), t.reserved(folder, j.ID)
		over := func(most, used int) bool { return most > 0 && used+way > 0 && used+way+j.rest() > most }
		now := t.now.Local()
		h := Hold{Cause: Limit, Folder: folder, Since: t.now}
		switch {
		case over(l.PerMonth, s.MonthPages) && s.FreeMonth != s.Month:
			h.Period, h.Next = periodMonth, time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, now.Location())
			h.Reason = reached(h, l.PerMonth, s.MonthPages, way, j.rest())
		case over(l.PerDay, s.Pages) && s.FreeDay != s.Day:
			h.Period, h.Next = periodDay, time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location())
			h.Reason = reached(h, l.PerDay, s.Pages, way, j.rest())
		default:
			continue
		}
		h.Next = h.Next.UTC()
		return h, true
	}
	return Hold{}, false
}

func reached(h Hold, most, used, way, next int) string {
	whose := ""
	if h.Folder != "" {
		whose = " of this folder"
	}
	sent := fmt.Sprintf("%d were sent", used)
	if way > 0 {
		sent += fmt.Sprintf(", %d are on the way", way)
	}
	return fmt.Sprintf("limits.pages_per_%s%s is %d: %s, and the next scan has %d; it goes on by itself on %s, or raise the limit and restart, or \"scandrop queue release %s\" waives it until then",
		h.Period, whose, most, sent, next, h.Next.Format(formDay), h.Key())
}

// heedLimits places the holds of limits that the next scans would go beyond, and
// lifts those whose day or month is over. The caller holds q.mu.
func (q *Queue) heedLimits(now time.Time) error {
	over := false
	for _, h := range q.holds {
		over = over || h.Cause == Limit && !now.Before(h.Next)
	}
	if over {
		err := q.updateLocked(func(t *tx) error {
			t.release(func(h Hold) bool { return h.Cause == Limit && !t.now.Before(h.Next) })
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(q.limits) == 0 {
		return nil
	}
	var reached []Hold
	err := q.readLocked(func(t *tx) error {
		for path, f := range t.folders {
			if _, wanted := q.configured[path]; q.configured != nil && !wanted {
				continue
			}
			d, ok := q.head(t, lanePrefix(laneUpload, f.Number))
			if !ok || now.Before(d.at) {
				continue
			}
			j, err := t.job(d.id)
			if err != nil || j.Twin != 0 {
				continue // it is found damaged when it is claimed, or costs nothing
			}
			if h, over := t.limited(j); over && q.holds[h.Key()].Cause == "" {
				reached = append(reached, h)
			}
		}
		return t.err
	})
	if err != nil || len(reached) == 0 {
		return err
	}
	return q.updateLocked(func(t *tx) error {
		for _, h := range reached {
			t.putHold(h)
		}
		return nil
	})
}

// waive lets the folder's scans pass until the period of the hold is over: a
// person has lifted it.
func (t *tx) waive(h Hold) {
	s := t.spending(h.Folder)
	if h.Period == periodMonth {
		s.FreeMonth = s.Month
	} else {
		s.FreeDay = s.Day
	}
	t.putJSON(bucketMeta, keySpending(h.Folder), s)
}

// Spent is how many pages the service has accepted from a folder, or from all
// for "", in the present day and month.
func (q *Queue) Spent(folder string) (day, month int, err error) {
	err = q.read(func(t *tx) error {
		s := t.spending(folder)
		day, month = s.Pages, s.MonthPages
		return t.err
	})
	return day, month, err
}

// Reconsider lifts, at the start of a run, what another configuration or another
// file may have settled since: limits, which are at once held to again, and
// profiles. Nothing may have been claimed yet.
func (q *Queue) Reconsider() error {
	return q.update(func(t *tx) error {
		t.release(func(h Hold) bool { return h.Cause == Limit || h.Cause == Profile })
		return nil
	})
}
