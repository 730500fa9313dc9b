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
		checks = append(checks, Heading(p.Name, d.behind(ctx, p, target{
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

func (d *Doctor) behind(ctx context.Context, p *policy.Publication, t target) *Check {
	if d.NoNames != "" && !t.dest.Host.IsIP() {
		return Skipped(t.dest.String(), d.NoNames)
	}
	w := &way{d: d, t: t}
	w.step(ctx, "rules", w.judge)
	w.step(ctx, "name", w.resolve)
	w.step(ctx, "connection", w.connect)
	if p.Secure {
		w.step(ctx, "certificate", w.handshake)
	}
	w.hangUp()
	c := Heading(t.dest.String(), w.checks...)
	c.Way = true
	return c
}
