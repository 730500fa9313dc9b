package policy

import (
	"net/netip"
	"time"
)

// Rule is one allow or deny in the policy's own terms, as Compile takes it and
// as a Verdict names it. Once compiled it is immutable.
type Rule struct {
	Name string // unique; PACK/RULE for a rule of a pack
	Pack string // the pack it belongs to, empty for a rule of the file
	Line int    // line in the rules file (of the [[pack]] table for a pack's rule)
	Deny bool

	Clients Clients
	Hosts   []ListedHost
	// Ports is required in an allow; empty in a deny means every port.
	Ports    []PortRange
	Protocol Protocol // ProtocolUnknown: what the port usually carries

	// Inner clauses: they can be judged only on plain HTTP and inside TLS that
	// is looked into. Nil means not stated.
	Methods []string
	Paths   []Glob
	Types   []TypeEntry
	Uploads []MediaType
	// Upgrades: nil means websocket where the rule has no inner clause and
	// none where it has; empty and not nil means none.
	Upgrades []string

	// Aliases are the names that CNAMEs may lead through; nil means any, empty
	// and not nil means none. A deny has none.
	Aliases   []HostPattern
	Addresses Addresses

	Inspect InspectMode
	Via     Via
	Parent  string // name of the parent proxy, "direct", or empty
	Owner   string
	Because string
	// Until is the first moment at which the rule no longer holds; zero: for ever.
	Until time.Time
}

// ListedHost is one entry of a rule's hosts. Port is not 0 where the entry was
// written as a URL: then it replaces the rule's ports for this host.
type ListedHost struct {
	HostPattern
	Port uint16
}

// PortRange is a run of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// Contains reports whether the range holds port.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Clients says for whom a rule speaks; the zero value for nobody.
type Clients struct {
	Any      bool // every permitted client
	Prefixes []netip.Prefix
}

// Addresses says where the names of a rule may lead; the zero value nowhere
// (in a deny: it does not speak of addresses).
type Addresses struct {
	// Default is the default of an allow: public addresses for a name, the
	// literal itself for an IP address.
	Default bool
	Public  bool // global unicast outside the special-purpose registries
	// Prefixes are CIDRs, single addresses, the private ranges and the
	// prefixes of service tags alike.
	Prefixes []netip.Prefix
	// Tags are the named prefix sets that the clause names, each with its
	// prefixes.
	Tags []Tag
}

// Tag is a named set of prefixes, such as AzureCloud.northeurope.
type Tag struct {
	Name     string
	Prefixes []netip.Prefix
}

// stated reports whether the clause says anything.
func (a Addresses) stated() bool {
	return a.Default || a.Public || len(a.Prefixes) > 0 || len(a.Tags) > 0
}

// TypeEntry is one line of a rule's types: the paths Glob names must come back
// as one of Types, or as anything where Any is set.
type TypeEntry struct {
	Glob  Glob
	Any   bool
	Types []MediaType
}

// InspectMode says when TLS is looked into.
type InspectMode uint8

// The modes of inspection.
const (
	InspectWhenNeeded InspectMode = iota
	InspectNever
	InspectAlways
)

// Via says how routed connections of a rule pass the gateway.
type Via uint8

// The ways.
const (
	ViaUnstated Via = iota
	ViaRelay
	ViaForward
)

// Inner lists the names of the inner clauses the rule states, in the order of
// the language.
func (r *Rule) Inner() []string {
	var names []string
	for _, c := range []struct {
		stated bool
		name   string
	}{
		{r.Methods != nil, "methods"}, {r.Paths != nil, "paths"}, {r.Types != nil, "types"},
		{r.Uploads != nil, "uploads"}, {r.Upgrades != nil, "upgrades"},
	} {
		if c.stated {
			names = append(names, c.name)
		}
	}
	return names
}

// hasInner is Inner without the allocation.
func (r *Rule) hasInner() bool {
	return r.Methods != nil || r.Paths != nil || r.Types != nil || r.Uploads != nil || r.Upgrades != nil
}

// expired reports whether the rule's last day has passed. At a moment that
// nobody filled in, an allow with an end has ended and a deny has not.
func (r *Rule) expired(at time.Time) bool {
	switch {
	case r.Until.IsZero():
		return false
	case at.IsZero():
		return !r.Deny
	}
	return !at.Before(r.Until)
}
