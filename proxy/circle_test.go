package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestARequestThatComesRoundInACircle(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{Pseudonym: "gatehouse-1"}}, allow(www, o.Port, plainHTTP))
	ask := func(via string) *nettest.Peer {
		return g.dial().Say("GET http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nVia: %[2]s\r\n\r\n", o.Port, via)
	}
	for name, via := range map[string]string{
		"it names this gate":                      "1.1 Gatehouse-1, 1.1 gatehouse-2",
		"it names a gate without a name":          "1.1 gatehouse",
		"it names this gate, and says what it is": "1.0 other, 1.1 gatehouse-1 (a gate)",
	} {
		t.Run(name, func(t *testing.T) {
			resp, _ := ask(via).Response("GET")
			require.Equal(t, 502, resp.StatusCode)
			require.Equal(t, `gatehouse; error=proxy_loop_detected; details="loop"`, resp.Header.Get("Proxy-Status"))
			require.Equal(t, policy.Loop, g.record().Verdict.Reason)
		})
	}
	o.Untouched(t)
	t.Run("another gate in front of this one is none", func(t *testing.T) {
		c := ask("1.1 gatehouse-2")
		s := o.Take(t)
		require.Contains(t, s.Head(), "\r\nVia: 1.1 gatehouse-2\r\nVia: 1.1 gatehouse-1\r\n")
		s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
		resp, _ := c.Response("GET")
		require.Equal(t, 204, resp.StatusCode)
		require.Equal(t, policy.Matched, g.record().Verdict.Reason)
	})
}
