package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"gatehouse/internal/flow"
	"gatehouse/policy"
	"gatehouse/proxy/trust"
)

// servePublished serves what came to a published door, after the handshake where TLS
// is spoken there.
func (c *clientConn) servePublished() {
	if secure, ok := c.conn.(*tls.Conn); ok && !c.shakeHands(secure) {
		return
	}
	c.serve()
}

// shakeHands reports whether the client has opened TLS; else the connection is over.
func (c *clientConn) shakeHands(secure *tls.Conn) bool {
	defer c.guard()
	c.idle.Store(true) // nothing has been asked: who closes what is idle closes this
	defer c.idle.Store(false)
	secure.SetDeadline(time.Now().Add(c.server.config.Opening))
	err := secure.Handshake()
	if err == nil {
		secure.SetDeadline(time.Time{})
		return true
	}
	alert, said := trust.Alert(err)
	switch {
	case said && slices.Contains(distrust, alert):
		c.distrusted(alert)
	case said, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE): // it has left, and asked nothing
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuseUnveiled("The client did not complete the TLS handshake in time.")
	default:
		c.refuseUnveiled("What the client sent is no TLS that this door speaks: " + trust.Plain(err.Error()) + ".")
	}
	c.conn.Close()
	return false
}

// distrusted tells the log that a client does not take the certificate of the door:
// nothing was asked, so there is nothing for the book.
func (c *clientConn) distrusted(alert string) {
	name := c.entrance.Name
	if c.server.complaints.due(complaint{fault: flow.Fault("publish " + name)}, c.server.deps.Now()) {
		c.server.deps.Log.Warn("a client does not accept the certificate of a publish; the next hour's repeats are not told",
			"publish", name, "client", c.addr, "alert", trust.Plain(alert))
	}
}

// refuseUnveiled counts a connection that did not open as the door asks, and resets
// it: there is nothing that words could be put in.
func (c *clientConn) refuseUnveiled(why string) {
	defer c.stop()
	c.forgetHead()
	c.head.understood()
	e := c.newExchange()
	defer e.finish()
	name := c.entrance.Name
	e.passage.note(func(r *flow.Record) { r.Publish, r.Detail = name, why })
	v := e.policy.Client(c.addr, e.now)
	if v.Allowed() {
		v = policy.Verdict{Reason: policy.NotTLS}
	}
	e.say(refusalFor(v))
	c.reset()
}
