// Package sandbox is a stand-in of the Handwriting OCR API: for the demo, for
// tests, and for anyone who writes against that API.
//
// A [Sandbox] is an [http.Handler] that serves every endpoint under /api/v2,
// /v2, /api/v3 and /v3, validates uploads by their content, counts pages and
// credits, honours delete_after, sends signed webhooks, and makes real DOCX,
// XLSX, CSV, JSON and TXT results. [Sandbox.RoundTripper] serves the same
// without a socket, so that a whole exchange works inside a testing/synctest
// bubble. All time comes from package time.
//
// It does not promise to answer as the live service does wherever that is not
// documented, and it keeps nothing across a restart. It does not read
// handwriting either: what a scan "says" comes from an [Engine].
//
// # Trouble
//
// A [Script] makes chosen calls go wrong. It has one rule a line; a # starts a
// comment:
//
//	rule = OP [WHEN] ":" ACTION ["for" DURATION]
//
// OP is upload, status, download, list, delete, balance, or any. Each rule
// counts the calls of its OP from 1, and WHEN picks among them:
//
//	(nothing), always   every call
//	3                   the third
//	2-5                 the second to the fifth
//	every 7             the seventh, the fourteenth, …
//	p=0.01              one in a hundred, by a seeded chance ("seed 42" is a line of its own)
//
// With "for" a rule that struck goes on striking every call of its OP until
// DURATION has passed. Where several rules strike one call, all take effect;
// of rules that cannot both be (two answers, say) the first line wins.
//
// What is answered. CODE and "made CODE" take, in any order, html (a gateway's
// page in place of JSON), "field NAME" (which field a 422 blames), and
// "retry-after" with seconds, date (an HTTP date two seconds ahead), or absurd
// (some three thousand years):
//
//	CODE          nothing is done; this status is the answer
//	made CODE     the work is done; this status is the answer all the same
//	redirect      nothing is done; 302 to a login page on another host
//	drop [N]      nothing is done; the connection dies after N bytes of the request's body (without N: all of it)
//	lost          the work is done; the connection dies before the answer
//	cut N         the answer breaks off after N bytes of its body, its last byte at the latest
//	short         Content-Length names half of the body, and half is sent
//	long          Content-Length promises more than comes
//	garbage       200, the right Content-Type, and bytes that are nothing
//	empty         the right status and no body
//
// How fast:
//
//	slow D        D passes between the work and the answer
//	drip D        D passes after each byte of the body
//
// What becomes of the document that the call made or named (upload, status,
// download; vanish also delete; twin only upload):
//
//	fail ["TEXT"] it becomes failed with this error, and its pages are refunded
//	stay [D]      it is not processed for another D (without D: ever)
//	vanish        it is gone, as if it had expired
//	twin          it is made, and billed, twice
//
// What the list shows (list only):
//
//	lag D         documents younger than D are left out
//	rename        names come back as short slugs
//	nonames       names come back as null
package sandbox
