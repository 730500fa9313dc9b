package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// book is what the filter answered, by address.
type book map[string][]string

func (b book) Names(_, addr netip.Addr, _ time.Time) (names []policy.Host) {
	for _, n := range b[addr.String()] {
		h, err := policy.ParseHost(n)
		if err != nil {
			panic(err)
		}
		names = append(names, h)
	}
	return names
}

// newGateway is a gate with a gateway port, to which tests come as a load balancer
// does: what the kernel says of a redirected connection needs root, and is tested
// in network namespaces.
func newGateway(t *testing.T, o options, rules ...policy.Rule) (g *gate, addr string) {
	t.Helper()
	g = newGate(t, o, rules...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		g.server.ServeGateway(context.Background(), ln, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	})
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	return g, ln.Addr().String()
}

// come connects as client, who wanted to go to an address.
func come(t *testing.T, gateway, to string) *nettest.Peer {
	t.Helper()
	at := netip.MustParseAddrPort(to)
	return nettest.Dial(t, gateway).Say("PROXY TCP4 127.0.0.9 %s 40000 %d\r\n", at.Addr(), at.Port())
}

// broken waits until the connection has been reset. An orderly end is none.
func broken(t *testing.T, c *nettest.Peer) {
	t.Helper()
	rest, err := c.Ended()
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Empty(t, rest)
}

func to(addr string, port int) string { return fmt.Sprintf("%s:%d", addr, port) }

// refusedAs waits for the entry of a connection that was reset.
func (g *gate) refusedAs(t *testing.T, c *nettest.Peer, reason policy.Reason, host string) *flow.Record {
	t.Helper()
	broken(t, c)
	r := g.entry()
	require.Equal(t, policy.Gateway, r.Surface)
	require.Equal(t, reason.String(), r.Verdict.Reason.String())
	require.Equal(t, policy.Deny, r.Verdict.Effect)
	require.Equal(t, host, r.Host)
	require.Equal(t, "refused", r.End)
	require.Zero(t, r.Status)
	return r
}

const bus = "bus.example.org"

func TestARedirectedConnectionToATCPPortGoesByWhatTheClientWasTold(t *testing.T) {
	o := nettest.NewOrigin(t)
	rules := []policy.Rule{allow(bus, o.Port, rawTCP), allow("over.example.org", o.Port, rawTCP, func(r *policy.Rule) { r.Until = time.Now().Add(-time.Hour) })}
	for _, test := range []struct {
		name string
		book book
		to   string
	}{
		{"one permitted name", book{"127.0.0.1": {bus}}, "127.0.0.1"},
		{"one permitted name among others", book{"127.0.0.1": {"other.example.org", "over.example.org", bus}}, "127.0.0.1"},
		{"an address that the name has rotated away from: another one that is judged", book{"127.0.0.77": {bus}}, "127.0.0.77"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, gateway := newGateway(t, options{deps: Deps{Told: test.book}}, rules...)
			c := come(t, gateway, to(test.to, o.Port)).Say("ping") // the origin may also be the one who speaks first
			s := o.Take(t).Expect("ping").Say("pong")
			c.Expect("pong").Close()
			s.Ended()
			s.Close()
			r := g.entry()
			require.Equal(t, policy.Gateway, r.Surface)
			require.Equal(t, "127.0.0.9", r.Client.String())
			require.Equal(t, bus, r.Host, "the name that was permitted")
			require.EqualValues(t, o.Port, r.Port)
			require.Equal(t, "127.0.0.1", r.IP.String(), "an address that the name leads to now")
			require.Equal(t, policy.TCP, r.Protocol)
			require.Equal(t, policy.Matched, r.Verdict.Reason)
			require.EqualValues(t, []int64{4, 4}, []int64{r.Sent, r.Received})
			require.Equal(t, "client-closed", r.End)
		})
	}
	for _, test := range []struct {
		name   string
		book   book
		reason policy.Reason
		host   string
	}{
		{"nobody was told the address", book{}, policy.HostNotListed, "127.0.0.1"},
		{"a name that no rule lists", book{"127.0.0.1": {"other.example.org"}}, policy.HostNotListed, "other.example.org"},
		{"a name whose rule has ended", book{"127.0.0.1": {"over.example.org"}}, policy.Expired, "over.example.org"},
	} {
		t.Run("reset at once: "+test.name, func(t *testing.T) {
			g, gateway := newGateway(t, options{deps: Deps{Told: test.book}}, rules...)
			r := g.refusedAs(t, come(t, gateway, to("127.0.0.1", o.Port)), test.reason, test.host)
			require.Equal(t, "127.0.0.1", r.IP.String())
			o.Untouched(t)
		})
	}
	t.Run("an address that a rule lists needs no name", func(t *testing.T) {
		g, gateway := newGateway(t, options{}, allow("127.0.0.1", o.Port, rawTCP))
		c := come(t, gateway, to("127.0.0.1", o.Port)).Say("ping")
		o.Take(t).Expect("ping").Close()
		c.Ended()
		c.Close()
		require.Equal(t, "127.0.0.1", g.entry().Host)
	})
	t.Run("the port is the one the client wanted", func(t *testing.T) {
		g, gateway := newGateway(t, options{deps: Deps{Told: book{"127.0.0.1": {bus}}}}, rules...)
		g.refusedAs(t, come(t, gateway, "127.0.0.1:9"), policy.PortNotListed, bus)
	})
}

func TestARedirectedTLSConnectionGoesByItsServerName(t *testing.T) {
	o := nettest.NewOrigin(t)
	rules := []policy.Rule{allow(www, o.Port, overTLS), allow("away.example.org", o.Port, overTLS)}
	told := book{"127.0.0.1": {www}, "127.0.0.66": {"elsewhere.example.org", "away.example.org"}, "127.0.0.67": {www}}
	start := func(t *testing.T) (*gate, string) {
		return newGateway(t, options{deps: Deps{Told: told}, names: map[string]string{"away.example.org": "127.0.0.50"}}, rules...)
	}
	for name, at := range map[string]string{"the address that its name leads to": "127.0.0.1", "an address it was told before": "127.0.0.67"} {
		t.Run(name, func(t *testing.T) {
			g, gateway := start(t)
			said := hello(t, www)
			c := come(t, gateway, to(at, o.Port)).Say("%s", said)
			s := o.Take(t).Expect(said).Say("x")
			c.Expect("x").Close()
			s.Ended()
			s.Close()
			r := g.entry()
			require.Equal(t, []string{www, "127.0.0.1", "tls"}, []string{r.Host, r.IP.String(), r.Protocol.String()})
		})
	}
	for _, test := range []struct {
		name, to, sni string
		reason        policy.Reason
		host          string
	}{
		{"a permitted name towards an address that was never judged for it", "127.0.0.66", www, policy.AddressNotAllowed, www},
		{"a permitted name towards an address that only other names have", "127.0.0.1", "away.example.org", policy.AddressNotAllowed, "away.example.org"},
		{"a name that no rule lists, at an address that one has", "127.0.0.1", "evil.example.org", policy.HostNotListed, "evil.example.org"},
		{"no name", "127.0.0.1", "", policy.SNIMissing, www},
	} {
		t.Run("reset: "+test.name, func(t *testing.T) {
			g, gateway := start(t)
			r := g.refusedAs(t, come(t, gateway, to(test.to, o.Port)).Say("%s", hello(t, test.sni)), test.reason, test.host)
			require.Equal(t, test.to, r.IP.String())
			o.Untouched(t)
		})
	}
	t.Run("reset: what is no TLS", func(t *testing.T) {
		g, gateway := start(t)
		g.refusedAs(t, come(t, gateway, to("127.0.0.1", o.Port)).Say("SSH-2.0-x\r\n"), policy.NotTLS, www)
		o.Untouched(t)
	})
	t.Run("monitor mode lets an unjudged address pass to a judged one, and says so", func(t *testing.T) {
		g, gateway := newGateway(t, options{deps: Deps{Told: told}, mode: policy.Monitor}, rules...)
		said := hello(t, www)
		c := come(t, gateway, to("127.0.0.66", o.Port)).Say("%s", said)
		o.Take(t).Expect(said).Close()
		c.Close()
		r := g.entry()
		require.Equal(t, "would_deny", r.Verdict.String())
		require.Equal(t, policy.AddressNotAllowed, r.Verdict.Reason)
		require.Equal(t, "127.0.0.1", r.IP.String())
	})
	t.Run("a tunnel that must be looked into is never opened unseen", func(t *testing.T) {
		g, gateway := newGateway(t, options{deps: Deps{Told: told}, over: carrier{secure: true}}, allow(www, o.Port, overTLS, methods("GET")))
		r := g.refusedAs(t, come(t, gateway, to("127.0.0.1", o.Port)).Say("%s", hello(t, www)), policy.NoPolicy, www)
		require.Equal(t, flow.NoAuthority, r.Fault)
		o.Untouched(t)
	})
}

func TestRedirectedHTTPIsJudgedRequestByRequest(t *testing.T) {
	o := nettest.NewOrigin(t)
	rules := []policy.Rule{allow(www, o.Port, plainHTTP, methods("GET")), allow("other.example.org", o.Port, plainHTTP)}
	told := book{"127.0.0.1": {www}}
	start := func(t *testing.T) (*gate, string) { return newGateway(t, options{deps: Deps{Told: told}}, rules...) }
	t.Run("each one is carried, counted and may be refused in words", func(t *testing.T) {
		g, gateway := start(t)
		c := come(t, gateway, to("127.0.0.1", o.Port)).Say("GET /a?b HTTP/1.1\r\nHost: %s:%d\r\n\r\n", www, o.Port)
		s := o.Take(t)
		require.Contains(t, s.Head(), "GET /a?b HTTP/1.1\r\n")
		s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, body := c.Response("GET")
		require.Equal(t, "ok", body)
		r := g.entry()
		require.Equal(t, policy.HTTP, r.Surface)
		require.Equal(t, "/a", r.Path)
		resp, _ := c.Say("DELETE /a HTTP/1.1\r\nHost: %s:%d\r\n\r\n", www, o.Port).Response("DELETE")
		require.Equal(t, 403, resp.StatusCode)
		require.Equal(t, policy.MethodNotListed, g.entry().Verdict.Reason)
		resp, _ = c.Say("GET / HTTP/1.1\r\nHost: other.example.org:%d\r\nConnection: close\r\n\r\n", o.Port).Response("GET")
		require.Equal(t, 421, resp.StatusCode, "the connection was judged for one host")
		require.Equal(t, policy.HostMismatch, g.entry().Verdict.Reason)
		r = g.entry()
		require.Equal(t, []string{"gateway", www, "matched"}, []string{r.Surface.String(), r.Host, r.Verdict.Reason.String()})
	})
	for _, test := range []struct {
		name, to, say string
		reason        policy.Reason
		host          string
	}{
		{"a permitted Host towards an address that was never judged for it", "127.0.0.66", "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", policy.AddressNotAllowed, www},
		{"a Host that no rule lists", "127.0.0.1", "GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n", policy.HostNotListed, "evil.example.org"},
		{"what is no HTTP", "127.0.0.1", "\x16\x03\x01", policy.NotHTTP, www},
		{"a head that cannot be read", "127.0.0.1", "GET / HTTP/1.1\r\nHost: www.example.org\r\nHost: www.example.org\r\n\r\n", policy.BadRequest, www},
	} {
		t.Run("reset: "+test.name, func(t *testing.T) {
			g, gateway := start(t)
			g.refusedAs(t, come(t, gateway, to(test.to, o.Port)).Say("%s", test.say), test.reason, test.host)
			o.Untouched(t)
		})
	}
}

func TestARedirectedPassageEndsWithItsPermission(t *testing.T) {
	o := nettest.NewOrigin(t)
	g, gateway := newGateway(t, options{deps: Deps{Told: book{"127.0.0.1": {bus}}}}, allow(bus, o.Port, rawTCP))
	c := come(t, gateway, to("127.0.0.1", o.Port)).Say("x")
	s := o.Take(t).Expect("x")
	g.server.Review()
	s.Say("y")
	c.Expect("y")
	g.swap(policy.Enforce, allow("other.example.org", o.Port))
	g.server.Review()
	broken(t, c)
	r := g.entry()
	require.Equal(t, []string{"policy", "host-not-listed"}, []string{r.End, r.Verdict.Reason.String()})
}

func TestTheGatewayPortLeadsToNoneOfItsOwnDoors(t *testing.T) {
	o := nettest.NewOrigin(t)
	own := func(a netip.AddrPort) bool { return a.Port() == uint16(o.Port) }
	g, gateway := newGateway(t, options{deps: Deps{Own: own, Told: book{"127.0.0.1": {bus}}}}, allow(bus, o.Port, rawTCP))
	g.refusedAs(t, come(t, gateway, to("127.0.0.1", o.Port)), policy.AddressNotAllowed, "127.0.0.1")
	o.Untouched(t)
}

func TestWhoeverConnectsToTheGatewayPortItselfIsReset(t *testing.T) {
	g := newGate(t, options{}, allow(bus, 9, rawTCP))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.server.deps.Own = func(a netip.AddrPort) bool { return a.String() == ln.Addr().String() }
	var serving sync.WaitGroup
	serving.Go(func() { g.server.ServeGateway(context.Background(), ln, nil) })
	t.Cleanup(func() { ln.Close(); serving.Wait() })
	for name, said := range map[string]string{"in silence": "", "with a PROXY protocol header, which is not believed": "PROXY TCP4 10.0.0.1 10.0.0.2 1 443\r\n"} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err == nil { // else it was reset before the dial was over
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(nettest.Patience))
				if _, err = io.WriteString(conn, said); err == nil {
					_, err = conn.Read(make([]byte, 1))
				}
			}
			require.Error(t, err)
			require.NotErrorIs(t, err, io.EOF)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			r := g.entry()
			require.Equal(t, []string{"gateway", "address-not-allowed", "refused"}, []string{r.Surface.String(), r.Verdict.Reason.String(), r.End})
		})
	}
}

func TestTheLimitsHoldForClientsBehindALoadBalancer(t *testing.T) {
	o := nettest.NewOrigin(t)
	g, gateway := newGateway(t, options{config: Config{PerClient: 1}, deps: Deps{Told: book{"127.0.0.1": {bus}}}}, allow(bus, o.Port, rawTCP))
	first := come(t, gateway, to("127.0.0.1", o.Port)).Say("x")
	s := o.Take(t).Expect("x")
	g.refusedAtTheLimit(t, come(t, gateway, to("127.0.0.1", o.Port)))
	other := nettest.Dial(t, gateway).Say("PROXY TCP4 127.0.0.10 127.0.0.1 40000 %d\r\ny", o.Port)
	o.Take(t).Expect("y").Close()
	other.Close()
	require.Equal(t, "127.0.0.10", g.entry().Client.String())
	s.Say("z")
	first.Expect("z")
	first.Close()
	s.Ended() // so that the gate sees the client's end before the origin's
	s.Close()
	require.Equal(t, "client-closed", g.entry().End)
}

func (g *gate) refusedAtTheLimit(t *testing.T, c *nettest.Peer) {
	t.Helper()
	broken(t, c)
	r := g.entry()
	require.Equal(t, []string{"gateway", "limit", "127.0.0.9"}, []string{r.Surface.String(), r.Verdict.Reason.String(), r.Client.String()})
}

func TestTheHeaderOfALoadBalancer(t *testing.T) {
	o := nettest.NewOrigin(t)
	v2 := func(change func(*proxyproto.Header)) string {
		h := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv4,
			SourceAddr:      &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9), Port: 40000},
			DestinationAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: o.Port}}
		change(h)
		b, err := h.Format()
		require.NoError(t, err)
		return string(b)
	}
	plain := func(*proxyproto.Header) {}
	g, gateway := newGateway(t, options{deps: Deps{Told: book{"127.0.0.1": {bus}}}}, allow(bus, o.Port, rawTCP))
	for name, header := range map[string]string{
		"version 1": fmt.Sprintf("PROXY TCP4 127.0.0.9 127.0.0.1 40000 %d\r\n", o.Port),
		"version 2": v2(plain),
		"version 2 with an extension": v2(func(h *proxyproto.Header) {
			h.SetTLVs([]proxyproto.TLV{{Type: 0xee, Value: []byte("vpce-1234")}})
		}),
	} {
		t.Run(name+" is believed, and what comes with it is the client's", func(t *testing.T) {
			c := nettest.Dial(t, gateway).Say("%s", header+"early")
			o.Take(t).Expect("early").Close()
			c.Close()
			require.Equal(t, "127.0.0.9", g.entry().Client.String())
		})
	}
	for name, said := range map[string]string{
		"no header":                        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"one without addresses":            "PROXY UNKNOWN\r\n",
		"one without an end":               "PROXY TCP4 " + strings.Repeat("1", 200),
		"one that is no header after all":  "PROXY rubbish\r\n",
		"a health check of the balancer's": v2(func(h *proxyproto.Header) { h.Command = proxyproto.LOCAL }),
		"UDP": v2(func(h *proxyproto.Header) {
			h.TransportProtocol = proxyproto.UDPv4
			h.SourceAddr, h.DestinationAddr = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
		}),
		"a version 2 that is too long": string(proxyproto.SIGV2) + "\x21\x11\xff\xff",
	} {
		t.Run("reset: "+name, func(t *testing.T) {
			broken(t, nettest.Dial(t, gateway).Say("%s", said))
		})
	}
	o.Untouched(t)
	select {
	case r := <-g.records:
		require.Fail(t, "nobody came through that gate", "%+v", r)
	default:
	}
}

func FuzzProxyHeader(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nrest", "PROXY UNKNOWN\r\n", string(proxyproto.SIGV2) + "\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01\x00\x01\x00\x02rest", "PROXY TCP6 ::1 ::1 1 2\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		go func() { far.Write(b); far.Close() }()
		defer near.Close()
		in := &wire{}
		in.attach(near)
		defer in.drop()
		if header, err := readProxyHeader(in); err == nil {
			require.NotNil(t, header)
			require.Less(t, in.w-in.Buffered(), longestV2+1)
		}
	})
}
