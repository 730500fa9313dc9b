package dnsallow

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

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
func crowded(b testing.TB, names int) *policy.Policy {
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

// askServer is a server of a wildcard whose upstream knows every name, and whose
// decisions are written down as JSON.
func askServer(b *testing.B) *Server {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(b, err)
	ended := make(chan struct{})
	go func() { defer close(ended); sayOneAddress(conn) }()
	b.Cleanup(func() { conn.Close(); <-ended })

	live := new(policy.Live)
	live.Swap(compile(b, allow(b, "wild", "*.example.org")))
	r := NewResolver(ResolverConfig{
		Upstreams: []Upstream{upstream(b, conn.LocalAddr().String())}, CacheBytes: 16 << 20, NewNames: 1 << 40,
	}, ResolverDeps{Observe: func(string, time.Duration, error) {}})
	b.Cleanup(r.Close)
	log := flow.NewLog(flow.LogConfig{Out: io.Discard})
	written, stop := context.WithCancel(context.Background())
	logged := make(chan struct{})
	go func() { defer close(logged); log.Run(written) }()
	b.Cleanup(func() { stop(); <-logged })
	return NewServer(ServerConfig{PerClient: 1 << 40}, ServerDeps{Live: live, Resolver: r, Sink: log})
}

// BenchmarkAsk measures one question that an upstream has to be asked for, from
// packet to packet, but for the socket of the client: as it goes over TCP.
func BenchmarkAsk(b *testing.B) {
	s := askServer(b)
	from := &net.UDPAddr{IP: loopback.AsSlice(), Port: 4711}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		packet := packed(b, query(fmt.Sprintf("n%d.example.org.", n), dns.TypeA))
		if reply := s.respond(b.Context(), packet, from, false); reply == nil || reply[7] != 1 {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkPost measures one such question as it goes over UDP, by post, with the
// socket of the client.
func BenchmarkPost(b *testing.B) {
	s := askServer(b)
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(b, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, []*net.UDPConn{socket}, nil) }()
	b.Cleanup(func() { stop(); require.NoError(b, <-ended) })
	client, err := net.DialUDP("udp4", nil, socket.LocalAddr().(*net.UDPAddr))
	require.NoError(b, err)
	b.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(time.Minute))
	packet, buf := packed(b, query("n00000000.example.org.", dns.TypeA)), make([]byte, payload)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		for i, digit := 0, n; i < 8; i, digit = i+1, digit/10 {
			packet[headerBytes+2+i] = byte('0' + digit%10)
		}
		if _, err := client.Write(packet); err != nil {
			b.Fatal(err)
		}
		if n, err := client.Read(buf); err != nil || n < headerBytes || buf[7] != 1 {
			b.Fatal("no answer: ", err)
		}
	}
}

// sayOneAddress answers every question with the same address, until conn is
// closed.
func sayOneAddress(conn *net.UDPConn) {
	buf, reply := make([]byte, payload), make([]byte, 0, payload)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		reply = append(reply[:0], buf[:questionEnd(buf[:n])]...)
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 13, 74, 107, 71)
		reply[2], reply[3] = 0x81, 0x80
		copy(reply[6:], []byte{0, 1, 0, 0, 0, 0})
		conn.WriteToUDPAddrPort(reply, from)
	}
}
