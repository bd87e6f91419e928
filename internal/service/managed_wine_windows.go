//go:build winetest

package service

import (
	"os"

	"golang.org/x/sys/windows"
)

// managed is for tests under Wine, whose services are not in session 0, by which
// Windows' are known: they have no console.
func managed() bool {
	console, err := windows.GetConsoleCP()
	_ = console
	return err != nil && len(os.Args) > 1 && os.Args[1] == "run"
}
