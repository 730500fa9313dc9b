// Package clienthello reads the ClientHello that opens a TLS connection and
// gives every byte back, so that the connection can go on as if nobody had
// looked. crypto/tls does the parsing: a server that has the hello read to it
// and gives up before it answers.
//
// What the package is not: it makes no decision, sets no deadline and never
// writes to the connection.
package clienthello

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// Hello is what a ClientHello says.
type Hello struct {
	// ServerName is the SNI as the client wrote it, empty where it sent none.
	ServerName string
	// Protocols are the ALPN protocols it offers, in its order.
	Protocols []string
	// Versions are the TLS versions it offers.
	Versions []uint16
}

// ErrNotTLS says that the bytes are no ClientHello.
var ErrNotTLS = errors.New("the first bytes are no TLS ClientHello")

// MaxBytes bounds what Read takes from a connection. A handshake message may
// have 64 KiB; the rest is for the headers of small records.
const MaxBytes = 128 << 10

// Read reads one ClientHello from r, however it is split over segments and
// records. raw holds every byte taken from r, also with an error. The error is
// ErrNotTLS, or that of r: io.EOF where r ended before its first byte,
// io.ErrUnexpectedEOF where it ended later. Read blocks as long as r does; the
// caller sets the deadline.
func Read(r io.Reader) (hello Hello, raw []byte, err error) {
	t := &tee{from: r}
	var found bool
	// How the handshake ends says nothing that found and t.err do not.
	_ = tls.Server(t, &tls.Config{
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			found = true
			hello = Hello{info.ServerName, info.SupportedProtos, info.SupportedVersions}
			return nil, ErrNotTLS // any error: the handshake ends here
		},
	}).HandshakeContext(context.Background())
	switch {
	case found:
		return hello, t.raw, nil
	case t.err == io.EOF && len(t.raw) > 0:
		return hello, t.raw, io.ErrUnexpectedEOF
	case t.err != nil:
		return hello, t.raw, t.err
	}
	return hello, t.raw, ErrNotTLS
}

// tee is the connection crypto/tls believes in: it keeps what is read, and what
// is written (an alert) goes nowhere.
type tee struct {
	from io.Reader
	raw  []byte
	err  error
}

// recordHandshake and the major version are how every TLS connection begins
// (RFC 8446, section 5.1). A first byte that is another is told at once: a
// client that speaks something else may wait for an answer before its fifth.
const (
	recordHandshake = 22
	versionMajor    = 3
)

// Read implements net.Conn.
func (t *tee) Read(p []byte) (int, error) {
	if t.err == nil && (t.strange() || len(t.raw) >= MaxBytes) {
		return 0, ErrNotTLS
	}
	n, err := t.from.Read(p[:min(len(p), MaxBytes-len(t.raw))])
	t.raw = append(t.raw, p[:n]...)
	if err != nil {
		t.err = err
	} else if t.strange() {
		return n, ErrNotTLS
	}
	return n, err
}

func (t *tee) strange() bool {
	return len(t.raw) > 0 && t.raw[0] != recordHandshake || len(t.raw) > 1 && t.raw[1] != versionMajor
}

func (t *tee) Write(p []byte) (int, error)      { return len(p), nil }
func (t *tee) Close() error                     { return nil }
func (t *tee) LocalAddr() net.Addr              { return nowhere{} }
func (t *tee) RemoteAddr() net.Addr             { return nowhere{} }
func (t *tee) SetDeadline(time.Time) error      { return nil }
func (t *tee) SetReadDeadline(time.Time) error  { return nil }
func (t *tee) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "tee" }
func (nowhere) String() string  { return "nowhere" }
