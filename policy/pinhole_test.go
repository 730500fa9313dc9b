package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func forward(r *policy.Rule) { r.Via = policy.ViaForward }

// holes are pinholes in words: rule, protocol and ports.
func holes(list []policy.Pinhole) (words []string) {
	for _, h := range list {
		var b strings.Builder
		b.WriteString(h.Rule.Name + " " + h.Protocol.String())
		for _, p := range h.Ports {
			b.WriteString(" " + portWord(p))
		}
		words = append(words, b.String())
	}
	return words
}

func portWord(p policy.PortRange) string {
	if p.First == p.Last {
		return strings.TrimPrefix(policy.Dest{Port: p.First}.String(), ":")
	}
	return portWord(policy.PortRange{First: p.First, Last: p.First}) + "-" + portWord(policy.PortRange{First: p.Last, Last: p.Last})
}

// answered is the permit for one answered address.
func answered(t *testing.T, p *policy.Policy, client netip.Addr, name, addr string, aliases ...string) policy.Permit {
	t.Helper()
	v, permit := p.Query(policy.Query{At: now, Client: client, Name: host(name)})
	require.True(t, v.Allowed(), v.Reason)
	var led []policy.Host
	for _, a := range aliases {
		led = append(led, host(a))
	}
	v, permit = p.Answer(policy.Answer{At: now, Permit: permit, Aliases: led, Addr: netip.MustParseAddr(addr)})
	require.True(t, v.Allowed(), v.Reason)
	return permit
}

func TestWhatIsForwardedIsWhatTheRulesLetThrough(t *testing.T) {
	ends := now.Add(time.Hour)
	bus := with(allow("bus", "*.bus.example.org"), forward, on(443, 5671), func(r *policy.Rule) {
		r.Ports = append(r.Ports, policy.PortRange{First: 9350, Last: 9354})
	})
	for _, test := range []struct {
		name  string
		rules []policy.Rule
		want  []string
	}{
		{"every port of the rule", []policy.Rule{bus}, []string{"bus tcp 443 5671 9350-9354"}},
		{"udp on its own", []policy.Rule{with(allow("time", "a.bus.example.org"), forward, on(123), speaking(policy.UDP))}, []string{"time udp 123"}},
		{"the port of a pasted URL", []policy.Rule{with(allow("url"), forward, func(r *policy.Rule) {
			r.Hosts = []policy.ListedHost{{HostPattern: pattern("a.bus.example.org"), Port: 8443}}
		})}, []string{"url tcp 8443"}},
		{"nothing of what the gate relays", []policy.Rule{allow("relayed", "a.bus.example.org")}, nil},
		{"nothing where the address is none of the rule's", []policy.Rule{allow("relayed", "a.bus.example.org"), with(bus, leading("198.51.99.0/24"))}, nil},
		{"nothing where an alias is none of the rule's", []policy.Rule{allow("relayed", "a.bus.example.org"), with(bus, through("other.example.org"))}, nil},
		{"a deny takes its ports out", []policy.Rule{bus, with(deny("no", "a.bus.example.org"), on(443, 9352))}, []string{"bus tcp 5671 9350-9351 9353-9354"}},
		{"a deny of an address closes it", []policy.Rule{allow("relayed", "a.bus.example.org"), bus, with(deny("no"), leading("20.50.72.0/24"), on(443))}, []string{"bus tcp 5671 9350-9354"}},
		{"a deny of another address does not", []policy.Rule{bus, with(deny("no"), leading("198.51.99.0/24"))}, []string{"bus tcp 443 5671 9350-9354"}},
		{"a deny with inner clauses closes its ports, for nobody looks inside", []policy.Rule{bus, with(deny("no", "a.bus.example.org"), on(443), paths("/x"))}, []string{"bus tcp 5671 9350-9354"}},
		{"a deny of some clients closes its ports to all of them", []policy.Rule{bus, with(deny("no", "a.bus.example.org"), on(443), from("10.30.0.9"))}, []string{"bus tcp 5671 9350-9354"}},
		{"a deny of other clients than the rule's does not", []policy.Rule{with(bus, from("10.20.0.0/16")), with(deny("no", "a.bus.example.org"), on(443), from("10.30.0.9"))}, []string{"bus tcp 443 5671 9350-9354"}},
		{"a deny of tcp leaves udp alone", []policy.Rule{with(allow("time", "a.bus.example.org"), forward, on(123), speaking(policy.UDP)), with(deny("no", "a.bus.example.org"), speaking(policy.TCP), on(123))}, []string{"time udp 123"}},
		{"a deny whose day is over does not", []policy.Rule{bus, with(deny("no", "a.bus.example.org"), on(443), until(now))}, []string{"bus tcp 443 5671 9350-9354"}},
		{"several rules add up", []policy.Rule{bus, with(allow("more", "a.bus.example.org"), forward, on(25))}, []string{"more tcp 25", "bus tcp 443 5671 9350-9354"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := compile(t, test.rules...)
			permit := answered(t, p, server, "a.bus.example.org", "20.50.72.1", "cluster.example.org")
			require.Equal(t, test.want, holes(p.Pinholes(permit, now)))
		})
	}
	t.Run("a permit of an earlier policy is judged anew", func(t *testing.T) {
		before := compile(t, with(bus, until(ends)))
		permit := answered(t, before, server, "a.bus.example.org", "20.50.72.1")
		require.NotEmpty(t, before.Pinholes(permit, now))
		require.Empty(t, before.Pinholes(permit, ends), "the rule's day is over")
		require.Empty(t, compile(t, allow("other", "a.bus.example.org")).Pinholes(permit, now))
		require.Empty(t, compile(t, bus).Pinholes(policy.Permit{}, now), "no permit")
		var none *policy.Policy
		require.Empty(t, none.Pinholes(permit, now))
	})
}

func TestAnAddressThatARuleListsIsPinnedAtOnce(t *testing.T) {
	p := compile(t,
		with(allow("sql", "10.0.0.20", "sql.school.example"), forward, on(1433), leading("10.0.0.0/8")),
		with(allow("browser", "10.0.0.20"), forward, on(1434), speaking(policy.UDP)),
		with(allow("document", "fd00::20"), forward, on(8080)),
		allow("relayed", "10.0.0.21"))
	list := p.PinnedAddresses(now)
	require.Equal(t, []string{"sql tcp 1433", "browser udp 1434", "document tcp 8080"}, holes(list))
	require.Equal(t, netip.MustParseAddr("fd00::20"), list[2].Addr)
	var none *policy.Policy
	require.Empty(t, none.PinnedAddresses(now))
}

func TestThePortsThatAreRelayed(t *testing.T) {
	p := compile(t,
		with(allow("web", "www.example.org"), on(443, 80)),
		with(allow("bus", "bus.example.org"), func(r *policy.Rule) {
			r.Ports = []policy.PortRange{{First: 9350, Last: 9352}, {First: 9353, Last: 9354}}
		}),
		with(allow("url"), on(1), func(r *policy.Rule) {
			r.Hosts = []policy.ListedHost{{HostPattern: pattern("a.example.org"), Port: 8443}}
		}),
		with(allow("over", "o.example.org"), on(25), until(now)),
		with(allow("time", "t.example.org"), on(123), speaking(policy.UDP), forward),
		with(deny("no", "n.example.org"), on(666)))
	require.Equal(t, []policy.PortRange{{First: 80, Last: 80}, {First: 443, Last: 443}, {First: 8443, Last: 8443}, {First: 9350, Last: 9354}}, p.RelayedPorts(now))
	require.Contains(t, p.Permitted(now), netip.MustParsePrefix("127.0.0.0/8"))
}
