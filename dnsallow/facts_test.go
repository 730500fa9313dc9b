package dnsallow

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// said makes a reply out of zone text; authority lines begin with "!".
func said(t testing.TB, rcode int, lines ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.Rcode = rcode
	for _, l := range lines {
		section := &m.Answer
		if l[0] == '!' {
			l, section = l[1:], &m.Ns
		}
		rr, err := dns.NewRR(l)
		require.NoError(t, err)
		*section = append(*section, rr)
	}
	return m
}

// told spells facts out.
func (f *facts) told() string {
	s := ""
	for _, a := range f.aliases {
		s += a.Name() + " "
	}
	for _, a := range f.addresses {
		s += a.addr.String() + " "
	}
	switch {
	case f.open:
		s += "open"
	case f.nxdomain:
		s += "nxdomain"
	case len(f.addresses) == 0:
		s += "nodata"
	}
	return s
}

func TestCollectKeepsToTheChain(t *testing.T) {
	const ok, nx = dns.RcodeSuccess, dns.RcodeNameError
	for what, c := range map[string]struct {
		rcode int
		lines []string
		want  string
		ttl   time.Duration
	}{
		"an address": {ok, []string{"q.example. 300 IN A 13.74.1.1"}, "13.74.1.1 ", 300 * time.Second},
		"owners in any case": {ok, []string{"Q.eXample. 300 IN CNAME W.example.", "w.EXAMPLE. 300 IN A 13.74.1.1"},
			"w.example 13.74.1.1 ", 300 * time.Second},
		"a chain in whatever order it comes": {ok, []string{
			"c.example. 9 IN A 13.74.1.1", "b.example. 299 IN CNAME c.example.", "q.example. 9 IN CNAME b.example."},
			"b.example c.example 13.74.1.1 ", 9 * time.Second},
		"the least TTL of the chain counts": {ok, []string{
			"q.example. 20 IN CNAME b.example.", "b.example. 300 IN A 13.74.1.1"}, "b.example 13.74.1.1 ", 20 * time.Second},
		"records of strangers are dropped": {ok, []string{
			"q.example. 300 IN A 13.74.1.1", "bank.example. 300 IN A 13.13.13.13", "x.example. 300 IN CNAME q.example."},
			"13.74.1.1 ", 300 * time.Second},
		"an address beside an alias is a stranger's": {ok, []string{
			"q.example. 300 IN CNAME b.example.", "q.example. 300 IN A 13.13.13.13", "b.example. 300 IN A 13.74.1.1"},
			"b.example 13.74.1.1 ", 300 * time.Second},
		"addresses of the other family do not count": {ok, []string{
			"q.example. 300 IN AAAA 2603::1", "!example. 900 IN SOA ns.example. x.example. 1 1 1 1 30"}, "nodata", 30 * time.Second},
		"of two aliases the first counts": {ok, []string{
			"q.example. 300 IN CNAME b.example.", "q.example. 300 IN CNAME c.example.", "b.example. 300 IN A 13.74.1.1", "c.example. 300 IN A 13.74.1.2"},
			"b.example 13.74.1.1 ", 300 * time.Second},
		"records of another class do not count":        {ok, []string{"q.example. 300 CH A 13.13.13.13"}, "nodata", ttlFloor},
		"a name that does not exist":                   {nx, []string{"!example. 40 IN SOA ns.example. x.example. 1 1 1 1 900"}, "nxdomain", 40 * time.Second},
		"a no that would last for days lasts a minute": {nx, []string{"!example. 86400 IN SOA ns.example. x.example. 1 1 1 1 86400"}, "nxdomain", time.Minute},
		"a no without an SOA hardly lasts":             {nx, nil, "nxdomain", ttlFloor},
		"an alias that ends at nothing": {ok, []string{
			"q.example. 300 IN CNAME b.example.", "!example. 900 IN SOA ns.example. x.example. 1 1 1 1 30"}, "b.example nodata", 30 * time.Second},
		"an alias of which nothing is said": {ok, []string{"q.example. 300 IN CNAME b.example."}, "b.example open", 300 * time.Second},
		"a TTL of nothing":                  {ok, []string{"q.example. 0 IN A 13.74.1.1"}, "13.74.1.1 ", ttlFloor},
		"a TTL of nine seconds stays":       {ok, []string{"q.example. 9 IN A 13.74.1.1"}, "13.74.1.1 ", 9 * time.Second},
		"a TTL of a week is an hour":        {ok, []string{"q.example. 604800 IN A 13.74.1.1"}, "13.74.1.1 ", time.Hour},
		"a TTL with the top bit is none":    {ok, []string{"q.example. 4294967295 IN A 13.74.1.1"}, "13.74.1.1 ", ttlFloor},
	} {
		t.Run(what, func(t *testing.T) {
			f, err := collect(said(t, c.rcode, c.lines...), question{"q.example", dns.TypeA}, time.Unix(0, 0))
			require.NoError(t, err)
			require.Equal(t, c.want, f.told())
			require.Equal(t, c.ttl, f.ttl)
		})
	}
}

func TestCollectRefusesChainsThatLeadNowhere(t *testing.T) {
	var long []string
	for i := range maxLinks + 1 {
		from := fmt.Sprintf("n%d.example.", i)
		if i == 0 {
			from = "q.example."
		}
		long = append(long, fmt.Sprintf("%s 9 IN CNAME n%d.example.", from, i+1))
	}
	for what, lines := range map[string][]string{
		"a name that is its own alias":  {"q.example. 9 IN CNAME q.example."},
		"a loop of two":                 {"q.example. 9 IN CNAME b.example.", "b.example. 9 IN CNAME q.example."},
		"more links than anybody needs": append(long, fmt.Sprintf("n%d.example. 9 IN A 13.74.1.1", maxLinks+1)),
		"an alias to an address":        {"q.example. 9 IN CNAME 10.0.0.5."},
		"an alias to no host name":      {`q.example. 9 IN CNAME a\032b.example.`},
		"an alias to the root":          {"q.example. 9 IN CNAME ."},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := collect(said(t, dns.RcodeSuccess, lines...), question{"q.example", dns.TypeA}, time.Unix(0, 0))
			var invalid invalidError
			require.ErrorAs(t, err, &invalid)
		})
	}
	f, err := collect(said(t, dns.RcodeSuccess, append(long[:maxLinks], fmt.Sprintf("n%d.example. 9 IN A 13.74.1.1", maxLinks))...),
		question{"q.example", dns.TypeA}, time.Unix(0, 0))
	require.NoError(t, err, "the longest chain that is followed")
	require.Len(t, f.aliases, maxLinks)
}

// oneStep answers like a server that does not follow aliases.
func oneStep(up *nettest.DNS) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := up.Honest(q)
		m.Ns = nil
		if len(m.Answer) > 1 {
			m.Answer = m.Answer[:1]
		}
		w.WriteMsg(m)
	}
}

func TestAliasesThatUpstreamDoesNotFollowAreFollowedByUs(t *testing.T) {
	up := nettest.NewDNS(t, "q.example. 9 IN CNAME b.example.", "b.example. 9 IN CNAME c.example.", "c.example. 9 IN A 13.74.1.1")
	for _, n := range []string{"q.example", "b.example"} {
		up.Handle(n, oneStep(up))
	}
	clock := newClock()
	p := compile(t, allow(t, "q", "q.example"))
	r := resolverTo(t, up, clock)
	permits, _, err := r.Resolve(context.Background(), permit(t, p, machine, "q.example", 443, clock.Now()))
	require.NoError(t, err)
	require.Equal(t, []string{"13.74.1.1"}, addrs(permits))
	require.Len(t, permits[0].Aliases(), 2)

	p = compile(t, allow(t, "q", "q.example"), deny(t, "no", "b.example"))
	r, before := resolverTo(t, up, clock), up.Asked("b.example", "")
	_, v, err := r.Resolve(context.Background(), permit(t, p, machine, "q.example", 443, clock.Now()))
	require.NoError(t, err)
	require.Equal(t, "denied-by-rule", v.Reason.String())
	require.Equal(t, before, up.Asked("b.example", ""), "nobody is asked about an alias that is refused")
}

func TestALoopOverSeveralQuestionsEnds(t *testing.T) {
	up := nettest.NewDNS(t, "q.example. 9 IN CNAME b.example.", "b.example. 9 IN CNAME q.example.")
	for _, n := range []string{"q.example", "b.example"} {
		up.Handle(n, oneStep(up))
	}
	clock := newClock()
	p := compile(t, allow(t, "q", "q.example"))
	_, _, err := resolverTo(t, up, clock).Resolve(context.Background(), permit(t, p, machine, "q.example", 443, clock.Now()))
	var invalid invalidError
	require.ErrorAs(t, err, &invalid)
	require.LessOrEqual(t, up.Asked("", ""), 2*maxAsks)
}

// Each alias takes an upstream less than what one question may take; all of them
// together take more than the client is to wait (SERVFAIL within six seconds).
func TestAllAliasesTogetherAreWaitedForNoLongerThanOneName(t *testing.T) {
	t.Parallel()
	const total = lull / 3
	late := func(w dns.ResponseWriter, q *dns.Msg, h dns.HandlerFunc) {
		select {
		case <-time.After(total / 3):
		case <-t.Context().Done():
		}
		h(w, q)
	}
	var zone []string
	for i := range maxAsks - 1 {
		zone = append(zone, fmt.Sprintf("n%d.groupcall.co.uk. 9 IN CNAME n%d.groupcall.co.uk.", i, i+1))
	}
	up := nettest.NewDNS(t, append(zone, fmt.Sprintf("n%d.groupcall.co.uk. 9 IN A 51.140.10.10", maxAsks-1))...)
	for i := range maxAsks {
		up.Handle(fmt.Sprintf("n%d.groupcall.co.uk", i), func(w dns.ResponseWriter, q *dns.Msg) { late(w, q, oneStep(up)) })
	}
	w := open(t, up, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) {
		d.Resolver = resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.Total, c.Try = total, total })
	})
	reply := w.ask(t, query("n0.groupcall.co.uk.", dns.TypeA))
	require.Equal(t, "SERVFAIL\nEDE 22 upstream-unresolved\n", spelled(reply))
	_, _, err := w.resolver.Resolve(t.Context(), permit(t, w.live.Policy(), machine, "n0.groupcall.co.uk", 443, w.clock.Now()))
	var trouble *Error
	require.ErrorAs(t, err, &trouble)
	require.True(t, trouble.Timeout(), "the proxy waits no longer")
}
