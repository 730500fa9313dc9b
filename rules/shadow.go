package rules

import (
	"fmt"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// warnDenies tells of allows that a deny beats altogether, and of denies that
// no allow ever meets.
func (c *compiler) warnDenies() {
	denies := c.index(func(e *entry) bool { return e.Deny }, func(e *entry) string {
		return fmt.Sprint(e.Protocol, len(e.Inner()), addressed(e.Addresses), c.ended(e))
	})
	if len(denies.exact)+len(denies.under) == 0 {
		return
	}
	for _, e := range c.entries {
		for i := range e.Hosts {
			if !e.Deny {
				c.shadowed(place{e, i}, denies)
			}
		}
	}
	if c.spec.Mode == policy.Monitor {
		return // every name is let through, so every deny meets something
	}
	below := c.below()
	for _, e := range c.entries {
		if e.Deny && len(e.Hosts) > 0 && !c.ended(e) {
			c.idle(e, below)
		}
	}
}

// below are the suffixes below which an allow names something.
func (c *compiler) below() map[string]bool {
	all := map[string]bool{}
	for _, e := range c.entries {
		for _, h := range e.Hosts {
			for s := starless(h.String()); s != "" && !e.Deny; _, s, _ = strings.Cut(s, ".") {
				all[s] = true
			}
		}
	}
	return all
}

// shadowed reports a host of an allow that a deny refuses whole.
func (c *compiler) shadowed(p place, denies *hostIndex) {
	denies.above(p.pattern(), func(d place) bool {
		whole := !c.ended(d.entry) && !c.ended(p.entry) && d.Protocol == policy.ProtocolUnknown && len(d.Inner()) == 0 && !addressed(d.Addresses) &&
			clientsCover(d.Clients, p.Clients) && (len(d.ports()) == 0 || portsCover(d.ports(), p.ports())) &&
			covers(d.pattern(), p.pattern())
		if whole {
			c.doc.report(codeShadowed, p.hostSpan(p.host), "", "%s is refused all the same, by the deny %s", p.pattern(), d.entry)
		}
		return !whole
	})
}

// ended reports whether the entry's day has passed.
func (c *compiler) ended(e *entry) bool { return !e.Until.IsZero() && !c.env.Now.Before(e.Until) }

// covers reports whether one pattern names everything another names.
func covers(a, b policy.HostPattern) bool {
	if h, ok := b.Exact(); ok {
		return a.Match(h)
	}
	suffix, ok := a.Suffix()
	return a.String() == b.String() || ok && (starSuffix(b.String()) == suffix || strings.HasSuffix(starSuffix(b.String()), "."+suffix))
}

// idle reports a deny whose hosts no allow names.
func (c *compiler) idle(e *entry, below map[string]bool) {
	for i := range e.Hosts {
		name := e.Hosts[i].String()
		suffix := starSuffix(name)
		if suffix != "" && below[suffix] {
			return
		}
		met := !c.allows.above(e.Hosts[i].HostPattern, func(a place) bool { return !clientsMeet(e.Clients, a.Clients) })
		if met {
			return
		}
	}
	c.doc.report(codeIdleDeny, e.clause(func(t *ruleTable) *scan.Node { return t.Hosts.node }), "correct the spelling, or remove the deny", "no allow names these hosts, so the deny changes nothing")
}

// warnTypes tells of path patterns of types that name the same path and have no
// type in common: such a path could never come back.
func (c *compiler) warnTypes() {
	binds := func(e *entry) bool { return !e.Deny && len(bindingTypes(e)) > 0 }
	told := map[[2]int]bool{}
	pair := func(a, b *entry) [2]int { return [2]int{min(a.order, b.order), max(a.order, b.order)} }
	for _, e := range c.entries {
		if binds(e) {
			c.disagree(e, e)
		}
	}
	compared := 0
	untold := func(a, b *entry) bool {
		compared++
		return compared < mostComparedTypes && !told[pair(a, b)]
	}
	binding := c.index(binds, func(e *entry) string { return strings.Join(words(e.Types, typeWord), "; ") })
	binding.pairs(c.entries, binds, untold, func(a, b place, _ uint16) {
		told[pair(a.entry, b.entry)] = true
		if a.order < b.order {
			c.disagree(a.entry, b.entry)
		} else {
			c.disagree(b.entry, a.entry)
		}
	})
}

// mostComparedTypes bounds the pairs of rules whose types are compared: where
// thousands of rules of one host have types of their own, the first ones tell.
const mostComparedTypes = 100_000

func bindingTypes(e *entry) []policy.TypeEntry {
	var out []policy.TypeEntry
	for _, t := range e.Types {
		if t.Glob.Binds() {
			out = append(out, t)
		}
	}
	return out
}

func (c *compiler) disagree(a, b *entry) {
	for _, x := range bindingTypes(a) {
		for _, y := range bindingTypes(b) {
			if x.Glob == y.Glob || x.Any || y.Any || !starsMeet(x.Glob.String(), y.Glob.String()) || shareType(x, y) {
				continue
			}
			c.doc.report(codeDisagree, b.clause(func(t *ruleTable) *scan.Node { return t.Types.Node }), "",
				"a path can fit %q of rule %s and %q of rule %s, and no type would satisfy both", x.Glob, a, y.Glob, b)
			return
		}
	}
}

func shareType(x, y policy.TypeEntry) bool {
	for _, t := range x.Types {
		for _, u := range y.Types {
			if t == u {
				return true
			}
		}
	}
	return false
}

func addressed(a policy.Addresses) bool {
	return a.Public || len(a.Prefixes) > 0 || len(a.Tags) > 0
}
