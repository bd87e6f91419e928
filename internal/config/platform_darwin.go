package config

import "strings"

const support = "/Library/Application Support/scandrop"

func machineConfig(Environment) string { return support + "/config.yaml" }
func machineState(Environment) string  { return support + "/state" }

func userConfig(e Environment) string { return under(home(e), support, "config.yaml") }
func userState(e Environment) string  { return under(home(e), support, "state") }

// pathKey returns what two names of the same file have in common: file systems of macOS do not tell case.
func pathKey(path string) string { return strings.ToLower(path) }
