package rules

import (
	"strings"

	"gatehouse/policy"
)

// Unenforced is an inner clause that cannot be checked, and why.
type Unenforced struct {
	Rule   string `json:"rule"`
	Line   int    `json:"line"`
	Clause string `json:"clause"`
	Why    string `json:"why"`
}

// unenforced lists the inner clauses of allows that stand on tls ports nobody
// looks into. On the rule's plain http ports they are enforced all the same.
func (c *compiler) unenforced() []Unenforced {
	var all []Unenforced
	for _, e := range c.entries {
		inner := e.Inner()
		if e.Deny || len(inner) == 0 {
			continue
		}
		why := c.whyBlind(e)
		if why == "" {
			continue
		}
		for _, clause := range inner {
			all = append(all, Unenforced{Rule: e.Name, Line: e.Line, Clause: clause, Why: why})
		}
	}
	return all
}

// whyBlind says why the inside of an entry's TLS is not seen, empty where it is
// or where the entry has no TLS.
func (c *compiler) whyBlind(e *entry) string {
	for i := range e.Hosts {
		p := place{e, i}
		if !c.carriesTLS(p) {
			continue
		}
		switch never := c.neverBy(p); {
		case policy.NeverInspected(sample(p.pattern())):
			return p.pattern().String() + " is never inspected"
		case never != nil:
			return "inspect is \"never\" in rule " + never.String()
		case !c.env.Inspection:
			return "TLS is not inspected here ([inspection] enabled = false)"
		}
	}
	return ""
}

// carriesTLS reports whether one of the place's ports carries TLS.
func (c *compiler) carriesTLS(p place) bool {
	for _, r := range p.ports() {
		for _, port := range telling(r) {
			if c.carried(p, port) == policy.TLS {
				return true
			}
		}
	}
	return false
}

// neverBy is an allow that keeps the place from being inspected.
func (c *compiler) neverBy(p place) *entry {
	var found *entry
	c.nevers.above(p.pattern(), func(q place) bool {
		if portMet(p.ports(), q.ports()) != 0 && clientsMeet(p.Clients, q.Clients) {
			found = q.entry
		}
		return found == nil
	})
	return found
}

// unenforcedFix is what can be done about a clause that is not enforced.
func unenforcedFix(u Unenforced) string {
	if strings.Contains(u.Why, "[inspection]") {
		return "in gatehouse.toml, once the machines trust the gate's CA:\n[inspection]\nenabled = true"
	}
	return "none: it holds on the rule's http ports; take it out where the rule has none"
}

// warnUnenforced warns of the clauses, once for each rule of the file and once
// for each pack.
func (c *compiler) warnUnenforced(all []Unenforced) {
	if len(all) == 0 {
		return
	}
	byName := make(map[string]*entry, len(c.entries))
	for _, e := range c.entries {
		byName[e.Name] = e
	}
	for i := 0; i < len(all); {
		u := all[i]
		e := byName[u.Rule]
		what := map[string]bool{}
		var rules, clauses []string
		for ; i < len(all) && all[i].Line == u.Line; i++ {
			if name := all[i].Rule; !what[name] {
				what[name] = true
				rules = append(rules, name)
			}
			if clause := all[i].Clause; !what["."+clause] {
				what["."+clause] = true
				clauses = append(clauses, clause)
			}
		}
		at := e.span
		if e.table != nil {
			at = e.clause(clauseNode(u.Clause))
		}
		c.doc.report(codeUnenforced, at, unenforcedFix(u), "%s of %s will not be enforced inside https: %s",
			strings.Join(clauses, ", "), strings.Join(rules, ", "), u.Why)
	}
}
