package config

import (
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

func machineConfig(e Environment) string { return filepath.Join(programData(e), "config.yaml") }
func machineState(e Environment) string  { return filepath.Join(programData(e), "state") }

func userConfig(e Environment) string { return under(e.folder("AppData"), "scandrop", "config.yaml") }
func userState(e Environment) string  { return under(e.folder("LocalAppData"), "scandrop", "state") }

func programData(e Environment) string {
	if dir := e.folder("ProgramData"); dir != "" {
		return under(dir, "scandrop")
	}
	return `C:\ProgramData\scandrop`
}

// pathKey returns what two names of the same file have in common.
func pathKey(path string) string { return strings.ToLower(path) }

// home returns the user's home folder, "" if it is not known.
func home(e Environment) string { return e.folder("USERPROFILE") }

// privileged tells whether this process works for the whole machine.
func privileged() bool { return windows.GetCurrentProcessToken().IsElevated() }

// othersMayRead always says no: a file's mode tells nothing on Windows, where access lists decide.
func othersMayRead(fs.FileInfo) bool { return false }

// strayPath returns why a path cannot be meant for this system, or "", with the way out.
func strayPath(path string) (text, hint string) {
	drive := filepath.VolumeName(path)
	if filepath.IsAbs(path) || drive == "" && !strings.HasPrefix(path, `\`) && !strings.HasPrefix(path, "/") {
		return "", ""
	}
	if drive == "" {
		return "does not name a drive", `write the whole path, such as C:\Scans or \\server\share\Scans`
	}
	return "depends on the current folder of the drive", `write the whole path, such as ` + drive + `\Scans`
}
