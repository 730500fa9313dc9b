package dnsallow

import (
	"context"
	"net/netip"
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
	links   []timedLink // what led there
	leads   []lead      // the judged addresses, in upstream's order
	until   time.Time   // when what upstream said has run down
	ripe    time.Time   // when it is to be renewed
	stale   bool        // a part of it had, and is used all the same
}

// lead is one address an asker may be led to.
type lead struct {
	permit policy.Permit
	until  time.Time
}

// chain gathers what several questions say about one name.
type chain struct {
	links     []timedLink
	aliases   []policy.Host // the targets of links
	addresses []timedAddress
	until     time.Time // the first moment at which a part of it has run down
	ripe      time.Time // the first moment at which a part of it is to be renewed
	stale     bool
}

// timedLink and timedAddress are facts with the moment at which they run down.
type timedLink struct {
	target policy.Host
	until  time.Time
}

type timedAddress struct {
	addr  netip.Addr
	until time.Time
}

// resolve finds and judges the addresses of one family for a permit. The error
// is an *Error. Where the verdict denies there are no leads.
func (r *Resolver) resolve(ctx context.Context, permit policy.Permit, qtype uint16) (resolution, error) {
	name := permit.Dest().Host.Name()
	if v, ok := r.mayAsk(permit, question{name, qtype}); !ok {
		return resolution{verdict: v}, nil
	}
	var c chain
	for range maxAsks {
		f, err := r.lookup(ctx, question{name, qtype})
		if err != nil {
			return resolution{}, &Error{Name: permit.Dest().Host.Name(), Err: err}
		}
		now := r.now()
		if c.extend(f); len(c.links) > maxLinks {
			break
		}
		aliases, _ := permit.Policy().Answer(policy.Answer{At: now, Permit: permit, Aliases: c.aliases})
		switch {
		case !aliases.Allowed():
			return resolution{verdict: aliases, until: c.until}, nil
		case len(f.addresses) > 0:
			return judge(permit, c, now), nil
		case !f.open:
			return resolution{}, &Error{
				Name: permit.Dest().Host.Name(), NXDomain: f.nxdomain, NoData: !f.nxdomain,
				TTL: f.ttl - f.age(now), until: c.until, stale: c.stale,
			}
		}
		name = c.aliases[len(c.aliases)-1].Name()
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
	if r.configured(q) != nil || r.cache.knows(q.name, now) {
		return policy.Verdict{}, true
	}
	v, _ := permit.Policy().Answer(policy.Answer{At: now, Permit: permit})
	if v.Would || v.Rule == nil || permit.Policy().ListsInFull(permit.Dest().Host) {
		return policy.Verdict{}, true // and if it denies, that will be said soon
	}
	return policy.Verdict{Reason: policy.Limit, Rule: v.Rule}, r.tunnels.take(wildcard{permit.Client(), v.Rule}, now)
}

// extend adds what one more question said.
func (c *chain) extend(f *facts) {
	c.stale = c.stale || f.stale
	for _, l := range f.links {
		c.links = append(c.links, timedLink{l.target, f.stored.Add(l.ttl)})
		c.aliases = append(c.aliases, l.target)
	}
	for _, a := range f.addresses {
		c.addresses = append(c.addresses, timedAddress{a.addr, f.stored.Add(a.ttl)})
	}
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
func judge(permit policy.Permit, c chain, now time.Time) resolution {
	var good, would, bad judged
	for _, a := range c.addresses {
		v, p := permit.Policy().Answer(policy.Answer{At: now, Permit: permit, Aliases: c.aliases, Addr: a.addr})
		l := lead{p, a.until}
		switch {
		case !v.Allowed():
			bad.add(v, l)
		case v.Would:
			would.add(v, l)
		default:
			good.add(v, l)
		}
	}
	for _, best := range []judged{good, would} {
		if len(best.leads) > 0 {
			return resolution{verdict: best.verdicts[0], links: c.links, leads: best.leads, until: c.until, ripe: c.ripe, stale: c.stale}
		}
	}
	return resolution{verdict: refusal(bad.verdicts), until: c.until}
}

type judged struct {
	verdicts []policy.Verdict
	leads    []lead
}

func (j *judged) add(v policy.Verdict, l lead) {
	j.verdicts = append(j.verdicts, v)
	j.leads = append(j.leads, l)
}

// refusal sums up why no address was left: a deny, which the policy names only
// for an address that an allow would have taken, else what is said of the first.
func refusal(verdicts []policy.Verdict) policy.Verdict {
	for _, v := range verdicts {
		if v.Reason == policy.DeniedByRule {
			return v
		}
	}
	return verdicts[0]
}
