package dnsallow

import (
	"context"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// maxRecorded bounds what a Record keeps of a name from the wire, in octets.
const maxRecorded = 512

// visit is what a question leaves besides its Record, in one piece of memory: what
// lies ready, and a fold for its repeats. (With the Record it would be one of those
// that the collector takes longest to look through, which begin at 512 octets.)
type visit struct {
	place
	draft
	fold
	time [1]countdown // of most answers
}

// revisit is what a repeat leaves that was judged anew.
type revisit struct {
	place
	draft
}

// enter writes one question into the book: as a repeat of an earlier one, where
// this client was told the same within foldTime, else as a passage of its own.
// It gives back the decision id to tell, and lays the answer ready for the next
// time.
func (s *Server) enter(p *policy.Policy, in *inquiry, o *outcome, d draft, now time.Time) (id string) {
	if !in.plain() {
		r := new(flow.Record)
		s.fillIn(r, p, in, o, now)
		s.write(r)
		return in.id
	}
	key := in.key
	if key == nil {
		key = new(askerKey)
		s.shelf.key(key, in.client, in.packet, in.end)
	}
	var f *fold
	var ready *place
	var answer *draft
	var times []countdown
	if lies := s.shelf.under(key.hash, key.bytes()); lies != nil && lies.fold.covers(p, o.verdict, now) &&
		lies.fold.repeat(s, now.Sub(in.began)) {
		v := new(revisit)
		f, ready, answer = lies.fold, &v.place, &v.draft
		ready.key = lies.key
	} else {
		v := new(visit)
		f, ready, answer, times = &v.fold, &v.place, &v.draft, v.time[:0]
		ready.key = string(key.bytes())
		f.record, f.policy, f.ends = new(flow.Record), p, in.began.Add(foldTime)
		s.fillIn(f.record, p, in, o, now)
		s.write(f.record)
	}
	ready.hash, ready.fold = key.hash, f
	if ready.expires = s.ready(p, o, f, now); now.Before(ready.expires) {
		*answer = d
		answer.wire, answer.times = slices.Clone(d.wire), append(times, d.times...)
		ready.answer = answer
	}
	if before := s.shelf.put(ready); before != nil {
		before.close(s)
	}
	return f.record.ID
}

// tell notes in the book of what was told which addresses the client was given.
func (s *Server) tell(in *inquiry, o *outcome) {
	if s.told == nil || len(o.answer) == 0 && len(o.led.leads) == 0 {
		return
	}
	name, ok := in.host()
	if !ok {
		return
	}
	for i := range o.led.leads {
		l := &o.led.leads[i]
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
func (s *Server) ready(p *policy.Policy, o *outcome, f *fold, now time.Time) time.Time {
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

// fillIn fills in the Record of a question.
func (s *Server) fillIn(r *flow.Record, p *policy.Policy, in *inquiry, o *outcome, now time.Time) {
	r.ID, r.Time, r.Surface = in.id, in.began, policy.DNS
	r.Client, r.Group = in.client, p.Group(in.client)
	r.IP, r.Verdict, r.PolicySHA = o.addr, o.verdict, p.SHA256()
	r.Duration, r.End = now.Sub(in.began), ending(o.verdict)
	if len(in.msg.Question) > 0 {
		q := in.msg.Question[0]
		r.Query = queryType(q.Qtype)
		r.Host = strings.ToLower(strings.TrimSuffix(q.Name, "."))
		r.Host = r.Host[:min(len(r.Host), maxRecorded)]
	}
	for _, alias := range o.aliases {
		r.CNAME = append(r.CNAME, alias.Name())
	}
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
