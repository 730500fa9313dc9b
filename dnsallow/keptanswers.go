package dnsallow

import (
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Kept is what the resolver keeps of a name, for people to look at: addresses as
// upstream gave them, whatever a policy says to them.
type Kept struct {
	Aliases   []string
	Addresses []netip.Addr
	Until     time.Time // when it has to be asked for again
}

// Kept gives what is kept of a name now. ok is false where nothing is. It counts
// as no question: nothing is kept for longer because somebody looked.
func (r *Resolver) Kept(name string, now time.Time) (k Kept, ok bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		f := r.cache.old(question{name, qtype}, now)
		if f == nil || f.failure != nil || f.expired(now) {
			continue
		}
		if until := f.stored.Add(f.ttl); !ok || until.Before(k.Until) {
			k.Until = until
		}
		if ok = true; k.Aliases == nil {
			for _, a := range f.aliases {
				k.Aliases = append(k.Aliases, a.Name())
			}
		}
		for _, a := range f.addresses {
			k.Addresses = append(k.Addresses, a.addr)
		}
	}
	return k, ok
}
