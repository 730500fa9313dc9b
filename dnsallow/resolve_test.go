package dnsallow

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestResolveLeadsOnlyWhereThePolicySays(t *testing.T) {
	const name = "emergeen.servicebus.windows.net"
	inRegion := func(t testing.TB, changes ...func(*policy.Rule)) []policy.Rule {
		return []policy.Rule{allow(t, "bus", name, append([]func(*policy.Rule){into(northEurope)}, changes...)...)}
	}
	public := []policy.Rule{allow(t, "web", name)}
	for what, c := range map[string]struct {
		zone   []string
		rules  []policy.Rule
		want   []string
		reason policy.Reason
	}{
		"an address in the region is dialled": {
			[]string{"A 13.74.107.71"}, inRegion(t), []string{"13.74.107.71"}, policy.Matched},
		"families take turns, IPv6 first": {
			[]string{"A 13.74.1.1", "A 13.74.1.2", "AAAA 2603:1020:5::1"}, inRegion(t),
			[]string{"2603:1020:5::1", "13.74.1.1", "13.74.1.2"}, policy.Matched},
		"of a good and a bad address the good one is left": {
			[]string{"A 13.69.64.65", "A 13.74.107.71"}, inRegion(t), []string{"13.74.107.71"}, policy.Matched},
		"an address of another region is refused": {
			[]string{"A 13.69.64.65"}, inRegion(t), []string{}, policy.AddressNotAllowed},
		"a private address behind a public name is refused": {
			[]string{"A 10.0.0.5", "A 192.168.1.1", "A 100.64.0.1"}, public, []string{}, policy.AddressNotAllowed},
		"loopback, link-local and metadata addresses are refused": {
			[]string{"A 127.0.0.1", "A 169.254.169.254", "A 168.63.129.16", "A 0.0.0.0", "AAAA ::1", "AAAA fe80::1"}, public, []string{}, policy.AddressNotAllowed},
		"IPv4 dressed as IPv6 is refused": {
			[]string{"AAAA ::ffff:13.74.107.71", "AAAA 64:ff9b::d4a:6b47", "AAAA 2002:0d4a:6b47::1", "AAAA ::13.74.107.71"}, public, []string{}, policy.AddressNotAllowed},
		"a deny that drops what an allow would take is the reason": {
			[]string{"A 13.74.107.71"}, append(inRegion(t), deny(t, "no", "", intoPrefix("13.74.0.0/16"))), []string{}, policy.DeniedByRule},
		"a deny that drops what no allow would take is not the reason": {
			[]string{"A 10.0.0.5"}, append(public, deny(t, "no", "", intoPrefix("10.0.0.0/8"))), []string{}, policy.AddressNotAllowed},
		"of a denied address and one that leads nowhere the deny is the reason": {
			[]string{"A 13.69.64.65", "A 13.74.107.71"}, append(inRegion(t), deny(t, "no", "", intoPrefix("13.74.0.0/16"))), []string{}, policy.DeniedByRule},
		"an alias nobody restricts is followed": {
			[]string{"CNAME ns-sb2.cloudapp.net.", "@cloudapp A 13.74.107.71"}, inRegion(t), []string{"13.74.107.71"}, policy.Matched},
		"an alias outside the rule's list is refused": {
			[]string{"CNAME ns-sb2.cloudapp.net.", "@cloudapp A 13.74.107.71"}, inRegion(t, through(t, "*.windows.net")), []string{}, policy.AliasNotAllowed},
		"a denied name is refused as an alias too": {
			[]string{"CNAME ns-sb2.cloudapp.net.", "@cloudapp A 13.74.107.71"}, append(inRegion(t), deny(t, "no", "*.cloudapp.net")), []string{}, policy.DeniedByRule},
	} {
		t.Run(what, func(t *testing.T) {
			var zone []string
			for _, z := range c.zone {
				if rest, ok := cutPrefix(z, "@cloudapp "); ok {
					zone = append(zone, "ns-sb2.cloudapp.net. 9 IN "+rest)
				} else {
					zone = append(zone, name+". 9 IN "+z)
				}
			}
			clock := newClock()
			p := compile(t, c.rules...)
			r := resolverTo(t, nettest.NewDNS(t, zone...), clock)
			permits, v, err := r.Resolve(context.Background(), permit(t, p, machine, name, 443, clock.Now()))
			require.NoError(t, err)
			require.Equal(t, c.want, addrs(permits))
			require.Equal(t, c.reason.String(), v.Reason.String())
			require.Equal(t, len(c.want) > 0, v.Allowed())
			for _, narrowed := range permits {
				require.True(t, narrowed.IssuedBy(p))
				require.Equal(t, uint16(443), narrowed.Dest().Port)
			}
		})
	}
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

func TestAnAddressLiteralIsJudgedWithoutAnyLookUp(t *testing.T) {
	up, clock := nettest.NewDNS(t), newClock()
	r := resolverTo(t, up, clock)
	p := compile(t, allow(t, "literal", "192.0.2.7"), allow(t, "elsewhere", "192.0.2.8", into(northEurope)))

	permits, v, err := r.Resolve(context.Background(), permit(t, p, machine, "192.0.2.7", 443, clock.Now()))
	require.NoError(t, err)
	require.True(t, v.Allowed())
	require.Equal(t, []string{"192.0.2.7"}, addrs(permits))

	permits, v, err = r.Resolve(context.Background(), permit(t, p, machine, "192.0.2.8", 443, clock.Now()))
	require.NoError(t, err)
	require.Empty(t, permits)
	require.Equal(t, policy.AddressNotAllowed, v.Reason)
	require.Zero(t, up.Asked("", ""))
}

func TestWithoutAPermitNobodyIsAsked(t *testing.T) {
	up := nettest.NewDNS(t, "www.example.org. 300 IN A 192.0.2.7")
	permits, v, err := resolverTo(t, up, newClock()).Resolve(context.Background(), policy.Permit{})
	require.NoError(t, err)
	require.Empty(t, permits)
	require.False(t, v.Allowed())
	require.Equal(t, policy.NoPolicy, v.Reason)
	require.Zero(t, up.Asked("", ""))
}

func TestEachAskerIsJudgedAnewFromOneAnswer(t *testing.T) {
	const name = "emergeen.servicebus.windows.net"
	up := nettest.NewDNS(t, name+". 300 IN A 13.74.107.71", name+". 300 IN A 13.69.64.65")
	clock := newClock()
	r := resolverTo(t, up, clock)
	p := compile(t,
		allow(t, "north", name, into(northEurope), from(machine)),
		allow(t, "west", name, into(westEurope), from(tablet)),
		allow(t, "west-9350", name, into(westEurope), from(machine), onPort(9350)),
	)
	for _, c := range []struct {
		client netip.Addr
		port   uint16
		want   string
	}{{machine, 443, "13.74.107.71"}, {tablet, 443, "13.69.64.65"}, {machine, 9350, "13.69.64.65"}} {
		permits, _, err := r.Resolve(context.Background(), permit(t, p, c.client, name, c.port, clock.Now()))
		require.NoError(t, err)
		require.Equal(t, []string{c.want}, addrs(permits))
	}
	require.Equal(t, 1, up.Asked(name, "A"))
	require.Equal(t, 1, up.Asked(name, "AAAA"))
	require.Equal(t, 2, r.CacheEntries())
	require.Equal(t, uint64(4), r.CacheHits())
}

func TestMonitorModeGoesWhereEnforcementWould(t *testing.T) {
	const name = "emergeen.servicebus.windows.net"
	up := nettest.NewDNS(t, name+". 9 IN A 13.69.64.65", name+". 9 IN A 13.74.107.71", name+". 9 IN AAAA 2620:fe::1",
		"west.servicebus.windows.net. 9 IN A 13.69.64.65", "inside.servicebus.windows.net. 9 IN A 10.0.0.5")
	clock := newClock()
	r := resolverTo(t, up, clock)
	p := compileSpec(t, policy.Spec{Mode: policy.Monitor, Rules: []policy.Rule{allow(t, "bus", "*.servicebus.windows.net", into(northEurope))}})
	ask := func(name string) ([]policy.Permit, policy.Verdict) {
		permits, v, err := r.Resolve(context.Background(), permit(t, p, machine, name, 443, clock.Now()))
		require.NoError(t, err)
		return permits, v
	}
	permits, v := ask(name)
	require.Equal(t, []string{"13.74.107.71"}, addrs(permits))
	require.Equal(t, "allowed", v.String())

	permits, v = ask("west.servicebus.windows.net")
	require.Equal(t, []string{"13.69.64.65"}, addrs(permits))
	require.Equal(t, "would_deny", v.String())
	require.Equal(t, policy.AddressNotAllowed, v.Reason)

	permits, v = ask("inside.servicebus.windows.net")
	require.Empty(t, permits)
	require.Equal(t, policy.AddressNotAllowed, v.Reason)
}

func TestOneFamilySufficesWhenTheOtherFails(t *testing.T) {
	for what, other := range map[string]dns.HandlerFunc{
		"SERVFAIL": nettest.Rcode(dns.RcodeServerFailure), "silence": nettest.Silence,
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, "www.example.org. 300 IN A 13.74.107.71")
			up.Handle("www.example.org", func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeAAAA {
					other(w, q)
					return
				}
				up.HonestHandler(w, q)
			})
			clock := newClock()
			p := compile(t, allow(t, "web", "www.example.org"))
			permits, v, err := resolverTo(t, up, clock).Resolve(context.Background(), permit(t, p, machine, "www.example.org", 443, clock.Now()))
			require.NoError(t, err)
			require.True(t, v.Allowed())
			require.Equal(t, []string{"13.74.107.71"}, addrs(permits))
		})
	}
}

func TestNamesThatLeadNowhereAreNoVerdict(t *testing.T) {
	for what, c := range map[string]struct {
		handler                   dns.HandlerFunc
		name                      string
		nxdomain, nodata, timeout bool
	}{
		"a name that does not exist":     {nil, "none.example.org", true, false, false},
		"a name without addresses":       {nil, "text.example.org", false, true, false},
		"an upstream that fails":         {nettest.Rcode(dns.RcodeServerFailure), "www.example.org", false, false, false},
		"an upstream that never answers": {nettest.Silence, "www.example.org", false, false, true},
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, `text.example.org. 300 IN TXT "x"`)
			up.Handle(c.name, c.handler)
			clock := newClock()
			p := compile(t, allow(t, "web", "*.example.org"))
			change := func(*ResolverConfig) {}
			if c.timeout {
				change = hasty
			}
			permits, v, err := resolverTo(t, up, clock, change).Resolve(context.Background(), permit(t, p, machine, c.name, 443, clock.Now()))
			require.Empty(t, permits)
			require.False(t, v.Allowed())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, []bool{c.nxdomain, c.nodata, c.timeout}, []bool{e.NXDomain, e.NoData, e.Timeout()}, err.Error())
			require.Contains(t, err.Error(), "resolve "+c.name)
		})
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	up := nettest.NewDNS(t)
	up.Handle("www.example.org", nettest.Silence)
	clock := newClock()
	p := compile(t, allow(t, "web", "www.example.org"))
	r := resolverTo(t, up, clock, func(c *ResolverConfig) { c.Try, c.Total = time.Minute, time.Minute })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, err := r.Resolve(ctx, permit(t, p, machine, "www.example.org", 443, clock.Now()))
	require.Error(t, err)
	require.Zero(t, r.CacheEntries(), "a look-up that was given up says nothing about the name")
}
