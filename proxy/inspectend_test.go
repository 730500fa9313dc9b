package proxy

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

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
