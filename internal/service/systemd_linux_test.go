package service

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A stand-in of systemctl, over a folder of its own.
func stand(t *testing.T, ctl func(args ...string) (string, error)) systemd {
	t.Helper()
	m := systemd{
		root: t.TempDir(), ctl: ctl,
		ensure: func(string) error { return nil },
		grant:  func(string, string) (bool, error) { return true, nil },
	}
	if err := os.MkdirAll(m.dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

var there = Config{
	Program: "/opt/my programs/scan$drop", File: `/etc/100% "odd"/config.yaml`, Token: "/etc/100%/token",
	Folders: []string{"/srv/scans", "/home/anna/in box:1", "/srv/50%"}, Log: "/var/log/scans/log",
}

func TestUnit(t *testing.T) {
	unit, more := unitFor(systemUnit, there), dropIn(there)
	const program, file = `"/opt/my programs/scan$$drop"`, `"/etc/100%% \"odd\"/config.yaml"`
	for _, want := range []string{
		"\nType=notify\n", "\nRestart=on-failure\n", "\nRestartSec=5\n", "\nRestartPreventExitStatus=2 243\n", "\nWatchdogSec=60\n",
		"\nWantedBy=multi-user.target\n", "\nAfter=network-online.target", "\nStateDirectory=scandrop\n", "\nUser=scandrop\n",
		"\nExecStart=" + program + " run --config " + file + "\n",
		"\nExecReload=" + program + " check --syntax --config " + file + "\n",
	} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %q", want)
		}
	}
	for _, want := range []string{
		"\nExecStart=\nExecStart=" + program + " run --config " + file + "\n",
		"\nLoadCredential=token:/etc/100%%/token\n",
		"\nReadWritePaths=\"-/srv/scans\"\n", "\nReadWritePaths=\"-/srv/50%%\"\n", "\nReadWritePaths=\"-/var/log/scans\"\n",
		"\nBindPaths=\"-/home/anna/in box\\\\:1\"\n",
	} {
		if !strings.Contains(more, want) {
			t.Errorf("the drop-in lacks %q:\n%s", want, more)
		}
	}
	user := unitFor(userUnit, there)
	for _, want := range []string{"\nWantedBy=default.target\n", "\nType=notify\n", "\nExecStart=" + program + " run --config " + file + "\n"} {
		if !strings.Contains(user, want) {
			t.Errorf("the user's unit lacks %q", want)
		}
	}
	if strings.Contains(dropIn(Config{Program: packagedProgram, File: packagedConfig}), "ExecStart") {
		t.Error("the drop-in of a package's program names it again")
	}
}

// systemd itself has nothing to say against them, and finds the hardening good.
func TestUnitVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := there
	c.Program = self
	dir := t.TempDir()
	for name, text := range map[string]string{unitName: unitFor(systemUnit, c), unitName + ".d/50-install.conf": dropIn(c)} {
		if err := write(filepath.Join(dir, name), text); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, unitName)
	if out, err := exec.Command(analyze, "verify", "--recursive-errors=no", "--man=no", path).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", "--no-pager", path).CombinedOutput(); err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}

func TestInstallRepairs(t *testing.T) {
	var asked []string
	m := stand(t, func(args ...string) (string, error) {
		asked = append(asked, strings.Join(args, " "))
		return "", nil
	})
	for range 2 {
		if err := os.WriteFile(m.unitFile(), nil, 0o644); err != nil { // half-done
			t.Fatal(err)
		}
		asked = nil
		notes, err := m.install(there)
		if err != nil {
			t.Fatal(err)
		}
		if len(notes) != len(there.Folders) {
			t.Errorf("notes %q, want one a folder", notes)
		}
		if text, err := os.ReadFile(m.unitFile()); err != nil || string(text) != unitFor(systemUnit, there) {
			t.Errorf("the unit is %q, %v", text, err)
		}
		if got := strings.Join(asked, ", "); got != "daemon-reload, enable scandrop.service" {
			t.Errorf("systemctl was asked: %s", got)
		}
	}
}

// Whatever systemctl refuses, what was there before stays.
func TestInstallFails(t *testing.T) {
	for _, refused := range []string{"daemon-reload", "enable"} {
		for _, before := range []string{"", "# Written by \"scandrop service install\"\n"} {
			m := stand(t, func(args ...string) (string, error) {
				if args[0] == refused {
					return "", errors.New("refused")
				}
				return "", nil
			})
			if err := write(m.unitFile(), before); err != nil {
				t.Fatal(err)
			}
			if _, err := m.install(there); err == nil {
				t.Errorf("%s is refused, and install succeeds", refused)
			}
			text, err := os.ReadFile(m.unitFile())
			if before == "" && !errors.Is(err, fs.ErrNotExist) || string(text) != before {
				t.Errorf("%s is refused: the unit is %q, %v", refused, text, err)
			}
			if _, err := os.Stat(filepath.Dir(m.dropInFile())); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is refused: the drop-in is left", refused)
			}
		}
	}
}

func TestInstallLeavesOthers(t *testing.T) {
	m := stand(t, func(...string) (string, error) { return "LoadState=loaded\n", nil })
	const theirs = "[Service]\nExecStart=/usr/local/bin/mine\n"
	if err := write(m.unitFile(), theirs); err != nil {
		t.Fatal(err)
	}
	if _, err := m.install(there); err == nil {
		t.Error("a unit of the administrator's own is installed over")
	}
	if err := m.uninstall(); err == nil {
		t.Error("a unit of the administrator's own is uninstalled")
	}
	if text, err := os.ReadFile(m.unitFile()); string(text) != theirs {
		t.Errorf("it is %q now, %v", text, err)
	}
}

// Where a package brought the unit only the drop-in is ours.
func TestInstallPackaged(t *testing.T) {
	m := stand(t, func(...string) (string, error) { return "LoadState=loaded\n", nil })
	if err := write(filepath.Join(m.root, "/usr/lib/systemd/system", unitName), systemUnit); err != nil {
		t.Fatal(err)
	}
	if err := write(m.unitFile(), systemUnit); err != nil { // a leftover, which would hide it
		t.Fatal(err)
	}
	if _, err := m.install(there); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(m.unitFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a unit hides the package's")
	}
	if _, err := os.Stat(m.dropInFile()); err != nil {
		t.Error(err)
	}
	if err := m.uninstall(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(m.dropInFile())); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the drop-in is left")
	}
}

func TestStatusOf(t *testing.T) {
	for _, c := range []struct{ shown, state, reason string }{
		{"LoadState=loaded\nActiveState=active\nStatusText=running\nMainPID=7", Running, ""},
		{"LoadState=loaded\nActiveState=active\nStatusText=held: token: refused", Held, "token: refused"},
		{"LoadState=loaded\nActiveState=reloading", Running, ""},
		{"LoadState=loaded\nActiveState=inactive\nStatusText=held: token: refused", Stopped, ""},
		{"LoadState=loaded\nActiveState=activating\nSubState=start", Starting, ""},
		{"LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=signal\nExecMainStatus=9\nStatusText=running", Restarting, "it was ended by signal 9"},
		{"LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nResult=exit-code\nExecMainStatus=1\nStatusText=failed: no room", Restarting, "it ended with status 1: no room"},
		{"LoadState=loaded\nActiveState=activating\nSubState=auto-restart-queued\nResult=watchdog\nExecMainStatus=6", Restarting, "it hung, and was ended by the watchdog"},
		{"LoadState=loaded\nActiveState=deactivating", Stopping, ""},
		{"LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=2\nStatusText=failed: folders: missing", Failed, "it ended with status 2: its configuration, or what that names, cannot be used: folders: missing"},
		{"LoadState=masked\nActiveState=inactive", Failed, "its unit is masked"},
	} {
		s, err := statusOf(c.shown)
		if err != nil || s.State != c.state || s.Reason != c.reason {
			t.Errorf("%q: %q, %q, %v; want %q, %q", c.shown, s.State, s.Reason, err, c.state, c.reason)
		}
	}
	if _, err := statusOf("LoadState=not-found\nActiveState=inactive"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("no such unit: %v", err)
	}
}

func TestExtendedACL(t *testing.T) {
	acl := []entry{{aclOwner, 7, aclNobody}, {aclOwningGroup, 5, aclNobody}, {aclOther, 0, aclNobody}}
	got := extended(acl, entry{aclUser, 7, 990})
	want := []entry{{aclOwner, 7, aclNobody}, {aclUser, 7, 990}, {aclOwningGroup, 5, aclNobody}, {aclMask, 7, aclNobody}, {aclOther, 0, aclNobody}}
	same := func(got, want []entry) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%v, want %v", got, want)
			}
		}
	}
	same(got, want)
	same(extended(got, entry{aclUser, 6, 990}), want) // no right is taken away
	same(parseACL(formatACL(want)), want)
}
