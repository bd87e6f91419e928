package queue

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A State says how a restart must treat a job; waiting is a due time, not a
// state. The words are the same in the log, the shell, the page and metrics.
type State string

const (
	// Queued jobs are to be uploaded when they are due. A restart goes on.
	Queued State = "queued"

	// Uploading jobs have, or had, a request on the wire; that was committed
	// before its first byte. A restart cannot know whether it arrived, so
	// [Open] turns them into Doubtful ones.
	Uploading State = "uploading"

	// Doubtful jobs were sent and never answered. They are looked for in the
	// service's own list, by their mark, before anything is sent again.
	Doubtful State = "doubtful"

	// Processing jobs are with the service, whose id for them we have. A
	// restart asks again.
	Processing State = "processing"

	// Written jobs have all their results on disk and synced; what is left is
	// to delete the remote copy. A restart goes on with that.
	Written State = "written"

	// Done jobs are finished and known for ever: the same content is not sent
	// again.
	Done State = "done"

	// Rejected jobs failed for a reason that lies in the file. They stay until
	// a person retries or forgets them.
	Rejected State = "rejected"

	// Failed jobs used up their attempts, failed at the service, or expired
	// there before we had the result. They stay until a person retries or
	// forgets them.
	Failed State = "failed"

	// Cancelled jobs were stopped by hand. They stay until a person retries or
	// forgets them.
	Cancelled State = "cancelled"
)

// A Hint is what is said of a job's document, by the service's list or by a
// webhook. It makes the job due; what the service answers then is what counts.
type Hint string

const (
	HintReady  Hint = "ready"  // its result can be collected
	HintFailed Hint = "failed" // the service failed with it
)

// States lists every state in the order in which a job meets them.
var States = []State{Queued, Uploading, Doubtful, Processing, Written, Done, Rejected, Failed, Cancelled}

// Final reports whether a job in this state is at its end: only a person moves
// it on, but for the deletion of a remote copy that it may still have.
func (s State) Final() bool {
	return s == Done || s == Rejected || s == Failed || s == Cancelled
}

// A Digest is a SHA-256. The zero Digest means that the content could not be
// read. Its text form is 64 hexadecimal digits.
type Digest [sha256.Size]byte

// IsZero reports whether the digest is missing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(d) {
		return fmt.Errorf("a digest has %d hexadecimal digits, not %d", 2*len(d), len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// Options say what is wanted of a scan. They are those of its folder at the
// time when it was added, and follow a changed configuration only as long as
// the job waits to be sent; see [Queue.Configure].
type Options struct {
	Action      string   `json:"action"` // transcribe, tables or extractor
	ExtractorID string   `json:"extractor_id,omitempty"`
	PromptID    string   `json:"prompt_id,omitempty"`
	Formats     []string `json:"formats"` // txt, docx, json, csv, xlsx; not part of the identity

	// DeleteRemote asks for the remote copy to be deleted once the results are
	// on disk.
	DeleteRemote bool `json:"delete_remote,omitempty"`
	// DeleteAfter is how long the service keeps its copy by itself; 0 leaves
	// it to the account's setting.
	DeleteAfter time.Duration `json:"delete_after,omitempty"`

	// MoveDone and MoveFailed are the absolute folders that originals are
	// moved to, "" to leave them where they are.
	MoveDone   string `json:"move_done,omitempty"`
	MoveFailed string `json:"move_failed,omitempty"`

	// Notes asks for a note beside the scan as long as it is failed or rejected.
	Notes bool `json:"notes,omitempty"`
}

func (o Options) equal(p Options) bool {
	formats := slices.Equal(o.Formats, p.Formats)
	o.Formats, p.Formats = nil, nil
	return formats && o.sameWork(p) && o.DeleteRemote == p.DeleteRemote && o.DeleteAfter == p.DeleteAfter &&
		o.MoveDone == p.MoveDone && o.MoveFailed == p.MoveFailed && o.Notes == p.Notes
}

// sameWork reports whether o and p ask the service for the same work, that is,
// whether they lead to the same identity.
func (o Options) sameWork(p Options) bool {
	return o.Action == p.Action && o.ExtractorID == p.ExtractorID && o.PromptID == p.PromptID
}

// A Scan is a settled file as the watcher found it.
type Scan struct {
	Folder  string    // the hot folder that owns it, absolute
	Path    string    // absolute
	Size    int64     // bytes
	ModTime time.Time //
	Content Digest    // zero if it could not be read
	Ext     string    // its true extension by its first bytes, with the dot
	Pages   int       // 0 if nobody could count them
	Reject  string    // why it can never be sent; "" if it can
	Options Options

	// Profile is the hold, if any, that keeps this scan from being sent until it
	// is lifted: what its folder asks for cannot be understood. The scan is then
	// noticed anew. Options are not looked at.
	Profile *Hold

	// Spooled says that a copy of the scan's bytes is kept, and is what is sent:
	// another file may have taken its name by then.
	Spooled bool

	// Present says that files with the names of all its results lie beside it.
	// It matters while a restored queue does not know what it may have
	// forgotten; see [Queue.Rebuilding].
	Present bool
}

// A Result is one file that the service's answer becomes. It is recorded, with
// the digest of what it is going to hold, before the file appears under its
// name: so after a crash we still know our own file from a stranger's.
type Result struct {
	Format  string   `json:"format"`
	Path    string   `json:"path,omitempty"`
	Content Digest   `json:"content,omitzero"`
	Earlier []Digest `json:"earlier,omitempty"` // our own former contents of that name
	Refused string   `json:"refused,omitempty"` // why the service does not make this format; no file then
}

// A Job is the queue's record of one scan. It is a value: a copy is a snapshot
// and changing it changes nothing in the queue.
type Job struct {
	ID     uint64 `json:"id"`
	State  State  `json:"state"`
	Folder string `json:"folder"`
	Path   string `json:"path"`            // where the scan was found; results go beside it
	Moved  string `json:"moved,omitempty"` // where the original has been moved to

	Size    int64     `json:"size"`
	ModTime time.Time `json:"mod_time"`
	Content Digest    `json:"content"`
	Ext     string    `json:"ext,omitempty"`
	Options Options   `json:"options"`

	// Identity is what must not be paid for twice; see [Identity].
	Identity Digest `json:"identity"`
	// Mark is the part of the upload's file name by which the document is
	// found again. It counts up with Resend.
	Mark string `json:"mark,omitempty"`
	// Resend counts the uploads that a person asked for although the identity
	// had been paid for.
	Resend int `json:"resend,omitempty"`
	// Resent counts the uploads that were repeated because a look-up found
	// nothing.
	Resent int `json:"resent,omitempty"`
	// Accepted says that the service claimed to have taken the last upload,
	// and not under which id.
	Accepted bool `json:"accepted,omitempty"`
	// Parts is what the scan was divided into because it is too big to be sent
	// whole. Document and Mark are then those of the part that the job is at.
	Parts []Part `json:"parts,omitempty"`
	// Twin is the earlier job of the same identity whose results this one is
	// to have; 0 if it goes its own way.
	Twin uint64 `json:"twin,omitempty"`
	// Spooled says that a copy of the scan is kept until the job is done.
	Spooled bool `json:"spooled,omitempty"`

	Document string    `json:"document,omitempty"` // the service's id, as long as the document may live
	Trash    []string  `json:"trash,omitempty"`    // further documents of this job that are to be deleted
	Keep     time.Time `json:"keep,omitzero"`      // Document is not deleted before this
	Pages    int       `json:"pages,omitempty"`    // as the service counted; 0 if it did not say
	Counted  int       `json:"counted,omitempty"`  // pages as we counted before it was sent; 0 if we could not
	Anyway   bool      `json:"anyway,omitempty"`   // a person wants it sent although it has more pages than may be
	Results  []Result  `json:"results,omitempty"`

	// Due is when the next step is to be taken; zero if there is none, or if
	// the job waits for a person or for its twin.
	Due      time.Time `json:"due,omitzero"`
	Attempts int       `json:"attempts,omitempty"` // of this step
	Looks    int       `json:"looks,omitempty"`    // how often the service was asked for this step
	Looked   time.Time `json:"looked,omitzero"`    // when it was last seen to be still at work
	Hint     Hint      `json:"hint,omitempty"`     // what the service is said to have made of it
	HeldBy   Cause     `json:"held_by,omitempty"`  // why a step of a paid job could not be taken
	Error    string    `json:"error,omitempty"`    // of the last attempt, in plain words
	Cancel   bool      `json:"cancel,omitempty"`   // by hand, to take effect at the next safe point

	Present  bool      `json:"present,omitempty"` // see [Scan]
	Added    time.Time `json:"added"`
	Sent     time.Time `json:"sent,omitzero"`     // when the last upload began
	Doubted  time.Time `json:"doubted,omitzero"`  // when the last upload was found unanswered
	Uploaded time.Time `json:"uploaded,omitzero"` // when the service's id was known

	// Announced is when the service told, unasked, that the result is there; see
	// [Queue.Hint].
	Announced time.Time `json:"announced,omitzero"`

	Finished time.Time `json:"finished,omitzero"` // when a final state was reached

	// Collected is when all results were on disk and synced. That a [Result]
	// is recorded does not say so: it is recorded before it is written.
	Collected time.Time `json:"collected,omitzero"`

	// Source is the service's id of the last upload, Deleted when the last of
	// the job's documents was deleted there: for the journal, which tells of
	// what is gone.
	Source  string    `json:"source,omitempty"`
	Deleted time.Time `json:"deleted,omitzero"`
}

// UploadName is the file name that the service is told: the scan's own, the
// mark, and the true extension, as in "letter.sdAB12-k7f3q2m4x5n6p7r2.pdf".
// What could upset a header or a file system is replaced, and a long name is
// cut, for the service's copy only.
func (j Job) UploadName() string {
	sent := j.Sends()
	base := filepath.Base(j.Path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	base = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) || strings.ContainsRune(`"\/:*?<>|;%`, r) {
			return '_'
		}
		return r
	}, base)
	const longest = 120 // bytes; leaves room for the mark below the usual 255
	for len(base) > longest {
		_, n := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-n]
	}
	return base + sent.span() + "." + j.Mark + sent.Ext
}

// Result returns what is recorded for a format.
func (j Job) Result(format string) (Result, bool) {
	i := slices.IndexFunc(j.Results, func(r Result) bool { return r.Format == format })
	if i < 0 {
		return Result{}, false
	}
	return j.Results[i], true
}

// Original is where the scan lies now, as far as scandrop knows.
func (j Job) Original() string {
	if j.Moved != "" {
		return j.Moved
	}
	return j.Path
}

// leftovers reports whether there is anything to do for a job whose scan has
// come to its end: a remote copy to delete, an original to move.
func (j Job) leftovers() bool {
	return len(j.live()) > 0 && j.Options.DeleteRemote || len(j.Trash) > 0 || j.Moved == "" && j.moveTo() != ""
}

// moveTo is the folder that the original goes to when the job ends as it is.
func (j Job) moveTo() string {
	switch j.State {
	case Written, Done:
		return j.Options.MoveDone
	case Failed, Rejected:
		return j.Options.MoveFailed
	}
	return ""
}

// Doomed lists the documents that are to be deleted at the given time.
func (j Job) Doomed(now time.Time) []string {
	ids := slices.Clone(j.Trash)
	if j.Options.DeleteRemote && !now.Before(j.Keep) {
		ids = append(ids, j.live()...)
	}
	return ids
}

// MoveTo is the folder that the original is to be moved to now; "" for none.
func (j Job) MoveTo() string {
	if j.Moved != "" {
		return ""
	}
	return j.moveTo()
}

// Identity is what scandrop never pays for twice: SHA-256 over the content's
// SHA-256 and the action, extractor and prompt, each preceded by its length, so
// that no two combinations run together. Formats and folders are not part of
// it.
func Identity(content Digest, o Options) Digest {
	h := sha256.New()
	h.Write(content[:])
	for _, s := range []string{o.Action, o.ExtractorID, o.PromptID} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return Digest(h.Sum(nil))
}

// An Installation is what makes marks ours: a name that the service's list
// shows, and a key that never leaves the state folder.
type Installation struct {
	Name string // four of A–Z, 2–7; tells this installation's documents from others' on the same account
	Key  []byte // 32 random bytes
}

var markEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Mark is the part of an upload's file name that names the identity to those
// who have the key: "sd", the installation, and 80 bits: 60 of an HMAC-SHA256 of
// the identity, and 20 by which the installation knows its own mark, so that
// another installation of the same name is never taken for this one.
func (i Installation) Mark(identity Digest, resend int) string {
	h := hmac.New(sha256.New, i.Key)
	h.Write(identity[:])
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(resend))
	h.Write(n[:])
	code := markEncoding.EncodeToString(h.Sum(nil)[:10])[:markCode]
	return "sd" + i.Name + "-" + code + i.check(code)
}

const (
	markCode  = 12 // characters of a mark that tell the identity
	markCheck = 4  // that tell the installation
)

func (i Installation) check(code string) string {
	h := hmac.New(sha256.New, i.Key)
	h.Write([]byte(code)) // shorter than any identity
	return markEncoding.EncodeToString(h.Sum(nil)[:5])[:markCheck]
}

var markPattern = regexp.MustCompile(`sd([a-z0-9]{4})-([a-z2-7]{12})([a-z2-7]{4})`)

// Find finds a mark in a file name that the service gives back, in whatever
// case. ours is its canonical form if it is one of this installation's; marked
// reports whether there is one at all, of whichever installation.
func (i Installation) Find(name string) (ours string, marked bool) {
	for _, m := range markPattern.FindAllStringSubmatch(strings.ToLower(name), -1) {
		marked = true
		if strings.EqualFold(m[1], i.Name) && m[3] == i.check(m[2]) {
			ours = "sd" + i.Name + "-" + m[2] + m[3]
		}
	}
	return ours, marked
}
