package dnsallow

import (
	"context"
	"strings"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// maxRecorded bounds what a Record keeps of a name from the wire, in octets.
const maxRecorded = 512

// enter writes one question into the book: as a repeat of an earlier one, where
// this client was told the same within foldTime, else as a passage of its own.
// It gives back the decision id to tell, and lays the answer ready for the next
// time.
func (s *Server) enter(p *policy.Policy, in *inquiry, o outcome, d *draft) (id string) {
	now := s.now()
	if !in.plain() {
		r := s.newRecord(p, in, o, now)
		s.write(&r)
		return in.id
	}
	var key askerKey
	key.set(in.client, in.packet, in.end)
	var f *fold
	if lies := s.shelf.find(key.bytes()); lies != nil && lies.fold.covers(p, o.verdict, now) &&
		lies.fold.repeat(s, now.Sub(in.began)) {
		f = lies.fold
	} else {
		f = s.newFold(p, in, o, now)
		s.write(f.record)
	}
	place := &place{hash: s.shelf.hash(key.bytes()), key: string(key.bytes()), fold: f}
	if place.expires = s.ready(p, o, f, now); now.Before(place.expires) {
		place.answer = d
	}
	if before := s.shelf.put(place); before != nil {
		before.close(s)
	}
	return f.record.ID
}

// tell notes in the book of what was told which addresses the client was given.
func (s *Server) tell(in *inquiry, o outcome) {
	if s.told == nil || len(o.answer) == 0 && len(o.led.leads) == 0 {
		return
	}
	name, ok := in.host()
	if !ok {
		return
	}
	for _, l := range o.led.leads {
		s.told.note(in.client, name, l.permit.Addr(), l.until)
	}
	for _, rr := range o.answer { // the TTL is given in full as often as the answer is
		if a, is := addressOf(rr); is {
			s.told.note(in.client, name, a, latest(o.lasts, in.began).Add(seconds(rr.Header().Ttl)))
		}
	}
}

// ready is until when an answer may be given again as it is: no longer than what
// it rests on holds, than its line is open, and than time alone may change what
// the policy says.
func (s *Server) ready(p *policy.Policy, o outcome, f *fold, now time.Time) time.Time {
	if p == nil || o.silent || o.lasts.IsZero() {
		return time.Time{}
	}
	expires := o.lasts
	for _, moment := range []time.Time{f.ends, s.nextChange(p, now)} {
		if !moment.IsZero() && moment.Before(expires) {
			expires = moment
		}
	}
	return expires
}

// horizon is how far the verdicts of a policy hold, reckoned from a moment.
type horizon struct {
	policy      *policy.Policy
	from, until time.Time // until is zero: for ever
}

func (s *Server) nextChange(p *policy.Policy, now time.Time) time.Time {
	h := s.horizon.Load()
	if h == nil || h.policy != p || now.Before(h.from) || !h.until.IsZero() && !now.Before(h.until) {
		h = &horizon{p, now, p.NextChange(now)}
		s.horizon.Store(h)
	}
	return h.until
}

// newFold makes a fold with the Record of the first, in one piece of memory.
func (s *Server) newFold(p *policy.Policy, in *inquiry, o outcome, now time.Time) *fold {
	both := new(struct {
		fold
		flow.Record
	})
	both.Record = s.newRecord(p, in, o, now)
	both.record, both.policy, both.ends = &both.Record, p, in.began.Add(foldTime)
	return &both.fold
}

func (s *Server) newRecord(p *policy.Policy, in *inquiry, o outcome, now time.Time) flow.Record {
	r := flow.Record{
		ID: in.id, Time: in.began, Surface: policy.DNS,
		Client: in.client, Group: p.Group(in.client),
		IP: o.addr, Verdict: o.verdict, PolicySHA: p.SHA256(),
		Duration: now.Sub(in.began), End: ending(o.verdict),
	}
	if len(in.msg.Question) > 0 {
		q := in.msg.Question[0]
		r.Query = queryType(q.Qtype)
		r.Host = strings.ToLower(strings.TrimSuffix(q.Name, "."))
		r.Host = r.Host[:min(len(r.Host), maxRecorded)]
	}
	for _, alias := range o.aliases {
		r.CNAME = append(r.CNAME, alias.Name())
	}
	return r
}

func ending(v policy.Verdict) string {
	switch {
	case !v.Allowed():
		return "refused"
	case v.Reason == policy.UpstreamUnresolved:
		return "error"
	}
	return "done"
}

// write hands a Record to the book. A sink that panics spoils neither the reply
// nor the next question.
func (s *Server) write(r *flow.Record) {
	defer s.contain(r)
	s.sink.Record(r)
}

// repeated tells the book of n more questions like r.
func (s *Server) repeated(r *flow.Record, n int, took time.Duration) {
	defer s.contain(r)
	if c, ok := s.sink.(flow.Repeater); ok {
		c.Repeated(r, n, took)
	}
}

func (s *Server) contain(r *flow.Record) {
	if fault := recover(); fault != nil {
		s.log.Error("dns: a question could not be recorded", "id", r.ID, "fault", fault)
	}
}

// Settle brings the counts of the book up to date: repeats are told to it in
// bulk, while Serve runs every second. Call it before the counts are read.
func (s *Server) Settle() { s.shelf.each(func(f *fold) bool { f.settle(s); return false }) }

// closeFolds writes the lines of the folds that are done.
func (s *Server) closeFolds(done func(*fold) bool) {
	s.shelf.each(func(f *fold) bool {
		if !done(f) {
			return false
		}
		f.close(s)
		return true
	})
}

// tend closes folds whose time is over and settles the others, every second
// until ctx ends.
func (s *Server) tend(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			now := s.now()
			s.closeFolds(func(f *fold) bool { return !now.Before(f.ends) })
			s.Settle()
		}
	}
}
