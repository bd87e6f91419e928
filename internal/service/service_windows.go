package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"github.com/kardianos/service"
	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
)

// localService is the account of the service, which can do little on this
// machine, and nothing on others: for network shares it needs one of its own.
const localService = `NT AUTHORITY\LocalService`

// backend is the service manager of Windows.
func (c Config) backend() (backend, error) {
	if c.User {
		return nil, ErrNoUserService
	}
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	if c.Account == "" {
		c.Account = localService
	}
	l, err := newLibrary(c, LogFile()+", and the Event Log (source scandrop) for warnings and errors", service.KeyValue{"Password": c.Password})
	l.halt = halt
	return controlManager{l}, err
}

// controlManager is the library, but for what it gets wrong: what Windows is to do
// with the service that not every Windows knows, no restart after a failure without
// a crash, and states that it does not tell apart.
type controlManager struct{ library }

func (m controlManager) install(c Config) (notes []string, err error) {
	if c.Account == "" {
		c.Account = localService
	}
	for _, folder := range append([]string{c.State}, c.Folders...) {
		if share := unmapped(folder); share != "" {
			return nil, &MappedError{folder, share}
		}
	}
	if notes, err = m.library.install(c); err != nil {
		return nil, err
	}
	var unknown []string
	err = withService(windows.SERVICE_ALL_ACCESS, func(s *mgr.Service) error {
		unknown, err = refine(refinements(s))
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("install the service: %w", err), m.library.uninstall())
	}
	granted, err := grantAll(c)
	return slices.Concat(notes, unknown, granted), err
}

// A refinement is a setting that the service can do without: a Windows that is old,
// or is none but looks like one, may not know it.
type refinement struct {
	what    string // what Windows is to do
	without string // what is so where it is not known
	set     func() error
}

// refinements are those of s.
func refinements(s *mgr.Service) []refinement {
	change := func(level uint32, info unsafe.Pointer) error {
		return windows.ChangeServiceConfig2(s.Handle, level, (*byte)(info))
	}
	restart := func(after time.Duration) mgr.RecoveryAction {
		return mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: after}
	}
	return []refinement{{
		"start it a little later than other services", "it starts with them",
		func() error {
			return change(windows.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, unsafe.Pointer(&windows.SERVICE_DELAYED_AUTO_START_INFO{IsDelayedAutoStartUp: 1}))
		},
	}, {
		"start it again after a crash", "see that something else starts it again",
		func() error {
			return s.SetRecoveryActions([]mgr.RecoveryAction{restart(5 * time.Second), restart(5 * time.Second), restart(time.Minute)}, 3600)
		},
	}, {
		"start it again when its work fails without a crash", "it is started again only after a crash",
		func() error { return s.SetRecoveryActionsOnNonCrashFailures(true) },
	}, {
		"wait for its end when the machine is shut down", "it has the time that Windows gives to all",
		func() error {
			info := struct{ milliseconds uint32 }{uint32(patience.Milliseconds())} // SERVICE_PRESHUTDOWN_INFO
			return change(windows.SERVICE_CONFIG_PRESHUTDOWN_INFO, unsafe.Pointer(&info))
		},
	}}
}

// refine makes the refinements. One that this Windows does not know is told in
// notes; any other error is one.
func refine(all []refinement) (notes []string, err error) {
	for _, r := range all {
		switch err := r.set(); {
		case err == nil:
		case unknownHere(err):
			notes = append(notes, fmt.Sprintf("this Windows cannot be told to %s (%v): %s", r.what, err, r.without))
		default:
			return notes, fmt.Errorf("have Windows %s: %w", r.what, err)
		}
	}
	return notes, nil
}

// unknownHere tells whether an error of the service manager means that it does not
// know what it was asked to set.
func unknownHere(err error) bool {
	for _, unknown := range []error{windows.ERROR_INVALID_LEVEL, windows.ERROR_CALL_NOT_IMPLEMENTED, windows.ERROR_NOT_SUPPORTED, windows.RPC_S_INVALID_TAG} {
		if errors.Is(err, unknown) {
			return true
		}
	}
	return false
}

// patience is how long a stop is waited for: longer than the daemon takes for it.
const patience = 40 * time.Second

// halt stops the service. The library's way may wait for ever.
func halt() error {
	return withService(windows.SERVICE_QUERY_STATUS|windows.SERVICE_STOP, func(s *mgr.Service) error {
		status, err := s.Control(svc.Stop)
		for deadline := time.Now().Add(patience); ; {
			switch {
			case errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE), err == nil && status.State == svc.Stopped:
				return nil
			case err != nil:
				return fmt.Errorf("stop: %w", err)
			case time.Now().After(deadline):
				return fmt.Errorf("stop: it has not ended after %v", patience)
			}
			time.Sleep(100 * time.Millisecond)
			status, err = s.Query()
		}
	})
}

func (m controlManager) status() (status Status, err error) {
	err = withService(windows.SERVICE_QUERY_STATUS, func(s *mgr.Service) error {
		q, err := s.Query()
		if err != nil {
			return err
		}
		status = windowsStatus(q)
		return nil
	})
	return status, err
}

// installed asks the manager whom it starts the service as.
func (m controlManager) installed(Config) (i Installation, err error) {
	err = withService(windows.SERVICE_QUERY_CONFIG, func(s *mgr.Service) error {
		c, err := s.Config()
		i.Account = c.ServiceStartName
		return err
	})
	return i, err
}

func windowsStatus(q svc.Status) Status {
	s := Status{PID: int(q.ProcessId)}
	switch q.State {
	case svc.Running, svc.Paused, svc.PausePending, svc.ContinuePending:
		s.State = Running
	case svc.StartPending:
		s.State = Starting
	case svc.StopPending:
		s.State = Stopping
	default:
		s.State = Stopped
		if code := q.Win32ExitCode; code != 0 && code != uint32(windows.ERROR_SERVICE_NEVER_STARTED) {
			// The manager does not say when, and whether, it will: the recovery
			// that is set at installation does so within a minute.
			s.State, s.Reason = Restarting, fmt.Sprintf("it ended with error %d", code)
			if code == uint32(windows.ERROR_PROCESS_ABORTED) {
				s.Reason = "its process was ended"
			}
		}
	}
	return s
}

// withService opens the service, with no more rights than needed.
func withService(rights uint32, f func(*mgr.Service) error) error {
	h, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return err
	}
	defer windows.CloseServiceHandle(h)
	name, err := windows.UTF16PtrFromString(Name)
	if err != nil {
		return err
	}
	s, err := windows.OpenService(h, name, rights)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		return ErrNotInstalled
	}
	if err != nil {
		return err
	}
	defer windows.CloseServiceHandle(s)
	return f(&mgr.Service{Name: Name, Handle: s})
}

// Managed reports whether the service manager started this process, and waits to
// be talked to.
func Managed() bool { return managed() }

func run(ctx context.Context, work func(context.Context) error, status func(error) int) error {
	if !managed() {
		return work(ctx)
	}
	h := &handler{ctx: ctx, work: work, status: status}
	if err := svc.Run(Name, h); err != nil {
		return err
	}
	return h.err
}

// A handler is the work as the service manager wants it.
type handler struct {
	ctx    context.Context
	work   func(context.Context) error
	status func(error) int
	err    error // what work returned
}

// usage is the exit status of a mistake in the configuration, which another start
// does not mend.
const usage = 2

// Execute implements [svc.Handler]. Work that ends by itself is a failure, after
// which the manager starts the service again; a mistake in the configuration is
// reported as an orderly end, so that it does not.
func (h *handler) Execute(_ []string, requests <-chan svc.ChangeRequest, changes chan<- svc.Status) (bool, uint32) {
	changes <- svc.Status{State: svc.StartPending}
	ctx, stop := context.WithCancel(h.ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- h.work(ctx) }()
	const accepts = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown
	changes <- svc.Status{State: svc.Running, Accepts: accepts}
	// While it stops the manager is told that it does: for so long it waits.
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	stopping := svc.Status{State: svc.StopPending, WaitHint: 5000}
	for {
		select {
		case h.err = <-ended:
			switch status := h.status(h.err); {
			case h.err == nil, ctx.Err() != nil, status == usage:
				return false, 0
			default:
				return true, uint32(status)
			}
		case r := <-requests:
			switch r.Cmd {
			case svc.Interrogate:
				changes <- r.CurrentStatus
			case svc.Stop, svc.Shutdown, svc.PreShutdown:
				stop()
				changes <- stopping
			}
		case <-ticks.C:
			if ctx.Err() != nil {
				stopping.CheckPoint++
				changes <- stopping
			}
		}
	}
}

// LogFile is where the service logs to if the configuration names no file.
func LogFile() string {
	dir := os.Getenv("ProgramData")
	if dir == "" {
		dir = `C:\ProgramData`
	}
	return dir + `\scandrop\scandrop.log`
}
