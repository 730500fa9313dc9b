package proxy

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/http1"
	"gatehouse/internal/nettest"
)

// lull is a silence that is too long: longer than a busy machine keeps anybody
// waiting who is not silent.
const lull = 2 * time.Second

func TestASilenceThatIsNotBorneEndsTheExchange(t *testing.T) {
	t.Parallel()
	const head = "POST http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n"
	for _, test := range []struct {
		name, says string
		config     Config
		answers    string
	}{
		{"a client keeps back the rest of a length it stated", head + "Content-Length: 10\r\n\r\nabc", Config{Stall: lull}, ""},
		{"nobody says anything in a stream of chunks", head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", Config{TunnelIdle: lull}, ""},
		{"an origin says no more", "GET http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\n\r\n",
			Config{TunnelIdle: lull}, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := nettest.NewOrigin(t)
			g := newGate(t, options{config: test.config}, allow(www, o.Port, plainHTTP))
			c := g.dial().Say(test.says, o.Port)
			s := o.Take(t)
			s.Head()
			s.Say("%s", test.answers)
			require.Equal(t, "idle", g.record().End)
			io.Copy(io.Discard, s.In)
			io.Copy(io.Discard, c.In)
		})
	}
}

// The limits of silence are for those who owe something: of two silent exchanges
// only the one whose client has not said all it promised comes to an end.
func TestALongPollMayBeSilent(t *testing.T) {
	t.Parallel()
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{Stall: lull, TunnelIdle: lull}}, allow(www, o.Port, plainHTTP))
	poll := g.get(www, o.Port, "/poll")
	answering := o.Take(t)
	answering.Head()
	for range 2 {
		g.dial().Say("POST http://www.example.org:%[1]d/x HTTP/1.1\r\nHost: www.example.org:%[1]d\r\nContent-Length: 1\r\n\r\n", o.Port)
		o.Take(t).Head()
		require.Equal(t, "idle", g.record().End)
	}
	answering.Say(okAnswer)
	_, body := poll.Response("GET")
	require.Equal(t, "ok", body)
	require.Equal(t, "done", g.record().End)
}

// A client that takes its time is not one that takes nothing.
func TestASlowReaderIsServed(t *testing.T) {
	const size = 8 << 20 // more than the sockets on the way hold
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{Stall: nettest.Patience}}, allow(www, o.Port, plainHTTP))
	c := g.get(www, o.Port, "/")
	s := o.Take(t)
	s.Head()
	s.Say("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", size)
	sent := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, size))
		sent <- err
	}()
	c.Head()
	n, err := io.Copy(io.Discard, io.LimitReader(struct{ io.Reader }{c.In}, size))
	require.NoError(t, err)
	require.EqualValues(t, size, n)
	require.NoError(t, <-sent)
	require.Equal(t, "done", g.record().End)
}

func heap() int64 {
	runtime.GC() // what rests in pools is dropped by the second collection
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A thousand clients that never finish their heads hold no buffers, and take
// nothing from the others.
func TestSlowClientsHoldNothing(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	clients := int(min(1000, (limit.Cur-200)/2)) // their ends are ours as well
	o := nettest.NewOrigin(t)
	g := newGate(t, options{config: Config{HeadTime: nettest.Patience}}, allow(www, o.Port, plainHTTP))
	before := heap()
	for range clients {
		g.dial().Conn.Write([]byte("GET http://www.example.org/ HTTP/1.1\r\nX: "))
	}
	require.Eventually(t, func() bool { // once the gate has read what they said
		return g.open() == clients && int(heap()-before)/clients < bufferSize
	}, nettest.Patience, 50*time.Millisecond)
	c := g.get(www, o.Port, "/")
	s := o.Take(t)
	s.Head()
	s.Say(okAnswer)
	_, body := c.Response("GET")
	require.Equal(t, "ok", body)
	require.Equal(t, "done", g.record().End)
	require.Equal(t, clients+1, g.open())
}

// open is how many connections of clients are open.
func (g *gate) open() int {
	g.server.mu.Lock()
	defer g.server.mu.Unlock()
	return g.server.open
}

// TestAnIdleClientHoldsNoBuffer: after an exchange, and in a long poll.
func TestAnIdleClientHoldsNoBuffer(t *testing.T) {
	var w wire
	client, server := net.Pipe()
	defer client.Close()
	w.attach(server)
	require.Nil(t, w.buf)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	peer := nettest.Dial(t, ln.Addr().String())
	conn, err := ln.Accept()
	require.NoError(t, err)
	defer conn.Close()
	w.attach(conn)
	peer.Say("hello")
	b, err := w.Peek(5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	w.Discard(4)
	w.rest()
	require.Equal(t, "o", string(w.pending()), "what is there is kept")
	w.Discard(1)
	conn.SetReadDeadline(aLongTimeAgo)
	_, err = w.Peek(1)
	require.Error(t, err)
	require.Nil(t, w.buf, "a buffer is held by somebody who waits")
}

func TestWhatAClientLikesBest(t *testing.T) {
	for _, test := range []struct{ accept, want string }{
		{"", formText},
		{"*/*", formText},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", formHTML},
		{"application/json", formJSON},
		{"Application/JSON; charset=utf-8", formJSON},
		{"text/*;q=0.5, application/json;q=0.6", formJSON},
		{"text/plain;q=0, text/html;q=0.1", formHTML},
		{"text/*, text/plain;q=0.2", formHTML},
		{"*/*;q=0.1, text/html;level=1;Q=0.7", formHTML},
		{"application/*", formJSON},
		{"image/png", formText},
		{"text/html;q=nan, application/json;q=0.1", formJSON},
		{strings.Repeat("image/png,", mostRanges-1) + "text/html", formHTML},
		{strings.Repeat("image/png,", mostRanges) + "text/html", formText}, // heard no more
		{strings.Repeat(",", 40000), formText},
		{"text/html" + strings.Repeat(";a=b", 10000), formHTML},
	} {
		var r http1.Request
		_, err := r.Parse(fmt.Appendf(nil, "GET / HTTP/1.1\r\nHost: a\r\nAccept: %s\r\n\r\n", test.accept), http1.Limits{})
		require.NoError(t, err)
		require.Equal(t, test.want, preferred(&r.Fields), "%.60s", test.accept)
	}
}
