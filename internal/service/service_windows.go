package service

import (
	"fmt"
	"os"

	"github.com/kardianos/service"
)

// managed reports whether the service manager started us and waits to be
// talked to.
func managed() bool { return !service.Interactive() }

// abort ends the process as failed, without reporting the service as stopped,
// so that the manager's recovery starts it again.
func abort(err error) {
	fmt.Fprintln(os.Stderr, "scandrop:", err)
	os.Exit(1)
}
