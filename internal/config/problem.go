package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration, or one warning about it. It never holds a secret.
type Problem struct {
	// File is the configuration file as it was named by the caller.
	File string

	// Line is the line in the file, from 1; 0 if no line is at fault.
	Line int

	// Key is the key as a path from the top, such as "folders[0].formats"; "" if no key is at fault.
	Key string

	// Text says what is wrong.
	Text string

	// Hint is the way out. It may be "".
	Hint string

	err error // what the system said, or nil
}

// Error returns the problem on one line: file:line: key: text; hint.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	for _, part := range []string{p.Key, p.Text} {
		if b.Len() > 0 && part != "" {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

// Unwrap returns what the system said about a file, if it said anything.
func (p Problem) Unwrap() error { return p.err }

// Errors are all mistakes of a configuration, in the order of their lines. There is at least one.
type Errors []Problem

// Error returns the problems, a line each.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, p := range e {
		errs[i] = p
	}
	return errs
}

// sorted puts e in the order of the lines, and keeps that of discovery within a line.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return e
}

// report gathers what is wrong with one file, and knows which key stands on which line.
type report struct {
	file     string
	lines    map[string]int  // the line of each key that the file has
	unread   map[string]bool // keys whose values could not be read: not to be judged again
	mistakes Errors
	warnings Errors
}

func newReport(file string) *report {
	return &report{file: file, lines: map[string]int{}, unread: map[string]bool{}}
}

// has tells whether the file sets key.
func (r *report) has(key string) bool { return r.lines[key] > 0 }

// line returns the line of key, or of the nearest key above it that the file has.
func (r *report) line(key string) int {
	for ; key != ""; key = parent(key) {
		if n := r.lines[key]; n > 0 {
			return n
		}
	}
	return 1
}

// mistake reports that the value of key, which may be a key that the file lacks, is wrong. It is silent where the value,
// or one that it belongs to, could not even be read.
func (r *report) mistake(key, text, hint string) { r.mistakeAt(r.line(key), key, text, hint) }

// mistakeAt is mistake for an item of a list, which has a line but is not worth a key of its own.
func (r *report) mistakeAt(line int, key, text, hint string) {
	for k := key; k != ""; k = parent(k) {
		if r.unread[k] {
			return
		}
	}
	r.add(line, key, text, hint)
}

// unreadable reports that the value of key is not of the kind that the key takes.
func (r *report) unreadable(key, text, hint string) {
	r.mistake(key, text, hint)
	r.unread[key] = true
}

// add reports a mistake, whatever was reported before.
func (r *report) add(line int, key, text, hint string) {
	r.mistakes = append(r.mistakes, Problem{File: r.file, Line: line, Key: key, Text: text, Hint: hint})
}

// warn reports an oddity.
func (r *report) warn(key, text, hint string) {
	r.warnings = append(r.warnings, Problem{File: r.file, Line: r.line(key), Key: key, Text: text, Hint: hint})
}

// parent returns the key that key belongs to, "" for one at the top.
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// didYouMean returns a hint that names the one of words that word was most likely meant to be, or "".
func didYouMean(word string, words []string) string {
	const longest = 40
	if len(word) > longest {
		return ""
	}
	word = strings.ToLower(strings.TrimSpace(word))
	best, least := "", max(1, len(word)/3)+1
	for _, w := range words {
		if d := distance(word, w); d < least {
			best, least = w, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", best)
}

// distance counts the letters that must be added, removed, changed or swapped with their neighbour to make b out of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
