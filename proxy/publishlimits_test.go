package proxy

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/nettest"
	"gatehouse/policy"
)

func TestABodyThatIsTooLarge(t *testing.T) {
	overDoors(t, func(t *testing.T, over carrier) {
		small := func(p *policy.Publication) { p.MaxBody = 4 }
		t.Run("by its length, before anybody is asked", func(t *testing.T) {
			g, o := wayIn(t, over, options{}, small)
			resp, body := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", www).Response("PUT")
			require.Equal(t, 413, resp.StatusCode)
			require.Empty(t, resp.Header.Get("Retry-After"), "it would be too large the next time as well")
			require.Contains(t, body, "more than may be sent")
			require.Equal(t, "denied limit", fmt.Sprint(g.record().Verdict, " ", policy.Limit))
			o.Untouched(t)
		})
		t.Run("in monitor mode, where its method would be refused", func(t *testing.T) {
			g, o := wayIn(t, over, options{})
			r := allow(www, o.Port, methods("GET"))
			p := over.publication(&r)
			p.MaxBody = 4
			g.swapSpec(policy.Spec{Mode: policy.Monitor, Publications: []policy.Publication{p}, TreatAsPublic: []netip.Prefix{loopback}})
			resp, _ := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\n", www).Response("PUT")
			require.Equal(t, 413, resp.StatusCode)
			v := g.record().Verdict
			require.Equal(t, "denied limit", v.String()+" "+v.Reason.String())
			o.Untouched(t)
		})
		t.Run("by what has come", func(t *testing.T) {
			g, o := wayIn(t, over, options{}, small)
			c := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n", www).Chunk("four")
			s := o.Take(t)
			s.Head()
			s.ExpectChunk("four")
			c.Chunk("5")
			rest, _ := s.Ended()
			require.NotContains(t, rest, "5\r\n", "what is too much is not handed on")
			require.NotContains(t, rest, "0\r\n", "it never looks complete")
			resp, _ := c.Response("PUT")
			require.Equal(t, 413, resp.StatusCode)
			r := g.record()
			require.Equal(t, "denied limit", r.Verdict.String()+" "+r.Verdict.Reason.String())
		})
		t.Run("together with its head", func(t *testing.T) {
			g, _ := wayIn(t, over, options{}, small)
			resp, _ := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfiver\r\n0\r\n\r\n", www).Response("PUT")
			require.Equal(t, 413, resp.StatusCode)
			require.Equal(t, policy.Limit, g.record().Verdict.Reason)
		})
		t.Run("after the answer has begun", func(t *testing.T) {
			g, o := wayIn(t, over, options{}, small)
			c := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n", www).Chunk("four")
			s := o.Take(t)
			s.Head()
			s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").Chunk("x")
			c.Head()
			c.ExpectChunk("x").Chunk("5")
			rest, _ := c.Ended()
			require.NotContains(t, rest, "0\r\n")
			require.Equal(t, policy.Limit, g.record().Verdict.Reason)
		})
		t.Run("one that just fits", func(t *testing.T) {
			g, o := wayIn(t, over, options{}, small)
			c := g.dial().Say("PUT /x HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", www)
			s := o.Take(t)
			s.Head()
			s.Expect("4\r\nfour\r\n0\r\n\r\n").Say("HTTP/1.1 204 No Content\r\n\r\n")
			resp, _ := c.Response("PUT")
			require.Equal(t, 204, resp.StatusCode)
			require.Equal(t, policy.Matched, g.record().Verdict.Reason)
		})
	})
}

// clock is a time that goes on when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) goOn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestOneClientMayAskSoManyTimesASecond(t *testing.T) {
	at := &clock{now: time.Now()}
	g, o := wayIn(t, carrier{published: true}, options{config: Config{PublishRate: 1}, deps: Deps{Now: at.read}}, func(p *policy.Publication) { p.Methods = []string{"PUT"} })
	ask := func() policy.Reason {
		g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", www).Response("GET")
		return g.record().Verdict.Reason
	}
	for range 10 {
		require.Equal(t, policy.MethodNotListed, ask())
	}
	resp, body := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", www).Response("GET")
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "10", resp.Header.Get("Retry-After"))
	require.Contains(t, body, "Too many requests")
	require.Equal(t, policy.Limit, g.record().Verdict.Reason)
	at.goOn(time.Second)
	require.Equal(t, policy.MethodNotListed, ask())
	require.Equal(t, policy.Limit, ask())
	o.Untouched(t)
}

func TestRatesAreOfOneClientEach(t *testing.T) {
	r := rates{each: time.Second, next: map[netip.Addr]time.Time{}}
	now := time.Unix(1000, 0)
	one, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
	for range 10 {
		require.True(t, r.mayAsk(one, now))
	}
	require.False(t, r.mayAsk(netip.MustParseAddr("2001:db8::2"), now), "a device has a whole /64")
	require.True(t, r.mayAsk(other, now))
	require.True(t, r.mayAsk(one, now.Add(time.Second)))
	for i := range mostRated {
		r.next[netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})] = now.Add(time.Second)
	}
	late := netip.MustParseAddr("192.0.2.1")
	require.False(t, r.mayAsk(late, now), "there is no room to remember it")
	require.True(t, r.mayAsk(late, now.Add(time.Second)), "others are forgotten")
	require.Less(t, len(r.next), mostRated)
}

// A door that goes takes with it what came through it, and nothing else.
func TestADoorThatGoesEndsItsPassages(t *testing.T) {
	overDoors(t, func(t *testing.T, over carrier) {
		g, o := wayIn(t, over, options{})
		kept, keptIn, keptAt := g.leave, g.way, g.wayIn
		streaming := func() (c, s *nettest.Peer) {
			c = g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www)
			s = o.Take(t)
			s.Head()
			s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").Chunk("x")
			c.Head()
			return c.ExpectChunk("x"), s
		}
		stays, server := streaming()
		gone := &Entrance{Name: keptIn.Name, TLS: keptIn.TLS}
		g.serveDoor(gone)
		require.NotEqual(t, keptAt, g.wayIn)
		goes, behind := streaming()
		idle := g.dial()
		g.leave()
		g.server.Evict(gone)
		_, err := goes.Ended()
		require.Error(t, err, "an orderly end looks complete")
		behind.Ended()
		idle.Ended()
		r := g.record()
		require.Equal(t, "policy", r.End)
		server.Chunk("y")
		stays.ExpectChunk("y")
		server.Chunk("")
		stays.ExpectChunk("")
		require.Equal(t, "done", g.record().End)
		kept()
	})
}

func TestAnOpenRequestEndsWhenItsPublicationGoes(t *testing.T) {
	g, o := wayIn(t, carrier{published: true}, options{})
	c := g.dial().Say("GET /x HTTP/1.1\r\nHost: %s\r\n\r\n", www)
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").Chunk("x")
	c.Head()
	c.ExpectChunk("x")
	g.server.Review()
	s.Chunk("y")
	c.ExpectChunk("y") // nothing has changed
	g.publication(o.Port, func(p *policy.Publication) { p.Methods = []string{"PUT"} })
	g.server.Review()
	_, err := c.Ended()
	require.Error(t, err)
	r := g.record()
	require.Equal(t, "policy", r.End)
	require.Equal(t, policy.MethodNotListed, r.Verdict.Reason)
}
