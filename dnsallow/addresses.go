package dnsallow

import (
	"context"
	"net/netip"

	"github.com/miekg/dns"
)

// Addresses are where a name of the configuration leads, such as that of a
// parent proxy: the administrator named it, so no rule need permit it, and no
// address is judged. Never call it with a name that came from a client. IPv4
// stands first; IPv6 is asked for only where there is none.
func (r *Resolver) Addresses(ctx context.Context, name string) (list []netip.Addr, err error) {
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		f, failed := r.lookup(ctx, question{name, qtype})
		if failed != nil {
			err = failed
			continue
		}
		for _, a := range f.addresses {
			list = append(list, a.addr)
		}
		if len(list) > 0 {
			return list, nil
		}
	}
	return nil, err
}
