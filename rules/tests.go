package rules

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gatehouse/policy"
)

// question is one line of a [[test]].
type question struct {
	policy.Case
	text  text
	allow bool // what the file says must become of it
}

// readTests reads the [[test]] tables; what cannot be read is reported.
func (c *compiler) readTests() []question {
	var all []question
	for i := range c.file.Tests {
		t := &c.file.Tests[i]
		if !t.Allow.stated() && !t.Deny.stated() && !c.doc.lacks(t.node) {
			c.doc.report(codeMissing, t.at(), "allow = [\"GET http://www.example.org/\"]", "this test has neither allow nor deny")
		}
		client, ok := c.asker(t.Client)
		at := c.askedOn(t.On)
		c.notEmpty(t.Allow)
		c.notEmpty(t.Deny)
		for _, l := range []struct {
			list
			allow bool
		}{{t.Allow, true}, {t.Deny, false}} {
			for _, line := range l.items {
				target, err := ParseTarget(line.value)
				if err != nil {
					fix := ""
					if meant, ok := targetMeant(line.value); ok {
						fix = c.doc.replaced(line.at(), quote(meant))
					}
					c.doc.report(codeTestForm, line.at(), fix, "%v", err)
					continue
				}
				if target.Kind == policy.CasePublish && !c.knowsPublish(target.Publish) {
					c.doc.report(codeTestForm, line.at(), "", "no [[publish]] is called %q", target.Publish)
					continue
				}
				target.Client, target.At, target.AsIfInspected = client, at, true
				if ok {
					all = append(all, question{target, line, l.allow})
				}
			}
		}
	}
	return all
}

func (c *compiler) knowsPublish(name string) bool {
	return slices.ContainsFunc(c.published, func(p publishing) bool { return p.Name == name })
}

// asker is the client of a test: a group's first address, an address, or this
// machine.
func (c *compiler) asker(t text) (netip.Addr, bool) {
	if !t.stated() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	if from, ok := c.groups[t.value]; ok {
		if len(from) == 0 {
			return netip.Addr{}, false
		}
		return from[0].Addr(), true
	}
	if a, err := netip.ParseAddr(t.value); err == nil {
		return a.Unmap(), true
	}
	if looksNumeric(t.value) {
		c.doc.report(codeAddress, t.at(), "", "%q is not an address", t.value)
	} else {
		c.unknownGroup(t)
	}
	return netip.Addr{}, false
}

// askedOn is the moment of a test: noon of the day it names, or now.
func (c *compiler) askedOn(s *scalar) time.Time {
	if s == nil {
		return c.env.Now
	}
	t, day, ok := c.date(s)
	switch {
	case !ok:
		return c.env.Now
	case day:
		return time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, c.env.Zone)
	}
	return t
}

// runTests asks the policy every question of the file.
func (c *compiler) runTests(p *policy.Policy) {
	for _, q := range c.tests {
		e := p.Explain(q.Case)
		if e.Verdict.Allowed() != q.allow {
			c.testFailed(q, e)
			continue
		}
		q.AsIfInspected = false
		if v := p.Explain(q.Case).Verdict; (q.Secure || q.Kind == policy.CaseConnect) && (v.Allowed() && !v.Would) != q.allow {
			c.doc.report(codeTestInspect, q.text.at(), "", "this holds only with inspection; without it, it is %s", outcome(v))
		}
	}
}

func (c *compiler) testFailed(q question, e policy.Explanation) {
	code, want := codeTestFails, "denied"
	if q.allow {
		want = "allowed"
	}
	if c.env.LastSHA256 == c.sha256 {
		code = codeTestFailsNow
	}
	fix := ""
	if e.Nearest != nil {
		fix = fmt.Sprintf("in rule %s: %s", ruleAndLine(e.Nearest.Rule), e.Nearest.Change)
		if e.Nearest.Rule.Pack != "" {
			fix = fmt.Sprintf("an [[allow]] of your own; the nearest is rule %s, which lacks: %s", ruleAndLine(e.Nearest.Rule), e.Nearest.Change)
		}
	}
	c.doc.report(code, q.text.at(), fix, "the test wants this %s for %s, but it is %s", want, q.Client, outcome(e.Verdict))
}

// outcome words a verdict with its reason and rule.
func outcome(v policy.Verdict) string {
	switch allowed := v.Allowed() && !v.Would; {
	case allowed && v.Rule != nil:
		return "allowed by rule " + ruleAndLine(v.Rule)
	case allowed:
		return "allowed"
	case v.Rule == nil:
		return "denied: " + v.Reason.String()
	case v.Reason == policy.DeniedByRule:
		return fmt.Sprintf("denied: %s %s", v.Reason, ruleAndLine(v.Rule))
	}
	return fmt.Sprintf("denied: %s; rule %s came nearest", v.Reason, ruleAndLine(v.Rule))
}

func ruleAndLine(r *policy.Rule) string { return fmt.Sprintf("%q (line %d)", r.Name, r.Line) }
