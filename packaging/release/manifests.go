package main

import (
	"fmt"
	"path/filepath"
)

// The archives, as the manifests name them.
func (r *release) Darwin() string       { return r.archiveName("darwin", "universal") }
func (r *release) LinuxAMD64() string   { return r.archiveName("linux", "amd64") }
func (r *release) LinuxARM64() string   { return r.archiveName("linux", "arm64") }
func (r *release) WindowsAMD64() string { return r.archiveName("windows", "amd64") }
func (r *release) WindowsARM64() string { return r.archiveName("windows", "arm64") }

// Sum is the SHA-256 of a file that was made.
func (r *release) Sum(name string) (string, error) {
	sum, made := r.files[name]
	if !made {
		return "", fmt.Errorf("%s was not made", name)
	}
	return sum, nil
}

// manifests writes what Homebrew, Scoop and winget read, from the files that were made.
func (r *release) manifests() error {
	if err := r.sum(); err != nil {
		return err
	}
	for name, path := range map[string]string{
		"homebrew.rb":              "homebrew/scandrop.rb",
		"scoop.json":               "scoop/scandrop.json",
		"winget.version.yaml":      "winget/scandrop.scandrop.yaml",
		"winget.installer.yaml":    "winget/scandrop.scandrop.installer.yaml",
		"winget.locale.en-US.yaml": "winget/scandrop.scandrop.locale.en-US.yaml",
	} {
		if err := r.render(name, filepath.Join(r.out, path), r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
