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
		if ok && policy.IsCanary(h) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "remove it",
				"%s is a name by which programs ask whether they may go around the filter; it is always answered with no", h)
		}
		if name := h.Name(); ok && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "remove it", "%s is the machine itself, and no rule leads there", h)
		}
		if !ok || !h.IsIP() {
			continue
		}
		own := netip.PrefixFrom(h.Addr(), h.Addr().BitLen())
		if c.never(own) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "remove it", "no rule leads to %s, whatever it says: it is the machine itself, its link, everybody, or the cloud's own control plane", h)
		} else if !e.Addresses.Default && !e.Addresses.Public && !overlapsAny(own, e.Addresses.Prefixes) && !tagged(own, e.Addresses.Tags) {
			c.doc.report(codeNeverMatches, e.hostSpan(i), "remove the line with addresses: a listed address leads to itself", "%s is not among the rule's own addresses", h)
		}
	}
}

// warnNoPath tells of an allow whose types name none of its own paths: it
// permits nothing by itself, for a path must fit both.
func (c *compiler) warnNoPath(e *entry) {
	if e.Deny || e.Paths == nil || e.Types == nil {
		return
	}
	for _, p := range e.Paths {
		for _, t := range e.Types {
			if starsMeet(p.String(), t.Glob.String()) {
				return
			}
		}
	}
	c.doc.report(codeNoPath, e.clause(clauseNode("types")), "", "no path fits both %s of paths and %s of types, so the rule permits no request",
		strings.Join(words(e.Paths, policy.Glob.String), ", "), strings.Join(words(e.Types, func(t policy.TypeEntry) string { return t.Glob.String() }), ", "))
}

// mostGlobs is how many patterns with a star inside a label may stand below one
// name: each is held against every name below it.
const mostGlobs = 256

// tooManyGlobs reports the first pattern that is one too many.
func (c *compiler) tooManyGlobs() {
	type pattern struct{ suffix, glob string }
	seen, count := map[pattern]bool{}, map[string]int{}
	for _, e := range c.entries {
		for i, h := range e.Hosts {
			suffix := starSuffix(h.String())
			p := pattern{suffix, h.String()}
			if _, plain := h.Suffix(); suffix == "" || plain || seen[p] {
				continue
			}
			seen[p] = true
			if count[suffix]++; count[suffix] == mostGlobs+1 {
				c.doc.report(codeGlobs, e.hostSpan(i), "", "more than %d different patterns with a star inside a label stand below %s", mostGlobs, suffix)
			}
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
	c.doc.report(codeNeverMatches, e.clause(func(t *ruleTable) *scan.Node { return t.Addresses.node }), "remove the line: without it, the names of the rule may lead to every public address",
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
