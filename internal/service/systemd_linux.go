package service

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// systemd is the service manager of most of Linux. The unit and its drop-in are
// written here, not by the library: that leaves half a unit behind where
// something fails, refuses to install over one, restarts after two minutes, and
// calls a service that crashes again and again running.
type systemd struct {
	user   bool
	root   string // before every path; "" but for tests
	home   string // the folder with the user's units
	ctl    func(args ...string) (string, error)
	ensure func(account string) error // makes the service's own account
	grant  func(folder, account string) (done bool, err error)
}

func newSystemd(ofUser bool) systemd {
	m := systemd{user: ofUser, ensure: ensureAccount, grant: grant}
	m.ctl = func(args ...string) (string, error) { return systemctl(ofUser, args...) }
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		m.home = dir
	} else if home, err := os.UserHomeDir(); err == nil {
		m.home = filepath.Join(home, ".config")
	}
	return m
}

const unitName = Name + ".service"

// The program and the configuration that the unit of the packages names.
const (
	packagedProgram = "/usr/bin/scandrop"
	packagedConfig  = "/etc/scandrop/config.yaml"
)

func (m systemd) dir() string {
	if m.user {
		return filepath.Join(m.home, "systemd", "user")
	}
	return filepath.Join(m.root, "/etc/systemd/system")
}

func (m systemd) unitFile() string { return filepath.Join(m.dir(), unitName) }

// dropInFile is read after the unit, and before what an administrator may have
// put beside it ("systemctl edit" writes override.conf).
func (m systemd) dropInFile() string { return filepath.Join(m.dir(), unitName+".d", "50-install.conf") }

// packaged reports whether a package brought the unit.
func (m systemd) packaged() bool {
	for _, dir := range []string{"/usr/lib/systemd/system", "/lib/systemd/system"} {
		if _, err := os.Stat(filepath.Join(m.root, dir, unitName)); err == nil {
			return !m.user
		}
	}
	return false
}

// ours reports whether we wrote the file: an administrator's own is not touched.
func ours(text []byte) bool {
	return len(bytes.TrimSpace(text)) == 0 || bytes.Contains(text, []byte(`"scandrop service install`))
}

func (m systemd) install(c Config) (notes []string, err error) {
	if !m.user && os.Geteuid() != 0 && m.root == "" {
		return nil, fmt.Errorf("install: %w", fs.ErrPermission)
	}
	account := c.Account
	if account == "" && !m.user {
		account = Name
		if err := m.ensure(account); err != nil {
			return nil, fmt.Errorf("the account %s, which the service is to run as, could not be made: %w", account, err)
		}
	}
	files := map[string]string{m.unitFile(): unitFor(systemUnit, c), m.dropInFile(): dropIn(c)}
	switch {
	case m.user:
		files = map[string]string{m.unitFile(): unitFor(userUnit, c), m.dropInFile(): ""}
	case m.packaged():
		files[m.unitFile()] = "" // a leftover of an installation without a package would hide the package's
	}
	for path := range files {
		if old, err := os.ReadFile(path); err == nil && !ours(old) {
			return nil, fmt.Errorf("%s is not ours: move it away first", path)
		}
	}
	undo, err := replace(files)
	if err == nil {
		_, err = m.ctl("daemon-reload")
	}
	if err == nil {
		_, err = m.ctl("enable", unitName)
	}
	if err != nil {
		undo()
		_, _ = m.ctl("daemon-reload")
		return nil, fmt.Errorf("install: %w", err)
	}
	if m.user {
		return m.linger(), nil
	}
	for _, folder := range c.Folders {
		switch done, err := m.grant(folder, account); {
		case errors.Is(err, fs.ErrNotExist): // check says so, and it may be mounted later
		case err != nil:
			notes = append(notes, fmt.Sprintf("%s could not be given leave to use %s (%v): see that it may read and write there", account, folder, err))
		case done:
			notes = append(notes, fmt.Sprintf("%s was given leave to read and write in %s, by its access list", account, folder))
		}
	}
	return notes, nil
}

// linger lets the user's services run without the user: from the machine's
// start, and after the last session has ended.
func (m systemd) linger() []string {
	if err := exec.Command("loginctl", "enable-linger").Run(); err != nil {
		return []string{`it runs while you are logged in; "sudo loginctl enable-linger ` + currentUser() + `" has it run always`}
	}
	return nil
}

func currentUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "$USER"
}

// replace writes the files, "" removing one, and returns how to take that back.
// If it fails it has taken it back.
func replace(files map[string]string) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, f := range slices.Backward(undos) {
			f()
		}
	}
	for path, text := range files {
		old, err := os.ReadFile(path)
		switch {
		case err == nil:
			undos = append(undos, func() { _ = write(path, string(old)) })
		case errors.Is(err, fs.ErrNotExist):
			undos = append(undos, func() { _ = write(path, "") })
		default:
			undo()
			return nil, err
		}
		if err := write(path, text); err != nil {
			undo()
			return nil, err
		}
	}
	return undo, nil
}

// write puts a whole file in its place, or removes it, with the folder of
// drop-ins if nothing else lies there.
func write(path, text string) error {
	if text == "" {
		err := os.Remove(path)
		if strings.HasSuffix(filepath.Dir(path), ".d") {
			_ = os.Remove(filepath.Dir(path))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := path + ".new"
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// unitFor is the unit with the program and the configuration that are meant.
func unitFor(text string, c Config) string {
	return strings.NewReplacer("="+packagedProgram+" ", "="+quote(c.Program)+" ", " "+packagedConfig+"\n", " "+quote(c.File)+"\n").Replace(text)
}

// dropIn is what the unit of the packages cannot know.
func dropIn(c Config) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`# Written by "scandrop service install" for %s. Installing again writes it anew, so`, strings.Map(printable, c.File))
	line("# keep your own settings apart: systemctl edit %s", unitName)
	line("[Service]")
	if c.Program != packagedProgram || c.File != packagedConfig {
		line("ExecStart=")
		line("ExecStart=%s run --config %s", quote(c.Program), quote(c.File))
		line("ExecReload=")
		line("ExecReload=%s check --syntax --config %s", quote(c.Program), quote(c.File))
		line("ExecReload=/bin/kill -HUP $MAINPID")
	}
	if c.Account != "" {
		line("User=%s", specifiers(c.Account))
	}
	if c.Token != "" {
		line("# The token is copied when the service starts: a new one there needs a restart, one in api.token_file does not.")
		line("%s", credentialLine(c))
	}
	line("# What the hardening would otherwise hide or keep from being written. A folder that is missing now is no reason not to start.")
	for _, l := range leaves(c) {
		line("%s", l.line)
	}
	return b.String()
}

// A leave is a line of the drop-in that lets the service use a path.
type leave struct{ path, line string }

// leaves are those that a service needs for its program, its configuration and its
// folders.
func leaves(c Config) (all []leave) {
	for _, path := range []string{c.Program, filepath.Dir(c.File)} {
		if hidden(path) {
			all = append(all, leave{path, "BindReadOnlyPaths=" + bindPath(path)})
		}
	}
	writable := slices.Clone(c.Folders)
	if c.Log != "" {
		writable = append(writable, filepath.Dir(c.Log))
	}
	for _, folder := range writable {
		if hidden(folder) {
			all = append(all, leave{folder, "BindPaths=" + bindPath(folder)})
		} else {
			all = append(all, leave{folder, "ReadWritePaths=" + quote("-"+folder)})
		}
	}
	return all
}

// installed compares what the drop-in says with what it should. A unit that a
// package brought and nobody installed yet is not installed.
func (m systemd) installed(c Config) (i Installation, err error) {
	out, err := m.ctl("show", unitName, "--property=LoadState,UnitFileState,ActiveState,User,ExecStart")
	if err != nil {
		return i, err
	}
	p := properties(out)
	text, err := os.ReadFile(m.dropInFile())
	used := err == nil || strings.HasPrefix(p["UnitFileState"], "enabled") || p["ActiveState"] == "active"
	if p["LoadState"] != "loaded" || !used || !strings.Contains(p["ExecStart"], " --config "+c.File+" ;") {
		return i, ErrNotInstalled
	}
	if m.user {
		return i, nil
	}
	if i.Account = p["User"]; i.Account == "" {
		i.Account = "root"
	}
	if m.unknown() || err == nil && !ours(text) {
		return i, nil // an administrator's own, who knows
	}
	lines := strings.Split(string(text), "\n")
	c.Program = "" // that is running, or is not
	if c.Token != "" && !slices.Contains(lines, credentialLine(c)) {
		i.Lacks = append(i.Lacks, c.Token)
	}
	bound := map[string]bool{}
	for _, l := range leaves(c) {
		switch {
		case !slices.Contains(lines, l.line):
			i.Lacks = append(i.Lacks, l.path)
		case hidden(l.path):
			bound[l.path] = true
		}
	}
	i.Bound = func(path string) bool {
		for ; path != filepath.Dir(path); path = filepath.Dir(path) {
			if bound[path] {
				return true
			}
		}
		return false
	}
	return i, nil
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// hidden reports whether ProtectHome=tmpfs or PrivateTmp=yes puts an empty
// folder in the place of one that the path lies in.
func hidden(path string) bool {
	for _, dir := range []string{"/home", "/root", "/run/user", "/tmp", "/var/tmp"} {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// quote writes a word of a unit so that it is taken as it is.
func quote(word string) string {
	word = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "%", "%%", "$", "$$").Replace(word)
	return `"` + word + `"`
}

// bindPath is a path for BindPaths: a colon would begin the second half, and a $
// has no meaning there.
func bindPath(path string) string {
	path = strings.ReplaceAll(quote("-"+path), "$$", "$")
	return strings.ReplaceAll(path, ":", `\\:`)
}

func credentialLine(c Config) string { return "LoadCredential=token:" + specifiers(c.Token) }

func specifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

func (m systemd) uninstall() error {
	if _, err := m.status(); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	if m.unknown() {
		return fmt.Errorf("uninstall: %s is not ours: remove it yourself", m.unitFile())
	}
	if _, err := m.ctl("disable", "--now", unitName); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	if _, err := replace(map[string]string{m.unitFile(): "", m.dropInFile(): ""}); err != nil {
		return fmt.Errorf("uninstall: %w", err)
	}
	_, err := m.ctl("daemon-reload")
	_, _ = m.ctl("reset-failed", unitName) // fails where it has not failed
	return err
}

// unknown reports whether the unit is an administrator's own.
func (m systemd) unknown() bool {
	text, err := os.ReadFile(m.unitFile())
	return err == nil && !ours(text)
}

func (m systemd) start() error {
	if _, err := m.status(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	_, _ = m.ctl("reset-failed", unitName)
	if _, err := m.ctl("start", unitName); err != nil {
		if s, e := m.status(); e == nil && s.Reason != "" {
			return fmt.Errorf("start: it is %s: %s", s.State, s.Reason)
		}
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

func (m systemd) stop() error {
	if _, err := m.status(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if _, err := m.ctl("stop", unitName); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	_, _ = m.ctl("reset-failed", unitName)
	return nil
}

func (m systemd) logs() string {
	if m.user {
		return "journalctl --user -u " + Name
	}
	return "journalctl -u " + Name
}

func (m systemd) status() (Status, error) {
	out, err := m.ctl("show", unitName, "--property=LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts,MainPID,StatusText")
	if err != nil {
		return Status{}, err
	}
	return statusOf(out)
}

// properties are what "systemctl show" prints.
func properties(shown string) map[string]string {
	p := map[string]string{}
	for line := range strings.Lines(shown) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		p[key] = value
	}
	return p
}

// statusOf reads what "systemctl show" says of a unit.
func statusOf(shown string) (Status, error) {
	p := properties(shown)
	if p["LoadState"] == "not-found" || p["LoadState"] == "" {
		return Status{}, ErrNotInstalled
	}
	number := func(key string) int {
		n, _ := strconv.Atoi(p[key]) // what is not there is 0
		return n
	}
	s := Status{PID: number("MainPID"), Restarts: number("NRestarts")}
	if p["LoadState"] != "loaded" {
		s.State, s.Reason = Failed, "its unit is "+p["LoadState"]
		return s, nil
	}
	switch p["ActiveState"] {
	case "active", "reloading", "refreshing":
		s.State = Running
		if what, held := strings.CutPrefix(p["StatusText"], Held+": "); held {
			s.State, s.Reason = Held, what
		}
	case "activating":
		s.State = Starting
		if strings.HasPrefix(p["SubState"], "auto-restart") {
			s.State, s.Reason = Restarting, failure(p)
		}
	case "deactivating":
		s.State = Stopping
	case "failed":
		s.State, s.Reason = Failed, failure(p)
	default:
		s.State = Stopped
	}
	return s, nil
}

// failure says why a service has failed.
func failure(p map[string]string) string {
	var reason string
	switch p["Result"] {
	case "exit-code":
		reason = "it ended with status " + p["ExecMainStatus"]
		switch p["ExecMainStatus"] {
		case "2":
			reason += ": its configuration, or what that names, cannot be used"
		case "243":
			reason += ": the file with the token is missing"
		}
	case "signal", "core-dump":
		reason = "it was ended by signal " + p["ExecMainStatus"]
	case "watchdog":
		reason = "it hung, and was ended by the watchdog"
	case "timeout":
		reason = "it took too long to start or stop"
	case "oom-kill":
		reason = "the machine ran out of memory"
	default:
		reason = "systemd says " + p["Result"]
	}
	if told, ok := strings.CutPrefix(p["StatusText"], Failed+": "); ok {
		reason += ": " + told
	}
	return reason
}

// systemctl asks the manager.
func systemctl(ofUser bool, args ...string) (string, error) {
	if ofUser {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.Command("systemctl", append(args, "--no-pager")...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	if ofUser && os.Getenv("XDG_RUNTIME_DIR") == "" { // as in a shell of su
		cmd.Env = append(cmd.Env, fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	}
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}

// ensureAccount makes the service's own account, if there is none.
func ensureAccount(name string) error {
	if _, err := user.Lookup(name); err == nil {
		return nil
	}
	cmd := exec.Command("systemd-sysusers", "-")
	cmd.Stdin = strings.NewReader(sysusers)
	if out, err := cmd.CombinedOutput(); err != nil {
		cmd := exec.Command("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/var/lib/scandrop", "--shell", "/usr/sbin/nologin", name)
		if more, e := cmd.CombinedOutput(); e != nil {
			return fmt.Errorf("%w: %s%s", errors.Join(err, e), out, more)
		}
	}
	return nil
}
