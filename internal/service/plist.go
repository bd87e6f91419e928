package service

import (
	"encoding/xml"
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
	return strings.NewReplacer(
		">/usr/local/bin/scandrop<", ">"+xmlText(c.Program)+"<",
		">/Library/Application Support/scandrop/config.yaml<", ">"+xmlText(c.File)+"<",
		">/Library/Logs/scandrop/", ">"+xmlText(logs)+"/",
	).Replace(plist)
}
