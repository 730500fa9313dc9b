package dnsallow

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// transport is how an upstream is asked.
type transport uint8

const (
	overUDPFirst transport = iota // and over TCP where an answer does not fit
	overPlainTCP                  // RFC 7766
	overDNSTLS                    // RFC 7858
	overDNSHTTPS                  // RFC 8484
)

// Upstream is a DNS server that recurses for us. Only ParseUpstream makes one.
type Upstream struct {
	addr    netip.AddrPort // no address where host has to be looked up first
	how     transport
	name    string      // what its certificate must say
	host    policy.Host // of an https URL that has a name and no address
	path    string      // of the URL
	spelled string
}

// String is the upstream as the configuration wrote it.
func (u Upstream) String() string { return u.spelled }

// Addr is where the upstream is asked; without an address where its URL has a
// name, which the other upstreams are asked for.
func (u Upstream) Addr() netip.AddrPort { return u.addr }

// The ports of DNS, DNS over TLS and DNS over HTTPS.
const (
	dnsPort   = 53
	tlsPort   = 853
	httpsPort = 443
)

// ParseUpstream reads an upstream:
//
//   - "9.9.9.9", "127.0.0.1:5353", "[2620:fe::fe]:53": asked over UDP, and over
//     TCP where an answer does not fit;
//   - the same behind "tcp://": asked over TCP only;
//   - "tls://9.9.9.9#dns.quad9.net": asked over TLS; the certificate must be for
//     the name behind "#", or for the address where none is given;
//   - "https://9.9.9.9/dns-query#dns.quad9.net" in the same way, or
//     "https://dns.quad9.net/dns-query", whose name the other upstreams are asked
//     for.
func ParseUpstream(s string) (Upstream, error) {
	u := Upstream{spelled: s}
	scheme, rest, ok := strings.Cut(strings.TrimSpace(s), "://")
	if !ok {
		scheme, rest = "udp", scheme
	}
	var err error
	switch strings.ToLower(scheme) {
	case "udp":
		u.addr, err = parseServer(rest, dnsPort)
	case "tcp":
		u.how = overPlainTCP
		u.addr, err = parseServer(rest, dnsPort)
	case "tls":
		err = u.parseTLS(rest)
	case "https":
		err = u.parseHTTPS(rest)
	default:
		err = fmt.Errorf("%q is no way to ask a DNS server; write an IP address, or tcp://, tls:// or https:// before it", scheme)
	}
	if err != nil {
		return Upstream{}, fmt.Errorf("upstream %q: %w", s, err)
	}
	return u, nil
}

func (u *Upstream) parseTLS(rest string) (err error) {
	u.how = overDNSTLS
	server, name, named := strings.Cut(rest, "#")
	if u.addr, err = parseServer(server, tlsPort); err != nil {
		return err
	}
	return u.certified(name, named)
}

func (u *Upstream) parseHTTPS(rest string) error {
	u.how = overDNSHTTPS
	parsed, err := url.Parse("https://" + rest)
	if err != nil || parsed.User != nil || parsed.RawQuery != "" || parsed.Host == "" {
		return errors.New("a DNS server over HTTPS is written like https://9.9.9.9/dns-query#dns.quad9.net")
	}
	u.path = cmp.Or(parsed.EscapedPath(), "/dns-query")
	server := net.JoinHostPort(parsed.Hostname(), cmp.Or(parsed.Port(), "443"))
	if _, err := netip.ParseAddr(parsed.Hostname()); err == nil {
		if u.addr, err = parseServer(server, httpsPort); err != nil {
			return err
		}
		return u.certified(parsed.Fragment, strings.Contains(rest, "#"))
	}
	u.host, err = policy.ParseHost(parsed.Hostname())
	if err != nil || u.host.IsIP() || strings.Contains(rest, "#") {
		return errors.New("the host of the URL is neither a name nor an IP address; only an address has the name of its certificate behind \"#\"")
	}
	probe, err := parseServer(net.JoinHostPort("0.0.0.0", cmp.Or(parsed.Port(), "443")), httpsPort)
	u.addr = netip.AddrPortFrom(netip.Addr{}, probe.Port())
	u.name = u.host.Name()
	return err
}

// certified notes what the certificate must say.
func (u *Upstream) certified(name string, named bool) error {
	if !named {
		u.name = u.addr.Addr().String()
		return nil
	}
	h, err := policy.ParseHost(name)
	if err != nil || h.IsIP() {
		return errors.New("behind \"#\" stands the name of the server's certificate, like tls://9.9.9.9#dns.quad9.net")
	}
	u.name = h.Name()
	return nil
}

// parseServer reads an address, with a port if it is not the usual one; an IPv4 address
// that is mapped into IPv6 is asked at its own.
func parseServer(s string, port uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a.Unmap(), port), nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Port() == 0 {
		return netip.AddrPort{}, errors.New("a DNS server is named by its IP address, with a port if it is not the usual one: \"9.9.9.9\", \"127.0.0.1:5353\", \"[2620:fe::fe]:53\"")
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
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
