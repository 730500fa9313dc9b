package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

var insideTLS = carrier{secure: true}

// inspecting is a gate that looks inside TLS, and an origin behind it.
func inspecting(t *testing.T, o options, change ...func(*policy.Rule)) (*gate, *nettest.Origin) {
	t.Helper()
	origin := insideTLS.origin(t)
	return insideTLS.gate(t, o, insideTLS.allow(www, origin.Port, change...), insideTLS.allow("127.0.0.1", origin.Port, change...)), origin
}

// tunnel waits for the record of the tunnel itself.
func (g *gate) tunnel() *flow.Record {
	g.t.Helper()
	for {
		if r := g.entry(); r.Surface == policy.CONNECT {
			return r
		}
	}
}

func secureOf(p *nettest.Peer) *tls.Conn { return p.Conn.(https).Conn }

func TestATunnelThatIsLookedInto(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			g, o := inspecting(t, options{}, methods("GET"))
			only := func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
			c := g.inside(g.site, only)
			state := secureOf(c).ConnectionState()
			require.Equal(t, "http/1.1", state.NegotiatedProtocol)
			require.Equal(t, []string{www}, state.PeerCertificates[0].DNSNames)
			require.Equal(t, inspectionCA().Present().Certificate.Subject.String(), state.PeerCertificates[0].Issuer.String())
			s := o.Take(t) // dialled before the 200
			for i := range 2 {
				c.Say("GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n", i, g.site)
				require.Contains(t, s.Head(), fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: %s\r\n", i, g.site))
				s.Say(okAnswer)
				_, body := c.Response("GET")
				require.Equal(t, "ok", body)
				r := g.record()
				require.Equal(t, policy.HTTP, r.Surface)
				require.Equal(t, policy.TLS, r.Protocol)
				require.Equal(t, fmt.Sprintf("/%d", i), r.Path)
				require.Equal(t, policy.Matched, r.Verdict.Reason)
			}
			c.Say("PUT / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
			resp, _ := c.Response("PUT")
			require.Equal(t, 403, resp.StatusCode)
			require.Equal(t, policy.MethodNotListed, g.record().Verdict.Reason)
			c.Close()
			r := g.tunnel()
			require.Equal(t, "client-closed", r.End)
			require.Equal(t, policy.Matched, r.Verdict.Reason)
			require.Empty(t, r.Fault)
		})
	}
}

func TestOldClientsFindACipher(t *testing.T) {
	for _, suite := range []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, // .NET on Windows 7 and Server 2008 R2
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	} {
		t.Run(tls.CipherSuiteName(suite), func(t *testing.T) {
			g, o := inspecting(t, options{})
			c := g.inside(g.site, func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites, c.NextProtos = tls.VersionTLS12, []uint16{suite}, nil
				c.CurvePreferences = []tls.CurveID{tls.CurveP256}
			})
			c.Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
			s := o.Take(t)
			s.Head()
			s.Say(okAnswer)
			_, body := c.Response("GET")
			require.Equal(t, "ok", body)
		})
	}
}

func TestATunnelForAnAddressIsLookedIntoWithoutAServerName(t *testing.T) {
	g, o := inspecting(t, options{})
	site := fmt.Sprintf("127.0.0.1:%d", o.Port)
	c := g.inside(site)
	require.Len(t, secureOf(c).ConnectionState().PeerCertificates[0].IPAddresses, 1)
	c.Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", site)
	s := o.Take(t)
	s.Head()
	s.Say(okAnswer)
	_, body := c.Response("GET")
	require.Equal(t, "ok", body)
}

func TestSessionsAreResumedOnBothSides(t *testing.T) {
	g, o := inspecting(t, options{})
	sessions := tls.NewLRUClientSessionCache(1)
	for i, resumed := range []bool{false, true} {
		c := g.inside(g.site, func(c *tls.Config) { c.ClientSessionCache = sessions })
		require.Equal(t, resumed, secureOf(c).ConnectionState().DidResume, i)
		c.Say("GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", g.site)
		s := o.Take(t)
		s.Head()
		require.Equal(t, resumed, s.Conn.(*tls.Conn).ConnectionState().DidResume, i)
		s.Say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok") // no pooled one for the next
		_, body := c.Response("GET")
		require.Equal(t, "ok", body)
		_, err := c.Ended() // takes the ticket in
		require.NoError(t, err)
	}
}

func TestAConnectionToTheOriginServesManyTunnels(t *testing.T) {
	g, o := inspecting(t, options{})
	var s *nettest.Peer
	for range 3 {
		c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		if s == nil {
			s = o.Take(t)
		}
		s.Head()
		s.Say(okAnswer)
		_, body := c.Response("GET")
		require.Equal(t, "ok", body)
		g.record() // by then the connection is kept
		c.Close()
		require.Equal(t, "client-closed", g.tunnel().End)
	}
	o.Untouched(t)
}

func TestConnectionsAreKeptApartByWhatTheySpeak(t *testing.T) {
	plain := nettest.NewOrigin(t)
	p := pool{idle: map[place][]*link{}}
	dest := policy.Dest{Host: policy.HostOf(netip.MustParseAddr("127.0.0.1")), Port: uint16(plain.Port)}
	conn, err := net.Dial("tcp", plain.Addr)
	require.NoError(t, err)
	permit := permitTo(t, plain.Port)
	p.put(place{dest, false, way{}}, newLink(conn, &line{to: addrPort(permit)}))
	l, _ := p.take(place{dest, true, way{}}, []policy.Permit{permit})
	require.Nil(t, l, "a connection without TLS was lent in place of one with it")
	require.Nil(t, p.holds(place{dest, true, way{}}, []policy.Permit{permit}))
	through := way{parent: parent.New(parent.Config{Name: "county"}, parent.Deps{})}
	require.Nil(t, p.holds(place{dest, false, through}, []policy.Permit{permit}), "a direct connection was lent in place of one through a parent")
	require.NotNil(t, p.holds(place{dest, false, way{}}, []policy.Permit{permit}))
	p.close()
}

// permitTo is a permit for 127.0.0.1 and a port.
func permitTo(t *testing.T, port int) policy.Permit {
	t.Helper()
	p, err := policy.Compile(policy.Spec{Rules: []policy.Rule{allow("127.0.0.1", port, rawTCP)}, TreatAsPublic: []netip.Prefix{loopback}})
	require.NoError(t, err)
	at, host := time.Now(), policy.HostOf(netip.MustParseAddr("127.0.0.1"))
	_, permit := p.Connect(policy.Connect{At: at, Surface: policy.CONNECT, Client: host.Addr(), Dest: policy.Dest{Host: host, Port: uint16(port)}})
	v, permit := p.Answer(policy.Answer{At: at, Permit: permit, Addr: host.Addr()})
	require.True(t, v.Allowed())
	return permit
}

func TestTheInsideOfTLSIsForItsHostAlone(t *testing.T) {
	for _, test := range []struct {
		name, send string
		status     int
		reason     policy.Reason
	}{
		{"another Host", "GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n", 421, policy.HostMismatch},
		{"another port", "GET / HTTP/1.1\r\nHost: www.example.org:1\r\n\r\n", 421, policy.HostMismatch},
		{"another host in absolute form", "GET https://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\n\r\n", 421, policy.HostMismatch},
		{"another host in absolute form behind the right Host", "GET https://other.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 421, policy.HostMismatch},
		{"the usual port of https, which is not the tunnel's", "GET https://www.example.org/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 421, policy.HostMismatch},
		{"the same host without encryption", "GET HTTP://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 421, policy.HostMismatch},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, policy.BadRequest},
		{"a tunnel inside the tunnel", "CONNECT www.example.org:PORT HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 400, policy.BadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := insideTLS.origin(t)
			g := insideTLS.gate(t, options{}, insideTLS.allow(www, o.Port), insideTLS.allow("other.example.org", o.Port), insideTLS.allow("other.example.org", 443), allow("other.example.org", 80))
			c := g.inside(g.site)
			s := o.Take(t)
			c.Say("%s", strings.ReplaceAll(test.send, "PORT", portOf(o)))
			resp, _ := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode)
			c.Ended()
			s.Ended()
			o.Untouched(t)
			require.Equal(t, []string{www}, g.resolver.asked(), "the other name was asked for")
			r := g.entry()
			require.Equal(t, policy.HTTP, r.Surface)
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.Equal(t, policy.CONNECT, g.entry().Surface)
		})
	}
}

// A body that ends with the connection is whole only where TLS says that it has
// ended.
func TestABodyThatAnybodyCouldHaveCutNeverLooksComplete(t *testing.T) {
	for _, said := range []bool{true, false} {
		t.Run(fmt.Sprint("close_notify ", said), func(t *testing.T) {
			g, o := inspecting(t, options{})
			c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
			s := o.Take(t)
			s.Head()
			s.Say("HTTP/1.1 200 OK\r\n\r\nbody")
			c.Head()
			c.ExpectChunk("body")
			if said {
				s.Close()
				c.Expect("0\r\n\r\n")
				require.Equal(t, "done", g.record().End)
				return
			}
			s.Conn.(*tls.Conn).NetConn().Close()
			rest, _ := c.Ended()
			require.Empty(t, rest)
			require.Equal(t, "cut", g.record().End)
		})
	}
}

func TestWhatIsNoTLSBehindTheHandshakeEndsTheTunnel(t *testing.T) {
	for name, act := range map[string]func(*nettest.Peer){
		"in place of a request": func(*nettest.Peer) {},
		"in the middle of a head": func(c *nettest.Peer) {
			c.Say("GET / HTTP/1.1\r\nHost:")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := inspecting(t, options{})
			c := g.inside(g.site)
			act(c)
			_, err := io.WriteString(secureOf(c).NetConn(), strings.Repeat("rubbish", 100))
			require.NoError(t, err)
			c.Ended()
			r := g.tunnel()
			require.Equal(t, policy.BadRequest, r.Verdict.Reason)
			require.Equal(t, policy.Deny, r.Verdict.Effect)
			require.Equal(t, flow.ClientGarbage, r.Fault)
			require.Equal(t, "refused", r.End)
		})
	}
}

func TestTheLimitsHoldInside(t *testing.T) {
	t.Run("a head of a megabyte", func(t *testing.T) {
		g, o := inspecting(t, options{config: Config{Linger: nettest.Patience}})
		c := g.inside(g.site)
		s := o.Take(t)
		go fmt.Fprintf(c.Conn, "GET / HTTP/1.1\r\nHost: %s\r\nX: %s\r\n\r\n", g.site, strings.Repeat("x", 1<<20))
		resp, _ := c.Response("GET")
		require.Equal(t, 431, resp.StatusCode)
		require.Equal(t, policy.BadRequest, g.record().Verdict.Reason)
		c.Close()
		rest, _ := s.Ended()
		require.Empty(t, rest)
	})
	t.Run("half a head and then silence", func(t *testing.T) {
		g, _ := inspecting(t, options{config: Config{HeadTime: 100 * time.Millisecond}})
		c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHo")
		resp, _ := c.Response("GET")
		require.Equal(t, 400, resp.StatusCode)
		c.Ended()
		require.Equal(t, policy.BadRequest, g.record().Verdict.Reason)
	})
	t.Run("silence", func(t *testing.T) {
		g, _ := inspecting(t, options{config: Config{KeepAlive: 2 * time.Second}})
		rest, err := g.inside(g.site).Ended()
		require.NoError(t, err)
		require.Empty(t, rest)
		require.Empty(t, g.tunnel().Fault)
	})
	t.Run("a malformed head", func(t *testing.T) {
		g, _ := inspecting(t, options{})
		resp, _ := g.inside(g.site).Say("GET / HTTP/1.1\nHost: x\n\n").Response("GET")
		require.Equal(t, 400, resp.StatusCode)
	})
}

func TestAnUpgradeInsideIsJudged(t *testing.T) {
	addr, _ := nettest.NewUpgradeOrigin(t)
	_, at := nettest.Veil(t, originTLS(t), addr)
	g := insideTLS.gate(t, options{}, insideTLS.allow(www, at, methods("GET")))
	resp, _ := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", g.site).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, policy.UpgradeNotListed, g.record().Verdict.Reason)
}

func TestMonitorModeLooksInsideAndRelaysWhatItOtherwiseWouldRefuse(t *testing.T) {
	o := insideTLS.origin(t)
	g := insideTLS.gate(t, options{mode: policy.Monitor}, insideTLS.allow(www, o.Port, methods("GET")))
	t.Run("a method that is not listed", func(t *testing.T) {
		c := g.inside(g.site).Say("DELETE / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		s := o.Take(t)
		s.Head()
		s.Say(okAnswer)
		_, body := c.Response("DELETE")
		require.Equal(t, "ok", body)
		require.Equal(t, "would_deny", g.record().Verdict.String())
	})
	t.Run("a server name that is not the host's", func(t *testing.T) {
		c := g.connect(www, o.Port)
		secure := tls.Client(c.Conn, &tls.Config{ServerName: "evil.example.org", InsecureSkipVerify: true})
		require.NoError(t, secure.Handshake())
		require.Equal(t, "origins' CA", secure.ConnectionState().PeerCertificates[0].Issuer.CommonName)
		secure.Close()
		o.Take(t).Close()
		r := g.tunnel()
		require.Equal(t, "would_deny", r.Verdict.String())
		require.Equal(t, policy.SNIMismatch, r.Verdict.Reason)
	})
}
