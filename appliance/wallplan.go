package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"gatehouse/appliance/firewall"
	"gatehouse/policy"
	"gatehouse/rules"
)

// Port is a TCP or UDP port.
type Port uint16

// firewallPlan is what the ruleset is made from under the rules that are loaded; nil:
// none are.
func (c *Config) firewallPlan(loaded *rules.Loaded, at time.Time) firewall.Plan {
	var p *policy.Policy
	if loaded != nil {
		p = loaded.Policy
	}
	plan := firewall.Plan{
		SHA256: p.SHA256(), LAN: interfaceNames(c.Firewall.LAN), WAN: interfaceNames(c.Firewall.WAN),
		Clients: p.Permitted(at), DNS: addrPorts(c.Listen.DNS), Gateway: addrPorts(c.Listen.Gateway),
		GatewayFrom: prefixesOf(c.Listen.GatewayFrom), Servers: prefixesOf(c.DNS.Resolvers),
		Peers: prefixesOf(c.Firewall.Peers),
	}
	if len(plan.Gateway) > 0 {
		plan.Ports = p.RelayedPorts(at)
	}
	serve := func(name string, udp bool, at ...Address) {
		for _, a := range at {
			plan.Served = append(plan.Served, firewall.Door{Name: name, At: a.AddrPort, UDP: udp})
		}
	}
	serve("listen.proxy", false, c.Listen.Proxy...)
	serve("listen.dns", false, c.Listen.DNS...)
	serve("listen.dns", true, c.Listen.DNS...)
	serve("listen.dns_tls", false, c.Listen.DNSTLS...)
	serve("listen.admin", false, c.Listen.Admin)
	serve("listen.metrics", false, c.Listen.Metrics...)
	serve("listen.pac", false, c.Listen.PAC...)
	if loaded != nil {
		plan.Published = ways(loaded.Publishes, plan.Clients)
	}
	for _, port := range c.Firewall.Open {
		plan.Open = append(plan.Open, uint16(port))
	}
	for _, f := range c.DNS.Forwards {
		for _, s := range f.Servers {
			addr := s.Addr().Addr().Unmap()
			plan.Servers = append(plan.Servers, netip.PrefixFrom(addr, addr.BitLen()))
		}
	}
	return plan
}

// ways are the published doors, each with who may come to it.
func ways(list []rules.Publish, permitted []netip.Prefix) (all []firewall.Way) {
	for _, p := range list {
		w := firewall.Way{Name: p.Name, At: p.Listen, Clients: p.Clients.Prefixes}
		if p.Clients.Any {
			w.Clients = permitted
		}
		all = append(all, w)
	}
	return all
}

func addrPorts(list []Address) []netip.AddrPort {
	all := make([]netip.AddrPort, len(list))
	for i, a := range list {
		all[i] = a.AddrPort
	}
	return all
}

// Ruleset is the whole firewall as text for nft, under rules. What names lead to is
// not in it: that is pinned while gatehouse runs.
func (c *Config) Ruleset(loaded *rules.Loaded, at time.Time) string {
	return firewall.Static(c.firewallPlan(loaded, at), loaded.Policy, at)
}

// RemoveFirewall takes the firewall's table away, and nothing else.
func RemoveFirewall(ctx context.Context) error {
	if err := firewall.Nft(ctx, firewall.Removal()); err != nil {
		return fmt.Errorf("take the table %s away: %w", firewall.Table, err)
	}
	return nil
}
