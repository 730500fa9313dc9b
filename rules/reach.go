package rules

import (
	"net/netip"
	"slices"

	"gatehouse/policy"
)

// change names the change of a rule that has kept its name: whether it names
// more than before, less, or other things.
func change(old, now *policy.Rule, before, after *Loaded) string {
	wider := reaches(now, old) && clientsReach(now, old, after.groups)
	narrower := reaches(old, now) && clientsReach(old, now, before.groups)
	switch {
	case wider && !narrower:
		return "is widened"
	case narrower && !wider:
		return "is narrowed"
	}
	return "changes"
}

// reaches reports whether a names everything that b names, as far as their
// clauses can be compared; where they cannot, it says no.
func reaches(a, b *policy.Rule) bool {
	if a.Protocol != b.Protocol || a.Inspect != b.Inspect || a.Via != b.Via || a.Parent != b.Parent {
		return false
	}
	if a.Deny && speaksOfPaths(b) && !speaksOfPaths(a) {
		return false // where no rule speaks of paths, odd ones are no bad requests
	}
	return hostsCover(a, b) && portsReach(a, b) &&
		holds(a.Methods, b.Methods) &&
		holds(words(a.Paths, policy.Glob.String), words(b.Paths, policy.Glob.String)) &&
		typesCover(a.Types, b.Types) &&
		holds(words(a.Uploads, policy.MediaType.String), words(b.Uploads, policy.MediaType.String)) &&
		holds(upgradesOf(a), upgradesOf(b)) &&
		(a.Aliases == nil || b.Aliases != nil && len(without(words(b.Aliases, policy.HostPattern.String), words(a.Aliases, policy.HostPattern.String))) == 0) &&
		addressesCover(a, b) &&
		(a.Until.IsZero() || !b.Until.IsZero() && !a.Until.Before(b.Until))
}

func speaksOfPaths(r *policy.Rule) bool {
	return r.Paths != nil || slices.ContainsFunc(r.Types, func(e policy.TypeEntry) bool { return e.Glob.Binds() })
}

// clientsReach reports whether a speaks for every client that b speaks for. "Any"
// means every permitted client, and an allow that names a client permits it: so
// an allow for any speaks for those that the groups of its file name, and
// perhaps for no other.
func clientsReach(a, b *policy.Rule, groups []policy.Group) bool {
	known := a.Clients.Prefixes
	switch {
	case a.Clients.Any && (b.Clients.Any || a.Deny):
		return true
	case b.Clients.Any:
		return false
	case a.Clients.Any:
		for _, g := range groups {
			known = append(known, g.From...)
		}
	}
	return prefixesCover(known, b.Clients.Prefixes)
}

// holds reports whether clause a names all of clause b; nil restricts nothing.
func holds(a, b []string) bool { return a == nil || b != nil && len(without(b, a)) == 0 }

func portsReach(a, b *policy.Rule) bool {
	return len(a.Ports) == 0 || len(b.Ports) > 0 && portsCover(a.Ports, b.Ports)
}

// upgradesOf are the upgrades a rule permits (or, of a deny, refuses; nil: all).
func upgradesOf(r *policy.Rule) []string {
	switch {
	case r.Upgrades != nil || r.Deny:
		return r.Upgrades
	case len(r.Inner()) > 0:
		return []string{}
	}
	return []string{"websocket"}
}

func hostsCover(a, b *policy.Rule) bool {
	if len(a.Hosts) == 0 {
		return true
	}
	var wide []policy.ListedHost
	for _, h := range a.Hosts {
		if _, ok := h.Suffix(); ok {
			wide = append(wide, h)
		}
	}
	same := map[policy.ListedHost]bool{}
	for _, h := range a.Hosts {
		same[h] = true
	}
	return len(b.Hosts) > 0 && !slices.ContainsFunc(b.Hosts, func(h policy.ListedHost) bool {
		return !same[h] && !slices.ContainsFunc(wide, func(w policy.ListedHost) bool {
			return w.Port == h.Port && covers(w.HostPattern, h.HostPattern)
		})
	})
}

// typesCover compares plain lists. Tables bind, and are compared only with
// themselves.
func typesCover(a, b []policy.TypeEntry) bool {
	if a == nil || slices.Equal(words(a, typeWord), words(b, typeWord)) {
		return true
	}
	if len(a) != 1 || len(b) != 1 || a[0].Glob.Binds() || b[0].Glob.Binds() {
		return false
	}
	return a[0].Any || !b[0].Any && len(without(words(b[0].Types, policy.MediaType.String), words(a[0].Types, policy.MediaType.String))) == 0
}

func addressesCover(a, b *policy.Rule) bool {
	x, y := a.Addresses, b.Addresses
	if a.Deny && !addressed(x) {
		return true // a deny that names no address refuses all
	}
	if b.Deny && !addressed(y) || (y.Default || y.Public) && !x.Default && !x.Public || y.Default != x.Default && literal(b) {
		return false
	}
	all := slices.Clone(x.Prefixes)
	for _, t := range x.Tags {
		all = append(all, t.Prefixes...)
	}
	for _, t := range y.Tags {
		if !prefixesCover(all, t.Prefixes) {
			return false
		}
	}
	return prefixesCover(all, y.Prefixes)
}

// literal reports whether a rule lists an IP address as a host: its default
// addresses are not "public" but itself.
func literal(r *policy.Rule) bool {
	return slices.ContainsFunc(r.Hosts, func(l policy.ListedHost) bool {
		h, ok := l.Exact()
		return ok && h.IsIP()
	})
}

// prefixesCover reports whether each prefix of b lies in one of a.
func prefixesCover(a, b []netip.Prefix) bool {
	has := make(map[netip.Prefix]bool, len(a))
	for _, p := range a {
		has[p] = true
	}
	return !slices.ContainsFunc(b, func(q netip.Prefix) bool {
		for bits := q.Bits(); bits >= 0; bits-- {
			if p, err := q.Addr().Prefix(bits); err == nil && has[p] {
				return false
			}
		}
		return true
	})
}
