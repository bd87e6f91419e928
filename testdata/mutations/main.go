// Command mutations proves that the tests guard what they are there to guard:
// it breaks the code in one place, runs the tests that should notice, and goes
// on to the next. It works on a copy of the tree, and sees each test pass there
// before it believes that a mutation made it fail.
//
//	testdata/mutations/run [--check] [--only EXPRESSION]
//
// It ends with status 1 if a mutation is not noticed, cannot be applied any
// more, or does not compile; if its tests fail without it; and if they run out
// of time, which proves nothing, except where the table says that the mutation
// makes them wait for ever. With --check it only sees that all can be applied.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// longest is how long the tests of one mutation may take. A busy machine may need
// more, so that it says nothing about the code if they do.
const longest = time.Minute

func main() {
	check := flag.Bool("check", false, "only see that every mutation can be applied")
	only := flag.String("only", "", "only mutations whose name matches this `EXPRESSION`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *check, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutations:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var wrong []error
	for _, m := range mutations {
		if _, err := m.apply("."); err != nil {
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	if check {
		fmt.Printf("all %d mutations can be applied\n", len(mutations))
		return nil
	}
	dir, err := os.MkdirTemp("", "mutations-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(ctx, dir); err != nil {
		return err
	}

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MUTATION\tGUARD\tCAUGHT BY\tSECONDS")
	survived, unknown, tried := 0, 0, 0
	before := map[[2]string]error{} // what came of the tests of a package without a mutation
	for _, m := range mutations {
		if !wanted.MatchString(m.name) {
			continue
		}
		tried++
		began := time.Now()
		tests := [2]string{m.pkg, m.tests}
		err, known := before[tests]
		if !known {
			err = m.pass(ctx, dir)
			before[tests] = err
		}
		var by string
		if err == nil {
			by, err = m.try(ctx, dir)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w", m.name, err))
			by = "ERROR: see below"
		case by == "":
			by = "NOTHING: it survives"
			survived++
		case by == timedOut && !m.hangs:
			by = "UNKNOWN: " + timedOut
			unknown++
		}
		took := time.Since(began).Seconds()
		fmt.Fprintf(os.Stderr, "%s: %s (%.0f s)\n", m.name, by, took)
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f\n", m.name, m.guard, by, took)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if tried == 0 {
		return fmt.Errorf("no mutation's name matches %q", only)
	}
	if survived > 0 {
		wrong = append(wrong, fmt.Errorf("%d of %d mutations survive", survived, tried))
	}
	if unknown > 0 {
		wrong = append(wrong, fmt.Errorf("of %d of %d mutations it is unknown whether they are noticed", unknown, tried))
	}
	return errors.Join(wrong...)
}

// copyTree copies the files that git knows, as they are now.
func copyTree(ctx context.Context, to string) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed, and not committed yet
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A mutation breaks one guard.
type mutation struct {
	name     string // what the code does then
	guard    string // what that would break
	file     string
	old, new string // old occurs exactly once in file
	pkg      string // where it should be noticed
	tests    string // by which of the tests, a regular expression
	hangs    bool   // whether nothing but tests that come to no end can notice it
}

// apply returns the file as the mutation leaves it.
func (m mutation) apply(dir string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(m.file)))
	if err != nil {
		return "", fmt.Errorf("%s: %w", m.name, err)
	}
	if n := strings.Count(string(content), m.old); n != 1 {
		return "", fmt.Errorf("%s: %s holds the text to be replaced %d times, not once: %q", m.name, m.file, n, m.old)
	}
	return strings.Replace(string(content), m.old, m.new, 1), nil
}

// pass returns an error if the tests fail without the mutation, too.
func (m mutation) pass(ctx context.Context, dir string) error {
	by, err := m.test(ctx, dir)
	if err == nil && by != "" {
		err = fmt.Errorf("the tests fail without it: %s", by)
	}
	return err
}

// try applies the mutation, runs its tests and takes it back. It returns what
// noticed it, as [mutation.test] does.
func (m mutation) try(ctx context.Context, dir string) (by string, err error) {
	path := filepath.Join(dir, filepath.FromSlash(m.file))
	before, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	mutated, err := m.apply(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(path, before, 0o644)) }()
	if err := os.WriteFile(path, []byte(mutated), 0o644); err != nil {
		return "", err
	}
	return m.test(ctx, dir)
}

// timedOut is what failed if the tests came to no end.
const timedOut = "the tests ran out of time"

var (
	failed = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)
	broken = regexp.MustCompile(`(?m)^(panic|fatal error): .*`)
)

// test runs the tests on what is in dir, and returns what failed: the first test,
// [timedOut], or what the process ended with; "" if nothing did.
func (m mutation) test(ctx context.Context, dir string) (by string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-trimpath", "-count=1", "-timeout", longest.String(), "-run", m.tests, "./"+m.pkg)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil && bytes.Contains(out, []byte("no tests to run")):
		return "", fmt.Errorf("%s has no test %s", m.pkg, m.tests)
	case err == nil:
		return "", nil
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return "", fmt.Errorf("it does not compile:\n%s", out)
	}
	if test := failed.FindSubmatch(out); test != nil {
		return string(test[1]), nil
	}
	switch end := broken.Find(out); {
	case bytes.HasPrefix(end, []byte("panic: test timed out")):
		return timedOut, nil
	case end != nil:
		return string(end), nil
	}
	return "", fmt.Errorf("the tests failed in a way that is not understood:\n%s", out)
}
