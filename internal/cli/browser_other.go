//go:build !windows && !darwin

package cli

import "os"

// hasScreen reports whether there is a screen to open a browser on.
func hasScreen() bool { return os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "" }

func browser(path string) (name string, args []string) { return "xdg-open", []string{path} }
