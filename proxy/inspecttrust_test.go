package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
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
)

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
