package cli

// setClock is how the clock is set by the network.
const setClock = `w32tm /resync`
