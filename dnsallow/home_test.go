package dnsallow

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestLocalZones(t *testing.T) {
	for name, want := range map[string]bool{
		"5.0.20.10.in-addr.arpa": true, "10.in-addr.arpa": true, "110.in-addr.arpa": false, "10.in-addr.arpa.example": false,
		"1.16.172.in-addr.arpa": true, "1.31.172.in-addr.arpa": true, "1.15.172.in-addr.arpa": false, "1.32.172.in-addr.arpa": false,
		"1.168.192.in-addr.arpa": true, "1.169.192.in-addr.arpa": false, "1.64.100.in-addr.arpa": true, "1.128.100.in-addr.arpa": false,
		"254.169.in-addr.arpa": true, "1.0.0.127.in-addr.arpa": true, "71.107.74.13.in-addr.arpa": false,
		"5.d.f.ip6.arpa": true, "5.e.f.ip6.arpa": false, "8.e.f.ip6.arpa": true, "in-addr.arpa": false, "arpa": false, "www.example.org": false,
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa": true,
	} {
		require.Equal(t, want, local(name), name)
	}
}

// Monitor mode lets every name pass, and a rule may name any: a name that tells of
// the school's own network stays in the house all the same.
func TestReverseNamesOfTheSchoolStayInTheHouse(t *testing.T) {
	const ours, world = "5.0.20.10.in-addr.arpa", "71.107.74.13.in-addr.arpa"
	for what, p := range map[string]*policy.Policy{
		"monitor": compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: []policy.Rule{allow(t, "web", "www.groupcall.co.uk")}}),
		"a rule":  compile(t, allow(t, "ours", ours), allow(t, "world", world)),
	} {
		t.Run(what, func(t *testing.T) {
			w := open(t, nettest.NewDNS(t), p)
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeTXT} {
				reply := w.ask(t, query(ours+".", qtype))
				require.Empty(t, reply.Answer)
				require.Len(t, reply.Ns, 1)
				if qtype == dns.TypeA {
					require.Equal(t, dns.RcodeNameError, reply.Rcode)
				}
			}
			_, _, err := w.resolver.Resolve(t.Context(), permit(t, p, machine, ours, 443, w.clock.Now()))
			require.ErrorContains(t, err, "does not exist", "nor for the proxy")
			require.Zero(t, w.up.Asked("", ""))
			w.ask(t, query(world+".", dns.TypeA))
			require.Equal(t, 1, w.up.Asked(world, ""))
		})
	}
}

func TestAReverseZoneIsForwardedWhereTheConfigurationSaysWhoKnowsIt(t *testing.T) {
	const name = "10.0.0.10.in-addr.arpa"
	controller := nettest.NewDNS(t, name+". 600 IN PTR dc1.school.local.")
	up := nettest.NewDNS(t)
	w := open(t, up, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) {
		d.Resolver = resolverTo(t, up, newClock(), func(c *ResolverConfig) {
			c.Zones = []Zone{{Name: host(t, "10.in-addr.arpa"), Servers: []Upstream{upstream(t, controller.Addr)}}}
		})
	})
	require.Equal(t, []string{"PTR dc1.school.local."}, answers(w.ask(t, query(name+".", dns.TypePTR))))
	require.Equal(t, dns.RcodeNameError, w.ask(t, query("1.0.168.192.in-addr.arpa.", dns.TypePTR)).Rcode, "another stays in the house")
	require.Zero(t, up.Asked("", ""))
}
