package dnsallow

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"gatehouse/policy"
)

// desk is where the questions of one socket come in.
type desk struct {
	*Server
	ctx, questions context.Context // of the reader; of what it lets in
	port           packetPort
	box            *postbox // nil: goroutines wait for upstreams
	work           *sync.WaitGroup
	jobs           chan job
	out            []byte   // room for a reply
	in             *inquiry // room for the next question
	key            askerKey // of the packet that is looked at
	leads          [1]lead  // room for where it leads
}

// job is a question that somebody has to be waited for, or a packet that has to
// be read with more care.
type job struct {
	packet []byte
	from   sender
	in     *inquiry // nil: it has not been read
	errand errand
}

// receive answers a packet on the spot, or has somebody do it. A panic ends this
// question and no other.
func (d *desk) receive(packet []byte, from sender) (reply []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			d.log.Error("dns: a packet could not be answered", "fault", fault)
			reply = nil
		}
	}()
	client := from.addr.Addr().Unmap().WithZone("")
	now := d.now()
	if reply = d.lying(d.out, packet, client, now, &d.key); reply != nil {
		return reply
	}
	j := job{from: from}
	if in, ok := d.plain(packet, client, now); ok {
		p := d.live.Policy()
		var o outcome
		if o, j.errand = d.guarded(p, in); !j.errand.due() {
			return d.settled(p, in, o)
		}
		if o, ok = d.atHand(in, &j.errand, d.leads[:]); ok {
			return d.settled(p, in, o)
		}
		j.in = in
		if reply, ok = d.dispatch(&j, packet); ok {
			return reply
		}
		d.in, in.key = nil, nil // it is the job's now
	}
	d.pass(j, packet)
	return nil
}

// plain reads a packet that most are like.
func (d *desk) plain(packet []byte, client netip.Addr, now time.Time) (in *inquiry, ok bool) {
	if d.in == nil {
		d.in = new(inquiry)
	}
	if !d.in.readPlain(packet) {
		return nil, false
	}
	d.in.begin(client, now)
	if d.key.n > 0 {
		d.in.key = &d.key
	}
	return d.in, true
}

func (d *desk) settled(p *policy.Policy, in *inquiry, o outcome) []byte {
	return d.conclude(d.out[:0], p, in, o)
}

// pass gives a job to a goroutine that is idle, or to a new one.
func (d *desk) pass(j job, packet []byte) {
	select {
	case d.workers <- struct{}{}:
	case <-d.ctx.Done():
		return
	}
	j.packet = append([]byte(nil), packet...)
	if j.in != nil {
		j.in.packet = j.packet
	}
	select {
	case d.jobs <- j:
	default: // nobody is idle
		d.work.Go(func() { d.toil(j) })
	}
}

// idleWorkers is how many goroutines of a socket wait for the next packet. A new
// one grows its stack anew each time, which costs as much as the judging.
const idleWorkers = 64

// toil does a job, and then others for as long as there is room among the idle.
func (d *desk) toil(j job) {
	for {
		d.do(j)
		if d.idle.Add(1) > idleWorkers {
			d.idle.Add(-1)
			return
		}
		select {
		case <-d.ctx.Done():
			d.idle.Add(-1)
			return
		case j = <-d.jobs:
			d.idle.Add(-1)
		}
	}
}

func (d *desk) do(j job) {
	defer func() { <-d.workers }()
	var reply []byte
	if j.in == nil {
		reply = d.respond(d.questions, j.packet, net.UDPAddrFromAddrPort(j.from.addr), false)
	} else {
		o := d.within(j.in, func() outcome { return d.carry(d.questions, j.in, j.errand) })
		reply = d.conclude(nil, j.errand.policy, j.in, o)
	}
	if reply != nil {
		d.port.write(reply, j.from) // a client that is gone asks again
	}
}

// lying answers, in the space of out, what this client was told before; nil: it has
// to be judged, and key is that of the packet. A panic costs the short way and nothing
// else.
func (s *Server) lying(out, packet []byte, client netip.Addr, now time.Time, key *askerKey) (reply []byte) {
	defer func() {
		if fault := recover(); fault != nil {
			s.log.Error("dns: an answer that lay ready could not be given", "fault", fault)
			reply = nil
		}
	}()
	key.n = 0
	if s.config.NoShelf {
		return nil
	}
	return s.shelf.reply(out[:0], packet, client, s.live.Policy(), now, key)
}
