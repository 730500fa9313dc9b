package proxy

import (
	"crypto/tls"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// once carries one whole exchange over connections that are there already.
func (g *gate) once(c, s *nettest.Peer, method, path string, port int) {
	g.t.Helper()
	c.Say("%s http://www.example.org:%d%s HTTP/1.1\r\nHost: www.example.org:%[2]d\r\n\r\n", method, port, path)
	require.Contains(g.t, s.Head(), method+" "+path+" ")
	s.Say(okAnswer)
	_, body := c.Response(method)
	require.Equal(g.t, "ok", body)
	require.Equal(g.t, "done", g.record().End)
}

// underneath is the TCP connection of a peer, also below TLS.
func underneath(p *nettest.Peer) *net.TCPConn {
	if secure, ok := p.Conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return p.Conn.(*net.TCPConn)
}

// arrived waits until all that a peer has said, its end included, is in the
// gate's socket: bytes on loopback may still be on their way when a write returns.
func arrived(t *testing.T, p *nettest.Peer) {
	t.Helper()
	raw, err := underneath(p).SyscallConn()
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		unacknowledged := -1
		raw.Control(func(fd uintptr) { unacknowledged, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return err == nil && unacknowledged == 0
	}, nettest.Patience, time.Millisecond)
}

// opened is a gate with one exchange behind it: c and s are kept alive.
func opened(t *testing.T, over carrier) (g *gate, o *nettest.Origin, c, s *nettest.Peer) {
	o = over.origin(t)
	g = over.gate(t, options{}, over.allow(www, o.Port))
	c = g.get(www, o.Port, "/first")
	s = o.Take(t)
	s.Head()
	s.Say(okAnswer)
	c.Response("GET")
	g.record()
	return g, o, c, s
}

func TestAPipeliningClientThatLeavesIsNoticed(t *testing.T) {
	overAll(t, testAPipeliningClientThatLeavesIsNoticed)
}

func testAPipeliningClientThatLeavesIsNoticed(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.dial().Say("GET http://www.example.org:%[1]d/poll HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\nGET http://www.example.org:%[1]d/next HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n%[2]s",
		o.Port, strings.Repeat("x", 100000)) // more than is read ahead
	s := o.Take(t)
	s.Head()
	c.Close()
	s.Ended()
	require.Equal(t, "client-closed", g.record().End)
	o.Untouched(t)
}

func TestAConnectionThatEndedInThePoolCostsNobodyARequest(t *testing.T) {
	overAll(t, testAConnectionThatEndedInThePoolCostsNobodyARequest)
}

func testAConnectionThatEndedInThePoolCostsNobodyARequest(t *testing.T, over carrier) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			g, o, c, s := opened(t, over)
			s.CloseWrite()
			underneath(s).CloseWrite() // of TLS the line above ends the inside only
			arrived(t, s)
			c.Say("%s http://www.example.org:%d/second HTTP/1.1\r\nHost: www.example.org:%[2]d\r\nContent-Length: 0\r\n\r\n", method, o.Port)
			s = o.Take(t)
			require.Contains(t, s.Head(), method+" /second ")
			s.Say(okAnswer)
			_, body := c.Response(method)
			require.Equal(t, "ok", body)
			require.Equal(t, "done", g.record().End)
		})
	}
}

func TestARequestIsAskedTwiceOnlyWhereThatChangesNothing(t *testing.T) {
	overAll(t, testARequestIsAskedTwiceOnlyWhereThatChangesNothing)
}

func testARequestIsAskedTwiceOnlyWhereThatChangesNothing(t *testing.T, over carrier) {
	for _, test := range []struct {
		name, send, before string
		again              bool
	}{
		{"a GET without an answer is", "GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", "", true},
		{"a POST is not", "POST http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: 0\r\n\r\n", "", false},
		{"a GET with a body is not", "GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: 1\r\n\r\nx", "", false},
		{"a GET whose answer had begun is not", "GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", "HTTP/1.1 2", false},
		{"a GET after early hints is not", "GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, o, c, s := opened(t, over)
			c.Say(test.send, o.Port)
			s.Head()
			s.Say("%s", test.before)
			s.Close()
			if test.again {
				s = o.Take(t)
				s.Head()
				s.Close() // and not a third time
			}
			if strings.Contains(test.before, "103") {
				c.Head()
			}
			resp, _ := c.Response("GET")
			require.Equal(t, 502, resp.StatusCode)
			require.Equal(t, policy.UpstreamInvalid, g.record().Verdict.Reason)
			o.Untouched(t)
		})
	}
}

func TestAnOriginThatSaysMoreThanItWasAskedIsNotAskedAgain(t *testing.T) {
	overAll(t, testAnOriginThatSaysMoreThanItWasAskedIsNotAskedAgain)
}

func testAnOriginThatSaysMoreThanItWasAskedIsNotAskedAgain(t *testing.T, over carrier) {
	for name, extra := range map[string]string{
		"in one go with the answer": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"behind the last chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
	} {
		t.Run(name, func(t *testing.T) {
			g, o, c, s := opened(t, over)
			c.Say("GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
			s.Head()
			s.Say("%s", extra)
			_, body := c.Response("GET")
			require.Equal(t, "ok", body)
			s.Ended()
			g.record()
			c.Say("GET http://www.example.org:%[1]d/y HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
			s = o.Take(t) // another one
			require.Contains(t, s.Head(), "GET /y ")
			s.Say(okAnswer)
			_, body = c.Response("GET")
			require.Equal(t, "ok", body)
		})
	}
	t.Run("later, unasked", func(t *testing.T) {
		g, o, c, s := opened(t, over)
		s.Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
		arrived(t, s)
		c.Say("GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
		s = o.Take(t)
		s.Head()
		s.Say(okAnswer)
		_, body := c.Response("GET")
		require.Equal(t, "ok", body)
		require.Equal(t, "done", g.record().End)
	})
}

// A trailer section that comes byte by byte is kept back with the size of 0 before
// it, and then goes on whole.
func TestTheLastChunkComesWhenItIsWhole(t *testing.T) {
	overAll(t, testTheLastChunkComesWhenItIsWhole)
}

func testTheLastChunkComesWhenItIsWhole(t *testing.T, over carrier) {
	g, o, c, s := opened(t, over)
	c.Say("POST http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nTransfer-Encoding: chunked\r\n\r\n", o.Port)
	s.Head()
	for _, way := range []struct{ from, to *nettest.Peer }{{c, s}, {s, c}} {
		if way.from == s {
			s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			c.Head()
		}
		way.from.Chunk("data")
		way.to.ExpectChunk("data")
		for _, b := range []byte("0;x=\"y\"\r\nX-Sum: 1\r\n\r\n") {
			way.from.Say("%c", b)
		}
		way.to.Expect("0;x=\"y\"\r\nX-Sum: 1\r\n\r\n")
	}
	r := g.record()
	require.Equal(t, "done", r.End)
	require.EqualValues(t, 4, r.Sent)
	require.EqualValues(t, 4, r.Received)
	g.once(c, s, "GET", "/next", o.Port)
}

// Head and body together, in every split: what arrives is the same.
func TestAnySplitOfARequestMeansTheSame(t *testing.T) {
	overAll(t, testAnySplitOfARequestMeansTheSame)
}

func testAnySplitOfARequestMeansTheSame(t *testing.T, over carrier) {
	g, o, c, s := opened(t, over)
	whole := fmt.Sprintf("POST http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", o.Port)
	whole = over.spell(whole) // before it is split
	for cut := 1; cut < len(whole); cut += 7 {
		c.Say("%s", whole[:cut])
		c.Say("%s", whole[cut:])
		s.Head()
		s.Expect("3\r\nabc\r\n0\r\n\r\n").Say(okAnswer)
		_, body := c.Response("POST")
		require.Equal(t, "ok", body)
		require.EqualValues(t, 3, g.record().Sent)
	}
}

func TestAStalledWriteIsBrokenOff(t *testing.T) { overAll(t, testAStalledWriteIsBrokenOff) }

func testAStalledWriteIsBrokenOff(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{config: Config{Stall: time.Second}}, over.allow(www, o.Port))
	g.get(www, o.Port, "/") // never reads the answer
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	piece := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat("x", 1<<20))
	for range 64 {
		if _, err := s.Write([]byte(piece)); err != nil {
			break
		}
	}
	require.Equal(t, "client-closed", g.record().End)
}

func TestAnAnswerThatIsMalformedIsNotPassedOn(t *testing.T) {
	overAll(t, testAnAnswerThatIsMalformedIsNotPassedOn)
}

func testAnAnswerThatIsMalformedIsNotPassedOn(t *testing.T, over carrier) {
	for name, reply := range map[string]string{
		"both length and chunks":   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":              "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"a folded line":            "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
		"a bare LF":                "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
		"a coding nobody knows":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
		"a space before the colon": "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
		"a 204 with a body":        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
		"seventeen early hints":    strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 17) + okAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			at := over.canned(t, reply, false)
			g := over.gate(t, options{}, over.allow(www, at))
			c := g.get(www, at, "/")
			head := c.Head()
			for strings.HasPrefix(head, "HTTP/1.1 103 ") {
				head = c.Head()
			}
			require.Contains(t, head, "HTTP/1.1 502 ")
			require.Equal(t, policy.UpstreamInvalid, g.record().Verdict.Reason)
		})
	}
}

func TestAnOpenTunnelHasNoGoroutine(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	const tunnels = 40
	open := func() *nettest.Peer {
		c := g.connect(tcpHost, o.Port).Say("x")
		o.Take(t).Expect("x").Say("y")
		return c.Expect("y")
	}
	clients := []*nettest.Peer{open()} // the keeper's own goroutine comes with the first
	before := runtime.NumGoroutine()
	for range tunnels {
		clients = append(clients, open())
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+tunnels/2 }, nettest.Patience, 10*time.Millisecond)
	for _, c := range clients {
		c.Reset()
	}
	for range clients {
		require.EqualValues(t, 1, g.record().Received)
	}
}
