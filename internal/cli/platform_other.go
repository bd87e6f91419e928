//go:build !windows && !darwin

package cli

// setClock is how the clock is set by the network.
const setClock = `timedatectl set-ntp true`

// machineFolder is where scans go to on a machine that is for them.
const machineFolder = "/srv/scans"
