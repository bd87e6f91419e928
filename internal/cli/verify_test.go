package cli

import "testing"

func TestBrokeOnFile(t *testing.T) {
	for said, want := range map[string]bool{
		"unexpected fault address 0x7f2f5c0a1000\nfatal error: fault\n[signal SIGBUS: bus error]": true,
		"runtime: goroutine stack exceeds 1000000000-byte limit\nfatal error: stack overflow":     true,
		"panic: assertion failed: page 7":     true,
		"":                                    false, // SIGKILL
		"fatal error: runtime: out of memory": false,
		"runtime: failed to create new OS thread":            false,
		"scandrop: interrupted before everything was read\n": false,
	} {
		if got := brokeOnFile(said); got != want {
			t.Errorf("%q: %v, want %v", said, got, want)
		}
	}
}
