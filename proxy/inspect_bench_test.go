package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// What looking inside TLS costs. Client and origin, which do as much TLS as the
// gate, are in the figures here as in the other benchmarks.

// benchInspecting is a gate that looks inside TLS, in front of an origin.
func benchInspecting(b *testing.B) (addr, site string) {
	poisonHeads = false
	b.Cleanup(func() { poisonHeads = true })
	plain := benchOrigin(b, "\r\n\r\n", benchAnswer)
	_, port := nettest.Veil(b, originTLS(b), fmt.Sprintf("127.0.0.1:%d", plain))
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{insideTLS.allow(www, port)}, Inspection: true, TreatAsPublic: []netip.Prefix{loopback}})
	if err != nil {
		b.Fatal(err)
	}
	live := &policy.Live{}
	live.Swap(p)
	s := New(Config{Roots: originAuthority(b).Roots}, Deps{Policy: live, Resolver: knownAddress{}})
	if err := s.Inspect(inspectionCA()); err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(context.Background(), ln) })
	b.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(now)
		serving.Wait()
	})
	return ln.Addr().String(), fmt.Sprintf("%s:%d", www, port)
}

// openInspected opens a tunnel and shakes hands in it.
func openInspected(b *testing.B, addr, site string, config *tls.Config) *tls.Conn {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site)
	const established = len("HTTP/1.1 200 Connection established\r\n\r\n")
	for n, buf := 0, make([]byte, established); n < established; {
		m, err := conn.Read(buf[n:])
		if err != nil {
			b.Fatal(err)
		}
		n += m
	}
	secure := tls.Client(conn, config)
	if err := secure.Handshake(); err != nil {
		b.Fatal(err)
	}
	return secure
}

func inspectedRequest(site string) []byte {
	return fmt.Appendf(nil, "GET /a.css HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", site)
}

func BenchmarkInspectedGETKeptAlive(b *testing.B) {
	addr, site := benchInspecting(b)
	request, config := inspectedRequest(site), clientTLS(site)
	measure(b, func(pb *testing.PB) {
		conn := openInspected(b, addr, site, config)
		defer conn.Close()
		in := bufio.NewReader(conn)
		for pb.Next() {
			askOnce(b, conn, in, request)
		}
	})
}

// A whole tunnel: CONNECT, the client's full handshake, one request on a kept
// connection to the origin, close.
func BenchmarkInspectedTunnel(b *testing.B) {
	addr, site := benchInspecting(b)
	request, config := inspectedRequest(site), clientTLS(site)
	measure(b, func(pb *testing.PB) {
		for pb.Next() {
			conn := openInspected(b, addr, site, config)
			askOnce(b, conn, bufio.NewReader(conn), request)
			conn.Close()
		}
	})
}
