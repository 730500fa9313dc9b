package dnsallow

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestTCPAnswersSeveralQuestionsOnOneConnection(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, c := range []struct {
		name string
		want []string
	}{{"www.groupcall.co.uk.", []string{"A 51.140.10.10"}}, {"other.servicebus.windows.net.", []string{}}} {
		_, err := conn.Write(framed(packed(t, query(c.name, dns.TypeA))))
		require.NoError(t, err)
		reply, err := readFramed(conn, dns.MaxMsgSize)
		require.NoError(t, err)
		require.Equal(t, c.want, answers(w.read(t, reply)))
	}
	require.Len(t, w.book.all(), 2)
}

func TestASlowNameHoldsUpNoOtherOfItsConnection(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	release := make(chan struct{})
	up.Handle("www.groupcall.co.uk", nettest.Slow(release, up.HonestHandler))
	w := open(t, up, schoolRules(t))
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	slow, quick := query("www.groupcall.co.uk.", dns.TypeA), query("other.servicebus.windows.net.", dns.TypeA)
	_, err = conn.Write(append(framed(packed(t, slow)), framed(packed(t, quick))...))
	require.NoError(t, err)
	for _, want := range []*dns.Msg{quick, slow} {
		reply, err := readFramed(conn, dns.MaxMsgSize)
		require.NoError(t, err)
		require.Equal(t, want.Question, w.read(t, reply).Question)
		if want == quick {
			close(release)
		}
	}
}

func framed(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

func TestTCPHangsUpOnWhatIsNoQuestion(t *testing.T) {
	w := open(t, nettest.NewDNS(t), schoolRules(t))
	for what, bytes := range map[string][]byte{
		"a crumb": framed([]byte("GET /")), "nothing at all": framed(nil),
	} {
		conn, err := net.Dial("tcp", w.addr)
		require.NoError(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Write(bytes)
		require.NoError(t, err)
		_, err = conn.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, what)
	}
}

func TestASilentTCPConnectionIsClosed(t *testing.T) {
	w := open(t, nettest.NewDNS(t), schoolRules(t), func(c *ServerConfig, _ *ServerDeps) { c.Idle = 20 * time.Millisecond })
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
}

func TestOneTCPConnectionTooManyIsClosedAtOnce(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(c *ServerConfig, _ *ServerDeps) { c.Connections = 1 })
	first, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer first.Close()
	first.SetDeadline(time.Now().Add(patience))
	first.Write(framed(packed(t, query("www.groupcall.co.uk.", dns.TypeA))))
	_, err = readFramed(first, dns.MaxMsgSize)
	require.NoError(t, err)
	second, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer second.Close()
	second.SetDeadline(time.Now().Add(patience))
	_, err = second.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestAnAnswerThatDoesNotFitIsTruncatedAndWholeOverTCP(t *testing.T) {
	var zone []string
	for i := range 60 {
		zone = append(zone, "many.groupcall.co.uk. 300 IN A "+netip.AddrFrom4([4]byte{51, 140, 11, byte(i)}).String())
	}
	up := nettest.NewDNS(t, zone...)
	up.Handle("many.groupcall.co.uk", func(w dns.ResponseWriter, q *dns.Msg) {
		m := up.Honest(q)
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated, m.Answer = true, nil
		}
		w.WriteMsg(m)
	})
	w := open(t, up, schoolRules(t))
	for what, c := range map[string]struct {
		question  *dns.Msg
		truncated bool
	}{
		"without EDNS 512 octets":            {new(dns.Msg).SetQuestion("many.groupcall.co.uk.", dns.TypeA), true},
		"with EDNS what the client takes":    {new(dns.Msg).SetQuestion("many.groupcall.co.uk.", dns.TypeA).SetEdns0(900, false), true},
		"a size below 512 counts as 512":     {new(dns.Msg).SetQuestion("many.groupcall.co.uk.", dns.TypeA).SetEdns0(1, false), true},
		"60 addresses fit into 1,232 octets": {query("many.groupcall.co.uk.", dns.TypeA), false},
	} {
		reply := w.ask(t, c.question)
		require.Equal(t, c.truncated, reply.Truncated, what)
		if c.truncated {
			require.Empty(t, reply.Answer, what)
			require.Empty(t, reply.Ns, what)
		} else {
			require.Len(t, reply.Answer, 60, what)
		}
	}
	conn, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(framed(packed(t, new(dns.Msg).SetQuestion("many.groupcall.co.uk.", dns.TypeA))))
	wire, err := readFramed(conn, dns.MaxMsgSize)
	require.NoError(t, err)
	require.Len(t, w.read(t, wire).Answer, 60)
}

func TestTheReplyKeepsTheCaseOfTheQuestionAndCountsItsTTLsDown(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	const name = "EmErGeEn.servicebus.WINDOWS.net."
	reply := w.ask(t, query(name, dns.TypeA))
	require.Equal(t, name, reply.Question[0].Name)
	require.Equal(t, name, reply.Answer[0].Header().Name)
	for _, rr := range reply.Answer {
		require.Equal(t, uint32(9), rr.Header().Ttl)
	}
	w.clock.Advance(4 * time.Second)
	reply = w.ask(t, query("emergeen.servicebus.windows.net.", dns.TypeA))
	for _, rr := range reply.Answer {
		require.Equal(t, uint32(5), rr.Header().Ttl)
	}
	require.Equal(t, 1, w.up.Asked("emergeen.servicebus.windows.net", "A"))
}

func TestTheDNSBitsOfTheQueryComeBack(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	m := query("www.groupcall.co.uk.", dns.TypeA)
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = false, true, true
	m.IsEdns0().SetDo()
	reply := w.ask(t, m)
	require.False(t, reply.RecursionDesired)
	require.True(t, reply.CheckingDisabled)
	require.False(t, reply.AuthenticatedData, "nothing here was validated")
	require.True(t, reply.IsEdns0().Do())
	require.Equal(t, uint16(payload), reply.IsEdns0().UDPSize())
}

func TestDNSAndProxyShareOneUpstreamQuestion(t *testing.T) {
	const name = "emergeen.servicebus.windows.net"
	p := schoolRules(t)
	w := open(t, nettest.NewDNS(t, schoolZone...), p)
	for range 2 {
		w.ask(t, query(name+".", dns.TypeA))
		w.ask(t, query(name+".", dns.TypeAAAA))
	}
	permits, _, err := w.resolver.Resolve(t.Context(), permit(t, p, machine, name, 443, w.clock.Now()))
	require.NoError(t, err)
	require.Equal(t, []string{"2603:1020:5::7", "13.74.107.71"}, addrs(permits))
	require.Equal(t, 1, w.up.Asked(name, "A"))
	require.Equal(t, 1, w.up.Asked(name, "AAAA"))
}

func TestAReloadIsInForceForTheNextQuestion(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t))
	require.Len(t, w.ask(t, query("www.groupcall.co.uk.", dns.TypeA)).Answer, 1)
	w.live.Swap(compile(t, allow(t, "web", "www.groupcall.co.uk", into(northEurope))))
	reply := w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))
	require.Empty(t, reply.Answer, "the cache knows the address, the policy no longer lets it through")
	require.Equal(t, policy.AddressNotAllowed, w.book.all()[1].Verdict.Reason)
}

func TestTheBookTellsTheQuestion(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), compileSpec(t, policy.Spec{
		SHA256: "abc", Groups: []policy.Group{{Name: "here", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		Rules: []policy.Rule{allow(t, "bus", "emergeen.servicebus.windows.net", into(northEurope))},
	}))
	w.ask(t, query("Emergeen.servicebus.windows.net.", dns.TypeA))
	r := w.book.only(t)
	require.Equal(t, flow.Record{
		ID: r.ID, Time: w.clock.Now(), Surface: policy.DNS, Client: loopback, Group: "here",
		Host: "emergeen.servicebus.windows.net", CNAME: []string{"ns-sb2-prod-db3-001.cloudapp.net"},
		IP: netip.MustParseAddr("13.74.107.71"), Query: "A", Verdict: r.Verdict, PolicySHA: "abc", End: "done",
	}, *r)
	require.Regexp(t, `^GH-[0-9A-HJKMNP-TV-Z]{8}$`, r.ID)
	require.Equal(t, "bus", r.Verdict.RuleName())

	w.ask(t, query("www.example.org.", 65280))
	r = w.book.only(t)
	require.Equal(t, []string{"other", "refused"}, []string{r.Query, r.End})
}

func TestMonitorModeAnswersAndMarks(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), compileSpec(t, policy.Spec{
		Mode: policy.Monitor, Rules: []policy.Rule{allow(t, "west", "west.servicebus.windows.net", into(northEurope)), deny(t, "never", "blocked.groupcall.co.uk")},
	}))
	for name, c := range map[string]struct {
		qtype   uint16
		answers int
		verdict string
		reason  policy.Reason
	}{
		"www.groupcall.co.uk.":         {dns.TypeA, 1, "would_deny", policy.HostNotListed},
		"west.servicebus.windows.net.": {dns.TypeA, 1, "would_deny", policy.AddressNotAllowed},
		"rebind.groupcall.co.uk.":      {dns.TypeA, 0, "denied", policy.AddressNotAllowed},
		"blocked.groupcall.co.uk.":     {dns.TypeA, 0, "denied", policy.DeniedByRule},
		"mask.icloud.com.":             {dns.TypeA, 0, "denied", policy.Canary},
		"www.icloud.com.":              {dns.TypeTXT, 0, "denied", policy.QueryTypeNotAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			require.Len(t, w.ask(t, query(name, c.qtype)).Answer, c.answers)
			r := w.book.only(t)
			require.Equal(t, c.verdict, r.Verdict.String())
			require.Equal(t, c.reason.String(), r.Verdict.Reason.String())
		})
	}
}

// brokenSink panics on every record.
type brokenSink struct{}

func (brokenSink) Record(*flow.Record) { panic("the sink is broken") }

func TestABrokenSinkSpoilsNoReply(t *testing.T) {
	w := open(t, nettest.NewDNS(t, schoolZone...), schoolRules(t), func(_ *ServerConfig, d *ServerDeps) { d.Sink = brokenSink{} })
	for range 2 {
		require.Len(t, w.ask(t, query("www.groupcall.co.uk.", dns.TypeA)).Answer, 1)
	}
}

func TestAPanicWhileJudgingEndsOneQuestion(t *testing.T) {
	broken := policy.Policy{}
	w := open(t, nettest.NewDNS(t, schoolZone...), &broken) // never compiled: its tables are not there
	reply := w.ask(t, query("www.groupcall.co.uk.", dns.TypeA))
	require.Equal(t, dns.RcodeServerFailure, reply.Rcode)
	require.Empty(t, reply.Answer)
	require.Equal(t, "denied", w.book.only(t).Verdict.String())
	w.live.Swap(schoolRules(t))
	require.Len(t, w.ask(t, query("www.groupcall.co.uk.", dns.TypeA)).Answer, 1)
}

func TestAPanicInOneFamilyReachesOnlyItsAsker(t *testing.T) {
	clock := newClock()
	p := compile(t, allow(t, "web", "www.groupcall.co.uk"))
	r := resolverTo(t, nettest.NewDNS(t, schoolZone...), clock)
	r.now = func() time.Time { panic("the clock is broken") }
	require.PanicsWithValue(t, "the clock is broken", func() {
		r.Resolve(t.Context(), permit(t, p, machine, "www.groupcall.co.uk", 443, clock.Now()))
	})
}

func TestServeLetsQuestionsUnderWayFinish(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	release := make(chan struct{})
	up.Handle("www.groupcall.co.uk", nettest.Slow(release, up.HonestHandler))
	w := open(t, up, schoolRules(t), func(c *ServerConfig, d *ServerDeps) {
		c.Drain = patience
		d.Resolver = NewResolver(ResolverConfig{Upstreams: []Upstream{upstream(t, up.Addr)}, Try: patience, Total: patience, Hedge: patience}, ResolverDeps{})
	})
	conn, err := net.Dial("udp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.Write(packed(t, query("www.groupcall.co.uk.", dns.TypeA)))
	require.Eventually(t, func() bool { return up.Asked("www.groupcall.co.uk", "A") == 1 }, patience, time.Millisecond)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop()
	}()
	close(release)
	conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, payload)
	n, err := conn.Read(buf)
	require.NoError(t, err)
	require.Len(t, w.read(t, buf[:n]).Answer, 1)
	<-stopped
}

func TestServeDoesNotWaitForEver(t *testing.T) {
	up := nettest.NewDNS(t)
	up.Handle("www.groupcall.co.uk", nettest.Silence)
	w := open(t, up, schoolRules(t), func(c *ServerConfig, d *ServerDeps) {
		c.Drain = 10 * time.Millisecond
		d.Resolver = NewResolver(ResolverConfig{Upstreams: []Upstream{upstream(t, up.Addr)}, Try: time.Hour, Total: time.Hour, Hedge: time.Hour}, ResolverDeps{})
	})
	conn, err := net.Dial("udp", w.addr)
	require.NoError(t, err)
	defer conn.Close()
	conn.Write(packed(t, query("www.groupcall.co.uk.", dns.TypeA)))
	idle, err := net.Dial("tcp", w.addr)
	require.NoError(t, err)
	defer idle.Close()
	require.Eventually(t, func() bool { return up.Asked("www.groupcall.co.uk", "A") == 1 }, patience, time.Millisecond)
	w.stop() // returns although nobody ever answers
}
