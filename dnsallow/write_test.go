package dnsallow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/policy"
)

// What is written here is what miekg/dns reads, record by record, and no longer
// than what it would have written itself.
func TestAWrittenReplyIsWhatMiekgReads(t *testing.T) {
	p := compile(t, allow(t, "wild", "*.example"))
	rapid.Check(t, func(t *rapid.T) {
		now := newClock().Now()
		label := rapid.StringMatching(`[a-z0-9_]{1,3}|[a-z]{63}`)
		name := rapid.Custom(func(t *rapid.T) string {
			labels := append(rapid.SliceOfN(label, 1, 3).Draw(t, "labels"), "example")
			return strings.Join(labels, ".")
		})
		asked := name.Draw(t, "asked")
		packet, err := query(mixed(asked)+".", dns.TypeA).Pack()
		require.NoError(t, err)
		in := new(inquiry)
		require.True(t, in.readPlain(packet))

		want := &dns.Msg{Compress: true, Question: []dns.Question{{Name: asked + ".", Qtype: dns.TypeA, Qclass: dns.ClassINET}}}
		owner := asked + "."
		f := &facts{stored: now}
		for i, target := range rapid.SliceOfN(name, 0, maxLinks).Draw(t, "aliases") {
			h, err := policy.ParseHost(target)
			require.NoError(t, err)
			f.aliases, f.aliasTTLs = append(f.aliases, h), append(f.aliasTTLs, time.Duration(i)*time.Second)
			want.Answer = append(want.Answer, &dns.CNAME{
				Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: uint32(i)}, Target: target + ".",
			})
			owner = target + "."
		}
		o := outcome{led: resolution{chain: chain{n: 1}}}
		o.led.chain.parts[0] = f
		v, permit := p.Query(policy.Query{At: now, Client: machine, Name: hostOf(t, asked), Type: dns.TypeA})
		require.True(t, v.Allowed())
		for i := range rapid.IntRange(0, 4).Draw(t, "addresses") {
			addr := netip.AddrFrom4([4]byte{13, 74, 0, byte(i)})
			if i%2 == 1 {
				addr = netip.AddrFrom16([16]byte{0x26, 3, 0x10, 0x20, 15: byte(i)})
			}
			v, narrowed := permit.Policy().Answer(policy.Answer{At: now, Permit: permit, Addr: addr})
			require.True(t, v.Allowed())
			o.led.leads = append(o.led.leads, lead{narrowed, now.Add(time.Hour)})
			want.Answer = append(want.Answer, addressRecord(owner, addr, time.Hour))
		}
		if rapid.Bool().Draw(t, "no") {
			o.negative, o.lifetime = true, 42*time.Second
			want.Ns = []dns.RR{soa(asked+".", o.lifetime)}
		}
		d := new(writer).body(in, &o)
		got := new(dns.Msg)
		require.NoError(t, got.Unpack(d.finish(nil, packet, ask{end: in.end, limit: dns.MaxMsgSize}, "", now)))
		require.Equal(t, fmt.Sprint(want.Answer, want.Ns), strings.ReplaceAll(fmt.Sprint(got.Answer, got.Ns), mixed(asked)+".", asked+"."))
		theirs, err := want.Pack()
		require.NoError(t, err)
		require.LessOrEqual(t, len(d.wire), len(theirs))
	})
}

// mixed is a name as a client spells it that mixes the case of letters.
func mixed(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

func hostOf(t *rapid.T, name string) policy.Host {
	h, err := policy.ParseHost(name)
	require.NoError(t, err)
	return h
}
