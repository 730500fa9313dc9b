package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// relay moves bytes between two connections, each direction ending on its own:
// a client that has said all it has to say still gets its answer.
//
// The connections are used bare. Wrapped for counting they would lose splice(2),
// which moves bulk at half the processor time, so octets are counted by what the
// copies return and idleness by deadlines on the connections themselves.
type relay struct {
	client, origin net.Conn
	idle           time.Duration

	sent, received int64 // octets to the origin and to the client; read after run
	end            string

	mu     sync.Mutex
	active time.Time // when bytes last moved, in either direction
}

// run returns when both directions are done and leaves both connections closed.
func (r *relay) run(early []byte) {
	r.active = time.Now()
	defer r.client.Close()
	defer r.origin.Close()
	var upward sync.WaitGroup
	upward.Go(func() { r.sent = r.direction(r.origin, r.client, early, "client-closed") })
	r.received = r.direction(r.client, r.origin, nil, "origin-closed")
	upward.Wait()
}

// direction copies from src to dst until src ends, and ends dst then. It returns
// the octets that reached dst.
func (r *relay) direction(dst, src net.Conn, early []byte, ending string) (moved int64) {
	if len(early) > 0 {
		dst.SetWriteDeadline(time.Now().Add(r.idle))
		n, err := dst.Write(early)
		if moved = int64(n); err != nil {
			r.abort(ending)
			return moved
		}
	}
	for {
		round := max(r.idle/4, time.Millisecond)
		src.SetReadDeadline(time.Now().Add(round))
		dst.SetWriteDeadline(time.Now().Add(round + r.idle))
		n, err := io.Copy(dst, src)
		moved += n
		switch {
		case err == nil:
			r.ended(ending)
			closeWrite(dst)
			return moved
		case !errors.Is(err, os.ErrDeadlineExceeded):
			r.abort(ending)
			return moved
		case r.idleFor(n > 0):
			r.abort("idle")
			return moved
		}
	}
}

// idleFor reports whether the tunnel has been silent, both ways, for its limit.
func (r *relay) idleFor(moved bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if moved {
		r.active = time.Now()
	}
	return time.Since(r.active) >= r.idle
}

// ended remembers which side ended first, or that neither did any more.
func (r *relay) ended(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == "" || how == "idle" {
		r.end = how
	}
}

// abort passes a broken connection on as a reset, to both sides: an end would
// tell them that all has come.
func (r *relay) abort(how string) {
	r.ended(how)
	resetConn(r.client)
	resetConn(r.origin)
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
