package dnsallow

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

const asked = "www.example.org"

// forged is an answer with an address that must never be believed.
func forged(up *nettest.DNS, q *dns.Msg) *dns.Msg {
	m := up.Honest(q)
	m.Answer = []dns.RR{&dns.A{
		Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(13, 13, 13, 13),
	}}
	return m
}

func overTCPOnly(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 32
		}
		if r >= 'A' && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}

func TestOverTCPALieIsNotBelievedEither(t *testing.T) {
	up := nettest.NewDNS(t)
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		lie := forged(up, q)
		lie.Question[0].Name = "else.example.org."
		w.WriteMsg(lie)
	})
	_, err := resolverTo(t, up, newClock()).lookup(context.Background(), question{asked, dns.TypeA})
	var invalid invalidError
	require.ErrorAs(t, err, &invalid)
}

func TestATruncatedAnswerIsFetchedOverTCP(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71", asked+". 300 IN A 13.74.107.72")
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		m := up.Honest(q)
		if !overTCPOnly(w) {
			m.Truncated, m.Answer = true, m.Answer[:1]
		}
		w.WriteMsg(m)
	})
	f, err := resolverTo(t, up, newClock()).lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err)
	require.Len(t, f.addresses, 2)
}

func TestATCPUpstreamIsAskedOverTCPOnly(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71")
	u, err := ParseUpstream("tcp://" + up.Addr)
	require.NoError(t, err)
	r := resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.Upstreams = []Upstream{u} })
	_, err = r.lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err)
	require.Equal(t, "tcp", up.Questions()[0].Network)
}

func TestAServerWithoutEDNSIsAskedAgainWithoutIt(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71")
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			nettest.Rcode(dns.RcodeFormatError)(w, q)
			return
		}
		up.HonestHandler(w, q)
	})
	f, err := resolverTo(t, up, newClock()).lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err)
	require.Len(t, f.addresses, 1)
}

func TestTheNextUpstreamIsAskedWhenOneFails(t *testing.T) {
	for what, h := range map[string]dns.HandlerFunc{
		"by silence": nettest.Silence, "with SERVFAIL": nettest.Rcode(dns.RcodeServerFailure), "with REFUSED": nettest.Rcode(dns.RcodeRefused),
	} {
		t.Run(what, func(t *testing.T) {
			bad, good := nettest.NewDNS(t), nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71")
			bad.Handle(asked, h)
			var seen observations
			r := NewResolver(ResolverConfig{
				Upstreams: []Upstream{upstream(t, bad.Addr), upstream(t, good.Addr)}, Try: patience, Total: patience,
			}, ResolverDeps{Observe: seen.note})
			f, err := r.lookup(context.Background(), question{asked, dns.TypeA})
			require.NoError(t, err)
			require.Len(t, f.addresses, 1)
			// On a slow machine either may have been asked once more, besides.
			require.Subset(t, []string{bad.Addr + " failed", good.Addr + " answered", good.Addr + " failed"}, seen.list)
			require.Contains(t, seen.list, bad.Addr+" failed")
			require.Contains(t, seen.list, good.Addr+" answered")
		})
	}
}

func TestADeadUpstreamCostsOneQuestionItsTimeOut(t *testing.T) {
	t.Parallel()
	dead, good := nettest.NewDNS(t), nettest.NewDNS(t)
	for _, name := range []string{"a.example", "b.example", "c.example"} {
		dead.Handle(name, nettest.Silence)
	}
	clock := newClock()
	r := NewResolver(ResolverConfig{
		Upstreams: []Upstream{upstream(t, dead.Addr), upstream(t, good.Addr)}, Total: patience, Hedge: patience,
	}, ResolverDeps{Now: clock.Now})
	for _, c := range []struct {
		name  string
		asks  bool // the dead one, too
		after time.Duration
	}{{"a.example", true, 0}, {"b.example", false, 0}, {"c.example", true, restTime}} {
		clock.Advance(c.after)
		r.exchanger.try = patience // nobody is given up who is only slow
		if c.asks {
			r.exchanger.try = lull
		}
		f, err := r.lookup(context.Background(), question{c.name, dns.TypeA})
		require.NoError(t, err)
		require.True(t, f.nxdomain)
		require.Equal(t, c.asks, dead.Asked(c.name, "") > 0, c.name)
	}
}

func TestAnUpstreamThatRestsIsStillAskedWhereThereIsNoOther(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 13.74.107.71")
	var mu sync.Mutex
	first := true
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		defer mu.Unlock()
		if !first {
			up.HonestHandler(w, q)
		}
		first = false
	})
	f, err := resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.Hedge = 20 * time.Millisecond }).lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err, "a lost packet is asked again")
	require.Len(t, f.addresses, 1)
}

func upstream(t testing.TB, s string) Upstream {
	t.Helper()
	u, err := ParseUpstream(s)
	require.NoError(t, err)
	return u
}

type observations struct {
	mu   sync.Mutex
	list []string
}

func (o *observations) note(upstream string, took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	how := " answered"
	if err != nil {
		how = " failed"
	}
	o.list = append(o.list, upstream+how)
}

func TestEachQuestionHasAPortAnIDAndACaseOfItsOwn(t *testing.T) {
	up := nettest.NewDNS(t)
	var mu sync.Mutex
	ports, ids, cases := map[string]bool{}, map[uint16]bool{}, map[string]bool{}
	const name = "abcdefghijklmnopqrstuvwxyz.example.org"
	up.Handle(name, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		ports[w.RemoteAddr().String()], ids[q.Id], cases[q.Question[0].Name] = true, true, true
		mu.Unlock()
		up.HonestHandler(w, q)
	})
	r := resolverTo(t, up, newClock(), func(c *ResolverConfig) { c.CacheBytes = 0 })
	const times = 20
	for range times {
		_, err := r.lookup(context.Background(), question{name, dns.TypeA})
		require.NoError(t, err)
	}
	mu.Lock()
	defer mu.Unlock()
	// Of 20 draws from 65,536 ids two may coincide by chance; from 28,232 ports
	// too; more than two is no chance.
	require.GreaterOrEqual(t, len(ports), times-2)
	require.GreaterOrEqual(t, len(ids), times-2)
	require.Equal(t, times, len(cases))
	for written := range cases {
		require.True(t, strings.EqualFold(name+".", written))
	}
}

func TestWithoutAnUpstreamTheErrorSaysSo(t *testing.T) {
	r := NewResolver(ResolverConfig{}, ResolverDeps{})
	_, err := r.lookup(context.Background(), question{asked, dns.TypeA})
	require.ErrorIs(t, err, errNoUpstream)
}

func TestParseUpstream(t *testing.T) {
	for s, want := range map[string]string{
		"9.9.9.9":             "9.9.9.9:53",
		"127.0.0.1:5353":      "127.0.0.1:5353",
		"2620:fe::fe":         "[2620:fe::fe]:53",
		"[2620:fe::fe]":       "[2620:fe::fe]:53",
		"[2620:fe::fe]:5353":  "[2620:fe::fe]:5353",
		"tcp://9.9.9.9":       "9.9.9.9:53",
		"udp://9.9.9.9:54":    "9.9.9.9:54",
		"::ffff:9.9.9.9":      "9.9.9.9:53",
		"[::ffff:9.9.9.9]:54": "9.9.9.9:54",
	} {
		u, err := ParseUpstream(s)
		require.NoError(t, err, s)
		require.Equal(t, want, u.Addr().String())
		require.Equal(t, s, u.String())
		require.Equal(t, strings.HasPrefix(s, "tcp"), u.how == overPlainTCP)
	}
	for s, says := range map[string]string{
		"dns.quad9.net":               "by its IP address",
		"":                            "by its IP address",
		"9.9.9.9:0":                   "by its IP address",
		"9.9.9.9:99999":               "by its IP address",
		"quic://9.9.9.9":              `"quic" is no way to ask`,
		"tls://dns.quad9.net":         "by its IP address",
		"tls://9.9.9.9#":              "the name of the server's certificate",
		"tls://9.9.9.9#9.9.9.9":       "the name of the server's certificate",
		"https://":                    "is written like https://9.9.9.9/dns-query",
		"https://u:p@9.9.9.9/":        "is written like https://9.9.9.9/dns-query",
		"https://9.9.9.9/dns-query?a": "is written like https://9.9.9.9/dns-query",
		"https://9.9.9.9:0/dns-query": "by its IP address",
		"https://a b/dns-query":       "is written like https://9.9.9.9/dns-query",
		"https://dns.quad9.net/#x":    "neither a name nor an IP address",
		"https://127.1/dns-query":     "neither a name nor an IP address",
	} {
		_, err := ParseUpstream(s)
		require.ErrorContains(t, err, says, s)
	}
}

func TestSystemUpstreams(t *testing.T) {
	list, err := SystemUpstreams("testdata/resolv.conf")
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, "192.0.2.53:53", list[0].Addr().String())
	require.Equal(t, "[2001:db8::53]:53", list[1].Addr().String())
	_, err = SystemUpstreams("testdata/resolv.empty")
	require.ErrorContains(t, err, "set dns.upstreams")
	_, err = SystemUpstreams("testdata/not-there")
	require.Error(t, err)
}

func TestAnAttemptThatWasGivenUpBlamesNobody(t *testing.T) {
	given, give := context.WithCancel(context.Background())
	require.ErrorIs(t, blame(given, os.ErrDeadlineExceeded), os.ErrDeadlineExceeded)
	give()
	require.ErrorIs(t, blame(given, os.ErrDeadlineExceeded), context.Canceled)
	require.NoError(t, blame(given, nil), "it answered all the same")
	late, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	require.ErrorIs(t, blame(late, os.ErrDeadlineExceeded), os.ErrDeadlineExceeded, "all time was used up: that is the upstream's doing")
}

// overheard sends a lie, right in all but where it comes from, to whoever asked:
// from another port, and from another address with the right port.
func overheard(t *testing.T, up *nettest.DNS, w dns.ResponseWriter, q *dns.Msg) {
	_, port, err := net.SplitHostPort(up.Addr)
	require.NoError(t, err)
	lie, err := forged(up, q).Pack()
	require.NoError(t, err)
	for _, from := range []string{"127.0.0.1:0", "127.0.0.9:" + port} {
		stranger, err := net.ListenPacket("udp4", from)
		require.NoError(t, err)
		_, err = stranger.WriteTo(lie, w.RemoteAddr())
		require.NoError(t, err)
		stranger.Close()
	}
}

func TestAnAnswerFromElsewhereIsNotHeard(t *testing.T) {
	up := nettest.NewDNS(t, asked+". 300 IN A 93.184.216.34")
	up.Handle(asked, func(w dns.ResponseWriter, q *dns.Msg) {
		if !overTCPOnly(w) {
			overheard(t, up, w, q)
		}
		w.WriteMsg(up.Honest(q))
	})
	f, err := resolverTo(t, up, newClock()).lookup(context.Background(), question{asked, dns.TypeA})
	require.NoError(t, err)
	require.Len(t, f.addresses, 1)
	require.Equal(t, "93.184.216.34", f.addresses[0].addr.String())
	require.Equal(t, []string{"A 93.184.216.34"}, answers(askedByPost(t, up).ask(t, query(asked+".", dns.TypeA))))
}
