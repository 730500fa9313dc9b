package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// Publication is a [[publish]]: a way in, for the requests of some clients to one
// server. Its zero value lets nobody in.
type Publication struct {
	Name    string // unique among publications, which have names of their own
	Line    int    // in the rules file
	Clients Clients
	// To is the server that is asked; Secure says that it is asked over TLS. An
	// address literal leads to itself, and a name to private and public addresses.
	To     Dest
	Secure bool
	// Methods are those that may be used, Paths those that may be asked for; nil
	// Paths are all.
	Methods []string
	Paths   []Glob
	// MaxBody is how many octets of content a request may have.
	MaxBody int64
}

// publication is a Publication made ready: as the allow for its server that
// verdicts name and that is held against the facts.
type publication struct {
	*Publication
	allow rule
}

func (p *Publication) check() error {
	for _, c := range []struct {
		bad  bool
		says string
	}{
		{p.Name == "", "it has no name"},
		{p.To.Host.IsZero() || p.To.Port == 0, "it names no server"},
		{!p.Clients.Any && len(p.Clients.Prefixes) == 0, "it names no client"},
		{slices.ContainsFunc(p.Clients.Prefixes, noClient), "one of its clients is no network, or is IPv4 dressed as IPv6"},
		{len(p.Methods) == 0 || slices.Contains(p.Methods, ""), "it names no method, or one of them is empty"},
		{emptied(p.Paths) || slices.Contains(p.Paths, Glob{}), "paths is empty, or one of them is"},
		{p.MaxBody < 0, "max_body is negative"},
	} {
		if c.bad {
			return errors.New(c.says)
		}
	}
	return nil
}

// asRule is the publication as an allow for its server. No upgrade is let in.
func (p *Publication) asRule() *Rule {
	r := &Rule{
		Name: p.Name, Line: p.Line, Clients: p.Clients,
		Hosts: []ListedHost{{HostPattern: exactly(p.To.Host)}}, Ports: []PortRange{{First: p.To.Port, Last: p.To.Port}},
		Protocol: PlainHTTP, Methods: p.Methods, Paths: p.Paths, Upgrades: []string{},
		Addresses: Addresses{Default: true},
	}
	if p.Secure {
		r.Protocol = TLS
	}
	if !p.To.Host.IsIP() {
		r.Addresses.Prefixes = PrivateRanges()
	}
	return r
}

// publish puts the publications into their table. Whoever one names is a permitted
// client.
func (p *Policy) publish(list []Publication, share func([]netip.Prefix) *bart.Lite) error {
	var errs []error
	p.publications = make([]publication, len(list))
	p.published = make(map[string]int32, len(list))
	for i := range list {
		pub := &list[i]
		if err := pub.check(); err != nil {
			errs = append(errs, fmt.Errorf("publish %q: %w", pub.Name, err))
		}
		if _, taken := p.published[pub.Name]; taken {
			errs = append(errs, fmt.Errorf("publish %q: the name is used twice", pub.Name))
		}
		r := pub.asRule()
		c := publication{pub, rule{Rule: r, addresses: compileAddresses(r.Addresses, share), inner: true}}
		if !pub.Clients.Any {
			c.allow.clients = share(pub.Clients.Prefixes)
			insert(p.permitted, pub.Clients.Prefixes)
		}
		p.publications[i], p.published[pub.Name] = c, int32(i)
	}
	return errors.Join(errs...)
}

// Publications are those of the policy, in the order of the file. They must not be
// changed.
func (p *Policy) Publications() []*Publication {
	if p == nil {
		return nil
	}
	all := make([]*Publication, len(p.publications))
	for i := range p.publications {
		all[i] = p.publications[i].Publication
	}
	return all
}

// Publication is the one of a name; nil where there is none.
func (p *Policy) Publication(name string) *Publication {
	if pub := p.publication(name); pub != nil {
		return pub.Publication
	}
	return nil
}

func (p *Policy) publication(name string) *publication {
	if p == nil {
		return nil
	}
	if i, known := p.published[name]; known {
		return &p.publications[i]
	}
	return nil
}

// MayTellOf reports whether a client may be told the name of a publication: only
// where that is for it.
func (p *Policy) MayTellOf(client netip.Addr, name string) bool {
	client = client.Unmap()
	pub := p.publication(name)
	return pub != nil && pub.allow.names(client) && (pub.allow.clients != nil || p.knows(client))
}

// Published asks whether one request that came to a published door may be handed
// to the server behind it.
type Published struct {
	At     time.Time
	Client netip.Addr
	Name   string // of the publication
	Method string
	Path   Path
	// Body says that the request carries a body; Upload is its media type, the zero
	// value where it has none or more than one, and Octets its declared length, 0
	// where that is not known.
	Body   bool
	Upload MediaType
	Octets int64
	// Upgrade is the protocol the request asks to switch to, lower case; empty
	// where it asks for none.
	Upgrade string
}

// Published judges a request that comes in. Its Permit leads to the publication's
// server and nowhere else.
func (p *Policy) Published(q Published) (v Verdict, permit Permit) {
	permit.facts = p.publishedFacts(q)
	v = p.decide(&permit)
	return v, permit
}

func (p *Policy) publishedFacts(q Published) facts {
	f := facts{
		at: q.At, surface: Publish, client: q.Client.Unmap(), publish: q.Name,
		known: knowPort | knowRequest, method: q.Method, path: q.Path,
		body: q.Body, upload: q.Upload, octets: q.Octets, upgrade: q.Upgrade,
	}
	if pub := p.publication(q.Name); pub != nil {
		f.dest, f.secure = pub.To, pub.Secure
	}
	return f
}

// Body asks whether so many octets of content may be sent with a published
// request, of which it was not known before how many there are.
type Body struct {
	At     time.Time
	Permit Permit
	Octets int64
}

// Body judges how much has come of a published request's body.
func (p *Policy) Body(q Body) (v Verdict, permit Permit) {
	if p == nil || q.Permit.issuer != p || q.Permit.facts.surface != Publish {
		return Verdict{}, Permit{}
	}
	permit.facts = q.Permit.facts
	permit.facts.at, permit.facts.octets = q.At, q.Octets
	v = p.decide(&permit)
	return v, permit
}

// judgePublished is judge for what comes in: the table is the publication's own,
// and of the file's rules only the denies speak. A publication that is gone, or
// that leads elsewhere by now, permits nothing in any mode.
func (p *Policy) judgePublished(f *facts) Verdict {
	pub := p.publication(f.publish)
	if pub == nil || pub.To != f.dest || pub.Secure != f.secure {
		return denied(HostNotListed, nil)
	}
	s := p.surveyPublished(f, pub)
	if s.speaksOfPaths != nil && f.path.Odd() != "" {
		return Verdict{Reason: BadRequest, Rule: s.speaksOfPaths, Protocol: s.expected}
	}
	v := pub.allowing(f, &s)
	s.dropped = v.Reason == AddressNotAllowed && p.Mode(f.at) == Enforce
	if deny := p.denying(f, &s); deny != nil {
		v = denied(DeniedByRule, deny)
	}
	v.Protocol, v.Parent = s.expected, "direct"
	if v = p.inMode(f, &s, v); v.Would && f.octets > pub.MaxBody { // what only the mode lets come this far
		return Verdict{Reason: Limit, Rule: pub.allow.Rule, Protocol: v.Protocol, Parent: v.Parent}
	}
	return v
}

// surveyPublished is survey with the publication in the place of the allows.
func (p *Policy) surveyPublished(f *facts, pub *publication) survey {
	s := survey{expected: pub.allow.Protocol}
	f.near.look(&p.hosts, f.dest.Host)
	if f.knows(knowAddr) {
		s.standing = p.stand(f.addr)
	}
	first := int32(math.MaxInt32)
	note := func(i int32) {
		r := &p.rules[i]
		f.typed = f.typed || r.Deny && r.Types != nil
		if i < first && r.Deny && !r.expired(f.at) && r.names(f.client) && r.speaksOfPaths() {
			first = i
		}
	}
	f.near.each(f.dest.Host, func(c candidate) bool { note(c.rule); return true })
	for _, i := range p.everywhere {
		note(i)
	}
	switch {
	case pub.allow.Paths != nil:
		s.speaksOfPaths = pub.allow.Rule
	case first < math.MaxInt32:
		s.speaksOfPaths = p.rules[first].Rule
	}
	return s
}

// allowing holds the publication against the facts. A body that is too large is a
// limit, and so no matter of the mode.
func (pub *publication) allowing(f *facts, s *survey) Verdict {
	step := pub.allow.fell(candidate{}, f, s)
	switch {
	case step > StepPath && f.octets > pub.MaxBody:
		return denied(Limit, pub.allow.Rule)
	case step < stepEnd:
		return denied(step.reason(f, s.expected), pub.allow.Rule)
	}
	return Verdict{Effect: Allow, Reason: Matched, Rule: pub.allow.Rule}
}
