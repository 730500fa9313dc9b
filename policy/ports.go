package policy

import (
	"net/netip"
	"time"
)

// PortProtocol is what a port carries for a client before anybody knows for which
// host a connection is: what its live allows state or, where none names the port,
// the usual. Where they differ it is the protocol under which less gets through.
// Its cost grows with the rules, not with their hosts.
func (p *Policy) PortProtocol(client netip.Addr, port uint16, at time.Time) Protocol {
	if p == nil {
		return UsualProtocol(port)
	}
	client = client.Unmap()
	named := ProtocolUnknown
	for i := range p.rules {
		r := &p.rules[i]
		if r.Deny || r.expired(at) || r.Protocol == UDP || !r.names(client) {
			continue
		}
		for _, pr := range r.Ports {
			if pr.Contains(port) {
				protocol := r.Protocol
				if protocol == ProtocolUnknown {
					protocol = UsualProtocol(port)
				}
				named = stricter(named, protocol)
			}
		}
	}
	if named == ProtocolUnknown {
		return UsualProtocol(port)
	}
	return named
}
