package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"scandrop/internal/daemon"
	"scandrop/queue"
)

func (a *app) journal() *cobra.Command {
	c := &cobra.Command{
		Use:   "journal",
		Short: "Prove what was done",
		Long: `The journal, journal.jsonl in the state folder, has one line for every scan that
came to its end: its content's hash, its name, pages and document, when it was
sent, finished and deleted at the service, and the hashes of its results. Each
line holds the hash of the line before, so that a missing or altered one shows.`,
	}
	c.AddCommand(a.journalVerify())
	return c
}

// A journalView is what journal verify --json says. Its keys are a contract.
type journalView struct {
	Whole    bool        `json:"whole"`
	Compared bool        `json:"compared"` // with what the queue remembers of its end
	Files    int         `json:"files"`
	Lines    int         `json:"lines"`
	Head     headView    `json:"head"`
	Torn     bool        `json:"torn"`   // the last line has no end
	Broken   int         `json:"broken"` // how many breaks there are
	Breaks   []breakView `json:"breaks"` // the first hundred
}

type headView struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

type breakView struct {
	File string `json:"file"`
	Line int    `json:"line"`
	What string `json:"what"`
}

func (a *app) journalVerify() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify that no line of the journal is missing or altered",
		Long: `Read the whole journal and hold each line against the hash in the next one, and
the last against what the queue remembers of it: while a daemon has the queue
that cannot be done, and is said.

Who may write the state folder can make both anew. Note down elsewhere the head
that this prints, the number and the hash of the last line: it proves all lines
up to there.`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			conf, err := a.load()
			if err != nil {
				return err
			}
			r, unheard, err := daemon.VerifyJournal(conf, daemon.Opening{Verify: verifyApart})
			if errors.Is(err, fs.ErrNotExist) && !there(conf.State) {
				unheard, err = fmt.Errorf("nothing has run yet: there is no state folder %s", conf.State), nil
			}
			if err != nil {
				return err
			}
			busy := errors.Is(unheard, queue.ErrInUse)
			v := journalView{
				Whole: r.Broken == 0 && (!r.Torn || busy), Compared: unheard == nil,
				Files: r.Files, Lines: r.Lines, Head: headView{r.Head.Seq, r.Head.Hash.String()},
				Torn: r.Torn, Broken: r.Broken, Breaks: []breakView{},
			}
			for _, b := range r.Breaks {
				v.Breaks = append(v.Breaks, breakView(b))
			}
			switch {
			case busy:
				fmt.Fprintln(a.Err, "scandrop: a daemon has the queue, so the journal's end is not compared with what the queue remembers of it")
			case unheard != nil:
				fmt.Fprintf(a.Err, "scandrop: the journal's end is not compared with what the queue remembers of it: %s\n", clean(unheard.Error()))
			}
			return a.verified(v, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return c
}

// there reports whether something lies at the path.
func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// verified says what was found.
func (a *app) verified(v journalView, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(plainJSON{a.Out}).Encode(v); err != nil {
			return err
		}
	}
	const shown = 10
	for i, b := range v.Breaks {
		if i == shown {
			fmt.Fprintf(a.Err, "scandrop: … and %d more\n", v.Broken-shown)
			break
		}
		fmt.Fprintf(a.Err, "scandrop: %s:%d: %s\n", clean(b.File), b.Line, clean(b.What))
	}
	switch {
	case v.Broken > 0:
		return &statusError{ExitFailed, errors.New("the journal is not whole"),
			"compare these files with a backup: what lies before the first of these lines is as it was written; scandrop goes on adding to it all the same"}
	case !v.Whole:
		return &statusError{ExitFailed, errors.New("the journal's last line is torn"), `a crash does that; "scandrop run" puts it right`}
	case !asJSON:
		fmt.Fprintf(a.Out, "%d lines, chain whole, head %d %s\n", v.Lines, v.Head.Seq, v.Head.Hash)
	}
	return nil
}
