package rules

import (
	"net/netip"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

func starless(pattern string) string { return strings.ReplaceAll(pattern, "*", "x") }

// matchable reports allows that can never match: hosts and addresses to which
// no rule leads, and literals that the addresses leave out.
func (c *compiler) matchable(e *entry) {
	if c.unreachable(e) {
		return
	}
	for i := range e.Hosts {
		h, ok := e.Hosts[i].Exact()
		if !ok || !h.IsIP() {
			continue
		}
		own := netip.PrefixFrom(h.Addr(), h.Addr().BitLen())
		if c.never(own) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "", "no rule leads to %s", h)
		} else if !e.Addresses.Default && !e.Addresses.Public && !overlapsAny(own, e.Addresses.Prefixes) && !tagged(own, e.Addresses.Tags) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "", "%s is not among the rule's own addresses", h)
		}
	}
}

// unreachable reports an addresses clause all of whose addresses are closed to
// every rule.
func (c *compiler) unreachable(e *entry) bool {
	a := e.Addresses
	if a.Default || a.Public || len(a.Tags) > 0 || len(a.Prefixes) == 0 {
		return false
	}
	for _, p := range a.Prefixes {
		if !c.never(p) {
			return false
		}
	}
	c.doc.report(codeNeverMatches, e.clause(func(t *ruleTable) *scan.Node { return t.Addresses.node }), "",
		"no rule leads to %s: it is the machine itself, its link, everybody, or the cloud's own control plane", a.Prefixes[0])
	return true
}

func (c *compiler) never(p netip.Prefix) bool {
	return policy.NeverPermitted(p) && !overlapsAny(p, c.env.TreatAsPublic)
}

func tagged(p netip.Prefix, tags []policy.Tag) bool {
	for _, t := range tags {
		if overlapsAny(p, t.Prefixes) {
			return true
		}
	}
	return false
}
