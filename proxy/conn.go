package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/internal/http1"
	"gatehouse/policy"
)

// clientConn is one connection of a client: requests come in turn, each judged
// anew. It belongs to one goroutine; only what says so may be called by others.
type clientConn struct {
	server *Server
	conn   net.Conn
	in     *wire
	*desk             // its worker's
	addr   netip.Addr // the client, unmapped
	seat   int        // in the roster, whose lock guards it
	// tunnel is the passage of the CONNECT whose inside is read here; nil on
	// the proxy port itself.
	tunnel *tunnel
	// redirect is how the connection came to the gateway port; nil elsewhere.
	redirect *redirect
	// entrance is the published door it came through; nil elsewhere.
	entrance *Entrance
	inside   atomic.Pointer[clientConn] // what is read inside the tunnel opened here
	idle     atomic.Bool                // waits for a request

	// No request outlives its connection, and one life costs less than one for each.
	life

	exchange exchange // at hand; one after another
	passage  passage  // of the exchange, unless it is a tunnel
	cut      func()   // cuts the exchange

	late   alarm                    // of a read
	busy   atomic.Pointer[exchange] // what is being carried
	broken bool                     // it takes nothing more
	kept   bool                     // it is the keeper's, who ends the passage too
	lent   bool                     // somebody else may still hold what was in the buffer
}

func newClientConn(s *Server, conn net.Conn) *clientConn {
	in := &wire{}
	in.attach(conn)
	return newReadConn(s, in, clientAddr(conn))
}

// newReadConn is a connection from which something has been read already.
func newReadConn(s *Server, in *wire, addr netip.Addr) *clientConn {
	c := &clientConn{server: s, conn: in.conn, in: in, addr: addr}
	c.exchange.server, c.exchange.client = s, c
	c.cut = c.exchange.cut
	return c
}

// clientAddr is who has connected, unmapped.
func clientAddr(conn net.Conn) netip.Addr {
	switch a := conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap().WithZone("")
	default:
		ap, _ := netip.ParseAddrPort(a.String())
		return ap.Addr().Unmap().WithZone("")
	}
}

// balanced reports whether a load balancer has connected, and not a client.
func (c *clientConn) balanced() bool { return c.redirect != nil && c.redirect.balanced(c.addr) }

// serve reads and serves requests until the connection is done.
func (c *clientConn) serve() {
	defer c.close()
	defer c.guard()
	defer c.stop()
	for c.awaitRequest() {
		if !c.serveOne() {
			return
		}
	}
}

// close closes the connection, unless somebody else is to do so.
func (c *clientConn) close() {
	if !c.kept {
		c.conn.Close()
	}
}

// guard is the last net under a connection: a panic that no exchange has caught
// ends the connection and nothing else.
func (c *clientConn) guard() {
	if fault := recover(); fault != nil {
		c.server.logPanic("connection", fault)
		c.lend() // to whom, nobody knows any more
	}
}

// awaitRequest waits for the first byte of the next request.
func (c *clientConn) awaitRequest() bool {
	c.idle.Store(true)
	defer c.idle.Store(false)
	if c.server.draining.Load() {
		return false
	}
	c.late.set(c.server.config.KeepAlive, c.conn)
	_, err := c.in.Peek(1)
	c.late.set(c.server.config.HeadTime, c.conn)
	return err == nil
}

// closeIfIdle may be called by others.
func (c *clientConn) closeIfIdle() {
	if inside := c.inside.Load(); inside != nil {
		inside.closeIfIdle()
	}
	if c.idle.Load() {
		closeAtOnce(c.conn)
	}
}

// serveOne reads one head and carries its request. It reports whether the
// connection is good for another one.
func (c *clientConn) serveOne() bool {
	raw, err := readHead(c.in, c.raw, c.parse)
	c.late.clear(c.conn)
	c.raw = raw
	var f *flaw
	if err != nil {
		c.forgetHead() // also where it was left unfinished: the next one is another client's
		if f = flawOf(err); f == nil {
			return false // the client left in the middle of a head
		}
	}
	c.head.understood()
	if f != nil && bytes.HasPrefix(bytes.TrimLeft(raw, "\r\n"), connectLine) {
		c.head.method = http.MethodConnect // a tunnel that was never opened is counted as one all the same
	}
	defer c.poison()
	switch c.newExchange().serve(f) {
	case again:
		return !c.stopped() // else it was given up, or has left
	case linger:
		c.finish()
	}
	return false
}

// connectLine is how the head of every tunnel begins.
var connectLine = []byte("CONNECT ")

func (c *clientConn) parse(b []byte) (int, error) {
	return c.head.Parse(b, http1.Limits{HeadBytes: c.server.config.HeaderBytes})
}

// forgetHead leaves nothing of a head on which nobody can rely.
func (c *clientConn) forgetHead() {
	c.head = requestHead{}
	c.head.Minor = 1
}

// refuseAtTheDoor counts a connection beyond the limits and, where tell is set,
// says so with 503.
func (c *clientConn) refuseAtTheDoor(tell bool) {
	defer c.letGo()
	defer c.conn.Close()
	defer c.guard()
	c.desk = &desk{}
	defer c.stop()
	c.forgetHead()
	c.head.understood()
	e := c.newExchange()
	defer e.finish()
	defer e.guard()
	limit := refusalFor(policy.Verdict{Reason: policy.Limit})
	if !tell {
		e.say(limit)
		c.reset()
		return
	}
	e.closes = true
	e.refuse(limit)
	c.finish()
}

// letGo gives the buffer back: from now on somebody else reads the connection.
func (c *clientConn) letGo() {
	if !c.lent {
		c.in.drop()
	}
}

// lend says that somebody else may hold on to what was read, for longer than the
// connection lives: it does not go back.
func (c *clientConn) lend() {
	c.lent = true
	if c.tunnel != nil {
		c.tunnel.e.client.lend()
	}
}

// write writes to the client. The sweeper breaks off a write that stalls.
func (c *clientConn) write(p []byte) error {
	err := c.in.write(p)
	c.broken = c.broken || err != nil
	return err
}

// flush writes what is in out.
func (c *clientConn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.write(c.out)
	c.out = c.out[:0]
	return err
}

// reset closes the connection so that the peer sees it broken, not ended. It
// may be called by others.
func (c *clientConn) reset() { resetConn(c.conn) }

// resetConn breaks a connection off; where it is TLS, without a word of that, which
// would be an orderly end.
func resetConn(conn net.Conn) {
	if t := tcpOf(conn); t != nil {
		t.SetLinger(0)
		conn = t
	}
	conn.Close()
}

// closeAtOnce closes a connection in good order and waits for nobody. Where it is TLS it
// ends with an alert (RFC 8446, section 6.1), for which package tls waits five seconds
// where the peer takes nothing: nothing is said to such a peer.
func closeAtOnce(conn net.Conn) error {
	if tcp := tcpOf(conn); tcp != nil && tcp != conn && !isReady(tcp, unix.POLLOUT) {
		tcp.Close()
	}
	return conn.Close()
}

// tcpOf is the TCP connection that carries a connection, nil where there is none.
func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// finish ends the connection so that the last answer arrives: a close with
// unread bytes would be a reset, which destroys what the client has not read
// yet (RFC 9112, section 9.6). So the gate says that it is done and reads on for
// a while.
func (c *clientConn) finish() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(c.server.config.Linger))
	io.Copy(io.Discard, c.conn)
}

// poisonHeads makes tests see whoever keeps a piece of a head for longer than
// its request.
var poisonHeads = false

func (c *clientConn) poison() {
	if poisonHeads {
		fill(c.raw[:cap(c.raw)])
		fill(c.out[:cap(c.out)])
	}
	if cap(c.raw)+cap(c.out) > 4*bufferSize { // an unusual request shall not cost memory for ever
		c.raw, c.out = nil, nil
	}
}

func fill(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

// logPanic tells of a panic that ended one passage.
func (s *Server) logPanic(where string, fault any) {
	s.deps.Log.Error("a passage was ended by a panic", "where", where, "panic", fault, "stack", string(debug.Stack()))
}
