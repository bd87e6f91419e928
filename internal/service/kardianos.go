package service

import (
	"errors"
	"fmt"

	"github.com/kardianos/service"
)

// A library is a service manager as github.com/kardianos/service knows it.
type library struct {
	service.Service
	log  string       // where its log is
	halt func() error // stops it; nil is the library's way
}

// newLibrary returns the service that c describes, with what the platform wants
// to be told.
func newLibrary(c Config, log string, options service.KeyValue) (library, error) {
	s, err := service.New(idle{}, &service.Config{
		Name:        Name,
		DisplayName: Name,
		Description: description + ".",
		Executable:  c.Program,
		Arguments:   []string{"run", "--config", c.File},
		UserName:    c.Account,
		Option:      options,
	})
	return library{Service: s, log: log}, err
}

func (l library) err(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, service.ErrNotInstalled):
		return fmt.Errorf("%s: %w", what, ErrNotInstalled)
	}
	return fmt.Errorf("%s the service with %s: %w", what, l.Platform(), err)
}

// install makes the library install over what is there: it refuses to itself. A
// service that runs is stopped for it.
func (l library) install(Config) (notes []string, err error) {
	if s, err := l.Service.Status(); !errors.Is(err, service.ErrNotInstalled) {
		if s == service.StatusRunning {
			notes = append(notes, "it was stopped for that")
			if err := l.stop(); err != nil {
				return nil, err
			}
		}
		_ = l.Service.Uninstall() // what is half-done may not be removable in order
	}
	if err := l.Service.Install(); err != nil {
		_ = l.Service.Uninstall() // there may be nothing to undo
		return nil, l.err("install", err)
	}
	return notes, nil
}

func (l library) uninstall() error {
	if _, err := l.Service.Status(); errors.Is(err, service.ErrNotInstalled) {
		return l.err("uninstall", err)
	}
	if err := l.stop(); err != nil { // the library leaves it running
		return err
	}
	return l.err("uninstall", l.Service.Uninstall())
}

func (l library) start() error {
	if s, err := l.Service.Status(); err == nil && s == service.StatusRunning {
		return nil
	}
	return l.err("start", l.Service.Start())
}

func (l library) stop() error {
	switch s, err := l.Service.Status(); {
	case l.halt != nil:
		return l.halt()
	case errors.Is(err, service.ErrNotInstalled):
		return l.err("stop", err)
	case err == nil && s == service.StatusStopped:
		return nil
	}
	return l.err("stop", l.Service.Stop())
}

func (l library) status() (Status, error) {
	s, err := l.Service.Status()
	if errors.Is(err, service.ErrNotInstalled) {
		return Status{}, ErrNotInstalled
	}
	if err != nil {
		return Status{}, l.err("ask for", err)
	}
	if s == service.StatusRunning {
		return Status{State: Running}, nil
	}
	return Status{State: Stopped}, nil
}

func (l library) logs() string { return l.log }

// idle is a service that is only talked about.
type idle struct{}

func (idle) Start(service.Service) error { return nil }
func (idle) Stop(service.Service) error  { return nil }
