package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"scandrop/internal/config"
	"scandrop/internal/daemon"
	"scandrop/internal/hwocr"
	"scandrop/internal/service"
)

// answers are what init has to know.
type answers struct {
	folder, action, extractor, url, tokenFile string
	formats                                   []string
	force, service, user                      bool
}

func (a *app) init() *cobra.Command {
	var w answers
	c := &cobra.Command{
		Use:   "init",
		Short: "Ask a few questions and write a configuration",
		Long: `Ask for the hot folder, what to do with its scans, and the API token; try the
token; write the configuration, with the token in a file of its own beside it;
and offer to install the service.

What is given by a flag is not asked for. Without a terminal nothing is: then
--folder must be given, and the token comes from --token-file ("-" is standard
input) or the environment variable SCANDROP_TOKEN.`,
		Example: "  scandrop init\n  scandrop init --folder /srv/scans --formats txt,docx --token-file - < token",
		Args:    none,
		RunE:    func(c *cobra.Command, _ []string) error { return a.setUp(c.Context(), w) },
	}
	f := c.Flags()
	f.StringVar(&w.folder, "folder", "", "the hot `FOLDER`; it is made if there is none")
	f.StringVar(&w.action, "action", "", "transcribe, tables or extractor (default transcribe)")
	f.StringSliceVar(&w.formats, "formats", nil, "the results to collect: txt, docx, json; xlsx, json for tables; xlsx, csv, json for extractor")
	f.StringVar(&w.extractor, "extractor-id", "", "which extractor, for --action extractor")
	f.StringVar(&w.tokenFile, "token-file", "", "`FILE` with the token, - for standard input")
	f.StringVar(&w.url, "url", "", "the service's address, if it is not the usual one")
	f.BoolVar(&w.force, "force", false, "replace a configuration that is there")
	f.BoolVar(&w.service, "service", false, "install the service and start it")
	f.BoolVar(&w.user, "user", false, "a configuration, and a service, of this user alone")
	return c
}

// setUp is init with its flags.
func (a *app) setUp(ctx context.Context, w answers) error {
	s, err := a.serviceConfig(w.user || !config.Process().Machine)
	if err != nil {
		return err
	}
	old, err := os.Stat(s.File)
	if err == nil && !w.force && !untouched(s.File) {
		return usage("edit it, name another one with --config, or replace it with --force", "there is a configuration already: %s", s.File)
	}
	ask := a.questions()
	if ask == nil && w.folder == "" {
		return usage("--folder FOLDER, and the token by --token-file or SCANDROP_TOKEN", "without a terminal the folder must be given")
	}
	if err := w.complete(ask); err != nil {
		return err
	}
	if w.folder, err = filepath.Abs(w.folder); err != nil {
		return err
	}
	if isFile(w.folder) {
		return usage("name a folder with --folder; it is made if there is none", "%s is a file, not a folder", w.folder)
	}
	text := w.yaml(standInState(s.File))
	conf, err := config.Parse(s.File, []byte(text), config.Process())
	if err != nil {
		return byFlags(err)
	}
	token, err := a.token(ctx, ask, w, s.File, text)
	if err != nil {
		return err
	}

	if err := os.MkdirAll(conf.Folders[0].Path, 0o777); err != nil {
		return &statusError{ExitFailed, err, "name a folder that can be made with --folder, or make it yourself"}
	}
	if err := os.MkdirAll(filepath.Dir(s.File), 0o755); err != nil {
		return &statusError{ExitFailed, err, "name a place that you may write with --config, or try it as an administrator"}
	}
	beside := filepath.Join(filepath.Dir(s.File), "token")
	if !token.IsZero() {
		if err := errors.Join(replaceFile(beside, token.Reveal()+"\n", 0o600, nil), service.Guard(beside)); err != nil {
			return err
		}
	}
	if err := replaceFile(s.File, text, 0o644, old); err != nil {
		return err
	}
	fmt.Fprintf(a.Err, "scandrop: written: %s\n", clean(s.File))
	if !token.IsZero() {
		fmt.Fprintf(a.Err, "scandrop: the token lies in %s, which only you can read\n", clean(beside))
	}
	// Before the service may be started: what lies there would be paid for. What
	// cannot be looked at now, check and run tell.
	backlogs, _ := daemon.Backlogs(ctx, conf, pagesTool(), backlogTime)
	for _, b := range backlogs {
		fmt.Fprintf(a.Err, "scandrop: %s\n", clean(b.String()))
	}
	if ask != nil && !w.service {
		w.service = ask.yes("Install the service, which starts with the system, and start it now?")
	}
	if w.service {
		if err := a.installService(s); err != nil {
			return err
		}
		if err := s.Start(); err != nil {
			return a.explainManager(s, err)
		}
		fmt.Fprintf(a.Err, "scandrop: started; put a scan into %s\n", clean(conf.Folders[0].Path))
		return nil
	}
	flag, own := "", ""
	if s.File != config.DefaultPath(config.Process()) {
		flag = fmt.Sprintf(" --config %q", s.File)
	}
	if w.user {
		own = " --user"
	}
	fmt.Fprintf(a.Err, "next: scandrop check%[1]s, then scandrop run%[1]s, or scandrop service install%[1]s%[2]s\n", flag, own)
	return nil
}

// The flags by which init is told what these keys of a configuration say.
var flags = map[string]string{
	"folders[0].path": "--folder", "folders[0].action": "--action", "folders[0].extractor_id": "--extractor-id",
	"folders[0].formats": "--formats", "api.url": "--url",
}

// byFlags tells the mistakes of a configuration that is not written yet by the flags
// that made them, not by lines of a file that is not there.
func byFlags(err error) error {
	mistakes, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err
	}
	told := slices.Clone(mistakes)
	for i, p := range told {
		told[i].File, told[i].Line, told[i].Key = "", 0, cmp.Or(flags[p.Key], p.Key)
	}
	return told
}

// isFile reports whether what lies at the path is no folder.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// mistake says what is wrong with the answer that the key of the configuration has, and
// the way out; "" if nothing is.
func (w *answers) mistake(key string) string {
	if key == "folders[0].path" && isFile(w.folder) {
		return w.folder + " is a file, not a folder"
	}
	_, err := config.Parse("", []byte(w.yaml("state")), config.Process())
	mistakes, _ := errors.AsType[config.Errors](err)
	for _, p := range mistakes {
		if p.Key == key {
			p.Line, p.Key = 0, ""
			return p.Error()
		}
	}
	return ""
}

// ask asks for the answer that the key has, until it is one that can be meant.
func (w *answers) ask(q *questions, key, question, usual string, take func(string)) error {
	for {
		text, err := q.text(question, usual)
		if err != nil {
			return err
		}
		take(text)
		wrong := w.mistake(key)
		if wrong == "" {
			return nil
		}
		fmt.Fprintf(q.out, "scandrop: %s\n", clean(wrong))
	}
}

// complete asks for what no flag has given.
func (w *answers) complete(ask *questions) error {
	if ask != nil {
		var err error
		if w.folder == "" {
			err = w.ask(ask, "folders[0].path", "Which folder do the scans go to?", defaultFolder(w.user), func(s string) { w.folder = s })
		}
		if w.action == "" && err == nil {
			err = w.ask(ask, "folders[0].action", "What is to become of them: transcribe, tables or extractor?", "transcribe", func(s string) { w.action = s })
		}
		if w.action == "extractor" && w.extractor == "" && err == nil {
			err = w.ask(ask, "folders[0].extractor_id", "Which extractor (its id)?", "", func(s string) { w.extractor = s })
		}
		if len(w.formats) == 0 && err == nil {
			usual := "txt"
			if w.action != "transcribe" {
				usual = "xlsx"
			}
			err = w.ask(ask, "folders[0].formats", "Which results, such as txt,docx?", usual, func(s string) {
				w.formats = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
			})
		}
		if err != nil {
			return err
		}
	}
	if w.action == "" {
		w.action = "transcribe"
	}
	return nil
}

func defaultFolder(user bool) string {
	home, err := os.UserHomeDir()
	if err != nil || !user && config.Process().Machine {
		return machineFolder
	}
	return filepath.Join(home, "Scans")
}

// standInState is where the configuration file has what a stand-in has read: beside
// it, or, as the machine's service may not write there, below its own state.
func standInState(file string) string {
	env := config.Process()
	if env.Machine = true; file == config.DefaultPath(env) {
		return filepath.Join(config.MachineState(env), "stand-in")
	}
	return "state"
}

// yaml is the configuration that was asked for; standIn is the state folder where it
// names a stand-in.
func (w *answers) yaml(standIn string) string {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var b strings.Builder
	b.WriteString("# Written by \"scandrop init\". Every other key, and its default: config.example.yaml.\n")
	if w.url != "" {
		fmt.Fprintf(&b, "api:\n  url: %s\n", quoted(w.url))
	}
	if strings.HasPrefix(w.url, "http:") { // of this machine, as only there plain http is taken
		fmt.Fprintf(&b, "# A stand-in of the service: what it has read is not done for the service itself, so it is remembered apart.\nstate: %s\n", quoted(standIn))
		if !filepath.IsAbs(standIn) {
			b.WriteString("# Any free port for its page, as an installed scandrop has the usual one: \"scandrop open\" finds it.\nstatus:\n  listen: '127.0.0.1:0'\n")
		}
	}
	fmt.Fprintf(&b, "folders:\n  - path: %s\n    action: %s\n", quoted(w.folder), quoted(w.action))
	if w.extractor != "" {
		fmt.Fprintf(&b, "    extractor_id: %s\n", quoted(w.extractor))
	}
	if len(w.formats) > 0 {
		formats := make([]string, len(w.formats))
		for i, f := range w.formats {
			formats[i] = quoted(f)
		}
		fmt.Fprintf(&b, "    formats: [%s]\n", strings.Join(formats, ", "))
	}
	return b.String()
}

// token asks for the token until the service takes it. It is empty if it comes
// from the environment, or from a file that is there already.
func (a *app) token(ctx context.Context, ask *questions, w answers, path, text string) (config.Secret, error) {
	for {
		token, err := a.readToken(ask, w, path)
		if err != nil {
			return token, err
		}
		env := config.Process()
		if !token.IsZero() {
			getenv := env.Getenv
			env.Getenv = func(name string) string {
				if name == "SCANDROP_TOKEN" {
					return token.Reveal()
				}
				return getenv(name)
			}
		}
		conf, err := config.Parse(path, []byte(text), env)
		if err == nil {
			err = conf.CheckToken()
		}
		if err == nil {
			err = a.checkService(ctx, conf)
		}
		var refused *hwocr.Error
		switch {
		case err == nil:
			fmt.Fprintln(a.Err, "scandrop: the service takes the token")
			return token, nil
		case errors.As(err, &refused) && refused.Status == 401, errors.As(err, new(config.Problem)):
			if ask == nil || w.tokenFile != "" {
				return token, &statusError{ExitUsage, plainly(err), "copy the token again from the dashboard of your account; nothing was written"}
			}
			fmt.Fprintf(a.Err, "scandrop: %s; copy it again from the dashboard of your account\n", clean(plainly(err).Error()))
		default: // a token that cannot be tried now may be fine
			fmt.Fprintf(a.Err, "scandrop: warning: the token could not be tried: %s\n", clean(err.Error()))
			return token, nil
		}
	}
}

// plainly says in plain words that the service refuses the token.
func plainly(err error) error {
	if refused, ok := errors.AsType[*hwocr.Error](err); ok && refused.Status == 401 {
		return errors.New("the service refuses this token")
	}
	return err
}

func (a *app) readToken(ask *questions, w answers, path string) (config.Secret, error) {
	trimmed := func(text []byte, err error) (config.Secret, error) {
		return config.NewSecret(strings.TrimSpace(string(text))), err
	}
	switch {
	case w.tokenFile == "-":
		return trimmed(io.ReadAll(io.LimitReader(a.In, 1<<16)))
	case w.tokenFile != "":
		text, err := os.ReadFile(w.tokenFile)
		if err != nil {
			err = &statusError{ExitUsage, err, "name a file that you may read"}
		}
		return trimmed(text, err)
	case strings.TrimSpace(os.Getenv("SCANDROP_TOKEN")) != "":
		return config.Secret{}, nil
	case ask != nil:
		return trimmed(ask.secret("The API token, from the dashboard of your account (it is not shown):"))
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "token")); err == nil {
		return config.Secret{}, nil
	}
	return config.Secret{}, usage("--token-file FILE, or the environment variable SCANDROP_TOKEN", "without a terminal the token must be given")
}

// untouched reports whether a package brought the file, and nobody has changed it.
func untouched(path string) bool {
	text, err := os.ReadFile(path)
	return err == nil && config.Packaged(text)
}

// replaceFile writes a whole file in its place, with the mode and the owner of the old
// one, if there is one.
func replaceFile(path, text string, mode fs.FileMode, old fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".scandrop-*")
	if err != nil {
		return &statusError{ExitFailed, err, "name a place that you may write with --config, or try it as an administrator"}
	}
	_, err = f.WriteString(text)
	if old != nil {
		mode = old.Mode().Perm()
		err = errors.Join(err, keepOwner(f, old))
	}
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// questions ask a person at a terminal.
type questions struct {
	in    *os.File
	lines *bufio.Reader
	out   io.Writer
}

// questions returns nil where nobody could answer.
func (a *app) questions() *questions {
	in, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) || !terminal(a.Err) {
		return nil
	}
	return &questions{in, bufio.NewReader(in), a.Err}
}

// text asks until there is an answer; an empty one is the usual, if there is one.
func (q *questions) text(question, usual string) (string, error) {
	for {
		fmt.Fprint(q.out, question)
		if usual != "" {
			fmt.Fprintf(q.out, " [%s]", usual)
		}
		fmt.Fprint(q.out, " ")
		line, err := q.lines.ReadString('\n')
		if line = strings.TrimSpace(line); line == "" {
			line = usual
		}
		if err != nil || line != "" {
			return line, err
		}
	}
}

func (q *questions) yes(question string) bool {
	answer, err := q.text(question+" (y/n)", "n")
	return err == nil && strings.HasPrefix(strings.ToLower(answer), "y")
}

func (q *questions) secret(question string) ([]byte, error) {
	fmt.Fprint(q.out, question, " ")
	text, err := term.ReadPassword(int(q.in.Fd()))
	fmt.Fprintln(q.out)
	return text, err
}
