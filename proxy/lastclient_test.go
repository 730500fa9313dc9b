package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// soleRest waits until the one worker of the gate has nothing to do: the next connection
// is his, with the memory of the last one.
func (g *gate) soleRest() {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		g.server.mu.Lock()
		defer g.server.mu.Unlock()
		return len(g.server.resting) == 1 && len(g.server.clients) == 0
	}, time.Minute, time.Millisecond)
}

// readsOn waits until the gate has taken what its one client has said of a head, and waits
// for the rest.
func (g *gate) readsOn() {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		g.server.mu.Lock()
		defer g.server.mu.Unlock()
		if len(g.server.clients) != 1 {
			return false
		}
		c := g.server.clients[0]
		return !c.idle.Load() && c.in.waits.state.Load() != 0
	}, time.Minute, time.Millisecond)
}

func TestAHeadThatWasLeftUnfinishedIsNotFinishedByAnotherClient(t *testing.T) {
	for _, unfinished := range []string{
		"G",
		"GET http://other.example/",
		"GET http://other.example/of-the-first HTTP/1.1\r\n",
		"GET http://other.example/of-the-first HTTP/1.1\r\nHost: other.example\r\n",
		"GET http://other.example/of-the-first HTTP/1.1\r\nHost: other.example\r\nX-Of: the first\r\nX-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789",
	} {
		for _, end := range []struct {
			how string
			do  func(*nettest.Peer)
		}{
			{"closed", func(c *nettest.Peer) { c.Close() }},
			{"reset", func(c *nettest.Peer) { c.Conn.(*net.TCPConn).SetLinger(0); c.Close() }},
		} {
			t.Run(end.how, func(t *testing.T) {
				o := nettest.NewOrigin(t)
				g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
				first := g.dial().Say("%s", unfinished)
				g.readsOn()
				end.do(first)
				g.soleRest()
				c := g.get(www, o.Port, "/of-the-second")
				s := o.Take(t)
				head := s.Head()
				require.Contains(t, head, "GET /of-the-second HTTP/1.1\r\n")
				require.NotContains(t, head, "first")
				s.Say(okAnswer)
				_, body := c.Response("GET")
				require.Equal(t, "ok", body)
				require.Equal(t, "/of-the-second", g.record().Path)
			})
		}
	}
}
