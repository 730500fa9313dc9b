package dnsallow

import (
	"context"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// What is at hand is judged without anybody's help, and comes to the same as
// what has just been asked for.
func TestWhatIsKnownComesToWhatWasAskedFor(t *testing.T) {
	const name = "q.example"
	for what, c := range map[string]struct {
		zone   []string
		handle func(*nettest.DNS)
		rules  []policy.Rule
	}{
		"addresses of both families": {
			zone: []string{"A 13.74.1.1", "A 13.74.1.2", "AAAA 2603:1020:5::1"}},
		"one family":                       {zone: []string{"A 13.74.1.1"}},
		"no address at all":                {zone: []string{"TXT nothing"}},
		"no such name":                     {},
		"a good and a bad address":         {zone: []string{"A 10.0.0.5", "A 13.74.1.1"}},
		"a bad address":                    {zone: []string{"A 10.0.0.5"}},
		"an address that a deny drops":     {zone: []string{"A 13.74.1.1"}, rules: []policy.Rule{deny(t, "no", "", intoPrefix("13.74.0.0/16"))}},
		"an alias that upstream follows":   {zone: []string{"CNAME b.example.", "@b A 13.74.1.1"}},
		"an alias that a deny names":       {zone: []string{"CNAME b.example.", "@b A 13.74.1.1"}, rules: []policy.Rule{deny(t, "no", "b.example")}},
		"an alias that leads nowhere":      {zone: []string{"CNAME b.example.", "@b TXT nothing"}},
		"an alias that has to be followed": {zone: []string{"CNAME b.example.", "@b A 13.74.1.1"}, handle: func(up *nettest.DNS) { up.Handle("q.example.", oneStep(up)) }},
		"a server that fails":              {handle: func(up *nettest.DNS) { up.Handle("q.example.", nettest.Rcode(dns.RcodeServerFailure)) }},
	} {
		t.Run(what, func(t *testing.T) {
			var zone []string
			for _, z := range c.zone {
				if rest, ok := cutPrefix(z, "@b "); ok {
					zone = append(zone, "b.example. 9 IN "+rest)
				} else {
					zone = append(zone, name+". 9 IN "+z)
				}
			}
			up, clock := nettest.NewDNS(t, zone...), newClock()
			if c.handle != nil {
				c.handle(up)
			}
			p := compile(t, append(c.rules, allow(t, "q", name))...)
			r := resolverTo(t, up, clock)
			passage := permit(t, p, machine, name, 443, clock.Now())
			_, _, ok := r.known(passage)
			require.False(t, ok, "nothing is known yet")

			permits, v, err := r.Resolve(context.Background(), passage)
			asked, hits := up.Asked("", ""), r.CacheHits()
			six, four, ok := r.known(passage)
			require.True(t, ok)
			again, same, trouble := combine(six, four)
			require.Equal(t, permits, again)
			require.Equal(t, v, same)
			require.Equal(t, err, trouble)
			require.Equal(t, asked, up.Asked("", ""), "nobody was asked")
			require.Equal(t, hits+2, r.CacheHits())
		})
	}
}

func TestWhatIsHalfKnownIsAskedFor(t *testing.T) {
	up, clock := nettest.NewDNS(t, "q.example. 9 IN A 13.74.1.1", "q.example. 3600 IN AAAA 2603:1020:5::1"), newClock()
	p := compile(t, allow(t, "q", "q.example"))
	r := resolverTo(t, up, clock)
	passage := permit(t, p, machine, "q.example", 443, clock.Now())
	permits, _, err := r.Resolve(context.Background(), passage)
	require.NoError(t, err)
	require.Len(t, permits, 2)
	clock.Advance(10 * time.Second)
	_, _, ok := r.known(passage)
	require.False(t, ok)
	again, _, err := r.Resolve(context.Background(), passage)
	require.NoError(t, err)
	require.Equal(t, addrs(permits), addrs(again))
	require.Equal(t, 2, up.Asked("q.example", "A"))
	require.Equal(t, 1, up.Asked("q.example", "AAAA"))
}

// Every request of the proxy asks, so what it costs is held: the judged
// addresses of two families, and the list of both.
func TestWhatIsKnownCostsThreeAllocations(t *testing.T) {
	up, clock := nettest.NewDNS(t, schoolZone...), newClock()
	r := resolverTo(t, up, clock)
	passage := permit(t, schoolRules(t), machine, "emergeen.servicebus.windows.net", 443, clock.Now())
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if permits, _, err := r.Resolve(context.Background(), passage); err != nil || len(permits) != 2 {
			t.Fatal(permits, err)
		}
	}), 3.0)
}
