package dnsallow

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"gatehouse/policy"
)

// maxAsks bounds the upstream questions for one name and type, where upstream
// leaves it to us to follow the aliases.
const maxAsks = 8

// resolution is what one family of a name comes to for one asker. It is made
// anew for each: the policy may say yes to one and no to the next.
type resolution struct {
	verdict policy.Verdict
	leads   []lead // the judged addresses, in upstream's order
	chain   chain  // what led there
}

// lead is one address an asker may be led to.
type lead struct {
	permit policy.Permit
	until  time.Time // when it has run down
}

// chain is what several questions say about one name, in the order in which they
// were asked: all but the last only lead on.
type chain struct {
	parts   [maxAsks]*facts
	n       int
	aliases []policy.Host // all of them; not to be changed
	until   time.Time     // the first moment at which a part of it has run down
	ripe    time.Time     // the first moment at which a part of it is to be renewed
	stale   bool          // a part of it has run down, and is used all the same
}

// resolve finds and judges the addresses of one family for a permit. The error
// is an *Error. Where the verdict denies there are no leads.
func (r *Resolver) resolve(ctx context.Context, permit policy.Permit, qtype uint16) (resolution, error) {
	if v, ok := r.mayAsk(permit, question{permit.Dest().Host.Name(), qtype}); !ok {
		return resolution{verdict: v}, nil
	}
	ctx, cancel := r.inTime(ctx)
	defer cancel()
	return r.follow(permit, qtype, nil, func(q question) (*facts, error) { return r.lookup(ctx, q) })
}

// inTime bounds all that has to be asked for one name: where upstream leaves the
// aliases to us, each is a question of its own, and the client waits for all.
func (r *Resolver) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.config.Total, errOutOfTime)
}

// errOutOfTime is the cause of a context that inTime ended: no asker gave up.
var errOutOfTime = errors.New("the upstream DNS servers took too long for all that had to be asked")

// gaveUp reports whether whoever asked waits no more.
func gaveUp(ctx context.Context) bool {
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errOutOfTime)
}

// atHand does the same from what the cache holds; ok is false where something is
// missing. Where the leads have room in room they stand there.
func (r *Resolver) atHand(permit policy.Permit, qtype uint16, room []lead) (found resolution, err error, ok bool) {
	missing := false
	found, err = r.follow(permit, qtype, room, func(q question) (*facts, error) {
		f := r.kept(q)
		if f == nil {
			missing = true
			return nil, errNotKept
		}
		return f, f.failure
	})
	if missing {
		return resolution{}, nil, false
	}
	r.cache.hits.Add(1)
	return found, err, true
}

// follow goes where look's facts lead, and judges what is there. The leads stand in
// room, if they fit in.
func (r *Resolver) follow(permit policy.Permit, qtype uint16, room []lead, look func(question) (*facts, error)) (resolution, error) {
	name := permit.Dest().Host.Name()
	var c chain
	for range maxAsks {
		f, err := look(question{name, qtype})
		if err == errNotKept {
			return resolution{}, err
		}
		if err != nil {
			return resolution{}, &Error{Name: permit.Dest().Host.Name(), Err: err}
		}
		now := r.now()
		if c.extend(f); len(c.aliases) > maxLinks {
			break
		}
		if len(c.aliases) > 0 || len(f.addresses) == 0 { // else the addresses say it all
			v, _ := permit.Policy().Answer(policy.Answer{At: now, Permit: permit, Aliases: c.aliases})
			if !v.Allowed() {
				return resolution{verdict: v, chain: c}, nil
			}
		}
		switch {
		case len(f.addresses) > 0:
			return judge(permit, c, room, now), nil
		case !f.open:
			return resolution{}, &Error{
				Name: permit.Dest().Host.Name(), NXDomain: f.nxdomain, NoData: !f.nxdomain,
				TTL: f.ttl - f.age(now), until: c.until, stale: c.stale,
			}
		}
		next, before := c.aliases[len(c.aliases)-1], c.aliases[:len(c.aliases)-1]
		if next == permit.Dest().Host || slices.Contains(before, next) { // a loop, one link in each answer
			break
		}
		name = next.Name()
	}
	return resolution{}, &Error{Name: permit.Dest().Host.Name(), Err: invalidError("its alias chain is too long, or a loop")}
}

// wildcard is what new names are counted by: who asks, under which rule.
type wildcard struct {
	client netip.Addr
	rule   *policy.Rule
}

// mayAsk bounds how many new names a client may invent below a wildcard: each is
// a message to whoever runs the domain, and many of them are a tunnel. Names
// that anybody has asked for within a day are not new.
func (r *Resolver) mayAsk(permit policy.Permit, q question) (policy.Verdict, bool) {
	now := r.now()
	if permit.Policy().ListsInFull(permit.Dest().Host) || r.home(q) != nil || r.cache.knows(q.name, now) {
		return policy.Verdict{}, true
	}
	v, _ := permit.Policy().Answer(policy.Answer{At: now, Permit: permit})
	if v.Would || v.Rule == nil {
		return policy.Verdict{}, true // and if it denies, that will be said soon
	}
	return policy.Verdict{Reason: policy.Limit, Rule: v.Rule}, r.tunnels.take(wildcard{permit.Client(), v.Rule}, now)
}

// extend adds what one more question said.
func (c *chain) extend(f *facts) {
	c.stale = c.stale || f.stale
	if c.n == 0 {
		c.aliases = f.aliases
	} else {
		c.aliases = slices.Concat(c.aliases, f.aliases)
	}
	c.parts[c.n] = f
	c.n++
	if until := f.stored.Add(f.ttl); c.until.IsZero() || until.Before(c.until) {
		c.until = until
	}
	if c.ripe.IsZero() || f.ripeAt().Before(c.ripe) {
		c.ripe = f.ripeAt()
	}
}

// judge asks the policy about every address. In monitor mode an address that
// the rules would refuse is used only where there is no better one, so that the
// passage goes the way it will go when the rules are enforced.
func judge(permit policy.Permit, c chain, room []lead, now time.Time) resolution {
	last := c.parts[c.n-1]
	if cap(room) < len(last.addresses) {
		room = make([]lead, 0, len(last.addresses))
	}
	best := resolution{leads: room[:0], chain: c}
	var no policy.Verdict // why no address was left
	for i, a := range last.addresses {
		v, p := permit.Policy().Answer(policy.Answer{At: now, Permit: permit, Aliases: c.aliases, Addr: a.addr})
		switch {
		case !v.Allowed():
			// A deny, which the policy names only for an address that an allow would
			// have taken, says more than what is said of the first.
			if i == 0 || v.Reason == policy.DeniedByRule && no.Reason != policy.DeniedByRule {
				no = v
			}
			continue
		case len(best.leads) > 0 && v.Would && !best.verdict.Would:
			continue
		case len(best.leads) > 0 && best.verdict.Would && !v.Would:
			best.leads = best.leads[:0]
		}
		if len(best.leads) == 0 {
			best.verdict = v
		}
		best.leads = append(best.leads, lead{p, last.stored.Add(a.ttl)})
	}
	if len(best.leads) == 0 {
		return resolution{verdict: no, chain: c}
	}
	return best
}
