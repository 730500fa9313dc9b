package proxy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

// These tests are causal: the next piece is written only once the last one has
// arrived on the other side.

func TestAnAnswerIsRelayedAsItComes(t *testing.T) { overAll(t, testAnAnswerIsRelayedAsItComes) }

func testAnAnswerIsRelayedAsItComes(t *testing.T, over carrier) {
	const body = "abc"
	for _, test := range []struct{ name, head, version string }{
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1"},
		{"of known length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1"},
		{"that ends with the connection", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.1"},
		{"in chunks, to a client of HTTP/1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port))
			c := g.dial().Say("GET http://www.example.org:%[1]d/ %[2]s\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port, test.version)
			s := o.Take(t)
			s.Head()
			s.Say("%s", test.head)
			head := c.Head() // before the first byte of the body exists
			originChunks := strings.Contains(test.head, "chunked")
			clientChunks := strings.Contains(head, "Transfer-Encoding: chunked")
			require.Equal(t, test.version == "HTTP/1.1" && !strings.Contains(test.head, "Content-Length"), clientChunks)
			for _, piece := range strings.Split(body, "") {
				if originChunks {
					s.Chunk(piece)
				} else {
					s.Say("%s", piece)
				}
				if clientChunks {
					c.ExpectChunk(piece)
				} else {
					c.Expect(piece)
				}
			}
			if originChunks {
				s.Say("0\r\n\r\n")
			}
			s.Close()
			if clientChunks {
				c.Expect("0\r\n\r\n")
			} else if test.version == "HTTP/1.0" {
				rest, err := c.Ended()
				require.NoError(t, err)
				require.Empty(t, rest)
			}
			require.EqualValues(t, 3, g.record().Received)
		})
	}
}

func TestARequestIsRelayedAsItComes(t *testing.T) { overAll(t, testARequestIsRelayedAsItComes) }

func testARequestIsRelayedAsItComes(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n", o.Port)
	s := o.Take(t)
	require.Contains(t, over.heard(s.Head()), "Trailer: X-Sum\r\nVia: 1.1 gatehouse\r\nTransfer-Encoding: chunked\r\n") // before the first chunk exists
	for _, piece := range []string{"a", "bb", "ccc"} {
		c.Chunk(piece)
		s.ExpectChunk(piece)
	}
	c.Say("0\r\nX-Sum: 6\r\nX-More: 1\r\n\r\n")
	s.Expect("0\r\n")
	trailer := s.Head()
	require.Contains(t, trailer, "X-Sum: 6\r\n")
	require.Contains(t, trailer, "X-More: 1\r\n", "the trailer nobody announced is lost")
	s.Say("HTTP/1.1 204 No Content\r\n\r\n")
	resp, _ := c.Response("POST")
	require.Equal(t, 204, resp.StatusCode)
	require.EqualValues(t, 6, g.record().Sent)
}

func TestBothDirectionsStreamAtTheSameTime(t *testing.T) {
	overAll(t, testBothDirectionsStreamAtTheSameTime)
}

func testBothDirectionsStreamAtTheSameTime(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.dial()
	var s *nettest.Peer
	for range 2 { // both connections serve a second such exchange
		c.Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nTransfer-Encoding: chunked\r\n\r\n", o.Port)
		if s == nil {
			s = o.Take(t)
		}
		s.Head()
		s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		require.Contains(t, c.Head(), "200 OK") // while the request body has not begun
		for i := range 20 {
			ping, pong := fmt.Sprint("ping", i), fmt.Sprint("pong", i)
			c.Chunk(ping)
			s.ExpectChunk(ping)
			s.Chunk(pong)
			c.ExpectChunk(pong)
		}
		c.Chunk("")
		s.ExpectChunk("").Chunk("")
		c.ExpectChunk("")
		require.Equal(t, "done", g.record().End)
	}
	o.Untouched(t)
}

func TestTheServiceBusStreamFlows(t *testing.T) {
	relay := nettest.NewServiceBus(t, www)
	g := newGate(t, options{}, allow(www, relay.Port, plainHTTP))
	require.NoError(t, nettest.WebStream(g.addr, fmt.Sprintf("%s:%d", www, relay.Port)))
	for range 3 {
		require.Equal(t, "done", g.record().End)
	}
}

func TestExpectationsAreTheOriginsToMeet(t *testing.T) {
	overAll(t, testExpectationsAreTheOriginsToMeet)
}

func testExpectationsAreTheOriginsToMeet(t *testing.T, over carrier) {
	t.Run("100 comes when the origin has sent it", func(t *testing.T) {
		o := over.origin(t)
		g := over.gate(t, options{}, over.allow(www, o.Port))
		c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", o.Port)
		s := o.Take(t)
		require.Contains(t, s.Head(), "Expect: 100-continue\r\n")
		s.Say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		require.Contains(t, c.Head(), "HTTP/1.1 103 ", "a 100 was made up")
		s.Say("HTTP/1.1 100 Continue\r\n\r\n")
		c.Expect("HTTP/1.1 100 Continue\r\n\r\n").Say("ab")
		s.Expect("ab").Say("HTTP/1.1 204 No Content\r\n\r\n")
		require.Contains(t, c.Head(), "HTTP/1.1 204 ")
	})
	t.Run("417 comes without a 100 before it", func(t *testing.T) {
		o := over.origin(t)
		g := over.gate(t, options{}, over.allow(www, o.Port))
		c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", o.Port)
		s := o.Take(t)
		s.Head()
		s.Say("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
		require.Contains(t, c.Head(), "HTTP/1.1 417 ")
	})
	t.Run("a client of HTTP/1.0 gets no 1xx", func(t *testing.T) {
		o := over.origin(t)
		g := over.gate(t, options{}, over.allow(www, o.Port))
		c := g.dial().Say("GET http://www.example.org:%d/ HTTP/1.0\r\n\r\n", o.Port)
		s := o.Take(t)
		s.Head()
		s.Say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
		require.Contains(t, c.Head(), "HTTP/1.0 204 ")
	})
	t.Run("a client that does not wait is not kept waiting", func(t *testing.T) {
		o := over.origin(t)
		g := over.gate(t, options{}, over.allow(www, o.Port))
		g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", o.Port)
		s := o.Take(t)
		s.Head()
		s.Expect("ab")
	})
}

func TestAFinalAnswerReachesAClientThatIsStillSending(t *testing.T) {
	overAll(t, testAFinalAnswerReachesAClientThatIsStillSending)
}

func testAFinalAnswerReachesAClientThatIsStillSending(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{config: Config{Linger: nettest.Patience}}, over.allow(www, o.Port, methods("POST")))
	t.Run("from the origin", func(t *testing.T) {
		c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: 1000000\r\n\r\nabc", o.Port)
		s := o.Take(t)
		s.Head()
		s.Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		c.Say("%s", strings.Repeat("x", 100000))
		require.Contains(t, c.Head(), "HTTP/1.1 413 ")
		c.Expect("big")
	})
	t.Run("from the gate", func(t *testing.T) {
		c := g.dial().Say("PUT http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", o.Port)
		for range 100 { // far more than fits into any buffer: the gate reads on
			c.Chunk(strings.Repeat("x", 100000))
		}
		require.Contains(t, c.Head(), "HTTP/1.1 403 ")
	})
}

func TestAnAnswerThatIsCutOffNeverLooksComplete(t *testing.T) {
	overAll(t, testAnAnswerThatIsCutOffNeverLooksComplete)
}

func testAnAnswerThatIsCutOffNeverLooksComplete(t *testing.T, over carrier) {
	for _, test := range []struct {
		name, reply string
		reset       bool
	}{
		{"short of its length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", false},
		{"without its last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", false},
		{"in the middle of a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", false},
		{"without the end of its trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", false},
		{"with a chunk size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n", false},
		{"with a chunk that is too long", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", false},
		{"by a reset, where the connection ends the body", "HTTP/1.1 200 OK\r\n\r\nabc", true},
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
			t.Run(test.name+", to "+version, func(t *testing.T) {
				at := over.canned(t, test.reply, test.reset)
				g := over.gate(t, options{}, over.allow(www, at))
				c := g.dial().Say("GET http://www.example.org:%[1]d/ %[2]s\r\nHost: www.example.org:%[1]d\r\n\r\n", at, version)
				head := c.Head()
				rest, err := c.Ended()
				switch {
				case strings.Contains(head, "chunked"):
					require.NotContains(t, rest, "\r\n0\r\n")
				case strings.Contains(head, "Content-Length"):
					require.Less(t, len(rest), 10)
				default:
					require.Error(t, err, "an orderly end looks complete")
				}
				r := g.record()
				require.Equal(t, "cut", r.End)
				require.Equal(t, policy.UpstreamInvalid, r.Verdict.Reason)
				require.True(t, r.Verdict.Allowed())
			})
		}
	}
}

func TestABrokenUploadNeverLooksComplete(t *testing.T) {
	overAll(t, testABrokenUploadNeverLooksComplete)
}

func testABrokenUploadNeverLooksComplete(t *testing.T, over carrier) {
	for _, test := range []struct {
		name, framing, body string
		reason              policy.Reason
	}{
		{"short of its length", "Content-Length: 10", "abc", policy.Matched},
		{"without its last chunk", "Transfer-Encoding: chunked", "3\r\nabc\r\n", policy.Matched},
		{"with a chunk size that is none", "Transfer-Encoding: chunked", "3\r\nabc\r\nxyz\r\n", policy.BadRequest},
		{"with a trailer that frames", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n", policy.BadRequest},
		{"with a trailer that is no field", "Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\nbad line\r\n\r\n", policy.BadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := over.origin(t)
			g := over.gate(t, options{}, over.allow(www, o.Port))
			c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n%[2]s\r\n\r\n%[3]s", o.Port, test.framing, test.body)
			c.CloseWrite()
			s := o.Take(t)
			s.Head()
			rest, _ := s.Ended()
			require.NotContains(t, rest, "\r\n0\r\n")
			require.Less(t, len(rest), 10)
			r := g.record()
			require.Equal(t, test.reason, r.Verdict.Reason)
			require.NotEqual(t, "done", r.End)
		})
	}
}

func TestAClientThatLeavesDuringTheAnswerIsNoticed(t *testing.T) {
	overAll(t, testAClientThatLeavesDuringTheAnswerIsNoticed)
}

func testAClientThatLeavesDuringTheAnswerIsNoticed(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.get(www, o.Port, "/")
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
	c.Head()
	c.ExpectChunk("x").Close()
	s.Ended()
	r := g.record()
	require.Equal(t, "client-closed", r.End)
	require.Equal(t, policy.Matched, r.Verdict.Reason)
}

func TestAClientThatLeavesDuringALongPollIsNoticed(t *testing.T) {
	overAll(t, testAClientThatLeavesDuringALongPollIsNoticed)
}

func testAClientThatLeavesDuringALongPollIsNoticed(t *testing.T, over carrier) {
	o := over.origin(t)
	g := over.gate(t, options{}, over.allow(www, o.Port))
	c := g.get(www, o.Port, "/poll")
	s := o.Take(t)
	s.Head()
	c.Close()
	_, err := s.Ended()
	require.NoError(t, err)
	r := g.record()
	require.Equal(t, "client-closed", r.End)
	require.Equal(t, policy.Matched, r.Verdict.Reason)
}

func TestWebSockets(t *testing.T) { overBoth(t, testWebSockets) }

func testWebSockets(t *testing.T, over carrier) {
	addr, at := nettest.NewUpgradeOrigin(t)
	at = over.veil(t, addr, at)
	g := over.gate(t, options{}, over.allow(www, at))
	handshake := fmt.Sprintf("GET http://www.example.org:%[1]d/chat HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", at)
	open := func(t *testing.T, early string) *nettest.Peer {
		c := g.dial().Say("%s", handshake+early)
		head := c.Head()
		require.True(t, strings.HasPrefix(head, "HTTP/1.1 101 "), head)
		require.Contains(t, head, "\r\nConnection: Upgrade\r\n")
		require.Contains(t, head, "\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")
		return c
	}
	t.Run("bytes pass both ways, early ones too", func(t *testing.T) {
		open(t, "early").Expect("early").Say("more").Expect("more").Close()
		require.Equal(t, policy.Matched, g.record().Verdict.Reason)
	})
	t.Run("when the origin closes the client's connection closes", func(t *testing.T) {
		for range 50 {
			rest, _ := open(t, "").Say("bye").Ended()
			require.Empty(t, rest)
			require.Equal(t, policy.Matched, g.record().Verdict.Reason)
		}
	})
	t.Run("when the policy changes it closes", func(t *testing.T) {
		c := open(t, "")
		g.swap(policy.Enforce, allow("other.example.org", 80))
		g.server.Review()
		_, err := c.Ended()
		require.Error(t, err)
		r := g.record()
		require.Equal(t, "policy", r.End)
		require.Equal(t, policy.HostNotListed, r.Verdict.Reason)
	})
}
