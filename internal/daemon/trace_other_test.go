//go:build !linux

package daemon

// traces is for Linux alone.
func traces() bool { return false }
