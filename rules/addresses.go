package rules

import (
	"fmt"
	"net/netip"
	"strings"

	"gatehouse/policy"
)

// northeurope is what the word stands for in an addresses clause.
const northeurope = "AzureCloud.northeurope"

// addresses reads an addresses clause; absent, an allow leads to public
// addresses and a deny does not speak of them.
func (c *compiler) addresses(l list, deny bool) policy.Addresses {
	if !l.stated() {
		return policy.Addresses{Default: !deny}
	}
	c.notEmpty(l)
	var a policy.Addresses
	for _, t := range l.items {
		c.addAddress(&a, t)
	}
	return a
}

func (c *compiler) addAddress(a *policy.Addresses, t text) {
	prefix, tag, isTag := strings.Cut(t.value, ":")
	switch word := strings.ToLower(strings.TrimSpace(t.value)); {
	case word == "public":
		a.Public = true
	case word == "private":
		a.Prefixes = append(a.Prefixes, policy.PrivateRanges()...)
	case word == "northeurope":
		c.addTag(a, t, northeurope)
	case isTag && strings.EqualFold(prefix, "azure"):
		c.addTag(a, t, strings.TrimSpace(tag))
	default:
		if _, ok := parseNetwork(t.value); !ok {
			if meant, ok := c.addressMeant(t.value); ok {
				c.doc.report(codeAddress, t.at(), c.doc.replaced(t.at(), quote(meant)), "%q is none of the words that addresses has; did you mean %q?", t.value, meant)
				return
			}
		}
		if p, ok := c.network(t); ok {
			a.Prefixes = append(a.Prefixes, p)
		}
	}
}

// addTag adds a service tag's prefixes, as they are today.
func (c *compiler) addTag(a *policy.Addresses, t text, name string) {
	var list []netip.Prefix
	ok := false
	if c.env.Tags != nil {
		list, ok = c.env.Tags.Prefixes(name)
	}
	if ok && len(list) > 0 {
		a.Tags = append(a.Tags, policy.Tag{Name: name, Prefixes: list})
		c.use(name)
		return
	}
	fix := ""
	if c.env.Tags != nil {
		if near, ok := closest(name, c.env.Tags.Names()); ok {
			fix = c.doc.replaced(t.at(), fmt.Sprintf("%q", "azure:"+near))
		}
	}
	c.doc.report(codeTag, t.at(), fix, "the service tags in force have no %q", name)
}

// use notes a tag as in use.
func (c *compiler) use(name string) {
	for _, known := range c.tags {
		if strings.EqualFold(known, name) {
			return
		}
	}
	c.tags = append(c.tags, name)
}
