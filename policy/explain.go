package policy

// Explain judges a Case with the very questions enforcement asks, one after the
// other, and tells the way.
func (p *Policy) Explain(c Case) Explanation {
	return Explanation{}
}
