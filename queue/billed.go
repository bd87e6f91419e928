package queue

import "encoding/json"

// Billed is what the service was given to bill since the queue file was made.
// That both numbers are the same is the promise that nothing is paid twice.
type Billed struct {
	// Pages of all documents that the service made of our scans: as it counted
	// them, else as we did; one where nobody could.
	Pages int `json:"pages"`
	// Distinct are those of contents that were not billed before, or that a
	// person asked to be billed again.
	Distinct int `json:"distinct"`
}

var keyBilled = []byte("billed")

// billed counts documents that the service turned out to have made for the
// job, of which one at most was to be made. It comes before [tx.paid].
func (t *tx) billed(j, next Job, documents int) {
	pages, distinct := billed(next.Pages, j), 1
	if len(j.Parts) > 0 { // its pages are those of the whole, and one part was sent
		pages = j.cost()
	}
	if r := t.identity(j.Identity); len(j.Parts) == 0 && r.Paid > max(r.Resends, j.Resend) {
		distinct = 0 // as often as anybody asked for it was paid before
	}
	t.bill(documents*pages, distinct*pages)
}

func (t *tx) bill(pages, distinct int) {
	var b Billed
	if v := t.get(bucketMeta, keyBilled); v != nil {
		t.fail(json.Unmarshal(v, &b))
	}
	b.Pages += pages
	b.Distinct += distinct
	t.putJSON(bucketMeta, keyBilled, b)
}

// Billed returns what was billed.
func (q *Queue) Billed() (Billed, error) {
	var b Billed
	err := q.read(func(t *tx) error {
		if v := t.get(bucketMeta, keyBilled); v != nil {
			return json.Unmarshal(v, &b)
		}
		return nil
	})
	return b, err
}
