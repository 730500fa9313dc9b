package proxy

import "gatehouse/internal/http1"

// product is how a gate calls itself in Via that was given no name of its own.
const product = "gatehouse"

var nameless, _ = http1.ParsePseudonym(product)

// circles reports whether a request has been through this gate before and goes round
// in a circle: Via names the gate (RFC 9110, section 7.6.3), or one without a name
// of its own, which may be this one. A gate of another name is another gate: a county
// may have one, too.
func (s *Server) circles(h *requestHead) bool {
	return h.PassedThrough(s.pseudonym) || h.PassedThrough(nameless)
}
