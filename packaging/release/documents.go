package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra/doc"

	"scandrop/internal/cli"
)

// documents makes the manual pages, the completions of the shells, and the
// licences of all that is in the program.
func (r *release) documents(ctx context.Context) error {
	at := r.documentsDir()
	man, packed, completion := filepath.Join(at, "man"), filepath.Join(at, "man.gz"), filepath.Join(at, "completion")
	for _, dir := range []string{man, packed, completion} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	commands := cli.Commands()
	header := &doc.GenManHeader{Section: "1", Date: &r.Date, Source: "scandrop " + r.Version, Manual: "scandrop"}
	if err := doc.GenManTree(commands, header, man); err != nil {
		return err
	}
	pages, err := r.pages()
	if err != nil {
		return err
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(man, page))
		if err != nil {
			return err
		}
		if err := packFile(filepath.Join(packed, page+".gz"), text); err != nil {
			return err
		}
	}
	for shell, write := range map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error { return commands.GenBashCompletionV2(w, true) },
		"zsh":  commands.GenZshCompletion,
		"fish": func(w io.Writer) error { return commands.GenFishCompletion(w, true) },
		"ps1":  commands.GenPowerShellCompletionWithDesc,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return fmt.Errorf("completion for %s: %w", shell, err)
		}
		if err := os.WriteFile(filepath.Join(completion, "scandrop."+shell), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := packFile(filepath.Join(at, "changelog.Debian.gz"), r.debianChangelog()); err != nil {
		return err
	}
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	changes := fmt.Appendf(nil, "- semver: %q\n  date: %s\n  packager: %q\n  changes:\n    - note: Release %s; what is new in it stands in CHANGELOG.md.\n",
		r.Version, r.Time(), r.Maintainer, r.Version)
	others, err := r.licences(ctx)
	if err != nil {
		return err
	}
	// Debian wants the licences of others in a file of their own.
	copyright := fmt.Appendf(nil, "scandrop %s\n%s\n\n%s\nThe licences of the modules that are part of the program stand in third-party-licenses.txt beside this file.\n",
		r.Version, r.Homepage(), own)
	return errors.Join(
		os.WriteFile(filepath.Join(at, "changelog.yaml"), changes, 0o644),
		os.WriteFile(filepath.Join(at, "copyright"), copyright, 0o644),
		os.WriteFile(filepath.Join(at, "third-party-licenses.txt"), others, 0o644))
}

// pages lists the manual pages that were made.
func (r *release) pages() ([]string, error) {
	files, err := os.ReadDir(filepath.Join(r.documentsDir(), "man"))
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names, err
}

// debianChangelog is the changelog in the form of Debian, which says where the whole one is.
func (r *release) debianChangelog() []byte {
	return fmt.Appendf(nil, "scandrop (%s) stable; urgency=medium\n\n  * Release %s; what is new in it stands in CHANGELOG.md of the source.\n\n -- %s  %s\n",
		debianVersion(r.Version), r.Version, r.Maintainer, r.Date.Format(time.RFC1123Z))
}

// debianVersion is a version as Debian sorts it: what comes before 1.2.3 is 1.2.3~rc.1.
func debianVersion(version string) string { return strings.Replace(version, "-", "~", 1) + "-1" }

// packFile writes text to a gzip file that holds no name and no time.
func packFile(path string, text []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// licences returns the licences of all modules that are linked into the
// program on any system, and of Go: each wants to be handed on.
func (r *release) licences(ctx context.Context) ([]byte, error) {
	modules := map[string]string{} // module and version → folder
	for _, os := range []string{"linux", "windows", "darwin"} {
		list, err := output(ctx, []string{"CGO_ENABLED=0", "GOOS=" + os}, "go", "list", "-deps", "-f",
			"{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}{{end}}", ".")
		if err != nil {
			return nil, err
		}
		for line := range strings.SplitSeq(list, "\n") {
			if name, dir, found := strings.Cut(line, "\t"); found {
				modules[name] = dir
			}
		}
	}
	goroot, err := output(ctx, nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	goversion, err := output(ctx, nil, "go", "env", "GOVERSION")
	if err != nil {
		return nil, err
	}
	modules["The Go programming language "+goversion] = goroot

	var text []byte
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		licence, err := licenceIn(modules[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		text = fmt.Appendf(text, "%s\n%s\n\n%s\n", strings.Repeat("-", 80), name, licence)
	}
	return text, nil
}

// licenceIn returns the licence files in a module's folder, one after the
// other.
func licenceIn(dir string) ([]byte, error) {
	var text []byte
	for _, pattern := range []string{"LICEN[SC]E*", "COPYING*", "NOTICE*", "UNLICENSE*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			one, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			text = append(append(text, bytes.TrimSpace(one)...), '\n')
		}
	}
	if len(text) == 0 {
		return nil, fmt.Errorf("no licence in %s", dir)
	}
	return text, nil
}
