package proxy

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
	"gatehouse/proxy/parent"
)

// through makes a parent of an origin: what comes to it is what a parent sees.
func through(name string, port int, change ...func(*parent.Config)) parent.Config {
	c := parent.Config{Name: name, Host: "127.0.0.1", Port: uint16(port)}
	for _, f := range change {
		f(&c)
	}
	return c
}

func byName(c *parent.Config)   { c.ByName = true }
func loggedIn(c *parent.Config) { c.User, c.Password = "gate", "sesame" }

// login is loggedIn as RFC 7617 spells it.
const login = "Proxy-Authorization: Basic Z2F0ZTpzZXNhbWU=\r\n"

func parents(list ...parent.Config) options { return options{config: Config{Parents: list}} }

func TestARequestGoesThroughAParentInAbsoluteForm(t *testing.T) {
	up := nettest.NewOrigin(t)
	g := newGate(t, parents(through("county", up.Port, loggedIn)), allow("www.example.org", 80))
	c := g.dial().Say("GET http://www.example.org/a?b HTTP/1.1\r\nHost: www.example.org\r\nProxy-Authorization: Basic Y2xpZW50\r\n\r\n")
	s := up.Take(t)
	require.Equal(t, "GET http://www.example.org/a?b HTTP/1.1\r\nHost: www.example.org\r\n"+login+"Via: 1.1 gatehouse\r\n\r\n", s.Head())
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	_, body := c.Response("GET")
	require.Equal(t, "hi", body)
	r := g.record()
	require.Equal(t, "county", r.Parent)
	require.Equal(t, policy.Matched, r.Verdict.Reason)

	c.Say("GET http://www.example.org/again HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
	require.Contains(t, s.Head(), "GET http://www.example.org/again ", "the connection to the parent was not kept")
	s.Say("HTTP/1.1 204 No Content\r\n\r\n")
	c.Response("GET")
	require.Equal(t, "county", g.record().Parent)
}

func TestATunnelGoesThroughAParent(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*parent.Config)
		asked  string
	}{
		{"by the address that was judged", func(*parent.Config) {}, "127.0.0.1:5672"},
		{"by name where it is configured so", byName, "amqp.example.org:5672"},
	} {
		t.Run(test.name, func(t *testing.T) {
			up := nettest.NewOrigin(t)
			g := newGate(t, parents(through("county", up.Port, loggedIn, test.change)), allow("amqp.example.org", 5672, rawTCP))
			c := g.dial().Say("CONNECT amqp.example.org:5672 HTTP/1.1\r\nHost: amqp.example.org:5672\r\n\r\n")
			s := up.Take(t)
			require.Equal(t, fmt.Sprintf("CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\nVia: 1.1 gatehouse\r\n%[2]s\r\n", test.asked, login), s.Head())
			s.Say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\nX-Cache: MISS\r\n\r\nhello from behind")
			c.Expect("HTTP/1.1 200 Connection established\r\n\r\nhello from behind")
			c.Say("and back")
			s.Expect("and back")
			s.CloseWrite()
			c.CloseWrite()
			c.Ended()
			r := g.record()
			require.Equal(t, "county", r.Parent)
			require.Equal(t, netip.MustParseAddr("127.0.0.1"), r.IP)
			require.Equal(t, int64(len("hello from behind")), r.Received)
		})
	}
}

func TestTLSGoesThroughAParent(t *testing.T) {
	up := nettest.NewOrigin(t)
	g := newGate(t, parents(through("county", up.Port)), allow("www.example.org", 443))
	c := g.dial().Say("CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org:443\r\n\r\n")
	s := up.Take(t)
	require.Contains(t, s.Head(), "CONNECT 127.0.0.1:443 ")
	s.Say("HTTP/1.1 200 OK\r\n\r\n")
	c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
	first := hello(t, "www.example.org")
	c.Say("%s", first)
	s.Expect(first)
}

func TestTLSThatIsLookedIntoGoesThroughAParent(t *testing.T) {
	up := nettest.NewOrigin(t)
	rules := []policy.Rule{insideTLS.allow(www, nettest.Deaf(t))} // nobody is there to be reached directly
	g := insideTLS.gate(t, parents(through("county", up.Port, loggedIn)), rules...)
	var s *nettest.Peer
	for range 2 {
		c := g.knock().Say("CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", g.site)
		if s == nil {
			outer := up.Take(t)
			_, port, _ := strings.Cut(g.site, ":")
			require.Equal(t, "CONNECT 127.0.0.1:"+port+" HTTP/1.1\r\nHost: 127.0.0.1:"+port+"\r\nVia: 1.1 gatehouse\r\n"+login+"\r\n", outer.Head())
			outer.Say("HTTP/1.1 200 OK\r\n\r\n")
			s = nettest.NewPeer(t, https{tls.Server(outer.Conn, originTLS(t))})
		}
		c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
		secure := tls.Client(c.Conn, clientTLS(g.site))
		require.NoError(t, secure.Handshake())
		inner := nettest.NewPeer(t, https{secure}).Say("GET /a HTTP/1.1\r\nHost: %s\r\n\r\n", g.site)
		head := s.Head()
		require.True(t, strings.HasPrefix(head, "GET /a HTTP/1.1\r\n"), "what is inside a tunnel is asked in origin form")
		require.NotContains(t, head, "Proxy-Authorization", "the origin was told the parent's login")
		s.Say(okAnswer)
		_, body := inner.Response("GET")
		require.Equal(t, "ok", body)
		require.Equal(t, "county", g.record().Parent)
		inner.Close()
		require.Equal(t, "county", g.tunnel().Parent)
	}
	up.Untouched(t)

	direct := rules[0]
	direct.Parent = "direct"
	g.swap(policy.Enforce, direct)
	c := g.knock().Say("CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", g.site)
	res, _ := c.Response("CONNECT")
	require.Equal(t, 502, res.StatusCode, "a connection through the parent was lent to a rule that goes past it")
}

func TestATunnelToAnHTTPPortIsReadAndGoesThroughTheParentAsRequests(t *testing.T) {
	up := nettest.NewOrigin(t)
	g := newGate(t, parents(through("county", up.Port)), allow("www.example.org", 80))
	c := g.connect("www.example.org", 80)
	c.Say("GET /inside HTTP/1.1\r\nHost: www.example.org\r\n\r\n")
	s := up.Take(t)
	require.True(t, strings.HasPrefix(s.Head(), "GET http://www.example.org/inside HTTP/1.1\r\n"))
	s.Say("HTTP/1.1 204 No Content\r\n\r\n")
	res, _ := c.Response("GET")
	require.Equal(t, 204, res.StatusCode)
}

func TestARuleChoosesItsParent(t *testing.T) {
	for _, test := range []struct {
		says string
		goes int // which of direct, first, second
	}{
		{"", 1}, {"direct", 0}, {"first", 1}, {"second", 2},
	} {
		t.Run("a rule that says "+test.says, func(t *testing.T) {
			all := []*nettest.Origin{nettest.NewOrigin(t), nettest.NewOrigin(t), nettest.NewOrigin(t)}
			g := newGate(t, parents(through("first", all[1].Port), through("second", all[2].Port)),
				allow("www.example.org", all[0].Port, plainHTTP, func(r *policy.Rule) { r.Parent = test.says }))
			c := g.get("www.example.org", all[0].Port, "/")
			s := all[test.goes].Take(t)
			s.Head()
			s.Say("HTTP/1.1 204 No Content\r\n\r\n")
			res, _ := c.Response("GET")
			require.Equal(t, 204, res.StatusCode)
			for i, o := range all {
				if i != test.goes {
					o.Untouched(t)
				}
			}
		})
	}
}

func TestAParentThatDoesNotAnswerIsPassedOver(t *testing.T) {
	second := nettest.NewOrigin(t)
	told := make(chan *parent.Fault, 16)
	o := parents(through("first", nettest.Deaf(t)), through("second", second.Port))
	o.deps.ParentFault = func(f *parent.Fault) { told <- f }
	at := time.Now()
	o.deps.Now = func() time.Time { return at } // for a while that does not end
	g := newGate(t, o, allow("amqp.example.org", 5672, rawTCP))
	for range 2 {
		c := g.dial().Say("CONNECT amqp.example.org:5672 HTTP/1.1\r\nHost: amqp.example.org:5672\r\n\r\n")
		s := second.Take(t)
		s.Head()
		s.Say("HTTP/1.1 200 OK\r\n\r\n")
		c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
		s.Close()
		c.Close()
		require.Equal(t, "second", g.record().Parent)
	}
	require.Len(t, told, 1, "it was asked again although it had not answered")
	require.Equal(t, parent.Unreachable, (<-told).Cause)
}

func TestWhereNoParentAnswersNothingIsDialledDirectly(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, parents(through("first", nettest.Deaf(t)), through("second", nettest.Deaf(t))), allow("www.example.org", o.Port, plainHTTP))
	res, body := g.get("www.example.org", o.Port, "/").Response("GET")
	require.Equal(t, 502, res.StatusCode)
	require.Contains(t, body, "The parent proxy first cannot be reached")
	r := g.record()
	require.Equal(t, policy.UpstreamUnreachable, r.Verdict.Reason)
	require.Contains(t, r.Detail, "[[upstream]]")
	o.Untouched(t)
}

func TestAParentThatCannotIsNamed(t *testing.T) {
	for _, test := range []struct {
		answer string
		reason policy.Reason
		cause  parent.Cause
		says   string
	}{
		{"407 Proxy Authentication Required", policy.UpstreamInvalid, parent.Login, "it wants a login"},
		{"403 Forbidden", policy.UpstreamInvalid, parent.Refused, "it refuses this destination"},
		{"411 Length Required", policy.UpstreamInvalid, parent.Length, "whose length is not known"},
		{"417 Expectation Failed", policy.UpstreamInvalid, parent.Expectation, "100-continue"},
		{"501 Not Implemented", policy.UpstreamInvalid, parent.Method, "does not know the method"},
		{"503 Service Unavailable", policy.UpstreamUnreachable, parent.Destination, "could not reach the destination"},
		{"302 Found", policy.UpstreamInvalid, parent.Refused, "it refuses this destination"},
	} {
		t.Run("which answers "+test.answer+" to a CONNECT", func(t *testing.T) {
			_, port := nettest.NewCannedOrigin(t, "HTTP/1.1 "+test.answer+"\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", false)
			second := nettest.NewOrigin(t)
			told := make(chan *parent.Fault, 16)
			o := parents(through("county", port), through("second", second.Port))
			o.deps.ParentFault = func(f *parent.Fault) { told <- f }
			g := newGate(t, o, allow("amqp.example.org", 5672, rawTCP))
			res, body := g.dial().Say("CONNECT amqp.example.org:5672 HTTP/1.1\r\nHost: amqp.example.org:5672\r\n\r\n").Response("CONNECT")
			require.Equal(t, 502, res.StatusCode)
			require.Empty(t, res.Header.Get("Proxy-Authenticate"))
			require.Contains(t, body, "The parent proxy county answers "+test.answer[:3])
			require.Contains(t, body, test.says)
			require.Equal(t, test.reason, g.record().Verdict.Reason)
			require.Equal(t, test.cause, (<-told).Cause)
			second.Untouched(t)
		})
	}
	t.Run("which speaks no HTTP", func(t *testing.T) {
		_, port := nettest.NewCannedOrigin(t, "SSH-2.0-x\r\n\r\n", false)
		g := newGate(t, parents(through("county", port)), allow("amqp.example.org", 5672, rawTCP))
		res, body := g.dial().Say("CONNECT amqp.example.org:5672 HTTP/1.1\r\nHost: amqp.example.org:5672\r\n\r\n").Response("CONNECT")
		require.Equal(t, 502, res.StatusCode)
		require.Contains(t, body, "not HTTP")
		require.Equal(t, policy.UpstreamInvalid, g.record().Verdict.Reason)
	})
	t.Run("which wants a login for a request", func(t *testing.T) {
		_, port := nettest.NewCannedOrigin(t, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", false)
		g := newGate(t, parents(through("county", port)), allow("www.example.org", 80))
		res, body := g.get("www.example.org", 80, "/").Response("GET")
		require.Equal(t, 502, res.StatusCode)
		require.Empty(t, res.Header.Get("Proxy-Authenticate"))
		require.Contains(t, body, "The parent proxy county answers 407")
		r := g.record()
		require.Equal(t, policy.UpstreamInvalid, r.Verdict.Reason)
		require.Contains(t, r.Detail, "user and password")
	})
	t.Run("which takes no chunked upload: its answer goes on, and the book names it", func(t *testing.T) {
		_, port := nettest.NewCannedOrigin(t, "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n", false)
		g := newGate(t, parents(through("county", port)), allow("www.example.org", 80))
		res, _ := g.dial().Say("POST http://www.example.org/ HTTP/1.1\r\nHost: www.example.org\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").Response("POST")
		require.Equal(t, 411, res.StatusCode)
		require.Contains(t, g.record().Detail, "The parent proxy county answers 411")
	})
}

func TestAnAddressThatIsNotAllowedIsAskedOfNoParent(t *testing.T) {
	up := nettest.NewOrigin(t)
	o := parents(through("county", up.Port, byName))
	o.names = map[string]string{"www.example.org": "10.1.2.3"}
	g := newGate(t, o, allow("www.example.org", 80))
	res, _ := g.get("www.example.org", 80, "/").Response("GET")
	require.Equal(t, 403, res.StatusCode)
	require.Equal(t, policy.AddressNotAllowed, g.record().Verdict.Reason)
	up.Untouched(t)
}

func TestAParentThatIsTheGateItselfIsNeverAsked(t *testing.T) {
	o := nettest.NewOrigin(t)
	opts := parents(through("itself", o.Port))
	opts.deps.Own = func(to netip.AddrPort) bool { return int(to.Port()) == o.Port }
	g := newGate(t, opts, allow("www.example.org", 80))
	res, _ := g.get("www.example.org", 80, "/").Response("GET")
	require.Equal(t, 502, res.StatusCode)
	require.Equal(t, policy.UpstreamUnreachable, g.record().Verdict.Reason)
	o.Untouched(t)
}

func TestTheNextAddressIsAskedForWhereTheParentReachesOneNot(t *testing.T) {
	up := nettest.NewOrigin(t)
	o := parents(through("county", up.Port))
	o.names = map[string]string{"amqp.example.org": "127.0.0.2 127.0.0.3"}
	g := newGate(t, o, allow("amqp.example.org", 5672, rawTCP))
	c := g.dial().Say("CONNECT amqp.example.org:5672 HTTP/1.1\r\nHost: amqp.example.org:5672\r\n\r\n")
	s := up.Take(t)
	require.Contains(t, s.Head(), "CONNECT 127.0.0.2:5672 ")
	s.Say("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
	s = up.Take(t)
	require.Contains(t, s.Head(), "CONNECT 127.0.0.3:5672 ")
	s.Say("HTTP/1.1 200 OK\r\n\r\n")
	c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
	c.Close()
	s.Close()
	require.Equal(t, netip.MustParseAddr("127.0.0.3"), g.record().IP)
}
