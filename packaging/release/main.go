// Release makes what users of scandrop install, from this tree, into one
// folder: archives, packages and an installer, the manifests of package
// managers, a bill of materials, and the checksums of them all.
//
//	go run ./packaging/release
//
// It needs the Go tool chain, the modules of this tree and of tools/release,
// and for the installer of Windows wixl; once the modules are there it needs
// no network. The same commit gives the same files, bit for bit, wherever and
// whenever it is built: times are those of the commit (or SOURCE_DATE_EPOCH).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	out := f.String("out", "dist", "the `FOLDER` for what is made; what lies in it is removed first")
	version := f.String("version", "", "the release's `VERSION`, such as 1.2.3 (default what git describe says)")
	only := f.String("only", "", "make these `SYSTEMS` only, such as linux/amd64,windows/amd64 (default all)")
	url := f.String("url", placeholder, "where the files will lie; the `URL` goes into the manifests")
	maintainer := f.String("maintainer", "scandrop maintainers <maintainers@scandrop.example>", "who packages it: `NAME <ADDRESS>`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is no argument that is known", f.Arg(0))
	}
	wanted, err := choose(*only)
	if err != nil {
		return err
	}
	r, err := newRelease(ctx, *version, *out)
	if err != nil {
		return err
	}
	r.URL, r.Maintainer = strings.TrimSuffix(*url, "/"), *maintainer
	defer os.RemoveAll(r.work)
	if err := r.make(ctx, wanted); err != nil {
		return err
	}
	fmt.Printf("scandrop %s: %d files in %s\n", r.Version, len(r.files), *out)
	if *url == placeholder && len(wanted) == len(systems) {
		fmt.Fprintf(os.Stderr, "hint: the manifests name %s; --url says where the files will lie\n", placeholder)
	}
	return nil
}

// placeholder is an address that cannot exist.
const placeholder = "https://downloads.scandrop.example"

// A system is what a program is built for.
type system struct{ OS, Arch string }

func (s system) String() string { return s.OS + "/" + s.Arch }

// systems are all that there is a release for.
var systems = []system{
	{"linux", "amd64"}, {"linux", "arm64"}, {"linux", "arm"},
	{"windows", "amd64"}, {"windows", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
}

// choose returns the systems of a list with commas, all for none.
func choose(list string) ([]system, error) {
	if list == "" {
		return systems, nil
	}
	var chosen []system
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(systems, func(s system) bool { return s.String() == name })
		if i < 0 {
			return nil, fmt.Errorf("--only: %q is not one of %v", name, systems)
		}
		if !slices.Contains(chosen, systems[i]) {
			chosen = append(chosen, systems[i])
		}
	}
	return chosen, nil
}

// make makes everything for the systems that are wanted.
func (r *release) make(ctx context.Context, wanted []system) error {
	if err := r.empty(); err != nil {
		return err
	}
	if err := r.documents(ctx); err != nil {
		return err
	}
	for _, s := range wanted {
		fmt.Fprintln(os.Stderr, "building for", s)
		if err := r.build(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		steps := []func(context.Context, system) error{r.bill}
		switch s.OS {
		case "linux":
			steps = append(steps, r.archive, r.packages)
		case "windows":
			steps = append(steps, r.archive)
			if s.Arch == "amd64" {
				steps = append(steps, r.installer)
			}
		}
		for _, step := range steps {
			if err := step(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
	}
	amd64, arm64 := system{"darwin", "amd64"}, system{"darwin", "arm64"}
	if slices.Contains(wanted, amd64) && slices.Contains(wanted, arm64) {
		if err := r.universal(ctx, amd64, arm64); err != nil {
			return err
		}
	}
	if len(wanted) == len(systems) {
		if err := r.manifests(); err != nil {
			return err
		}
	}
	return r.sums()
}

// stage is the folder for what belongs to one system and is not given out as it is.
func (r *release) stage(s system) string { return filepath.Join(r.work, s.OS+"-"+s.Arch) }

// documentsDir is the folder with what is the same for all systems.
func (r *release) documentsDir() string { return filepath.Join(r.work, "documents") }

// program is the path of the program for s.
func (r *release) program(s system) string {
	name := "scandrop"
	if s.OS == "windows" {
		name += ".exe"
	}
	return filepath.Join(r.stage(s), name)
}
