package dnsallow

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// FuzzRespond throws packets at the server: it never crashes, it answers or
// drops, every answer can be read and is about the question asked, every answer
// is in the book, no name that is not permitted ever reaches an upstream, and
// what is given the short way is what the long way gave.
func FuzzRespond(f *testing.F) {
	for _, m := range []*dns.Msg{
		query("www.groupcall.co.uk.", dns.TypeA), query("other.servicebus.windows.net.", dns.TypeAAAA),
		query("mask.icloud.com.", dns.TypeHTTPS), query("emergeen.servicebus.windows.net.", dns.TypeANY),
		query("www.groupcall.co.uk.", dns.TypeNone), query("www.groupcall.co.uk.", dns.TypeTXT),
		new(dns.Msg).SetUpdate("groupcall.co.uk."), new(dns.Msg).SetAxfr("groupcall.co.uk."),
		new(dns.Msg).SetQuestion(`a\.b\000.Groupcall.co.uk.`, dns.TypeA),
	} {
		f.Add(packed(f, m), false)
	}
	up := nettest.NewDNS(f, schoolZone...)
	book := new(counting)
	live := new(policy.Live)
	live.Swap(schoolRules(f))
	s := NewServer(ServerConfig{PerClient: 1 << 40}, ServerDeps{
		Live: live, Resolver: resolverTo(f, up, newClock()), Sink: book, Now: newClock().Now,
	})
	from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		book.forget()
		s.Settle()
		before := book.count()
		sent := string(packet)
		reply := s.respond(t.Context(), packet, from, tcp)
		require.Equal(t, sent, string(packet), "the packet is only read")
		if reply == nil {
			require.True(t, len(packet) < headerBytes || packet[2]&flagResponse != 0)
			require.Equal(t, before, book.count())
			return
		}
		require.Equal(t, before+1, book.count())
		requireTheSameTheShortWay(t, s, packet, reply, tcp)
		require.Equal(t, packet[:2], reply[:2])
		m := new(dns.Msg)
		require.NoError(t, m.Unpack(reply))
		require.True(t, m.Response)
		require.LessOrEqual(t, len(m.Question), 1)
		if !tcp {
			require.LessOrEqual(t, len(reply), payload)
		}
		if len(m.Question) == 1 {
			in, _ := readInquiry(packet) // of an operation that is no question, the rest may be rubbish
			require.Equal(t, in.question(), m.Question[0])
		}
		requireOnlyPermittedNamesAsked(t, up)
	})
}

// requireTheSameTheShortWay also holds the two readers of packets against each
// other: what the hot path takes for a plain question is one to miekg/dns.
func requireTheSameTheShortWay(t *testing.T, s *Server, packet, reply []byte, tcp bool) {
	t.Helper()
	a, ok := readAsk(packet)
	if !ok {
		require.Nil(t, s.again(nil, packet, loopback))
		return
	}
	in, ok := readInquiry(packet)
	require.True(t, ok)
	require.True(t, in.plain())
	require.False(t, in.broken)
	require.Equal(t, in.ask(), a)
	if quick := new(inquiry); quick.readPlain(packet) {
		require.Equal(t, in.name(), quick.name())
		require.Equal(t, in.question().Qtype, quick.question().Qtype)
		require.Equal(t, in.question().Qclass, quick.question().Qclass)
		require.Equal(t, in.end, quick.end)
		require.Equal(t, in.ask(), quick.ask())
		require.True(t, quick.plain())
	}
	if short := s.again(nil, packet, loopback); short != nil && !tcp {
		require.Equal(t, reply, short)
	}
}

func requireOnlyPermittedNamesAsked(t *testing.T, up *nettest.DNS) {
	t.Helper()
	for _, q := range up.Questions() {
		permitted := q.Name == "emergeen.servicebus.windows.net" || q.Name == "west.servicebus.windows.net" ||
			q.Name == "pinned.example.org" || q.Name == "strict.example.org" ||
			strings.HasSuffix(q.Name, ".groupcall.co.uk") || strings.HasSuffix(q.Name, ".icloud.com")
		require.True(t, permitted, q.Name)
		require.NotEqual(t, "blocked.groupcall.co.uk", q.Name)
		require.False(t, strings.HasPrefix(q.Name, "mask."), q.Name)
		require.Contains(t, []string{"A", "AAAA"}, q.Type)
	}
}
