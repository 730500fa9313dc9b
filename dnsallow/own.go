package dnsallow

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// own answers the names that the appliance itself has something to say about,
// to every permitted client and without a rule: those of the configuration and
// the zones that are forwarded. ok is false for all others.
func (s *Server) own(ctx context.Context, in *inquiry, h policy.Host) (o outcome, ok bool) {
	q := question{h.Name(), in.question().Qtype}
	allowed := policy.Verdict{Effect: policy.Allow, Reason: policy.Matched}
	f, z := s.resolver.configured(q), s.resolver.zone(q.name)
	switch {
	case f == nil && z == nil:
		return outcome{}, false
	case q.qtype == dns.TypeANY:
		return outcome{verdict: allowed, answer: minimal(in.name())}, true
	case f != nil:
		return fromConfig(in, f, allowed), true
	}
	return s.forward(ctx, in, *z, q, allowed), true
}

func fromConfig(in *inquiry, f *facts, v policy.Verdict) outcome {
	o := outcome{verdict: v}.until(in.began.Add(foldTime))
	for _, a := range f.addresses {
		o.answer = append(o.answer, addressRecord(in.name(), a.addr, a.ttl))
	}
	if len(o.answer) == 0 {
		o.negative, o.lifetime = true, hostTTL
	}
	o.addr = firstAddress(o.answer)
	return o
}

// forward asks the zone's own servers, for any type.
func (s *Server) forward(ctx context.Context, in *inquiry, z Zone, q question, v policy.Verdict) outcome {
	reply, err := s.resolver.exchanger.ask(ctx, z.Servers, q)
	if err != nil {
		return failed(v, &Error{Name: q.name, Err: err})
	}
	return handedOn(in, z, q, v, reply)
}

// handedOn is what a zone's own server said. Records of names outside the zone are
// left out: nobody has judged them.
func handedOn(in *inquiry, z Zone, q question, v policy.Verdict, reply *dns.Msg) outcome {
	o := outcome{verdict: v, rcode: reply.Rcode}
	for _, rr := range reply.Answer {
		owner := strings.ToLower(strings.TrimSuffix(rr.Header().Name, "."))
		switch {
		case rr.Header().Class != dns.ClassINET || rr.Header().Rrtype == dns.TypeOPT || !z.holds(owner) || !whole(rr):
			continue
		case owner == q.name: // our question went out with letters upside down
			rr.Header().Name = in.name()
		}
		o.answer = append(o.answer, rr)
	}
	if len(o.answer) == 0 {
		o.authority = authority(reply, z)
		f := facts{ttl: ttlCeiling}
		f.conclude(reply)
		o.negative, o.lifetime = len(o.authority) == 0, f.ttl
	}
	o.addr = firstAddress(o.answer)
	return o
}

// whole reports whether a record can be read as we would write it. miekg/dns is
// content with data that are cut off, or not there at all, and would write less still.
func whole(rr dns.RR) bool {
	if rr.Header().Rdlength == 0 {
		return false
	}
	wire := make([]byte, dns.Len(rr)+1) // as Msg.Pack does
	n, err := dns.PackRR(rr, wire, 0, nil, false)
	if err != nil {
		return false
	}
	_, _, err = dns.UnpackRR(wire[:n], 0)
	return err == nil
}

// authority is the zone's own SOA under a "no". A Windows machine that wants to
// register its name learns from it which domain controller takes the update
// (RFC 2136, section 4.3), so it must be the real one and not one of ours.
func authority(reply *dns.Msg, z Zone) []dns.RR {
	for _, rr := range reply.Ns {
		owner := strings.ToLower(strings.TrimSuffix(rr.Header().Name, "."))
		if _, is := rr.(*dns.SOA); is && rr.Header().Class == dns.ClassINET && z.holds(owner) && whole(rr) {
			return []dns.RR{rr}
		}
	}
	return nil
}

// forwarded is the zone that an inquiry of whatever opcode is about, nil where
// it is none of ours.
func (s *Server) forwarded(in *inquiry) *Zone {
	if in.broken {
		return nil
	}
	return s.resolver.zone(strings.ToLower(strings.TrimSuffix(in.question().Name, ".")))
}
