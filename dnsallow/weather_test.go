package dnsallow

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// Upstreams fail and recover, rules are reloaded and time passes while many
// clients ask: each question has an answer and is counted, and nobody is given
// an address that the rules refuse.
func TestMixedLoadThroughBadWeatherLosesNothing(t *testing.T) {
	first, second := nettest.NewDNS(t, schoolZone...), nettest.NewDNS(t, schoolZone...)
	book := new(counting)
	w := open(t, first, schoolRules(t), func(c *ServerConfig, d *ServerDeps) {
		c.PerClient, d.Sink = 1<<40, book
		d.Resolver = NewResolver(ResolverConfig{
			Upstreams:  []Upstream{upstream(t, first.Addr), upstream(t, second.Addr)},
			CacheBytes: 1 << 20, NewNames: 1 << 40, Try: time.Second, Hedge: 20 * time.Millisecond,
		}, ResolverDeps{Now: d.Now})
		t.Cleanup(d.Resolver.Close)
	})
	names := []string{"www.groupcall.co.uk.", "emergeen.servicebus.windows.net.", "west.servicebus.windows.net.", "none.groupcall.co.uk.", "other.servicebus.windows.net."}
	const clients, each = 8, 120
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			from := &net.UDPAddr{IP: net.IPv4(10, 20, byte(c), 5), Port: 4711}
			for i := range each {
				packet := packed(t, query(names[(i+c)%len(names)], dns.TypeA))
				reply := w.again(nil, packet, from.AddrPort().Addr())
				if reply == nil {
					reply = w.respond(t.Context(), packet, from, i%7 == 0)
				}
				m := new(dns.Msg)
				if reply == nil || m.Unpack(reply) != nil {
					t.Error("a question without an answer")
					return
				}
				for _, a := range answers(m) {
					if a == "A 13.69.64.65" || a == "A 10.0.0.5" {
						t.Error("an address that no rule permits: ", a)
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	var weather sync.WaitGroup
	weather.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			h := []dns.HandlerFunc{nettest.Rcode(dns.RcodeServerFailure), nil, nettest.Silence, nil}[i%4]
			for _, name := range names {
				first.Handle(name, h)
			}
			w.clock.Advance(2 * time.Second)
			w.live.Swap(schoolRules(t))
		}
	})
	all.Wait()
	close(stop)
	weather.Wait()
	w.stop()
	require.Equal(t, clients*each, book.count())
	lines := 0
	for _, r := range book.all() {
		lines += max(1, r.Repeats)
		require.NotEqual(t, policy.NoPolicy.String(), r.Verdict.Reason.String(), fmt.Sprint(r))
	}
	require.Equal(t, clients*each, lines)
}
