package dnsallow

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Upstream is a DNS server that recurses for us. Only ParseUpstream makes one.
type Upstream struct {
	addr    netip.AddrPort
	tcp     bool // asked over TCP only
	spelled string
}

// String is the upstream as the configuration wrote it.
func (u Upstream) String() string { return u.spelled }

// Addr is where the upstream is asked.
func (u Upstream) Addr() netip.AddrPort { return u.addr }

const dnsPort = 53

// ParseUpstream reads an upstream: an IP address, with or without a port
// ("9.9.9.9", "127.0.0.1:5353", "[2620:fe::fe]:53"), which is asked over UDP,
// and over TCP where an answer does not fit; or the same behind "tcp://", which
// is asked over TCP only.
func ParseUpstream(s string) (Upstream, error) {
	u := Upstream{spelled: s}
	rest := strings.TrimSpace(s)
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		switch strings.ToLower(scheme) {
		case "udp":
		case "tcp":
			u.tcp = true
		case "tls", "https":
			return Upstream{}, fmt.Errorf("upstream %q: this version does not speak %s to upstream servers; name the server by its IP address", s, scheme)
		default:
			return Upstream{}, fmt.Errorf("upstream %q: %q is no way to ask a DNS server; write an IP address, or tcp:// before it", s, scheme)
		}
		rest = after
	}
	var err error
	if u.addr, err = parseServer(rest); err != nil {
		return Upstream{}, fmt.Errorf("upstream %q: %w", s, err)
	}
	return u, nil
}

func parseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, dnsPort), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, errors.New("a DNS server is named by its IP address, with a port if it is not 53: \"9.9.9.9\", \"127.0.0.1:5353\", \"[2620:fe::fe]:53\"")
	}
	return ap, nil
}

// SystemUpstreams reads the servers of a resolv.conf file, for an appliance
// that names none.
func SystemUpstreams(path string) ([]Upstream, error) {
	conf, err := dns.ClientConfigFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("the system's DNS servers: %w", err)
	}
	var list []Upstream
	for _, s := range conf.Servers {
		if u, err := ParseUpstream(s); err == nil {
			list = append(list, u)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s names no DNS server; set dns.upstreams", path)
	}
	return list, nil
}
