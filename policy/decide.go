package policy

import "math"

// Connect judges a tunnel. Where it may be opened, the Permit names its Dest.
// Effect is Inspect where the tunnel may only be opened if its inside is looked
// into; Protocol is what its first bytes must be.
func (p *Policy) Connect(q Connect) (v Verdict, permit Permit) {
	permit.facts = q.facts()
	v = p.decide(&permit)
	return v, permit
}

func (q Connect) facts() facts {
	return facts{
		at: q.At, surface: q.Surface, client: q.Client.Unmap(), dest: q.Dest,
		known: knowPort, tunnel: true, opening: q.Opening,
	}
}

// Request judges one HTTP request.
func (p *Policy) Request(q Request) (v Verdict, permit Permit) {
	permit.facts = q.facts()
	v = p.decide(&permit)
	return v, permit
}

func (q Request) facts() facts {
	return facts{
		at: q.At, surface: q.Surface, client: q.Client.Unmap(), dest: q.Dest,
		known: knowPort | knowRequest, secure: q.Secure, method: q.Method, path: q.Path,
		body: q.Body, upload: q.Upload, upgrade: q.Upgrade,
	}
}

// Query judges one DNS question: the client, the canary names, the name, and
// last the type, for only A and AAAA can be judged by their addresses.
func (p *Policy) Query(q Query) (Verdict, Permit) {
	if v := p.Client(q.Client, q.At); !v.Allowed() {
		return v, Permit{}
	}
	switch {
	case IsCanary(q.Name):
		return denied(Canary, nil), Permit{}
	case q.Name.IsIP(): // an address has no name to resolve
		return denied(HostNotListed, nil), Permit{}
	}
	permit := Permit{facts: q.facts()}
	v := p.decide(&permit)
	if v.Allowed() && q.Type != 0 && q.Type != TypeA && q.Type != TypeAAAA {
		return denied(QueryTypeNotAllowed, v.Rule), Permit{}
	}
	return v, permit
}

func (q Query) facts() facts {
	return facts{at: q.At, surface: DNS, client: q.Client.Unmap(), dest: Dest{Host: q.Name}}
}

// Answer judges where a passage would lead: its aliases, and one address unless
// Addr is the zero value. The Permit it returns is narrowed to that address.
func (p *Policy) Answer(q Answer) (v Verdict, permit Permit) {
	if p == nil || q.Permit.issuer != p {
		return Verdict{}, Permit{}
	}
	permit.facts = q.Permit.facts
	q.add(&permit.facts)
	v = p.decide(&permit)
	return v, permit
}

// add adds to what the permit remembers.
func (q *Answer) add(f *facts) {
	f.at = q.At
	if q.Aliases != nil {
		f.aliases = q.Aliases
	}
	if q.Addr.IsValid() {
		f.addr, f.known = q.Addr, f.known|knowAddr
	}
}

// Response judges a response by its declared type and by the family its first
// bytes show.
func (p *Policy) Response(q Response) (v Verdict, permit Permit) {
	if p == nil || q.Permit.issuer != p || !q.Permit.facts.knows(knowRequest) {
		return Verdict{}, Permit{}
	}
	permit.facts = q.Permit.facts
	q.add(&permit.facts)
	v = p.decide(&permit)
	return v, permit
}

// add adds to what the permit remembers.
func (q *Response) add(f *facts) {
	f.at, f.mediaType, f.family, f.known = q.At, q.Type, q.Family, f.known|knowType
}

// JudgesTypes reports whether some rule that bears on the passage, live or not,
// speaks of the media types of responses. Where none does, Response says what has
// been said already.
func (p *Policy) JudgesTypes(permit *Permit) bool {
	return p != nil && permit.issuer == p && permit.facts.typed
}

// HoldsHead reports whether a types clause is in force for the passage, so that
// the first bytes must be seen before the response head may go.
func (p *Policy) HoldsHead(permit Permit) bool {
	if p == nil || permit.issuer != p || !permit.facts.knows(knowRequest) || permit.facts.surface == Publish {
		return false
	}
	f := permit.facts
	f.known |= knowType
	s := p.survey(&f)
	f.known &^= knowType
	return p.typesInForce(&f, &s)
}

// decide judges the facts that are in the permit, and makes it a valid one where
// they may pass, else none. They are long: judged in their place, they need not be
// copied.
func (p *Policy) decide(permit *Permit) Verdict {
	permit.issuer = nil
	v := p.judge(&permit.facts)
	if v.Allowed() {
		permit.issuer = p
	} else {
		*permit = Permit{}
	}
	return v
}

// judge is the one place where a passage is decided. The order is the
// contract's: no policy, a stranger, a request that cannot be read, a deny that
// fits what is known, and last the step at which the allows fell away.
func (p *Policy) judge(f *facts) Verdict {
	if f.listed != p || p == nil {
		if v := p.Client(f.client, f.at); !v.Allowed() {
			return v
		}
		if p.permitted.Contains(f.client) {
			f.listed = p
		}
	}
	if f.surface == Publish {
		return p.judgePublished(f)
	}
	if f.dest.Host.IsZero() {
		return denied(BadRequest, nil)
	}
	s := p.survey(f)
	if f.knows(knowRequest) && s.speaksOfPaths != nil && f.path.Odd() != "" {
		return Verdict{Reason: BadRequest, Rule: s.speaksOfPaths, Protocol: s.expected}
	}
	v := p.allowing(f, &s)
	s.dropped = v.Reason == AddressNotAllowed && p.Mode(f.at) == Enforce
	if deny := p.denying(f, &s); deny != nil {
		v = denied(DeniedByRule, deny)
	}
	v.Protocol, v.Parent = s.expected, s.parent
	return p.inMode(f, &s, v)
}

// allowing holds every allow of the host against the facts. One that fits to
// the end is enough; otherwise the step at which the last one fell away is the
// reason, or expired, where a rule past its day would have got further.
func (p *Policy) allowing(f *facts, s *survey) Verdict {
	live, past := furthest{index: math.MaxInt32}, furthest{index: math.MaxInt32}
	f.near.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		switch {
		case r.Deny:
		case r.expired(f.at):
			past.note(r.fell(c, f, s), c.rule)
		default:
			live.note(r.fell(c, f, s), c.rule)
		}
		return true
	})
	switch {
	case live.step == stepEnd:
		return p.permitting(f, s, p.rules[live.index].Rule)
	case past.step > live.step:
		return denied(Expired, p.rules[past.index].Rule)
	case live.step == StepHost:
		return denied(HostNotListed, nil)
	case live.step == StepType && s.bindFails != nil:
		return denied(TypeNotListed, s.bindFails.Rule)
	}
	return denied(live.step.reason(f, s.expected), p.rules[live.index].Rule)
}

// furthest remembers how far the best rule got, and of several the first in the
// file.
type furthest struct {
	step  Step
	index int32
}

func (b *furthest) note(step Step, index int32) {
	if step > b.step || step == b.step && index < b.index {
		b.step, b.index = step, index
	}
}

// permitting is the verdict of an allow that fits to the end.
func (p *Policy) permitting(f *facts, s *survey, r *Rule) Verdict {
	if f.knows(knowType) && f.mediaType.Contradicts(f.family) && p.typesInForce(f, s) {
		return denied(TypeMismatch, r)
	}
	v := Verdict{Effect: Allow, Reason: Matched, Rule: r}
	if f.tunnel && s.looks {
		v.Effect = Inspect
	}
	return v
}

// typesInForce reports whether a types clause is in force: a glob binds, or
// every allow still carried has types.
func (p *Policy) typesInForce(f *facts, s *survey) bool {
	if s.bound {
		return true
	}
	carried, all := false, true
	f.near.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		if !r.Deny && !r.expired(f.at) && r.fell(c, f, s) == stepEnd {
			carried, all = true, all && r.Types != nil
		}
		return true
	})
	return carried && all
}

// leadsTo reports whether some live allow of the host, or the publication that was
// asked, takes the address.
func (p *Policy) leadsTo(f *facts, s *survey) bool {
	if pub := p.publication(f.publish); pub != nil {
		return pub.allow.addresses.permits(f.addr, s.standing, f.dest.Host)
	}
	leads := false
	f.near.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		leads = !r.Deny && !r.expired(f.at) && r.addresses.permits(f.addr, s.standing, f.dest.Host)
		return !leads
	})
	return leads
}

// inMode lets pass in monitor mode what only the rules would have refused.
// Addresses of the special ranges are refused all the same, unless an allow of
// the host says that it leads there.
func (p *Policy) inMode(f *facts, s *survey, v Verdict) Verdict {
	if v.Allowed() || p.Mode(f.at) == Enforce || !v.Reason.rulesWouldRefuse() {
		return v
	}
	if f.knows(knowAddr) && s.standing < standingPublic && !p.leadsTo(f, s) {
		return Verdict{Reason: AddressNotAllowed, Rule: v.Rule, Protocol: v.Protocol}
	}
	v.Effect, v.Would = Allow, true
	return v
}
