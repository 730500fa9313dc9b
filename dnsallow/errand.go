package dnsallow

import (
	"context"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// errand is what a question takes that the policy alone cannot answer: the word
// of the configuration, of a zone's servers or of an upstream. The zero value is
// none.
type errand struct {
	policy  *policy.Policy
	host    policy.Host
	verdict policy.Verdict
	permit  policy.Permit // invalid where only the appliance itself knows the name
}

func (e *errand) due() bool { return e.policy != nil }

// carry carries an errand out, and waits for whom it has to. What panics there is
// refused.
func (s *Server) carry(ctx context.Context, in *inquiry, e errand) (o outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			o = s.faulty(in, fault)
		}
	}()
	if own, ok := s.own(ctx, in, e.host); ok {
		s.pinOwn(ctx, in, e.permit, own.answer)
		return own
	}
	r, err := s.resolver.resolve(ctx, e.permit, in.question().Qtype)
	o = e.found(r, err)
	s.pinLeads(ctx, in, o.led.leads)
	return o
}

// follow carries out the rest of an errand that somebody has begun: look says
// what has been found out and what has not.
func (s *Server) follow(ctx context.Context, in *inquiry, e errand, look func(context.Context, question) (*facts, error)) (o outcome) {
	defer func() {
		if fault := recover(); fault != nil {
			o = s.faulty(in, fault)
		}
	}()
	asking, cancel := s.resolver.inTime(ctx)
	defer cancel()
	r, err := s.resolver.follow(e.permit, in.question().Qtype, nil, func(q question) (*facts, error) { return look(asking, q) })
	o = e.found(r, err)
	s.pinLeads(ctx, in, o.led.leads)
	return o
}

// atHand carries an errand out for which nobody has to be waited for. What it leads
// to may stand in room, as long as the outcome is used.
func (s *Server) atHand(in *inquiry, e *errand, room []lead) (o outcome, ok bool) {
	defer func() {
		if fault := recover(); fault != nil {
			o, ok = s.faulty(in, fault), true
		}
	}()
	if s.pins != nil || s.resolver.owns(e.host.Name()) {
		return outcome{}, false
	}
	r, err, ok := s.resolver.atHand(e.permit, in.question().Qtype, room)
	if !ok {
		return outcome{}, false
	}
	return e.found(r, err), true
}

// found is what comes of a permitted name.
func (e *errand) found(r resolution, err error) outcome {
	if err != nil {
		return failed(e.verdict, err)
	}
	switch {
	case r.verdict.Reason == policy.Limit:
		o := tooMuch
		o.verdict = r.verdict
		return o
	case !r.verdict.Allowed():
		return block(r.verdict, dns.RcodeSuccess).until(r.chain.until)
	}
	o := outcome{
		verdict: r.verdict, led: r,
		aliases: r.leads[0].permit.Aliases(), addr: r.leads[0].permit.Addr(),
	}.until(r.chain.ripe) // from then on the long way, which renews what is hot
	if r.chain.stale {
		return o.with(dns.ExtendedErrorCodeStaleAnswer)
	}
	return o
}
