package rules

import (
	"fmt"
	"net/netip"
	"time"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// entry is a rule with the table it was made from, for the checks that compare
// rules.
type entry struct {
	*policy.Rule
	table *ruleTable // nil for a rule of a pack
	span  span       // the table's place; of a pack's rule, the [[pack]]'s
	hosts []text     // the hosts as written; nil for a rule of a pack
	order int        // its number in the file, packs expanded
}

// clause is where a clause of the entry stands: the clause itself in a rule of
// the file, the [[pack]] table for a rule of a pack.
func (e *entry) clause(get func(*ruleTable) *scan.Node) span {
	if e.table != nil {
		if n := get(e.table); n != nil {
			return spanOf(n)
		}
	}
	return e.span
}

// hostSpan is where host i of the entry stands.
func (e *entry) hostSpan(i int) span {
	if i < len(e.hosts) {
		return e.hosts[i].at()
	}
	return e.span
}

// String names the entry in messages.
func (e *entry) String() string { return fmt.Sprintf("%q (line %d)", e.Name, e.Line) }

// inspectStated reports whether the rule has an inspect key.
func (e *entry) inspectStated() bool { return e.table != nil && e.table.Inspect.stated() }

// portsOf are the ports the entry names for host i.
func (e *entry) portsOf(i int) []policy.PortRange {
	if p := e.Hosts[i].Port; p != 0 {
		return []policy.PortRange{{First: p, Last: p}}
	}
	return e.Ports
}

// clientsMeet reports whether some client is named by both.
func clientsMeet(a, b policy.Clients) bool {
	if a.Any || b.Any {
		return true
	}
	for _, p := range a.Prefixes {
		if overlapsAny(p, b.Prefixes) {
			return true
		}
	}
	return false
}

func overlapsAny(p netip.Prefix, list []netip.Prefix) bool {
	for _, q := range list {
		if p.Overlaps(q) {
			return true
		}
	}
	return false
}

// clientsCover reports whether a names every client that b names.
func clientsCover(a, b policy.Clients) bool {
	if a.Any || b.Any {
		return a.Any
	}
	for _, q := range b.Prefixes {
		covered := false
		for _, p := range a.Prefixes {
			covered = covered || p.Bits() <= q.Bits() && p.Contains(q.Addr())
		}
		if !covered {
			return false
		}
	}
	return true
}

// portMet is a port that both name, 0 where there is none.
func portMet(a, b []policy.PortRange) uint16 {
	for _, p := range a {
		for _, q := range b {
			if first := max(p.First, q.First); first <= min(p.Last, q.Last) {
				return first
			}
		}
	}
	return 0
}

// portsCover reports whether a names every port of b.
func portsCover(a, b []policy.PortRange) bool {
	for _, q := range b {
		covered := false
		for _, p := range a {
			covered = covered || p.First <= q.First && q.Last <= p.Last
		}
		if !covered {
			return false
		}
	}
	return true
}

// daysBefore is how long before a rule's day check begins to warn.
const daysBefore = 14 * 24 * time.Hour
