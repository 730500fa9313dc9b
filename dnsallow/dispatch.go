package dnsallow

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// dispatch is a client's question that waits for an upstream and occupies no
// goroutine: how most look-ups go. Where an upstream takes long or says nothing
// that can be used, a goroutine goes on from there, with the others to race it.
type dispatch struct {
	desk   *desk
	in     *inquiry
	from   sender
	errand errand

	q        question
	flight   *flight
	upstream Upstream
	letter   *letter // already sent

	own    inquiry // in is this one
	packet [headerBytes + maxQuestion + optBytes + cookieBytes]byte
	leads  [1]lead
	reply  [payload]byte
}

// dispatches are those that are over: each look-up takes one, and leaves nothing in
// it.
var dispatches = sync.Pool{New: func() any { return new(dispatch) }}

// take makes the inquiry, and the packet it was in, x's own.
func (x *dispatch) take(in *inquiry, packet []byte) {
	x.own = *in
	x.in = &x.own
	x.own.key = nil
	x.own.packet = append(x.packet[:0], packet...)
	x.own.msg.Question = x.own.room[:]
}

// leave lets others have x.
func (x *dispatch) leave() {
	x.desk, x.in, x.from, x.errand = nil, nil, sender{}, errand{}
	x.q, x.flight, x.letter, x.own = question{}, nil, nil, inquiry{}
	clear(x.leads[:])
	dispatches.Put(x)
}

// dispatch sends off the question that an errand takes, if that can be done
// without waiting; done is false where a goroutine has to. reply is what a client
// is told at once: that it asks for too much.
func (d *desk) dispatch(j *job, packet []byte) (reply []byte, done bool) {
	if d.box == nil || d.resolver.owns(j.errand.host.Name()) {
		return nil, false
	}
	q := question{j.errand.host.Name(), j.in.question().Qtype}
	u, ok := d.resolver.byPost(q)
	if !ok {
		return nil, false
	}
	f, mine := d.resolver.flights.join(q)
	if !mine { // somebody else has asked
		return nil, false
	}
	if d.gate.enter(j.in.client) != entered { // the goroutine will say so
		d.resolver.flights.land(q, f)
		return nil, false
	}
	if v, ok := d.resolver.mayAsk(j.errand.permit, q); !ok {
		d.resolver.flights.land(q, f)
		d.gate.leave(j.in.client)
		return d.settled(j.errand.policy, j.in, j.errand.found(resolution{verdict: v}, nil)), true
	}
	x := dispatches.Get().(*dispatch)
	x.take(j.in, packet)
	x.desk, x.from, x.errand = d, j.from, j.errand
	x.q, x.flight, x.upstream, x.letter = q, f, u, write(u, q, true)
	d.work.Add(1)
	patience := d.resolver.exchanger.patience()
	if err := d.box.post(x, x.letter.query, u.addr, x.letter.posted.Add(patience)); err != nil {
		x.settled(nil, err)
	}
	return nil, true
}

// hear reads what has come for it.
func (x *dispatch) hear(packet []byte, err error) (*facts, *dns.Msg, error) {
	return x.letter.hear(packet, err, x.q, x.desk.resolver.now())
}

// answered is told what a plain answer said. It does not wait.
func (x *dispatch) answered(f *facts) {
	defer x.survive()
	x.heard()
	x.desk.resolver.cache.put(x.q, f)
	x.arrived(f, nil)
}

// settled is told what else came of the question. It does not wait.
func (x *dispatch) settled(reply *dns.Msg, err error) {
	defer x.survive()
	if !usable(reply, err) {
		x.letter.settle(reply, err)
		x.late()
		return
	}
	x.heard()
	x.arrived(x.desk.resolver.keep(x.q, reply))
}

func (x *dispatch) survive() {
	if fault := recover(); fault != nil {
		x.broken(fault)
	}
}

// heard tells of an upstream that answered.
func (x *dispatch) heard() {
	x.desk.resolver.exchanger.done(x.desk.questions, result{upstream: x.upstream, took: time.Since(x.letter.posted)})
	x.letter.close()
}

// arrived tells those who have asked the same, and then the client.
func (x *dispatch) arrived(f *facts, err error) {
	x.flight.facts, x.flight.err, x.flight.gone = f, err, false
	x.land()
	if o, ok := x.desk.atHand(x.in, &x.errand, x.leads[:]); ok {
		x.conclude(o)
		return
	}
	x.goOn(x.desk.resolver.lookup) // an alias that upstream did not follow, or a firewall that follows the names
}

// land tells those who have asked the same.
func (x *dispatch) land() {
	x.desk.resolver.flights.land(x.q, x.flight)
	x.flight = nil
}

// broken ends what has made the gate panic.
func (x *dispatch) broken(fault any) {
	if x.flight != nil {
		x.land()
	}
	x.conclude(x.desk.faulty(x.in, fault))
}

// late has a goroutine wait for the answer, or for that of another upstream.
func (x *dispatch) late() {
	r, l, f := x.desk.resolver, x.letter, x.flight
	x.goOn(func(ctx context.Context, q question) (*facts, error) {
		if l == nil { // that was answered; this is what an alias leads to
			return r.lookup(ctx, q)
		}
		posted := l
		l = nil
		defer posted.close()
		return r.flights.carry(ctx, q, f, func(ctx context.Context, q question) (*facts, error) {
			return r.fetchBy(ctx, q, posted)
		})
	})
}

func (x *dispatch) goOn(look func(context.Context, question) (*facts, error)) {
	x.desk.work.Go(func() { x.conclude(x.desk.follow(x.desk.questions, x.in, x.errand, look)) })
}

// conclude answers the client. It is called once.
func (x *dispatch) conclude(o outcome) {
	d := x.desk
	defer d.work.Done()
	reply := d.Server.conclude(x.reply[:0], x.errand.policy, x.in, o)
	d.gate.leave(x.in.client)
	if reply != nil {
		d.port.write(reply, x.from)
	}
	x.leave()
}
