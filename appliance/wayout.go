package appliance

import (
	"fmt"
	"net/netip"
	"time"

	"gatehouse/appliance/pac"
	"gatehouse/policy"
)

// PACFile is the proxy auto-configuration file for a client (the zero value: for
// every client) under the rules in force. proxy is where the client finds the
// proxy.
func (c *Config) PACFile(p *policy.Policy, at time.Time, client netip.Addr, proxy netip.AddrPort) []byte {
	zones := make([]policy.Host, len(c.DNS.Forwards))
	for i, f := range c.DNS.Forwards {
		zones[i] = f.Zone.Host
	}
	return pac.File(p, at, pac.Options{Proxy: proxy, Client: client, Direct: c.PAC.Otherwise == "direct", Zones: zones})
}

// PACProxy is the proxy that the file of listen.pac names, as far as the
// configuration tells: clients that find the file at an address find the proxy
// there too.
func (c *Config) PACProxy() (netip.AddrPort, error) {
	var beside netip.Addr
	if len(c.Listen.PAC) > 0 {
		beside = c.Listen.PAC[0].Addr()
	}
	doors := make([]netip.AddrPort, len(c.Listen.Proxy))
	for i, a := range c.Listen.Proxy {
		doors[i] = a.AddrPort
	}
	at, ok := proxyBeside(beside, doors)
	if !ok {
		return at, fmt.Errorf("the configuration does not tell at which address clients find the proxy; name it by --proxy, like --proxy 10.20.0.1:3128")
	}
	return at, nil
}

// proxyBeside picks the proxy's door for somebody who came to an address of this
// machine: at that address, else at any address, else one that is not loopback.
func proxyBeside(came netip.Addr, doors []netip.AddrPort) (at netip.AddrPort, ok bool) {
	came = came.Unmap()
	for _, d := range doors {
		everywhere := d.Addr().IsUnspecified() && (d.Addr().Is6() || came.Is4())
		switch here := came.IsValid() && !came.IsUnspecified(); {
		case here && d.Addr().Unmap() == came:
			return d, true
		case here && everywhere:
			at, ok = netip.AddrPortFrom(came, d.Port()), true
		}
	}
	if ok {
		return at, true
	}
	for _, d := range doors {
		better := !ok || at.Addr().IsLoopback() && !d.Addr().IsLoopback()
		if better && !d.Addr().IsUnspecified() {
			at, ok = d, true
		}
	}
	return at, ok
}
