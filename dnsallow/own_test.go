package dnsallow

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// school opens a window that answers a name itself and forwards a zone.
func school(t *testing.T, rules ...policy.Rule) (w *window, controller *nettest.DNS) {
	return schoolWith(t, func(*ServerDeps) {}, rules...)
}

func schoolWith(t *testing.T, change func(*ServerDeps), rules ...policy.Rule) (w *window, controller *nettest.DNS) {
	controller = nettest.NewDNS(t,
		"dc1.school.local. 600 IN A 10.0.0.10",
		"_ldap._tcp.school.local. 600 IN SRV 0 100 389 dc1.school.local.",
		"files.school.local. 600 IN CNAME dc1.school.local.",
		"outside.school.local. 600 IN CNAME www.example.org.",
		"www.example.org. 600 IN A 13.13.13.13",
	)
	up := nettest.NewDNS(t)
	hosts := map[policy.Host][]netip.Addr{
		host(t, "mask.icloud.com"):    {netip.MustParseAddr("192.0.2.8")},
		host(t, "www.school.example"): {netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")},
	}
	zones := []Zone{
		{Name: host(t, "local"), Servers: []Upstream{upstream(t, up.Addr)}},
		{Name: host(t, "school.local"), Servers: []Upstream{upstream(t, controller.Addr)}},
	}
	w = open(t, up, compile(t, rules...), func(_ *ServerConfig, d *ServerDeps) {
		d.Resolver = resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.Hosts, c.Zones = hosts, zones })
		change(d)
	})
	return w, controller
}

func TestOwnNamesAreAnsweredToEveryPermittedClient(t *testing.T) {
	w, controller := school(t)
	for what, c := range map[string]struct {
		name  string
		qtype uint16
		rcode int
		want  []string
	}{
		"a host, IPv4":                       {"WWW.school.example.", dns.TypeA, dns.RcodeSuccess, []string{"A 192.0.2.7"}},
		"a host, IPv6":                       {"www.school.example.", dns.TypeAAAA, dns.RcodeSuccess, []string{"AAAA 2001:db8::7"}},
		"a host, another type":               {"www.school.example.", dns.TypeMX, dns.RcodeSuccess, nil},
		"a host, ANY":                        {"www.school.example.", dns.TypeANY, dns.RcodeSuccess, []string{`HINFO "RFC8482" ""`}},
		"a forwarded name":                   {"DC1.school.local.", dns.TypeA, dns.RcodeSuccess, []string{"A 10.0.0.10"}},
		"a forwarded name of any type":       {"_ldap._tcp.school.local.", dns.TypeSRV, dns.RcodeSuccess, []string{"SRV 0 100 389 dc1.school.local."}},
		"a forwarded alias":                  {"files.school.local.", dns.TypeA, dns.RcodeSuccess, []string{"CNAME dc1.school.local.", "A 10.0.0.10"}},
		"what leads out of the zone is left": {"outside.school.local.", dns.TypeA, dns.RcodeSuccess, []string{"CNAME www.example.org."}},
		"a forwarded name that is not there": {"none.school.local.", dns.TypeA, dns.RcodeNameError, nil},
		"a forwarded transfer":               {"school.local.", dns.TypeAXFR, dns.RcodeRefused, nil},
	} {
		t.Run(what, func(t *testing.T) {
			reply := w.ask(t, query(c.name, c.qtype))
			require.Equal(t, dns.RcodeToString[c.rcode], dns.RcodeToString[reply.Rcode])
			require.Equal(t, append([]string{}, c.want...), answers(reply))
			if len(reply.Answer) > 0 {
				require.Equal(t, c.name, reply.Answer[0].Header().Name)
			}
			w.book.only(t)
		})
	}
	require.Zero(t, w.up.Asked("", ""), "the longest zone counts, and hosts are nobody else's business")
	require.Positive(t, controller.Asked("", ""))
}

func TestOwnNamesAreStillRefusedWhereADenyOrACanarySaysSo(t *testing.T) {
	w, controller := school(t, deny(t, "never", "dc1.school.local"), deny(t, "nor", "www.school.example"))
	for _, name := range []string{"dc1.school.local.", "www.school.example."} {
		require.Equal(t, dns.RcodeNameError, w.ask(t, query(name, dns.TypeA)).Rcode)
		require.Equal(t, policy.DeniedByRule, w.book.only(t).Verdict.Reason)
	}
	require.Equal(t, dns.RcodeNameError, w.ask(t, query("mask.icloud.com.", dns.TypeA)).Rcode)
	require.Equal(t, policy.Canary, w.book.only(t).Verdict.Reason)
	require.Zero(t, controller.Asked("", ""))
}

func TestAnUpdateOfAForwardedZoneIsRefused(t *testing.T) {
	w, controller := school(t)
	require.Equal(t, dns.RcodeRefused, w.ask(t, new(dns.Msg).SetUpdate("school.local.")).Rcode)
	require.Equal(t, dns.RcodeNotImplemented, w.ask(t, new(dns.Msg).SetUpdate("example.org.")).Rcode)
	// Whatever else stands in it: a signature that is cut off, a record of no known form.
	bad := packed(t, new(dns.Msg).SetUpdate("_msdcs.School.local."))
	bad[headerBytes-1] = 1
	require.Equal(t, dns.RcodeRefused, w.read(t, w.raw(t, append(bad, 0, 0, 250, 0, 255), patience)).Rcode)
	require.Zero(t, controller.Asked("", ""))
}

func TestAZoneWhoseServersFailIsSERVFAIL(t *testing.T) {
	w, controller := school(t)
	controller.Handle("dc1.school.local", nettest.Rcode(dns.RcodeServerFailure))
	reply := w.ask(t, query("dc1.school.local.", dns.TypeA))
	require.Equal(t, dns.RcodeServerFailure, reply.Rcode)
	code, _ := explained(reply)
	require.Equal(t, dns.ExtendedErrorCodeNoReachableAuthority, code)
}

func TestTheProxyNeedsARuleForOwnNames(t *testing.T) {
	private := func(r *policy.Rule) { r.Addresses = policy.Addresses{Prefixes: policy.PrivateRanges()} }
	w, controller := school(t, allow(t, "dc", "dc1.school.local", private), allow(t, "web", "www.school.example", intoPrefix("192.0.2.0/24")))
	p := w.live.Policy()
	permits, _, err := w.resolver.Resolve(t.Context(), permit(t, p, machine, "dc1.school.local", 443, w.clock.Now()))
	require.NoError(t, err)
	require.Equal(t, []string{"10.0.0.10"}, addrs(permits))
	require.Positive(t, controller.Asked("dc1.school.local", "A"))
	permits, _, err = w.resolver.Resolve(t.Context(), permit(t, p, machine, "www.school.example", 443, w.clock.Now()))
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.7"}, addrs(permits))
	v, _ := p.Connect(policy.Connect{Client: machine, Surface: policy.CONNECT, Dest: policy.Dest{Host: host(t, "files.school.local"), Port: 443}, At: w.clock.Now()})
	require.Equal(t, policy.HostNotListed, v.Reason)
}

// A Windows machine asks for the SOA of its own name, which has none, and sends
// its update to the server that the SOA of the zone names.
func TestTheSOAOfAForwardedZoneIsTheZonesOwn(t *testing.T) {
	const soa = "school.local. 900 IN SOA dc1.school.local. hostmaster.school.local. 7 3600 600 86400 30"
	lie := func(owner string) func(dns.ResponseWriter, *dns.Msg) {
		return func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			rr, _ := dns.NewRR(owner + " 900 IN SOA ns.evil.example. x.evil.example. 1 1 1 1 30")
			m.Ns = []dns.RR{rr}
			w.WriteMsg(m)
		}
	}
	w, controller := school(t)
	controller.Zone(t, soa, "pc1.school.local. 600 IN A 10.0.0.21")
	controller.Handle("pc1.school.local", func(w dns.ResponseWriter, q *dns.Msg) {
		m := controller.Honest(q)
		rr, _ := dns.NewRR(soa)
		m.Ns = []dns.RR{rr}
		w.WriteMsg(m)
	})
	reply := w.ask(t, query("school.local.", dns.TypeSOA))
	require.Equal(t, []string{"SOA dc1.school.local. hostmaster.school.local. 7 3600 600 86400 30"}, answers(reply))
	reply = w.ask(t, query("pc1.school.local.", dns.TypeSOA))
	require.Empty(t, reply.Answer)
	require.Equal(t, []string{"school.local. dc1.school.local."}, authorities(reply))

	for _, foreign := range []string{"evil.example.", ".", "local."} {
		controller.Handle("pc1.school.local", lie(foreign))
		reply = w.ask(t, query("pc1.school.local.", dns.TypeSOA))
		require.Equal(t, []string{"pc1.school.local. gatehouse.invalid."}, authorities(reply), foreign)
	}
}

func TestRecordsOfEveryKindAreHandedOnWhole(t *testing.T) {
	var zone []string
	for _, data := range []string{
		"A 10.0.0.5", "AAAA fd00::5", "MX 10 mail.school.local.", "NS dc1.school.local.", "PTR dc1.school.local.",
		`TXT "" "a;b" "c\000\255"`, "SRV 0 100 389 dc1.school.local.", `NAPTR 1 1 "u" "sip" "!^.*$!sip:a@b!" .`, `CAA 0 issue "ca.school.example"`,
		"HTTPS 1 . alpn=h2 ipv4hint=10.0.0.5", "TLSA 3 1 1 aabb", "DS 1 8 2 aabb", "DNSKEY 256 3 8 AQID", "NSEC next.school.local. A TXT",
		"NSEC3PARAM 1 0 1 -", "LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", `HINFO "PC" "Windows"`, "SSHFP 1 1 aabb", `TYPE65280 \# 2 aabb`,
	} {
		zone = append(zone, "all.school.local. 600 IN "+data)
	}
	w, controller := school(t)
	controller.Zone(t, zone...)
	for _, text := range zone {
		rr, err := dns.NewRR(text)
		require.NoError(t, err)
		reply := w.ask(t, query("all.school.local.", rr.Header().Rrtype))
		require.Len(t, reply.Answer, 1, text)
		require.Equal(t, rr.String(), reply.Answer[0].String())
	}
	// What has no data, or half of them, is none.
	controller.Handle("all.school.local", func(rw dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{
			&dns.ANY{Hdr: dns.RR_Header{Name: "all.school.local.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 600}},
			&dns.RFC3597{Hdr: dns.RR_Header{Name: "all.school.local.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 600}, Rdata: "00"},
		}
		rw.WriteMsg(m)
	})
	require.Empty(t, w.ask(t, query("all.school.local.", dns.TypeA)).Answer)
}

func authorities(m *dns.Msg) []string {
	var list []string
	for _, rr := range m.Ns {
		list = append(list, rr.Header().Name+" "+rr.(*dns.SOA).Ns)
	}
	return list
}
