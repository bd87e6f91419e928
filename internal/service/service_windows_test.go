package service

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
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

// A folder on a drive that the user has mapped is refused, with what it is called for
// a service; nothing is installed.
func TestMappedDrive(t *testing.T) {
	k, _, err := registry.CreateKey(registry.CURRENT_USER, `Network\Q`, registry.SET_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	t.Cleanup(func() { _ = registry.DeleteKey(registry.CURRENT_USER, `Network\Q`) })
	if err := k.SetStringValue("RemotePath", `\\nas\office`); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		`Q:\Scans\in`: `\\nas\office\Scans\in`, `q:\`: `\\nas\office\`,
		`C:\Scans`: "", `\\nas\office\Scans`: "", `R:\Scans`: "",
	} {
		if got := unmapped(folder); got != want {
			t.Errorf("%s is %q for everybody, want %q", folder, got, want)
		}
	}
	_, before := (Config{File: `C:\config.yaml`}).Status()
	_, err = Config{Program: `C:\scandrop.exe`, File: `C:\config.yaml`, Folders: []string{`C:\Scans`, `Q:\Scans`}}.Install()
	mapped := &MappedError{}
	if !errors.As(err, &mapped) || mapped.Folder != `Q:\Scans` || !strings.Contains(mapped.Hint(), `'\\nas\office\Scans'`) {
		t.Errorf("Install: %v", err)
	}
	if _, after := (Config{File: `C:\config.yaml`}).Status(); errors.Is(before, ErrNotInstalled) != errors.Is(after, ErrNotInstalled) {
		t.Errorf("status before: %v, and after: %v", before, after)
	}
}

// The access list of what only the service is to read names nobody else.
func TestClosed(t *testing.T) {
	account, err := windows.CreateWellKnownSid(windows.WinLocalServiceSid)
	if err != nil {
		t.Fatal(err)
	}
	acl, err := closed(account, windows.GENERIC_READ)
	if err != nil {
		t.Fatal(err)
	}
	sd, err := windows.NewSecurityDescriptor()
	if err != nil {
		t.Fatal(err)
	}
	if err := sd.SetDACL(acl, true, false); err != nil {
		t.Fatal(err)
	}
	entries := strings.Split(strings.Trim(strings.TrimPrefix(sd.String(), "D:"), "()"), ")(")
	slices.Sort(entries)
	if want := []string{"A;OICI;GA;;;BA", "A;OICI;GA;;;SY", "A;OICI;GR;;;LS"}; !slices.Equal(entries, want) {
		t.Errorf("the access list is %q, want %q", entries, want)
	}
}

// What only the service is to read is taken from all others, who inherit leave to read
// it from the folder.
func TestRestrict(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	everyone, err := windows.CreateWellKnownSid(windows.WinWorldSid)
	if err != nil {
		t.Fatal(err)
	}
	account, err := windows.CreateWellKnownSid(windows.WinLocalServiceSid)
	if err != nil {
		t.Fatal(err)
	}
	list := func() string {
		sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			t.Fatal(err)
		}
		return sd.String()
	}
	const world = ";;;WD)"
	if err := allow(path, everyone, windows.GENERIC_READ); err != nil || !strings.Contains(list(), world) {
		t.Fatalf("everyone cannot be given leave: %v, %s", err, list())
	}
	if err := restrict(path, account, windows.GENERIC_READ); err != nil {
		t.Error(err)
	}
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		t.Skip("Wine has a file inherit all the same")
	}
	if strings.Contains(list(), world) {
		t.Errorf("everyone still has leave: %s", list())
	}
	if text, err := os.ReadFile(path); string(text) != "secret" || err != nil {
		t.Errorf("an administrator reads %q, %v", text, err)
	}
}

// Nothing is run as another account, and that is no silent success as who asks.
func TestAs(t *testing.T) {
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := As(self.Username, nil); other || err != nil {
		t.Errorf("as %s, who we are: %v, %v", self.Username, other, err)
	}
	for _, account := range []string{localService, "LocalSystem", `.\nobody of that name`} {
		if _, err := As(account, nil); err == nil {
			t.Errorf("as %s: no error", account)
		}
	}
}
