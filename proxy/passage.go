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
// is opened before anything is decided and ended exactly once; then it may be
// opened again, for the next exchange of its connection.
//
// Whoever carries the passage settles it and may read what he has settled; but
// while its upload is judged part by part the permit changes under the lock alone.
// The lock is for those who look on, too: the reviewer and the sweeper.
type passage struct {
	server *Server
	mu     sync.Mutex // guards all below
	// record is the book's once the passage has ended. Its End is set before that where
	// the passage is being broken off, and says why.
	record *flow.Record
	permit policy.Permit // the newest; only the carrier and his upload change it
	// opaque: a tunnel nobody looks into, so that Inspect ends it.
	opaque bool
	ended  bool
	// entrance is the published door that the passage came through; nil elsewhere.
	entrance *Entrance
	cut      func() // breaks off what carries the passage

	older, younger *passage // in the registry, whose lock guards them
}

// registry holds the open passages in the order in which they began: a ring that
// begins and ends at its root.
type registry struct {
	mu   sync.Mutex
	root passage
	news *passage // the oldest of which the book has no line yet; &root: none
}

func (r *registry) init() { r.root.older, r.root.younger, r.news = &r.root, &r.root, &r.root }

func (r *registry) add(p *passage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.older, p.younger = r.root.older, &r.root
	p.older.younger, r.root.older = p, p
	if r.news == &r.root {
		r.news = p
	}
}

func (r *registry) remove(p *passage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.older == nil {
		return
	}
	if r.news == p {
		r.news = p.younger
	}
	p.older.younger, p.younger.older = p.younger, p.older
	p.older, p.younger = nil, nil
}

// all is a snapshot of the open passages.
func (r *registry) all() (list []*passage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := r.root.younger; p != &r.root; p = p.younger {
		list = append(list, p)
	}
	return list
}

// grown takes those that have lived for long enough to be told of, and reports
// whether there are others that may.
func (r *registry) grown(now time.Time) (list []*passage, more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.news != &r.root && r.news.long(now); r.news = r.news.younger {
		list = append(list, r.news)
	}
	return list, r.news != &r.root
}

// begin opens a passage. cut must be safe to call from any goroutine.
func (s *Server) begin(p *passage, surface policy.Surface, client netip.Addr, inForce *policy.Policy, now time.Time, cut func()) {
	record := &flow.Record{
		ID: flow.NewID(), Time: now, Surface: surface, Client: client,
		Group: inForce.Group(client), PolicySHA: inForce.SHA256(),
	}
	p.mu.Lock()
	p.server, p.cut, p.opaque = s, cut, surface != policy.HTTP && surface != policy.Publish
	p.record, p.permit, p.ended = record, policy.Permit{}, false
	p.mu.Unlock()
	s.deps.Book.Opened(surface)
	s.passages.add(p)
}

// long reports whether an open passage is worth a line.
func (p *passage) long(now time.Time) bool { return now.Sub(p.record.Time) >= longPassage }

// tellOpen writes the line of a passage that is still open after a minute.
func (p *passage) tellOpen(now time.Time) {
	p.mu.Lock()
	gone := p.ended || !p.long(now) // or it is another one already
	r := *p.record
	p.mu.Unlock()
	if !gone {
		r.Open, r.Duration = true, now.Sub(r.Time)
		p.server.deps.Book.Record(&r)
	}
}

// note fills in the record.
func (p *passage) note(fill func(*flow.Record)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		fill(p.record)
	}
}

// settle remembers the newest verdict and the permit it came with.
func (p *passage) settle(v policy.Verdict, permit *policy.Permit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped() {
		p.record.Verdict, p.permit = v, *permit
		p.record.Protocol = v.Protocol
	}
}

// narrow judges the passage further, from the newest permit on: what is sent and
// what comes back are judged at the same time, and one rule must permit both.
func (p *passage) narrow(judge func(policy.Permit) (policy.Verdict, policy.Permit)) policy.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, permit := judge(p.permit)
	if v.Allowed() && !p.stopped() {
		p.permit = permit
	}
	return v
}

// newest is the permit at the moment.
func (p *passage) newest() policy.Permit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.permit
}

// unseen says whether the passage is a tunnel that nobody looks into.
func (p *passage) unseen(opaque bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opaque = opaque
}

// keep leaves the passage with what its review needs: it may live for days, and the
// policy that permitted it shall not.
func (p *passage) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.permit = p.permit.ForReview()
}

// id is the decision id.
func (p *passage) id() string { return p.record.ID }

// stop notes why the passage is to be broken off, and returns what does so; nil
// where it is over or being broken off. The two are apart because a tunnel takes
// the exchanges inside with it, and all of them must know why by then.
func (p *passage) stop(end string) (cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.halt(end)
}

// stopped reports whether the passage is being, or was, broken off; once it has ended it
// reports true. p.mu is held.
func (p *passage) stopped() bool { return p.record.End != "" }

// halt is stop; p.mu is held.
func (p *passage) halt(end string) (cut func()) {
	if p.ended || p.stopped() {
		return nil
	}
	p.record.End = end
	id := p.record.ID
	return func() {
		p.mu.Lock()
		cut, over := p.cut, p.ended || p.record.ID != id
		p.mu.Unlock()
		if !over {
			cut()
		}
	}
}

// handTo says what carries the passage from now on. If it is to be broken off
// already, it is.
func (p *passage) handTo(cut func()) {
	p.mu.Lock()
	p.cut = cut
	stopped := p.stopped()
	p.mu.Unlock()
	if stopped {
		cut()
	}
}

// review stops the passage where the policy in force would not permit it.
func (p *passage) review(inForce *policy.Policy, now time.Time) (cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.permit.Valid() { // else it is still being judged, by the policy it took at its start
		v := p.judge(inForce, now)
		if !v.Allowed() || v.Effect == policy.Inspect && p.opaque {
			v.Effect = policy.Deny
			if cut = p.halt("policy"); cut != nil {
				p.record.Verdict, p.record.Protocol = v, v.Protocol
			}
		}
	}
	return cut
}

// judge asks the policy in force about the passage. One that panics permits
// nothing. p.mu is held.
func (p *passage) judge(inForce *policy.Policy, now time.Time) (v policy.Verdict) {
	defer func() {
		if fault := recover(); fault != nil {
			p.server.logPanic("review", fault)
			v = policy.Verdict{}
		}
	}()
	return inForce.Review(p.permit, now)
}

// end closes the entry and hands it to the book. Only the first call counts.
func (p *passage) end(end string) {
	p.server.passages.remove(p)
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.ended = true
	r := p.record
	if r.End == "" {
		r.End = end
	}
	r.Duration = p.server.deps.Now().Sub(r.Time)
	p.mu.Unlock()
	p.server.deps.Book.Record(r)
}
