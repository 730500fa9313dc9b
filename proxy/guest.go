package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/elazarl/goproxy"

	"gatehouse/internal/flow"
)

// goproxy is a guest: it carries what is judged but not hot, today the bytes of
// a permitted upgrade. By the time it is called the request and the answer have
// been parsed, judged and found to agree.

// contextKey is the one key under which this package keeps a value in a context:
// the exchange a request belongs to. goproxy hands on requests, not exchanges.
type contextKey struct{}

// guestCall is what goproxy's round trip finds in the context.
type guestCall struct{ answer *http.Response }

// newGuest sets goproxy up. Its own Transport, its dialling, its CA, its
// environment proxies, and its ways of accepting or decrypting a tunnel are not
// used.
func newGuest() http.Handler {
	g := goproxy.NewProxyHttpServer()
	g.Logger = silence{} // it prints warnings even when it is not verbose
	g.Tr = nil           // its default skips verification and asks the environment
	g.ConnectDial, g.ConnectDialWithReq = nil, nil
	g.KeepAcceptEncoding = true
	g.NonproxyHandler = http.NotFoundHandler() // unreachable: every request has a whole URL
	g.OnRequest().HandleConnect(goproxy.AlwaysReject)
	g.OnRequest().DoFunc(func(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		ctx.RoundTripper = goproxy.RoundTripperFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Response, error) {
			if call, ok := r.Context().Value(contextKey{}).(guestCall); ok {
				return call.answer, nil
			}
			return nil, errNoPermit
		})
		return r, nil
	})
	return g
}

// silence is a logger that says nothing.
type silence struct{}

func (silence) Printf(string, ...any) {}

// handOver gives goproxy a client and an origin that have agreed to switch
// protocols, and returns when one of them has ended.
func (e *exchange) handOver(header http.Header, origin *upgraded) {
	r := &http.Request{
		Method: e.head.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Host: authority(e.dest), URL: &url.URL{Scheme: "http", Host: authority(e.dest)},
	}
	answer := &http.Response{
		StatusCode: http.StatusSwitchingProtocols, ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: origin, Request: r,
	}
	ctx := context.WithValue(e.client.context(), contextKey{}, guestCall{answer})
	e.server.guest.ServeHTTP(&switchWriter{e: e, header: http.Header{}}, r.WithContext(ctx))
}

// upgraded is the origin's side of an upgraded connection. Reading and writing
// have a goroutine each.
type upgraded struct {
	e    *exchange
	link *link
}

func (u *upgraded) Read(p []byte) (int, error) {
	n, err := u.link.in.Read(p)
	u.e.passage.note(func(r *flow.Record) { r.Received += int64(n) })
	return n, err
}

func (u *upgraded) Write(p []byte) (int, error) {
	if err := u.link.in.write(p); err != nil {
		return 0, err
	}
	u.e.passage.note(func(r *flow.Record) { r.Sent += int64(len(p)) })
	return len(p), nil
}

func (u *upgraded) Close() error { return u.link.conn.Close() }

// switchWriter writes the 101 to the client and lends its connection.
type switchWriter struct {
	e      *exchange
	header http.Header
}

func (w *switchWriter) Header() http.Header { return w.header }

func (w *switchWriter) WriteHeader(code int) {
	w.e.note(code)
	b := bytes.NewBufferString(fmt.Sprintf("HTTP/1.1 %d %s\r\n", code, http.StatusText(code)))
	w.header.Write(b)
	b.WriteString("\r\n")
	w.e.client.write(b.Bytes()) // if it fails, what is lent will say so
}

// Write implements http.ResponseWriter. Nobody writes: the connection is lent.
func (w *switchWriter) Write([]byte) (int, error) {
	return 0, errors.New("the connection has switched protocols")
}

// Hijack implements http.Hijacker. The connection it returns cannot be closed
// by whoever takes it: the gate closes it when the exchange is over, so that a
// WebSocket's end is not lost. The reader replays bytes that came early.
func (w *switchWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := w.e.client
	c.conn.SetDeadline(time.Time{})
	lent := lentConn{c.conn, c.in}
	in := bufio.NewReaderSize(c.in, bufferSize)
	if c.in.Buffered() > 0 {
		in.Peek(1) // takes all of it
	}
	return lent, bufio.NewReadWriter(in, bufio.NewWriter(lent)), nil
}

// lentConn is a connection whose owner is somebody else.
type lentConn struct {
	net.Conn
	wire *wire
}

func (lentConn) Close() error { return nil }

// Write lets the sweeper see where it stalls.
func (l lentConn) Write(p []byte) (int, error) {
	if err := l.wire.write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
