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
	// ends are the moments at which the TTLs of answer, or of the SOA that
	// negative adds, have run down; none: they are what they are.
	ends []time.Time
	// lasts is until when the same question of the same client comes to the
	// same under the same policy; zero: ask anew each time.
	lasts   time.Time
	aliases []policy.Host
	addr    netip.Addr
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

// until says that the outcome may be kept ready.
func (o outcome) until(moment time.Time) outcome {
	o.lasts = moment
	return o
}

// no adds what upstream said about how long its "no" holds.
func (o outcome) no(e *Error) outcome {
	o.negative, o.lifetime = true, e.TTL
	if !e.until.IsZero() {
		o.ends = []time.Time{e.until}
	}
	switch {
	case e.stale && e.NXDomain:
		o = o.with(dns.ExtendedErrorCodeStaleNXDOMAINAnswer)
	case e.stale:
		o = o.with(dns.ExtendedErrorCodeStaleAnswer)
	}
	return o.until(e.until)
}

func (o outcome) with(ede uint16) outcome {
	o.explain, o.ede = true, ede
	return o
}

// draft builds the reply. Nothing in it comes from upstream but what judging let
// through into answer and authority.
func (o outcome) draft(in *inquiry) (*draft, error) {
	m := &dns.Msg{Compress: true, MsgHdr: dns.MsgHdr{Response: true, Opcode: in.msg.Opcode, Rcode: o.rcode & 0xf}}
	if !in.broken {
		q := in.question()
		q.Name = in.name()
		m.Question = []dns.Question{q}
		m.Answer, m.Ns = o.answer, o.authority
		if o.negative {
			m.Ns = []dns.RR{soa(q.Name, o.lifetime)}
		}
	}
	d, err := newDraft(m, o.ends)
	if err != nil {
		return nil, err
	}
	d.rcode = o.rcode
	if o.explain {
		d.reason, d.ede = o.verdict.Reason.String(), o.ede
	}
	return d, nil
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
// then the addresses, under the question's name; and when each has run down.
func records(question string, r resolution) (list []dns.RR, ends []time.Time) {
	owner := question
	for _, f := range r.chain.parts[:r.chain.n] {
		for i, alias := range f.aliases {
			target := dns.Fqdn(alias.Name())
			list = append(list, &dns.CNAME{
				Hdr:    dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET},
				Target: target,
			})
			ends = append(ends, f.stored.Add(f.aliasTTLs[i]))
			owner = target
		}
	}
	for _, l := range r.leads {
		list = append(list, addressRecord(owner, l.permit.Addr(), 0))
		ends = append(ends, l.until)
	}
	return list, ends
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
