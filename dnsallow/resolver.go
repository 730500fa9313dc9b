package dnsallow

import (
	"context"
	"crypto/x509"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"gatehouse/policy"
)

// ResolverConfig is how names are resolved. Its zero value answers no name,
// for no upstream is named.
type ResolverConfig struct {
	// Upstreams are asked in turn, each twice at most, until SetUpstreams names others.
	Upstreams []Upstream
	// Zones are asked of servers of their own.
	Zones []Zone
	// Hosts are names answered from the configuration; nobody is asked for them.
	Hosts map[policy.Host][]netip.Addr
	// CacheBytes bounds the cache; 0: nothing is kept.
	CacheBytes int64
	// NewNames is how many look-ups of names that are not in the cache one client
	// may cause in a minute under the wildcards of one rule (0: 300). Names that
	// rules list in full do not count; without a cache every look-up does.
	NewNames int
	// Try bounds one attempt to ask an upstream (0: 1.5 s), Total all attempts
	// for one name, its aliases included (0: 5 s).
	Try, Total time.Duration
	// Hedge is after how long without an answer the next upstream is asked
	// besides (0: 300 ms).
	Hedge time.Duration
	// Roots are who may vouch for upstreams that are asked over TLS; nil: whom
	// the system trusts.
	Roots *x509.CertPool
}

// Zone is a domain, and all names below it, that other servers know.
type Zone struct {
	Name    policy.Host
	Servers []Upstream
}

// ResolverDeps is what a Resolver needs from its surroundings.
type ResolverDeps struct {
	Now     func() time.Time // nil: time.Now
	Observe Observer         // nil: nobody is told of upstream attempts
}

// holds reports whether a lower-case name is the zone's apex or below it.
func (z *Zone) holds(name string) bool {
	apex := z.Name.Name()
	return name == apex || strings.HasSuffix(name, "."+apex)
}

// Resolver resolves names for everybody who holds a permit. It is safe for
// concurrent use. Its only goroutines are those of connections to upstreams that
// are asked over HTTPS, and those that renew answers; Close ends them.
type Resolver struct {
	config    ResolverConfig
	now       func() time.Time
	exchanger exchanger
	upstreams atomic.Pointer[[]Upstream]
	hosts     map[string][]netip.Addr // of the configuration, by lower-case name

	cache   *cache
	flights flights
	tunnels pace[wildcard]

	renewing sync.WaitGroup
	renewals atomic.Int32
}

const (
	defaultTry   = 1500 * time.Millisecond
	defaultTotal = 5 * time.Second
	defaultHedge = 300 * time.Millisecond
	// defaultNewNames leaves room for the 128 gateways of a Service Bus namespace,
	// each asked for twice.
	defaultNewNames = 300
	// hostTTL is what names of the configuration are answered with: a change
	// of the file is to be seen soon.
	hostTTL = 60 * time.Second
	// failureTTL is for how long a failure is kept (RFC 9520, section 3.2: at
	// least one second).
	failureTTL = time.Second
)

// NewResolver makes a resolver. It keeps c.
func NewResolver(c ResolverConfig, d ResolverDeps) *Resolver {
	if c.Try == 0 {
		c.Try = defaultTry
	}
	if c.Total == 0 {
		c.Total = defaultTotal
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	hosts := make(map[string][]netip.Addr, len(c.Hosts))
	for h, list := range c.Hosts {
		hosts[h.Name()] = list
	}
	r := &Resolver{
		config: c, now: d.Now, hosts: hosts, cache: newCache(c.CacheBytes),
		tunnels: pace[wildcard]{limit: orElse(c.NewNames, defaultNewNames), window: time.Minute},
		exchanger: exchanger{
			try: c.Try, total: c.Total, hedge: orElse(c.Hedge, defaultHedge), observe: d.Observe, now: d.Now,
			lines: lines{roots: c.Roots},
		},
	}
	r.SetUpstreams(c.Upstreams)
	return r
}

// SetUpstreams has list, which is kept, asked from now on in place of
// ResolverConfig.Upstreams. What is being asked is asked to its end, and what the
// cache holds stays. An empty list answers no name that the cache does not hold.
func (r *Resolver) SetUpstreams(list []Upstream) { r.upstreams.Store(&list) }

// Close hangs up the lines to upstreams that are asked over TLS, and waits for
// answers that are being renewed, Total at most. Call it when nobody resolves any
// more.
func (r *Resolver) Close() {
	r.renewing.Wait()
	r.exchanger.lines.close()
}

// CacheEntries is how many questions the cache holds answers to.
func (r *Resolver) CacheEntries() int { return r.cache.len() }

// CacheHits is how many questions were answered from the cache since the start.
func (r *Resolver) CacheHits() uint64 { return r.cache.hits.Load() }

// lookup says what upstream says about q, from the cache where it still holds.
// It judges nothing: whoever calls it has a permit that led to q.
func (r *Resolver) lookup(ctx context.Context, q question) (*facts, error) {
	if f := r.home(q); f != nil {
		return f, nil
	}
	if f := r.kept(q); f != nil {
		r.cache.hits.Add(1)
		return f, f.failure
	}
	return r.flights.do(ctx, q, r.fetch)
}

// kept is what the cache holds of q, nil where it holds nothing. What is soon to
// expire is renewed for whoever comes later.
func (r *Resolver) kept(q question) *facts {
	f, ripe := r.cache.get(q, r.now())
	if ripe {
		r.renew(q)
	}
	return f
}

// maxRenewals bounds how many answers are renewed at once.
const maxRenewals = 32

// renew asks upstream for what is about to expire, besides those who still use
// it. Where that fails, whoever comes next asks for himself.
func (r *Resolver) renew(q question) {
	if r.renewals.Add(1) > maxRenewals {
		r.renewals.Add(-1)
		return
	}
	r.renewing.Go(func() {
		defer r.renewals.Add(-1)
		defer func() { recover() }() // an answer that nobody waits for must not end the gate
		if f, err := r.flights.do(context.Background(), q, r.refetch); err == nil {
			r.cache.put(q, f)
		}
	})
}

func (r *Resolver) refetch(ctx context.Context, q question) (*facts, error) {
	return r.inquire(ctx, q, false, nil)
}

// fetch asks upstream and keeps the answer.
func (r *Resolver) fetch(ctx context.Context, q question) (*facts, error) {
	return r.fetchBy(ctx, q, nil)
}

// fetchBy does the same from where posted has been waited for in vain; nil:
// nobody has been asked.
func (r *Resolver) fetchBy(ctx context.Context, q question, posted *letter) (*facts, error) {
	if f, _ := r.cache.get(q, r.now()); f != nil { // somebody else's flight has just landed
		r.cache.hits.Add(1)
		return f, f.failure
	}
	old := r.cache.old(q, r.now())
	f, err := r.inquire(ctx, q, old != nil, posted)
	switch {
	case err == nil:
	case gaveUp(ctx):
		return nil, err
	case old != nil:
		f, err = old.again(r.now()), nil
	default:
		r.failed(q, err)
		return nil, err
	}
	r.cache.put(q, f)
	return f, nil
}

// failed keeps a failure for a moment.
func (r *Resolver) failed(q question, err error) {
	r.cache.put(q, &facts{failure: err, stored: r.now(), ttl: failureTTL})
}

// byPost is whom q may be sent to without waiting. ok is false where nothing would
// be kept of the answer, where something older could be served instead, and where
// whoever is to be asked first is not asked over UDP.
func (r *Resolver) byPost(q question) (u Upstream, ok bool) {
	if r.config.CacheBytes == 0 || r.home(q) != nil || r.cache.old(q, r.now()) != nil {
		return Upstream{}, false
	}
	order := r.exchanger.health.order(*r.upstreams.Load(), r.now())
	if len(order) == 0 || order[0].how != overUDPFirst || order[0].addr.Addr().Zone() != "" {
		return Upstream{}, false
	}
	return order[0], true
}

// keep reads and keeps a reply that came by post.
func (r *Resolver) keep(q question, reply *dns.Msg) (*facts, error) {
	f, err := collect(reply, q, r.now())
	if err != nil {
		r.failed(q, err)
		return nil, err
	}
	r.cache.put(q, f)
	return f, nil
}

// inquire asks upstream; in haste where there is something to fall back on.
func (r *Resolver) inquire(ctx context.Context, q question, haste bool, posted *letter) (*facts, error) {
	if haste {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, staleWait)
		defer cancel()
	}
	var reply *dns.Msg
	var err error
	if posted != nil {
		reply, err = r.exchanger.goOn(ctx, r.servers(q.name), q, posted)
	} else {
		reply, err = r.exchanger.ask(ctx, r.servers(q.name), q)
	}
	if err != nil {
		return nil, err
	}
	return collect(reply, q, r.now())
}

// servers are who is asked about a name: those of the longest zone it is in.
func (r *Resolver) servers(name string) []Upstream {
	if z := r.zone(name); z != nil {
		return z.Servers
	}
	return *r.upstreams.Load()
}

func (r *Resolver) zone(name string) *Zone {
	var best *Zone
	for i := range r.config.Zones {
		z := &r.config.Zones[i]
		if z.holds(name) && (best == nil || len(z.Name.Name()) > len(best.Name.Name())) {
			best = z
		}
	}
	return best
}

// owns reports whether the appliance itself has something to say about a name, or
// knows whom to ask besides the upstreams.
func (r *Resolver) owns(name string) bool {
	_, ok := r.hosts[name]
	return ok || r.zone(name) != nil
}

// configured answers names of the configuration, nil for all others.
func (r *Resolver) configured(q question) *facts {
	list, ok := r.hosts[q.name]
	if !ok {
		return nil
	}
	f := &facts{stored: r.now(), ttl: hostTTL}
	for _, a := range list {
		if a.Is4() && q.qtype == dns.TypeA || a.Is6() && q.qtype == dns.TypeAAAA {
			f.addresses = append(f.addresses, address{a, hostTTL})
		}
	}
	return f
}
