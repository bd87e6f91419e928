//go:build !winetest

package service

import "golang.org/x/sys/windows/svc"

// managed reports whether the service manager started us.
func managed() bool {
	is, err := svc.IsWindowsService()
	return err == nil && is
}
