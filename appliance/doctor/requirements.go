package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"gatehouse/policy"
)

// The bounds of one examination: rules may list whole networks of names.
const (
	mostTargets = 200
	mostPorts   = 16 // of one host in one rule
)

// target is one place that a rule permits, tried as one of the rule's clients.
type target struct {
	rule     *policy.Rule
	dest     policy.Dest
	protocol policy.Protocol
	client   netip.Addr
	// published is the publication whose server it is; nil: a rule's place.
	published *policy.Publication
}

// errand is a rule with what is to be tried for it.
type errand struct {
	rule    *policy.Rule
	targets []target
	left    []*Check // what cannot be tried, each with its reason
}

// errands are the live allows of one pack ("": the file's own), in their order.
func errands(p *policy.Policy, pack string, at time.Time, room *int) []errand {
	var list []errand
	for _, r := range p.Rules() {
		if r.Deny || r.Pack != pack || !r.Until.IsZero() && !at.Before(r.Until) {
			continue
		}
		e := errand{rule: r}
		client, ok := Client(r.Clients)
		if !ok {
			e.left = append(e.left, Skipped("clients", "the rule is for nobody"))
		} else {
			e.fill(client, room)
		}
		list = append(list, e)
	}
	return list
}

func (e *errand) fill(client netip.Addr, room *int) {
	for _, h := range e.rule.Hosts {
		host, ok := h.Exact()
		if !ok {
			e.left = append(e.left, Skipped(h.String(), "it stands for many names, of which none is known"))
			continue
		}
		ports, more := portsOf(e.rule, h.Port)
		if more > 0 {
			e.left = append(e.left, Skipped(host.String(), fmt.Sprintf("%d further ports of it are too many", more)))
		}
		for _, port := range ports {
			t := target{rule: e.rule, dest: policy.Dest{Host: host, Port: port}, protocol: e.rule.Protocol, client: client}
			if t.protocol == policy.ProtocolUnknown {
				t.protocol = policy.UsualProtocol(port)
			}
			switch {
			case t.protocol == policy.UDP:
				e.left = append(e.left, Skipped(t.dest.String()+"/udp", "nothing answers to an empty datagram"))
			case *room == 0:
				e.left = append(e.left, Skipped(t.dest.String(), fmt.Sprintf("%d places are tried at most in one run; name a pack by --pack", mostTargets)))
			default:
				*room--
				e.targets = append(e.targets, t)
			}
		}
	}
}

// Client is somebody for whom a rule speaks: its first address.
func Client(c policy.Clients) (netip.Addr, bool) {
	switch {
	case c.Any:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	case len(c.Prefixes) == 0:
		return netip.Addr{}, false
	}
	p := c.Prefixes[0]
	if p.IsSingleIP() {
		return p.Addr(), true
	}
	return p.Masked().Addr().Next(), true
}

func portsOf(r *policy.Rule, own uint16) (ports []uint16, more int) {
	if own != 0 {
		return []uint16{own}, 0
	}
	for _, run := range r.Ports {
		for port := int(run.First); port <= int(run.Last); port++ {
			if len(ports) == mostPorts {
				more++
				continue
			}
			ports = append(ports, uint16(port))
		}
	}
	return ports, more
}

// packsOf are the packs in use, in the order of the file; "" stands for the
// file's own rules, last.
func packsOf(p *policy.Policy) []string {
	var packs []string
	for _, r := range p.Rules() {
		if !r.Deny && r.Pack != "" && !slices.Contains(packs, r.Pack) {
			packs = append(packs, r.Pack)
		}
	}
	return append(packs, "")
}
