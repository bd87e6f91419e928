package service

import (
	"github.com/kardianos/service"
)

// backend is systemd, or whatever the library finds: OpenRC, runit's and sysv's
// scripts, upstart, procd. Those have no services of single users.
func (c Config) backend() (backend, error) {
	manager := service.ChosenSystem()
	switch {
	case manager == nil:
		return nil, ErrNoManager
	case manager.String() == "linux-systemd":
		return newSystemd(c.User), nil
	case c.User:
		return nil, ErrNoUserService
	}
	return newLibrary(c, "the system's log (syslog)", service.KeyValue{
		"Restart": "on-failure",
	})
}
