//go:build unix

package service

// Managed is false: services of this system are processes like others.
func Managed() bool { return false }

// LogFile is "": what a service prints is the system's to keep.
func LogFile() string { return "" }
