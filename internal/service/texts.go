package service

import _ "embed" // the texts below

// What launchd reads. Packages take the same file from this folder, for
// /usr/local/bin/scandrop and the platform's own places; [Config.Install] puts
// the program and the configuration that are meant in their place. (It is here
// on every system, as a test on every system holds it against what it must say.)
//
//go:embed launchd/scandrop.plist
var plist string
