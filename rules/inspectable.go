package rules

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	"gatehouse/policy"
)

// Inspectable is a host that the gate looks into where inspection is on: a live
// allow with inner clauses, or with inspect = "always", names it on a port that
// carries TLS.
type Inspectable struct {
	Rule string
	Line int
	Host string // as the rule names it, perhaps a pattern
	// Domain is what a CA must be constrained to so that it may vouch for the
	// host: its registrable domain, or the address itself.
	Domain string

	at span
}

// Domains are the constraints of a CA for all of these hosts, each once, in
// order.
func Domains(hosts []Inspectable) []string {
	var all []string
	for _, h := range hosts {
		all = append(all, h.Domain)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Registrable is the shortest name that somebody can register above a host: what
// stands below a suffix of the public suffix list. A name that is such a suffix
// itself, and an address, is what it is.
func Registrable(host string) string {
	if h, err := policy.ParseHost(host); err != nil || h.IsIP() {
		return host
	}
	if domain, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return domain
	}
	return host
}

// PublicSuffix reports whether strangers can register names directly below a
// domain, like co.uk.
func PublicSuffix(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return icann && suffix == domain
}

// inspectable lists the hosts that could be looked into, whether or not
// inspection is on.
func (c *compiler) inspectable() []Inspectable {
	var all []Inspectable
	for _, e := range c.entries {
		if e.Deny || e.Inspect == policy.InspectNever || !e.Until.IsZero() && !c.env.Now.Before(e.Until) ||
			e.Inspect != policy.InspectAlways && len(e.Inner()) == 0 {
			continue
		}
		for i := range e.Hosts {
			p := place{e, i}
			if !c.carriesTLS(p) || policy.NeverInspected(sample(p.pattern())) || c.neverBy(p) != nil {
				continue
			}
			name := p.pattern().String()
			all = append(all, Inspectable{Rule: e.Name, Line: e.Line, Host: name, Domain: domainOf(name), at: e.hostSpan(i)})
		}
	}
	return all
}

// domainOf is the registrable domain of a name, or of what a pattern fixes.
func domainOf(name string) string {
	if suffix := starSuffix(name); suffix != "" {
		name = suffix
	}
	return Registrable(name)
}

// vouched reports hosts that would be looked into and that the inspection CA may
// not vouch for: no client would believe the gate, so it would refuse them. Where
// the file was in force before, the CA has changed and not the file.
func (c *compiler) vouched(hosts []Inspectable) {
	if !c.env.Inspection || c.env.Vouches == nil {
		return
	}
	code := codeUnvouched
	if c.env.LastSHA256 == c.sha256 {
		code = codeUnvouchedNow
	}
	fix := "run: gatehouse ca init --rotate --for " + strings.Join(Domains(hosts), ",") + "; or, until clients trust that, write: inspect = \"never\""
	told := map[string]bool{}
	for _, h := range hosts {
		if told[h.Rule] || c.env.Vouches(starless(h.Host)) {
			continue
		}
		told[h.Rule] = true
		c.doc.report(code, h.at, fix, "%s of rule %q is to be inspected, and the inspection CA is not made for %s", h.Host, h.Rule, h.Domain)
	}
}
