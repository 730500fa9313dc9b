package dnsallow

import (
	"net"
	"testing"

	"github.com/miekg/dns"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// nobody is a sink that keeps nothing.
type nobody struct{}

func (nobody) Record(*flow.Record) {}

// BenchmarkRespond measures one question from packet to packet, without sockets.
func BenchmarkRespond(b *testing.B) {
	live := new(policy.Live)
	live.Swap(schoolRules(b))
	s := NewServer(ServerConfig{}, ServerDeps{
		Live: live, Resolver: resolverTo(b, nettest.NewDNS(b, schoolZone...), newClock()), Sink: nobody{},
	})
	from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
	for name, packet := range map[string][]byte{
		"cached":  packed(b, query("emergeen.servicebus.windows.net.", dns.TypeA)),
		"refused": packed(b, query("other.servicebus.windows.net.", dns.TypeA)),
	} {
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
