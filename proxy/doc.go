// Package proxy is the gate: plain HTTP requests and CONNECT tunnels from the
// clients behind it, judged by the policy in force, carried to addresses that
// the policy has judged, and written into the book.
//
// The way of one request: the head is read strictly (head.go, target.go), the
// policy is asked (request.go), the name is resolved with the Permit, a pooled
// connection is taken or an address dialled (ask.go, origin.go, dial.go), the
// answer is judged before its first byte goes on (answer.go), and both bodies
// stream at the same time (upload.go, download.go, chunked.go). A tunnel:
// tunnel.go, relay.go and the room keeper, which also opens the connection. Whatever is refused is refused in one
// place (refusal.go, page.go), whatever passes stands in the registry
// (passage.go) until it ends or its permission does, and whatever takes too long
// is found by the sweeper (sweep.go).
//
// Both sides of an exchange are read and written here and not by net/http, which
// mends what it reads, sends 100 (Continue) before the origin has agreed, and
// adds fields of its own. goproxy is a guest (guest.go): it carries permitted
// upgrades once request and answer have been judged; nothing that decides,
// resolves, refuses or records knows it.
//
// What the package is not: it knows no rules file, no DNS and no metrics. Names
// are resolved by the Resolver it is given, and records go to a flow.Book.
package proxy
