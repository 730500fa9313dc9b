package appliance

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"gatehouse/appliance/firewall"
	"gatehouse/policy"
)

// Port is a TCP or UDP port.
type Port uint16

// firewallPlan is what the ruleset is made from under the rules of p.
func (c *Config) firewallPlan(p *policy.Policy, at time.Time) firewall.Plan {
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
	serve("listen.admin", false, c.Listen.Admin)
	serve("listen.metrics", false, c.Listen.Metrics...)
	serve("listen.pac", false, c.Listen.PAC...)
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

func addrPorts(list []Address) []netip.AddrPort {
	all := make([]netip.AddrPort, len(list))
	for i, a := range list {
		all[i] = a.AddrPort
	}
	return all
}

// Ruleset is the whole firewall as text for nft, under the rules of p. What names
// lead to is not in it: that is pinned while gatehouse runs.
func (c *Config) Ruleset(p *policy.Policy, at time.Time) string {
	return firewall.Static(c.firewallPlan(p, at), p, at)
}

// RemoveFirewall takes the firewall's table away, and nothing else.
func RemoveFirewall(ctx context.Context) error {
	if err := firewall.Nft(ctx, firewall.Removal()); err != nil {
		return fmt.Errorf("take the table %s away: %w", firewall.Table, err)
	}
	return nil
}
