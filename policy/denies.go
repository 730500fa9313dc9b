package policy

import (
	"math"
	"slices"
)

// denying is the first deny, in the order of the file, that fits what is known.
func (p *Policy) denying(f *facts, s *survey) *Rule {
	if !p.denies {
		return nil
	}
	first := int32(math.MaxInt32)
	f.near.each(f.dest.Host, func(c candidate) bool {
		if c.rule < first && p.rules[c.rule].denies(c, f, s) {
			first = c.rule
		}
		return true
	})
	for _, i := range p.everywhere {
		if i < first && p.rules[i].denies(candidate{rule: i}, f, s) {
			first = i
		}
	}
	for _, alias := range f.aliases {
		p.hosts.each(alias, func(c candidate) bool {
			r := &p.rules[c.rule]
			if c.rule < first && r.namesOnly(c) && r.denies(c, f, s) {
				first = c.rule
			}
			return true
		})
	}
	if first == math.MaxInt32 {
		return nil
	}
	return p.rules[first].Rule
}

// namesOnly reports whether a deny is about names as such, so that it also
// refuses the name as an alias of another: no ports, no protocol, no inner
// clause.
func (r *rule) namesOnly(c candidate) bool {
	return len(r.Ports) == 0 && c.port == 0 && r.Protocol == ProtocolUnknown && !r.inner
}

// denies reports whether all that a deny names is known and fits. What it omits
// it does not restrict.
func (r *rule) denies(c candidate, f *facts, s *survey) bool {
	switch {
	case !r.Deny || r.expired(f.at) || !r.names(f.client):
		return false
	case !r.deniesPort(c, f, s):
		return false
	case r.Addresses.stated() && (s.dropped || !f.knows(knowAddr) || !r.addresses.names(f.addr, s.standing)):
		return false
	}
	return !r.inner || r.deniesInside(f, s)
}

func (r *rule) deniesPort(c candidate, f *facts, s *survey) bool {
	restricts := len(r.Ports) > 0 || c.port != 0
	switch {
	case (restricts || r.Protocol != ProtocolUnknown) && !f.knows(knowPort):
		return false
	case r.Protocol != ProtocolUnknown && r.Protocol != s.expected:
		return false
	case c.port != 0:
		return c.port == f.dest.Port
	}
	return !restricts || slices.ContainsFunc(r.Ports, func(pr PortRange) bool { return pr.Contains(f.dest.Port) })
}

// deniesInside holds the inner clauses of a deny against the request. A tunnel
// that nobody looks into could carry just what the deny names, so it is refused
// whole; one that is read as HTTP or looked into is judged request by request.
func (r *rule) deniesInside(f *facts, s *survey) bool {
	if !f.knows(knowRequest) {
		return f.tunnel && !s.looks && s.expected != PlainHTTP
	}
	switch {
	case r.Methods != nil && !slices.Contains(r.Methods, f.method):
		return false
	case r.Paths != nil && !slices.ContainsFunc(r.Paths, func(g Glob) bool { return g.Match(f.path) }):
		return false
	case r.Uploads != nil && !(f.body && r.refusesUpload(f)):
		return false
	case len(r.Upgrades) > 0 && !slices.Contains(r.Upgrades, f.upgrade):
		return false
	case r.Types != nil && !f.knows(knowType):
		return false
	}
	return r.Types == nil || slices.ContainsFunc(r.Types, func(e TypeEntry) bool {
		return e.Glob.Match(f.path) && e.takes(f.mediaType)
	})
}
