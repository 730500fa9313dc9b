package proxy

import (
	"net/netip"

	"gatehouse/internal/flow"
	"gatehouse/proxy/keeper"
)

// kept is what is left of a tunnel that the keeper carries: nobody waits for its
// end, and nothing of what opened it is held.
type kept struct {
	server  *Server
	passage *passage
	addr    netip.Addr
}

// relay gives both connections to the keeper, and with them all that is still to
// be done when the tunnel is over. They are given bare: wrapped for counting they
// would lose splice(2) and the keeper's own way, so octets are counted there.
func (t *tunnel) relay(early []byte) {
	e, c := t.e, t.e.client
	if t.origin.way.absolute { // never so: a parent would take the bytes for a request to itself
		e.end = "error"
		c.reset()
		return
	}
	k := &kept{server: e.server, passage: e.passage, addr: c.addr}
	tunnel := t.join(k.over)
	c.kept, t.origin = true, nil // the keeper's to close
	c.server.handedOver(c)
	k.passage.keep()
	// Known before it is open: a cut that comes in between must find it.
	k.passage.handTo(func() { tunnel.Close() })
	tunnel.Open(early)
}

// join joins both connections.
func (t *tunnel) join(over func(keeper.Result)) *keeper.Tunnel {
	client, k := t.e.client.conn, t.e.server.keeper
	if t.origin.bare != nil {
		return k.JoinConn(client, t.origin.bare, over)
	}
	return k.Join(client, t.origin.TCPConn, over)
}

// over closes the book on a tunnel, on whatever goroutine came to its end.
func (k *kept) over(r keeper.Result) {
	k.passage.note(func(rec *flow.Record) { rec.Sent, rec.Received = r.Sent, r.Received })
	k.passage.end(r.End.String())
	k.server.left(k.addr)
}
