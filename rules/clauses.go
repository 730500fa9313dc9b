package rules

import (
	"fmt"
	"strconv"
	"strings"

	"gatehouse/policy"
	"gatehouse/rules/scan"
)

// ports reads a ports clause: numbers, and texts like "8443-8444".
func (c *compiler) ports(s *scalar) []policy.PortRange {
	if s == nil {
		return nil
	}
	if s.Kind == scan.Array && len(s.Items) == 0 {
		c.doc.report(codeEmpty, s.at(), "remove the line, or say what you mean", "this list is empty")
	}
	var out []policy.PortRange
	for _, n := range s.elements() {
		if r, ok := c.portRange(n); ok {
			out = append(out, r)
		}
	}
	return out
}

func (c *compiler) portRange(n *scan.Node) (policy.PortRange, bool) {
	switch v := n.Data.(type) {
	case int64:
		if v >= 1 && v <= 65535 {
			return policy.PortRange{First: uint16(v), Last: uint16(v)}, true
		}
		c.doc.report(codePort, spanOf(n), "", "%d is no port", v)
	case string:
		if r, ok := parsePorts(v); ok {
			return r, true
		}
		fix := portsMeant(v)
		if fix != "" {
			if before := strings.TrimRight(c.doc.text[:n.Start], " \t"); strings.Contains(fix, ",") && strings.HasSuffix(before, "=") {
				fix = "[" + fix + "]"
			}
			fix = c.doc.replaced(spanOf(n), fix)
		}
		c.doc.report(codePort, spanOf(n), fix, "%q is neither a port nor a range of ports from low to high", v)
	default:
		c.doc.wrongType(n, "a port, like 443, or a range, like \"8443-8444\"")
	}
	return policy.PortRange{}, false
}

func parsePorts(s string) (policy.PortRange, bool) {
	low, high, ranged := strings.Cut(s, "-")
	first, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
	last := first
	if ranged && err == nil {
		last, err = strconv.ParseUint(strings.TrimSpace(high), 10, 16)
	}
	return policy.PortRange{First: uint16(first), Last: uint16(last)}, err == nil && first >= 1 && first <= last
}

var protocols = map[string]policy.Protocol{
	"http": policy.PlainHTTP, "tls": policy.TLS, "tcp": policy.TCP, "udp": policy.UDP,
}

func (c *compiler) protocol(t text) policy.Protocol {
	if strings.EqualFold(t.value, "https") {
		c.doc.report(codeValue, t.at(), c.doc.replaced(t.at(), `"tls"`), "https is called tls here: the gate sees the TLS, not the HTTP inside")
		return policy.ProtocolUnknown
	}
	return protocols[c.oneOf(t, "http", "tls", "tcp", "udp")]
}

// methods reads a methods clause; nil where it is absent.
func (c *compiler) methods(l list) []string {
	if !l.stated() {
		return nil
	}
	c.notEmpty(l)
	out := make([]string, 0, len(l.items))
	for _, t := range l.items {
		upper := strings.ToUpper(strings.TrimSpace(t.value))
		switch {
		case meansAll(t.value):
			c.doc.report(codeMethod, t.at(), "remove the line", "a rule without methods permits every method; there is no word for it")
		case upper == "" || strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_") != "":
			c.doc.report(codeMethod, t.at(), "", "%q is no HTTP method", t.value)
		case upper == "CONNECT":
			c.doc.report(codeMethod, t.at(), "", "CONNECT opens a tunnel and is no request inside one; ports and protocol say which tunnels may be opened")
		case upper != t.value:
			c.doc.report(codeMethod, t.at(), c.doc.replaced(t.at(), `"`+upper+`"`), "the method is written %q", upper)
		default:
			out = append(out, upper)
		}
	}
	return out
}

// paths reads a paths clause; nil where it is absent.
func (c *compiler) paths(l list) []policy.Glob {
	if !l.stated() {
		return nil
	}
	c.notEmpty(l)
	out := make([]policy.Glob, 0, len(l.items))
	for _, t := range l.items {
		if g, ok := c.glob(t.value, t.at()); ok {
			out = append(out, g)
		}
	}
	return out
}

func (c *compiler) glob(s string, at span) (policy.Glob, bool) {
	g, err := policy.ParseGlob(s)
	if err == nil {
		return g, true
	}
	fix := ""
	switch {
	case strings.Contains(s, "://"):
		fix = pathOf(s)
	case strings.Contains(s, "?"):
		fix, _, _ = strings.Cut(s, "?")
	case strings.HasPrefix(s, "."):
		fix = "*" + s
	case s != "":
		fix = "/" + s
	}
	if fix != "" {
		fix = c.doc.replaced(at, fmt.Sprintf("%q", fix))
	}
	c.doc.report(codeGlob, at, fix, "path pattern %q %v", s, err)
	return g, false
}

// types reads a types clause: a media type, a list of them, or a table of path
// patterns with the types of each; nil where it is absent.
func (c *compiler) types(s *scalar) []policy.TypeEntry {
	if s == nil {
		return nil
	}
	all, _ := policy.ParseGlob("*")
	if s.Kind != scan.Table {
		return []policy.TypeEntry{c.typeEntry(all, s.Node)}
	}
	if len(s.Fields) == 0 {
		c.doc.report(codeEmpty, s.at(), "", "this table is empty")
	}
	out := make([]policy.TypeEntry, 0, len(s.Fields))
	for _, f := range s.Fields {
		if g, ok := c.glob(f.Name, keySpan(f)); ok {
			out = append(out, c.typeEntry(g, f.Value))
		}
	}
	return out
}

func (c *compiler) typeEntry(g policy.Glob, n *scan.Node) policy.TypeEntry {
	var l list
	l.read(n, c.doc)
	c.notEmpty(l)
	e := policy.TypeEntry{Glob: g}
	for _, t := range l.items {
		if t.value == "any" {
			e.Any = true
			continue
		}
		if m, ok := c.mediaType(t); ok {
			e.Types = append(e.Types, m)
		}
	}
	return e
}

// uploads reads an uploads clause; nil where it is absent.
func (c *compiler) uploads(l list) []policy.MediaType {
	if !l.stated() {
		return nil
	}
	c.notEmpty(l)
	out := make([]policy.MediaType, 0, len(l.items))
	for _, t := range l.items {
		if m, ok := c.mediaType(t); ok {
			out = append(out, m)
		}
	}
	return out
}

func (c *compiler) mediaType(t text) (policy.MediaType, bool) {
	m, err := policy.ParseMediaType(t.value)
	switch {
	case err != nil:
		fix := ""
		if known, ok := typesOf[strings.ToLower(strings.TrimPrefix(t.value, "."))]; ok {
			fix = c.doc.replaced(t.at(), quote(known))
		}
		c.doc.report(codeMediaType, t.at(), fix, "%q %v", t.value, err)
	case strings.Contains(m.String(), "*"):
		c.doc.report(codeMediaType, t.at(), "", "%q has a wildcard; list the types, or write \"any\" behind a path pattern", t.value)
	default:
		return m, true
	}
	return policy.MediaType{}, false
}

// upgrades reads an upgrades clause: nil where it is absent, empty for none.
func (c *compiler) upgrades(l list) []string {
	if !l.stated() {
		return nil
	}
	out := make([]string, 0, len(l.items))
	for _, t := range l.items {
		if scheme := strings.ToLower(t.value); scheme == "ws" || scheme == "wss" {
			c.doc.report(codeValue, t.at(), c.doc.replaced(t.at(), `"websocket"`), "%q is a scheme of URLs; the upgrade is called websocket", t.value)
			continue
		}
		out = append(out, strings.ToLower(t.value))
	}
	return out
}

// aliases reads an aliases clause: nil where it is absent, empty for none.
func (c *compiler) aliases(l list) []policy.HostPattern {
	if !l.stated() {
		return nil
	}
	out := make([]policy.HostPattern, 0, len(l.items))
	for _, t := range l.items {
		p, err := policy.ParseHostPattern(strings.TrimSpace(t.value))
		if err != nil {
			c.badHost(t, strings.TrimSpace(t.value), err)
			continue
		}
		out = append(out, p)
	}
	return out
}
