//go:build !darwin

package daemon

// guardsPrivacy says that the system keeps programs from some folders, whatever
// the permissions say. It is macOS that does.
const guardsPrivacy = false
