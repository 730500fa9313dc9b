package rules

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"gatehouse/internal/keypair"
	"gatehouse/policy"
)

// doorways checks where publishes listen and lead: not where somebody else
// listens, and not back to this appliance.
func (c *compiler) doorways() {
	taken := slices.Clone(c.env.Doors)
	for i := range c.published {
		p := &c.published[i]
		for k, at := range p.Listen {
			if !at.IsValid() {
				continue
			}
			if j := slices.IndexFunc(taken, func(d Door) bool { return sameDoor(d.At, at) }); j >= 0 {
				c.doc.report(codeDoor, p.table.Listen.items[k].at(), "", "%s is taken by %s (%s)", at, taken[j].Key, taken[j].At)
			}
			taken = append(taken, Door{"the publish " + p.Name, at})
		}
	}
	for i := range c.published {
		c.ledBack(&c.published[i], taken)
	}
}

// ledBack reports a publish whose server is an address that it may never lead to.
// What names lead to shows when they are resolved.
func (c *compiler) ledBack(p *publishing, doors []Door) {
	addr := p.To.Host.Addr()
	if !p.To.Host.IsIP() {
		return
	}
	at := netip.AddrPortFrom(addr, p.To.Port)
	treated := slices.ContainsFunc(c.env.TreatAsPublic, func(n netip.Prefix) bool { return n.Contains(addr) })
	j := slices.IndexFunc(doors, func(d Door) bool { return d.At.Port() == at.Port() && d.At.Addr().Unmap() == addr })
	here := slices.IndexFunc(doors, func(d Door) bool { return d.At.Addr().Unmap() == addr })
	switch {
	case j >= 0:
		c.doc.report(codeLedBack, p.table.To.at(), "", "%s is this gatehouse itself: %s listens there", at, doors[j].Key)
	case !treated && policy.NeverPermitted(netip.PrefixFrom(addr, addr.BitLen())):
		c.doc.report(codeLedBack, p.table.To.at(), "", "%s is an address that no rule leads to; name the server by its address on the school's network", addr)
	case !treated && here >= 0:
		c.doc.report(codeLedBack, p.table.To.at(), "", "%s is this machine, for %s listens at %s; what comes in may lead to no service of this machine", addr, doors[here].Key, doors[here].At)
	}
}

// sameDoor reports whether two listeners would be in each other's way.
func sameDoor(a, b netip.AddrPort) bool {
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	switch {
	case a.Port() != b.Port() || a.Port() == 0:
		return false
	case x == y, x == netip.IPv6Unspecified(), y == netip.IPv6Unspecified(): // which takes IPv4 along
		return true
	}
	return x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

// warnPublishes tells of publishes that will not be served, or open more than they
// seem to.
func (c *compiler) warnPublishes(p *policy.Policy) {
	for i := range c.published {
		pub := &c.published[i]
		c.warnCertificate(pub)
		c.warnRefused(p, pub)
		c.warnOutward(p, pub)
	}
}

// warnCertificate tells of TLS that cannot be spoken. Rules are checked on other
// machines too, and the files may come later: so it is no error.
func (c *compiler) warnCertificate(p *publishing) {
	if p.TLS == nil {
		return
	}
	chain, err := c.env.ReadFile(p.TLS.Chain)
	key := chain
	if err == nil && p.TLS.Key != p.TLS.Chain {
		key, err = c.env.ReadFile(p.TLS.Key)
	}
	if err == nil {
		_, err = keypair.Parse(chain, key, c.env.Now)
	}
	if err != nil {
		var where *fs.PathError
		if errors.As(err, &where) { // the path is in the line
			err = where.Err
		}
		c.doc.report(codeCertificate, p.table.TLS.at(), "", "this cannot be used here: %v", err)
	}
}

// warnRefused tells of a publish that a deny refuses all the same. It asks as the
// first of its clients would.
func (c *compiler) warnRefused(p *policy.Policy, pub *publishing) {
	q := policy.Case{
		Kind: policy.CasePublish, Publish: pub.Name, At: c.env.Now, Client: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		Method: pub.Methods[0], Path: policy.NewPath("/"),
	}
	if !pub.Clients.Any {
		q.Client = pub.Clients.Prefixes[0].Addr()
	}
	if pub.Paths != nil {
		q.Path = policy.NewPath(strings.ReplaceAll(pub.Paths[0].String(), "*", "x"))
	}
	if v := p.Explain(q).Verdict; v.Reason == policy.DeniedByRule {
		c.doc.report(codeShadowed, pub.table.at(), "", "%s %s for %s is refused all the same, by the deny %s", q.Method, q.Path, q.Client, ruleAndLine(v.Rule))
	}
}

// warnOutward tells of clients that publishes alone make permitted ones, where some
// allow is for every permitted client, or monitor mode lets all of those pass: then
// they may go out too.
func (c *compiler) warnOutward(p *policy.Policy, pub *publishing) {
	known := slices.Clone(c.env.ClientsAllow)
	for _, g := range c.spec.Groups {
		if !c.letsIn(g.Name) {
			known = append(known, g.From...)
		}
	}
	var open *entry
	for _, e := range c.entries {
		switch {
		case e.Deny || c.ended(e):
		case e.Clients.Any && open == nil:
			open = e
		default:
			known = append(known, e.Clients.Prefixes...)
		}
	}
	only := slices.DeleteFunc(slices.Clone(pub.Clients.Prefixes), func(n netip.Prefix) bool { return prefixesCover(known, []netip.Prefix{n}) })
	switch {
	case len(only) == 0:
	case p.Mode(c.env.Now) == policy.Monitor:
		c.doc.report(codeOutward, pub.table.Clients.at(), "", "only publishes speak of %s, and in monitor mode whatever a permitted client asks for passes", only[0])
	case open != nil:
		c.doc.report(codeOutward, pub.table.Clients.at(), "", "only publishes speak of %s, and the rule %s, which is for every permitted client, is for it too", only[0], open)
	}
}

// letsIn reports whether a group is one of a publish's clients.
func (c *compiler) letsIn(group string) bool {
	return slices.ContainsFunc(c.published, func(p publishing) bool {
		return slices.ContainsFunc(p.table.Clients.items, func(t text) bool { return t.value == group })
	})
}
