package policy

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"
)

// Permit is proof that a policy let a passage go to one Dest. Only a Policy
// issues a valid one; the zero value is none, and must not be dialled. It is
// good for the policy that issued it and for one dialling (all its attempts).
//
// It remembers all that was known when it was issued, so that Answer, Response
// and Review judge the whole passage, not only its newest fact.
type Permit struct {
	issuer *Policy
	facts  facts
}

// Valid reports whether a policy issued the permit.
func (p Permit) Valid() bool { return p.issuer != nil }

// IssuedBy reports whether policy issued the permit; never true of nil.
func (p Permit) IssuedBy(policy *Policy) bool { return policy != nil && p.issuer == policy }

// Policy is the policy that issued the permit, nil for the zero value.
func (p Permit) Policy() *Policy { return p.issuer }

// ForReview is the permit without the policy that issued it, which is good for Review
// and nothing else: it is still Valid, but no policy issued it, and the one it names
// denies everything. A passage that may live for days keeps this one, and does not hold
// the index of a policy that was replaced days ago.
func (p Permit) ForReview() Permit {
	if p.Valid() {
		p.issuer = replaced
	}
	p.facts.near, p.facts.listed = nearby{}, nil
	return p
}

// replaced stands for every policy that is in force no more. It permits no client.
var replaced = &Policy{permitted: new(bart.Lite)}

// Dest is where the passage leads. For a DNS question the port is 0.
func (p Permit) Dest() Dest { return p.facts.dest }

// Surface is where the passage was asked for; meaningless for the zero value.
func (p Permit) Surface() Surface { return p.facts.surface }

// Client is who asked.
func (p Permit) Client() netip.Addr { return p.facts.client }

// Addr is the address the permit was narrowed to, the zero Addr before Answer.
func (p Permit) Addr() netip.Addr { return p.facts.addr }

// Unled is the permit as it was before anything was known of where the name leads,
// for finding that out anew.
func (p Permit) Unled() Permit {
	p.facts.aliases, p.facts.addr = nil, netip.Addr{}
	p.facts.known &^= knowAddr
	return p
}

// Review asks the same passage, with all that is known of it, of another policy
// or of the same one at a later time: an open passage ends when the answer is
// no, and also when it is Inspect for a tunnel that is relayed unseen.
func (p *Policy) Review(permit Permit, at time.Time) Verdict {
	f := permit.facts
	f.at = at
	if !permit.Valid() {
		return Verdict{}
	}
	return p.judge(&f)
}

// Aliases are the CNAME targets the passage was led through, in order. The
// slice must not be changed.
func (p Permit) Aliases() []Host { return p.facts.aliases }
