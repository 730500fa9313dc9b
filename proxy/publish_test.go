package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// wayIn is a gate with one published door to an origin.
func wayIn(t *testing.T, over carrier, o options, change ...func(*policy.Publication)) (*gate, *nettest.Origin) {
	t.Helper()
	origin := over.origin(t)
	g := over.gate(t, o, over.allow(www, origin.Port))
	g.publication(origin.Port, change...)
	return g, origin
}

// publication puts one into force in place of the gate's, changed.
func (g *gate) publication(port int, change ...func(*policy.Publication)) {
	r := allow(www, port)
	p := g.over.publication(&r)
	for _, f := range change {
		f(&p)
	}
	g.swapSpec(policy.Spec{Publications: []policy.Publication{p}, Permitted: prefixesOf("127.0.0.0/8"), TreatAsPublic: []netip.Prefix{loopback}})
}

func forClients(list ...string) func(*policy.Publication) {
	return func(p *policy.Publication) { p.Clients = policy.Clients{Prefixes: prefixesOf(list...)} }
}

func overDoors(t *testing.T, test func(*testing.T, carrier)) {
	t.Run("plain", func(t *testing.T) { test(t, carrier{published: true}) })
	t.Run("over TLS", func(t *testing.T) { test(t, carrier{published: true, secure: true}) })
}

// What a client says of its way is replaced by what the gate knows.
func TestTheServerHearsFromTheGateWhoAsks(t *testing.T) {
	overDoors(t, func(t *testing.T, over carrier) {
		g, o := wayIn(t, over, options{})
		proto := map[bool]string{false: "http", true: "https"}[over.secure]
		lies := "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-host: evil.example\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n" +
			"X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nProxy: http://evil.example\r\nX-Gatehouse-Decision: GH-FAKE\r\n" +
			"X_Forwarded_For: 10.0.0.1\r\nX-Forwarded-Client-Cert: x\r\nx-forwarded-anything: x\r\nX.Original.Method: x\r\nx_original-url: /admin\r\n" +
			"X-ARR-ClientCert: x\r\nX-SSL-Client-Cert: x\r\nX-MS-Forwarded-Client-IP: 10.0.0.1\r\nX-Azure-ClientIP: 10.0.0.1\r\nCF-Connecting-IP: 10.0.0.1\r\n" +
			"True-Client-IP: 10.0.0.1\r\nX-ProxyUser-Ip: 10.0.0.1\r\nX_Real_IP: 10.0.0.1\r\nX-Client-IP: 10.0.0.1\r\n"
		c := g.dial().Say("GET /api HTTP/1.1\r\nHost: WWW.Example.ORG:8443\r\n%sX-Stays: 1\r\n\r\n", lies)
		s := o.Take(t)
		require.Equal(t, "GET /api HTTP/1.1\r\nHost: www.example.org:8443\r\nX-Stays: 1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: www.example.org:8443\r\n"+
			"X-Forwarded-Proto: "+proto+"\r\nForwarded: for=127.0.0.1;host=\"www.example.org:8443\";proto="+proto+"\r\nVia: 1.1 gatehouse\r\n\r\n",
			s.Head())
		s.Say("HTTP/1.1 200 OK\r\nServer: emerge\r\nAlt-Svc: h3=\":443\"\r\nContent-Length: 2\r\n\r\nok")
		c.Expect("HTTP/1.1 200 OK\r\nServer: emerge\r\nVia: 1.1 gatehouse\r\nContent-Length: 2\r\n\r\nok")
		r := g.record()
		require.Equal(t, policy.Publish, r.Surface)
		require.Equal(t, fmt.Sprintf("%s-%d", www, o.Port), r.Publish)
		require.Equal(t, r.Publish, r.Verdict.RuleName())
		require.Equal(t, "/api", r.Path)
		require.Equal(t, www, r.Host)
		require.Equal(t, "127.0.0.1", r.IP.String())
	})
}

func TestAPublishedDoorIsNoProxy(t *testing.T) {
	for _, c := range []struct {
		name, send string // HERE is the address that was connected to
		status     int
		reason     policy.Reason
	}{
		{"a tunnel", "CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n", 400, policy.BadRequest},
		{"a tunnel to the server itself", "CONNECT www.example.org:PORT HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 400, policy.BadRequest},
		{"another server", "GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 400, policy.HostMismatch},
		{"the server by its own name", "GET http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 400, policy.HostMismatch},
		{"this door, under another Host", "GET http://HERE/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n", 400, policy.HostMismatch},
		{"this door by another scheme", "GET https://HERE/ HTTP/1.1\r\nHost: HERE\r\n\r\n", 400, policy.HostMismatch},
		{"this door, as proxies are asked", "GET http://HERE/x HTTP/1.1\r\nHost: HERE\r\n\r\n", 204, policy.Matched},
		{"a path", "GET /x HTTP/1.1\r\nHost: HERE\r\n\r\n", 204, policy.Matched},
		{"a path, by any name", "GET /x HTTP/1.1\r\nHost: emerge.school.example\r\n\r\n", 204, policy.Matched},
		{"a path without Host", "GET /x HTTP/1.1\r\n\r\n", 400, policy.BadRequest},
		{"a path without Host in HTTP/1.0", "GET /x HTTP/1.0\r\n\r\n", 204, policy.Matched},
		{"two Hosts", "GET /x HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", 400, policy.BadRequest},
		{"a Host that is none", "GET /x HTTP/1.1\r\nHost: 127.1\r\n\r\n", 400, policy.BadRequest},
		{"lengths that differ", "POST /x HTTP/1.1\r\nHost: HERE\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, policy.BadRequest},
		{"a body in the way of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, policy.BadRequest},
		{"an upgrade", "GET /x HTTP/1.1\r\nHost: HERE\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 403, policy.UpgradeNotListed},
		{"a method that overrides", "POST /x HTTP/1.1\r\nHost: HERE\r\nX-HTTP-Method-Override: delete\r\nContent-Length: 0\r\n\r\n", 403, policy.MethodNotListed},
		{"one that is spelt as a variable", "POST /x HTTP/1.1\r\nHost: HERE\r\nX_http_Method-Override: delete\r\nContent-Length: 0\r\n\r\n", 403, policy.MethodNotListed},
		{"a permitted one", "POST /x HTTP/1.1\r\nHost: HERE\r\nX-HTTP-Method-Override: PUT\r\nContent-Length: 0\r\n\r\n", 204, policy.Matched},
		{"a request that was here before", "GET /x HTTP/1.1\r\nHost: HERE\r\nVia: 1.1 gatehouse\r\n\r\n", 502, policy.Loop},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, o := wayIn(t, carrier{published: true}, options{})
			p := nettest.Dial(t, g.wayIn).Say("%s", strings.NewReplacer("HERE", g.wayIn, "PORT", portOf(o)).Replace(c.send))
			if c.reason == policy.Matched {
				s := o.Take(t)
				require.Contains(t, s.Head(), " /x HTTP/1.1\r\n")
				s.Say("HTTP/1.1 204 No Content\r\n\r\n")
			}
			resp, body := p.Response("GET")
			if c.status == 400 {
				require.Contains(t, []int{400, 501}, resp.StatusCode, body)
			} else {
				require.Equal(t, c.status, resp.StatusCode, body)
			}
			r := g.record()
			require.Equal(t, c.reason.String(), r.Verdict.Reason.String())
			require.Equal(t, policy.Publish, r.Surface)
			if c.reason != policy.Matched {
				o.Untouched(t)
			}
		})
	}
}

func TestOverTLSTheHostIsTheNameThatTLSWasOpenedFor(t *testing.T) {
	g, o := wayIn(t, carrier{published: true, secure: true}, options{})
	for send, status := range map[string]int{
		"GET /x HTTP/1.1\r\nHost: " + www + "\r\n\r\n":                        204,
		"GET /x HTTP/1.1\r\nHost: other.example\r\n\r\n":                      421,
		"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n":                          204,
		"GET https://" + www + "/x HTTP/1.1\r\nHost: " + www + "\r\n\r\n":     204,
		"GET https://other.example/x HTTP/1.1\r\nHost: other.example\r\n\r\n": 400,
	} {
		c := g.dial().Say("%s", send)
		var s *nettest.Peer
		if status == 204 {
			s = o.Take(t)
			s.Head()
			s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
		}
		resp, body := c.Response("GET")
		require.Equal(t, status, resp.StatusCode, "%s%s", send, body)
		if status != 204 {
			require.Equal(t, policy.HostMismatch, g.record().Verdict.Reason)
		} else {
			g.record()
		}
	}
}

// A refusal tells nobody where the server is, and the publication's name only to
// those it is for.
func TestARefusalAtAPublishedDoor(t *testing.T) {
	overDoors(t, func(t *testing.T, over carrier) {
		for _, c := range []struct {
			name   string
			change func(*policy.Publication)
			send   string
			status int
			reason policy.Reason
			tells  bool
		}{
			{"a client that it is not for", forClients("10.30.0.0/16"), "GET /x", 403, policy.ClientNotListed, false},
			{"a method", func(p *policy.Publication) { p.Methods = []string{"PUT"} }, "GET /x", 403, policy.MethodNotListed, true},
			{"a path", func(p *policy.Publication) { p.Paths = []policy.Glob{globOf("/api/*")} }, "GET /x", 403, policy.PathNotListed, true},
			{"a path in two ways", func(p *policy.Publication) { p.Paths = []policy.Glob{globOf("/api/*")} }, "GET /api/..%2fx", 400, policy.BadRequest, true},
			{"a publication that is gone", func(p *policy.Publication) { p.Name = "another" }, "GET /x", 403, policy.HostNotListed, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				g, o := wayIn(t, over, options{}, c.change)
				resp, body := g.dial().Say("%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n\r\n", c.send, www).Response("GET")
				require.Equal(t, c.status, resp.StatusCode)
				require.Equal(t, c.reason.String(), g.record().Verdict.Reason.String())
				require.Contains(t, resp.Header.Get("Proxy-Status"), `details="`+c.reason.String()+`"`)
				require.NotEmpty(t, resp.Header.Get("X-Gatehouse-Decision"))
				require.Contains(t, body, `"what":"The gateway refused this request."`)
				require.Equal(t, c.tells, strings.Contains(body, `"rule":`), body)
				require.NotContains(t, strings.ReplaceAll(body, fmt.Sprintf("%s-%d", www, o.Port), "NAME"), portOf(o), "it tells where the server is")
				o.Untouched(t)
			})
		}
	})
}

func globOf(s string) policy.Glob {
	g, err := policy.ParseGlob(s)
	if err != nil {
		panic(err)
	}
	return g
}

func TestNothingComesInWithoutAPolicy(t *testing.T) {
	g, o := wayIn(t, carrier{published: true}, options{})
	g.live.Swap(nil)
	resp, _ := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	r := g.record()
	require.Equal(t, policy.NoPolicy, r.Verdict.Reason)
	require.Equal(t, policy.Publish, r.Surface)
	o.Untouched(t)
}

func TestAServerThatCannotBeReached(t *testing.T) {
	g, _ := wayIn(t, carrier{published: true}, options{}, func(p *policy.Publication) { p.To.Port = 1 }) // nobody listens there
	resp, body := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www).Response("GET")
	require.Equal(t, 502, resp.StatusCode)
	require.Contains(t, body, "permits this request, but could not get an answer")
	r := g.record()
	require.Equal(t, "allowed upstream-unreachable", r.Verdict.String()+" "+r.Verdict.Reason.String())
}

func TestAPublicationNeverLeadsToTheGateItself(t *testing.T) {
	g, o := wayIn(t, carrier{published: true}, options{deps: Deps{Own: func(netip.AddrPort) bool { return true }}})
	resp, _ := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	r := g.record()
	require.Equal(t, "denied address-not-allowed", r.Verdict.String()+" "+r.Verdict.Reason.String())
	o.Untouched(t)
}

// What listens beside the gate may trust whoever asks from the machine itself.
func TestAPublicationNeverLeadsToThisMachine(t *testing.T) {
	local := Deps{Local: func(a netip.Addr) bool { return a.IsLoopback() }}
	g, o := wayIn(t, carrier{published: true}, options{deps: local})
	resp, _ := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	r := g.record()
	require.Equal(t, "denied address-not-allowed", r.Verdict.String()+" "+r.Verdict.Reason.String())
	o.Untouched(t)

	out := newGate(t, options{deps: local}, allow(www, o.Port, plainHTTP))
	c := out.get(www, o.Port, "/x")
	s := o.Take(t)
	s.Head()
	s.Say(okAnswer)
	resp, _ = c.Response("GET")
	require.Equal(t, 200, resp.StatusCode, "what goes out may")
}

func TestAServerThatCannotProveWhoItIs(t *testing.T) {
	over := carrier{published: true, secure: true}
	o := nettest.NewSecureOrigin(t, &tls.Config{Certificates: []tls.Certificate{nettest.SelfSigned(t, nil, www)}})
	g := over.gate(t, options{}, over.allow(www, o.Port))
	resp, _ := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www).Response("GET")
	require.Equal(t, 502, resp.StatusCode)
	require.Equal(t, policy.UpstreamUntrusted, g.record().Verdict.Reason)
}

func TestWhatIsNoTLSIsCountedAtADoorThatSpeaksIt(t *testing.T) {
	g, o := wayIn(t, carrier{published: true, secure: true}, options{})
	p := nettest.Dial(t, g.wayIn).Say("GET / HTTP/1.1\r\nHost: %s\r\n\r\n", www)
	p.Ended()
	r := g.record()
	require.Equal(t, "denied not-tls", r.Verdict.String()+" "+r.Verdict.Reason.String())
	require.Equal(t, policy.Publish, r.Surface)
	require.Contains(t, r.Detail, "no TLS")
	nettest.Dial(t, g.wayIn).Close() // asked nothing: nothing is counted
	old := tls.Client(nettest.Dial(t, g.wayIn).Conn, &tls.Config{ServerName: www, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	require.Error(t, old.Handshake())
	require.Equal(t, policy.NotTLS, g.record().Verdict.Reason)
	o.Untouched(t)
}

// A handshake that is under way does not hold up a shutdown.
func TestAHandshakeIsNoPassage(t *testing.T) {
	g, _ := wayIn(t, carrier{published: true, secure: true}, options{config: Config{Opening: nettest.Patience}})
	p := nettest.Dial(t, g.wayIn).Say("\x16\x03\x01")
	require.Eventually(t, func() bool {
		g.server.mu.Lock()
		defer g.server.mu.Unlock()
		for _, c := range g.server.clients {
			if c.idle.Load() {
				return true
			}
		}
		return false
	}, nettest.Patience, time.Millisecond)
	require.NoError(t, g.server.Shutdown(context.Background()))
	p.Ended()
}

// NTLM logs in a connection: the next request on it may be another user's.
func TestAConnectionThatIsLoggedInIsNobodyElses(t *testing.T) {
	overAll(t, func(t *testing.T, over carrier) {
		for name, c := range map[string]struct{ asks, answers string }{
			"a login in the request":  {"Authorization: NTLM TlRMTVNTUAAB\r\n", "200 OK\r\n"},
			"one that the server has": {"", "401 Unauthorized\r\nWWW-Authenticate: Basic\r\nWWW-Authenticate: negotiate abc\r\n"},
			"one after a tab":         {"Authorization: NTLM\tTlRMTVNTUAAB\r\n", "200 OK\r\n"},
			"one of several":          {"Authorization: Basic eA==, NTLM TlRMTVNTUAAB\r\n", "200 OK\r\n"},
			"several in one answer":   {"", "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\",\tNTLM\r\n"},
			"a login for one request": {"Authorization: Basic eA==\r\n", "401 Unauthorized\r\nWWW-Authenticate: Basic\r\n"},
		} {
			t.Run(name, func(t *testing.T) {
				o := over.origin(t)
				g := over.gate(t, options{}, over.allow(www, o.Port))
				p := g.dial().Say("GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n%[2]s\r\n", o.Port, c.asks)
				s := o.Take(t)
				s.Head()
				s.Say("HTTP/1.1 %sContent-Length: 2\r\n\r\nok", c.answers)
				p.Response("GET")
				g.record()
				p.Say("GET http://www.example.org:%[1]d/y HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
				if !strings.Contains(name, "for one") {
					s.Ended()
					s = o.Take(t)
				}
				require.Contains(t, s.Head(), "GET /y ")
				s.Say(okAnswer)
				p.Response("GET")
			})
		}
	})
}
