package service

import (
	"encoding/xml"
	"errors"
	"io"
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
