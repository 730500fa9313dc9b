//go:build linux

package appliance

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"gatehouse/dnsallow"
	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// upstreams are the DNS servers that are asked: those of the configuration, or
// the system's, which are followed from then on.
func (a *Appliance) upstreams() []dnsallow.Upstream {
	if len(a.Config.DNS.Upstreams) > 0 {
		return upstreamsOf(a.Config.DNS.Upstreams)
	}
	a.system = newSystemServers(resolvConf)
	list, err := a.system.read()
	if err != nil {
		a.Log.Error("no DNS server to ask: names cannot be resolved until the system has one, or dns.upstreams names one", "err", err)
	}
	return list
}

func (a *Appliance) newResolver() *dnsallow.Resolver {
	c := a.Config.DNS
	rc := dnsallow.ResolverConfig{
		Upstreams: a.upstreams(), CacheBytes: int64(c.CacheMiB) << 20, Hosts: map[policy.Host][]netip.Addr{},
	}
	for _, h := range c.Hosts {
		for _, addr := range h.Addresses {
			rc.Hosts[h.Name.Host] = append(rc.Hosts[h.Name.Host], addr.Addr)
		}
	}
	for _, f := range c.Forwards {
		rc.Zones = append(rc.Zones, dnsallow.Zone{Name: f.Zone.Host, Servers: upstreamsOf(f.Servers)})
	}
	return dnsallow.NewResolver(rc, dnsallow.ResolverDeps{
		Now: a.Now,
		// The tally is made after the resolver.
		Observe: func(upstream string, took time.Duration, err error) { a.tally.UpstreamAnswered(upstream, took, err) },
	})
}

func (a *Appliance) newNames(book *flow.Book) *dnsallow.Server {
	// Whoever wants no cache wants each question to be answered by upstream.
	c := dnsallow.ServerConfig{NoShelf: a.Config.DNS.CacheMiB == 0}
	return dnsallow.NewServer(c, dnsallow.ServerDeps{
		Live: a.live, Resolver: a.resolver, Sink: book, Log: a.Log, Now: a.Now, Told: a.told, Pins: a.pinner(),
	})
}

// newTold is the book of which client was told which address for which name,
// for redirected connections, which know only the address.
func (a *Appliance) newTold() *dnsallow.Told {
	if len(a.Config.Listen.Gateway) == 0 {
		return nil
	}
	var servers []netip.Prefix
	for _, n := range a.Config.DNS.Resolvers {
		servers = append(servers, n.Prefix)
	}
	return dnsallow.NewTold(servers)
}

// serveNames answers DNS questions until ctx is done.
func (a *Appliance) serveNames(ctx context.Context) error {
	return a.names.Serve(ctx, a.doors.dnsUDP, slices.Concat(a.doors.dnsTCP, a.nameplate.listen(a.doors.dnsTLS)))
}
