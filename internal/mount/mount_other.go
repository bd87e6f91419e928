//go:build !linux && !darwin && !windows

package mount

// Network cannot tell on this system.
func Network(string) string { return "" }

// shared names the file system of the folder if it shows what others, of whom this
// system hears nothing, may change. None is known here.
func shared(string) string { return "" }
