package rules

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"gatehouse/policy"
)

// hosts reads a hosts clause, and gives the text of each host that stands.
func (c *compiler) hosts(table *ruleTable, deny bool) ([]policy.ListedHost, []text) {
	l := table.Hosts
	c.notEmpty(l)
	out := make([]policy.ListedHost, 0, len(l.items))
	texts := l.items
	for i, t := range l.items {
		h, ok := c.host(t, deny)
		if !ok {
			if len(texts) == len(l.items) { // the first that does not stand
				texts = slices.Clone(l.items[:i])
			}
			continue
		}
		if h.Port != 0 && table.Ports != nil {
			c.doc.report(codeHostPorts, t.at(), c.doc.replaced(t.at(), fmt.Sprintf("%q", h.HostPattern)),
				"%q is a URL and so says its port, but the rule has ports as well", t.value)
		}
		out = append(out, h)
		if len(texts) < len(l.items) {
			texts = append(texts, t)
		}
	}
	return out, texts
}

// host reads one entry of a hosts clause.
func (c *compiler) host(t text, deny bool) (policy.ListedHost, bool) {
	name, port := strings.TrimSpace(t.value), uint16(0)
	if _, network := parseNetwork(name); network && strings.Contains(name, "/") {
		c.doc.report(codeHost, t.at(), "addresses = ["+quote(name)+"]", "%q is a network; hosts are names or single addresses, and where a name may lead stands in addresses", t.value)
		return policy.ListedHost{}, false
	}
	if strings.Contains(name, "/") {
		var ok bool
		if name, port, ok = c.pasted(t); !ok {
			return policy.ListedHost{}, false
		}
	}
	if fix, ok := splitPort(name); ok {
		c.doc.report(codeHost, t.at(), fix, "host %q has a port; ports have a key of their own", t.value)
		return policy.ListedHost{}, false
	}
	p, err := policy.ParseHostPattern(name)
	if err != nil || meansAll(name) {
		c.badHost(t, name, err)
		return policy.ListedHost{}, false
	}
	if !c.hostStands(t, p, deny) {
		return policy.ListedHost{}, false
	}
	return policy.ListedHost{HostPattern: p, Port: port}, true
}

// hostStands refuses patterns and names that are well formed and dangerous. A
// deny may name the misspelt Service Bus: that is what it is for.
func (c *compiler) hostStands(t text, p policy.HostPattern, deny bool) bool {
	if name := p.String(); !deny && (name == misspelt || strings.HasSuffix(name, "."+misspelt)) {
		c.doc.report(codeMisspelt, t.at(), c.doc.replaced(t.at(), `"`+strings.Replace(name, misspelt, "servicebus.windows.net", 1)+`"`),
			"%q is misspelt: the Service Bus is servicebus.windows.net", t.value)
		return false
	}
	suffix := starSuffix(p.String())
	if suffix == "" {
		return true
	}
	if public, icann := publicsuffix.PublicSuffix(suffix); icann && public == suffix {
		c.doc.report(codeHostWide, t.at(), "", "%q permits every name that anybody registers below %s", t.value, suffix)
		return false
	}
	return true
}

// misspelt is the name that the vendor's page writes by mistake.
const misspelt = "servcebus.windows.net"

// starSuffix is what stands behind the last label with a star, empty where a
// pattern has none.
func starSuffix(pattern string) string {
	i := strings.LastIndexByte(pattern, '*')
	if i < 0 {
		return ""
	}
	_, suffix, _ := strings.Cut(pattern[i:], ".")
	return suffix
}

// oneSlash is the beginning of a URL with a slash or its scheme left out.
var oneSlash = regexp.MustCompile(`^(?i:https?:/*|//+)`)

// pasted reads a host that was pasted as a URL: its name, and the port that its
// scheme or itself says.
func (c *compiler) pasted(t text) (name string, port uint16, ok bool) {
	value := strings.TrimSpace(t.value)
	scheme, rest, isURL := strings.Cut(value, "://")
	if !isURL {
		rest = value
		if bare := oneSlash.ReplaceAllString(value, ""); bare != value {
			host, _, _ := strings.Cut(bare, "/")
			c.doc.report(codeHost, t.at(), c.doc.replaced(t.at(), quote(host)), "host %q is neither a name nor a URL", t.value)
			return "", 0, false
		}
	}
	authority, path, _ := strings.Cut(rest, "/")
	switch scheme = strings.ToLower(scheme); {
	case isURL && scheme != "http" && scheme != "https":
		c.doc.report(codeHost, t.at(), c.doc.replaced(t.at(), fmt.Sprintf("%q", authority)), "host %q has a scheme that the gate does not speak", t.value)
		return "", 0, false
	case strings.Contains(authority, "@"), authority == "":
		c.doc.report(codeHost, t.at(), "", "host %q is not a name", t.value)
		return "", 0, false
	}
	u, err := url.Parse("//" + strings.ReplaceAll(authority, "*", "x"))
	if err == nil && u.Port() != "" {
		n, _ := strconv.ParseUint(u.Port(), 10, 16)
		port = uint16(n)
		authority = authority[:strings.LastIndexByte(authority, ':')]
	} else if isURL {
		port = map[string]uint16{"http": 80, "https": 443}[scheme]
	}
	if path == "" && isURL && err == nil && (u.Port() == "" || port != 0) {
		return authority, port, true
	}
	fix := authority
	if port == 80 && isURL {
		fix = "http://" + authority + "/"
	}
	c.doc.report(codeHostPath, t.at(), c.doc.replaced(t.at(), fmt.Sprintf("%q", fix)), "host has a path")
	return "", 0, false
}

// splitPort offers the two keys that "host:port" was meant as.
func splitPort(s string) (fix string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || strings.Count(s, ":") > 1 && s[i-1] != ']' {
		return "", false
	}
	if _, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil {
		return "", false
	}
	return fmt.Sprintf("hosts = [%q]\nports = [%s]", s[:i], s[i+1:]), true
}

// checkable reports whether a pattern would be a name but for its stars: then
// what is wrong with it is where they stand.
func checkable(pattern string) bool {
	_, err := policy.ParseHost(starless(pattern))
	return err == nil
}

// badHost words a host that package policy refuses.
func (c *compiler) badHost(t text, name string, err error) {
	bare, starred := strings.CutPrefix(name, "*")
	if starred && bare != "" && bare[0] != '.' && !strings.Contains(bare, "*") && strings.Contains(bare, ".") {
		c.doc.report(codeHostWide, t.at(), c.doc.replaced(t.at(), fmt.Sprintf("%q, %q", bare, "*."+bare)),
			"%q would permit names that merely end in the same letters", t.value)
		return
	}
	if hosts, message := hostsMeant(name); message != "" {
		fix := ""
		if len(hosts) > 0 {
			fix = c.doc.items(t, hosts...)
		}
		code := codeHost
		if meansAll(name) {
			code = codeHostWide
		}
		c.doc.report(code, t.at(), fix, "host %q: %s", t.value, message)
		return
	}
	code := codeHost
	if strings.Contains(name, "*") && checkable(name) {
		code = codeHostWide
	}
	c.doc.report(code, t.at(), "", "%v", err)
}
