package nettest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience is how long a double or a peer waits for what must come. It is far
// more than anything needs: no test may depend on how fast the machine is.
const Patience = 30 * time.Second

// Peer is one end of a connection, spoken in raw bytes. Its methods fail the
// test where the connection does not do what is expected; they must be called
// from the test's goroutine unless they say otherwise.
type Peer struct {
	net.Conn
	In *bufio.Reader // read from here, not from Conn
	t  testing.TB
}

// NewPeer wraps a connection. It is closed when the test ends.
func NewPeer(t testing.TB, conn net.Conn) *Peer {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(Patience))
	return &Peer{Conn: conn, In: bufio.NewReader(conn), t: t}
}

// Dial connects to an address.
func Dial(t testing.TB, addr string) *Peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("dial %s: %v", addr, err)
	}
	return NewPeer(t, conn)
}

// Say sends bytes as they stand.
func (p *Peer) Say(format string, args ...any) *Peer {
	p.t.Helper()
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	if _, err := io.WriteString(p.Conn, text); err != nil {
		p.t.Fatalf("send %.60q: %v", text, err)
	}
	return p
}

// Chunk sends one chunk of a chunked body; an empty one ends the body.
func (p *Peer) Chunk(s string) *Peer {
	p.t.Helper()
	return p.Say("%x\r\n%s\r\n", len(s), s)
}

// Head reads up to and including an empty line.
func (p *Peer) Head() string {
	p.t.Helper()
	head, err := readHead(p.In)
	if err != nil {
		p.t.Fatalf("read a head: %v after %q", err, head)
	}
	return head
}

func readHead(in *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := in.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

// Expect reads exactly these bytes.
func (p *Peer) Expect(want string) *Peer {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.In, got); err != nil {
		p.t.Fatalf("expected %q, got %q: %v", want, got[:n], err)
	}
	if string(got) != want {
		p.t.Fatalf("expected %q, got %q", want, got)
	}
	return p
}

// ExpectChunk reads one chunk of a chunked body.
func (p *Peer) ExpectChunk(s string) *Peer {
	p.t.Helper()
	return p.Expect(fmt.Sprintf("%x\r\n%s\r\n", len(s), s))
}

// Response reads one whole response to a request of the given method.
func (p *Peer) Response(method string) (*http.Response, string) {
	p.t.Helper()
	resp, err := http.ReadResponse(p.In, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("read a response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatalf("read the body of a response: %v after %q", err, body)
	}
	return resp, string(body)
}

// Ended waits for the end of the connection and returns what came before it;
// err is nil where the end was an orderly one.
func (p *Peer) Ended() (rest string, err error) {
	p.t.Helper()
	b, err := io.ReadAll(p.In)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatalf("the connection did not end; it said %q", b)
	}
	return string(b), err
}

// Reset closes the connection with a reset, without a word of TLS where it is
// one.
func (p *Peer) Reset() {
	conn := p.Conn
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// CloseWrite says that nothing more will come: on TLS by a close_notify alone.
func (p *Peer) CloseWrite() {
	p.t.Helper()
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			p.t.Fatalf("close for writing: %v", err)
		}
	}
}

// Origin is a server on loopback whose connections the test takes in turn and
// plays by hand, byte for byte: chunk by chunk, cut off, or silent.
type Origin struct {
	Addr  string
	Port  int
	conns chan net.Conn
}

// NewOrigin listens on loopback until the test ends.
func NewOrigin(t testing.TB) *Origin {
	t.Helper()
	return newOrigin(t, func(conn net.Conn, take chan<- net.Conn) { take <- conn })
}

func newOrigin(t testing.TB, play func(net.Conn, chan<- net.Conn)) *Origin {
	t.Helper()
	o := &Origin{conns: make(chan net.Conn, 1024)}
	o.Addr, o.Port = serve(t, func(conn net.Conn) { play(conn, o.conns) })
	t.Cleanup(func() {
		for len(o.conns) > 0 {
			(<-o.conns).Close()
		}
	})
	return o
}

// NewSecureOrigin is an Origin that speaks TLS: its connections shake hands by
// themselves.
func NewSecureOrigin(t testing.TB, config *tls.Config) *Origin {
	t.Helper()
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true // what is said at once is one record, as it is one segment without TLS
	return newOrigin(t, func(conn net.Conn, take chan<- net.Conn) {
		secure := tls.Server(conn, config)
		take <- secure
		secure.Handshake() // whoever takes it finds out where it fails
	})
}

// Take waits for the next connection.
func (o *Origin) Take(t testing.TB) *Peer {
	t.Helper()
	select {
	case conn := <-o.conns:
		return NewPeer(t, conn)
	case <-time.After(Patience):
		t.Fatalf("nobody connected to the origin")
		return nil
	}
}

// Untouched fails the test where somebody has connected.
func (o *Origin) Untouched(t testing.TB) {
	t.Helper()
	if len(o.conns) > 0 {
		t.Errorf("the origin was dialled")
	}
}

// Deaf is a port of 127.0.0.1 where nobody listens as long as the test lives: that
// of a connection, which nobody else is given.
func Deaf(t testing.TB) (port int) {
	t.Helper()
	at, _ := serve(t, func(conn net.Conn) {
		defer conn.Close()
		io.Copy(io.Discard, conn)
	})
	return Dial(t, at).LocalAddr().(*net.TCPAddr).Port
}

// serve hands each connection to play, in a goroutine of its own, until the test
// ends; then it closes what is open and waits.
func serve(t testing.TB, play func(net.Conn)) (addr string, port int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	serveOn(t, ln, play)
	return ln.Addr().String(), ln.Addr().(*net.TCPAddr).Port
}

// serveOn does so with a listener, which it closes.
func serveOn(t testing.TB, ln net.Listener, play func(net.Conn)) {
	var running sync.WaitGroup
	var mu sync.Mutex
	open, over := map[net.Conn]struct{}{}, false
	running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			if over { // it came at the last moment
				conn.Close()
			}
			open[conn] = struct{}{}
			mu.Unlock()
			running.Go(func() {
				play(conn)
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		over = true
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
}
