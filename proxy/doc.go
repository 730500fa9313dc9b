// Package proxy is the gate: plain HTTP requests and CONNECT tunnels from the
// clients behind it, judged by the policy in force, carried to addresses that
// the policy has judged, and written into the book.
//
// The way of one request: the head is read strictly (head.go, target.go), the
// policy is asked (request.go), the name is resolved with the Permit
// (origin.go), an address is dialled (dial.go), the answer is judged before its
// first byte goes on (answer.go, held.go), and both bodies stream at the same time.
// A tunnel: tunnel.go and relay.go. Whatever is refused is refused in one place
// (refusal.go, page.go), and whatever passes stands in the registry
// (passage.go) until it ends or its permission does.
//
// The client side is read and written here and not by net/http's server, which
// keeps the Host field of absolute-form requests to itself, answers malformed
// heads on its own (unnamed and uncounted), sends 100 (Continue) before the
// origin has agreed, and adds fields of its own. goproxy is a guest (guest.go):
// it drives one exchange or one CONNECT between our request, our
// ResponseWriter and our RoundTripper; nothing that decides, resolves, refuses
// or records knows it.
//
// What the package is not: it knows no rules file, no DNS and no metrics. Names
// are resolved by the Resolver it is given, and records go to a flow.Book.
package proxy
