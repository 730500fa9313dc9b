package nettest

import (
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
)

func TestDNSAnswersAsARecursiveServerDoes(t *testing.T) {
	d := NewDNS(t,
		"www.example.org. 300 IN CNAME web.example.net.",
		"web.example.net. 9 IN A 192.0.2.7")
	for _, c := range []struct {
		name, network string
		qtype         uint16
		rcode, rrs    int
	}{
		{"WWW.example.org.", "udp", dns.TypeA, dns.RcodeSuccess, 2},
		{"web.example.net.", "tcp", dns.TypeA, dns.RcodeSuccess, 1},
		{"web.example.net.", "udp", dns.TypeAAAA, dns.RcodeSuccess, 0},
		{"none.example.net.", "udp", dns.TypeA, dns.RcodeNameError, 0},
	} {
		m := new(dns.Msg).SetQuestion(c.name, c.qtype)
		reply, _, err := (&dns.Client{Net: c.network}).Exchange(m, d.Addr)
		require.NoError(t, err)
		require.Equal(t, c.rcode, reply.Rcode, c.name)
		require.Len(t, reply.Answer, c.rrs, c.name)
		if c.rrs == 0 {
			require.IsType(t, &dns.SOA{}, reply.Ns[0])
		}
	}
	require.Equal(t, 1, d.Asked("www.example.org", "A"))
	require.Equal(t, 4, d.Asked("", ""))
	require.Equal(t, "WWW.example.org.", d.Questions()[0].Written)
}

func TestDNSDoesWhatAHandlerSays(t *testing.T) {
	d := NewDNS(t, "www.example.org. 300 IN A 192.0.2.7")
	d.Handle("www.example.org", Rcode(dns.RcodeServerFailure))
	m := new(dns.Msg).SetQuestion("www.example.org.", dns.TypeA)
	reply, _, err := new(dns.Client).Exchange(m, d.Addr)
	require.NoError(t, err)
	require.Equal(t, dns.RcodeServerFailure, reply.Rcode)
	d.Handle("www.example.org", nil)
	reply, _, err = new(dns.Client).Exchange(m, d.Addr)
	require.NoError(t, err)
	require.Len(t, reply.Answer, 1)
}
