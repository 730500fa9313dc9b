package dnsallow

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// heardFrom puts our id and our question on a reply to q, as if an upstream had
// heard the query, and gives back both.
func heardFrom(t require.TestingT, q question, reply *dns.Msg) (packet, query []byte) {
	query = appendQuery(nil, q, true)
	asked := new(dns.Msg)
	require.NoError(t, asked.Unpack(query))
	reply.Id, reply.Response, reply.Question = asked.Id, true, asked.Question
	packet, err := reply.Pack()
	require.NoError(t, err)
	return packet, query
}

// requireTheSameFacts holds what was read here to what miekg/dns and collect make
// of a packet. Where it is left to them nothing is asked.
func requireTheSameFacts(t require.TestingT, q question, packet, query []byte, now time.Time) (f *facts) {
	f, ok := readFacts(packet, query, q, now)
	if !ok {
		require.Nil(t, f)
		return nil
	}
	l := &letter{query: query}
	reply, err := l.read(packet)
	require.NoError(t, err)
	require.NotNil(t, reply, "it is no answer")
	require.True(t, usable(reply, nil))
	want, err := collect(reply, q, now)
	require.NoError(t, err)
	require.Equal(t, want, f)
	return f
}

func records(t require.TestingT, lines ...string) (list []dns.RR) {
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		require.NoError(t, err)
		list = append(list, rr)
	}
	return list
}

func TestAPlainReplyIsReadFromItsBytes(t *testing.T) {
	now := newClock().Now()
	const name = "emergeen.servicebus.windows.net"
	chain := []string{
		name + ". 9 IN CNAME ns-sb2-prod-DB3-001.trafficmanager.net.", "ns-sb2-prod-db3-001.trafficmanager.net. 60 IN CNAME ns-sb2-prod-db3-001.cloudapp.net.",
		"NS-sb2-prod-db3-001.cloudapp.net. 10 IN A 13.74.107.71", "ns-sb2-prod-db3-001.cloudapp.net. 1 IN A 13.74.107.72",
	}
	for what, c := range map[string]struct {
		answer []string
		also   func(m *dns.Msg)
		read   bool
	}{
		"one address":                     {answer: []string{name + ". 300 IN A 13.74.107.71"}, read: true},
		"a chain":                         {answer: chain, read: true},
		"with an OPT record":              {answer: chain, read: true, also: func(m *dns.Msg) { m.SetEdns0(1232, true) }},
		"not compressed":                  {answer: chain, read: true, also: func(m *dns.Msg) { m.Compress = false }},
		"authoritative, authentic":        {answer: chain, read: true, also: func(m *dns.Msg) { m.Authoritative, m.AuthenticatedData = true, true }},
		"a TTL that is none":              {answer: []string{name + ". 4294967295 IN A 13.74.107.71"}, read: true},
		"no address":                      {answer: chain[:2]},
		"nothing":                         {},
		"aliases in another order":        {answer: []string{chain[1], chain[0], chain[2]}},
		"an address of a stranger":        {answer: append(chain[:4:4], "www.example.org. 10 IN A 93.184.216.34")},
		"an address before the alias":     {answer: []string{name + ". 9 IN A 13.74.107.71", chain[0], chain[1], chain[2]}},
		"an address twice":                {answer: []string{chain[0], chain[1], chain[2], chain[2]}},
		"another type":                    {answer: []string{name + `. 9 IN TXT "v"`, name + ". 9 IN A 13.74.107.71"}},
		"the other family":                {answer: []string{name + ". 9 IN AAAA 2603::1"}},
		"another class":                   {answer: []string{name + ". 9 CH A 13.74.107.71"}},
		"a loop":                          {answer: []string{name + ". 9 IN CNAME a.example.", "a.example. 9 IN CNAME " + name + ".", name + ". 9 IN A 13.74.107.71"}},
		"an alias to itself":              {answer: []string{name + ". 9 IN CNAME " + name + ".", name + ". 9 IN A 13.74.107.71"}},
		"an alias to no host":             {answer: []string{name + `. 9 IN CNAME a\.b.example.`, `a\.b.example. 9 IN A 13.74.107.71`}},
		"an alias to the root":            {answer: []string{name + ". 9 IN CNAME .", ". 9 IN A 13.74.107.71"}},
		"an alias to what is an address":  {answer: []string{name + ". 9 IN CNAME 10.0.0.1.", "10.0.0.1. 9 IN A 13.74.107.71"}},
		"an authority":                    {answer: chain, also: func(m *dns.Msg) { m.Ns = records(t, "example.org. 9 IN NS ns.example.org.") }},
		"an additional address":           {answer: chain, also: func(m *dns.Msg) { m.Extra = records(t, "example.org. 9 IN A 10.0.0.1") }},
		"an OPT record with an option":    {answer: chain, also: func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{}} }},
		"an OPT record of a later EDNS":   {answer: chain, also: func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) }},
		"an extended response code":       {answer: chain, also: func(m *dns.Msg) { m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadVers }},
		"NXDOMAIN, and an address":        {answer: chain, also: func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }},
		"truncated":                       {answer: chain, also: func(m *dns.Msg) { m.Truncated = true }},
		"an operation that is no query":   {answer: chain, also: func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }},
		"more addresses than nearly ever": {answer: manyAddresses(name)},
	} {
		t.Run(what, func(t *testing.T) {
			q := question{name, dns.TypeA}
			m := &dns.Msg{MsgHdr: dns.MsgHdr{RecursionAvailable: true}, Compress: true, Answer: records(t, c.answer...)}
			if c.also != nil {
				c.also(m)
			}
			packet, query := heardFrom(t, q, m)
			require.Equal(t, c.read, requireTheSameFacts(t, q, packet, query, now) != nil)
			for n := range packet { // cut off anywhere, it is left to others
				_, ok := readFacts(packet[:n], query, q, now)
				require.False(t, ok)
			}
			_, ok := readFacts(append(packet[:len(packet):len(packet)], 0), query, q, now)
			require.False(t, ok, "with something behind it")
			other := appendQuery(nil, q, true)
			binary.BigEndian.PutUint16(other, binary.BigEndian.Uint16(query)+1)
			_, ok = readFacts(packet, other, q, now)
			require.False(t, ok, "with another id")
			copy(other, query[:2])
			copy(other[headerBytes:], swapCase(string(query[headerBytes:])))
			_, ok = readFacts(packet, other, q, now)
			require.False(t, ok, "with another mixture of letters")
		})
	}
}

func manyAddresses(name string) (lines []string) {
	for i := range plainAddresses + 1 {
		lines = append(lines, fmt.Sprintf("%s. 9 IN A 13.74.107.%d", name, i))
	}
	return lines
}

// Whatever an upstream may say, in whatever order: what is read here is what the
// long way reads.
func TestRepliesAreReadTheSameBothWays(t *testing.T) {
	now := newClock().Now()
	names := []string{"a.example", "b.example", "www.b.example", "c-1.example.net", "_d.example", "x"}
	rapid.Check(t, func(t *rapid.T) {
		q := question{rapid.SampledFrom(names).Draw(t, "asked"), rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeAAAA}).Draw(t, "type")}
		name := rapid.Custom(func(t *rapid.T) string {
			s := rapid.SampledFrom(append(names, q.name, "")).Draw(t, "name") + "."
			if rapid.Bool().Draw(t, "shouted") {
				s = strings.ToUpper(s)
			}
			return s
		})
		m := &dns.Msg{Compress: rapid.Bool().Draw(t, "compressed")}
		for range rapid.IntRange(0, 5).Draw(t, "records") {
			data := rapid.SampledFrom([]string{"A 13.74.107.71", "A 10.0.0.1", "AAAA 2603::1", "AAAA ::ffff:13.74.107.71", "CNAME ", "TXT x"}).Draw(t, "data")
			if data == "CNAME " {
				data += name.Draw(t, "target")
			}
			ttl := rapid.SampledFrom([]string{"0", "9", "300", "86400", "4294967295"}).Draw(t, "ttl")
			m.Answer = append(m.Answer, records(t, name.Draw(t, "owner")+" "+ttl+" IN "+data)...)
		}
		if rapid.Bool().Draw(t, "edns") {
			m.SetEdns0(1232, rapid.Bool().Draw(t, "do"))
		}
		packet, query := heardFrom(t, q, m)
		requireTheSameFacts(t, q, packet, query, now)
	})
}

func FuzzReply(f *testing.F) {
	now := newClock().Now()
	q := question{"emergeen.servicebus.windows.net", dns.TypeA}
	query := appendQuery(nil, q, true)
	for _, lines := range [][]string{schoolZone, {q.name + ". 300 IN A 13.74.107.71"}, {
		q.name + ". 9 IN CNAME ns.cloudapp.net.", "ns.cloudapp.net. 9 IN A 13.74.107.71",
	}} {
		packet, _ := heardFrom(f, q, &dns.Msg{Compress: true, Answer: records(f, lines...)})
		f.Add(packet[questionEnd(packet):], uint16(len(lines)), uint16(0), uint16(0))
	}
	f.Fuzz(func(t *testing.T, behind []byte, answers, authority, additional uint16) {
		packet := append([]byte(nil), query[:questionEnd(query)]...)
		packet[2] |= flagResponse
		for i, n := range []uint16{answers, authority, additional} {
			binary.BigEndian.PutUint16(packet[6+2*i:], n)
		}
		requireTheSameFacts(t, q, append(packet, behind...), query, now)
		requireTheSameFacts(t, q, behind, query, now)
	})
}

// What is kept of a name with one address is one piece of memory.
func TestAPlainReplyIsReadWithoutGarbage(t *testing.T) {
	q := question{"www.example.org", dns.TypeA}
	packet, query := heardFrom(t, q, &dns.Msg{Compress: true, Answer: records(t, q.name+". 300 IN A 93.184.216.34")})
	now := newClock().Now()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		if _, ok := readFacts(packet, query, q, now); !ok {
			t.Fatal("not read")
		}
	}), 1.0)
}
