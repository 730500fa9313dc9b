package dnsallow

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// outcome is what an inquiry comes to, for the client and for the book. The
// zero value refuses.
type outcome struct {
	verdict policy.Verdict
	rcode   int
	// explain: the reply tells the reason as extended error ede (RFC 8914), if
	// the query can take one.
	explain bool
	ede     uint16
	// negative: an SOA with this lifetime says for how long the "no" holds.
	negative bool
	lifetime time.Duration

	silent bool // nothing is sent; the book still knows

	answer    []dns.RR
	authority []dns.RR // the SOA of a forwarded zone, where it says no
	aliases   []policy.Host
	addr      netip.Addr
}

// refuse is a refusal without any data: REFUSED, NOTIMP, FORMERR, BADVERS.
func refuse(v policy.Verdict, rcode int) outcome { return outcome{verdict: v, rcode: rcode} }

// tooMuch is the refusal of what goes beyond a bound.
var tooMuch = refuse(policy.Verdict{Reason: policy.Limit}, dns.RcodeRefused).with(dns.ExtendedErrorCodeBlocked)

// block says that the operator's own policy forbids it (EDE 15) and that
// nothing comes of asking again for a minute.
func block(v policy.Verdict, rcode int) outcome {
	return outcome{verdict: v, rcode: rcode, negative: true, lifetime: ttlNegative}.with(dns.ExtendedErrorCodeBlocked)
}

func (o outcome) with(ede uint16) outcome {
	o.explain, o.ede = true, ede
	return o
}

// pack builds the reply. Nothing in it comes from upstream but what judging let
// through into answer.
func (o outcome) pack(in *inquiry) []byte {
	m := &dns.Msg{Compress: true, MsgHdr: dns.MsgHdr{
		Id: in.msg.Id, Response: true, Opcode: in.msg.Opcode, Rcode: o.rcode,
		RecursionDesired: in.msg.RecursionDesired, RecursionAvailable: true, CheckingDisabled: in.msg.CheckingDisabled,
	}}
	if !in.broken {
		m.Question = in.msg.Question
		m.Answer, m.Ns = o.answer, o.authority
		if o.negative {
			m.Ns = []dns.RR{soa(in.question().Name, o.lifetime)}
		}
	}
	if in.opt != nil {
		m.Extra = []dns.RR{o.opt(in)}
	}
	wire, err := m.Pack()
	if err == nil && len(wire) > in.limit() {
		m.Truncated, m.Answer, m.Ns = true, nil, nil
		wire, err = m.Pack()
	}
	if err != nil {
		return bare(in.packet, dns.RcodeServerFailure)
	}
	return wire
}

// opt is our half of EDNS: our payload size, the client's DO bit given back
// (RFC 3225), and the reason with the decision's id.
func (o outcome) opt(in *inquiry) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(payload)
	opt.SetDo(in.opt.Do())
	if o.explain {
		opt.Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: o.ede, ExtraText: o.verdict.Reason.String() + " " + in.id}}
	}
	return opt
}

// soa makes a negative answer cacheable (RFC 2308, section 5). The zone is of
// our own making and says so.
func soa(name string, lifetime time.Duration) *dns.SOA {
	ttl := ttlSeconds(lifetime)
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "gatehouse.invalid.", Mbox: "nobody.gatehouse.invalid.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}
}

// minimal is what a question for ANY is answered with (RFC 8482, section 4.2).
func minimal(name string) []dns.RR {
	return []dns.RR{&dns.HINFO{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: ttlSeconds(ttlNegative)},
		Cpu: "RFC8482",
	}}
}

// records writes a judged resolution down as records: the aliases in order,
// then the addresses, under the question's name as it was written.
func records(question string, r resolution) []dns.RR {
	owner := question
	var list []dns.RR
	for _, l := range r.links {
		target := dns.Fqdn(l.target.Name())
		list = append(list, &dns.CNAME{
			Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: ttlSeconds(l.ttl)},
			Target: target,
		})
		owner = target
	}
	for _, l := range r.leads {
		list = append(list, addressRecord(owner, l.permit.Addr(), l.ttl))
	}
	return list
}

func addressRecord(owner string, a netip.Addr, ttl time.Duration) dns.RR {
	h := dns.RR_Header{Name: owner, Class: dns.ClassINET, Ttl: ttlSeconds(ttl)}
	if a.Is4() {
		h.Rrtype = dns.TypeA
		return &dns.A{Hdr: h, A: a.AsSlice()}
	}
	h.Rrtype = dns.TypeAAAA
	return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
}

func ttlSeconds(d time.Duration) uint32 { return uint32(max(0, d) / time.Second) }

// bare is a reply of nothing but a header: for a packet whose question cannot
// be repeated, and for our own faults.
func bare(packet []byte, rcode int) []byte {
	const recursionDesired, recursionAvailable, opcodeBits = 1, 1 << 7, 0xf << 3
	reply := make([]byte, headerBytes)
	copy(reply, packet[:2])
	reply[2] = flagResponse | packet[2]&(opcodeBits|recursionDesired)
	reply[3] = recursionAvailable | byte(rcode)
	return reply
}
