package rules

import (
	"net/netip"
	"slices"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// rules reads packs, allows and denies into entries, in the order of the file.
func (c *compiler) rules() {
	c.names = map[string]span{}
	seen := map[string]bool{}
	for i := range c.file.Packs {
		c.pack(&c.file.Packs[i], seen)
	}
	for i := range c.file.Allows {
		if c.doc.toldEnough() {
			break
		}
		c.rule(&c.file.Allows[i], false)
	}
	for i := range c.file.Denies {
		if c.doc.toldEnough() {
			break
		}
		c.rule(&c.file.Denies[i], true)
	}
	slices.SortStableFunc(c.entries, func(a, b *entry) int { return a.span.start - b.span.start })
	for i, e := range c.entries {
		e.order = i
	}
	if c.doc.whole && len(c.entries)+len(c.file.Publishes) == 0 && len(c.file.Packs) > 0 && !HasErrors(c.doc.problems) {
		c.doc.reportFile(codeNoRule, "", "the file has no rule: every rule of its packs is left out")
	}
	if c.doc.whole && len(c.file.Packs)+len(c.file.Allows)+len(c.file.Denies)+len(c.file.Publishes) == 0 {
		c.doc.reportFile(codeNoRule, "[[pack]]\nname = \"emerge-server\"", "the file has no rule: no [[pack]], [[allow]] or [[deny]]")
	}
}

// rule reads one [[allow]] or [[deny]].
func (c *compiler) rule(t *ruleTable, deny bool) {
	if deny {
		c.denyKeys(t)
	}
	r, texts := c.policyRule(t, deny)
	r.Line, _ = c.doc.place(int(t.node.Start))
	if c.required(t.table, "name", t.Name.stated()) {
		c.ruleName(t.Name)
	}
	if c.doc.lacks(t.node) { // it would be compared for what it does not say
		return
	}
	c.entries = append(c.entries, &entry{Rule: r, table: t, span: t.at(), hosts: texts})
}

// ruleName checks the name of an allow or deny.
func (c *compiler) ruleName(t text) {
	c.checkName(t)
	if first, taken := c.names[t.value]; taken {
		line, _ := c.doc.place(first.start)
		c.doc.report(codeDuplicate, t.at(), c.doc.replaced(t.at(), `"`+t.value+`-2"`), "the name %q is taken by the rule in line %d", t.value, line)
		return
	}
	c.names[t.value] = t.at()
}

// policyRule reads the clauses of a rule, and gives the texts of its hosts.
func (c *compiler) policyRule(t *ruleTable, deny bool) (*policy.Rule, []text) {
	hosts, texts := c.hosts(t, deny)
	r := &policy.Rule{
		Name: t.Name.value, Deny: deny,
		Clients: c.speaksFor(t.Clients), Hosts: hosts,
		Ports: c.ports(t.Ports), Protocol: c.protocol(t.Protocol),
		Methods: c.methods(t.Methods), Paths: c.paths(t.Paths), Types: c.types(t.Types),
		Uploads: c.uploads(t.Uploads), Upgrades: c.upgrades(t.Upgrades),
		Aliases: c.aliases(t.Aliases), Addresses: c.addresses(t.Addresses, deny),
		Owner: t.Owner.value, Because: t.Because.value,
	}
	if t.Until != nil {
		r.Until = c.lastMoment(t.Until)
	}
	if deny {
		if t.Upgrades.empty() {
			c.doc.report(codeEmpty, t.Upgrades.at(), "upgrades = [\"websocket\"]", "a deny of no upgrade at all refuses nothing")
		}
		if !t.Clients.stated() && !t.Hosts.stated() && !t.Addresses.stated() && !c.doc.lacks(t.node) {
			c.doc.report(codeDenyNothing, t.at(), "hosts = [\"www.example.org\"]", "this deny names neither clients nor hosts nor addresses")
		}
		return r, texts
	}
	c.required(t.table, "hosts", t.Hosts.stated())
	if t.Ports == nil {
		r.Ports = []policy.PortRange{{First: 443, Last: 443}}
	}
	r.Inspect = map[string]policy.InspectMode{"never": policy.InspectNever, "always": policy.InspectAlways}[c.oneOf(t.Inspect, "when-needed", "never", "always")]
	r.Via = map[string]policy.Via{"relay": policy.ViaRelay, "forward": policy.ViaForward}[c.oneOf(t.Via, "relay", "forward")]
	r.Parent = c.parent(t.Parent)
	return r, texts
}

// parent reads the name of a parent proxy.
func (c *compiler) parent(t text) string {
	known := append([]string{"direct"}, c.env.Parents...)
	if !t.stated() || slices.Contains(known, t.value) {
		return t.value
	}
	fix := ""
	if near, ok := closest(t.value, known); ok {
		fix = c.doc.replaced(t.at(), `"`+near+`"`)
	}
	c.doc.report(codeParent, t.at(), fix, "no [[upstream]] of gatehouse.toml is called %q", t.value)
	return ""
}

// denyKeys reports the keys of an allow that a deny does not have.
func (c *compiler) denyKeys(t *ruleTable) {
	for _, k := range []struct {
		key  string
		node *scan.Node
	}{
		{"aliases", t.Aliases.node}, {"inspect", t.Inspect.node}, {"via", t.Via.node}, {"parent", t.Parent.node},
	} {
		if k.node != nil {
			c.doc.report(codeDenyKey, spanOf(k.node), "remove the line", "a deny has no %s", k.key)
		}
	}
	t.Aliases, t.Inspect, t.Via, t.Parent = list{}, text{}, text{}, text{}
}

// pack expands a [[pack]] table into the rules of the pack.
func (c *compiler) pack(t *packTable, seen map[string]bool) {
	if !c.required(t.table, "name", t.Name.stated()) {
		return
	}
	clients := c.speaksFor(t.Clients)
	p, ok := packTables()[t.Name.value]
	switch {
	case !ok:
		c.unknownPack(t.Name)
		return
	case seen[t.Name.value]:
		c.doc.report(codePackTwice, t.Name.at(), "", "the pack %q is named twice", t.Name.value)
		return
	}
	seen[t.Name.value] = true
	c.packs = append(c.packs, t.Name.value)
	without := c.without(t, p)
	line, _ := c.doc.place(int(t.node.Start))
	sub := &compiler{env: c.env, file: p, doc: p.doc.fresh(), groups: map[string][]netip.Prefix{}}
	for i := range p.Allows {
		rt := &p.Allows[i]
		if without[rt.Name.value] {
			continue
		}
		r, _ := sub.policyRule(rt, false)
		r.Name, r.Pack, r.Line, r.Clients = t.Name.value+"/"+rt.Name.value, t.Name.value, line, clients
		c.entries = append(c.entries, &entry{Rule: r, span: t.at()})
	}
	for _, tag := range sub.tags {
		c.use(tag)
	}
	for _, problem := range sub.doc.problems {
		if problem.Level == Error {
			c.doc.report(codeByID(problem.Code), t.Name.at(), "", "pack %s: %s", t.Name.value, problem.Message)
		}
	}
}

func (c *compiler) unknownPack(t text) {
	if near, ok := closest(t.value, packNames()); ok {
		c.doc.report(codePack, t.at(), c.doc.replaced(t.at(), `"`+near+`"`), "there is no pack %q; did you mean %q?", t.value, near)
		return
	}
	c.doc.report(codePack, t.at(), "", "there is no pack %q; the packs are %s", t.value, strings.Join(packNames(), ", "))
}

// without reads the rules of a pack to leave out.
func (c *compiler) without(t *packTable, p *file) map[string]bool {
	var known []string
	for i := range p.Allows {
		known = append(known, p.Allows[i].Name.value)
	}
	out := map[string]bool{}
	for _, w := range t.Without.items {
		name := strings.TrimPrefix(w.value, t.Name.value+"/")
		if slices.Contains(known, name) {
			out[name] = true
			continue
		}
		fix := ""
		if near, ok := closest(name, known); ok {
			fix = c.doc.replaced(w.at(), `"`+near+`"`)
		}
		c.doc.report(codeWithout, w.at(), fix, "pack %s has no rule %q; it has %s", t.Name.value, w.value, strings.Join(known, ", "))
	}
	return out
}
