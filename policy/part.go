package policy

import (
	"slices"
	"time"
)

// Part asks whether one part of a multipart upload may be sent. The parts add
// up: one rule must permit the upload's own type and every part so far.
type Part struct {
	At     time.Time
	Permit Permit // of the request, or of the part before
	// Type is the part's media type, the zero value where it cannot be told.
	Type MediaType
}

// Part judges a part of an upload.
func (p *Policy) Part(q Part) (v Verdict, permit Permit) {
	if p == nil || q.Permit.issuer != p || !q.Permit.facts.knows(knowRequest) {
		return Verdict{}, Permit{}
	}
	permit.facts = q.Permit.facts
	f := &permit.facts
	f.at = q.At
	if !slices.Contains(f.parts, q.Type) {
		f.parts = append(slices.Clip(f.parts), q.Type) // the permit before keeps its own
	}
	v = p.decide(&permit)
	return v, permit
}

// JudgesParts reports whether some live rule of the host speaks of uploads, so
// that the parts of one have to be told apart. Of what is published only the
// denies do.
func (p *Policy) JudgesParts(permit Permit) bool {
	if p == nil || !permit.IssuedBy(p) || !permit.facts.body {
		return false
	}
	f := permit.facts
	speaks := func(r *rule) bool {
		return r.Uploads != nil && !r.expired(f.at) && r.names(f.client) && (r.Deny || f.surface != Publish)
	}
	found := slices.ContainsFunc(p.everywhere, func(i int32) bool { return speaks(&p.rules[i]) })
	f.near.each(f.dest.Host, func(c candidate) bool {
		found = found || speaks(&p.rules[c.rule])
		return !found
	})
	return found
}

// takesUpload reports whether an allow lists the upload's type and those of all
// its parts.
func (r *rule) takesUpload(f *facts) bool {
	return slices.Contains(r.Uploads, f.upload) &&
		!slices.ContainsFunc(f.parts, func(m MediaType) bool { return !slices.Contains(r.Uploads, m) })
}

// refusesUpload reports whether a deny lists the upload's type or that of a part.
func (r *rule) refusesUpload(f *facts) bool {
	return slices.Contains(r.Uploads, f.upload) ||
		slices.ContainsFunc(f.parts, func(m MediaType) bool { return slices.Contains(r.Uploads, m) })
}
