package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
)

func TestRefine(t *testing.T) {
	for _, tt := range []struct {
		err   error
		notes int
		fails bool
	}{
		{nil, 0, false},
		{windows.ERROR_INVALID_LEVEL, 1, false},
		{windows.ERROR_CALL_NOT_IMPLEMENTED, 1, false},
		{windows.ERROR_NOT_SUPPORTED, 1, false},
		{windows.RPC_S_INVALID_TAG, 1, false},
		{windows.ERROR_ACCESS_DENIED, 0, true},
		{windows.ERROR_INVALID_PARAMETER, 0, true},
		{windows.ERROR_SERVICE_MARKED_FOR_DELETE, 0, true},
	} {
		more := 0
		notes, err := refine([]refinement{
			{"do this", "it does that", func() error { return tt.err }},
			{"do more", "it does less", func() error { more++; return nil }},
		})
		if len(notes) != tt.notes || (err != nil) != tt.fails || tt.fails && !errors.Is(err, tt.err) || more == 0 && !tt.fails {
			t.Errorf("%v: notes %q, error %v, %d others made", tt.err, notes, err, more)
		}
		for _, note := range notes {
			if !strings.Contains(note, "do this") || !strings.Contains(note, "it does that") {
				t.Errorf("%v: the note does not say what is so instead: %s", tt.err, note)
			}
		}
	}
}

func TestWindowsStatus(t *testing.T) {
	for _, tt := range []struct {
		state svc.State
		code  uint32
		want  string
	}{
		{svc.Running, 0, Running},
		{svc.StartPending, 0, Starting},
		{svc.StopPending, 0, Stopping},
		{svc.Stopped, 0, Stopped},
		{svc.Stopped, uint32(windows.ERROR_SERVICE_NEVER_STARTED), Stopped},
		{svc.Stopped, uint32(windows.ERROR_PROCESS_ABORTED), Restarting},
		{svc.Stopped, 1, Restarting},
	} {
		got := windowsStatus(svc.Status{State: tt.state, Win32ExitCode: tt.code, ProcessId: 7})
		if got.State != tt.want || got.PID != 7 || (got.Reason != "") != (tt.want == Restarting) {
			t.Errorf("state %d, exit code %d: %+v, want %s", tt.state, tt.code, got, tt.want)
		}
	}
}

// executed runs a handler over work as the service manager does, which sends
// request first, unless it is 0. It returns what the manager was told last, and how
// often it was told while the work ended.
func executed(t *testing.T, work func(context.Context) error, request svc.Cmd) (failed bool, code uint32, told []svc.Status) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{ctx: t.Context(), work: work, status: func(err error) int {
			if err == nil {
				return 0
			} else if err.Error() == "a mistake" {
				return usage
			}
			return 1
		}}
		requests, changes := make(chan svc.ChangeRequest, 1), make(chan svc.Status)
		if request != 0 {
			requests <- svc.ChangeRequest{Cmd: request}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			failed, code = h.Execute(nil, requests, changes)
		}()
		for {
			select {
			case c := <-changes:
				told = append(told, c)
				continue
			case <-done:
			}
			break
		}
	})
	return failed, code, told
}

// Work that fails is a failure that the manager sees, and restarts; a mistake in the
// configuration is none.
func TestExecuteEnds(t *testing.T) {
	for text, want := range map[string]uint32{"": 0, "its work died": 1, "a mistake": 0} {
		failed, code, told := executed(t, func(context.Context) error {
			if text == "" {
				return nil
			}
			return errors.New(text)
		}, 0)
		if code != want || failed != (want != 0) {
			t.Errorf("work ends with %q: the manager hears %v, %d; want %d", text, failed, code, want)
		}
		const all = svc.AcceptStop | svc.AcceptShutdown | svc.AcceptPreShutdown
		if len(told) < 2 || told[1].State != svc.Running || told[1].Accepts&all != all {
			t.Errorf("the manager heard %v", told)
		}
	}
}

// Told to stop, for whatever reason, it stops its work, and says every second that it
// does so for as long as that takes.
func TestExecuteStops(t *testing.T) {
	for _, request := range []svc.Cmd{svc.Stop, svc.Shutdown, svc.PreShutdown} {
		failed, code, told := executed(t, func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(10 * time.Second) // what is on the wire; no time passes, it is a bubble
			return errors.New("cut off")
		}, request)
		if failed || code != 0 {
			t.Errorf("request %d: the manager hears %v, %d", request, failed, code)
		}
		stopping := slices.DeleteFunc(told, func(s svc.Status) bool { return s.State != svc.StopPending })
		if len(stopping) < 9 || stopping[0].WaitHint < 2000 {
			t.Fatalf("request %d: told %v", request, stopping)
		}
		for i, s := range stopping[1:] {
			if s.CheckPoint <= stopping[i].CheckPoint {
				t.Errorf("request %d: no progress is told: %v", request, stopping)
			}
		}
	}
}
