package service

import _ "embed" // the texts below

// What systemd reads. Packages take the same files from this folder, for
// /usr/bin/scandrop and the platform's own places; [Config.Install] puts the
// program and the configuration that are meant in their place.
var (
	//go:embed systemd/scandrop.service
	systemUnit string
	//go:embed systemd/scandrop-user.service
	userUnit string
	//go:embed systemd/scandrop.sysusers
	sysusers string
)
