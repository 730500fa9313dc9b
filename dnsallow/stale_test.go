package dnsallow

import (
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestWhenNoUpstreamAnswersWhatHasExpiredIsServed(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, schoolRules(t))
	const bus, none = "emergeen.servicebus.windows.net.", "none.groupcall.co.uk."
	fresh := w.ask(t, query(bus, dns.TypeA))
	w.ask(t, query(none, dns.TypeA))
	for _, name := range []string{bus, none} {
		up.Handle(name, nettest.Rcode(dns.RcodeServerFailure))
	}
	clock := w.clock.Advance
	clock(time.Hour)

	reply := w.ask(t, query(bus, dns.TypeA))
	require.Equal(t, answers(fresh), answers(reply))
	for _, rr := range reply.Answer {
		require.Equal(t, uint32(30), rr.Header().Ttl)
	}
	code, _ := explained(reply)
	require.Equal(t, dns.ExtendedErrorCodeStaleAnswer, code)

	reply = w.ask(t, query(none, dns.TypeA))
	require.Equal(t, dns.RcodeNameError, reply.Rcode)
	code, _ = explained(reply)
	require.Equal(t, dns.ExtendedErrorCodeStaleNXDOMAINAnswer, code)

	asked := up.Asked(bus, "A")
	w.ask(t, query(bus, dns.TypeA))
	require.Equal(t, asked, up.Asked(bus, "A"), "upstream is left alone for a while")
	clock(staleRetry)
	w.ask(t, query(bus, dns.TypeA))
	require.Greater(t, up.Asked(bus, "A"), asked)

	w.live.Swap(compile(t, allow(t, "bus", "emergeen.servicebus.windows.net", into(westEurope))))
	require.NotContains(t, answers(w.ask(t, query(bus, dns.TypeA))), "A 13.74.107.71", "it is judged like any other")
	w.live.Swap(schoolRules(t))

	up.Handle(bus, nil)
	clock(staleRetry)
	reply = w.ask(t, query(bus, dns.TypeA))
	require.Equal(t, uint32(9), reply.Answer[0].Header().Ttl, "upstream answers again")
	code, _ = explained(reply)
	require.Zero(t, code)

	up.Handle(bus, nettest.Rcode(dns.RcodeServerFailure))
	clock(staleFor)
	require.Equal(t, dns.RcodeServerFailure, w.ask(t, query(bus, dns.TypeA)).Rcode, "after a day it is spoiled")
}

func TestUsingItAgainMakesStaleFactsNoYounger(t *testing.T) {
	now := newClock().Now()
	f := &facts{stored: now, ttl: 9 * time.Second}
	for range 5 {
		now = now.Add(4 * time.Hour)
		require.False(t, f.spoiled(now))
		f = f.again(now)
	}
	require.True(t, f.spoiled(now.Add(4*time.Hour)))
	require.True(t, (&facts{failure: errNoUpstream, stored: now, ttl: failureTTL}).spoiled(now.Add(failureTTL)), "a failure is nothing to fall back on")
}

func TestADeniedStaleNameIsStillDenied(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, schoolRules(t))
	w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))
	up.Handle("www.groupcall.co.uk", nettest.Silence)
	w.clock.Advance(time.Hour)
	w.live.Swap(compile(t, allow(t, "web", "*.groupcall.co.uk"), deny(t, "never", "www.groupcall.co.uk")))
	w.book.forget()
	require.Equal(t, dns.RcodeNameError, w.ask(t, query("www.groupcall.co.uk.", dns.TypeA)).Rcode)
	require.Equal(t, policy.DeniedByRule, w.book.all()[len(w.book.all())-1].Verdict.Reason)
}
