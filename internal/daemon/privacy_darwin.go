package daemon

// guardsPrivacy says that the system keeps programs from some folders, whatever
// the permissions say (TCC).
const guardsPrivacy = true
