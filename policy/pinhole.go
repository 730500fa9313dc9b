package policy

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// Pinhole is what a rule with via = "forward" lets through the firewall to one
// address, for the clients of the rule.
type Pinhole struct {
	Rule     *Rule
	Addr     netip.Addr
	Protocol Protocol // TCP or UDP
	// Ports do not overlap and are never empty.
	Ports []PortRange
}

// Forwards reports whether any rule lets something through the firewall.
func (p *Policy) Forwards() bool { return p != nil && p.forwards }

// Pinholes are what the rules let through to the address that a permit was
// narrowed to. The permit may be one of another policy, or of an earlier moment:
// its host, aliases and address are judged anew. Who asked does not matter, for a
// server that resolves for others asks on behalf of all.
//
// The firewall knows nothing of names, so a deny that names only some of a rule's
// clients closes its ports to all of them.
func (p *Policy) Pinholes(permit Permit, at time.Time) []Pinhole {
	if !p.Forwards() || !permit.Valid() {
		return nil
	}
	return p.pinholes(permit.facts.dest.Host, permit.facts.aliases, permit.facts.addr, at)
}

// PinnedAddresses are the pinholes of rules that list an address itself: nobody
// has to ask for a name before they are open.
func (p *Policy) PinnedAddresses(at time.Time) (all []Pinhole) {
	if !p.Forwards() {
		return nil
	}
	addrs := make([]netip.Addr, 0, len(p.hosts.addrs))
	for a := range p.hosts.addrs {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	for _, a := range addrs {
		all = append(all, p.pinholes(Host{addr: a}, nil, a, at)...)
	}
	return all
}

func (p *Policy) pinholes(host Host, aliases []Host, addr netip.Addr, at time.Time) (all []Pinhole) {
	if !addr.IsValid() {
		return nil
	}
	standing := p.stand(addr)
	p.hosts.each(host, func(c candidate) bool {
		r := &p.rules[c.rule]
		fits := !r.Deny && r.Via == ViaForward && !r.expired(at) &&
			(r.Aliases == nil || allMatch(r.Aliases, aliases)) && r.addresses.permits(addr, standing, host)
		if !fits {
			return true
		}
		ports := r.Ports
		if c.port != 0 {
			ports = []PortRange{{c.port, c.port}}
		}
		hole := Pinhole{Rule: r.Rule, Addr: addr, Protocol: TCP, Ports: slices.Clone(ports)}
		if r.Protocol == UDP {
			hole.Protocol = UDP
		}
		p.close(&hole, r, host, aliases, standing, at)
		if len(hole.Ports) > 0 {
			all = append(all, hole)
		}
		return true
	})
	return all
}

// close takes out of a pinhole what denies refuse.
func (p *Policy) close(hole *Pinhole, r *rule, host Host, aliases []Host, standing standing, at time.Time) {
	refuse := func(c candidate) bool {
		if d := &p.rules[c.rule]; d.closes(hole, r, standing, at) {
			hole.Ports = without(hole.Ports, d.portsOf(c))
		}
		return true
	}
	p.hosts.each(host, refuse)
	for _, i := range p.everywhere {
		refuse(candidate{rule: i})
	}
	for _, alias := range aliases {
		p.hosts.each(alias, func(c candidate) bool {
			return !p.rules[c.rule].namesOnly(c) || refuse(c)
		})
	}
}

// closes reports whether a deny speaks of a pinhole. What is forwarded is not
// looked into, so inner clauses, and the protocol that a port carries, count as
// if they fitted.
func (d *rule) closes(hole *Pinhole, r *rule, standing standing, at time.Time) bool {
	return d.Deny && !d.expired(at) && overlap(d.clients, r.clients) &&
		(d.Protocol == ProtocolUnknown || (d.Protocol == UDP) == (hole.Protocol == UDP)) &&
		(!d.Addresses.stated() || d.addresses.names(hole.Addr, standing))
}

// overlap reports whether two rules share a client; nil is every client.
func overlap(a, b *bart.Lite) bool { return a == nil || b == nil || a.Overlaps(b) }

// portsOf are the ports of a deny for the host it was found by.
func (r *rule) portsOf(c candidate) []PortRange {
	switch {
	case c.port != 0:
		return []PortRange{{c.port, c.port}}
	case len(r.Ports) == 0:
		return []PortRange{{0, 65535}}
	}
	return r.Ports
}

// without is what is left of ranges when others are taken out.
func without(have, out []PortRange) []PortRange {
	for _, o := range out {
		var left []PortRange
		for _, h := range have {
			if o.Last < h.First || h.Last < o.First {
				left = append(left, h)
				continue
			}
			if h.First < o.First {
				left = append(left, PortRange{h.First, o.First - 1})
			}
			if o.Last < h.Last {
				left = append(left, PortRange{o.Last + 1, h.Last})
			}
		}
		have = left
	}
	return have
}

// Permitted are the networks of the permitted clients at a moment, loopback
// among them.
func (p *Policy) Permitted(at time.Time) (all []netip.Prefix) {
	if p == nil {
		return nil
	}
	for n := range p.permitted.AllSorted() {
		all = append(all, n)
	}
	for _, c := range p.passing {
		if !c.rule.expired(at) {
			for n := range c.from.AllSorted() {
				all = append(all, n)
			}
		}
	}
	return all
}

// RelayedPorts are the TCP ports that live allows name and the gate relays, in
// order, each once.
func (p *Policy) RelayedPorts(at time.Time) []PortRange {
	if p == nil {
		return nil
	}
	var all []PortRange
	for i := range p.rules {
		r := &p.rules[i]
		if r.Deny || r.Via == ViaForward || r.Protocol == UDP || r.expired(at) {
			continue
		}
		byRule := false
		for _, h := range r.Hosts {
			if h.Port != 0 {
				all = append(all, PortRange{h.Port, h.Port})
			}
			byRule = byRule || h.Port == 0
		}
		if byRule {
			all = append(all, r.Ports...)
		}
	}
	return united(all)
}

// united is the same ports in as few ranges as possible, in order.
func united(all []PortRange) (out []PortRange) {
	slices.SortFunc(all, func(a, b PortRange) int { return int(a.First) - int(b.First) })
	for _, r := range all {
		if last := len(out) - 1; last >= 0 && int(r.First) <= int(out[last].Last)+1 {
			out[last].Last = max(out[last].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}
