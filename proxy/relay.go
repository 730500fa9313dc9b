package proxy

import (
	"io"

	"gatehouse/internal/flow"
	"gatehouse/proxy/keeper"
)

// relay gives both connections to the keeper and waits until the tunnel is over.
// They are given bare: wrapped for counting they would lose splice(2) and the
// keeper's own way, so octets are counted there.
func (t *tunnel) relay(early []byte) {
	e := t.e
	over := make(chan keeper.Result, 1)
	kept := e.server.keeper.Join(e.client.conn, t.origin, func(r keeper.Result) { over <- r })
	// Known before it is open: a cut that comes in between must find it.
	far := io.Closer(kept)
	e.far.Store(&far)
	kept.Open(early)
	e.client.letGo()
	r := <-over
	e.end = r.End.String()
	e.passage.note(func(rec *flow.Record) { rec.Sent, rec.Received = r.Sent, r.Received })
}
