package rules

import (
	"net/netip"
	"net/url"
	"strings"

	"gatehouse/rules/scan"
)

// publishes reads the [[publish]] tables: the only way in. They are checked
// here; this version does not serve them.
func (c *compiler) publishes() {
	seen := map[string]bool{}
	for i := range c.file.Publishes {
		t := &c.file.Publishes[i]
		c.publish(t)
		if !t.Name.stated() {
			continue
		}
		if seen[t.Name.value] {
			c.doc.report(codeDuplicate, t.Name.at(), "", "the name %q is taken by another [[publish]]", t.Name.value)
		}
		seen[t.Name.value] = true
		c.doc.report(codeNotCarried, t.at(), "", "this version does not serve [[publish]]: nothing is let in")
	}
}

func (c *compiler) publish(t *publishTable) {
	if c.required(t.table, "name", t.Name.stated()) {
		c.checkName(t.Name)
	}
	clients := c.speaksFor(t.Clients)
	c.spec.Permitted = append(c.spec.Permitted, clients.Prefixes...)
	if c.required(t.table, "listen", t.Listen.stated()) && c.notEmpty(t.Listen) {
		for _, l := range t.Listen.items {
			if _, err := netip.ParseAddrPort(l.value); err != nil {
				c.doc.report(codeAddress, l.at(), "", "%q is not an address with a port, like 10.20.0.1:8443", l.value)
			}
		}
	}
	if c.required(t.table, "to", t.To.stated()) {
		u, err := url.Parse(t.To.value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			c.doc.report(codeValue, t.To.at(), c.doc.replaced(t.To.at(), `"http://10.20.0.5:8080"`), "%q is not the address of a server, like http://10.20.0.5:8080", t.To.value)
		}
	}
	c.methods(t.Methods)
	c.paths(t.Paths)
	if t.TLS != nil && t.TLS.Kind == scan.Leaf {
		if _, ok := t.TLS.Data.(string); !ok {
			if _, ok := t.TLS.Data.(bool); !ok {
				c.doc.wrongType(t.TLS.Node, "text in quotes")
			}
		}
	}
	if t.MaxBody != nil {
		if n, ok := t.MaxBody.Data.(int64); !ok || n < 0 {
			if _, text := t.MaxBody.Data.(string); !text {
				c.doc.wrongType(t.MaxBody.Node, "a whole number of bytes")
			}
		}
	}
}
