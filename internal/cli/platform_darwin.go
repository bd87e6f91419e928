package cli

// setClock is how the clock is set by the network.
const setClock = `System Settings, General, Date & Time`

// machineFolder is where scans go to on a machine that is for them: no leave is needed
// to read there.
const machineFolder = "/Users/Shared/Scans"
