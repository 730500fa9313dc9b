package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/flow"
	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestConnectionsBeyondTheLimitAreRefusedPolitely(t *testing.T) {
	for name, config := range map[string]Config{"in all": {Connections: 1}, "for one client": {PerClient: 1}} {
		t.Run(name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{config: config}, allow(www, o.Port, plainHTTP))
			c := g.get(www, o.Port, "/")
			s := o.Take(t)
			s.Head()
			resp, _ := g.dial().Response("GET")
			require.Equal(t, 503, resp.StatusCode)
			require.Equal(t, `gatehouse; error=connection_limit_reached; details="limit"`, resp.Header.Get("Proxy-Status"))
			require.NotEmpty(t, resp.Header.Get("Retry-After"))
			require.Equal(t, policy.Limit, g.record().Verdict.Reason)
			s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") // the old one lives on
			_, body := c.Response("GET")
			require.Equal(t, "ok", body)
		})
	}
}

func TestHalfAHeadIsNotWaitedForForEver(t *testing.T) {
	g := newGate(t, options{config: Config{HeadTime: 100 * time.Millisecond}}, allow(www, 80))
	resp, _ := g.dial().Say("GET http://www.exa").Response("GET")
	require.Equal(t, 400, resp.StatusCode)
	require.Equal(t, policy.BadRequest, g.record().Verdict.Reason)
}

func TestAPassageEndsWithItsPermission(t *testing.T) {
	o := nettest.NewOrigin(t)
	until := time.Now().Add(time.Hour)
	var now atomic.Pointer[time.Time]
	start := time.Now()
	now.Store(&start)
	for _, test := range []struct {
		name   string
		change func(g *gate)
		reason policy.Reason
	}{
		{"when its rule has gone", func(g *gate) { g.swap(policy.Enforce, allow("other.example.org", 80)) }, policy.HostNotListed},
		{"when there is no policy any more", func(g *gate) { g.live.Swap(nil) }, policy.NoPolicy},
		{"when its rule's last day is over", func(g *gate) { later := until; now.Store(&later) }, policy.Expired},
	} {
		for _, kind := range []string{"tunnel", "exchange"} {
			t.Run(kind+" "+test.name, func(t *testing.T) {
				now.Store(&start)
				g := newGate(t, options{deps: Deps{Now: func() time.Time { return *now.Load() }}},
					allow(tcpHost, o.Port, rawTCP, func(r *policy.Rule) { r.Until = until }),
					allow(www, o.Port, plainHTTP, func(r *policy.Rule) { r.Until = until }))
				var c, s *nettest.Peer
				if kind == "tunnel" {
					c = g.connect(tcpHost, o.Port).Say("x")
					s = o.Take(t).Expect("x")
				} else {
					c = g.get(www, o.Port, "/")
					s = o.Take(t)
					s.Head()
					s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
					c.Head()
					c.ExpectChunk("x")
				}
				g.server.Review() // nothing has changed: nothing ends
				if kind == "tunnel" {
					s.Say("y")
					c.Expect("y")
				} else {
					s.Chunk("y")
					c.ExpectChunk("y")
				}
				test.change(g)
				g.server.Review()
				rest, _ := c.Ended()
				require.NotContains(t, rest, "0\r\n")
				s.Ended()
				r := g.record()
				require.Equal(t, "policy", r.End)
				require.Equal(t, test.reason, r.Verdict.Reason)
				require.Equal(t, policy.Deny, r.Verdict.Effect)
			})
		}
	}
}

func TestShutdown(t *testing.T) {
	o := nettest.NewOrigin(t)
	t.Run("lets an exchange finish and closes idle connections", func(t *testing.T) {
		g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
		idle := g.dial()
		c := g.get(www, o.Port, "/")
		s := o.Take(t)
		s.Head()
		done := make(chan error, 1)
		go func() { done <- g.server.Shutdown(context.Background()) }()
		idle.Ended()
		s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		resp, body := c.Response("GET")
		require.True(t, resp.Close)
		require.Equal(t, "ok", body)
		c.Close()
		require.NoError(t, <-done)
		_, err := g.door.Accept()
		require.ErrorIs(t, err, net.ErrClosed, "it still takes connections")
	})
	t.Run("cuts what is still open when the time is over", func(t *testing.T) {
		g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
		c := g.connect(tcpHost, o.Port).Say("x")
		o.Take(t).Expect("x")
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		require.ErrorIs(t, g.server.Shutdown(ctx), context.Canceled)
		_, err := c.Ended()
		require.Error(t, err)
		require.Equal(t, "shutdown", g.record().End)
	})
}

// panicking is a sink that does nothing but panic.
type panicking struct{}

func (panicking) Record(*flow.Record)   { panic("sink") }
func (panicking) Opened(policy.Surface) { panic("sink") }

func TestAPanicEndsOneRequest(t *testing.T) {
	o := nettest.NewOrigin(t)
	t.Run("in the resolver", func(t *testing.T) {
		g := newGate(t, options{}, allow(www, o.Port, plainHTTP), allow(tcpHost, o.Port, rawTCP))
		g.resolver.do = func(string) error { panic("resolver") }
		resp, _ := g.get(www, o.Port, "/").Response("GET")
		require.Equal(t, 403, resp.StatusCode)
		require.Equal(t, policy.Deny, g.record().Verdict.Effect)
		resp, _ = g.dial().Say("CONNECT tcp.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n", o.Port).Response("GET")
		require.Equal(t, 403, resp.StatusCode)
		require.Equal(t, policy.Deny, g.record().Verdict.Effect)
		g.resolver.do = nil
		c := g.get(www, o.Port, "/")
		s := o.Take(t)
		s.Head()
		s.Say("HTTP/1.1 204 No Content\r\n\r\n").Close()
		resp, _ = c.Response("GET")
		require.Equal(t, 204, resp.StatusCode)
	})
	t.Run("in a sink", func(t *testing.T) {
		g := newGate(t, options{deps: Deps{Book: &flow.Book{Sinks: []flow.Sink{panicking{}}}}}, allow(www, o.Port, plainHTTP))
		for range 2 {
			c := g.get(www, o.Port, "/")
			s := o.Take(t)
			s.Head()
			s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
			resp, _ := c.Response("GET")
			require.Equal(t, 204, resp.StatusCode)
			require.Equal(t, policy.Matched, g.record().Verdict.Reason)
		}
	})
	t.Run("where an address is dialled", func(t *testing.T) {
		g := newGate(t, options{deps: Deps{Own: func(netip.AddrPort) bool { panic("own") }}}, allow(www, o.Port, plainHTTP), allow(tcpHost, o.Port, rawTCP))
		resp, _ := g.get(www, o.Port, "/").Response("GET")
		require.Equal(t, 502, resp.StatusCode)
		resp, _ = g.dial().Say("CONNECT tcp.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n", o.Port).Response("GET")
		require.Equal(t, 403, resp.StatusCode)
	})
}

func TestTheGatesOwnDoorsAreNeverDialled(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{deps: Deps{Own: func(a netip.AddrPort) bool { return a.Port() == uint16(o.Port) }}},
		allow(www, o.Port, plainHTTP), allow(tcpHost, o.Port, rawTCP), allow("127.0.0.1", o.Port, plainHTTP))
	for _, send := range []string{
		"GET http://www.example.org:%[1]d/ HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n",
		"GET http://127.0.0.1:%[1]d/ HTTP/1.1\r\nHost: 127.0.0.1:%[1]d\r\n\r\n",
		"CONNECT tcp.example.org:%d HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		resp, _ := g.dial().Say(send, o.Port).Response("GET")
		require.Equal(t, 403, resp.StatusCode)
		require.Contains(t, resp.Header.Get("Proxy-Status"), "destination_ip_prohibited")
		r := g.record()
		require.Equal(t, policy.AddressNotAllowed, r.Verdict.Reason)
		require.Equal(t, policy.Deny, r.Verdict.Effect)
	}
	o.Untouched(t)
}

func TestAPooledConnectionServesOnlyWhomItsAddressIsPermitted(t *testing.T) {
	o := nettest.NewOrigin(t)
	var now atomic.Pointer[time.Time]
	pass := func(d time.Duration) { at := time.Now().Add(d); now.Store(&at) }
	pass(0)
	g := newGate(t, options{deps: Deps{Now: func() time.Time { return *now.Load() }}}, allow(www, o.Port, plainHTTP))
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	other := listenAt(t, fmt.Sprintf("127.0.0.2:%d", o.Port))
	exchange := func(s *nettest.Peer, c *nettest.Peer, address string) {
		s.Head()
		s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, body := c.Response("GET")
		require.Equal(t, "ok", body)
		r := g.record()
		require.Equal(t, policy.Matched, r.Verdict.Reason)
		require.Equal(t, address, r.IP.String())
	}
	c := g.get(www, o.Port, "/")
	s := o.Take(t)
	exchange(s, c, "127.0.0.1")
	exchange(s, g.get(www, o.Port, "/again"), "127.0.0.1") // the same connection
	require.Len(t, g.resolver.questions, 1, "the name was resolved anew although that had just been done")
	g.resolver.set(www, two) // 127.0.0.1 is not what the name leads to any more
	exchange(s, g.get(www, o.Port, "/before-that-shows"), "127.0.0.1")
	pass(vouches)
	c = g.get(www, o.Port, "/moved")
	exchange(other.take(t), c, "127.0.0.2")
	g.resolver.set(www, one)
	pass(2 * vouches)
	exchange(s, g.get(www, o.Port, "/back"), "127.0.0.1")
	rule := allow(www, o.Port, plainHTTP)
	rule.Addresses = policy.Addresses{Prefixes: prefixesOf("127.0.0.2/32")}
	g.swap(policy.Enforce, rule)
	resp, _ := g.get(www, o.Port, "/").Response("GET")
	require.Equal(t, 403, resp.StatusCode, "the pooled connection to 127.0.0.1 was used")
	require.Equal(t, policy.AddressNotAllowed, g.record().Verdict.Reason)
}

func TestTheNextAddressIsTriedWhereOneFails(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{Stagger: time.Hour}, names: map[string]string{tcpHost: "127.9.9.9 127.0.0.1"}}, allow(tcpHost, o.Port, rawTCP))
	c := g.connect(tcpHost, o.Port).Say("x")
	o.Take(t).Expect("x").Close()
	c.Ended()
	c.Close()
	require.Equal(t, "127.0.0.1", g.record().IP.String())
}

func TestADiallingThatTakesTooLongIsATimeout(t *testing.T) {
	for _, err := range []error{errDialTimeout, context.DeadlineExceeded, os.ErrDeadlineExceeded} {
		r := unreached(policy.Verdict{Effect: policy.Allow}, fmt.Errorf("dial: %w", err))
		require.Equal(t, 504, r.status)
		require.Equal(t, "connection_timeout", r.kind)
	}
	r := unresolved(policy.Verdict{Effect: policy.Allow}, os.ErrDeadlineExceeded)
	require.Equal(t, 504, r.status)
	require.Equal(t, "dns_timeout", r.kind)
	r = unanswered(policy.Verdict{Effect: policy.Allow}, os.ErrDeadlineExceeded)
	require.Equal(t, "http_response_timeout", r.kind)
	require.Equal(t, 504, r.status)
}

func TestNobodyIsDialledWithoutAPermit(t *testing.T) {
	d := dialer{timeout: time.Second, stagger: time.Second, own: func(netip.AddrPort) bool { return false }}
	for _, permits := range [][]policy.Permit{nil, {}, {policy.Permit{}}} {
		_, _, err := d.dial(context.Background(), permits)
		require.ErrorIs(t, err, errNoPermit)
	}
}

func TestALongPassageIsToldWhileItIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := make(chan *flow.Record, 4)
		s := New(Config{}, Deps{Policy: &policy.Live{}, Resolver: &fakeResolver{}, Book: &flow.Book{Sinks: []flow.Sink{chanSink(records)}}})
		p := &passage{}
		s.begin(p, policy.CONNECT, netip.MustParseAddr("127.0.0.1"), nil, time.Now(), func() {})
		s.mu.Lock()
		s.keepSweeping()
		s.mu.Unlock()
		time.Sleep(2 * time.Minute) // of the bubble's clock
		r := <-records
		require.True(t, r.Open)
		p.end("done")
		p.end("error")
		r = <-records
		require.False(t, r.Open)
		require.Equal(t, "done", r.End)
		require.Equal(t, 2*time.Minute, r.Duration)
		require.Empty(t, records)
	})
}

func TestAResolverThatFailsIsTrouble(t *testing.T) {
	g := newGate(t, options{}, allow(www, 80))
	g.resolver.do = func(string) error { return timeoutError{errors.New("10.1.2.3:53: i/o timeout")} }
	resp, body := g.get(www, 80, "/").Response("GET")
	require.Equal(t, 504, resp.StatusCode)
	require.NotContains(t, body, "10.1.2.3")
	require.Equal(t, policy.UpstreamUnresolved, g.record().Verdict.Reason)
}

type timeoutError struct{ error }

func (timeoutError) Timeout() bool { return true }

func TestATunnelThatIsStuckEndsWithItsPermission(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(tcpHost, o.Port, rawTCP))
	c := g.connect(tcpHost, o.Port)
	s := o.Take(t) // never reads
	piece := make([]byte, 1<<20)
	c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	for {
		if _, err := c.Write(piece); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded) // every buffer on the way is full
			break
		}
	}
	g.swap(policy.Enforce, allow(www, 80))
	g.server.Review()
	require.Equal(t, "policy", g.record().End)
	s.Ended()
}

func TestAnOriginConnectionOfATunnelMayServeOthersAndOutliveIt(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
	tunnel := g.connect(www, o.Port).Say("GET /1 HTTP/1.1\r\nHost: www.example.org:%d\r\n\r\n", o.Port)
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	tunnel.Response("GET")
	g.record()
	other := g.get(www, o.Port, "/2")
	require.Contains(t, s.Head(), "GET /2 ", "the pooled connection is not used")
	tunnel.Close()
	require.Equal(t, policy.CONNECT, g.record().Surface) // the tunnel is gone
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	_, body := other.Response("GET")
	require.Equal(t, "ok", body)
}

func TestATunnelNobodyLooksIntoEndsWhenItMustBeLookedInto(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, overTLS))
	h := hello(t, www)
	c := g.connect(www, o.Port).Say("%s", h)
	o.Take(t).Expect(h)
	p, err := policy.Compile(policy.Spec{Inspection: true, TreatAsPublic: []netip.Prefix{loopback}, Rules: []policy.Rule{allow(www, o.Port, overTLS, methods("GET"))}})
	require.NoError(t, err)
	g.live.Swap(p)
	g.server.Review()
	c.Ended()
	r := g.record()
	require.Equal(t, "policy", r.End)
	require.Equal(t, policy.Deny, r.Verdict.Effect)
}
