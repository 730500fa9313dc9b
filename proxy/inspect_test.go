package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/ca"
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

func TestTheHandshakeIsHeldToTheTunnelsHostBeforeAnythingIsShown(t *testing.T) {
	for _, test := range []struct {
		name, bytes, host string
		reason            policy.Reason
	}{
		{"another name", hello(t, "evil.example.org"), www, policy.SNIMismatch},
		{"no name", hello(t, ""), www, policy.SNIMissing},
		{"a name where the tunnel is for an address", hello(t, www), "127.0.0.1", policy.SNIMismatch},
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", www, policy.NotTLS},
		{"half a hello and then silence", hello(t, www)[:100], www, policy.NotTLS},
		{"nothing but silence", "", www, policy.NotTLS},
		{"a hello and then silence", hello(t, www), www, policy.NotTLS},
		{"a hello and then rubbish", hello(t, www) + "this is no record of TLS, for certain", www, policy.NotTLS},
		{"a hello of TLS 1.1", hello(t, www, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), www, policy.NotTLS},
		{"a hello for HTTP/2 alone", hello(t, www, func(c *tls.Config) { c.NextProtos = []string{"h2"} }), www, policy.NotTLS},
		{"a hello without a cipher the gate has", hello(t, www, func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}), www, policy.NotTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			var config Config // whose Opening is far more than these bytes need
			if strings.HasSuffix(test.name, "silence") {
				config.Opening = lull
			}
			g, o := inspecting(t, options{config: config})
			c := g.knock().Say("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n%s", test.host, o.Port, test.bytes)
			c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
			o.Take(t).Ended()
			c.Ended()
			r := g.tunnel()
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.Equal(t, policy.Deny, r.Verdict.Effect)
			require.Equal(t, "refused", r.End)
			if strings.HasPrefix(test.name, "a hello") {
				require.Equal(t, flow.ClientHandshake, r.Fault)
				require.Contains(t, r.Detail, `inspect = "never"`)
			}
		})
	}
}

func TestAnOriginThatCannotBeTrustedIsToldInWords(t *testing.T) {
	now := time.Now()
	good, stranger := originAuthority(t), nettest.NewAuthority(t, "Stranger CA")
	certificate := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for _, test := range []struct {
		fault  flow.Fault
		config *tls.Config
		kind   string
		says   []string
	}{
		{flow.Expired, certificate(good.Sign(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1) }, www)), "tls_certificate_error", []string{"origins' CA", "expired on"}},
		{flow.NotYetValid, certificate(good.Sign(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.AddDate(0, 0, 1), now.AddDate(1, 0, 0) }, www)), "tls_certificate_error", []string{"origins' CA", "not valid before"}},
		{flow.WrongHost, certificate(good.Sign(t, nil, "other.example.org")), "tls_certificate_error", []string{"origins' CA", "for another name: other.example.org"}},
		{flow.SelfSigned, certificate(nettest.SelfSigned(t, nil, www)), "tls_certificate_error", []string{"test origin", "self-signed"}},
		{flow.UnknownIssuer, certificate(stranger.Sign(t, nil, www)), "tls_certificate_error", []string{"Stranger CA", "does not trust"}},
		{flow.Revoked, certificate(good.Revoke(t, good.Sign(t, nil, www), now.AddDate(0, 0, -3))), "tls_certificate_error", []string{"origins' CA", "revoked on"}},
		{flow.ClientCertificate, &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, www)}, ClientAuth: tls.RequireAnyClientCert}, "tls_alert_received", []string{"demands that the client shows a certificate", `inspect = "never"`}},
		{flow.HandshakeRefused, &tls.Config{Certificates: []tls.Certificate{good.Sign(t, nil, www)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "tls_alert_received", []string{"refused the TLS handshake"}},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			o := nettest.NewSecureOrigin(t, test.config)
			g := insideTLS.gate(t, options{}, insideTLS.allow(www, o.Port))
			c := g.inside(g.site)
			for range 2 { // the tunnel stays open for another try
				c.Say("GET / HTTP/1.1\r\nHost: %s\r\nAccept: text/plain\r\n\r\n", g.site)
				resp, body := c.Response("GET")
				require.Equal(t, 502, resp.StatusCode)
				require.Equal(t, `gatehouse; error=`+test.kind+`; details="upstream-untrusted"`, resp.Header.Get("Proxy-Status"))
				r := g.record()
				require.Equal(t, policy.UpstreamUntrusted, r.Verdict.Reason)
				require.Equal(t, "allowed", r.Verdict.String())
				require.Equal(t, test.fault, r.Fault)
				for _, words := range append(test.says, www) {
					require.Contains(t, body, words)
					require.Contains(t, r.Detail, words)
				}
				require.NotContains(t, body, "127.0.0.1")
			}
		})
	}
	t.Run("not TLS at all", func(t *testing.T) {
		o := nettest.NewOrigin(t)
		g := insideTLS.gate(t, options{}, insideTLS.allow(www, o.Port))
		c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		for range 2 { // the tunnel's own connection, and one more
			o.Take(t).Say("220 mail.example.org ESMTP\r\n")
		}
		resp, _ := c.Response("GET")
		require.Equal(t, 502, resp.StatusCode)
		require.Equal(t, flow.NoHandshake, g.record().Fault)
	})
	t.Run("a handshake that does not end", func(t *testing.T) {
		o := nettest.NewOrigin(t)
		g := insideTLS.gate(t, options{config: Config{Dial: 3 * time.Second}}, insideTLS.allow(www, o.Port))
		c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		resp, _ := c.Response("GET")
		require.Equal(t, 504, resp.StatusCode)
		require.Equal(t, flow.HandshakeTimeout, g.record().Fault)
	})
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

func TestAClientThatDoesNotTakeOurCertificateIsTold(t *testing.T) {
	foreign := func(c *tls.Config) { c.RootCAs = nettest.NewAuthority(t, "another CA").Roots }
	for _, test := range []struct {
		name  string
		fault flow.Fault
		act   func(g *gate, c *nettest.Peer)
	}{
		{"by an alert, in TLS 1.2", flow.ClientDistrusts, func(g *gate, c *nettest.Peer) {
			require.Error(t, tls.Client(c.Conn, clientTLS(g.site, foreign, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })).Handshake())
		}},
		{"by an alert, in TLS 1.3", flow.ClientDistrusts, func(g *gate, c *nettest.Peer) {
			require.Error(t, tls.Client(c.Conn, clientTLS(g.site, foreign)).Handshake())
		}},
		{"by hanging up on seeing it", flow.ClientLeft, func(g *gate, c *nettest.Peer) {
			c.Say("%s", hello(t, www))
			_, err := c.In.Peek(100) // the certificate is coming
			require.NoError(t, err)
			c.Close()
		}},
		{"by hanging up when the handshake is over", flow.ClientLeft, func(g *gate, c *nettest.Peer) {
			secure := tls.Client(c.Conn, clientTLS(g.site))
			require.NoError(t, secure.Handshake())
			secure.Close()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log tally
			g, o := inspecting(t, options{deps: Deps{Log: slog.New(slog.NewTextHandler(&log, nil))}})
			for range 3 {
				c := g.connect(www, o.Port)
				test.act(g, c)
				c.Close()
				r := g.tunnel()
				require.Equal(t, test.fault, r.Fault)
				require.Equal(t, "client-closed", r.End)
				require.Equal(t, "allowed", r.Verdict.String())
				require.Contains(t, r.Detail, "does not accept the gateway's certificate for "+www)
				require.Contains(t, r.Detail, "gatehouse ca export")
				require.Contains(t, r.Detail, `inspect = "never"`)
			}
			require.Equal(t, 1, log.count("TLS could not be looked into"), "the log says the same again and again")
		})
	}
	t.Run("one that has asked something is no such client", func(t *testing.T) {
		g, o := inspecting(t, options{})
		c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		s := o.Take(t)
		s.Head()
		s.Say(okAnswer)
		c.Response("GET")
		c.Close()
		require.Empty(t, g.tunnel().Fault)
	})
}

// tally is a log that counts.
type tally struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *tally) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *tally) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func TestComplaintsAreBounded(t *testing.T) {
	var c complaints
	now := time.Now()
	host := func(i int) complaint {
		h, err := policy.ParseHost(fmt.Sprintf("h%d.example.org", i))
		require.NoError(t, err)
		return complaint{h, flow.Expired}
	}
	require.True(t, c.due(host(0), now))
	require.False(t, c.due(host(0), now.Add(59*time.Minute)))
	require.True(t, c.due(complaint{host(0).host, flow.Revoked}, now))
	require.True(t, c.due(host(0), now.Add(time.Hour)))
	for i := range 3 * mostComplaints {
		c.due(host(i), now)
		require.LessOrEqual(t, len(c.said), mostComplaints)
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

func TestWithoutAnAuthorityNothingIsOpenedUnseen(t *testing.T) {
	o := insideTLS.origin(t)
	g := insideTLS.gate(t, options{}, insideTLS.allow(www, o.Port, methods("GET")), insideTLS.allow("www.example.com", o.Port), allow("outer.example.org", o.Port, overTLS))
	ask := func(host string) (int, string) {
		resp, body := g.knock().Say("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n", host, o.Port).Response("GET")
		return resp.StatusCode, body
	}
	t.Run("a host it was not made for", func(t *testing.T) {
		status, body := ask("www.example.com")
		require.Equal(t, 403, status)
		require.Contains(t, body, "was not made for www.example.com")
		require.Contains(t, body, "gatehouse ca init --rotate")
		r := g.tunnel()
		require.Equal(t, policy.NoPolicy, r.Verdict.Reason)
		require.Equal(t, flow.NotCovered, r.Fault)
	})
	open := g.inside(g.site)
	s := o.Take(t)
	require.NoError(t, g.server.Inspect(nil))
	t.Run("none", func(t *testing.T) {
		status, body := ask(www)
		require.Equal(t, 403, status)
		require.Contains(t, body, "looks inside")
		r := g.tunnel()
		require.Equal(t, policy.NoPolicy, r.Verdict.Reason)
		require.Equal(t, policy.Deny, r.Verdict.Effect)
		require.Equal(t, flow.NoAuthority, r.Fault)
	})
	t.Run("what need not be looked into is carried all the same", func(t *testing.T) {
		c := g.connect("outer.example.org", o.Port)
		c.Close()
		o.Take(t).Close()
		require.Equal(t, policy.Matched, g.tunnel().Verdict.Reason)
	})
	t.Run("what is open goes on", func(t *testing.T) {
		open.Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		s.Head()
		s.Say(okAnswer)
		_, body := open.Response("GET")
		require.Equal(t, "ok", body)
	})
	o.Untouched(t)
	require.Equal(t, []string{www, "outer.example.org", www}, g.resolver.asked())
}

func TestAnAuthorityThatHasEndedSignsNothing(t *testing.T) {
	var ahead atomic.Int64 // in years
	g, o := inspecting(t, options{deps: Deps{Now: func() time.Time { return time.Now().AddDate(int(ahead.Load()), 0, 0) }}})
	require.NoError(t, g.server.Inspect(inspectionCA()))
	g.inside(g.site).Close()
	g.tunnel()
	ahead.Store(10)
	g.swap(policy.Enforce, insideTLS.allow("new.example.org", o.Port))
	resp, body := g.knock().Say("CONNECT new.example.org:%d HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n", o.Port).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, body, "not now")
	require.Equal(t, flow.NoAuthority, g.tunnel().Fault)
}

func TestANewAuthorityIsShownFromTheNextTunnelOn(t *testing.T) {
	g, _ := inspecting(t, options{})
	next, err := ca.Create(t.TempDir(), ca.Options{Domains: []string{"example.org"}, Name: "the next CA"})
	require.NoError(t, err)
	issuer := func() string {
		c := g.inside(g.site, func(c *tls.Config) { c.InsecureSkipVerify = true })
		defer c.Close()
		return secureOf(c).ConnectionState().PeerCertificates[0].Issuer.CommonName
	}
	before := issuer()
	require.NoError(t, g.server.Inspect(next))
	require.NotEqual(t, before, issuer())
	require.Contains(t, issuer(), "the next CA")
}

func TestATunnelThatIsLookedIntoEndsWithItsPermission(t *testing.T) {
	g, o := inspecting(t, options{})
	c := g.inside(g.site).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	c.Head()
	c.ExpectChunk("x")
	g.server.Review() // nothing has changed: nothing ends
	s.Chunk("y")
	c.ExpectChunk("y")
	g.swap(policy.Enforce, allow("other.example.org", 80))
	g.server.Review()
	_, err := c.Ended()
	require.Error(t, err)
	s.Ended()
	for range 2 { // the exchange and its tunnel
		r := g.entry()
		require.Equal(t, "policy", r.End)
		require.Equal(t, policy.HostNotListed, r.Verdict.Reason)
	}
}

func TestATunnelThatNeedNoLongerBeLookedIntoEndsBehindItsRequest(t *testing.T) {
	g, o := inspecting(t, options{})
	c := g.inside(g.site)
	s := o.Take(t)
	for _, test := range []struct {
		name   string
		rule   policy.Rule
		closes bool
	}{
		{"the same rules again", insideTLS.allow(www, o.Port), false},
		{"rules that forbid it", allow(www, o.Port, overTLS, func(r *policy.Rule) { r.Inspect = policy.InspectNever }), true},
	} {
		g.swap(policy.Enforce, test.rule)
		g.server.Review()
		c.Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		s.Head()
		s.Say(okAnswer)
		resp, body := c.Response("GET")
		require.Equal(t, "ok", body, test.name)
		require.Equal(t, test.closes, resp.Close, test.name)
	}
	c.Ended()
	r := g.tunnel()
	require.Equal(t, policy.Matched, r.Verdict.Reason)
	require.Empty(t, r.Fault)
	again := g.connect(www, o.Port)
	secure := tls.Client(again.Conn, &tls.Config{ServerName: www, RootCAs: originAuthority(t).Roots})
	require.NoError(t, secure.Handshake(), "it is still looked into")
	o.Take(t)
}

func TestAnIdleTunnelThatIsLookedIntoDoesNotHoldUpShutdown(t *testing.T) {
	g, _ := inspecting(t, options{})
	c := g.inside(g.site)
	c.Say("PUT / HTTP/1.1\r\nHost: other\r\n\r\n") // answered: so it waits for the next request
	c.Head()
	idle := g.inside(g.site)
	require.Eventually(t, func() bool { return insideIdle(g.server) }, nettest.Patience, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), nettest.Patience)
	defer cancel()
	require.NoError(t, g.server.Shutdown(ctx), "it waited for a client that asks nothing")
	idle.Ended()
}

// insideIdle reports whether some connection inside a tunnel waits for a request.
func insideIdle(s *Server) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.clients {
		if inside := c.inside.Load(); inside != nil && inside.idle.Load() {
			return true
		}
	}
	return false
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
