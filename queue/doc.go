// Package queue is scandrop's memory: a crash-safe job queue in one bbolt file.
//
// A job moves one committed transaction at a time, so that killing the process
// at any instruction loses at most work that can be repeated. The queue decides
// what happens next: [Queue.Claim] hands out the next step of the job that is
// due, [Queue.Report] takes what became of it, and one table of legal moves
// with one pure function turns the two into the job's next state. The queue
// never touches the network, the hot folders or the results.
//
// # What it promises
//
//   - What [Queue.Add] has accepted survives any crash.
//   - One identity (see [Identity]) is not uploaded twice by itself: not after
//     a restart, not under another name, not after its story was forgotten.
//   - A doubtful upload is looked up before it is sent again; see [Doubtful].
//   - No list and no count reads all jobs: lists page with a cursor, counts are
//     kept in the transaction that changes them.
//
// # What it does not promise
//
// It does not promise exactly-once upload: no client of a service without
// idempotency keys can. If the service's list still hides an upload when the
// time allowed for doubt is over, the scan is sent, and paid for, again.
//
// The file must lie on a local file system, and one process at a time holds
// it; see [Open]. All methods of a [Queue] may be called concurrently.
package queue
