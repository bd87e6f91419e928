package service

import (
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows/svc/eventlog"
)

// maxLog is the size, in bytes, at which the service's log is put away; one older
// one is kept.
const maxLog = 10 << 20

// OpenLog opens the service's own log, and the system's, which is given warnings
// (level 1) and errors (2) one by one.
func OpenLog() (io.WriteCloser, func(level int, text string), error) {
	if err := os.MkdirAll(filepath.Dir(LogFile()), 0o755); err != nil {
		return nil, nil, err
	}
	f, err := openRotated(LogFile(), maxLog)
	if err != nil {
		return nil, nil, err
	}
	events, err := eventlog.Open(Name)
	if err != nil { // its own file tells as much
		return f, func(int, string) {}, nil
	}
	return f, func(level int, text string) {
		if level > 1 {
			_ = events.Error(3, text)
		} else {
			_ = events.Warning(2, text)
		}
	}, nil
}
