package policy

import (
	"math"
	"slices"
)

// survey is what the rules of a host say together about one passage, before
// each allow is held against it.
type survey struct {
	// expected is what the port carries under the allows that fit host, client
	// and port: what one of them states, else the usual.
	expected Protocol
	// parent is what those of them that are live say about parent proxies.
	// Package rules makes it an error where two that can meet differ.
	parent string
	// standing is the address's own, once it is known.
	standing standing
	// speaksOfPaths is the first live rule of the host, in the order of the
	// file, with a clause about paths.
	speaksOfPaths *Rule
	// looks says whether a tunnel of these allows is looked into.
	looks bool
	// bound: some glob binds the path; bindFails: a binding entry that the
	// declared type does not satisfy.
	bound     bool
	bindFails *rule
	// dropped: no allow takes the address, and the rules are enforced. Then a
	// deny of addresses drops nothing that an allow would have taken, and is
	// not the reason.
	dropped bool
}

// survey walks the rules of the passage's host once.
func (p *Policy) survey(f *facts) survey {
	var s survey
	f.near.look(&p.hosts, f.dest.Host)
	if f.knows(knowAddr) {
		s.standing = p.stand(f.addr)
	}
	if !f.knows(knowPort) {
		return s
	}
	var live, past Protocol
	var never, always, inner bool
	speaks := int32(math.MaxInt32)
	f.near.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		gone := r.expired(f.at)
		f.typed = f.typed || r.Types != nil
		if c.rule < speaks && !gone && r.speaksOfPaths() {
			speaks = c.rule
		}
		if r.Deny || !r.names(f.client) || !r.listsPort(c, f.dest.Port) {
			return true
		}
		if gone {
			past = stricter(past, r.Protocol)
			return true
		}
		live = stricter(live, r.Protocol)
		if s.parent == "" {
			s.parent = r.Parent
		}
		never = never || r.Inspect == InspectNever
		always = always || r.Inspect == InspectAlways
		inner = inner || r.inner
		return true
	})
	for _, i := range p.everywhere {
		r := &p.rules[i]
		f.typed = f.typed || r.Types != nil
		if i < speaks && !r.expired(f.at) && r.names(f.client) && r.speaksOfPaths() {
			speaks = i
		}
	}
	if speaks < math.MaxInt32 {
		s.speaksOfPaths = p.rules[speaks].Rule
	}
	s.expected = expectedProtocol(live, past, f.dest.Port)
	s.looks = p.inspection && s.expected == TLS && !never && (always || inner) && !NeverInspected(f.dest.Host)
	if f.knows(knowType) {
		p.bind(f, &s)
	}
	return s
}

func expectedProtocol(live, past Protocol, port uint16) Protocol {
	switch {
	case live != ProtocolUnknown:
		return live
	case past != ProtocolUnknown:
		return past
	}
	return UsualProtocol(port)
}

// stricter joins what two allows state. Rules that can meet must agree (package
// rules makes a difference an error); should two differ all the same, the one
// under which less gets through decides.
func stricter(a, b Protocol) Protocol {
	for _, p := range [...]Protocol{TLS, PlainHTTP, TCP} {
		if a == p || b == p {
			return p
		}
	}
	return ProtocolUnknown
}

func (r *rule) speaksOfPaths() bool {
	return r.Paths != nil || slices.ContainsFunc(r.Types, func(e TypeEntry) bool { return e.Glob.Binds() })
}

// bind finds the globs that bind the path. They are those of every live allow
// that fits host, client, port and protocol, whatever else it says; the same
// glob in several rules adds up, different globs must each agree.
//
// It walks the rules of the host twice for each globWindow of different globs
// in the file: first to learn which globs are satisfied, then to find those
// that are not. So the cost grows with the rules of the host and not with their
// square, and needs no memory of its own.
func (p *Policy) bind(f *facts, s *survey) {
	for window := range (p.binding + globWindow - 1) / globWindow {
		var satisfied [globWindow / 64]uint64
		p.eachBinding(f, window, func(_ *rule, b binding, bit uint) {
			if b.takes(f.mediaType) && b.Glob.Match(f.path) {
				s.bound = true
				satisfied[bit/64] |= 1 << (bit % 64)
			}
		})
		p.eachBinding(f, window, func(r *rule, b binding, bit uint) {
			if satisfied[bit/64]&(1<<(bit%64)) != 0 || !b.Glob.Match(f.path) {
				return
			}
			s.bound = true
			if s.bindFails == nil || r.Line < s.bindFails.Line {
				s.bindFails = r
			}
		})
	}
}

// globWindow is how many different globs are weighed at once.
const globWindow = 1024

// eachBinding calls yield with every entry of a window of globs whose allow
// fits host, client, port and protocol; bit is the glob's place in the window.
func (p *Policy) eachBinding(f *facts, window int, yield func(r *rule, b binding, bit uint)) {
	f.near.each(f.dest.Host, func(c candidate) bool {
		r := &p.rules[c.rule]
		if len(r.binding) == 0 || r.expired(f.at) || !r.names(f.client) || !r.listsPort(c, f.dest.Port) {
			return true
		}
		for _, b := range r.binding {
			if b.glob/globWindow == window {
				yield(r, b, uint(b.glob%globWindow))
			}
		}
		return true
	})
}

// takes reports whether the entry lets a declared type through.
func (e *TypeEntry) takes(m MediaType) bool { return e.Any || slices.Contains(e.Types, m) }

// typeFits is the type step: the binding globs decide where there are any; only
// where none binds does each rule's own list count.
func (s *survey) typeFits(r *rule, f *facts) bool {
	switch {
	case s.bindFails != nil:
		return false
	case s.bound, r.Types == nil:
		return true
	}
	return slices.ContainsFunc(r.Types, func(e TypeEntry) bool { return !e.Glob.Binds() && e.takes(f.mediaType) })
}
