package policy

import (
	"errors"
	"net/netip"
	"slices"
)

// check refuses what the zero values of a Rule would make it mean, and what can
// match nothing: in an allow that is a slip, in a deny a hole.
func (r *Rule) check() error {
	for _, c := range []struct {
		bad  bool
		says string
	}{
		{r.Name == "", "it has no name"},
		{!r.Deny && len(r.Hosts) == 0, "an allow names no host"},
		{slices.ContainsFunc(r.Hosts, func(h ListedHost) bool { return h.kind == patternNone }), "one of its hosts is no host"},
		{!r.Deny && len(r.Ports) == 0, "an allow names no port"},
		{slices.ContainsFunc(r.Ports, func(p PortRange) bool { return p.First == 0 || p.First > p.Last }), "one of its ports is no port"},
		{!r.Deny && !r.Addresses.stated(), "an allow names no address"},
		{slices.ContainsFunc(r.Addresses.Prefixes, invalid), "one of its addresses is no network"},
		{slices.ContainsFunc(r.Addresses.Tags, Tag.hollow), "one of its tags names no address"},
		{!r.Clients.Any && len(r.Clients.Prefixes) == 0, "it names no client"},
		{slices.ContainsFunc(r.Clients.Prefixes, noClient), "one of its clients is no network, or is IPv4 dressed as IPv6"},
		{emptied(r.Methods) || slices.Contains(r.Methods, ""), "methods is empty, or one of them is"},
		{emptied(r.Paths) || slices.Contains(r.Paths, Glob{}), "paths is empty, or one of them is"},
		{emptied(r.Uploads) || slices.Contains(r.Uploads, MediaType{}), "uploads is empty, or one of them is"},
		{emptied(r.Types) || slices.ContainsFunc(r.Types, TypeEntry.hollow), "types is empty, or one of its entries is"},
		{r.Deny && emptied(r.Upgrades), "a deny of no upgrade at all"},
		{slices.Contains(r.Upgrades, ""), "one of its upgrades is empty"},
		{slices.Contains(r.Aliases, HostPattern{}), "one of its aliases is no host"},
	} {
		if c.bad {
			return errors.New(c.says)
		}
	}
	return nil
}

// emptied reports a list that is stated and holds nothing.
func emptied[E any](list []E) bool { return list != nil && len(list) == 0 }

func invalid(p netip.Prefix) bool { return !p.IsValid() }

// hollow reports a tag that names no network, or something that is none.
func (t Tag) hollow() bool { return len(t.Prefixes) == 0 || slices.ContainsFunc(t.Prefixes, invalid) }

// noClient reports a network that no client is in: clients are unmapped before
// they are looked up.
func noClient(p netip.Prefix) bool { return !p.IsValid() || p.Addr().Is4In6() }

// hollow reports an entry that takes no type, or the type of what states none.
func (e TypeEntry) hollow() bool {
	return e.Glob == Glob{} || !e.Any && len(e.Types) == 0 || slices.Contains(e.Types, MediaType{})
}
