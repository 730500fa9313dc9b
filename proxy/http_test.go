package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

const www = "www.example.org"

func TestARequestGoesOnAsItCame(t *testing.T) { overAll(t, testARequestGoesOnAsItCame) }

func testARequestGoesOnAsItCame(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	for _, test := range []struct{ name, send, origin string }{
		{
			"path and query are not written anew, and nothing is invented",
			"GET http://www.example.org:PORT/a%20b/%7e{x}?q=%C3%A4&r=[1] HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n",
			"GET /a%20b/%7e{x}?q=%C3%A4&r=[1] HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"a path of two slashes stays one",
			"GET http://www.example.org:PORT//a?b=//c HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n",
			"GET //a?b=//c HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"an empty path is the root",
			"GET http://www.example.org:PORT?x HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n",
			"GET /?x HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"OPTIONS of the server as such asks for the server as such",
			"OPTIONS http://www.example.org:PORT HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"Accept-Encoding and User-Agent stay what they are",
			"GET http://www.example.org:PORT/ HTTP/1.1\r\nHost: WWW.Example.org.:PORT\r\nUser-Agent: a\r\nAccept-Encoding: br, gzip\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: www.example.org:PORT\r\nUser-Agent: a\r\nAccept-Encoding: br, gzip\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"fields for one hop and those that Connection names stay here",
			"GET http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nX-Stays: 1\r\nVia: 1.0 before\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: www.example.org:PORT\r\nX-Stays: 1\r\nVia: 1.0 before\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"a client of HTTP/1.0 without Host is asked on with HTTP/1.1",
			"GET http://www.example.org:PORT/ HTTP/1.0\r\nPragma: no-cache\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: www.example.org:PORT\r\nPragma: no-cache\r\nVia: 1.0 gatehouse\r\n\r\n",
		}, {
			"a POST without a body says so",
			"POST http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\nContent-Length: 0\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 gatehouse\r\nContent-Length: 0\r\n\r\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			here := strings.NewReplacer("PORT", portOf(o))
			c := g.dial().Say("%s", here.Replace(test.send))
			s := o.Take(t)
			require.Equal(t, here.Replace(test.origin), over.heard(s.Head()))
			s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
			resp, _ := c.Response("GET")
			require.Equal(t, 204, resp.StatusCode)
			require.Equal(t, policy.Matched, g.record().Verdict.Reason)
		})
	}
}

func TestAnAnswerGoesOnAsItCame(t *testing.T) { overAll(t, testAnAnswerGoesOnAsItCame) }

func testAnAnswerGoesOnAsItCame(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	for _, test := range []struct{ name, method, origin, client string }{
		{
			"nothing is invented, not even a type",
			"GET", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
			"HTTP/1.1 200 OK\r\nVia: 1.1 gatehouse\r\nContent-Length: 6\r\n\r\n<html>",
		}, {
			"a chunked answer stays chunked, trailers announced or not",
			"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nVia: 1.1 gatehouse\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
		}, {
			"compressed bytes stay compressed",
			"GET", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
			"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nVia: 1.1 gatehouse\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
		}, {
			"fields for one hop, nominated ones and those of other gates stay here",
			"GET", "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nProxy-Authenticate: Basic\r\nProxy-Status: other; error=x\r\nX-Gatehouse-Decision: GH-FAKE\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nVia: 1.1 gatehouse\r\nContent-Length: 0\r\n\r\n",
		}, {
			"an answer to HEAD keeps the length of the body it has not",
			"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
			"HTTP/1.1 200 OK\r\nVia: 1.1 gatehouse\r\nContent-Length: 99\r\n\r\n",
		}, {
			"304 has no body",
			"GET", "HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\n\r\n",
			"HTTP/1.1 304 Not Modified\r\nEtag: \"x\"\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"1xx heads come before the answer",
			"GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\nVia: 1.1 gatehouse\r\n\r\n",
		}, {
			"a body that ends with the origin's connection arrives in chunks",
			"GET", "HTTP/1.0 200 OK\r\n\r\nall",
			"HTTP/1.1 200 OK\r\nVia: 1.0 gatehouse\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n0\r\n\r\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := g.dial().Say("%s http://www.example.org:%d/ HTTP/1.1\r\nHost: www.example.org:%[2]d\r\n\r\n", test.method, o.Port)
			s := o.Take(t)
			s.Head()
			s.Say("%s", test.origin).Close()
			c.Expect(test.client)
			g.record()
		})
	}
}

func TestBadRequestsAreRefusedAndCounted(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{HeaderBytes: 4096}}, allow(www, o.Port, plainHTTP), allow(www, 443))
	for _, test := range []struct {
		name, send string
		status     int
		reason     policy.Reason
	}{
		{"origin-form", "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"https in absolute form", "GET https://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"ftp", "GET ftp://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"userinfo", "GET http://u:p@www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a port that is none", "GET http://www.example.org:0/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a port beyond the last", "GET http://www.example.org:65616/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a signed port", "GET http://www.example.org:+80/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"an address in an odd notation", "GET http://0x7f.1/ HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n", 400, policy.BadRequest},
		{"a fragment", "GET http://www.example.org/#a HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"bytes beyond ASCII in the target", "GET http://www.example.org/\xc3\xa4 HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, policy.BadRequest},
		{"an odd version", "GET http://www.example.org/ HTTP/1.2\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a Host of another name", "GET http://www.example.org/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 400, policy.HostMismatch},
		{"a Host of another port", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org:99\r\n\r\n", 400, policy.HostMismatch},
		{"no Host", "GET http://www.example.org/ HTTP/1.1\r\n\r\n", 400, policy.BadRequest},
		{"two Hosts", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a folded line", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nX: a\r\n b\r\n\r\n", 400, policy.BadRequest},
		{"a space before the colon", "GET http://www.example.org/ HTTP/1.1\r\nHost : www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a bare LF", "GET http://www.example.org/ HTTP/1.1\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a bare CR", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nX: a\rb\r\n\r\n", 400, policy.BadRequest},
		{"a NUL", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nX: \x00\r\n\r\n", 400, policy.BadRequest},
		{"length and chunks together", "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, policy.BadRequest},
		{"two lengths", "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, policy.BadRequest},
		{"a signed length", "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: +3\r\n\r\nabc", 400, policy.BadRequest},
		{"chunks in HTTP/1.0", "POST http://www.example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, policy.BadRequest},
		{"a coding nobody knows", "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, policy.BadRequest},
		{"a head beyond the limit", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\n", 431, policy.BadRequest},
		{"a request line beyond the limit", "GET http://www.example.org/" + strings.Repeat("x", 5000), 431, policy.BadRequest},
		{"more fields than there are names", "GET http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\n" + strings.Repeat("X: y\r\n", 100) + "\r\n", 431, policy.BadRequest},
		{"a method nobody knows the end of", strings.Repeat("GET", 20), 501, policy.BadRequest},
		{"a bad line whose head never ends", "GET http://www.example.org/ HTTP/1.1\r\nHost : www.example.org\r\n", 400, policy.BadRequest},
		{"markup in the target", "GET http://www.example.org/<b> HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"a trailer announced that frames", "POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n", 400, policy.BadRequest},
		{"CONNECT without Host", "CONNECT www.example.org:443 HTTP/1.1\r\n\r\n", 400, policy.BadRequest},
		{"CONNECT without a port", "CONNECT www.example.org HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"CONNECT with a path", "CONNECT www.example.org:443/x HTTP/1.1\r\nHost: www.example.org\r\n\r\n", 400, policy.BadRequest},
		{"CONNECT with a body", "CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org\r\nContent-Length: 1\r\n\r\nx", 400, policy.BadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := g.dial().Say("%s", test.send)
			resp, body := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode, body)
			require.Equal(t, `gatehouse; error=http_request_error; details="`+test.reason.String()+`"`, resp.Header.Get("Proxy-Status"))
			require.True(t, resp.Close, "the connection stays open")
			rest, _ := c.Ended()
			require.Empty(t, rest)
			r := g.record()
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.Equal(t, policy.Deny, r.Verdict.Effect)
			require.Equal(t, test.status, r.Status)
			require.Equal(t, resp.Header.Get("X-Gatehouse-Decision"), r.ID)
		})
	}
	require.Empty(t, g.resolver.asked(), "a bad request asked for a name")
	o.Untouched(t)
}

func TestRefusalsSayWhatTheContractSays(t *testing.T) {
	o := nettest.NewOrigin(t)
	far := allow("far.example.org", 9)
	far.Clients = policy.Clients{Prefixes: prefixesOf("192.0.2.0/24")}
	g := newGate(t, options{names: map[string]string{"private.example.org": "10.0.0.1"}},
		allow(www, o.Port, plainHTTP, methods("GET")), allow("private.example.org", 80), allow("unknown.example.org", 80), allow("tls.example.org", 443), far)
	g.resolver.names["unknown.example.org"] = nil
	for _, test := range []struct {
		name, send   string
		status       int
		kind, reason string
		effect       policy.Effect
	}{
		{"a host nobody listed", "GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n", 403, "http_request_denied", "host-not-listed", policy.Deny},
		{"a port nobody listed", "GET http://www.example.org:1/ HTTP/1.1\r\nHost: www.example.org:1\r\n\r\n", 403, "http_request_denied", "port-not-listed", policy.Deny},
		{"a method nobody listed", "PUT http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 403, "http_request_denied", "method-not-listed", policy.Deny},
		{"an ordinary request to a tls port", "GET http://tls.example.org:443/ HTTP/1.1\r\nHost: tls.example.org:443\r\n\r\n", 403, "http_request_denied", "not-http", policy.Deny},
		{"an address no rule permits", "GET http://private.example.org/ HTTP/1.1\r\nHost: private.example.org\r\n\r\n", 403, "destination_ip_prohibited", "address-not-allowed", policy.Deny},
		{"an upgrade nobody listed", "GET http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 403, "http_request_denied", "upgrade-not-listed", policy.Deny},
		{"a request that has been here before", "GET http://www.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\nVia: 1.1 a, 1.1 GateHouse\r\n\r\n", 502, "proxy_loop_detected", "loop", policy.Deny},
		{"a name that does not resolve", "GET http://unknown.example.org/ HTTP/1.1\r\nHost: unknown.example.org\r\n\r\n", 502, "dns_error", "upstream-unresolved", policy.Allow},
		{"a tunnel to a host nobody listed", "CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 403, "http_request_denied", "host-not-listed", policy.Deny},
		{"a tunnel of HTTP/1.0 to a host nobody listed", "CONNECT other.example:443 HTTP/1.0\r\n\r\n", 403, "http_request_denied", "host-not-listed", policy.Deny},
		{"a tunnel for another client", "CONNECT far.example.org:9 HTTP/1.1\r\nHost: x\r\n\r\n", 403, "http_request_denied", "client-not-listed", policy.Deny},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := g.dial().Say("%s", strings.ReplaceAll(test.send, "PORT", portOf(o)))
			resp, body := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode, body)
			require.Equal(t, `gatehouse; error=`+test.kind+`; details="`+test.reason+`"`, resp.Header.Get("Proxy-Status"))
			r := g.record()
			require.Equal(t, test.reason, r.Verdict.Reason.String())
			require.Equal(t, test.effect, r.Verdict.Effect)
			require.Equal(t, r.ID, resp.Header.Get("X-Gatehouse-Decision"))
			require.Equal(t, test.status, r.Status)
			if strings.HasPrefix(test.send, "CONNECT") {
				require.True(t, resp.Close)
			}
			require.Contains(t, body, r.ID)
			require.NotContains(t, body, "127.0.0.1")
			require.NotContains(t, body, "10.0.0.1")
		})
	}
	o.Untouched(t)
}

func TestARefusedRequestLeavesTheConnectionOpenForTheNext(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
	c := g.dial().Say("GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\nGET http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
	resp, _ := c.Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	_, body := c.Response("GET")
	require.Equal(t, "ok", body)
}

func TestTheRefusalComesInTheFormTheClientLikes(t *testing.T) {
	g := newGate(t, options{}, allow(www, 80, methods("GET")))
	for accept, want := range map[string]string{
		"*/*":                            "text/plain; charset=utf-8",
		"text/html, */*;q=0.1":           "text/html; charset=utf-8",
		"application/json":               "application/json",
		"text/html;q=0.2, text/*;q=0.1":  "text/html; charset=utf-8",
		"application/json;q=0, text/css": "text/plain; charset=utf-8",
	} {
		c := g.dial().Say("PUT http://www.example.org/%%3Cscript%%3E HTTP/1.1\r\nHost: www.example.org\r\nAccept: %s\r\n\r\n", accept)
		resp, body := c.Response("PUT")
		require.Equal(t, want, resp.Header.Get("Content-Type"), accept)
		require.NotContains(t, body, "<script>")
		require.Contains(t, body, "www.example.org-80", "the rule is not told to a client it names")
		g.record()
	}
}

func TestUpstreamTroubleIsToldWithoutSayingWhere(t *testing.T) {
	closed := nettest.NewOrigin(t)
	refusedPort := nettest.Deaf(t)
	for _, test := range []struct {
		name, kind, reason string
		port, status       int
		play               func(*nettest.Peer)
	}{
		{"nobody listens", "connection_refused", "upstream-unreachable", refusedPort, 502, nil},
		{"the origin leaves without an answer", "http_protocol_error", "upstream-invalid", closed.Port, 502, func(s *nettest.Peer) { s.Head(); s.Close() }},
		{"the origin answers rubbish", "http_protocol_error", "upstream-invalid", closed.Port, 502, func(s *nettest.Peer) { s.Head(); s.Say("rubbish\r\n\r\n").Close() }},
		{"the origin answers 101 to no question", "http_protocol_error", "upstream-invalid", closed.Port, 502, func(s *nettest.Peer) {
			s.Head()
			s.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").Close()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGate(t, options{}, allow(www, test.port, plainHTTP), allow("tunnel.example.org", test.port, rawTCP))
			c := g.get(www, test.port, "/")
			if test.play != nil {
				test.play(closed.Take(t))
			}
			resp, body := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode)
			require.Equal(t, `gatehouse; error=`+test.kind+`; details="`+test.reason+`"`, resp.Header.Get("Proxy-Status"))
			require.NotContains(t, body, "127.0.0.1")
			require.NotContains(t, body, "connect:")
			r := g.record()
			require.Equal(t, "allowed", r.Verdict.String())
			require.Equal(t, "127.0.0.1", r.IP.String(), "the book does not say where it was tried")
			require.Equal(t, test.reason, r.Verdict.Reason.String())
		})
	}
	t.Run("a tunnel to where nobody listens is refused in words", func(t *testing.T) {
		g := newGate(t, options{}, allow("tunnel.example.org", refusedPort, rawTCP))
		resp, _ := g.dial().Say("CONNECT tunnel.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n", refusedPort).Response("GET")
		require.Equal(t, 502, resp.StatusCode)
		require.Equal(t, policy.UpstreamUnreachable, g.record().Verdict.Reason)
	})
}

func TestTheClientsCloseDoesNotCloseTheOriginsConnection(t *testing.T) {
	overAll(t, testTheClientsCloseDoesNotCloseTheOriginsConnection)
}

func testTheClientsCloseDoesNotCloseTheOriginsConnection(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.dial().Say("GET http://www.example.org:%[1]d/1 HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: close\r\n\r\n", o.Port)
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
	resp, _ := c.Response("GET")
	require.True(t, resp.Close)
	c.Ended()
	c = g.get(www, o.Port, "/2")
	require.Contains(t, s.Head(), "GET /2 ")
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")
	_, body := c.Response("GET")
	require.Equal(t, "2", body)
}

func TestTheEnvironmentLeadsNowhere(t *testing.T) {
	trap := nettest.NewOrigin(t)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://"+trap.Addr)
	}
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP), allow("tcp.example.org", o.Port, rawTCP))
	c := g.get(www, o.Port, "/")
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 204 No Content\r\n\r\n")
	resp, _ := c.Response(http.MethodGet)
	require.Equal(t, 204, resp.StatusCode)
	g.connect("tcp.example.org", o.Port).Say("x")
	o.Take(t).Expect("x")
	trap.Untouched(t)
}
