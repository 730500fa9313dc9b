package proxy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/policy"
)

func TestAGetAndATunnelPass(t *testing.T) {
	o := newOrigin(t)
	g := newGate(t, options{}, allow("www.example.org", o.port, plainHTTP), allow("tcp.example.org", o.port, rawTCP))

	c := g.dial().say("GET http://www.example.org:%d/a%%20b?q=1 HTTP/1.1\r\nHost: www.example.org:%d\r\n\r\n", o.port, o.port)
	s := o.take(t)
	require.Equal(t, "GET /a%20b?q=1 HTTP/1.1\r\nHost: www.example.org:"+port(o)+"\r\nVia: 1.1 gatehouse\r\n\r\n", s.head())
	s.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	resp, body := c.response("GET")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "hi", body)
	r := g.record()
	require.Equal(t, policy.Matched, r.Verdict.Reason)
	require.Equal(t, "done", r.End)
	require.EqualValues(t, 2, r.Received)

	c = g.dial().say("CONNECT tcp.example.org:%d HTTP/1.0\r\n\r\nearly", o.port)
	c.expect("HTTP/1.0 200 Connection established\r\n\r\n")
	s = o.take(t).expect("early")
	s.say("answer")
	c.expect("answer").Close()
	_, err := s.ended()
	require.NoError(t, err)
	s.Close()
	r = g.record()
	require.Equal(t, policy.CONNECT, r.Surface)
	require.EqualValues(t, 5, r.Sent)
	require.EqualValues(t, 6, r.Received)
	require.Equal(t, "client-closed", r.End)

	c = g.dial().say("GET http://other.example.org/ HTTP/1.1\r\nHost: other.example.org\r\n\r\n")
	resp, body = c.response("GET")
	require.Equal(t, 403, resp.StatusCode)
	require.Equal(t, `gatehouse; error=http_request_denied; details="host-not-listed"`, resp.Header.Get("Proxy-Status"))
	t.Log(body)
}
