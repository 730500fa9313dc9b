package dnsallow

import (
	"context"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// Pinner is told where an answer leads before the answer goes, so that a firewall
// that is to follow the names lets through what the rules say: permits narrowed to
// the addresses of one name, and when the last of them is over. Whoever is told
// forgets what no rule of via = "forward" speaks of.
type Pinner interface {
	Pin(ctx context.Context, permits []policy.Permit, until time.Time) error
}

// pin opens the firewall for judged addresses. Where it cannot be opened the
// answer goes all the same: what comes of it finds the door closed.
func (s *Server) pin(ctx context.Context, in *inquiry, permits []policy.Permit, until time.Time) {
	if s.pins == nil || len(permits) == 0 {
		return
	}
	if err := s.pins.Pin(ctx, permits, until); err != nil {
		s.log.Error("dns: the firewall was not opened for an answer", "id", in.id, "err", err)
	}
}

func (s *Server) pinLeads(ctx context.Context, in *inquiry, leads []lead) {
	if s.pins == nil {
		return
	}
	var permits []policy.Permit
	var until time.Time
	for _, l := range leads {
		permits, until = append(permits, l.permit), latest(until, l.until)
	}
	s.pin(ctx, in, permits, until)
}

// pinOwn does the same for names that the appliance answers itself: their
// addresses are given to everybody, and let through only where a rule says so.
func (s *Server) pinOwn(ctx context.Context, in *inquiry, permit policy.Permit, answer []dns.RR) {
	if s.pins == nil || !permit.Valid() {
		return
	}
	var permits []policy.Permit
	var until time.Time
	for _, rr := range answer {
		addr, is := addressOf(rr)
		if !is {
			continue
		}
		v, narrowed := permit.Policy().Answer(policy.Answer{At: in.began, Permit: permit, Addr: addr})
		if v.Allowed() {
			permits, until = append(permits, narrowed), latest(until, in.began.Add(seconds(rr.Header().Ttl)))
		}
	}
	s.pin(ctx, in, permits, until)
}
