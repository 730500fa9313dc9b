package dnsallow

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/policy"
)

// Told is the book of what the filter answered to whom. Whoever sees a client
// connect to an address, and not to which name, finds the names here.
//
// What one of the listed servers was answered counts as answered to everybody,
// for such a server (a domain controller) asks for others. The book is bounded:
// what was answered longest ago goes first, and is then not known. It is safe
// for concurrent use; a nil *Told knows nothing and notes nothing.
type Told struct {
	servers []netip.Prefix

	mu         sync.Mutex
	young, old map[told][]toldName
}

// told is one address that one client was answered; the zero client is
// everybody.
type told struct{ client, addr netip.Addr }

// toldName is a name whose answer had the address, and when its TTL is over.
type toldName struct {
	name  policy.Host
	until time.Time
}

const (
	// toldGrace is for how long an address is used after its TTL: the .NET
	// Framework keeps one for two minutes (ServicePointManager.DnsRefreshTimeout),
	// and opens a connection anew from what it keeps.
	toldGrace = 5 * time.Minute
	// toldMost bounds each half of the book, toldNames the names of one address.
	toldMost  = 1 << 15
	toldNames = 8
)

// NewTold makes an empty book. The servers are those that ask for others.
func NewTold(servers []netip.Prefix) *Told {
	return &Told{servers: servers, young: map[told][]toldName{}}
}

// Names are the names that were answered with an address, to a client or to a
// server that asks for others, and whose answers are still in use at a moment.
// Those whose time is over last stand first.
func (t *Told) Names(client, addr netip.Addr, at time.Time) []policy.Host {
	if t == nil {
		return nil
	}
	client, addr = client.Unmap().WithZone(""), addr.Unmap()
	var known []toldName
	t.mu.Lock()
	for _, half := range []map[told][]toldName{t.young, t.old} {
		known = append(known, half[told{client, addr}]...)
		known = append(known, half[told{netip.Addr{}, addr}]...)
	}
	t.mu.Unlock()
	slices.SortStableFunc(known, func(a, b toldName) int { return b.until.Compare(a.until) })
	var names []policy.Host
	for _, n := range known {
		if at.Before(n.until.Add(toldGrace)) && !slices.Contains(names, n.name) {
			names = append(names, n.name)
		}
	}
	return names
}

// note writes down that a name was answered with an address, to be used until a
// moment. What is given again from the same answer needs no note of its own: its
// TTL counts down to the same moment.
func (t *Told) note(client netip.Addr, name policy.Host, addr netip.Addr, until time.Time) {
	if slices.ContainsFunc(t.servers, func(p netip.Prefix) bool { return p.Contains(client) }) {
		client = netip.Addr{}
	}
	key := told{client, addr.Unmap()}
	t.mu.Lock()
	defer t.mu.Unlock()
	names, known := t.young[key]
	if !known {
		if len(t.young) >= toldMost {
			t.young, t.old = make(map[told][]toldName, toldMost), t.young
		}
		names = t.old[key]
		delete(t.old, key)
	}
	t.young[key] = with(names, toldName{name, until})
}

// with is the names of an address with one more: in the place of what was said
// of it before, or of the one whose time is over first where there are too many.
func with(names []toldName, n toldName) []toldName {
	first := 0
	for i := range names {
		if names[i].name == n.name {
			names[i].until = latest(names[i].until, n.until)
			return names
		}
		if names[i].until.Before(names[first].until) {
			first = i
		}
	}
	if len(names) < toldNames {
		return append(names, n)
	}
	names[first] = n
	return names
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
