package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"scandrop/internal/config"
	"scandrop/internal/control"
)

const (
	completions    = 50              // jobs that are offered
	completionTime = 2 * time.Second // who presses a key does not wait longer
)

// quietDesk finds the desk without a word on any trouble: a shell that completes
// a line shows nothing else. It makes nothing that is not there.
func (a *app) quietDesk(ctx context.Context, f func(desk)) {
	conf, err := config.Load(a.configPath(), config.Process())
	if err != nil || !exists(conf) {
		return
	}
	d, end, err := a.desk(ctx, conf, toLook)
	if err != nil {
		return
	}
	defer func() { _ = end() }()
	f(d)
}

// completeJobs offers the numbers of jobs, and the paths of their scans as they
// are from here.
func (a *app) completeJobs(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	var offers []string
	a.quietDesk(ctx, func(d desk) {
		filter := control.Filter{Text: filepath.Base(typed)}
		byNumber := typed == ""
		if _, err := strconv.ParseUint(typed, 10, 64); err == nil {
			byNumber = true
		}
		if byNumber || strings.HasSuffix(typed, "/") || strings.HasSuffix(typed, string(filepath.Separator)) {
			filter.Text = ""
		}
		read := 0
		for j, err := range d.All(ctx, filter) {
			if read++; err != nil || len(offers) == completions || read > 100*completions {
				return
			}
			if number := strconv.FormatUint(j.ID, 10); byNumber && strings.HasPrefix(number, typed) {
				offers = append(offers, fmt.Sprintf("%s\t%s, %s", number, j.State, clean(j.Name())))
			} else if path, ok := fromHere(j.Scan, typed); ok && !byNumber {
				offers = append(offers, path+"\t"+string(j.State))
			}
		}
	})
	if len(offers) == 0 {
		return nil, cobra.ShellCompDirectiveDefault // files
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// fromHere is the path as somebody who has typed the beginning of it would write
// it, if it begins so.
func fromHere(path, typed string) (string, bool) {
	if clean(path) != path {
		return "", false // no shell should get that
	}
	if !filepath.IsAbs(typed) {
		here, err := filepath.Abs(".")
		if err != nil {
			return "", false
		}
		if path, err = filepath.Rel(here, path); err != nil {
			return "", false
		}
		if dot := "." + string(filepath.Separator); strings.HasPrefix(typed, dot) {
			path = dot + path
		}
	}
	return path, strings.HasPrefix(path, typed)
}

// completeHolds offers the names of what is held.
func (a *app) completeHolds(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	var names []string
	a.quietDesk(ctx, func(d desk) {
		s, err := d.Status(ctx)
		if err != nil {
			return
		}
		for _, h := range s.Holds {
			if strings.HasPrefix(h.Name, typed) && clean(h.Name) == h.Name {
				names = append(names, h.Name)
			}
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
