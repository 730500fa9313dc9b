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

	led       resolution // where a permitted name leads
	answer    []dns.RR   // of names that the appliance answers itself
	authority []dns.RR   // the SOA of a forwarded zone, where it says no
	// holds is when the TTL of the SOA that negative adds has run down; zero: it is
	// what it is.
	holds time.Time
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
	o.holds = e.until
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

// draft builds the reply, in the room of w. Nothing in it comes from upstream but
// what judging let through into led, answer and authority.
func (o *outcome) draft(in *inquiry, w *writer) (d draft, err error) {
	if d, err = o.written(in, w); err != nil {
		return draft{}, err
	}
	d.rcode = o.rcode
	if o.explain {
		d.reason, d.ede = o.verdict.Reason.String(), o.ede
	}
	return d, nil
}

// written is the body of the reply. What most questions come to is written here;
// records of all kinds and answers to packets that could not be read are
// miekg/dns's trade.
func (o *outcome) written(in *inquiry, w *writer) (draft, error) {
	if in.plain() && len(o.answer) == 0 && len(o.authority) == 0 {
		return w.body(in, o), nil
	}
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
	return newDraft(m, o.holds)
}

// The SOA that makes a negative answer cacheable (RFC 2308, section 5). The zone
// is of our own making and says so.
const (
	soaServer, soaMailbox                      = "gatehouse.invalid", "nobody.gatehouse.invalid"
	soaSerial, soaRefresh, soaRetry, soaExpire = 1, 3600, 600, 86400
)

func soa(name string, lifetime time.Duration) *dns.SOA {
	ttl := ttlSeconds(lifetime)
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  soaServer + ".", Mbox: soaMailbox + ".",
		Serial: soaSerial, Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: ttl,
	}
}

// minimal is what a question for ANY is answered with (RFC 8482, section 4.2).
func minimal(name string) []dns.RR {
	return []dns.RR{&dns.HINFO{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeHINFO, Class: dns.ClassINET, Ttl: ttlSeconds(ttlNegative)},
		Cpu: "RFC8482",
	}}
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
