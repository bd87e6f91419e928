package daemon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"scandrop/internal/result"
	"scandrop/queue"
	"scandrop/uploader"
)

// noteSuffix is what the name of a note has behind the scan's.
const noteSuffix = ".scandrop.txt"

// failureNotes keeps, beside each scan that failed or was rejected, a note that
// says why, as long as that is so, the scan lies there and no newer one bears its
// name. The queue remembers which notes there are: a crash leaves none behind.
type failureNotes struct {
	queue *queue.Queue
	files files
	log   *slog.Logger

	// Of the goroutine that keeps them, by path: the notes there are, and those of
	// an earlier process, which may have ended before it wrote them.
	known  map[string]queue.Note
	unsure map[string]bool

	any     atomic.Bool // there is a note, or was, or may be
	mu      sync.Mutex
	jobs    map[uint64]queue.Job // that moved
	folders map[string]bool      // that were looked through
	more    chan struct{}        // holds one value while there is something to do
}

// newFailureNotes begins with all jobs that a note may be missing of.
func newFailureNotes(q *queue.Queue, f files, log *slog.Logger) (*failureNotes, error) {
	n := &failureNotes{queue: q, files: f, log: log, unsure: map[string]bool{}, jobs: map[uint64]queue.Job{}, folders: map[string]bool{}, more: make(chan struct{}, 1)}
	var err error
	if n.known, err = q.Notes(); err != nil {
		return nil, err
	}
	for j, err := range q.All(queue.Filter{States: []queue.State{queue.Failed, queue.Rejected}}) {
		if err != nil {
			return nil, err
		}
		if j.Options.Notes {
			n.moved(j)
		}
	}
	if len(n.known) > 0 { // those above may have none yet
		n.any.Store(true)
	}
	for _, note := range n.known { // what was resolved by hand, or in a run that was killed
		n.folders[filepath.Dir(note.Path)] = true
		n.unsure[note.Path] = true
	}
	n.wake()
	return n, nil
}

// moved takes note that a job may need a note now, or need it no more. It does
// not block.
func (n *failureNotes) moved(j queue.Job) {
	if !j.Options.Notes && !n.any.Load() {
		return
	}
	n.any.Store(true)
	n.mu.Lock()
	n.jobs[j.ID] = j
	n.mu.Unlock()
	n.wake()
}

// again has the note of a job tried again when a folder is looked at next.
func (n *failureNotes) again(j queue.Job) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, moved := n.jobs[j.ID]; !moved {
		n.jobs[j.ID] = j
	}
}

// looked takes note that the files of a folder may have changed.
func (n *failureNotes) looked(folder string) {
	n.mu.Lock()
	n.folders[folder] = true
	n.mu.Unlock()
	n.wake()
}

func (n *failureNotes) wake() {
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// keep begins to keep the notes. The function that it returns does what is left
// to do, and ends it.
func (n *failureNotes) keep() (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-n.more:
				n.settle()
			case <-stop:
				n.settle()
				return
			}
		}
	}()
	return func() {
		close(stop)
		select {
		case <-ended:
		case <-time.After(patience): // a share that hangs
		}
	}
}

// settle writes and removes what has become due. Trouble is said, and what it
// concerns is looked at again when its folder is.
func (n *failureNotes) settle() {
	n.mu.Lock()
	jobs, folders := n.jobs, n.folders
	n.jobs, n.folders = map[uint64]queue.Job{}, map[string]bool{}
	n.mu.Unlock()
	moved := map[string]bool{} // the paths of the jobs' notes
	for _, j := range jobs {
		moved[j.Path+noteSuffix] = true
	}
	for path, note := range n.known {
		due := jobs[note.Job].ID != 0 || moved[path]
		for folder := range folders {
			rel, err := filepath.Rel(folder, path)
			due = due || err == nil && filepath.IsLocal(rel)
		}
		if due {
			n.say(path, n.review(note))
		}
	}
	for _, j := range jobs {
		n.say(j.Path, n.write(j))
	}
}

func (n *failureNotes) say(path string, err error) {
	if err != nil && !errors.Is(err, queue.ErrClosed) {
		n.log.Warn("a note of a failure could not be written or removed", "file", path, "error", err)
	}
}

// review removes a note that is not wanted any more.
func (n *failureNotes) review(note queue.Note) error {
	j, err := n.queue.Get(note.Job)
	if err != nil && !errors.Is(err, queue.ErrNoJob) {
		return err
	}
	if err == nil {
		wanted, e := n.wanted(j)
		if e != nil {
			return e // the folder is missing: nothing can be said
		}
		if wanted && j.Original()+noteSuffix == note.Path && note.Content == noteDigest(noteText(j)) {
			return n.ensure(note, j)
		}
	}
	var folder *result.Folder
	if err == nil {
		folder, err = n.files.of(j, note.Path)
	} else { // it is forgotten
		folder, err = open(filepath.Dir(note.Path))
	}
	if errors.Is(err, uploader.ErrRootMissing) {
		return nil // later
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.RemoveNote(note.Path, note.Content); err != nil {
		return err
	}
	delete(n.known, note.Path)
	return n.queue.RemoveNote(note.Path)
}

// ensure forgets a note that is wanted and that an earlier process did not come to
// write, so that it is written now.
func (n *failureNotes) ensure(note queue.Note, j queue.Job) error {
	if !n.unsure[note.Path] {
		return nil
	}
	folder, err := n.files.of(j, note.Path)
	if errors.Is(err, uploader.ErrRootMissing) {
		return nil // later
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	there, err := folder.Exists(note.Path)
	if err != nil {
		return err
	}
	delete(n.unsure, note.Path)
	if there {
		return nil
	}
	n.again(j)
	delete(n.known, note.Path)
	return n.queue.RemoveNote(note.Path)
}

// wanted reports whether there is to be a note about the job.
func (n *failureNotes) wanted(j queue.Job) (bool, error) {
	if !j.Options.Notes || j.State != queue.Failed && j.State != queue.Rejected || j.MoveTo() != "" { // it is about to be moved
		return false, nil
	}
	if newest, err := n.queue.ByPath(j.Path); err != nil || newest.ID != j.ID {
		if errors.Is(err, queue.ErrNoJob) {
			err = nil
		}
		return false, err
	}
	folder, err := n.files.of(j, j.Original())
	if err != nil {
		return false, err
	}
	defer folder.Close()
	return folder.Exists(j.Original())
}

// write writes the note of a job that is to have one and has none. One that
// cannot be written now is tried again.
func (n *failureNotes) write(moved queue.Job) (err error) {
	if !moved.Options.Notes {
		return nil
	}
	j, err := n.queue.Get(moved.ID) // it may have moved on
	if errors.Is(err, queue.ErrNoJob) {
		return nil
	}
	if err != nil {
		return err
	}
	taken := false // its name, by a stranger's file
	defer func() {
		if err != nil && !taken {
			n.again(j)
		}
		if errors.Is(err, uploader.ErrRootMissing) {
			err = nil
		}
	}()
	wanted, err := n.wanted(j)
	path := j.Original() + noteSuffix
	if _, there := n.known[path]; err != nil || !wanted || there {
		return err
	}
	folder, err := n.files.of(j, path)
	if err != nil {
		return err
	}
	defer folder.Close()
	text := noteText(j)
	note := queue.Note{Path: path, Job: j.ID, Content: noteDigest(text)}
	if err := n.queue.PutNote(note); err != nil {
		return err
	}
	err = folder.Note(path, j.Original(), text)
	if errors.Is(err, fs.ErrExist) { // a stranger's, or ours, of a queue that was lost
		ours, e := folder.Has(path, note.Content)
		if e == nil && ours {
			err = nil
		}
		there, _ := folder.Exists(path)
		taken = e == nil && there && !ours
	}
	if err != nil {
		return errors.Join(err, n.queue.RemoveNote(path))
	}
	n.known[path] = note
	return nil
}

// noteText is what a person reads who finds the scan. It does not change while
// the job stays as it is.
func noteText(j queue.Job) []byte {
	way := "Scan it again under the same name, or have it tried once more"
	if j.State == queue.Failed {
		way = "Have it tried once more"
	}
	reason := strings.ReplaceAll(strings.ToValidUTF8(j.Error, "?"), "\n", " ")
	return fmt.Appendf(nil, "%s was %s on %s:\n%s\n\n%s: scandrop queue retry %d\nThis note goes by itself when that is resolved.\n",
		strings.ToValidUTF8(filepath.Base(j.Path), "?"), stateWord(j.State), j.Finished.Local().Format("2006-01-02 15:04"), reason, way, j.ID)
}

// stateWord is the state as it fits behind "was".
func stateWord(s queue.State) string {
	if s == queue.Failed {
		return "tried in vain, and given up"
	}
	return string(s)
}

func noteDigest(text []byte) queue.Digest { return queue.Digest(sha256.Sum256(text)) }
