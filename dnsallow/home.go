package dnsallow

import (
	"fmt"
	"slices"
	"strings"
)

// localZones are the reverse zones of addresses that mean something else, or
// nothing, to everybody else: no question for a name in them leaves the house (RFC
// 6303, section 4; RFC 7793), unless the configuration says who knows the zone.
var localZones = slices.Concat(
	numbered("%d.172.in-addr.arpa", 16, 31),  // private
	numbered("%d.100.in-addr.arpa", 64, 127), // of carriers
	[]string{
		"10.in-addr.arpa", "168.192.in-addr.arpa", // private
		"0.in-addr.arpa", "127.in-addr.arpa", "254.169.in-addr.arpa",
		"2.0.192.in-addr.arpa", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa", "255.255.255.255.in-addr.arpa",
		strings.Repeat("0.", 32) + "ip6.arpa", "1." + strings.Repeat("0.", 31) + "ip6.arpa",
		"c.f.ip6.arpa", "d.f.ip6.arpa", // private
		"8.e.f.ip6.arpa", "9.e.f.ip6.arpa", "a.e.f.ip6.arpa", "b.e.f.ip6.arpa", // of a link
		"8.b.d.0.1.0.0.2.ip6.arpa",
	},
)

func numbered(format string, first, last int) []string {
	var list []string
	for n := first; n <= last; n++ {
		list = append(list, fmt.Sprintf(format, n))
	}
	return list
}

// local reports whether a lower-case name is in one of localZones.
func local(name string) bool {
	return strings.HasSuffix(name, ".arpa") && slices.ContainsFunc(localZones, func(zone string) bool {
		return name == zone || strings.HasSuffix(name, "."+zone)
	})
}

// home is what is known of q without asking anybody, nil where that is nothing:
// what the configuration says, and that nothing outside knows of a local zone.
func (r *Resolver) home(q question) *facts {
	if f := r.configured(q); f != nil {
		return f
	}
	if !local(q.name) || r.zone(q.name) != nil {
		return nil
	}
	return &facts{stored: r.now(), ttl: ttlNegative, nxdomain: true}
}
