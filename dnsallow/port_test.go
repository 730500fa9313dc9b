package dnsallow

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// Both ways of answering, on every kind of socket: the first question is judged,
// the second is answered on the spot.
func TestEveryKindOfSocketAnswersFromWhereItWasAsked(t *testing.T) {
	for what, c := range map[string]struct{ listen, ask string }{
		"one address, IPv4":             {"127.0.0.1", "127.0.0.1"},
		"one address, IPv6":             {"::1", "::1"},
		"every address, IPv4":           {"0.0.0.0", "127.0.0.3"},
		"every address, IPv6":           {"::", "::1"},
		"every address, IPv4 over IPv6": {"::", "127.0.0.3"},
	} {
		t.Run(what, func(t *testing.T) {
			up := nettest.NewDNS(t, schoolZone...)
			live, book, clock := new(policy.Live), new(counting), newClock()
			live.Swap(schoolRules(t))
			s := NewServer(ServerConfig{}, ServerDeps{Live: live, Resolver: resolverTo(t, up, clock), Sink: book, Now: clock.Now})
			socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(c.listen)})
			if err != nil && c.listen != "127.0.0.1" && c.listen != "0.0.0.0" {
				t.Skip("this machine has no IPv6: ", err)
			}
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, []*net.UDPConn{socket}, nil) }()
			conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(c.ask), Port: socket.LocalAddr().(*net.UDPAddr).Port})
			require.NoError(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			for range 3 {
				m := query("www.groupcall.co.uk.", dns.TypeA)
				_, err := conn.Write(packed(t, m))
				require.NoError(t, err)
				buf := make([]byte, payload)
				n, err := conn.Read(buf) // a connected socket hears nobody else
				require.NoError(t, err)
				reply := new(dns.Msg)
				require.NoError(t, reply.Unpack(buf[:n]))
				require.Equal(t, m.Id, reply.Id)
				require.Equal(t, []string{"A 51.140.10.10"}, answers(reply))
			}
			cancel()
			require.NoError(t, <-done)
			require.Equal(t, 3, book.count())
			lines := book.all()
			require.Len(t, lines, 2)
			require.Equal(t, 2, lines[1].Repeats)
			require.True(t, lines[0].Client.IsLoopback())
		})
	}
}
