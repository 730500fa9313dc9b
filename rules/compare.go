package rules

import (
	"slices"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// mostClashes bounds what is told of rules that contradict each other: a file
// with more was made by a program, and its maker needs one example.
const mostClashes = 100

// compare finds what single rules cannot show: allows that contradict each
// other where they meet, and clauses that the ports they stand on rule out.
func (c *compiler) compare() {
	nothing := func(*entry) string { return "" }
	c.allows = c.index(func(e *entry) bool { return !e.Deny }, nothing)
	c.stating = c.index(func(e *entry) bool {
		return !e.Deny && e.Protocol != policy.ProtocolUnknown && e.Protocol != policy.UDP
	}, func(e *entry) string { return e.Protocol.String() })
	c.nevers = c.index(func(e *entry) bool { return !e.Deny && e.Inspect == policy.InspectNever }, nothing)
	c.tooManyGlobs()
	c.clashes()
	for _, e := range c.entries {
		if e.Deny {
			continue
		}
		c.forwarded(e)
		c.seen(e)
		c.inspected(e)
		c.matchable(e)
	}
}

// clash is one way in which two allows that meet can contradict each other.
type clash struct {
	code *Code
	key  string
	says func(*entry) string // what the entry says; empty: nothing
	node func(*ruleTable) *scan.Node
}

var clashKinds = []clash{
	{codeProtocols, "protocol", func(e *entry) string {
		if e.Protocol == policy.UDP { // packets of their own, beside every connection
			return ""
		}
		return e.Protocol.String()
	}, func(t *ruleTable) *scan.Node { return t.Protocol.node }},
	{codeVias, "via", func(e *entry) string { return [...]string{"", "relay", "forward"}[e.Via] },
		func(t *ruleTable) *scan.Node { return t.Via.node }},
	{codeParents, "parent", func(e *entry) string { return e.Parent }, func(t *ruleTable) *scan.Node { return t.Parent.node }},
	{codeInspects, "inspect", func(e *entry) string { return [...]string{"", "never", "always"}[e.Inspect] },
		func(t *ruleTable) *scan.Node { return t.Inspect.node }},
}

func (c *compiler) clashes() {
	for _, k := range clashKinds {
		told := map[[2]int]bool{}
		keep := func(e *entry) bool { return !e.Deny && k.says(e) != "" }
		if !c.differ(keep, k.says) {
			continue
		}
		differ := func(a, b *entry) bool { return len(told) < mostClashes && k.says(a) != k.says(b) }
		c.index(keep, k.says).pairs(c.entries, keep, differ, func(a, b place, port uint16) {
			first, second := a, b
			if first.order > second.order {
				first, second = second, first
			}
			pair := [2]int{first.order, second.order}
			if told[pair] {
				return
			}
			told[pair] = true
			c.doc.report(k.code, second.clause(k.node), "give both the same "+k.key+", or take "+a.pattern().String()+" out of one of them",
				"this rule says %s %q, rule %s says %q, and both name %s port %d",
				k.key, k.says(second.entry), first.entry, k.says(first.entry), a.pattern(), port)
		})
	}
}

// differ reports whether the entries that keep says say different things.
func (c *compiler) differ(keep func(*entry) bool, says func(*entry) string) bool {
	var first *entry
	return slices.ContainsFunc(c.entries, func(e *entry) bool {
		if first == nil && keep(e) {
			first = e
		}
		return first != nil && keep(e) && says(e) != says(first)
	})
}

// forwarded checks via and udp.
func (c *compiler) forwarded(e *entry) {
	if e.Protocol == policy.UDP && e.Via != policy.ViaForward {
		c.doc.report(codeUDP, e.clause(func(t *ruleTable) *scan.Node { return t.Protocol.node }), "via = \"forward\"", "udp stands without via = \"forward\"")
	}
	if e.Via != policy.ViaForward {
		return
	}
	if clause, ok := e.innerClause(); ok {
		c.doc.report(codeForwardInner, e.clause(clauseNode(clause)), "via = \"relay\"", "%s cannot be checked on what is forwarded", clause)
	}
}

// innerClause is the first clause of the entry that needs a look inside.
func (e *entry) innerClause() (string, bool) {
	if inner := e.Inner(); len(inner) > 0 {
		return inner[0], true
	}
	return "inspect", e.inspectStated()
}

// clauseNode finds a clause by its key.
func clauseNode(key string) func(*ruleTable) *scan.Node {
	return func(t *ruleTable) *scan.Node {
		f, ok := t.node.Field(key)
		if !ok {
			return nil
		}
		return f.Value
	}
}

// seen reports inner clauses on ports where the gate sees only bytes. A rule
// that states no protocol follows one that does.
func (c *compiler) seen(e *entry) {
	clause, ok := e.innerClause()
	if !ok || e.Via == policy.ViaForward || e.Protocol == policy.UDP {
		return
	}
	for i := range e.Hosts {
		for _, r := range (place{e, i}).ports() {
			if port := c.blindPort(place{e, i}, r); port != 0 {
				c.doc.report(codeInnerTCP, e.clause(clauseNode(clause)), "protocol = \"tls\"",
					"%s is stated, but port %d carries tcp here", clause, port)
				return
			}
		}
	}
}

// blindPort is a port of the range that carries plain tcp under the rules of
// the place's host, 0 where none does. Ports without a usual protocol are
// looked at by their first one.
func (c *compiler) blindPort(p place, r policy.PortRange) uint16 {
	for _, port := range telling(r) {
		if c.carried(p, port) == policy.TCP {
			return port
		}
	}
	return 0
}

// telling are the ports of a range that have a usual protocol, and the first
// one that has none.
func telling(r policy.PortRange) []uint16 {
	var ports []uint16
	other := r.First
	for _, known := range []uint16{80, 443, 5671} {
		if r.Contains(known) {
			ports = append(ports, known)
		}
		if other == known {
			other++
		}
	}
	if r.Contains(other) {
		ports = append(ports, other)
	}
	return ports
}

// carried is the protocol of a port under the rules that meet at a place.
func (c *compiler) carried(p place, port uint16) policy.Protocol {
	if p.Protocol != policy.ProtocolUnknown {
		return p.Protocol
	}
	protocol := policy.UsualProtocol(port)
	one := []policy.PortRange{{First: port, Last: port}}
	c.stating.above(p.pattern(), func(q place) bool {
		if portMet(q.ports(), one) != 0 && clientsMeet(p.Clients, q.Clients) {
			protocol = q.Protocol
			return false
		}
		return true
	})
	return protocol
}

// inspected reports inspect = "always" for hosts that are never inspected.
func (c *compiler) inspected(e *entry) {
	if e.Inspect != policy.InspectAlways {
		return
	}
	for i := range e.Hosts {
		if h := sample(e.Hosts[i].HostPattern); policy.NeverInspected(h) {
			c.doc.report(codeNever, e.clause(func(t *ruleTable) *scan.Node { return t.Inspect.node }), "remove the line",
				"%s is never inspected, whatever a rule says", e.Hosts[i])
			return
		}
	}
}

// sample is a host that a pattern names.
func sample(p policy.HostPattern) policy.Host {
	if h, ok := p.Exact(); ok {
		return h
	}
	h, err := policy.ParseHost(starless(p.String()))
	if err != nil {
		return policy.Host{}
	}
	return h
}
