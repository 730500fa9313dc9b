package dnsallow

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestCanariesDoNotExistWhateverARuleSays(t *testing.T) {
	var rules []policy.Rule
	canaries := []string{"use-application-dns.net", "mask.icloud.com", "mask-h2.icloud.com", "_dns.resolver.arpa"}
	for _, name := range canaries {
		rules = append(rules, allow(t, name, name))
	}
	up := nettest.NewDNS(t, "mask.icloud.com. 60 IN A 17.0.0.1", "use-application-dns.net. 60 IN A 17.0.0.1")
	w := open(t, up, compile(t, rules...))
	for _, name := range canaries {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSVCB} {
			m := w.ask(t, query(name+".", qtype))
			code, text := explained(m)
			require.Equal(t, dns.RcodeNameError, m.Rcode, name)
			require.Equal(t, uint16(dns.ExtendedErrorCodeBlocked), code, name)
			require.True(t, strings.HasPrefix(text, "canary "), text)
		}
	}
	require.Zero(t, up.Asked("", ""), "nobody is asked")
}

// Each of these names would be a message to somebody outside, were it asked for.
func TestNoUpstreamIsAskedForWhatIsNotPermitted(t *testing.T) {
	up := nettest.NewDNS(t, schoolZone...)
	w := open(t, up, schoolRules(t))
	longest := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("a", 61) + "."
	for what, name := range map[string]string{
		"below an exact host":                 "secret.emergeen.servicebus.windows.net.",
		"the domain of a wildcard itself":     "groupcall.co.uk.",
		"beside it":                           "evilgroupcall.co.uk.",
		"a reverse name of the school":        "5.0.20.10.in-addr.arpa.",
		"a reverse name of the world":         "71.107.74.13.in-addr.arpa.",
		"a reverse name of IPv6":              "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
		"a dot in a label":                    `www\.groupcall.co.uk.`,
		"an octet that is no letter":          `w\255w.groupcall.co.uk.`,
		"a name of 255 octets":                longest,
		"a name of 255 octets under a listed": longest[:255-len("www.groupcall.co.uk.")-64] + ".x_y-.www.groupcall.co.uk.",
		"the look-alike with a dot more":      "www.groupcall.co.uk.evil.example.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypePTR} {
			m := w.ask(t, query(name, qtype))
			require.Equal(t, dns.RcodeNameError, m.Rcode, what)
			require.Empty(t, m.Answer, what)
			require.Len(t, m.Ns, 1, what)
		}
	}
	require.Zero(t, up.Asked("", ""))
}

// Addresses that lead into the school in another dress.
func TestEmbeddedAddressesAreRefused(t *testing.T) {
	const name = "www.groupcall.co.uk"
	for what, addr := range map[string]string{
		"v4-mapped": "::ffff:10.0.0.5", "v4-compatible": "::10.0.0.5", "NAT64": "64:ff9b::a00:5", "local NAT64": "64:ff9b:1::a00:5",
		"6to4": "2002:a00:5::1", "Teredo": "2001:0:53aa:64c:0:0:f5ff:fffa", "unique local": "fd00::5", "link-local": "fe80::5",
		"site-local": "fec0::5", "multicast": "ff02::1", "documentation": "2001:db8::5", "unspecified": "::", "ISATAP in link-local": "fe80::5efe:a00:5",
		"Azure's wire server, mapped": "::ffff:168.63.129.16", "metadata, in NAT64": "64:ff9b::a9fe:a9fe",
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, name+". 60 IN AAAA "+addr)
			m := open(t, up, schoolRules(t)).ask(t, query(name+".", dns.TypeAAAA))
			code, text := explained(m)
			require.Equal(t, dns.RcodeSuccess, m.Rcode)
			require.Empty(t, m.Answer)
			require.Empty(t, m.Extra[1:])
			require.Equal(t, uint16(dns.ExtendedErrorCodeBlocked), code)
			require.True(t, strings.HasPrefix(text, "address-not-allowed "), text)
		})
	}
}

// A DNAME comes with the alias that follows from it (RFC 6672, section 3.1), and
// only that counts.
func TestOfADNAMEOnlyTheAliasCounts(t *testing.T) {
	const zone, name = "groupcall.co.uk.", "www.groupcall.co.uk."
	up := nettest.NewDNS(t)
	up.Handle(name, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, text := range []string{
			zone + " 60 IN DNAME groupcall.example.", "www.groupcall.co.uk. 60 IN CNAME www.groupcall.example.",
			"www.groupcall.example. 60 IN A 51.140.10.10", "other.groupcall.example. 60 IN A 13.69.64.65",
		} {
			rr, err := dns.NewRR(text)
			if err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		m.Answer[1].Header().Name = q.Question[0].Name
		w.WriteMsg(m)
	})
	m := open(t, up, schoolRules(t)).ask(t, query(name, dns.TypeA))
	require.Equal(t, []string{"CNAME www.groupcall.example.", "A 51.140.10.10"}, answers(m))
	denied := open(t, up, compile(t, allow(t, "web", "*.groupcall.co.uk"), deny(t, "no", "*.groupcall.example")))
	require.Empty(t, denied.ask(t, query(name, dns.TypeA)).Answer, "an alias to a name that is denied")
}

// How long a "no" is kept: RFC 2308, section 5, and never longer than a minute.
func TestANoIsKeptAsLongAsTheSOASays(t *testing.T) {
	for what, c := range map[string]struct {
		soa  string
		want time.Duration
	}{
		"the minimum is less":     {"900 IN SOA ns. h. 1 1 1 1 30", 30 * time.Second},
		"the record's TTL is":     {"20 IN SOA ns. h. 1 1 1 1 3600", 20 * time.Second},
		"a day is a minute":       {"86400 IN SOA ns. h. 1 1 1 1 86400", time.Minute},
		"nothing is five seconds": {"0 IN SOA ns. h. 1 1 1 1 0", 5 * time.Second},
		"none at all":             {"", 5 * time.Second},
	} {
		for _, rcode := range []int{dns.RcodeNameError, dns.RcodeSuccess} {
			up, clock := nettest.NewDNS(t), newClock()
			up.Handle("q.example.", func(w dns.ResponseWriter, q *dns.Msg) {
				m := new(dns.Msg).SetRcode(q, rcode)
				if rr, err := dns.NewRR("example. " + c.soa); err == nil && c.soa != "" {
					m.Ns = []dns.RR{rr}
				}
				w.WriteMsg(m)
			})
			r := resolverTo(t, up, clock)
			passage := permit(t, compile(t, allow(t, "q", "q.example")), machine, "q.example", 443, clock.Now())
			ask := func() int {
				r.Resolve(context.Background(), passage)
				return up.Asked("q.example", "A")
			}
			require.Equal(t, 1, ask(), what)
			clock.Advance(c.want - time.Second)
			require.Equal(t, 1, ask(), what)
			clock.Advance(time.Second)
			require.Equal(t, 2, ask(), what)
		}
	}
}

// The TTLs of Service Bus chains are given on as they are; longer and shorter
// ones are held to an hour and to five seconds.
func TestTTLsAreKeptWithinBounds(t *testing.T) {
	for ttl, want := range map[string]uint32{"0": 5, "1": 5, "9": 9, "299": 299, "3600": 3600, "86400": 3600, "2147483647": 3600, "4294967295": 5} {
		up := nettest.NewDNS(t, "www.groupcall.co.uk. "+ttl+" IN A 51.140.10.10")
		m := open(t, up, schoolRules(t)).ask(t, query("www.groupcall.co.uk.", dns.TypeA))
		require.Len(t, m.Answer, 1, ttl)
		require.Equal(t, want, m.Answer[0].Header().Ttl, ttl)
	}
}
