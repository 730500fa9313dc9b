package dnsallow

import (
	"errors"
	"net/netip"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// judge decides about an inquiry, as far as that takes nobody's word but the
// policy's; else there is an errand to carry out. The order is the contract's: no
// policy, a stranger, what cannot be read or is not served, and then the question.
func (s *Server) judge(p *policy.Policy, in *inquiry) (outcome, errand) {
	if v := p.Client(in.client, in.began); !v.Allowed() {
		return s.turnAway(in, v), errand{}
	}
	if !s.asking.take(in.client, in.began) {
		return tooMuch, errand{}
	}
	if o, bad := s.unserved(in); bad {
		return o, errand{}
	}
	return s.answer(p, in)
}

// unserved refuses what is no question that is served here.
func (s *Server) unserved(in *inquiry) (o outcome, bad bool) {
	badRequest := policy.Verdict{Reason: policy.BadRequest}
	switch {
	case in.msg.Opcode == dns.OpcodeUpdate && s.forwarded(in) != nil:
		return refuse(badRequest, dns.RcodeRefused), true
	case in.msg.Opcode != dns.OpcodeQuery:
		return refuse(badRequest, dns.RcodeNotImplemented), true
	case in.broken:
		return refuse(badRequest, dns.RcodeFormatError), true
	case in.opt != nil && in.opt.Version() != 0:
		return refuse(badRequest, dns.RcodeBadVers), true
	case in.question().Qclass != dns.ClassINET:
		return refuse(badRequest, dns.RcodeRefused), true
	case in.question().Qtype == dns.TypeAXFR, in.question().Qtype == dns.TypeIXFR:
		return refuse(policy.Verdict{Reason: policy.QueryTypeNotAllowed}, dns.RcodeRefused), true
	}
	return outcome{}, false
}

// turnAway refuses a client that is not permitted, or everybody for want of a
// policy: but over UDP, where a source can be forged, no network more often than
// is good for whoever really lives there.
func (s *Server) turnAway(in *inquiry, v policy.Verdict) outcome {
	if !in.tcp && !s.refusal.take(networkOf(in.client), in.began) {
		o := tooMuch
		o.silent = true
		return o
	}
	return refuse(v, dns.RcodeRefused).with(refusalCode(v.Reason))
}

// refusalCode tells a client that is not served (EDE 18) from one that nobody
// can be served for want of a policy (EDE 15).
func refusalCode(r policy.Reason) uint16 {
	if r == policy.ClientNotListed {
		return dns.ExtendedErrorCodeProhibited
	}
	return dns.ExtendedErrorCodeBlocked
}

// answer decides about a well-formed question.
func (s *Server) answer(p *policy.Policy, in *inquiry) (outcome, errand) {
	h, ok := in.host()
	if !ok {
		return block(policy.Verdict{Reason: policy.HostNotListed}, dns.RcodeNameError).until(in.began.Add(foldTime)), errand{}
	}
	qtype := in.question().Qtype
	v, permit := p.Query(policy.Query{At: in.began, Client: in.client, Name: h, Type: judged(qtype)})
	if v.Reason != policy.Canary && v.Reason != policy.DeniedByRule && s.resolver.owns(h.Name()) {
		return outcome{}, errand{p, h, v, permit}
	}
	switch {
	case v.Reason == policy.QueryTypeNotAllowed && qtype == dns.TypeANY:
		return outcome{verdict: v, answer: minimal(in.name())}.until(in.began.Add(foldTime)), errand{}
	case v.Reason == policy.QueryTypeNotAllowed:
		return block(v, dns.RcodeSuccess).until(in.began.Add(foldTime)), errand{}
	case !v.Allowed():
		return block(v, dns.RcodeNameError).until(in.began.Add(foldTime)), errand{}
	}
	return outcome{}, errand{p, h, v, permit}
}

// judged is the type that the policy is asked about. There 0 stands for addresses;
// on the wire it is a type like any other that has none (RFC 6895, section 3.1).
func judged(qtype uint16) uint16 {
	if qtype == dns.TypeNone {
		return dns.TypeReserved
	}
	return qtype
}

// failed is the answer where the gate said yes and the world said no: a name
// without an address of this family is an ordinary answer, one that does not
// exist and an upstream that fails are told apart in the book.
func failed(v policy.Verdict, err error) outcome {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Err: err}
	}
	if e.NoData {
		return outcome{verdict: v}.no(e)
	}
	if !v.Would { // in monitor mode the reason says what the rules would do
		v.Reason = policy.UpstreamUnresolved
	}
	if e.NXDomain {
		return outcome{verdict: v, rcode: dns.RcodeNameError}.no(e)
	}
	return refuse(v, dns.RcodeServerFailure).with(troubleCode(e))
}

// troubleCode: 22, nobody who should know answered, or they refused to; 23, the
// way there or the answer was faulty (RFC 8914, sections 4.23 and 4.24).
func troubleCode(e *Error) uint16 {
	var code rcodeError
	if e.Timeout() || errors.As(e.Err, &code) {
		return dns.ExtendedErrorCodeNoReachableAuthority
	}
	return dns.ExtendedErrorCodeNetworkError
}

// firstAddress is the first address of an answer, for the book.
func firstAddress(answer []dns.RR) netip.Addr {
	for _, rr := range answer {
		if a, ok := addressOf(rr); ok {
			return a
		}
	}
	return netip.Addr{}
}
