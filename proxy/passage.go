package proxy

import (
	"net/netip"
	"sync"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// longPassage is how long a passage lives before the book gets a line about it
// while it is still open.
const longPassage = time.Minute

// passage is one entry of the book in the making: an exchange or a tunnel. It
// is opened before anything is decided and ended exactly once.
type passage struct {
	server *Server
	mu     sync.Mutex // guards all below
	record flow.Record
	permit policy.Permit
	// opaque: a tunnel nobody looks into, so that Inspect ends it.
	opaque  bool
	cut     func() // breaks off what carries the passage
	stopped string // why it was broken off: an End of flow.Record
	ended   bool
	late    *time.Timer
}

// registry holds the open passages.
type registry struct {
	mu   sync.Mutex
	open map[*passage]struct{}
}

// all is a snapshot of the open passages.
func (r *registry) all() []*passage {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*passage, 0, len(r.open))
	for p := range r.open {
		list = append(list, p)
	}
	return list
}

// begin opens a passage. cut must be safe to call from any goroutine.
func (s *Server) begin(surface policy.Surface, client netip.Addr, inForce *policy.Policy, cut func()) *passage {
	p := &passage{server: s, cut: cut, opaque: surface == policy.CONNECT}
	p.record = flow.Record{
		ID: flow.NewID(), Time: s.deps.Now(), Surface: surface, Client: client,
		Group: inForce.Group(client), PolicySHA: inForce.SHA256(),
	}
	s.deps.Book.Opened(surface)
	p.late = time.AfterFunc(longPassage, p.tellOpen)
	s.passages.mu.Lock()
	s.passages.open[p] = struct{}{}
	s.passages.mu.Unlock()
	return p
}

// tellOpen writes the line of a passage that is still open after a minute.
func (p *passage) tellOpen() {
	p.mu.Lock()
	r := p.record
	r.Open, r.Duration = true, p.server.deps.Now().Sub(r.Time)
	gone := p.ended
	p.mu.Unlock()
	if !gone {
		p.server.deps.Book.Record(&r)
	}
}

// note fills in the record.
func (p *passage) note(fill func(*flow.Record)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		fill(&p.record)
	}
}

// settle remembers the newest verdict and the permit it came with.
func (p *passage) settle(v policy.Verdict, permit policy.Permit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped == "" {
		p.record.Verdict, p.permit = v, permit
		p.record.Protocol = v.Protocol
	}
}

// id is the decision id.
func (p *passage) id() string { return p.record.ID }

// firstByte notes that the first byte of an answer is on its way.
func (p *passage) firstByte() {
	now := p.server.deps.Now()
	p.note(func(r *flow.Record) {
		if r.FirstByte == 0 {
			r.FirstByte = now.Sub(r.Time)
		}
	})
}

// stop breaks the passage off. The first reason stays.
func (p *passage) stop(end string) {
	p.mu.Lock()
	cut := p.cut
	if p.ended || p.stopped != "" {
		cut = nil
	} else {
		p.stopped = end
	}
	p.mu.Unlock()
	if cut != nil {
		cut()
	}
}

// review ends the passage where the policy in force would not permit it. A
// policy that panics permits nothing.
func (p *passage) review(inForce *policy.Policy, now time.Time) {
	p.mu.Lock()
	permit, opaque := p.permit, p.opaque
	p.mu.Unlock()
	if !permit.Valid() {
		return // still being judged, by the policy it took at its start
	}
	var v policy.Verdict
	defer func() {
		if fault := recover(); fault != nil {
			p.server.logPanic("review", fault)
		}
		if v.Allowed() && !(v.Effect == policy.Inspect && opaque) {
			return
		}
		v.Effect = policy.Deny
		p.settle(v, permit)
		p.stop("policy")
	}()
	v = inForce.Review(permit, now)
}

// end closes the entry and hands it to the book. Only the first call counts.
func (p *passage) end(end string) {
	p.late.Stop()
	p.server.passages.mu.Lock()
	delete(p.server.passages.open, p)
	p.server.passages.mu.Unlock()
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	p.record.End = end
	if p.stopped != "" {
		p.record.End = p.stopped
	}
	p.record.Duration = p.server.deps.Now().Sub(p.record.Time)
	r := p.record
	p.mu.Unlock()
	p.server.deps.Book.Record(&r)
}
