package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

const tcpHost = "tcp.example.org"

func TestATunnelOpensInTheClientsVersion(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	for _, test := range []struct{ name, send, reply string }{
		{"HTTP/1.0 without Host, as the old Service Bus library asks", "CONNECT tcp.example.org:PORT HTTP/1.0\r\nProxy-Connection: Keep-Alive\r\n\r\n", "HTTP/1.0 200 Connection established\r\n\r\n"},
		{"HTTP/1.1", "CONNECT tcp.example.org:PORT HTTP/1.1\r\nHost: tcp.example.org:PORT\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"},
		{"HTTP/1.1 with a Host that says something else: it is ignored", "CONNECT tcp.example.org:PORT HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 Connection established\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := g.dial().Say("%s", strings.ReplaceAll(test.send, "PORT", portOf(o)))
			c.Expect(test.reply)
			s := o.Take(t)
			c.Say("ping")
			s.Expect("ping").Say("pong")
			c.Expect("pong")
		})
	}
}

func TestBytesSentWithTheConnectHeadArrive(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	early := strings.Repeat("early", 2000)
	c := g.dial().Say("CONNECT tcp.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n%s", o.Port, early)
	s := o.Take(t).Expect(early)
	c.Expect("HTTP/1.1 200 Connection established\r\n\r\n").Close()
	s.Ended()
	s.Close()
	require.EqualValues(t, len(early), g.record().Sent)
}

func TestAnOpenTunnelDoesNotKeepAReplacedPolicy(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	c := g.connect(tcpHost, o.Port).Say("x")
	s := o.Take(t).Expect("x")
	before := weak.Make(g.live.Policy())
	g.swap(policy.Enforce, allow(tcpHost, o.Port, rawTCP), allow(www, o.Port, plainHTTP))
	require.Eventually(t, func() bool { runtime.GC(); return before.Value() == nil }, time.Minute, 10*time.Millisecond,
		"something holds the policy by which the tunnel was opened")
	g.server.Review()
	c.Say("y")
	s.Expect("y")
	g.swap(policy.Enforce, allow(www, o.Port, plainHTTP))
	g.server.Review()
	c.Ended()
	r := g.record()
	require.Equal(t, "policy", r.End)
	require.Equal(t, policy.HostNotListed, r.Verdict.Reason)
}

func TestAMQPPassesAndIsCounted(t *testing.T) {
	_, at := nettest.NewAMQPPeer(t)
	g := newGate(t, options{}, allow(tcpHost, at, rawTCP))
	c := g.connect(tcpHost, at).Say("%s", nettest.AMQPHeader).Expect(nettest.AMQPHeader)
	bulk := strings.Repeat("0123456789abcdef", 1<<16)
	go io.WriteString(c.Conn, bulk)
	c.Expect(bulk)
	c.CloseWrite()
	rest, err := c.Ended()
	require.NoError(t, err)
	require.Empty(t, rest)
	r := g.record()
	require.EqualValues(t, len(bulk)+8, r.Sent)
	require.EqualValues(t, len(bulk)+8, r.Received)
	require.Equal(t, policy.CONNECT, r.Surface)
	require.Equal(t, policy.TCP, r.Protocol)
}

func TestTheAnswerAfterTheClientsEndArrivesWhole(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	c := g.connect(tcpHost, o.Port).Say("hello")
	c.CloseWrite()
	s := o.Take(t)
	said, err := s.Ended()
	require.NoError(t, err)
	s.Say("got %d bytes", len(said)).Close()
	rest, err := c.Ended()
	require.NoError(t, err)
	require.Equal(t, "got 5 bytes", rest)
	require.Equal(t, "client-closed", g.record().End)
}

func TestAResetIsPassedOn(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	t.Run("from the origin", func(t *testing.T) {
		c := g.connect(tcpHost, o.Port).Say("x")
		s := o.Take(t).Expect("x")
		s.Reset()
		_, err := c.Ended()
		require.Error(t, err)
		require.Equal(t, "origin-closed", g.record().End)
	})
	t.Run("from the client", func(t *testing.T) {
		c := g.connect(tcpHost, o.Port).Say("x")
		s := o.Take(t).Expect("x")
		c.Reset()
		_, err := s.Ended()
		require.Error(t, err)
		require.Equal(t, "client-closed", g.record().End)
	})
}

func TestAnIdleTunnelEndsOnBothSides(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{TunnelIdle: 100 * time.Millisecond}}, allow(tcpHost, o.Port, rawTCP))
	c := g.connect(tcpHost, o.Port)
	s := o.Take(t)
	c.Conn.(*net.TCPConn).CloseWrite() // the origin never answers the end; an error says that it was idle before
	c.Ended()
	s.Ended()
	require.Equal(t, "idle", g.record().End)
}

// hello is a ClientHello for a server name, as crypto/tls writes it.
func hello(t *testing.T, sni string, change ...func(*tls.Config)) string {
	t.Helper()
	config := &tls.Config{ServerName: sni, InsecureSkipVerify: true}
	for _, f := range change {
		f(config)
	}
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		defer near.Close()
		tls.Client(near, config).Handshake()
	}()
	head := make([]byte, 5)
	_, err := io.ReadFull(far, head)
	require.NoError(t, err)
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err = io.ReadFull(far, body)
	require.NoError(t, err)
	return string(head) + string(body)
}

func TestATLSTunnelReachesItsHost(t *testing.T) {
	o := nettest.NewTLSOrigin(t, www)
	g := newGate(t, options{}, allow(www, o.Port, overTLS))
	c := g.connect(www, o.Port)
	secure := tls.Client(c.Conn, &tls.Config{ServerName: www, RootCAs: o.Roots})
	_, err := secure.Write([]byte("through"))
	require.NoError(t, err)
	back := make([]byte, 7)
	_, err = io.ReadFull(secure, back)
	require.NoError(t, err)
	require.Equal(t, "through", string(back))
	secure.Close()
	r := g.record()
	require.Equal(t, policy.Matched, r.Verdict.Reason)
	require.Equal(t, policy.TLS, r.Protocol)
}

func TestTheServerNameMustBeTheHostOfTheTunnel(t *testing.T) {
	const soon = 200 * time.Millisecond
	for _, test := range []struct {
		name    string
		bytes   string
		host    string
		reason  policy.Reason
		opening time.Duration // 0: more than these bytes need
	}{
		{"another name", hello(t, "evil.example.org"), www, policy.SNIMismatch, 0},
		{"no name", hello(t, ""), www, policy.SNIMissing, 0},
		{"a name where the tunnel is for an address", hello(t, www), "127.0.0.1", policy.SNIMismatch, 0},
		{"no TLS", "SSH-2.0-x\r\n", www, policy.NotTLS, 0},
		{"plain HTTP", "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", www, policy.NotTLS, 0},
		{"a single byte that is no TLS", "x", www, policy.NotTLS, 0},
		{"half a hello and then silence", hello(t, www)[:100], www, policy.NotTLS, soon},
		{"nothing at all", "", www, policy.NotTLS, soon},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{config: Config{Opening: test.opening}}, allow(www, o.Port, overTLS), allow("127.0.0.1", o.Port, overTLS))
			c := g.dial().Say("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n%s", test.host, o.Port, test.bytes)
			c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
			s := o.Take(t)
			rest, err := c.Ended()
			require.Empty(t, rest)
			require.Error(t, err, "the client sees an orderly end")
			rest, _ = s.Ended()
			require.Empty(t, rest, "the origin got bytes that were refused")
			r := g.record()
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.Equal(t, policy.Deny, r.Verdict.Effect)
			require.Equal(t, "refused", r.End)
		})
	}
}

func TestATunnelToWhatIsNoHostIsToldSo(t *testing.T) {
	g := newGate(t, options{}, allow(tcpHost, 443, rawTCP))
	for _, host := range []string{"[::ffff:127.0.0.1]", "0177.0.0.1", "a..b"} {
		c := g.dial().Say("CONNECT %s:443 HTTP/1.1\r\nHost: x\r\n\r\n", host)
		resp, body := c.Response("CONNECT")
		require.Equal(t, 400, resp.StatusCode, host)
		require.Contains(t, body, "The CONNECT request names no valid host.", host)
		require.Equal(t, policy.BadRequest, g.record().Verdict.Reason, host)
	}
}

func TestAClientThatResetsAnOpenTunnelWasRefusedNothing(t *testing.T) {
	for name, protocol := range map[string]func(*policy.Rule){"a tls port": overTLS, "an http port": plainHTTP} {
		t.Run(name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{}, allow(www, o.Port, protocol))
			c := g.connect(www, o.Port)
			o.Take(t)
			c.Reset()
			r := g.record()
			require.Equal(t, policy.Matched, r.Verdict.Reason)
			require.Equal(t, "client-closed", r.End)
		})
	}
}

func TestATunnelThatCannotBeReadIsCountedAsOne(t *testing.T) {
	for _, target := range []string{"origin.test:0", "origin.test:65536", "origin.test:+80", "origin.test", "a:b@origin.test:1", "origin.test:1/", "*"} {
		t.Run(target, func(t *testing.T) {
			g := newGate(t, options{}, allow(www, 443))
			c := nettest.Dial(t, g.addr).Say("CONNECT %s HTTP/1.1\r\nHost: origin.test\r\n\r\n", target)
			resp, _ := c.Response("GET")
			require.Equal(t, 400, resp.StatusCode)
			r := g.record()
			require.Equal(t, policy.CONNECT, r.Surface)
			require.Equal(t, policy.BadRequest, r.Verdict.Reason)
			require.Equal(t, "CONNECT", r.Method)
		})
	}
}

func TestAHelloArrivesHoweverItIsSplit(t *testing.T) {
	large := func(c *tls.Config) {
		for i := range 600 {
			c.NextProtos = append(c.NextProtos, fmt.Sprintf("protocol-%04d", i))
		}
	}
	for name, whole := range map[string]string{
		"of usual size":   hello(t, www),
		"of 9 KiB":        hello(t, www, large),
		"in many records": inRecords(hello(t, www), 100),
		"for an address":  hello(t, ""),
	} {
		t.Run(name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{}, allow(www, o.Port, overTLS), allow("127.0.0.1", o.Port, overTLS))
			host := www
			if name == "for an address" {
				host = "127.0.0.1"
			}
			c := g.dial().Say("CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n%s", host, o.Port, whole[:3])
			c.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
			more := strings.Repeat("and more", 300)
			for _, part := range []string{whole[3:50], whole[50:101], whole[101:] + more} {
				c.Say("%s", part)
			}
			o.Take(t).Expect(whole + more).Say("back")
			c.Expect("back")
		})
	}
}

// inRecords cuts the one record of a hello into records of n bytes.
func inRecords(hello string, n int) string {
	var b strings.Builder
	for rest := hello[5:]; rest != ""; {
		piece := rest[:min(n, len(rest))]
		rest = rest[len(piece):]
		b.WriteString(hello[:3] + string([]byte{byte(len(piece) >> 8), byte(len(piece))}) + piece)
	}
	return b.String()
}

func TestATunnelToAnHTTPPortIsReadAsHTTP(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP, methods("GET")))
	c := g.connect(www, o.Port)
	s := o.Take(t) // dialled before the 200; serves the first request
	for i := range 2 {
		c.Say("GET /%[2]d HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port, i)
		require.Contains(t, s.Head(), fmt.Sprintf("GET /%d HTTP/1.1\r\n", i))
		s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		resp, body := c.Response("GET")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "ok", body)
		require.Equal(t, policy.HTTP, g.record().Surface)
	}
	c.Say("PUT / HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
	resp, _ := c.Response("PUT")
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, policy.MethodNotListed, g.record().Verdict.Reason)
	c.Close()
	r := g.record()
	require.Equal(t, policy.CONNECT, r.Surface)
	require.Equal(t, policy.Matched, r.Verdict.Reason)
}

func TestTheInsideOfATunnelIsForItsHostAlone(t *testing.T) {
	const other = "other.example.org"
	for _, test := range []struct {
		name, send string
		status     int
		reason     policy.Reason
	}{
		{"another Host", "GET / HTTP/1.1\r\nHost: other.example.org\r\n\r\n", 421, policy.HostMismatch},
		{"another port", "GET / HTTP/1.1\r\nHost: www.example.org:1\r\n\r\n", 421, policy.HostMismatch},
		{"another host in absolute form", "GET http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\n\r\n", 421, policy.HostMismatch},
		{"another host in absolute form behind the right Host", "GET http://other.example.org:PORT/ HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 421, policy.HostMismatch},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, policy.BadRequest},
		{"a tunnel inside the tunnel", "CONNECT www.example.org:PORT HTTP/1.1\r\nHost: www.example.org:PORT\r\n\r\n", 400, policy.BadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{}, allow(www, o.Port, plainHTTP), allow(other, o.Port, plainHTTP), allow(other, 80))
			c := g.connect(www, o.Port).Say("%s", strings.ReplaceAll(test.send, "PORT", portOf(o)))
			resp, _ := c.Response("GET")
			require.Equal(t, test.status, resp.StatusCode)
			rest, _ := o.Take(t).Ended()
			require.Empty(t, rest)
			o.Untouched(t)
			require.Equal(t, []string{www}, g.resolver.asked(), "the other name was asked for")
			r := g.record()
			require.Equal(t, policy.HTTP, r.Surface)
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.Equal(t, policy.CONNECT, g.record().Surface)
		})
	}
	for name, send := range map[string]string{"TLS": "\x16\x03\x01\x00\x05", "another protocol": "SSH-2.0-x\r\n"} {
		t.Run(name+" is not HTTP", func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
			_, err := g.connect(www, o.Port).Say("%s", send).Ended()
			require.Error(t, err)
			require.Equal(t, policy.NotHTTP, g.record().Verdict.Reason)
		})
	}
}

func TestATunnelThatMustBeLookedIntoIsNotOpenedUnseen(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port))
	p, err := policy.Compile(policy.Spec{Inspection: true, TreatAsPublic: prefixesOf("127.0.0.0/8"), Rules: []policy.Rule{allow(www, o.Port, overTLS, methods("GET"))}})
	require.NoError(t, err)
	g.live.Swap(p)
	resp, body := g.dial().Say("CONNECT www.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n", o.Port).Response("GET")
	require.Equal(t, 403, resp.StatusCode)
	require.Contains(t, body, "looks inside")
	require.Equal(t, policy.Deny, g.record().Verdict.Effect)
	o.Untouched(t)
}

func TestMonitorModeLetsPassAndSaysSo(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{mode: policy.Monitor, names: map[string]string{"other.example.org": "127.0.0.1"}}, allow(www, o.Port, overTLS), allow("plain.example.org", o.Port, plainHTTP))
	t.Run("a server name that is not the host's", func(t *testing.T) {
		h := hello(t, "evil.example.org")
		c := g.connect(www, o.Port).Say("%s", h)
		o.Take(t).Expect(h).Close()
		c.Ended()
		c.Close()
		r := g.record()
		require.Equal(t, "would_deny", r.Verdict.String())
		require.Equal(t, policy.SNIMismatch, r.Verdict.Reason)
	})
	t.Run("a tunnel to an http port that carries something else", func(t *testing.T) {
		c := g.connect("plain.example.org", o.Port).Say("SSH-2.0-x\r\n")
		o.Take(t).Expect("SSH-2.0-x\r\n").Close()
		c.Ended()
		c.Close()
		require.Equal(t, policy.NotHTTP, g.record().Verdict.Reason)
	})
}
