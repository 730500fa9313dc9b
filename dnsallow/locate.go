package dnsallow

import (
	"context"
	"errors"
	"net/netip"

	"github.com/miekg/dns"
)

var errNotLocated = errors.New("the name of an upstream DNS server does not lead to an address; name it by its IP address, like https://9.9.9.9/dns-query#dns.quad9.net")

// located finds the address of an upstream that is known by name, by asking the
// upstreams that are known by address. They may lie as they like: whoever
// answers there must have a certificate for the name.
func (x *exchanger) located(ctx context.Context, servers []Upstream, u Upstream) (Upstream, error) {
	if a, ok := x.lines.known(u, x); ok {
		return u.at(a), nil
	}
	for _, other := range servers {
		if !other.addr.Addr().IsValid() {
			continue
		}
		q := question{u.host.Name(), dns.TypeA}
		reply, err := x.decided(ctx, nil, other, q, nil)
		if err != nil {
			continue
		}
		f, err := collect(reply, q, x.now())
		if err == nil && len(f.addresses) > 0 {
			x.lines.remember(u, foundAddr{f.addresses[0].addr, x.now().Add(max(f.ttl, ttlNegative))})
			return u.at(f.addresses[0].addr), nil
		}
	}
	return Upstream{}, errNotLocated
}

func (u Upstream) at(a netip.Addr) Upstream {
	u.addr = netip.AddrPortFrom(a, u.addr.Port())
	return u
}

func (l *lines) known(u Upstream, x *exchanger) (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.found[u]
	return f.addr, ok && x.now().Before(f.until)
}

// remember also hangs up where the upstream was before: whoever was asked for its
// name may say another address each time.
func (l *lines) remember(u Upstream, f foundAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before := u.at(l.found[u].addr); before.addr.Addr() != f.addr && l.https[before] != nil {
		l.https[before].CloseIdleConnections()
		delete(l.https, before)
	}
	if l.found == nil {
		l.found = map[Upstream]foundAddr{}
	}
	l.found[u] = f
}
