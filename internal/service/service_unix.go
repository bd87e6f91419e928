//go:build unix

package service

import "context"

// run only calls work: services are stopped by a signal, which the command line
// takes care of, and ended by their exit status.
func run(ctx context.Context, work func(context.Context) error, _ func(error) int) error {
	return work(ctx)
}

// Guard does nothing: here a file's mode says who may read it.
func Guard(string) error { return nil }
