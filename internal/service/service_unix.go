//go:build unix

package service

import (
	"fmt"
	"os"
)

// managed is false where services are stopped by a signal, which the command
// line takes care of.
func managed() bool { return false }

// abort ends the process as failed, so that the manager starts it again.
func abort(err error) {
	fmt.Fprintln(os.Stderr, "scandrop:", err)
	os.Exit(1)
}
