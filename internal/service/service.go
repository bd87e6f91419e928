// Package service makes scandrop a service of the system: systemd and its like,
// launchd, the Windows service manager. It is a thin adapter of
// github.com/kardianos/service, the only package that knows it, and promises
// no more than that does; see docs/design.md for what is known of its traps.
package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/kardianos/service"
)

// A Config says which service is meant.
type Config struct {
	// File is the configuration file that the service runs with, absolute.
	File string
	// User makes it a service of this user, where the system has such.
	User bool
}

// ErrNotInstalled means that there is no such service.
var ErrNotInstalled = errors.New("the service is not installed")

// ErrNoManager means that the system has no service manager that we know.
var ErrNoManager = errors.New("no service manager was found on this system")

// new returns the service that c describes, which runs work, if it is run.
func (c Config) new(p service.Interface) (service.Service, error) {
	if service.ChosenSystem() == nil {
		return nil, ErrNoManager
	}
	return service.New(p, &service.Config{
		Name:        "scandrop",
		DisplayName: "scandrop",
		Description: "Has scans in hot folders read, and puts their text next to them.",
		Arguments:   []string{"run", "--config", c.File},
		Option: service.KeyValue{
			"UserService":            c.User,
			"Restart":                "on-failure",
			"OnFailure":              "restart",
			"OnFailureDelayDuration": "10s",
			"OnFailureResetPeriod":   3600,
			"DelayedAutoStart":       true,
			"RunAtLoad":              true,
			"KeepAlive":              true,
		},
	})
}

// Control does one thing to the service: install, uninstall, start, stop or
// restart it. It needs the rights that the system asks for that. The error
// wraps [ErrNotInstalled] or [ErrNoManager] where they apply.
func (c Config) Control(action string) error {
	s, err := c.new(idle{})
	if err != nil {
		return err
	}
	if err := service.Control(s, action); err != nil {
		if errors.Is(err, service.ErrNotInstalled) {
			return fmt.Errorf("%s: %w", action, ErrNotInstalled)
		}
		return fmt.Errorf("%s the service with %s: %w", action, s.Platform(), err)
	}
	return nil
}

// Status is "running", "stopped", or "unknown"; the error wraps
// [ErrNotInstalled] if there is no such service.
func (c Config) Status() (string, error) {
	s, err := c.new(idle{})
	if err != nil {
		return "", err
	}
	status, err := s.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		return "", ErrNotInstalled
	case err != nil:
		return "", fmt.Errorf("ask %s for the service: %w", s.Platform(), err)
	case status == service.StatusRunning:
		return "running", nil
	case status == service.StatusStopped:
		return "stopped", nil
	}
	return "unknown", nil
}

// Run runs work until it ends or the service manager says stop, which ends
// work's context. Started by hand, or under a manager that stops processes by
// a signal, it only calls work.
func Run(ctx context.Context, work func(context.Context) error) error {
	if !managed() {
		return work(ctx)
	}
	p := &program{parent: ctx, work: work, ended: make(chan error, 1)}
	s, err := Config{}.new(p)
	if err != nil {
		return err
	}
	if err := s.Run(); err != nil {
		return err
	}
	return p.result
}

// A program is work as the library wants it: Start and Stop, which don't block
// for long.
type program struct {
	parent context.Context
	work   func(context.Context) error
	stop   context.CancelFunc
	ended  chan error
	result error
}

func (p *program) Start(service.Service) error {
	ctx, stop := context.WithCancel(p.parent)
	p.stop = stop
	go func() {
		err := p.work(ctx)
		if ctx.Err() == nil {
			// Nobody told us to stop. The library would go on saying that
			// the service runs; the manager must see a process that failed.
			abort(err)
		}
		p.ended <- err
	}()
	return nil
}

func (p *program) Stop(service.Service) error {
	p.stop()
	p.result = <-p.ended
	return nil
}

// idle is a service that is only talked about.
type idle struct{}

func (idle) Start(service.Service) error { return nil }
func (idle) Stop(service.Service) error  { return nil }
