package dnsallow

import (
	"fmt"
	"net"
	"testing"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// nobody is a sink that keeps nothing.
type nobody struct{}

func (nobody) Record(*flow.Record) {}

// crowded is the school's rules among so many other names.
func crowded(b *testing.B, names int) *policy.Policy {
	r := allow(b, "crowd", "www.example.org")
	for i := range names {
		r.Hosts = append(r.Hosts, hosts(b, fmt.Sprintf("host-%d.example.net", i))...)
	}
	return compile(b, r, allow(b, "bus", "emergeen.servicebus.windows.net", into(northEurope)))
}

// The packets of the benchmarks: a cached Service Bus chain and a refused name.
func questions(b *testing.B) map[string][]byte {
	return map[string][]byte{
		"cached":  packed(b, query("emergeen.servicebus.windows.net.", dns.TypeA)),
		"refused": packed(b, query("other.servicebus.windows.net.", dns.TypeA)),
	}
}

func benchServer(b *testing.B, names int) *Server {
	live := new(policy.Live)
	live.Swap(crowded(b, names))
	return NewServer(ServerConfig{PerClient: 1 << 40}, ServerDeps{
		Live: live, Resolver: resolverTo(b, nettest.NewDNS(b, schoolZone...), newClock()), Sink: nobody{}, Now: newClock().Now,
	})
}

// BenchmarkRespond measures one question judged anew, from packet to packet,
// without sockets.
func BenchmarkRespond(b *testing.B) {
	s := benchServer(b, 10)
	from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
	for name, packet := range questions(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if s.respond(b.Context(), packet, from, false) == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// BenchmarkAgain measures one question that the client was answered before.
func BenchmarkAgain(b *testing.B) {
	for _, names := range []int{10, 100_000} {
		s := benchServer(b, names)
		out := make([]byte, 0, payload)
		for name, packet := range questions(b) {
			require.NotNil(b, s.respond(b.Context(), packet, &net.UDPAddr{IP: loopback.AsSlice()}, false))
			b.Run(fmt.Sprintf("%s/%d", name, names), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if s.again(out, packet, loopback) == nil {
						b.Fatal("no answer")
					}
				}
			})
		}
	}
}

// BenchmarkNewNames measures refused names that come once each.
func BenchmarkNewNames(b *testing.B) {
	for _, names := range []int{10, 100_000} {
		s := benchServer(b, names)
		from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
		b.Run(fmt.Sprint(names), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				packet := packed(b, query(fmt.Sprintf("n%d.refused.example.", n), dns.TypeA))
				if s.again(nil, packet, loopback) != nil || s.respond(b.Context(), packet, from, false) == nil {
					b.Fatal("no answer")
				}
			}
		})
	}
}

// BenchmarkResolve measures what every proxied request asks: where a name leads
// whose addresses of both families are known.
func BenchmarkResolve(b *testing.B) {
	clock := newClock()
	up := nettest.NewDNS(b, append([]string{"www.example.org. 300 IN A 93.184.216.34"}, schoolZone...)...)
	r := resolverTo(b, up, clock)
	p := crowded(b, 10)
	for what, name := range map[string]string{"one address": "www.example.org", "Service Bus chain": "emergeen.servicebus.windows.net"} {
		permit := permit(b, p, loopback, name, 443, clock.Now())
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if permits, _, err := r.Resolve(b.Context(), permit); err != nil || len(permits) == 0 {
					b.Fatal("no address: ", err)
				}
			}
		})
	}
}
