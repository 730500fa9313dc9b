package proxy

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
)

// client is the gate's end of its one client's connection.
func (g *gate) client() (c *clientConn) {
	g.t.Helper()
	g.server.mu.Lock()
	defer g.server.mu.Unlock()
	require.Len(g.t, g.server.clients, 1)
	return g.server.clients[0]
}

// An origin may answer before it has taken the body, and break the connection off: the
// answer still arrives. What comes of the body after that is a body still, however much it
// looks like a request: whoever has a browser send it is not the browser's user.
func TestTheEndOfABodyThatTheOriginDoesNotTakeIsNoRequest(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
	body := fmt.Sprintf("GET http://www.example.org:%[1]d/smuggled HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n", o.Port)
	c := g.dial().Say("POST http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: %[2]d\r\n\r\n", o.Port, len(body))
	s := o.Take(t)
	s.Head()
	near := g.client()
	link := near.exchange.link.Load()
	s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	chunk := "1000\r\n" + strings.Repeat("x", 0x1000) + "\r\n" // four of them find room in any socket
	// As much as it takes for the gate to wait for its client, and some that it has not read.
	for waits := 0; waits < 4; waits++ {
		s.Say("%s", chunk)
		if arrived(t, s); near.in.stalls.state.Load() == 0 {
			waits = 0
		}
	}
	s.Say("0\r\n\r\n")
	arrived(t, s)
	underneath(s).SetLinger(0)
	s.Close()
	require.Eventually(t, func() bool { return hungUp(link.conn) }, time.Minute, time.Millisecond)
	c.Say("%s", body)
	require.Eventually(t, func() bool { return !near.exchange.listens.Load() }, time.Minute, time.Millisecond, "the body was not read")
	answer, err := io.ReadAll(c.In)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(answer), "HTTP/1.1 "), "the body was answered")
	require.True(t, strings.HasSuffix(string(answer), "\r\n0\r\n\r\n"))
	require.Equal(t, "done", g.record().End)
	o.Untouched(t)
}
