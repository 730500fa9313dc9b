package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"

	"gatehouse/internal/http1"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"gatehouse/policy"
)

// clientConn is one connection of a client: requests come in turn, each judged
// anew. It belongs to one goroutine; only what says so may be called by others.
type clientConn struct {
	server *Server
	conn   net.Conn
	in     *bufio.Reader
	raw    []byte      // the head at hand, in whose bytes head points
	head   requestHead // of the request at hand
	addr   netip.Addr  // the client, unmapped
	// tunnel is the passage of the CONNECT whose inside is read here; nil on
	// the proxy port itself.
	tunnel *tunnel
	idle   atomic.Bool // waits for a request
	watch  *watcher    // looks whether the client is still there
}

func newClientConn(s *Server, conn net.Conn) *clientConn {
	c := &clientConn{server: s, conn: conn, in: bufio.NewReader(conn)}
	if ap, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		c.addr = ap.Addr().Unmap().WithZone("")
	}
	return c
}

// serve reads and serves requests until the connection is done.
func (c *clientConn) serve() {
	defer c.conn.Close()
	defer c.guard()
	for c.awaitRequest() {
		if !c.serveOne() {
			return
		}
	}
}

// guard is the last net under a connection: a panic that no exchange has caught
// ends the connection and nothing else.
func (c *clientConn) guard() {
	if fault := recover(); fault != nil {
		c.server.logPanic("connection", fault)
	}
}

// awaitRequest waits for the first byte of the next request.
func (c *clientConn) awaitRequest() bool {
	c.conn.SetReadDeadline(time.Now().Add(c.server.config.KeepAlive))
	c.idle.Store(true)
	defer c.idle.Store(false)
	if c.server.draining.Load() {
		return false
	}
	c.watch.join() // it waits for the same byte
	_, err := c.in.Peek(1)
	return err == nil
}

// closeIfIdle may be called by others.
func (c *clientConn) closeIfIdle() {
	if c.idle.Load() {
		c.conn.Close()
	}
}

// serveOne reads one head and carries its request. It reports whether the
// connection is good for another one.
func (c *clientConn) serveOne() bool {
	c.conn.SetReadDeadline(time.Now().Add(c.server.config.HeadTime))
	limits := http1.Limits{HeadBytes: c.server.config.HeaderBytes}
	raw, err := readHead(c.in, c.raw, func(b []byte) (int, error) { return c.head.Parse(b, limits) })
	c.conn.SetReadDeadline(time.Time{})
	c.raw = raw
	var f *flaw
	if err != nil {
		if f = flawOf(err); f == nil {
			return false // the client left in the middle of a head
		}
		c.head = requestHead{} // nothing in it can be relied on
		c.head.Minor = 1
	}
	c.head.understood()
	switch newExchange(c, &c.head).serve(f) {
	case again:
		return true
	case linger:
		c.finish()
	}
	return false
}

// refuseAtTheDoor counts a connection beyond the limits and, where tell is set,
// says so with 503.
func (c *clientConn) refuseAtTheDoor(tell bool) {
	defer c.conn.Close()
	defer c.guard()
	c.head.Minor = 1
	c.head.understood()
	e := newExchange(c, &c.head)
	defer e.finish()
	defer e.guard()
	limit := refusalFor(policy.Verdict{Reason: policy.Limit})
	if !tell {
		e.say(limit)
		c.reset()
		return
	}
	e.writer.closes = true
	e.refuse(limit)
	c.finish()
}

// reset closes the connection so that the peer sees it broken, not ended. It
// may be called by others.
func (c *clientConn) reset() { resetConn(c.conn) }

func resetConn(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}

// finish ends the connection so that the last answer arrives: a close with
// unread bytes would be a reset, which destroys what the client has not read
// yet (RFC 9112, section 9.6). So the gate says that it is done and reads on for
// a while.
func (c *clientConn) finish() {
	c.watch.stop(c.conn)
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(c.server.config.Linger))
	io.Copy(io.Discard, c.conn)
}

// watcher waits for the next byte of a client that has sent its whole request.
// What it waits for is most often the end: then the exchange is given up, and
// its origin connection with it.
type watcher struct{ done chan struct{} }

// watchClient starts watching; gone is called if the client leaves. Nobody may
// read from the connection before stop or join.
func (c *clientConn) watchClient(gone func()) {
	w := &watcher{done: make(chan struct{})}
	c.watch = w
	go func() {
		defer close(w.done)
		if _, err := c.in.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			gone()
		}
	}()
}

// join waits until the watcher has seen a byte, the end or the deadline.
func (w *watcher) join() {
	if w != nil {
		<-w.done
	}
}

// stop ends the watching at once; buffered bytes stay.
func (w *watcher) stop(conn net.Conn) {
	if w == nil {
		return
	}
	conn.SetReadDeadline(time.Unix(1, 0))
	<-w.done
	conn.SetReadDeadline(time.Time{})
}

// logPanic tells of a panic that ended one passage.
func (s *Server) logPanic(where string, fault any) {
	s.deps.Log.Error("a passage was ended by a panic", "where", where, "panic", fault, "stack", string(debug.Stack()))
}
