package proxy

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/http1"
	"gatehouse/internal/nettest"
)

func TestTheWorkerThatRestedLastIsTheNextToWork(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP))
	resting := func() []*worker {
		g.server.mu.Lock()
		defer g.server.mu.Unlock()
		return append([]*worker(nil), g.server.resting...)
	}
	rest := func(n int) (all []*worker) {
		require.Eventually(t, func() bool { all = resting(); return len(all) == n }, time.Minute, time.Millisecond)
		return all
	}
	ask := func() (c, s *nettest.Peer) {
		c = g.get(www, o.Port, "/")
		s = o.Take(t)
		s.Head()
		return c, s
	}
	answer := func(c, s *nettest.Peer) {
		s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
		resp, _ := c.Response("GET")
		require.Equal(t, 204, resp.StatusCode)
		c.Close()
	}
	c1, s1 := ask()
	c2, s2 := ask()
	answer(c1, s1)
	first := rest(1)
	answer(c2, s2)
	both := rest(2)
	require.Same(t, first[0], both[0])
	c3, s3 := ask()
	left := rest(1)
	require.Same(t, both[0], left[0], "the one that rested longest was woken")
	answer(c3, s3)
	require.Same(t, both[1], rest(2)[1])
	require.NoError(t, g.server.Shutdown(context.Background()))
	require.Empty(t, resting())
	require.False(t, g.server.rest(both[0]), "it waits for a connection that will not come")
}

func TestNoMoreWorkersRestThanAreWorthIt(t *testing.T) {
	s := &Server{}
	for range mostResting {
		require.True(t, s.rest(&worker{}))
	}
	require.False(t, s.rest(&worker{}))
}

func TestAWorkerKeepsItsDeskUnlessSomebodyHoldsAPieceOfIt(t *testing.T) {
	w := &worker{desk: &desk{raw: make([]byte, 0, 512), out: make([]byte, 0, 512)}}
	before := w.desk
	w.tidy(false)
	require.Same(t, before, w.desk)
	require.NotNil(t, w.desk.raw)
	w.tidy(true)
	require.NotSame(t, before, w.desk)
	unusual := &desk{raw: fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 2*bufferSize))}
	_, err := unusual.head.Parse(unusual.raw, http1.Limits{})
	require.NoError(t, err)
	raw := weak.Make(&unusual.raw[0])
	w.desk, unusual = unusual, nil
	w.tidy(false)
	require.Eventually(t, func() bool { runtime.GC(); return raw.Value() == nil }, time.Minute, 10*time.Millisecond,
		"the head that was parsed last keeps its bytes for ever")
	runtime.KeepAlive(w)
}

func TestNothingOfAnothersRequestIsInTheBook(t *testing.T) {
	o := nettest.NewOrigin(t)
	g := newGate(t, options{}, allow(www, o.Port, plainHTTP), allow(tcpHost, o.Port, rawTCP))
	atRest := func() {
		require.Eventually(t, func() bool {
			g.server.mu.Lock()
			defer g.server.mu.Unlock()
			return len(g.server.resting) == 1
		}, time.Minute, time.Millisecond)
	}
	first := g.get(www, o.Port, "/of-the-first-client?its-token")
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").Close()
	first.Response("GET")
	first.Close()
	r := g.entry()
	require.Equal(t, "/of-the-first-client", r.Path)
	require.True(t, r.HadQuery)
	atRest()
	t.Run("a request that names no host", func(t *testing.T) {
		c := g.dial().Say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, _ := c.Response("GET")
		require.Equal(t, 400, resp.StatusCode)
		c.Close()
		r := g.entry()
		require.Empty(t, r.Path)
		require.False(t, r.HadQuery)
	})
	atRest()
	t.Run("a tunnel", func(t *testing.T) {
		g.connect(tcpHost, o.Port).Close()
		o.Take(t).Close()
		r := g.entry()
		require.Empty(t, r.Path)
		require.False(t, r.HadQuery)
	})
}
