package service

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// What launchd is told: the program and configuration that are meant, whatever
// signs are in their names, and when to start it again.
func TestPlist(t *testing.T) {
	const program, file = `/opt/a & b/<scandrop>`, `/Users/o'neill/my "config".yaml`
	text := plistFor(Config{Program: program, File: file}, "/Users/o'neill/Library/Logs/scandrop")
	if strings.Contains(text, "{{") {
		t.Error("the library would take {{ for its own")
	}
	var words []string // keys, values, and the names of elements without text
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.CharData:
			if word := strings.TrimSpace(string(token)); word != "" {
				words = append(words, word)
			}
		case xml.StartElement:
			if name := token.Name.Local; name == "true" || name == "false" {
				words = append(words, name)
			}
		}
	}
	all := "\n" + strings.Join(words, "\n") + "\n"
	for _, want := range []string{
		"\nLabel\nscandrop\n",
		"\nProgramArguments\n" + program + "\nrun\n--config\n" + file + "\n",
		"\nRunAtLoad\ntrue\n", "\nKeepAlive\nSuccessfulExit\nfalse\n", "\nThrottleInterval\n30\n", "\nExitTimeOut\n30\n",
		"\nUmask\n63\n", "\nNumberOfFiles\n65536\n", "\nStandardErrorPath\n/Users/o'neill/Library/Logs/scandrop/scandrop.log\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
}

// Whom it runs as is read back from it.
func TestPlistAccount(t *testing.T) {
	for account, want := range map[string]string{"": "root", "scans": "scans", "a & b's <c>": "a & b's <c>"} {
		if got := plistAccount(plistFor(Config{Program: "/p", File: "/f", Account: account}, "/l")); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What macOS's own kind of parser makes of them, with the types that launchd wants.
func TestPlistParses(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	const program, file, logs = `/opt/a & b/<scandrop>`, `/Users/o'neill/my "config".yaml`, "/Users/o'neill/Library/Logs/scandrop"
	for name, c := range map[string]Config{
		"daemon":  {Program: program, File: file},
		"account": {Program: program, File: file, Account: "an<na"},
		"agent":   {Program: program, File: file, Account: "anna", User: true},
	} {
		parse := exec.Command(python, "-c", "import json, plistlib, sys; json.dump(plistlib.loads(sys.stdin.buffer.read()), sys.stdout)")
		parse.Stdin = strings.NewReader(plistFor(c, logs))
		var out, said bytes.Buffer
		parse.Stdout, parse.Stderr = &out, &said
		if err := parse.Run(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, &said)
		}
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		files := map[string]any{"NumberOfFiles": 65536.}
		want := map[string]any{
			"Label": "scandrop", "ProgramArguments": []any{program, "run", "--config", file},
			"RunAtLoad": true, "KeepAlive": map[string]any{"SuccessfulExit": false}, "ThrottleInterval": 30., "ExitTimeOut": 30.,
			"ProcessType": "Background", "Umask": 63., "SoftResourceLimits": files, "HardResourceLimits": files,
			"StandardOutPath": logs + "/scandrop.log", "StandardErrorPath": logs + "/scandrop.log",
		}
		if name == "account" {
			want["UserName"] = "an<na"
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: it is\n%v, want\n%v", name, got, want)
		}
	}
}
