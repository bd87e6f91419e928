package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// A release is what all its files share.
type release struct {
	Version    string // semantic, without a v: 1.2.3 or 1.3.0-rc.1
	Date       time.Time
	URL        string // where the files will lie, without a slash at the end
	Maintainer string

	out   string            // where they are made
	work  string            // for what is not given out
	files map[string]string // their names, and the SHA-256 of each in hex
}

// Homepage and Summary are the same for every package manager.
func (*release) Homepage() string { return "https://www.handwritingocr.com" }
func (*release) Summary() string  { return "Drop a scan into a folder, get its text next to it" }

// Time is the release's date as configuration files write it.
func (r *release) Time() string { return r.Date.Format(time.RFC3339) }

var semantic = regexp.MustCompile(`^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// newRelease returns the release of the tree in the current folder. Without a
// version it is the one that git describes.
func newRelease(ctx context.Context, version, out string) (*release, error) {
	if _, err := os.Stat("packaging/templates"); err != nil {
		return nil, errors.New("run it in the top folder of scandrop's source: go run ./packaging/release")
	}
	if version == "" {
		described, err := output(ctx, nil, "git", "describe", "--tags", "--always", "--dirty", "--match=v[0-9]*")
		if err != nil {
			return nil, fmt.Errorf("%w (or give --version)", err)
		}
		version = described
		if !strings.HasPrefix(version, "v") {
			version = "0.0.0-dev.g" + version // there is no tag yet: only the commit
		}
	}
	version = strings.TrimPrefix(version, "v")
	if !semantic.MatchString(version) {
		return nil, fmt.Errorf("--version: %q is not of the form 1.2.3 or 1.2.3-rc.1", version)
	}
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		var err error
		if epoch, err = output(ctx, nil, "git", "log", "-1", "--format=%ct"); err != nil {
			return nil, fmt.Errorf("%w (or set SOURCE_DATE_EPOCH)", err)
		}
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	if out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "scandrop-release-")
	if err != nil {
		return nil, err
	}
	return &release{Version: version, Date: time.Unix(seconds, 0).UTC(), out: out, work: work, files: map[string]string{}}, nil
}

// empty makes the folder for what is made, without anything in it. Only what
// looks like an earlier release is removed.
func (r *release) empty() error {
	there, err := os.ReadDir(r.out)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(there) > 0 {
		if _, err := os.Stat(filepath.Join(r.out, "SHA256SUMS")); err != nil {
			return fmt.Errorf("%s is not empty, and not an earlier release: name another folder with --out", r.out)
		}
		if err := os.RemoveAll(r.out); err != nil {
			return err
		}
	}
	// There from the beginning, so that what an interrupted release left is known for what it is.
	return errors.Join(os.MkdirAll(r.out, 0o755), os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), nil, 0o644))
}

// output runs a program and returns what it prints, without the space around.
func output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, text, stderr.Bytes())
	}
	return strings.TrimSpace(string(text)), nil
}

// tool runs one of the tools of tools/release, which are built from their pinned versions.
func (r *release) tool(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, []string{fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.Date.Unix())},
		"go", append([]string{"tool", "-modfile=tools/release/go.mod", name}, args...)...)
	return err
}

// build makes the program for s.
func (r *release) build(ctx context.Context, s system) error {
	_, err := output(ctx, []string{"CGO_ENABLED=0", "GOOS=" + s.OS, "GOARCH=" + s.Arch, "GOAMD64=v1", "GOARM=7", "GOARM64=v8.0"},
		"go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X scandrop/internal/cli.version="+r.Version, "-o", r.program(s), ".")
	return err
}

// bill writes the bill of materials of the program for s, in the form of CycloneDX.
func (r *release) bill(ctx context.Context, s system) error {
	path := filepath.Join(r.out, fmt.Sprintf("scandrop_%s_%s_%s.cdx.json", r.Version, s.OS, s.Arch))
	if err := r.tool(ctx, "cyclonedx-gomod", "bin", "-json", "-noserial", "-version", r.Version, "-output", path, r.program(s)); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if text, err = timeless(text, r.Date); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, text, 0o644)
}

// timeless returns a bill of materials that says it was made at date, and
// nothing of the program that made it but its name and version.
func timeless(bill []byte, date time.Time) ([]byte, error) {
	var b map[string]any
	if err := json.Unmarshal(bill, &b); err != nil {
		return nil, err
	}
	about, ok := b["metadata"].(map[string]any)
	if !ok {
		return nil, errors.New("the bill of materials has no metadata")
	}
	about["timestamp"] = date.Format(time.RFC3339)
	tools, _ := about["tools"].([]any)
	for _, t := range tools {
		if t, ok := t.(map[string]any); ok {
			delete(t, "hashes") // they depend on where it was built
		}
	}
	return json.MarshalIndent(b, "", "  ")
}

// packages makes the packages of the Linux distributions for s.
func (r *release) packages(ctx context.Context, s system) error {
	pages, err := r.pages()
	if err != nil {
		return err
	}
	scripts, err := r.scripts()
	if err != nil {
		return err
	}
	for _, p := range []struct{ packager, zsh, doc string }{
		{"deb", "/usr/share/zsh/vendor-completions/_scandrop", ""},
		{"rpm", "/usr/share/zsh/site-functions/_scandrop", ", type: doc"},
		{"apk", "/usr/share/zsh/site-functions/_scandrop", ""},
		{"archlinux", "/usr/share/zsh/site-functions/_scandrop", ""},
	} {
		arch := s.Arch
		if arch == "arm" {
			arch = "arm7"
		}
		config := filepath.Join(r.stage(s), p.packager+".yaml")
		err := r.render("nfpm.yaml", config, struct {
			*release
			Program, Documents, Scripts, NFPMArch, Packager, Zsh, Doc string
			Pages                                                     []string
		}{r, r.program(s), r.documentsDir(), scripts, arch, p.packager, p.zsh, p.doc, pages})
		if err != nil {
			return err
		}
		if err := r.tool(ctx, "nfpm", "package", "--config", config, "--packager", p.packager, "--target", r.out); err != nil {
			return err
		}
	}
	return nil
}

// scripts copies the scripts of the packages and returns the folder: some
// packages tell their time, and in a fresh clone that is the clone's.
func (r *release) scripts() (string, error) {
	dir := filepath.Join(r.work, "scripts")
	for _, of := range []string{"deb", "rpm", "apk", "arch"} {
		found, err := os.ReadDir(filepath.Join("packaging", of))
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Join(dir, of), 0o755); err != nil {
			return "", err
		}
		for _, f := range found {
			text, err := os.ReadFile(filepath.Join("packaging", of, f.Name()))
			if err != nil {
				return "", err
			}
			path := filepath.Join(dir, of, f.Name())
			if err := errors.Join(os.WriteFile(path, text, 0o755), os.Chtimes(path, r.Date, r.Date)); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

// MSI is the name of the installer of Windows.
func (r *release) MSI() string { return fmt.Sprintf("scandrop_%s_windows_amd64.msi", r.Version) }

// MSIVersion is the version as Windows' installer knows it: three numbers.
func (r *release) MSIVersion() string {
	numbers, _, _ := strings.Cut(r.Version, "-")
	return numbers
}

// ProductCode is this version of scandrop to Windows' installer.
func (r *release) ProductCode() string { return guid("product " + r.Version) }

// UpgradeCode and the components are the same in all versions: by them Windows' installer knows what replaces what.
func (*release) UpgradeCode() string        { return guid("upgrade") }
func (*release) ComponentProgram() string   { return guid("component program") }
func (*release) ComponentDocuments() string { return guid("component documents") }

// guid is the same for the same name, and another for any other: a UUID of version 5.
func guid(name string) string {
	sum := sha1.Sum([]byte("scandrop " + name))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("{%x-%x-%x-%x-%x}", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
}

// render writes the file that a template of packaging/templates makes of data.
func (r *release) render(name, path string, data any) error {
	text, err := os.ReadFile(filepath.Join("packaging/templates", name))
	if err != nil {
		return err
	}
	t, err := template.New(name).Funcs(template.FuncMap{"upper": strings.ToUpper}).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// sums reads what was made and writes SHA256SUMS.
func (r *release) sums() error {
	if err := r.sum(); err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		fmt.Fprintf(&b, "%s  %s\n", r.files[name], name)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), b.Bytes(), 0o644)
}

// sum notes the checksum of every file that was made so far.
func (r *release) sum() error {
	return fs.WalkDir(os.DirFS(r.out), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "SHA256SUMS" {
			return err
		}
		text, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		r.files[name] = hex.EncodeToString(sum[:])
		return nil
	})
}
