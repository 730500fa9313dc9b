package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"

	"gatehouse/policy"
)

// contextKey is the one key under which this package keeps a value in a context:
// the exchange a request belongs to. goproxy and http.Transport hand on
// requests, not exchanges, and no other way leads from one to the other.
type contextKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(contextKey{}).(*exchange)
	return e
}

// newTransport makes the pool of origin connections. It asks no environment and
// follows no proxy, adds no Accept-Encoding and decompresses nothing, and dials
// only with the permits of the exchange it dials for.
//
// A pooled connection serves a request only if the allows carried for the
// request permit its remote address: each request is asked for under a name
// made of its destination and of the whole set of addresses judged for it just
// now (poolKey), and the Transport never lends a connection to another name. So
// whatever the pool holds under that name leads to an address the policy now in
// force has permitted for this very request.
func newTransport(config Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            dialForExchange,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           4096,
		MaxIdleConnsPerHost:    512, // the default of 2 halves the throughput
		IdleConnTimeout:        config.OriginIdle,
		ResponseHeaderTimeout:  config.ResponseHead,
		MaxResponseHeaderBytes: int64(config.HeaderBytes),
		// ExpectContinueTimeout stays 0: the body is read from the client as it
		// comes, and the client waits for the 100 of the origin, which is
		// relayed.
	}
}

// dialForExchange runs in a goroutine of the Transport: a panic here would end
// the process.
func dialForExchange(ctx context.Context, _, _ string) (conn net.Conn, err error) {
	e := exchangeOf(ctx)
	if e == nil {
		return nil, errNoPermit
	}
	defer func() {
		if fault := recover(); fault != nil {
			e.server.logPanic("dial", fault)
			conn, err = nil, errors.New("dialling panicked")
		}
	}()
	if spare := e.client.tunnel.takeSpare(e.permits); spare != nil {
		return spare, nil
	}
	tcp, _, err := e.server.dialer.dial(ctx, e.permits)
	if err != nil {
		return nil, err
	}
	return tcp, nil
}

// poolKey names the connections that may serve a request for dest whose judged
// addresses are those of the permits.
func poolKey(dest policy.Dest, permits []policy.Permit) string {
	addrs := make([]netip.Addr, len(permits))
	for i, p := range permits {
		addrs[i] = p.Addr()
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	h := sha256.New()
	fmt.Fprint(h, dest, addrs)
	return hex.EncodeToString(h.Sum(nil)[:16]) + ".origin:80"
}

// resolve turns the permit of a judged request into permits for judged
// addresses. The refusal tells of a policy that said no, or of a name that could
// not be resolved.
func (s *Server) resolve(ctx context.Context, v policy.Verdict, permit policy.Permit) ([]policy.Permit, *refusal) {
	permits, judged, err := s.deps.Resolver.Resolve(ctx, permit)
	switch {
	case err != nil:
		return nil, unresolved(v, err)
	case !judged.Allowed():
		return nil, refusalFor(judged)
	case len(permits) == 0:
		return nil, unresolved(v, errNoPermit)
	}
	return permits, nil
}

// permitFor is the permit for the address a connection leads to.
func permitFor(permits []policy.Permit, conn net.Conn) (policy.Permit, bool) {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return policy.Permit{}, false
	}
	for _, p := range permits {
		if p.Addr() == remote.Addr().Unmap() && p.Dest().Port == remote.Port() {
			return p, true
		}
	}
	return policy.Permit{}, false
}

// spareConn is a connection that was dialled before anybody knew which request
// it would carry: the one behind a tunnel that is read as HTTP.
type spareConn struct{ conn atomic.Pointer[net.TCPConn] }

func (s *spareConn) take(permits []policy.Permit) net.Conn {
	conn := s.conn.Load()
	if conn == nil {
		return nil
	}
	if _, ok := permitFor(permits, conn); !ok || !s.conn.CompareAndSwap(conn, nil) {
		return nil
	}
	return conn
}

// close closes the connection if nobody took it.
func (s *spareConn) close() {
	if conn := s.conn.Swap(nil); conn != nil {
		conn.Close()
	}
}
