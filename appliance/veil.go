package appliance

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"gatehouse/policy"
)

// veil takes the school's own addresses and names out of a text that is to leave
// the school. The same one has the same number throughout.
type veil struct {
	own     []netip.Prefix // besides what is not public anyway
	names   []string       // the longest first
	shown   map[netip.Addr]bool
	numbers map[string]int
}

func newVeil(c *Config, p *policy.Policy, at time.Time) *veil {
	v := &veil{numbers: map[string]int{}, shown: map[netip.Addr]bool{}}
	v.own = append(v.own, p.Permitted(at)...)
	for _, u := range c.Upstreams {
		v.hide(u.URL.Host)
	}
	for _, s := range c.DNS.Upstreams {
		v.hide(nameIn(s.String()))
		v.hide(pathIn(s.String()))
	}
	for _, h := range c.DNS.Hosts {
		v.hide(h.Name.String())
	}
	for _, f := range c.DNS.Forwards {
		v.hide(f.Zone.String())
	}
	v.hide(c.Log.Syslog.Dest.Host.String())
	for _, path := range []string{c.Log.Decisions, c.Log.Syslog.Path, c.Log.SyslogCertificate} {
		if path != "stdout" {
			v.hide(path)
		}
	}
	var packs []string // their hosts: no name of the school's may blot them out
	for _, r := range p.Rules() {
		for _, h := range r.Hosts {
			if r.Pack != "" {
				packs = append(packs, h.String())
			} else {
				v.hide(strings.TrimPrefix(h.String(), "*."))
			}
		}
	}
	v.names = slices.DeleteFunc(v.names, func(name string) bool {
		return slices.ContainsFunc(packs, func(host string) bool { return strings.Contains(host, name) })
	})
	slices.SortFunc(v.names, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	v.names = slices.Compact(v.names)
	return v
}

// nameIn is the name in a DNS server's spelling: "tls://10.0.0.1#NAME",
// "https://NAME/dns-query".
func nameIn(server string) string {
	if _, name, ok := strings.Cut(server, "#"); ok {
		return name
	}
	if u, err := url.Parse(server); err == nil {
		return u.Hostname()
	}
	return ""
}

// pathIn is the path of a server that is asked over HTTPS, where it is not the one
// that all have: often it names the customer.
func pathIn(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Path == "/dns-query" {
		return ""
	}
	return u.EscapedPath()
}

// private reports whether an address means nothing outside of the school.
func private(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsUnspecified() || shared.Contains(a)
}

// shared is the space of carriers' address translation (RFC 6598).
var shared = netip.MustParsePrefix("100.64.0.0/10")

// hide has a name or an address not shown.
func (v *veil) hide(name string) {
	if a, err := netip.ParseAddr(name); err == nil {
		v.own = append(v.own, netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()))
	} else if name != "" {
		v.names = append(v.names, name)
	}
}

// literal is what may be an address: of version 4 with its four numbers, of
// version 6 with at least two colons.
var literal = whenAsked(`\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*`)

// text is s without the school's own addresses and names.
func (v *veil) text(s string) string {
	for _, name := range v.names {
		if strings.Contains(s, name) {
			s = strings.ReplaceAll(s, name, v.number(name))
		}
	}
	return literal().ReplaceAllStringFunc(s, func(word string) string {
		bare := strings.TrimRight(word, ".")
		a, err := netip.ParseAddr(bare)
		if err != nil {
			bare = strings.TrimSuffix(bare, ":") // "::1: refused"
			if a, err = netip.ParseAddr(bare); err != nil {
				return word
			}
		}
		if shown := v.addr(a); shown != a.Unmap().String() {
			return shown + word[len(bare):]
		}
		return word
	})
}

// addr is an address as it is shown.
func (v *veil) addr(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || v.shown[a] || !private(a) && !slices.ContainsFunc(v.own, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return a.String()
	}
	return v.number(a.String())
}

func (v *veil) number(what string) string {
	n, ok := v.numbers[what]
	if !ok {
		n = len(v.numbers) + 1
		v.numbers[what] = n
	}
	return fmt.Sprintf("[internal %d]", n)
}
