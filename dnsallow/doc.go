// Package dnsallow is the name window: the one resolver that everybody uses,
// and the DNS server in front of it.
//
// The Resolver asks upstream servers, keeps what they said (by question, for
// everybody alike) and has the policy judge it anew for each asker: the alias
// chain and every single address. No question leaves the house for a name
// without a valid policy.Permit, and what has been judged is never shared.
//
// The Server answers DNS questions over UDP and TCP. A reply is built from
// judged records only; nothing that came from upstream is passed on as it is,
// but for zones that the appliance is told to forward.
//
// A question has three ways. What a client was answered a moment ago lies ready
// for this client on the shelf, and is given again from the bytes of the packet
// (ask, shelf, draft): no lock, no allocation, no second opinion. A plain question
// that nobody has to be asked for is judged and answered on the spot, by the
// goroutine that reads the socket (desk, inquiry, answer, write). For all else
// there are goroutines that may wait (errand), and miekg/dns for packets that are
// anything but plain. What comes of a question is laid ready. All finish their
// reply from the same draft; a fuzz test and ServerConfig.NoShelf hold the ways
// together.
//
// An upstream is asked by a letter. Clients' letters over UDP wait in a postbox, in
// one epoll set, and occupy no goroutine (dispatch, postbox); a courier carries one
// after another, each from a port of its own. Those of the proxy wait in the
// goroutine that wants to know. What nearly every upstream says is read from the
// bytes of its packet (readFacts), all else by miekg/dns. Only where an upstream
// fails or takes long do others race it (exchange). What the answers led to is in a
// book of its own, Told, for those who see only addresses.
//
// What the package is not: a recursive resolver (it asks others to recurse), a
// validator of DNSSEC, or a place where anything is decided: package policy
// does that.
package dnsallow
