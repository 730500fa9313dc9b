package nettest

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// NewCannedOrigin answers every connection's first request head with the same
// bytes, whatever they are, and ends the connection; reset ends it with a reset.
// It is how answers are cut off, over-long or badly framed.
func NewCannedOrigin(t testing.TB, reply string, reset bool) (addr string, port int) {
	return serve(t, func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		if _, err := readHead(in); err != nil {
			return
		}
		io.WriteString(conn, reply)
		if !reset {
			return
		}
		// A reset overtakes what was sent: wait until the peer has closed or
		// has had time to read. Reading blocks until one of them.
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		in.Peek(1)
		conn.(*net.TCPConn).SetLinger(0)
	})
}

// NewAMQPPeer is a peer that speaks the opening of AMQP 1.0 (the protocol header
// of section 2.2 of the standard) and echoes whatever follows, until its client
// ends.
func NewAMQPPeer(t testing.TB) (addr string, port int) {
	return serve(t, func(conn net.Conn) {
		defer conn.Close()
		header := make([]byte, len(AMQPHeader))
		if _, err := io.ReadFull(conn, header); err != nil || string(header) != AMQPHeader {
			return
		}
		io.WriteString(conn, AMQPHeader)
		io.Copy(conn, conn)
	})
}

// AMQPHeader is how both sides of an AMQP 1.0 connection begin.
const AMQPHeader = "AMQP\x00\x01\x00\x00"

// NewUpgradeOrigin answers a WebSocket handshake (RFC 6455, section 4.2.2) and
// echoes the bytes that follow, frames or not. A client that sends "bye" sees
// the origin close first.
func NewUpgradeOrigin(t testing.TB) (addr string, port int) {
	return serve(t, func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		head, err := readHead(in)
		if err != nil || !strings.Contains(strings.ToLower(head), "\r\nupgrade: websocket\r\n") {
			io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			websocketAccept(field(head, "Sec-Websocket-Key")))
		echoUntilBye(conn, in)
	})
}

func echoUntilBye(conn net.Conn, in io.Reader) {
	b := make([]byte, 4096)
	for {
		n, err := in.Read(b)
		if strings.Contains(string(b[:n]), "bye") || err != nil {
			return
		}
		conn.Write(b[:n])
	}
}

// websocketAccept is the answer to a handshake key.
func websocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// field is the value of the first field of that name in a head, whatever its
// case.
func field(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TLSOrigin is a TLS server on loopback that echoes what it is sent.
type TLSOrigin struct {
	Addr  string
	Port  int
	Roots *x509.CertPool // trusts its certificate
}

// NewTLSOrigin serves the given names with a certificate of its own.
func NewTLSOrigin(t testing.TB, names ...string) *TLSOrigin {
	t.Helper()
	own := SelfSigned(t, nil, names...)
	o := &TLSOrigin{Roots: x509.NewCertPool()}
	o.Roots.AddCert(own.Leaf)
	config := &tls.Config{Certificates: []tls.Certificate{own}}
	o.Addr, o.Port = serve(t, func(conn net.Conn) {
		secure := tls.Server(conn, config)
		defer secure.Close()
		io.Copy(secure, secure)
	})
	return o
}

// Veil puts TLS in front of a double that speaks without: each connection to the
// address it returns is carried to addr, and ends as that one ends.
func Veil(t testing.TB, config *tls.Config, addr string) (veiled string, port int) {
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true
	return serve(t, func(conn net.Conn) {
		defer conn.Close()
		secure := tls.Server(conn, config)
		if secure.Handshake() != nil {
			return
		}
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			defer far.(*net.TCPConn).CloseWrite()
			io.Copy(far, secure)
		}()
		if _, err := io.Copy(secure, far); err != nil {
			conn.(*net.TCPConn).SetLinger(0)
			return // without a close_notify
		}
		secure.Close()
	})
}
