package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// A Part is a range of a scan's pages that is sent as a document of its own,
// because the whole is too big. The parts of a job are sent one after the other,
// each with its own mark: so everything that holds for a job's upload holds for
// each of them, and the person sees one job.
//
// A part that is collected has its results in the state folder. They become the
// job's results when all parts are; until then no remote copy goes.
type Part struct {
	From int `json:"from"` // its first page, counted from 1
	To   int `json:"to"`   // its last

	Size    int64  `json:"size"` // of its file
	Content Digest `json:"content"`
	Ext     string `json:"ext"`

	Mark      string `json:"mark"`
	Resent    int    `json:"resent,omitempty"`    // uploads of it that were repeated, once it is collected
	Document  string `json:"document,omitempty"`  // once it is collected; before, it is the job's
	Source    string `json:"source,omitempty"`    // the same, also when it is gone
	Collected bool   `json:"collected,omitempty"` // its results are in the state folder, synced
}

// Part is the number of the part that the job is at, from 0: the first whose
// results are not here yet, len(Parts) if all are. Without parts it is 0.
func (j Job) Part() int {
	n := slices.IndexFunc(j.Parts, func(p Part) bool { return !p.Collected })
	if n < 0 {
		return len(j.Parts)
	}
	return n
}

// Sends describes what the next upload of the job sends: the whole scan, whose
// pages are not numbered, or a part of it.
func (j Job) Sends() Part {
	if n := j.Part(); n < len(j.Parts) {
		return j.Parts[n]
	}
	return Part{Size: j.Size, Content: j.Content, Ext: j.Ext, Mark: j.Mark}
}

// Bears reports whether a document of the job may have the mark.
func (j Job) Bears(mark string) bool {
	return mark == j.Mark || slices.ContainsFunc(j.Parts, func(p Part) bool { return p.Mark == mark })
}

// Repeated lists the marks under which an upload was repeated, so that a late
// twin may turn up.
func (j Job) Repeated() []string {
	var marks []string
	if j.Resent > 0 {
		marks = append(marks, j.Mark)
	}
	for _, p := range j.Parts {
		if p.Resent > 0 {
			marks = append(marks, p.Mark)
		}
	}
	return marks
}

// live lists the documents of the job that may be of use yet.
func (j Job) live() []string {
	var ids []string
	for _, p := range j.Parts {
		if p.Document != "" {
			ids = append(ids, p.Document)
		}
	}
	if j.Document != "" {
		ids = append(ids, j.Document)
	}
	return ids
}

// part is a part to be changed; other copies of the job keep theirs.
func (j *Job) part(n int) *Part {
	j.Parts = slices.Clone(j.Parts)
	return &j.Parts[n]
}

// halfway reports whether results of some part are here.
func (j Job) halfway() bool {
	return slices.ContainsFunc(j.Parts, func(p Part) bool { return p.Collected })
}

// gathered reports whether the results of all its parts are here.
func (j Job) gathered() bool { return len(j.Parts) > 0 && j.Part() == len(j.Parts) }

// where names the part that an error is about, "" for the whole scan.
func (j Job) where() string {
	n := j.Part()
	switch {
	case len(j.Parts) < 2 || n == len(j.Parts):
		return ""
	case j.Parts[n].From == j.Parts[n].To:
		return fmt.Sprintf("page %d: ", j.Parts[n].From)
	}
	return fmt.Sprintf("pages %d to %d: ", j.Parts[n].From, j.Parts[n].To)
}

// span is the same in the name of an upload.
func (p Part) span() string {
	if p.From == 0 {
		return ""
	}
	return fmt.Sprintf(" p%d-%d", p.From, p.To)
}

// partIdentity is what is not paid for twice of a part: SHA-256 over the scan's
// identity, the part's number and its pages. Its bytes are not in it: to divide a
// scan again may give other ones.
func partIdentity(scan Digest, n int, p Part) Digest {
	h := sha256.New()
	h.Write(scan[:])
	for _, number := range []int{n, p.From, p.To} {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(number))
		h.Write(b[:])
	}
	return Digest(h.Sum(nil))
}

// sentIdentity is the identity under which the next upload is marked.
func (j Job) sentIdentity() Digest {
	if n := j.Part(); n < len(j.Parts) {
		return partIdentity(j.Identity, n, j.Parts[n])
	}
	return j.Identity
}

// marked gives the parts of a scan that was divided their marks.
func (t *tx) marked(j Job, d Divided) Divided {
	d.Parts = slices.Clone(d.Parts)
	for n, p := range d.Parts {
		d.Parts[n].Mark = t.mark(partIdentity(j.Identity, n, p), j.Resend)
	}
	return d
}

// divided is the job once its scan was divided, or was divided again because the
// files of its parts were gone: then into the same pages.
func (j Job) divided(d Divided) Job {
	if len(j.Parts) == 0 {
		j.Parts = slices.Clone(d.Parts)
	}
	for n, p := range d.Parts {
		if n < len(j.Parts) && !j.Parts[n].Collected {
			was := j.part(n)
			was.Size, was.Content, was.Ext = p.Size, p.Content, p.Ext
		}
	}
	if n := j.Part(); n < len(j.Parts) {
		j.Mark = j.Parts[n].Mark
		j.Pages = max(j.Pages, j.Parts[len(j.Parts)-1].To)
	}
	return j
}
