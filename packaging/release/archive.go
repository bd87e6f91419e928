package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A member is a file of an archive.
type member struct {
	name string // below the archive's one folder
	path string
	mode int64
}

// archiveName is the name of the archive for a system, whose architecture may be "universal".
func (r *release) archiveName(os, arch string) string {
	ending := ".tar.gz"
	if os == "windows" {
		ending = ".zip"
	}
	return fmt.Sprintf("scandrop_%s_%s_%s%s", r.Version, os, arch, ending)
}

// archive makes the archive for s: the program, and what one reads about it.
func (r *release) archive(_ context.Context, s system) error {
	return r.archiveOf(s.OS, s.Arch, r.program(s))
}

func (r *release) archiveOf(system, arch, program string) error {
	members := []member{
		{filepath.Base(program), program, 0o755},
		{"LICENSE", "LICENSE", 0o644},
		{"third-party-licenses.txt", filepath.Join(r.documentsDir(), "third-party-licenses.txt"), 0o644},
		{"README.md", "README.md", 0o644},
		{"CHANGELOG.md", "CHANGELOG.md", 0o644},
		{"config.example.yaml", "config.example.yaml", 0o644},
	}
	add := func(name, pattern string) error {
		found, err := filepath.Glob(pattern)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("there is no %s", pattern)
		}
		for _, path := range found {
			members = append(members, member{name + "/" + filepath.Base(path), path, 0o644})
		}
		return err
	}
	folders := map[string]string{"completion": filepath.Join(r.documentsDir(), "completion", "*"), "docs": "docs/*.md"}
	switch system {
	case "linux":
		folders["man"] = filepath.Join(r.documentsDir(), "man", "*.1")
		folders["systemd"] = "internal/service/systemd/*"
		folders["openrc"] = "internal/service/openrc/scandrop"
	case "darwin":
		folders["man"] = filepath.Join(r.documentsDir(), "man", "*.1")
		folders["launchd"] = "internal/service/launchd/*.plist"
	}
	for name, pattern := range folders {
		if err := add(name, pattern); err != nil {
			return err
		}
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	name := r.archiveName(system, arch)
	base := r.Base(name)
	var b bytes.Buffer
	write := r.tarball
	if strings.HasSuffix(name, ".zip") {
		write = r.zip
	}
	if err := write(&b, base, members); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(r.out, name), b.Bytes(), 0o644)
}

// Base is the one folder in the archive of that name.
func (*release) Base(archive string) string {
	return strings.TrimSuffix(strings.TrimSuffix(archive, ".tar.gz"), ".zip")
}

func (r *release) tarball(w io.Writer, base string, members []member) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, m := range members {
		text, err := os.ReadFile(m.path)
		if err != nil {
			return err
		}
		// No name of whoever builds it, and the commit's time.
		h := &tar.Header{Name: base + "/" + m.name, Mode: m.mode, Size: int64(len(text)), ModTime: r.Date, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(text); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

func (r *release) zip(w io.Writer, base string, members []member) error {
	z := zip.NewWriter(w)
	for _, m := range members {
		text, err := os.ReadFile(m.path)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: base + "/" + m.name, Method: zip.Deflate, Modified: r.Date}
		h.SetMode(os.FileMode(m.mode))
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(text); err != nil {
			return err
		}
	}
	return z.Close()
}
