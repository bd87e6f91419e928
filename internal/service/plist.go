package service

import (
	"encoding/xml"
	"html"
	"regexp"
	"strings"
)

func xmlText(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

// plistFor is the description of the service for the program, configuration and
// folder of logs that are meant. The library reads {{ in it as its own.
func plistFor(c Config, logs string) string {
	text := plist
	if c.Account != "" && !c.User {
		text = strings.Replace(text, "\t<key>ProgramArguments</key>", "\t<key>UserName</key>\n\t<string>"+xmlText(c.Account)+"</string>\n\t<key>ProgramArguments</key>", 1)
	}
	return strings.NewReplacer(
		">/usr/local/bin/scandrop<", ">"+xmlText(c.Program)+"<",
		">/Library/Application Support/scandrop/config.yaml<", ">"+xmlText(c.File)+"<",
		">/Library/Logs/scandrop/", ">"+xmlText(logs)+"/",
	).Replace(text)
}

var userName = regexp.MustCompile(`<key>UserName</key>\s*<string>([^<]*)</string>`)

// plistAccount is whom launchd starts a service of the machine as, by its description.
func plistAccount(plist string) string {
	if m := userName.FindStringSubmatch(plist); m != nil {
		return html.UnescapeString(m[1])
	}
	return "root"
}
