//go:build !windows && !darwin

package cli

// setClock is how the clock is set by the network.
const setClock = `timedatectl set-ntp true`
