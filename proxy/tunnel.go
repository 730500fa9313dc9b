package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"syscall"
	"time"

	"gatehouse/internal/clienthello"
	"gatehouse/policy"
)

// tunnel is what a permitted CONNECT opened.
type tunnel struct {
	e        *exchange
	dest     policy.Dest
	user     string // who logged in
	origin   *line
	permit   policy.Permit // narrowed to the origin's address
	protocol policy.Protocol
	spare    spareConn // the origin connection, where the tunnel is read as HTTP

	// inspection is what the tunnel is looked into with, and shown the
	// certificate that its client gets to see; nil where it is not.
	inspection *inspection
	shown      *tls.Certificate
	looked     *policy.Policy // the newest that was found to want it
}

// connect judges a CONNECT and reaches its destination. Only then the client is
// told 200: a tunnel that leads nowhere is refused in words.
func (e *exchange) connect() *refusal {
	v, permit := e.policy.Connect(policy.Connect{
		At: e.now, Surface: policy.CONNECT, Client: e.client.addr, Dest: e.dest,
	})
	e.passage.unseen(v.Effect != policy.Inspect)
	e.settle(v, &permit)
	t := &tunnel{e: e, dest: e.dest, user: e.user}
	switch {
	case !v.Allowed():
		return refusalFor(v)
	case v.Effect == policy.Inspect:
		t.looked = e.policy
		if refused := t.look(v); refused != nil {
			return refused
		}
	}
	permits, refused := e.server.resolve(e.client.context(), v, permit)
	if refused != nil {
		return refused
	}
	e.describeWay(&permits[0]) // the one that is tried first
	if err := t.reach(permits); err != nil {
		return unreached(v, err)
	}
	e.now = e.server.deps.Now()
	if refused := e.settleOn(&t.permit); refused != nil {
		t.closeOrigin()
		return refused
	}
	t.protocol = e.verdict.Protocol
	e.tunnel = t
	return nil
}

// reach dials the origin. Where the tunnel is looked into and a connection is kept
// that its first request can have, the origin has been reached already. Not so in
// monitor mode, where the tunnel may yet turn out to be relayed unseen.
func (t *tunnel) reach(permits []policy.Permit) (err error) {
	e := t.e
	ways := t.ways()
	if t.inspection != nil && len(ways) > 0 && e.policy.Mode(e.now) == policy.Enforce {
		if permit := e.server.pool.holds(place{t.dest, true, ways[0]}, permits); permit != nil {
			t.permit = *permit
			e.describeParent(ways[0])
			return nil
		}
	}
	unread := t.inspection == nil && e.verdict.Protocol != policy.PlainHTTP
	t.origin, t.permit, err = e.server.dialer.reach(e.client.context(), ways, permits, unread)
	if err == nil {
		e.describeParent(t.origin.way)
	}
	return err
}

// hasSpare reports whether the tunnel's own origin connection waits for its first
// request. A nil tunnel has none.
func (t *tunnel) hasSpare() bool { return t != nil && t.spare.line.Load() != nil }

// takeSpare gives the tunnel's own origin connection to its first request, if
// the permits of that request lead there. A nil tunnel has none.
func (t *tunnel) takeSpare(permits []policy.Permit, ways []way) (*line, *policy.Permit) {
	if t == nil {
		return nil, nil
	}
	return t.spare.take(permits, ways)
}

// carryTunnel says 200 and carries the tunnel to its end.
func (e *exchange) carryTunnel() {
	t, c := e.tunnel, e.client
	defer t.closeOrigin()
	// The client's own version: old clients take HTTP/1.0 alone, newer ones
	// think little of a proxy that says it. And no fields: some parse none.
	c.out = append(c.out[:0], "HTTP/1."...)
	c.out = append(append(c.out, byte('0'+e.head.minor)), " 200 Connection established\r\n\r\n"...)
	if c.write(c.out) != nil {
		e.end = "client-closed"
		return
	}
	e.note(http.StatusOK)
	switch t.protocol {
	case policy.TLS:
		t.carryTLS()
	case policy.PlainHTTP:
		t.carryHTTP()
	default:
		t.relay(t.buffered())
	}
}

// closeOrigin closes the origin's connection unless it has been given away.
func (t *tunnel) closeOrigin() {
	if t.origin != nil {
		t.origin.Close()
	}
}

// buffered takes the bytes that came together with the CONNECT head.
func (t *tunnel) buffered() []byte {
	return t.e.client.in.pending()
}

// carryTLS reads the ClientHello before it goes on: the name in it must be the
// host the CONNECT was for.
func (t *tunnel) carryTLS() {
	hello, raw, opening := t.readHello()
	if opening.Protocol == policy.ProtocolUnknown {
		return
	}
	if !t.judgeOpening(opening) {
		return
	}
	early := append(raw, t.buffered()...)
	switch looks := t.e.verdict.Effect == policy.Inspect; {
	case looks && t.inspection != nil:
		t.takeOver(hello, early)
	case !looks && t.origin != nil:
		t.e.passage.unseen(true)
		t.relay(early)
	default: // a rule has ended since the CONNECT, and with it what was agreed
		t.e.end = "policy"
		t.e.client.reset()
	}
}

// readHello reads the ClientHello, raw as it came, and tells what the tunnel opens
// with: with nothing where the client has gone and nobody is left to refuse.
func (t *tunnel) readHello() (hello clienthello.Hello, raw []byte, opening policy.Opening) {
	c := t.e.client
	c.conn.SetReadDeadline(time.Now().Add(t.e.server.config.Opening))
	hello, raw, err := clienthello.Read(c.in)
	c.conn.SetReadDeadline(time.Time{})
	switch {
	case err == io.EOF && len(raw) == 0, errors.Is(err, syscall.ECONNRESET):
		t.e.end = "client-closed"
		return hello, nil, policy.Opening{}
	case err != nil:
		return hello, raw, policy.Opening{Protocol: policy.TCP}
	}
	return hello, raw, policy.Opening{Protocol: policy.TLS, SNI: hello.ServerName}
}

// judgeOpening judges the whole passage again with its first bytes. Where they
// are refused the client's connection is reset: after a 200 no words reach it.
func (t *tunnel) judgeOpening(o policy.Opening) bool {
	e := t.e
	e.now = e.server.deps.Now()
	v, permit := e.policy.Connect(policy.Connect{
		At: e.now, Surface: policy.CONNECT, Client: e.client.addr, Dest: t.dest, Opening: o,
	})
	if v.Allowed() {
		v, permit = e.policy.Answer(policy.Answer{At: e.now, Permit: permit, Aliases: t.permit.Aliases(), Addr: t.permit.Addr()})
	}
	e.settle(v, &permit)
	if !v.Allowed() {
		e.end = "refused"
		e.client.reset()
		return false
	}
	return true
}

// carryHTTP reads the inside of the tunnel as HTTP: each request is judged, and
// counted, on its own, and may name no other host.
func (t *tunnel) carryHTTP() {
	c := t.e.client
	c.conn.SetReadDeadline(time.Now().Add(t.e.server.config.Opening))
	is, err := opensLikeHTTP(c.in)
	c.conn.SetReadDeadline(time.Time{})
	switch {
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
		t.e.end = "client-closed"
		return
	case err != nil || !is:
		if !t.judgeOpening(policy.Opening{Protocol: policy.TCP}) {
			return
		}
		t.relay(t.buffered()) // monitor mode lets it pass, and says so
		return
	}
	if !t.judgeOpening(policy.Opening{Protocol: policy.PlainHTTP}) {
		return
	}
	t.serveInside(c.in)
	t.e.end = "client-closed"
}

// serveInside serves the requests inside the tunnel until it ends.
func (t *tunnel) serveInside(in *wire) *clientConn {
	if t.origin != nil && t.origin.dress() == nil {
		t.spare.line.Store(t.origin)
	}
	t.origin = nil // from now on it is the pool's, and may serve others
	defer t.spare.close()
	c := t.e.client
	inside := newReadConn(c.server, in, c.addr)
	inside.tunnel, inside.desk = t, &desk{}
	c.inside.Store(inside)
	defer c.inside.Store(nil)
	defer inside.letGo()
	c.server.watch(inside)
	defer c.server.unwatch(inside)
	inside.serve()
	return inside
}

// opensLikeHTTP reports whether what comes first is a method and a space.
func opensLikeHTTP(in *wire) (bool, error) {
	const longestMethod = 32
	for n := 1; n <= longestMethod; n++ {
		b, err := in.Peek(n)
		if err != nil {
			return false, err
		}
		switch last := b[n-1]; {
		case last == ' ':
			return n > 1, nil
		case !tokenByte(last):
			return false, nil
		}
	}
	return false, nil
}
