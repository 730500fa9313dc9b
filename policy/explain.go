package policy

import "slices"

// Explain asks the very questions that enforcement asks, one after the other as
// a passage would come to them, and tells the way. It answers what would happen
// to the Case now; with AsIfInspected, what the rules say of it.
func (p *Policy) Explain(c Case) Explanation {
	if p == nil {
		return Explanation{}
	}
	p = p.asked(&c)
	w := walk{p: p, c: c}
	w.run()
	w.e.Steps = p.trace(&w.last)
	w.e.Nearest = p.nearest(w.e.Verdict, &w.last)
	return w.e
}

// Decide is Explain's verdict, without the way to it: what to ask of many
// passages.
func (p *Policy) Decide(c Case) Verdict {
	if p == nil {
		return Verdict{}
	}
	p = p.asked(&c)
	w := walk{p: p, c: c}
	w.run()
	return w.e.Verdict
}

// asked is the policy that a case is put to. It fills in where the case leads.
func (p *Policy) asked(c *Case) *Policy {
	if pub := p.Publication(c.Publish); c.Kind == CasePublish && pub != nil {
		c.Dest = pub.To
	}
	if c.Dest.Host.IsIP() && !c.Addr.IsValid() {
		c.Addr = c.Dest.Host.Addr()
	}
	if !c.AsIfInspected {
		return p
	}
	clone := *p
	clone.mode, clone.inspection = Enforce, true
	return &clone
}

// walk is one passage through the questions.
type walk struct {
	p    *Policy
	c    Case
	e    Explanation
	last facts // what the last question knew
}

func (w *walk) run() {
	permit, ok := w.open()
	if !ok {
		return
	}
	if w.c.Addr.IsValid() || len(w.c.Aliases) > 0 {
		q := Answer{At: w.c.At, Permit: permit, Aliases: w.c.Aliases, Addr: w.c.Addr}
		w.last = permit.facts
		q.add(&w.last)
		if permit, ok = w.take(w.p.Answer(q)); !ok {
			return
		}
	}
	if permit.facts.knows(knowRequest) && (w.c.TypeStated || w.c.Family != FamilyUnknown) {
		q := Response{At: w.c.At, Permit: permit, Type: w.c.Type, Family: w.c.Family}
		w.last = permit.facts
		q.add(&w.last)
		w.take(w.p.Response(q))
	}
}

// open asks the question that begins the passage.
func (w *walk) open() (Permit, bool) {
	c := w.c
	switch {
	case c.Kind == CasePublish:
		q := c.published()
		w.last = w.p.publishedFacts(q)
		return w.take(w.p.Published(q))
	case c.Kind == CaseDNS:
		q := Query{At: c.At, Client: c.Client, Name: c.Dest.Host, Type: c.QueryType}
		w.last = q.facts()
		return w.take(w.p.Query(q))
	case c.Kind == CaseConnect:
		permit, looks, ok := w.connect()
		if ok && !looks && w.e.Verdict.Protocol == TLS {
			c.UploadStated = true // whatever is sent inside, nobody sees its type
			w.overlook(c)
		}
		return permit, ok
	case c.Secure && !c.AsIfInspected:
		permit, looks, ok := w.connect()
		if !ok {
			return permit, false
		}
		if !looks {
			w.overlook(c)
			return permit, true
		}
	}
	q := c.request()
	w.last = q.facts()
	return w.take(w.p.Request(q))
}

// connect asks for the tunnel, and says whether it would be looked into.
func (w *walk) connect() (permit Permit, looks, ok bool) {
	q := Connect{At: w.c.At, Surface: CONNECT, Client: w.c.Client, Dest: w.c.Dest}
	w.last = q.facts()
	v, permit := w.p.Connect(q)
	permit, ok = w.take(v, permit)
	return permit, v.Effect == Inspect, ok
}

// overlook notes what nobody can check inside the tunnel just asked for.
func (w *walk) overlook(inside Case) {
	w.e.Unchecked, w.e.Inspects = w.p.unchecked(inside, &w.last), w.p.inspection
}

// take notes a verdict. In monitor mode the first refusal that was let pass is
// the one to tell of.
func (w *walk) take(v Verdict, permit Permit) (Permit, bool) {
	if v.Allowed() && w.e.Verdict.Would {
		return permit, true
	}
	w.e.Verdict = v
	return permit, v.Allowed()
}

func (c Case) request() Request {
	return Request{
		At: c.At, Surface: HTTP, Client: c.Client, Dest: c.Dest, Secure: c.Secure,
		Method: c.Method, Path: c.Path, Body: c.UploadStated, Upload: c.Upload, Upgrade: c.Upgrade,
	}
}

func (c Case) published() Published {
	return Published{
		At: c.At, Client: c.Client, Name: c.Publish, Method: c.Method, Path: c.Path,
		Body: c.UploadStated || c.Octets > 0, Upload: c.Upload, Octets: c.Octets, Upgrade: c.Upgrade,
	}
}

// trace holds every live allow of the host against the facts and sorts them by
// the step at which they fell.
func (p *Policy) trace(f *facts) []StepTrace {
	if f.surface == Publish {
		return p.tracePublished(f)
	}
	s := p.survey(f)
	fell := map[*Rule]Step{}
	var order []*Rule
	p.hosts.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		if r.Deny || r.expired(f.at) {
			return true
		}
		step := r.fell(c, f, &s)
		if had, seen := fell[r.Rule]; !seen {
			order = append(order, r.Rule)
			fell[r.Rule] = step
		} else {
			fell[r.Rule] = max(had, step)
		}
		return true
	})
	return f.steps(order, fell)
}

// tracePublished is trace for the one publication that was asked.
func (p *Policy) tracePublished(f *facts) []StepTrace {
	pub := p.publication(f.publish)
	if pub == nil {
		return nil
	}
	s := p.surveyPublished(f, pub)
	r := pub.allow.Rule
	return f.steps([]*Rule{r}, map[*Rule]Step{r: pub.allow.fell(candidate{}, f, &s)})
}

// steps sorts rules by the step at which they fell, of those that could be judged.
func (f *facts) steps(order []*Rule, fell map[*Rule]Step) (steps []StepTrace) {
	for step := StepHost; step < stepEnd; step++ {
		if !f.judges(step) {
			continue
		}
		t := StepTrace{Step: step}
		for _, r := range order {
			switch {
			case fell[r] == step:
				t.Fell = append(t.Fell, r)
			case fell[r] > step:
				t.Carried = append(t.Carried, r)
			}
		}
		steps = append(steps, t)
	}
	return steps
}

// judges reports whether enough is known for a step.
func (f *facts) judges(s Step) bool {
	switch s {
	case StepHost, StepClient:
		return true
	case StepPort:
		return f.knows(knowPort)
	case StepProtocol:
		return f.knows(knowRequest) || f.opening.Protocol != ProtocolUnknown
	case StepMethod, StepPath:
		return f.knows(knowRequest)
	case StepUpload:
		return f.knows(knowRequest) && f.body
	case StepUpgrade:
		return f.knows(knowRequest) && f.upgrade != ""
	case StepAlias:
		return len(f.aliases) > 0
	case StepAddress:
		return f.knows(knowAddr)
	case StepType:
		return f.knows(knowType)
	}
	return false
}

// unchecked names the inner clauses that the allows of a tunnel state, that
// nobody can check inside it, and that the case does not show to be met.
func (p *Policy) unchecked(c Case, tunnel *facts) []string {
	inside := c.request().facts()
	if c.TypeStated || c.Family != FamilyUnknown {
		(&Response{At: c.At, Type: c.Type, Family: c.Family}).add(&inside)
	}
	outer, inner := p.survey(tunnel), p.survey(&inside)
	found := map[Step]*clauseState{}
	p.hosts.each(c.Dest.Host, func(k candidate) bool {
		r := &p.rules[k.rule]
		if r.Deny || r.expired(c.At) || r.fell(k, tunnel, &outer) != stepEnd {
			return true
		}
		for _, step := range []Step{StepMethod, StepPath, StepUpload, StepUpgrade, StepType} {
			states, met := r.inside(step, &inside, &inner)
			if found[step] == nil {
				found[step] = &clauseState{}
			}
			found[step].stated = found[step].stated || states
			found[step].met = found[step].met || met
		}
		return true
	})
	var names []string
	for _, step := range []Step{StepMethod, StepPath, StepUpload, StepUpgrade, StepType} {
		if s := found[step]; s != nil && s.stated && !s.met {
			names = append(names, step.String())
		}
	}
	return names
}

type clauseState struct{ stated, met bool }

// inside says whether a rule states the clause of an inner step, and whether
// what is known meets it. A fact that is not known meets nothing.
func (r *rule) inside(step Step, f *facts, s *survey) (states, met bool) {
	switch step {
	case StepMethod:
		return r.Methods != nil, r.Methods == nil || slices.Contains(r.Methods, f.method)
	case StepPath:
		return r.speaksOfPaths(), r.listsPath(f.path)
	case StepUpload:
		return r.Uploads != nil && f.body, r.Uploads == nil || slices.Contains(r.Uploads, f.upload)
	case StepUpgrade:
		return f.upgrade != "", f.upgrade == "" || r.listsUpgrade(f.upgrade)
	}
	return r.Types != nil, r.Types == nil && !s.bound || f.knows(knowType) && s.typeFits(r, f)
}
