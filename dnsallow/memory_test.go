package dnsallow

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// What the filter adds to the live heap: the list of names, the cache and what
// lies ready for clients, with ten names and empty, and with 100,000 names, a full
// default cache and a full shelf. The cache's own reckoning must be true, or its
// bound is none.
func TestTheMemoryOfTheFilterIsBounded(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		names int
		full  bool
		most  uint64
	}{{10, false, 12 * mib}, {100_000, true, 48 * mib}} {
		t.Run(fmt.Sprintf("%d names", c.names), func(t *testing.T) {
			up := nettest.NewDNS(t, schoolZone...)
			before := liveHeap()
			live := new(policy.Live)
			live.Swap(crowded(t, c.names))
			clock := newClock()
			r := resolverTo(t, up, clock, func(rc *ResolverConfig) { rc.CacheBytes = 16 << 20 })
			s := NewServer(ServerConfig{PerClient: 1 << 40}, ServerDeps{Live: live, Resolver: r, Sink: nobody{}, Now: clock.Now})
			if c.full {
				names := liveHeap()
				fillCache(t, r)
				require.InEpsilon(t, r.cache.size, liveHeap()-names, 0.25, "the cache is as large as it says")
				fillShelf(t, s)
			}
			taken := liveHeap() - before
			t.Logf("%.1f MiB live, %d questions cached", float64(taken)/mib, r.CacheEntries())
			require.Less(t, taken, c.most)
			runtime.KeepAlive(s)
		})
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one made free of finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fillCache fills the cache with chains like those of Service Bus.
func fillCache(t *testing.T, r *Resolver) {
	for i := 0; ; i++ {
		before := r.cache.size
		q := question{fmt.Sprintf("g%d-prod-db3-%d-sb.servicebus.windows.net", i%128, i), dns.TypeA}
		aliases := []policy.Host{host(t, fmt.Sprintf("ns-sb2-prod-db3-%d.trafficmanager.net", i)), host(t, fmt.Sprintf("ns-sb2-prod-db3-%d-s1.cloudapp.net", i))}
		r.cache.put(q, &facts{
			aliases: aliases, aliasTTLs: make([]time.Duration, 2), addresses: []address{{netip.MustParseAddr("13.74.107.71"), ttlFloor}},
			stored: r.now(), ttl: ttlCeiling,
		})
		if r.cache.size <= before {
			return // what is new pushes out what is old
		}
	}
}

// fillShelf has many clients told many things.
func fillShelf(t *testing.T, s *Server) {
	for c := range 64 {
		from := &net.UDPAddr{IP: net.IPv4(10, 20, 0, byte(c)), Port: 4711}
		for n := range 192 {
			s.respond(t.Context(), packed(t, query(fmt.Sprintf("n%d.refused.example.", n), dns.TypeA)), from, false)
		}
	}
}
