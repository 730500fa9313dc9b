package rules

import (
	"net/netip"
	"slices"
	"strings"

	"gatehouse/policy"
)

// clients reads the groups.
func (c *compiler) clients() {
	c.groups = map[string][]netip.Prefix{}
	for i := range c.file.Clients {
		t := &c.file.Clients[i]
		c.nameless = c.nameless || !t.Name.stated()
		if !c.required(t.table, "name", t.Name.stated()) || !c.required(t.table, "from", t.From.stated()) {
			continue
		}
		c.checkName(t.Name)
		if t.Name.value == "any" || looksNumeric(t.Name.value) {
			c.doc.report(codeName, t.Name.at(), "", "%q means something else where clients are listed", t.Name.value)
		}
		if _, known := c.groups[t.Name.value]; known {
			c.doc.report(codeDuplicate, t.Name.at(), "", "the name %q is taken", t.Name.value)
			continue
		}
		from := c.networks(t.From)
		c.groups[t.Name.value] = from
		group := policy.Group{Name: t.Name.value, From: from}
		if t.Logins.stated() {
			group.Logins = c.logins(t.Logins)
		}
		if c.notEmpty(t.From) {
			c.spec.Groups = append(c.spec.Groups, group)
		}
	}
}

// networks reads addresses and networks.
func (c *compiler) networks(l list) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range l.items {
		if p, ok := c.network(t); ok {
			c.warnExample(t, p)
			out = append(out, p)
		}
	}
	return out
}

// exampleRanges are set aside for documents (RFC 5737, RFC 3849).
var exampleRanges = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/32"),
}

// warnExample tells of a client that an example left behind.
func (c *compiler) warnExample(t text, p netip.Prefix) {
	for _, r := range exampleRanges {
		if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
			c.doc.report(codeExample, t.at(), "", "%s is an address for examples; no machine has it", t.value)
		}
	}
}

// network reads an address or a network.
func (c *compiler) network(t text) (netip.Prefix, bool) {
	p, ok := parseNetwork(t.value)
	switch {
	case !ok:
		c.badNetwork(t)
	case p.Addr().Is4In6():
		c.doc.report(codeAddress, t.at(), c.doc.replaced(t.at(), `"`+p.Addr().Unmap().String()+`"`),
			"%q is an IPv4 address dressed as IPv6", t.value)
		return p, false
	case p != p.Masked():
		c.doc.report(codeAddress, t.at(), c.doc.replaced(t.at(), `"`+p.Masked().String()+`"`),
			"%q names an address inside its network; the network itself is %s", t.value, p.Masked())
	}
	return p.Masked(), ok && p == p.Masked()
}

func (c *compiler) badNetwork(t text) {
	network, message := networkMeant(strings.TrimSpace(t.value))
	switch {
	case network != "":
		c.doc.report(codeAddress, t.at(), c.doc.replaced(t.at(), quote(network)), "%q: %s", t.value, message)
	case message != "":
		c.doc.report(codeAddress, t.at(), "", "%q: %s", t.value, message)
	default:
		c.doc.report(codeAddress, t.at(), "", "%q is neither an address nor a network", t.value)
	}
}

func parseNetwork(s string) (netip.Prefix, bool) {
	s = strings.TrimSpace(s)
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

// speaksFor reads a clients clause; absent, the rule is for every permitted
// client.
func (c *compiler) speaksFor(l list) policy.Clients {
	if !l.stated() {
		return policy.Clients{Any: true}
	}
	c.notEmpty(l)
	var out policy.Clients
	for _, t := range l.items {
		if t.value == "any" {
			return policy.Clients{Any: true}
		}
		if group, ok := c.groups[t.value]; ok {
			out.Prefixes = append(out.Prefixes, group...)
			continue
		}
		if _, ok := parseNetwork(t.value); ok || looksNumeric(t.value) {
			if p, ok := c.network(t); ok {
				c.warnExample(t, p)
				out.Prefixes = append(out.Prefixes, p)
			}
			continue
		}
		c.unknownGroup(t)
	}
	return out
}

// looksNumeric tells a mistyped address from the name of a group.
func looksNumeric(s string) bool {
	if network, message := networkMeant(s); network != "" || message != "" {
		return true
	}
	return strings.ContainsAny(s, ":/") || strings.Trim(s, "0123456789.") == ""
}

func (c *compiler) unknownGroup(t text) {
	if c.nameless || c.doc.lacksTable("client") {
		return // it may be the name that could not be read
	}
	var known []string
	for _, g := range c.file.Clients {
		known = append(known, g.Name.value)
	}
	slices.Sort(known)
	if near, ok := closest(t.value, known); ok {
		c.doc.report(codeClient, t.at(), c.doc.replaced(t.at(), `"`+near+`"`),
			"no [[client]] is called %q; did you mean %q?", t.value, near)
		return
	}
	if meansAll(t.value) {
		c.doc.report(codeClient, t.at(), c.doc.replaced(t.at(), `"any"`), "every permitted client is called \"any\", not %q", t.value)
		return
	}
	c.doc.report(codeClient, t.at(), "[[client]]\nname = \""+t.value+"\"\nfrom = [\"10.20.0.5\"]", "no [[client]] is called %q", t.value)
}

// required reports a key that a table lacks, and says whether its value can be
// used. Where a misspelt key was told of, the missing one is not told again.
func (c *compiler) required(t table, key string, usable bool) bool {
	if _, written := t.node.Field(key); !written && !c.doc.meant[meaning{t.node, key}] && !c.doc.lacks(t.node) {
		c.doc.report(codeMissing, t.at(), key+" = …", "this table has no %s", key)
	}
	return usable
}

// notEmpty reports a list that was written without items.
func (c *compiler) notEmpty(l list) bool {
	if l.empty() {
		c.doc.report(codeEmpty, l.at(), "remove the line, or say what you mean", "this list is empty")
	}
	return len(l.items) > 0
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-"

// checkName holds a name to what logs and metrics can carry.
func (c *compiler) checkName(t text) {
	fixed := strings.Trim(strings.Map(func(r rune) rune {
		if strings.ContainsRune(nameLetters, r) {
			return r
		}
		return '-'
	}, t.value), "-")
	pack, _, slashed := strings.Cut(t.value, "/")
	switch {
	case slashed && packTables()[pack] != nil:
		c.doc.report(codeName, t.at(), "", "names that begin with %q belong to the rules of that pack", pack+"/")
	case t.value == "":
		c.doc.report(codeName, t.at(), "", "the name is empty")
	case len(t.value) > 64:
		c.doc.report(codeName, t.at(), c.doc.replaced(t.at(), `"`+t.value[:64]+`"`), "the name is longer than 64 characters")
	case strings.Trim(t.value, nameLetters) != "" || fixed != strings.Trim(t.value, "-"):
		c.doc.report(codeName, t.at(), c.doc.replaced(t.at(), `"`+fixed+`"`), "the name %q has characters that names do not have", t.value)
	}
}
