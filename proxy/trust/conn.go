package trust

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"gatehouse/internal/flow"
	"gatehouse/policy"
)

// Conn is a verified TLS connection to an origin. It is read by one goroutine at
// a time, and may be written by another.
type Conn struct {
	*tls.Conn
	wire     *wire
	host     policy.Host
	demanded bool // the origin has asked for a certificate of the client
}

// errCutShort is an end of the TCP connection without a close_notify before it.
var errCutShort = &cutShort{}

type cutShort struct{}

func (*cutShort) Error() string { return "the TLS connection ended without saying so" }
func (*cutShort) Unwrap() error { return io.ErrUnexpectedEOF }

// Read implements net.Conn. It returns io.EOF only where the origin has said
// that it is done: a body that ends with the connection is whole only then (RFC
// 9112, section 9.8), for anybody on the way can end a TCP connection.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	switch {
	case err == io.EOF && c.wire.ended:
		err = errCutShort
	case err != nil && c.demanded:
		// Since TLS 1.3 an origin can refuse a handshake that its client
		// believes to be over.
		var f *Fault
		if f = c.fault(err); f.Cause == flow.ClientCertificate {
			err = f
		}
	}
	return n, err
}

// NetConn is the TCP connection underneath.
func (c *Conn) NetConn() net.Conn { return c.wire.TCPConn }

// Quiet reports whether an idle connection can take another request: the origin
// has neither ended it nor sent what nobody asked for. It takes in what TLS sends
// on its own account (tickets, new keys), and does not wait.
func (c *Conn) Quiet() bool {
	var one [1]byte
	c.wire.glancing = true
	n, err := c.Conn.Read(one[:])
	c.wire.glancing = false
	return n == 0 && errors.Is(err, errNothing)
}

// wire is the TCP connection under TLS.
type wire struct {
	*net.TCPConn
	raw      syscall.RawConn
	ended    bool // it has come to its end
	glancing bool // reading takes what is there, and does not wait
}

// errNothing is what a glance finds where there is nothing to read. crypto/tls
// takes it for passing trouble, after which reading may go on.
var errNothing error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "there is nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (w *wire) Read(p []byte) (n int, err error) {
	if w.glancing {
		n, err = w.glance(p)
	} else {
		n, err = w.TCPConn.Read(p)
	}
	w.ended = w.ended || err == io.EOF
	return n, err
}

// glance reads once and does not wait.
func (w *wire) glance(p []byte) (n int, err error) {
	failed := w.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case err == syscall.EAGAIN:
		return 0, errNothing
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
