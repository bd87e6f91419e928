package cli

// setClock is how the clock is set by the network.
const setClock = `w32tm /resync`

// machineFolder is where scans go to on a machine that is for them.
const machineFolder = `C:\Scans`
