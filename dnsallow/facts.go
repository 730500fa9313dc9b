package dnsallow

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// Bounds of what one answer may hold.
const (
	maxLinks     = 16 // real Service Bus chains have 3
	maxAddresses = 64
)

// Bounds of how long an answer is relied upon. Service Bus chains come with 9
// seconds, so the floor stays below; and names of Service Bus gateways that do
// not exist today may be added at any time, so a no is never kept for long.
const (
	ttlFloor    = 5 * time.Second
	ttlCeiling  = time.Hour
	ttlNegative = 60 * time.Second
)

// facts is what upstream said about one question, as it was said: nothing in it
// is judged. It is immutable.
type facts struct {
	aliases   []policy.Host   // where the alias chain leads: each name from the one before
	aliasTTLs []time.Duration // of each
	addresses []address
	// failure: upstream gave no usable answer; nothing else is filled in.
	failure error
	stored  time.Time
	// ttl is how long the whole may be kept: the least of all its parts.
	ttl time.Duration

	nxdomain bool
	// open: the alias chain ends at a name of which upstream said nothing.
	open bool
	// stale: it had expired, and is used for want of an upstream that answers;
	// silent is for how long none had when it was stored, in milliseconds. (There
	// are tens of thousands of facts: with a moment here each would be larger by a
	// fifth.)
	stale  bool
	silent int32
}

type address struct {
	addr netip.Addr
	ttl  time.Duration
}

// age is for how long the facts have been kept.
func (f *facts) age(now time.Time) time.Duration { return max(0, now.Sub(f.stored)) }

func (f *facts) expired(now time.Time) bool { return f.age(now) >= f.ttl }

// Serving what has expired (RFC 8767, section 5): for a day, with a lifetime of
// half a minute in the reply, asking upstream again after a while, and without
// keeping the client waiting for long.
const (
	staleFor   = 24 * time.Hour
	staleTTL   = 30 * time.Second
	staleRetry = 10 * time.Second
	staleWait  = 1800 * time.Millisecond
)

// spoiled reports whether the facts must not be used at all any more.
func (f *facts) spoiled(now time.Time) bool {
	if f.failure != nil {
		return f.expired(now)
	}
	if f.stale {
		return now.Sub(f.stored)+f.silence() >= staleFor
	}
	return f.age(now) >= max(f.ttl, staleFor)
}

func (f *facts) silence() time.Duration { return time.Duration(f.silent) * time.Millisecond }

// ripeAt is when facts are to be renewed, if anybody asks for them: in the last
// tenth of their time, so that nobody has to wait for an upstream.
func (f *facts) ripeAt() time.Time { return f.stored.Add(f.ttl - f.ttl/10) }

// renewable reports whether renewing the facts before they expire is worth an
// upstream question: they say yes, and were not served for want of a better.
func (f *facts) renewable() bool { return f.failure == nil && !f.stale && len(f.addresses) > 0 }

// again is expired facts made ready for another moment's use.
func (f *facts) again(now time.Time) *facts {
	old := *f
	old.silent = int32(min(f.silence()+f.age(now), staleFor) / time.Millisecond)
	old.stale, old.stored, old.ttl = true, now, staleRetry
	old.aliasTTLs, old.addresses = slices.Clone(f.aliasTTLs), slices.Clone(f.addresses)
	for i := range old.aliasTTLs {
		old.aliasTTLs[i] = staleTTL
	}
	for i := range old.addresses {
		old.addresses[i].ttl = staleTTL
	}
	return &old
}

// collect reads the facts out of a reply to q. It starts at the question's name
// and follows the aliases; a record whose owner is not on that path was not
// asked for and does not count, whatever it says. A chain that loops, is longer
// than maxLinks or leads through something that is no host name is an error.
func collect(reply *dns.Msg, q question, now time.Time) (*facts, error) {
	f := &facts{stored: now, ttl: ttlCeiling}
	name := q.name
	for {
		target := aliasOf(reply.Answer, name)
		if target == nil {
			break
		}
		host, err := targetOf(target)
		if err != nil {
			return nil, err
		}
		if len(f.aliases) == maxLinks {
			return nil, invalidError("its alias chain is too long, or a loop")
		}
		ttl := clamp(seconds(target.Hdr.Ttl))
		f.aliases, f.aliasTTLs = append(f.aliases, host), append(f.aliasTTLs, ttl)
		f.ttl = min(f.ttl, ttl)
		name = host.Name()
	}
	if reply.Rcode != dns.RcodeNameError { // an address of what does not exist is none
		f.take(reply.Answer, name, q.qtype)
	}
	if len(f.addresses) == 0 {
		f.conclude(reply)
	}
	return f, nil
}

// take reads the addresses that a name has in an answer section.
func (f *facts) take(section []dns.RR, name string, qtype uint16) {
	for _, rr := range section {
		a, ok := addressOf(rr)
		switch {
		case !ok, !owns(name, rr), rr.Header().Rrtype != qtype, len(f.addresses) == maxAddresses:
			continue
		case slices.ContainsFunc(f.addresses, func(known address) bool { return known.addr == a }):
			continue // RFC 2181, section 5
		}
		ttl := clamp(seconds(rr.Header().Ttl))
		f.addresses = append(f.addresses, address{a, ttl})
		f.ttl = min(f.ttl, ttl)
	}
}

// conclude reads a reply without addresses: the name does not exist, has none,
// or (an alias whose target upstream did not look up) nothing is known yet. How
// long a no holds is RFC 2308, section 5: the lesser of the SOA's own TTL and
// its minimum; without an SOA it is hardly kept.
func (f *facts) conclude(reply *dns.Msg) {
	f.nxdomain = reply.Rcode == dns.RcodeNameError
	ttl, ok := ttlFloor, false
	for _, rr := range reply.Ns {
		if soa, is := rr.(*dns.SOA); is {
			ttl, ok = min(seconds(soa.Hdr.Ttl), seconds(soa.Minttl)), true
		}
	}
	if len(f.aliases) > 0 && !f.nxdomain && !ok {
		f.open = true
		return
	}
	f.ttl = min(f.ttl, clamp(ttl), ttlNegative)
}

// aliasOf is the alias that a name has in an answer section, nil where it has
// none. Of two of them (RFC 1034 forbids that) the first counts.
func aliasOf(section []dns.RR, name string) *dns.CNAME {
	for _, rr := range section {
		if c, ok := rr.(*dns.CNAME); ok && owns(name, rr) {
			return c
		}
	}
	return nil
}

// owns reports whether a record of class IN belongs to a name, which is in lower
// case and has no trailing dot.
func owns(name string, rr dns.RR) bool {
	h := rr.Header()
	return h.Class == dns.ClassINET && strings.EqualFold(strings.TrimSuffix(h.Name, "."), name)
}

// addressOf is the address in a record, exactly as it stands there: an IPv4
// address dressed as IPv6 in an AAAA stays what it is, for the policy to refuse.
func addressOf(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		return netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		return netip.AddrFromSlice(rr.AAAA.To16())
	}
	return netip.Addr{}, false
}

func targetOf(c *dns.CNAME) (policy.Host, error) {
	h, err := policy.ParseHost(c.Target)
	if err != nil || h.IsIP() {
		return policy.Host{}, invalidError("an alias leads to something that is no host name")
	}
	return h, nil
}

// seconds reads a TTL; one with the top bit set is none (RFC 2181, section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func clamp(ttl time.Duration) time.Duration { return min(max(ttl, ttlFloor), ttlCeiling) }
