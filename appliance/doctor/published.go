package doctor

import (
	"context"

	"gatehouse/policy"
)

// Published tries the server behind each publication, as the gate reaches it for a
// client: rules, name and addresses, connection, certificate. Nothing is asked of
// it: what it answers is for those whom the publication is for.
func (d *Doctor) Published(ctx context.Context) (checks []*Check) {
	for _, p := range d.Policy.Publications() {
		client, ok := Client(p.Clients)
		if !ok {
			checks = append(checks, Skipped(p.Name, "it is for nobody"))
			continue
		}
		checks = append(checks, Heading(p.Name, d.try(ctx, target{
			rule: &policy.Rule{Name: p.Name, Line: p.Line, Methods: p.Methods}, dest: p.To, protocol: protocolOf(p), client: client, published: p,
		})))
	}
	return checks
}

func protocolOf(p *policy.Publication) policy.Protocol {
	if p.Secure {
		return policy.TLS
	}
	return policy.PlainHTTP
}
