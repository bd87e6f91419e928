package pages

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/metrics"
	"sync"
	"time"
)

// Serve does what the argument says with the scan that is open as in, writes the
// answer to out and returns the exit status. It is for a process of its own,
// which it ends when its bounds are reached.
func Serve(argument string, in *os.File, out io.Writer) int {
	var r request
	if err := json.Unmarshal([]byte(argument), &r); err != nil {
		return exitUsage
	}
	var once sync.Mutex // one answer is given, and it is locked for ever
	refuse := func(why string) {
		once.Lock()
		json.NewEncoder(out).Encode(reply{Error: why})
		os.Exit(exitBound)
	}
	if r.Within > 0 {
		time.AfterFunc(r.Within, func() { refuse(fmt.Sprintf("it took longer than %v", r.Within)) })
	}
	if r.Memory > 0 {
		go func() {
			for range time.Tick(10 * time.Millisecond) {
				if memory() > r.Memory {
					refuse(fmt.Sprintf("it took more than %d MiB of memory", r.Memory>>20))
				}
			}
		}()
	}
	answer := answerTo(r, in)
	once.Lock()
	if json.NewEncoder(out).Encode(answer) != nil {
		return exitBound
	}
	return 0
}

const (
	exitBound = 1
	exitUsage = 2
)

// memory is what this process has of the system, in bytes.
func memory() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}

// answerTo does what is asked for. A panic over what the file holds is an answer
// like another.
func answerTo(r request, scan *os.File) (answer reply) {
	defer func() {
		if p := recover(); p != nil {
			answer = reply{Error: fmt.Sprintf("reading it broke off: %v", p)}
		}
	}()
	result, err := perform(r, scan)
	if err != nil {
		return reply{Error: err.Error()}
	}
	if answer.Result, err = json.Marshal(result); err != nil {
		return reply{Error: err.Error()}
	}
	return answer
}

func perform(r request, scan *os.File) (any, error) {
	info, err := scan.Stat()
	if err != nil {
		return nil, err
	}
	section := io.NewSectionReader(scan, 0, info.Size())
	switch r.Do {
	case doInspect:
		if r.Ext != ".pdf" {
			return nil, errors.New("not a PDF")
		}
		return inspectPDF(section)
	case doBlank:
		return blank(section, r.Ext)
	case doSplit:
		return split(section, r.Ext, r.Dir, r.Limit)
	}
	return nil, fmt.Errorf("unknown request %q", r.Do)
}
