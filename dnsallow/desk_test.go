package dnsallow

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// However many questions wait for an upstream, what nobody has to be asked for is
// answered.
func TestARefusalWaitsForNobody(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	release := make(chan struct{})
	up.Handle("www.groupcall.co.uk", nettest.Slow(release, up.HonestHandler))
	w := open(t, up, schoolRules(t), func(c *ServerConfig, d *ServerDeps) { c.Concurrent, c.PerNetwork = 1, 1 })
	kept := w.ask(t, query("pinned.groupcall.co.uk.", dns.TypeA))
	require.Len(t, kept.Answer, 2)
	w.book.forget()

	conn, err := net.Dial("udp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(packed(t, query("www.groupcall.co.uk.", dns.TypeA)))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return up.Asked("www.groupcall.co.uk", "A") == 1 }, patience, time.Millisecond)

	for _, c := range []struct {
		name   string
		qtype  uint16
		rcode  int
		reason policy.Reason
	}{
		{"refused.example.", dns.TypeA, dns.RcodeNameError, policy.HostNotListed},
		{"use-application-dns.net.", dns.TypeA, dns.RcodeNameError, policy.Canary},
		{"www.groupcall.co.uk.", dns.TypeHTTPS, dns.RcodeSuccess, policy.QueryTypeNotAllowed},
	} {
		require.Equal(t, c.rcode, w.ask(t, query(c.name, c.qtype)).Rcode, c.name)
		require.Equal(t, c.reason, w.book.only(t).Verdict.Reason, c.name)
	}
	close(release)
	conn.SetReadDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, payload))
	require.NoError(t, err)
}

// Whatever makes the gate panic costs its question, and no other.
func TestAPanicInTheReaderEndsOneQuestion(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	live := new(policy.Live)
	live.Swap(schoolRules(t))
	packet := packed(t, query("refused.example.", dns.TypeA))
	asked := sender{addr: netip.AddrPortFrom(loopback, 4711)}
	for call := range 2 { // the clock is asked that often at least
		calls := 0
		s := NewServer(ServerConfig{}, ServerDeps{Live: live, Resolver: resolverTo(t, up, newClock()), Sink: nobody{}, Now: func() time.Time {
			if calls++; calls == call+1 {
				panic("the clock has stopped")
			}
			return newClock().Now()
		}})
		d := desk{Server: s}
		require.NotPanics(t, func() { d.receive(packet, asked) })
		require.Greater(t, calls, call)
		reply := new(dns.Msg)
		require.NoError(t, reply.Unpack(d.receive(packet, asked)))
		require.Equal(t, dns.RcodeNameError, reply.Rcode)
	}
}
