package policy

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// neverRanges lead to the machine itself, its link, everybody, or the cloud's
// own control plane: no rule permits them (169.254.169.254 is link-local;
// 168.63.129.16 is Azure's virtual platform address).
var neverRanges = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
	"168.63.129.16/32",
	"::/128", "::1/128", "fe80::/10", "ff00::/8", "fd00:ec2::254/128",
)

// embeddingRanges carry an IPv4 address inside an IPv6 one: IPv4-mapped
// (RFC 4291), IPv4-compatible (RFC 4291, deprecated), NAT64 (RFC 6052, 8215),
// 6to4 (RFC 3056) and Teredo (RFC 4380).
var embeddingRanges = []embedding{
	{netip.MustParsePrefix("::ffff:0:0/96"), lowFour},
	{netip.MustParsePrefix("::/96"), lowFour},
	{netip.MustParsePrefix("64:ff9b::/96"), lowFour},
	{netip.MustParsePrefix("64:ff9b:1::/48"), lowFour},
	{netip.MustParsePrefix("2002::/16"), func(b [16]byte) netip.Addr { return netip.AddrFrom4([4]byte(b[2:6])) }},
	{netip.MustParsePrefix("2001::/32"), func(b [16]byte) netip.Addr {
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	}},
}

type embedding struct {
	prefix netip.Prefix
	inner  func([16]byte) netip.Addr
}

func lowFour(b [16]byte) netip.Addr { return netip.AddrFrom4([4]byte(b[12:16])) }

// specialRanges are IANA's special-purpose registries (RFC 6890 and its
// updates), all of them, globally reachable or not, and the multicast ranges.
// What is left of IPv4, and of 2000::/3, is "public".
var specialRanges = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
	"192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
)

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// PrivateRanges are what "private" stands for in a rules file.
func PrivateRanges() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
	}
}

// NeverPermitted reports whether no rule leads to any address of the prefix
// (unless treat_as_public names it).
func NeverPermitted(prefix netip.Prefix) bool { return neverRanges.LookupPrefix(prefix) }

func prefixes(texts ...string) *bart.Lite {
	t := new(bart.Lite)
	for _, s := range texts {
		t.Insert(netip.MustParsePrefix(s))
	}
	return t
}

// standing is what an address is before any rule is asked.
type standing uint8

const (
	standingNever   standing = iota // no rule may lead there
	standingSpecial                 // only a rule that names its range
	standingPublic                  // global unicast, or made so by treat_as_public
)

// stand judges an address by the registries and by treat_as_public alone. An
// address that carries an IPv4 one inside is refused unless treat_as_public
// names it, and then the address inside must pass as well.
func (p *Policy) stand(a netip.Addr) standing {
	if !a.IsValid() || a.Zone() != "" {
		return standingNever
	}
	treated := p.treatAsPublic.Contains(a)
	inner, carries := embedded(a)
	switch {
	case carries && (!treated || p.stand(inner) < standingPublic):
		return standingNever
	case treated:
		return standingPublic
	case neverRanges.Contains(a):
		return standingNever
	case specialRanges.Contains(a), a.Is6() && !globalUnicast6.Contains(a):
		return standingSpecial
	}
	return standingPublic
}

// embedded is the IPv4 address that a carries inside, if it carries one.
func embedded(a netip.Addr) (inner netip.Addr, carries bool) {
	if !a.Is6() || isLow(a) {
		return netip.Addr{}, false
	}
	for _, e := range embeddingRanges {
		if e.prefix.Contains(a) {
			return e.inner(a.As16()), true
		}
	}
	return netip.Addr{}, false
}

// isLow keeps :: and ::1 out of the IPv4-compatible range: they are addresses
// of their own.
func isLow(a netip.Addr) bool { return a == netip.IPv6Unspecified() || a == netip.IPv6Loopback() }

// addressSet is a compiled addresses clause.
type addressSet struct {
	dflt     bool
	public   bool
	prefixes *bart.Lite // nil: none
	tags     *bart.Lite // nil: none
}

func compileAddresses(a Addresses, share func([]netip.Prefix) *bart.Lite) addressSet {
	s := addressSet{dflt: a.Default, public: a.Public}
	if len(a.Prefixes) > 0 {
		s.prefixes = share(a.Prefixes)
	}
	var tagged []netip.Prefix
	for _, t := range a.Tags {
		tagged = append(tagged, t.Prefixes...)
	}
	if len(tagged) > 0 {
		s.tags = share(tagged)
	}
	return s
}

// permits reports whether the clause takes an address of the given standing,
// reached by host.
func (s *addressSet) permits(a netip.Addr, st standing, host Host) bool {
	switch {
	case st == standingNever:
		return false
	case s.dflt && host.IsIP():
		if a == host.addr {
			return true
		}
	case (s.dflt || s.public) && st >= standingPublic:
		return true
	}
	if s.prefixes != nil && s.prefixes.Contains(a) {
		return true
	}
	return s.tags != nil && s.tags.Contains(a)
}

// names reports whether a deny's clause names the address, or the IPv4 one it
// carries: through a NAT64 a passage leads to the latter. A deny needs no
// standing: it may name what is never permitted anyway.
func (s *addressSet) names(a netip.Addr, st standing) bool {
	if s.public && st >= standingPublic || s.lists(a) {
		return true
	}
	inner, carries := embedded(a)
	return carries && s.lists(inner)
}

func (s *addressSet) lists(a netip.Addr) bool {
	return s.prefixes != nil && s.prefixes.Contains(a) || s.tags != nil && s.tags.Contains(a)
}
