//go:build linux

package appliance

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/appliance/console"
	"gatehouse/internal/flow"
	"gatehouse/internal/servicetags"
	"gatehouse/policy"
)

// Names implements console.House: what was asked for among the decisions in
// memory, with what the resolver and the firewall hold of it now.
func (w window) Names(part string, n int) []console.Name {
	var list []*console.Name
	by := map[string]*console.Name{}
	gateways := map[string][]string{} // names of relay gateways, by their cluster
	for _, r := range w.ring.Recent(keptDecisions) {
		if r.Surface != policy.DNS || r.Host == "" {
			continue
		}
		if cluster, _, ok := servicetags.Gateway(r.Host); ok && !slices.Contains(gateways[cluster], r.Host) {
			gateways[cluster] = append(gateways[cluster], r.Host)
		}
		if !strings.Contains(r.Host, part) {
			continue
		}
		m := by[r.Host]
		if m == nil {
			if len(list) == n {
				continue
			}
			m = w.nameOf(r)
			by[r.Host], list = m, append(list, m)
		}
		m.Asked += max(1, r.Repeats)
	}
	names := make([]console.Name, len(list))
	for i, m := range list {
		w.lookUp(m)
		if m.Cluster != "" {
			m.Gateways = append(m.Gateways, gateways[m.Cluster]...)
			slices.Sort(m.Gateways)
		}
		names[i] = *m
	}
	return names
}

// nameOf is a name as the newest decision tells of it.
func (w window) nameOf(r *flow.Record) *console.Name {
	m := &console.Name{Name: r.Host, Last: w.here(r.Time), Verdict: r.Verdict.String(), Reason: r.Verdict.Reason.String(), Rule: r.Verdict.RuleName(),
		ID: r.ID, Chain: append([]string{}, r.CNAME...), Addresses: []console.Located{}, Gateways: []string{}}
	if r.IP.IsValid() && passes(r.Verdict) {
		m.Addresses = append(m.Addresses, console.Located{Address: r.IP.String()})
	}
	return m
}

// lookUp adds what is held of a name now.
func (w window) lookUp(m *console.Name) {
	now := w.Now()
	if k, ok := w.resolver.Kept(m.Name, now); ok {
		m.Left, m.Chain = secondsUntil(k.Until, now), append([]string{}, k.Aliases...)
		m.Addresses = m.Addresses[:0]
		for _, a := range k.Addresses {
			m.Addresses = append(m.Addresses, console.Located{Address: a.String()})
		}
	}
	m.Cluster = clusterOf(m.Chain)
	for i := range m.Addresses {
		a := &m.Addresses[i]
		addr := netip.MustParseAddr(a.Address) // it was one a moment ago
		a.Tags = append([]string{}, regionsOf(w.tags.file().Lookup(addr))...)
		if w.wall != nil {
			a.Pinned = secondsUntil(w.wall.firewall.Pinned(addr), now)
		}
	}
}

func secondsUntil(t, now time.Time) int { return max(0, int(t.Sub(now)/time.Second)) }

// regionsOf are the tags that say where an address is: those with a region, before
// those of the whole world.
func regionsOf(tags []string) (regional []string) {
	for _, t := range tags {
		if strings.Contains(t, ".") {
			regional = append(regional, t)
		}
	}
	if len(regional) == 0 {
		return tags
	}
	return regional
}
