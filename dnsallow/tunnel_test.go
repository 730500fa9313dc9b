package dnsallow

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestAWildcardIsNoTunnel(t *testing.T) {
	up, clock := nettest.NewDNS(t, "listed.example.org. 300 IN A 13.74.107.71"), newClock()
	p := compile(t, allow(t, "wild", "*.example.org"), allow(t, "exact", "listed.example.net"))
	r := resolverTo(t, up, clock, func(c *ResolverConfig) { c.NewNames = 5 })
	n := 0
	ask := func(who netip.Addr, name string) policy.Verdict {
		n++
		res, _ := r.resolve(t.Context(), permit(t, p, who, name, 443, clock.Now()), dns.TypeA)
		return res.verdict
	}
	fresh := func() string { return fmt.Sprintf("secret-%d.example.org", n) }
	for range 5 {
		require.NotEqual(t, policy.Limit, ask(machine, fresh()).Reason)
	}
	before := up.Asked("", "")
	v := ask(machine, fresh())
	require.Equal(t, policy.Limit, v.Reason)
	require.Equal(t, "wild", v.RuleName())
	require.False(t, v.Allowed())
	require.Equal(t, before, up.Asked("", ""), "nothing went out")
	require.NotEqual(t, policy.Limit, ask(machine, "secret-0.example.org").Reason, "that one is known")
	require.NotEqual(t, policy.Limit, ask(machine, "listed.example.net").Reason, "that one is listed in full")
	require.NotEqual(t, policy.Limit, ask(tablet, fresh()).Reason, "another client")
	clock.Advance(time.Minute / 5)
	require.NotEqual(t, policy.Limit, ask(machine, fresh()).Reason)
	require.Equal(t, policy.Limit, ask(machine, fresh()).Reason)

	permits, v, err := r.Resolve(t.Context(), permit(t, p, machine, fresh(), 443, clock.Now()))
	require.NoError(t, err)
	require.Empty(t, permits, "nor is the proxy one")
	require.Equal(t, policy.Limit, v.Reason)
}

func TestTooManyNewNamesAreRefused(t *testing.T) {
	up := nettest.NewDNS(t)
	w := open(t, up, schoolRules(t), func(_ *ServerConfig, d *ServerDeps) {
		d.Resolver = resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.NewNames = 1 })
	})
	require.Equal(t, dns.RcodeNameError, w.ask(t, query("a.groupcall.co.uk.", dns.TypeA)).Rcode)
	w.book.forget()
	reply := w.ask(t, query("b.groupcall.co.uk.", dns.TypeA))
	require.Equal(t, dns.RcodeRefused, reply.Rcode)
	record := w.book.only(t)
	require.Equal(t, []string{"limit", "web"}, []string{record.Verdict.Reason.String(), record.Verdict.RuleName()})
}
