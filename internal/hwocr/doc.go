// Package hwocr is a client of the Handwriting OCR API: it uploads scans, asks how
// they are getting on, collects results, lists documents and deletes them.
//
// # What it promises
//
// A method makes one attempt and says what it saw. Nothing below it repeats an
// upload, because the service bills every copy it receives; waiting and trying again
// belong to the caller, who remembers across restarts.
//
// Every error is an [*Error] that carries the status the service really answered
// with, and, for an upload, whether the whole request was handed over: only before
// that moment is it certain that the service holds, and bills, nothing. An answer
// that is not the one asked for is an error whatever its status. An HTML page with
// status 200 is no result, and neither is a redirect, which is never followed.
//
// The token goes into the Authorization header of requests to the configured host
// and nowhere else: not to a redirect's target, not into an error, not into the log.
//
// # What it does not promise
//
// It cannot make an upload idempotent, and it cannot know what became of one that was
// sent and never answered. It does not read results, apart from what it takes to tell
// a whole one from a broken one: plain text that the service cuts short on its own
// side looks complete.
//
// What is known of the service, and how surely, is written down in docs/api.md.
package hwocr
